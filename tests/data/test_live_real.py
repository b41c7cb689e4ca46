"""Real ticks through a topic: loop, recording and replay say what the backtest says.

Three markets in the order a recorder saw them, and two days of SPY, whose equal rows are trades.
A soak takes all of it, else the capture's first minute and a half, and SPY's last of one day and
first of the next. A soak also takes the capture as fast as it once came, which is 345 seconds.
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from real_goldens import RECORDINGS, ROOT, command
from waiting import until

import parity as pt
from parity.compose.exports import Wanted, export
from parity.live.produce import _deliverable, produce
from parity.model.ticks import CATCH_UP, NO_TS_RECV
from parity.publishers.redpanda import TickProducer
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder
from parity.recording.slices import Range
from parity.sources.codecs.native import encode_batch
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


def sent_as_it_came(recording: Path, topic: str, servers: str) -> int:
    """Send a recording's ticks at the instants they arrived at, seen from its first; how many."""
    count, offset_ns = 0, None
    with open_recording(recording) as opened, TickProducer(servers, topic, partition=0) as producer:
        for batch in opened.batches():
            came = np.maximum.accumulate(batch.ticks.column("ts_recv"))
            ticks, refused = _deliverable(batch.ticks)
            assert not refused
            if offset_ns is None:
                offset_ns = time.monotonic_ns() - int(came[0])
            lo = 0
            while lo < len(ticks):
                hi = int(np.searchsorted(came, time.monotonic_ns() - offset_ns, side="right"))
                if hi > lo:
                    part = ticks.slice(lo, hi)
                    producer.send(("k", payload) for payload in encode_batch(part))
                    count, lo = count + hi - lo, hi
                time.sleep(0.005)  # a pace, and nothing is awaited
    return count


@pytest.mark.skipif(not int(os.environ.get("PARITY_SOAK", "0")), reason="345 seconds: a soak's")
def test_the_capture_as_fast_as_it_came_says_the_same(
    kafka_broker: Broker, shared_data: Path, tmp_path: Path
) -> None:
    """A paper run follows the topic while it grows, and is stopped: ticks and digests are those."""
    recording, run, topic = tmp_path / "whole", tmp_path / "run", f"real-{uuid.uuid4().hex[:10]}"
    pt.import_ticks([shared_data / f"{file}.parquet" for file in CAPTURE], to=recording)
    for one in (topic, "paper.signals.raw", "paper.orders.filled"):
        kafka_broker.create_topic(one, 1)
    rules, servers = tmp_path / "rules.yaml", kafka_broker.bootstrap_servers
    rules.write_text(RULES)
    pt.backtest(recording, rules, out=tmp_path / "before")
    words = ["paper", run, "--strategies", rules, "--topics", topic, "--from", "earliest",
             "--instrument-table", recording, "--bootstrap-servers", servers, "--json"]  # fmt: skip

    with (
        (tmp_path / "said").open("w+") as said_to,
        subprocess.Popen(
            [sys.executable, "-m", "parity", *map(str, words)], cwd=ROOT, stdout=said_to
        ) as process,
    ):
        try:
            until(lambda: (run / "recording" / "manifest.json").exists())
            began = time.monotonic()
            count = sent_as_it_came(recording, topic, servers)
            seconds = time.monotonic() - began

            def there() -> bool:
                assert process.poll() is None
                with open_recording(run / "recording") as opened:
                    return opened.tick_rows >= count

            until(there)
            process.send_signal(signal.SIGINT)
            assert 0 == process.wait(180)
        finally:
            process.kill()
        said_to.seek(0)
        live = json.load(said_to)
    replayed = pt.verify(run)

    assert count == live["ticks"]
    assert ticks(recording).equals(ticks(run / "recording"))
    assert said(tmp_path / "before") == said(run)
    assert "identical" == replayed.verdict
    assert seconds > 340
    print(f"capture at 1x: {count} ticks in {seconds:.0f} s, {said(run)}")
