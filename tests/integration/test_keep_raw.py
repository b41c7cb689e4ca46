"""Payloads recorded from a topic, through a kill and on paper: whole, in order, no trouble."""

import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import until

from parity.publishers.redpanda import TickProducer
from parity.recording.payloads import payloads_of
from parity.recording.reader import open_recording
from parity.sources.synthetic import make_recording
from parity.testing.broker import Broker

ROOT = Path(__file__).resolve().parents[2]
Cli = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.slow
TICKS = 2000


def _ticks(rec: Path) -> int:
    """Return how many ticks a recording holds; none where it has not begun."""
    if not (rec / "manifest.json").exists():
        return 0
    with open_recording(rec) as found:
        return found.tick_rows


@pytest.fixture
def topic(broker: Broker) -> str:
    """A topic of one partition, and where paper signals go."""
    name = f"raw.{uuid.uuid4().hex[:8]}"
    broker.create_topic(name)
    broker.create_topic("paper.signals.raw")
    broker.create_topic("paper.orders.filled")
    return name


def test_a_killed_recorder_keeps_each_payload_once(
    cli: Cli, broker: Broker, topic: str, tmp_path: Path
) -> None:
    """Ticks and poison, a SIGKILL amid them: decoded anew, every event and seq is as it was."""
    source, rec = tmp_path / "source", tmp_path / "rec"
    make_recording(source, seed=3, ticks=TICKS)
    at = ("--bootstrap-servers", broker.bootstrap_servers)
    options = ("record", rec, "--topics", topic, *at, "--from", "earliest", "--keep-raw",
               "--no-dead-letters", "--instrument-table", source, "--json")  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "parity", *map(str, options)], cwd=ROOT, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    sending = threading.Thread(
        target=cli, args=("produce", source, "--topic", topic, *at, "--pace", "400")
    )
    try:
        sending.start()
        until(lambda: _ticks(rec))
    finally:
        process.kill()
        process.wait()
        sending.join()
    assert 0 < _ticks(rec) < TICKS  # the kill came amid the stream
    with TickProducer(broker.bootstrap_servers, topic, partition=0) as producer:
        producer.send([("k", b"poison"), ("k", b"\x00")])
    found = cli(*options, "--exit-at-end")
    assert 0 == found.returncode, found.stderr
    again = cli("repair", rec, "--redecode", tmp_path / "new", "--json")
    assert 0 == again.returncode, again.stderr
    made = json.loads(again.stdout)

    assert (TICKS + 2, TICKS, 2, True, 0) == tuple(
        made[n] for n in ("messages", "ticks", "quarantined", "same_seq", "copied")
    )
    offsets = [n for c in payloads_of(rec) for n in c.detail["offsets"]]
    assert [*range(TICKS + 2)] == offsets
    query = "SELECT * FROM ticks ORDER BY seq"
    events = "SELECT seq, verb, ts_recv, detail_json FROM events ORDER BY seq"
    with open_recording(rec) as old, open_recording(tmp_path / "new") as new:
        assert old.sql(query).fetchall() == new.sql(query).fetchall()
        assert old.sql(events).fetchall() == new.sql(events).fetchall()
    assert 0 == cli("inspect", tmp_path / "new").returncode
    shown = cli("inspect", tmp_path / "new").stdout
    assert "decoded anew from recording" in shown


def test_a_paper_run_that_keeps_payloads_is_proved(
    cli: Cli, broker: Broker, topic: str, tmp_path: Path
) -> None:
    """Payload events move nothing: verify is identical, the digests are those of a backtest."""
    source, run = tmp_path / "source", tmp_path / "run"
    make_recording(source, seed=5, ticks=TICKS)
    at = ("--bootstrap-servers", broker.bootstrap_servers)
    rules = ("-s", "momentum", "--set", "threshold=0.002")
    assert 0 == cli("produce", source, "--topic", topic, *at).returncode
    paper = cli("paper", run, *rules, "--topics", topic, *at, "--from", "earliest",
                "--exit-at-end", "--keep-raw", "--instrument-table", source, "--json")  # fmt: skip
    assert 0 == paper.returncode, paper.stderr
    plain = cli("backtest", source, *rules, "--out", tmp_path / "b", "--json")
    assert 0 == plain.returncode, plain.stderr
    verdict = json.loads(cli("verify", run, "--json").stdout)

    assert "identical" == verdict["verdict"]
    digests = [json.loads(one.stdout)["digests"]["candidates"] for one in (paper, plain)]
    assert digests[0] == digests[1]
    assert TICKS == sum(len(c.detail["payloads"]) for c in payloads_of(run / "recording"))
    sliced = cli("export", run / "recording", tmp_path / "slice")
    assert 0 == sliced.returncode, sliced.stderr
    with open_recording(tmp_path / "slice") as part:
        assert "raw" not in {c.verb for c in part.controls()}
