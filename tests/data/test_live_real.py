"""Real ticks through a topic: loop, recording and replay say what the backtest says.

Three markets in the order a recorder saw them, and two days of SPY, whose equal rows are trades.
A soak takes all of it, else the capture's first minute and a half, and SPY's last of one day and
first of the next.
"""

import os
import uuid
from pathlib import Path

import polars as pl
import pytest
from real_goldens import RECORDINGS, command

import parity as pt
from parity.compose.exports import Wanted, export
from parity.live.produce import produce
from parity.model.ticks import CATCH_UP, NO_TS_RECV
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder
from parity.recording.slices import Range
from parity.testing.broker import Broker

pytestmark = [pytest.mark.data, pytest.mark.kafka, pytest.mark.slow]
SPOT_PERP = RECORDINGS["btcusdt_spot_and_perpetual"]
CAPTURE = (*SPOT_PERP, *RECORDINGS["btcusd_inverse"])
SPY = RECORDINGS["spy_two_days"]
# What a normal run takes: from and to, ns UTC, in time order as the venues had it.
PARTS = {
    "capture": (CAPTURE, None, 1_723_161_345_000_000_000),
    "spy": (SPY, 1_381_175_880_000_000_000, 1_381_239_060_000_000_000),
}
SAME = ("instrument_token", "ts_event", "price_int", "quantity_int", "side", "trade_id", "bid_int",
        "ask_int", "bid_quantity_int", "ask_quantity_int", "flags")  # fmt: skip
RULES = """\
strategies:
  - {strategy_name: rule, strategy_type: momentum, "on": trades, instruments: all,
     parameters: &m {lookback_periods: 20, threshold: 0.0002, position_size: 1}}
  - {strategy_name: kernel, strategy_type: momentum_kernel, "on": trades, instruments: all,
     parameters: *m}
  - {strategy_name: quotes, strategy_type: mean_reversion_kernel, "on": quotes, instruments: all,
     parameters: {lookback_periods: 50, z_entry: 4.0, position_size: 1}}
"""


def said(run: Path) -> dict[str, tuple[str, int]]:
    """Return by strategy what it said in a run: its candidate digest, and how many."""
    report = RunFolder(run).manifest.report
    assert report is not None
    return {e.strategy_id: (e.candidate_digest, e.candidates) for e in report.executors}


def ticks(folder: Path) -> pl.DataFrame:
    """Return what ticks are, in their order: all columns but those of one recording alone."""
    with open_recording(folder) as recording:
        batches = [batch.ticks for batch in recording.batches()]
    found = pl.concat([pl.DataFrame({n: b.column(n) for n in SAME}) for b in batches])
    # SPY's file has no arrival times; in a live recording all have one.
    # CATCH_UP says how long a tick lay at the broker.
    arrived = pl.col("flags") & ~pl.lit(NO_TS_RECV | CATCH_UP, pl.UInt32)
    return found.with_columns(arrived)


@pytest.mark.parametrize("name", PARTS)
def test_a_paper_run_of_real_ticks_says_what_the_backtest_says(
    name: str, kafka_broker: Broker, shared_data: Path, tmp_path: Path
) -> None:
    """One candidate digest a strategy: backtest, loop, backtest of what the loop kept, replay."""
    files, start, end = PARTS[name]
    recording, run, topic = tmp_path / "whole", tmp_path / "run", f"real-{uuid.uuid4().hex[:10]}"
    pt.import_ticks([shared_data / f"{file}.parquet" for file in files], to=recording)
    if not int(os.environ.get("PARITY_SOAK", "0")):
        export(recording, tmp_path / "part", Wanted(range=Range(None, start, end)))
        recording = tmp_path / "part"
    for one in (topic, "paper.signals.raw", "paper.orders.filled"):
        kafka_broker.create_topic(one, 1)
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    servers = kafka_broker.bootstrap_servers

    pt.backtest(recording, rules, out=tmp_path / "before")
    with open_recording(recording) as opened:
        sent = produce(opened, topic, bootstrap=servers)
    live = command(
        "paper", run, "--strategies", rules, "--topics", topic, "--from", "earliest",
        "--exit-at-end", "--instrument-table", recording, "--bootstrap-servers", servers,
    )  # fmt: skip
    pt.backtest(run / "recording", rules, out=tmp_path / "after")
    replayed = pt.verify(run)

    assert 0 == sent.left_out
    assert sent.ticks == live["ticks"] > 10_000
    assert ticks(recording).equals(ticks(run / "recording"))
    found = said(run)
    assert said(tmp_path / "before") == found == said(tmp_path / "after")
    assert found["rule"] == found["kernel"]
    assert found["rule"][1] > 3
    assert (found["quotes"][1] > 3) == (name == "capture")  # SPY is trades alone
    assert "identical" == replayed.verdict
    print(f"{name}: {sent.ticks} ticks, {found}")
