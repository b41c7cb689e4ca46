"""parity.analysis.plots: a small plot that loses no spike, no signal and no time zone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.analysis.frames import INSTANT, SIDE
from parity.analysis.plots import (
    LINE_POINTS_MAX,
    MARKERS_MAX,
    TOTAL,
    WIDTH_PX,
    merged,
    plot_pnl,
    plot_run,
    thinned,
)

ROOT = Path(__file__).resolve().parents[3]
T0 = 1_772_442_900_000_000_000  # 2026-03-02 09:15 UTC
SECOND = 1_000_000_000


def ticks(prices: list[float], *, gap_ns: int = SECOND) -> pl.DataFrame:
    """Return ticks at even times."""
    instants = T0 + gap_ns * np.arange(len(prices))
    return pl.DataFrame({"ts_event": instants, "price": prices}).with_columns(
        pl.col("ts_event").cast(INSTANT)
    )


def marks(count: int, *, gap_ns: int = SECOND, strategies: int = 2) -> pl.DataFrame:
    """Return signals or drops, strategies and sides in turn."""
    n = np.arange(count)
    frame = pl.DataFrame(
        {
            "ts_event": T0 + gap_ns * n,
            "strategy_id": [f"s{i % strategies}" for i in n],
            "side": [("BUY", "SELL")[i % 2] for i in n],
            "price": 100.0 + n % 7,
            "confidence": np.full(count, 0.75),
            "reason": ["cooldown"] * count,
        },
        schema_overrides={"strategy_id": pl.String, "side": SIDE, "reason": pl.String},
    )
    return frame.with_columns(pl.col("ts_event").cast(INSTANT))


def datasets(chart: object) -> list[list[dict[str, object]]]:
    """Return the rows that a chart carries, layer by layer."""
    spec = json.loads(chart.to_json())  # type: ignore[attr-defined] # altair's charts
    shared = spec.get("data")  # a lone layer's data moves up
    return [spec["datasets"][layer.get("data", shared)["name"]] for layer in spec["layer"]]


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=400), st.integers(1, 20))
@settings(max_examples=50)
def test_thinning_keeps_what_a_pixel_shows(prices: list[int], buckets: int) -> None:
    """Of each bucket the first, lowest, highest and last tick stay, in their order."""
    whole = ticks([float(p) for p in prices])
    kept = thinned(whole, buckets)
    ns = whole["ts_event"].to_physical()
    width = max(1, ns.item(-1) - ns.item(0)) // buckets + 1
    bucket = ((pl.col("ts_event").to_physical() - T0) // width).alias("bucket")
    shown = [
        pl.col("price").first().alias("first"),
        pl.col("price").min().alias("low"),
        pl.col("price").max().alias("high"),
        pl.col("price").last().alias("last"),
    ]

    assert len(kept) <= 4 * buckets
    assert kept["ts_event"].is_sorted()
    assert (
        whole.group_by(bucket, maintain_order=True).agg(shown).rows()
        == kept.group_by(bucket, maintain_order=True).agg(shown).rows()
    )


@pytest.mark.slow
def test_a_single_spike_survives() -> None:
    """One tick far off among a million is drawn."""
    prices = np.full(1_000_000, 100.0)
    prices[654_321] = 250.0
    chart = plot_run(ticks(prices.tolist()), marks(0), marks(0), instrument="X")
    (line,) = datasets(chart)

    assert 250.0 == max(float(str(row["price"])) for row in line)
    assert len(line) <= 4 * WIDTH_PX


@given(st.integers(0, 3_000), st.integers(1, 400), st.integers(1, 5))
@settings(max_examples=25)
def test_merged_markers_count_every_row(count: int, most: int, strategies: int) -> None:
    """However many markers become one, their counts add up to all of them."""
    found = merged(marks(count, strategies=strategies), ["strategy_id", "side"], most)
    groups = min(count, strategies if strategies % 2 == 0 else 2 * strategies)

    assert count == found["count"].sum()
    assert len(found) <= max(most, groups)


def test_few_markers_are_not_merged() -> None:
    """Below the limit each signal is its own marker, at its own price."""
    frame = marks(MARKERS_MAX)

    assert frame["price"].to_list() == merged(frame, ["side"], MARKERS_MAX)["price"].to_list()


def test_the_plot_says_what_it_shows() -> None:
    """Title and subtitle count ticks, signals and drops, and say where marks stand for more."""
    chart = plot_run(ticks([100.0, 101.0] * 4_000), marks(2_000), marks(31), instrument="BTCUSDT")
    title = json.loads(chart.to_json())["title"]

    assert "BTCUSDT: 2,000 signals, 31 dropped" == title["text"]
    assert title["subtitle"][0].startswith("8,000 ticks, 2026-03-02 09:15:00 – 11:28:19 UTC; drawn")
    assert title["subtitle"][1].endswith("marks stand for 2,000 signals")


@pytest.mark.slow
def test_every_signal_and_drop_is_in_the_data() -> None:
    """Price line, drops, buys and sells are four layers, with strategy, side and reason."""
    line, drops, buys, sells = datasets(
        plot_run(ticks([100.0] * 50), marks(9), marks(5), instrument="X")
    )

    assert (50, 5, 5, 4) == (len(line), len(drops), len(buys), len(sells))
    assert {"BUY"} == {row["decision"] for row in buys}
    assert {"SELL"} == {row["decision"] for row in sells}
    assert {"cooldown"} == {row["reason"] for row in drops}
    assert "2026-03-02 09:15:01.000000000 UTC" == drops[1]["time"]


def test_a_token_plots_its_own_instrument_only() -> None:
    """Of frames with several instruments, the one asked for is shown, by its symbol."""
    one, two = (
        frame.with_columns(instrument_token=pl.lit(token), symbol=pl.lit(symbol))
        for frame, token, symbol in ((ticks([1.0] * 9), 1, "ONE"), (ticks([2.0] * 5), 2, "TWO"))
    )
    made = marks(6).with_columns(instrument_token=pl.lit(2))
    chart = plot_run(pl.concat([one, two]), made, made.clear(), instrument=2)

    assert "TWO: 6 signals, 0 dropped" == json.loads(chart.to_json())["title"]["text"]
    assert [5, 3, 3] == [len(rows) for rows in datasets(chart)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prices", "signals", "drops"), [([], 0, 0), ([], 2, 1), ([100.0], 0, 0), ([100.0], 1, 0)]
)
def test_almost_nothing_still_plots(
    prices: list[float], signals: int, drops: int, tmp_path: Path
) -> None:
    """No ticks, one tick, signals without ticks: a picture comes out."""
    chart = plot_run(ticks(prices), marks(signals), marks(drops), instrument="X")
    chart.save(tmp_path / "plot.png")

    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_ticks_without_a_price_are_left_out() -> None:
    """A tick that carries no price is not drawn at zero."""
    frame = ticks([100.0, 101.0]).with_columns(
        pl.when(pl.col("price") > 100).then(pl.col("price")).alias("price")
    )
    (line,) = datasets(plot_run(frame, marks(0), marks(0), instrument="X"))

    assert [101.0] == [row["price"] for row in line]


@pytest.mark.slow
def test_the_picture_is_in_utc_wherever_it_is_drawn() -> None:
    """A reader in Kolkata gets the same picture as one in New York."""
    code = (
        "import sys, hashlib, vl_convert; sys.path.insert(0, 'tests/unit/analysis')\n"
        "from test_plots import *\n"
        "chart = plot_run(ticks([100.0, 101.5, 99.0] * 9), marks(4), marks(3), instrument='X')\n"
        "print(hashlib.sha256(vl_convert.vegalite_to_svg(chart.to_json()).encode()).hexdigest())\n"
    )
    pictures = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"TZ": zone},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for zone in ("Asia/Kolkata", "America/New_York")
    }

    assert 1 == len(pictures)


def curves(points: int, *accounts: tuple[str | None, str | None]) -> pl.DataFrame:
    """Return curves of these (strategy, broker), each a saw of its own height."""
    n = np.arange(points)
    rows = [
        pl.DataFrame(
            {"ts_event": T0 + SECOND * n, "equity": 1000.0 + (n % 7) * (at + 1)}
        ).with_columns(
            pl.col("ts_event").cast(INSTANT),
            strategy_id=pl.lit(strategy, pl.String),
            broker=pl.lit(broker, pl.String),
        )
        for at, (strategy, broker) in enumerate(accounts)
    ]
    return pl.concat(rows)


def test_each_broker_has_a_line_of_its_own() -> None:
    """A strategy at two brokers is two lines and the total, all within what may be drawn."""
    accounts = (("s", "paper"), ("s", "zerodha"), (None, None))
    spec = json.loads(plot_pnl(curves(20_000, *accounts)).to_json())
    lines = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "line")
    rows = spec["datasets"][lines["data"]["name"]]

    assert len(rows) <= LINE_POINTS_MAX
    assert {("s", "paper"), ("s", "zerodha"), (TOTAL, None)} == {
        (row["strategy_id"], row["broker"]) for row in rows
    }
    assert "broker" == lines["encoding"]["detail"]["field"]
