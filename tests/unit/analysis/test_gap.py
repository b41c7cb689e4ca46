"""The reality gap: its paper side against the paper broker itself, its outside by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from outside_run import MINE, TABLE, TOKEN, run_with
from typer.testing import CliRunner

import parity as pt
from parity.analysis import frames
from parity.analysis.gap import allotted, gaps_of, offered_of, on_paper
from parity.analysis.page import page
from parity.analysis.report import report_of
from parity.cli import app
from parity.core.terms import Terms
from parity.live.telemetry import Telemetry
from parity.model.ticks import TickBatch
from parity.recording.reader import Recording
from parity.sources import synthetic


def test_the_paper_side_is_what_the_paper_broker_fills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a real backtest without refusals: price, time and commission of every fill."""
    synthetic.make_recording(tmp_path / "rec", seed=11, ticks=4_000)
    sets = ["threshold=0.0005", "paper.cash=1000000000", "paper.allow_short=true"]
    sets += ["paper.slippage=0.002", "risk.cooldown_sec=0"]
    run = pt.backtest(tmp_path / "rec", "momentum", overrides=sets, out=tmp_path / "run").folder
    terms = Terms.of(run.manifest.strategies[0].config["parameters"])
    exact = pl.col("ts_event").to_physical()
    signals = frames.signals(run.path).with_columns(exact).to_dicts()
    done = {f["signal_id"]: f for f in frames.fills(run.path).with_columns(exact).to_dicts()}
    read: list[int] = []
    batches = Recording.batches

    def counted(self: Recording, **how: Any) -> Any:
        read.append(1)
        return batches(self, **how)

    monkeypatch.setattr(Recording, "batches", counted)
    offered = offered_of(run, [*{s["instrument_token"] for s in signals}])

    assert (2, [1]) == (len(offered), read)  # of all instruments once
    assert pytest.approx(0.002) == float(terms.slippage)
    assert len(done) > 50
    for signal in signals:
        signal["sign"] = 1 if signal["side"] == "BUY" else -1
        found, fill = on_paper(signal, offered, terms), done.get(signal["signal_id"])
        assert (found is None) == (fill is None)
        if found is not None and fill is not None:
            assert fill["ts_event"] == found.ts_event
            assert fill["price"] == pytest.approx(found.price, rel=1e-12)
            assert fill["commission"] == pytest.approx(found.commission, rel=1e-12)


def price(number: int) -> float:
    """Return the price of a tick, counted from 1."""
    return float(TickBatch.from_records(MINE[:12], TABLE).column("price")[number - 1])


def at(number: int, after_ns: int = 0) -> int:
    """Return the time of a tick, counted from 1, and some more."""
    return int(MINE["ts_event"][number - 1]) + after_ns


def test_fills_by_hand(tmp_path: Path) -> None:
    """Two parts for the first signal, none for the second, a late and dear one for the third."""
    fills = {
        3: [
            {"quantity": 1, "fill_price": price(3), "ts_event": at(3, 5)},
            {"quantity": 1, "fill_price": price(3) * 1.02, "ts_event": at(3, 9)},
        ],
        7: [{"quantity": 2, "fill_price": price(6) * 1.5, "ts_event": at(6, 1)}],
    }
    (found,) = gaps_of(run_with(tmp_path / "run", fills))

    assert ("s", "zerodha", 3, 0, 0) == (
        found.strategy_id,
        found.broker,
        found.signals,
        found.fills_without_signal,
        found.not_simulated,
    )
    assert (2, 1, 3, 0) == (
        found.outside.filled,
        found.outside.missed,
        found.paper.filled,
        found.paper.missed,
    )
    assert found.outside.slippage_mean == pytest.approx((0.01 + 0.5) / 2)
    assert found.outside.slippage_max == pytest.approx(0.5)
    assert (1, 9) == (found.outside.latency_ns_p50, found.outside.latency_ns_max)
    assert found.outside.commission == pytest.approx(1.5)
    expected = [(price(n + 1) - price(n)) / price(n) for n in (3, 6, 9)]
    assert found.paper.slippage_mean == pytest.approx(sum(expected) / 3)
    assert found.paper.latency_ns_max == max(at(n + 1) - at(n) for n in (3, 6, 9))
    outside = [price(3) * 1.01, price(6) * 1.5]
    both = [(o - price(n)) / price(n) for o, n in zip(outside, (4, 7), strict=True)]
    assert found.price_gap_mean == pytest.approx(sum(both) / 2)


def test_a_fill_that_names_its_signal_is_its(tmp_path: Path) -> None:
    """The third signal's fill says so: the second is the one that was missed."""
    first = run_with(tmp_path / "first", {})
    ids = frames.signals(first.path)["signal_id"].to_list()
    fill = {"quantity": 2, "fill_price": price(9), "ts_event": at(9, 4), "signal_id": ids[2]}
    (found,) = gaps_of(run_with(tmp_path / "run", {9: [fill]}))

    assert (1, 2) == (found.outside.filled, found.outside.missed)
    assert (0.0, 4) == (found.outside.slippage_mean, found.outside.latency_ns_max)


def test_fills_that_no_signal_explains_are_counted() -> None:
    """Before any signal, beyond its quantity, and of the other side."""

    def row(seq: int, side: str = "BUY", quantity: float = 2.0, **more: Any) -> dict[str, Any]:
        base = {"seq": seq, "side": side, "quantity": quantity, "instrument_token": 1}
        return base | {"price": 1.0, "ts_event": seq, "commission": 1.0, "of": None} | more

    signals = [row(5, signal_id="a")]
    fills = [row(4), row(6, "SELL"), row(7, quantity=3.0), row(8)]
    done, lost = allotted(signals, fills)

    assert 3 == lost
    assert {0: 2 / 3} == {number: one.commission for number, one in done.items()}


def test_a_live_run_without_a_fill_missed_all(tmp_path: Path) -> None:
    """Nothing came back from the venue: every signal is missed, and paper says what it would be."""
    (found,) = gaps_of(run_with(tmp_path / "run", {}))

    assert (0, 3, None, None) == (
        found.outside.filled,
        found.outside.missed,
        found.outside.slippage_mean,
        found.price_gap_mean,
    )
    assert 3 == found.paper.filled


def test_a_backtest_has_no_gap(tmp_path: Path) -> None:
    """What was never filled outside is held against nothing."""
    synthetic.make_recording(tmp_path / "rec", ticks=500)
    run = pt.backtest(tmp_path / "rec", "momentum", out=tmp_path / "run").folder

    assert [] == gaps_of(run)
    assert np.array_equal(MINE["instrument_token"], np.full(len(MINE), TOKEN))


def test_a_person_sees_it(tmp_path: Path) -> None:
    """On the page and as text: gap, latency by stage, and what held the loop up."""
    fill = {"quantity": 2, "fill_price": price(3), "ts_event": at(3, 5)}
    run = run_with(tmp_path / "run", {3: [fill]})
    measured = Telemetry()
    measured.begin()
    measured.mark("journal")
    measured.beat(20_000_000, 2**60, 3)
    measured.save(run.path)
    shown = page(run, report_of(run))
    text = CliRunner(env={"NO_COLOR": "1"}).invoke(app, ["report", str(run.path)])

    assert 0 == text.exit_code, text.stderr
    for words in ("Reality gap", "s at zerodha", "Latency", "What held the loop up", "20 ms"):
        assert words in shown
    for words in (
        "reality gap of s at zerodha: 3 signals",
        "latency",
        "stall of 20 ms behind seq 3",
    ):
        assert words in text.stdout
