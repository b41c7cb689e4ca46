"""Real market data: every sum of the reference comes out of the recording exactly."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from real_values import QUOTES, TRADES

from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.recording.inspect import inspect_recording
from parity.recording.reader import Recording, open_recording
from parity.sources.importers import import_ticks

pytestmark = [pytest.mark.data, pytest.mark.slow]


def _columns(recording: Recording, *names: str) -> dict[str, Any]:
    batches = [b.ticks for b in recording.batches(columns=["seq", *names])]
    return {n: np.concatenate([b.column(n) for b in batches]) for n in names}


@pytest.fixture(scope="session")
def reference(shared_data: Path) -> dict[str, dict[str, int]]:
    """The exact integer sums that came with the data."""
    found: dict[str, dict[str, int]] = json.loads((shared_data / "REFERENCE.json").read_bytes())
    return found


def test_the_reference_covers_every_trades_file(
    shared_data: Path, reference: dict[str, dict[str, int]]
) -> None:
    """No file of trades is left out of the check below."""
    assert set(TRADES) == set(reference) == {p.stem for p in shared_data.glob("*_trades.parquet")}
    assert {*TRADES, *QUOTES} == {p.stem for p in shared_data.glob("*.parquet")}


@pytest.mark.parametrize("name", TRADES)
def test_sums_of_trades_are_exact(
    name: str, shared_data: Path, reference: dict[str, dict[str, int]], tmp_path: Path
) -> None:
    """Rows, times, prices, quantities, notional and CVD equal the reference to the last digit."""
    expected = reference[name]

    import_ticks(shared_data / f"{name}.parquet", tmp_path / "rec")

    recording = open_recording(tmp_path / "rec")
    found = inspect_recording(recording)
    only = found["instruments"][0]
    price, quantity = expected["price_scale"], expected["quantity_scale"]
    both = price + quantity
    times = _columns(recording, "ts_event")["ts_event"].tolist()
    sums = {
        "rows": only["trades"],
        "price_scale": next(iter(recording.table)).price_scale,
        "quantity_scale": next(iter(recording.table)).quantity_scale,
        "min_price_i": _integer(only["price"]["min"], price),
        "max_price_i": _integer(only["price"]["max"], price),
        "first_price_i": _integer(only["price"]["first"], price),
        "last_price_i": _integer(only["price"]["last"], price),
        "sum_quantity_i": _integer(only["quantity"], quantity),
        "sum_notional_i": _integer(only["notional"], both),
        "ts_sum_mod_2_63": sum(times) % 2**63,
        "buy_quantity_i": _integer(only["buy"], quantity),
        "sell_quantity_i": _integer(only["sell"], quantity),
        "cvd_base_i": _integer(only["cvd"], quantity),
        "cvd_quote_i": _integer(only["cvd_quote"], both),
    }
    assert {k: sums[k] for k in expected} == expected
    assert found["ticks"] == expected["rows"]
    assert "duplicate" not in found["flags"]


def _integer(text: str, scale: int) -> int:
    value = Decimal(text).scaleb(scale)
    assert value == int(value)
    return int(value)


@pytest.mark.parametrize("name", QUOTES)
def test_quotes_come_back_row_for_row(name: str, shared_data: Path, tmp_path: Path) -> None:
    """Every bid, ask and quantity of the file is in the recording, absent ones flagged."""
    path = shared_data / f"{name}.parquet"
    rows = pq.read_table(path)

    import_ticks(path, tmp_path / "rec")

    recording = open_recording(tmp_path / "rec")
    instrument = next(iter(recording.table))
    names = ("ts_event", "bid_int", "ask_int", "bid_quantity_int", "ask_quantity_int", "flags")
    found = _columns(recording, *names)
    assert found["ts_event"].tolist() == rows["ts_event"].to_pylist()
    for side in ("bid", "ask"):
        absent = found["flags"] & flag.FLAG_NAMES[f"no_{side}"] != 0
        values = [
            None if a else v for a, v in zip(absent, found[f"{side}_int"].tolist(), strict=True)
        ]
        assert values == rows[f"{side}_i"].to_pylist()
        absent = found["flags"] & flag.FLAG_NAMES[f"no_{side}_quantity"] != 0
        scaled = found[f"{side}_quantity_int"].tolist()
        quantities = [None if a else v for a, v in zip(absent, scaled, strict=True)]
        texts = rows[f"{side}_qty"].to_pylist()
        expected = [
            None if t is None else int(Decimal(t).scaleb(instrument.quantity_scale)) for t in texts
        ]
        assert quantities == expected


def test_trades_and_quotes_of_one_venue_merge_by_arrival(shared_data: Path, tmp_path: Path) -> None:
    """Spot quotes carry no venue time: they merge by ts_recv, flagged, and are never late."""
    names = ("trades", "quotes")
    paths = [shared_data / f"binance_spot_BTCUSDT_20240808_{n}.parquet" for n in names]

    report = import_ticks(paths, tmp_path / "rec")

    found = _columns(open_recording(tmp_path / "rec"), "ts_recv", "flags")
    quotes = (found["flags"] & flag.QUOTE) != 0
    assert report.order == "ts_recv"
    assert (np.diff(found["ts_recv"]) >= 0).all()
    assert ((found["flags"] & flag.NO_VENUE_TIME != 0) == quotes).all()
    assert not (found["flags"][quotes] & flag.LATE).any()


def test_no_order_is_made_up_for_data_that_has_none(shared_data: Path, tmp_path: Path) -> None:
    """Quotes without venue time and trades without arrival time have no common clock."""
    paths = [
        shared_data / "binance_spot_BTCUSDT_20240808_quotes.parquet",
        shared_data / "binance_spot_LTCUSDT_20250621_trades.parquet",
    ]

    with pytest.raises(
        InputRefused, match=r"row 1: ts_event: expected a venue time .* rows have none"
    ):
        import_ticks(paths, tmp_path / "rec")


@pytest.mark.parametrize("name", QUOTES)
def test_one_sided_locked_and_crossed_quotes_stay_what_they_are(
    name: str, shared_data: Path, tmp_path: Path
) -> None:
    """As many quotes lack a side, are locked or crossed in the recording as in the file."""
    path = shared_data / f"{name}.parquet"
    rows = pl.read_parquet(path, columns=["bid_i", "ask_i"])
    bid, ask = pl.col("bid_i"), pl.col("ask_i")

    import_ticks(path, tmp_path / "rec")

    found = _columns(open_recording(tmp_path / "rec"), "bid_int", "ask_int", "flags")
    one = (found["flags"] & (flag.NO_BID | flag.NO_ASK)) != 0
    both = ~one
    expected = rows.select(
        one=(bid.is_null() | ask.is_null()).sum(),
        locked=(bid == ask).sum(),
        crossed=(bid > ask).sum(),
    ).row(0)
    assert expected == (
        int(one.sum()),
        int((found["bid_int"] == found["ask_int"])[both].sum()),
        int((found["bid_int"] > found["ask_int"])[both].sum()),
    )


@pytest.mark.parametrize("name", [*TRADES, *QUOTES])
def test_arrival_times_and_sale_conditions_stay(
    name: str, shared_data: Path, tmp_path: Path
) -> None:
    """ts_recv comes back as it is, missing or behind ts_event; text flags are conditions."""
    path = shared_data / f"{name}.parquet"
    rows = pl.read_parquet(path)
    recv = rows["ts_recv"].to_list() if "ts_recv" in rows.columns else [None] * len(rows)
    said = rows["flags"].to_list() if "flags" in rows.columns else [None] * len(rows)

    import_ticks(path, tmp_path / "rec")

    recording = open_recording(tmp_path / "rec")
    found = _columns(recording, "ts_recv", "flags")
    absent = (found["flags"] & flag.NO_TS_RECV) != 0
    kept = [None if a else t for a, t in zip(absent, found["ts_recv"].tolist(), strict=True)]
    assert kept == recv
    conditions = [None if text == "ts=recv" else text for text in said]
    if any(conditions):
        assert recording.ticks().collect()["conditions"].to_list() == conditions
    else:
        assert recording.table.extensions == ()


@pytest.mark.parametrize(
    "stem",
    [
        "binance_coinm_BTCUSD_PERP_20240808",
        "binance_spot_BTCUSDT_20240809",
        "binance_usdm_BTCUSDT_20240808",
        "us_IBM_20131007",
    ],
)
def test_trades_and_quotes_merge_without_losing_a_row(
    stem: str, shared_data: Path, tmp_path: Path
) -> None:
    """Both files of a day become one order of one time, with every row of each in its own order."""
    paths = [shared_data / f"{stem}_{kind}.parquet" for kind in ("trades", "quotes")]

    report = import_ticks(paths, tmp_path / "rec")

    found = _columns(open_recording(tmp_path / "rec"), report.order, "flags", "ts_event")
    assert (np.diff(found[report.order]) >= 0).all()
    for path, bit in zip(paths, (flag.TRADE, flag.QUOTE), strict=True):
        times = found["ts_event"][(found["flags"] & bit) != 0].tolist()
        assert times == pq.read_table(path)["ts_event"].to_pylist()
