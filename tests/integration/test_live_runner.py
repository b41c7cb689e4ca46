"""The live loop against a broker: what a run decided is what its recording replays to."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from waiting import until

from parity.core.engine import RunReport
from parity.live.ledger import read_ledger
from parity.live.produce import produce
from parity.model.events import EventBatch
from parity.model.ticks import TickBatch
from parity.publishers.redpanda import TickProducer
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder
from parity.sources import synthetic
from parity.testing.broker import Broker

pytestmark = pytest.mark.slow
CHILD = Path(__file__).with_name("live_child.py")
ENGINE = runpy.run_path(str(CHILD))["engine"]
TABLE, TICKS = synthetic.generate(ticks=4000)
WIRE = ("ts_event", "instrument_token", "price_int", "quantity_int", "side", "trade_id")


class Ticks(NamedTuple):
    """A recording of some ticks, in memory."""

    records: np.ndarray

    def batches(self) -> Iterator[EventBatch]:
        """Yield all ticks."""
        yield EventBatch(TickBatch.from_records(self.records, TABLE))


class Place(NamedTuple):
    """A run of one test: its folder, topic and broker."""

    folder: Path
    servers: str
    topic: str
    broker: str

    def start(self, checkpoint_ticks: int, *options: str) -> subprocess.Popen[str]:
        """Start a runner in a process of its own."""
        root = Path(__file__).parents[2]
        return subprocess.Popen(
            [
                sys.executable,
                str(CHILD),
                str(self.folder),
                self.servers,
                self.topic,
                self.broker,
                str(checkpoint_ticks),
                *options,
            ],
            env=os.environ | {"PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def outcome(self, checkpoint_ticks: int = 1000) -> dict[str, Any]:
        """Run a runner to the end of the topic."""
        child = self.start(checkpoint_ticks)
        printed, _ = child.communicate(timeout=180)
        assert 0 == child.returncode
        found: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return found

    def published(self) -> list[int]:
        """Return the signal numbers a reader of the output sees, in order."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {
                "bootstrap.servers": self.servers,
                "group.id": "reader",
                "fetch.wait.max.ms": 1,
                "auto.offset.reset": "earliest",
            }
        )
        topic = f"{self.broker}.signals.raw"
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
        consumer.assign([TopicPartition(topic, 0, 0)])
        numbers = []
        while len(numbers) < end:
            polled = consumer.consume(1000, timeout=1)
            numbers += [int(dict(message.headers())["signal_no"]) for message in polled]
        consumer.close()
        return numbers

    def replayed(self) -> tuple[RunReport, int]:
        """Replay the run's recording through a new engine; returns its report and signals."""
        again = ENGINE(self.broker)
        effects = []
        for batch in open_recording(self.folder / "recording").batches(batch_rows=333):
            effects += again.process(batch)
        return again.report(), again.next_signal_no - 1


@pytest.fixture
def place(broker: Broker, tmp_path: Path) -> Place:
    """Topics and folder of one test's own."""
    name = uuid.uuid4().hex[:10]
    found = Place(tmp_path / name, broker.bootstrap_servers, f"ticks-{name}", f"b{name}")
    broker.create_topic(found.topic, 1)
    broker.create_topic(f"{found.broker}.signals.raw", 1)
    return found


def check_proved(place: Place, ticks: np.ndarray) -> int:
    """Hold recording, run, replay, ledger and output against each other; returns the signals."""
    recording = open_recording(place.folder / "recording")
    kept = np.concatenate([b.ticks.to_records() for b in recording.batches()])
    for name in WIRE:
        assert ticks[name].tolist() == kept[name].tolist(), name
    assert "sealed" == recording.manifest.state

    run = RunFolder(place.folder)
    report, signals = place.replayed()
    run.check_outputs()
    assert report == run.manifest.report
    assert signals > 100
    numbers = list(range(1, signals + 1))
    assert numbers == sorted(r["signal_no"] for r in run.rows("decisions") if r["signal_no"])
    assert numbers == place.published()
    lines = read_ledger(place.folder / "deliveries" / "ledger.jsonl")[1]
    assert numbers == [line.signal_no for line in lines]
    return signals


def test_run_replays_to_what_it_published(place: Place) -> None:
    """A run to the end of a topic is sealed, and its replay gives the same digests and signals."""
    produce(Ticks(TICKS), place.topic, bootstrap=place.servers)
    outcome = place.outcome()

    assert (4000, True) == (outcome["ticks"], outcome["settled"])
    assert outcome["signals"] == check_proved(place, TICKS)


@pytest.mark.parametrize("round_", range(3))
def test_killed_run_goes_on_without_loss_or_double(place: Place, round_: int) -> None:
    """After kill -9 at a random moment a second runner ends as if there had been one."""
    half = len(TICKS) // 2
    produce(Ticks(TICKS[:half]), place.topic, bootstrap=place.servers)
    child = place.start(300, "--follow")
    ledger = place.folder / "deliveries" / "ledger.jsonl"
    until(lambda: ledger.exists() and len(ledger.read_bytes().splitlines()) > 1 + 40 * round_)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=180)
    lines = ledger.read_bytes().splitlines(keepends=True)
    # A kill between the broker's answer and the ledger: the last lines were never written.
    ledger.write_bytes(b"".join(lines[: -3 * round_ or None]) + lines[-1][:5])
    remove_checkpoints_beyond(place, len(lines) - 1 - 3 * round_)
    produce(Ticks(TICKS[half:]), place.topic, bootstrap=place.servers)
    place.outcome()

    check_proved(place, TICKS)
    verbs = [c.verb for c in open_recording(place.folder / "recording").controls()]
    assert ["resumed"] == verbs


def remove_checkpoints_beyond(place: Place, signals: int) -> None:
    """Take away checkpoints that came after the ledger line that the test takes away."""
    for seq, state in RunFolder(place.folder).checkpoints():
        _, _, next_signal_no, _ = state["engine"]["counts"]
        if next_signal_no - 1 > signals:
            (place.folder / "checkpoints" / f"{seq:020d}.ckpt").unlink()


def test_sigterm_drains_and_seals(place: Place) -> None:
    """SIGTERM ends a run that follows its topic within seconds: sealed, settled, provable."""
    produce(Ticks(TICKS), place.topic, bootstrap=place.servers)
    child = place.start(1000, "--follow")
    ledger = place.folder / "deliveries" / "ledger.jsonl"
    until(lambda: ledger.exists() and len(ledger.read_bytes().splitlines()) > 300)
    time.sleep(0.5)
    child.send_signal(signal.SIGTERM)
    printed, _ = child.communicate(timeout=180)

    assert 0 == child.returncode
    assert json.loads(printed.splitlines()[-1])["settled"]
    check_proved(place, TICKS)


def test_run_that_ended_goes_on_later(place: Place) -> None:
    """A sealed run takes up new ticks of its topic where it stopped."""
    produce(Ticks(TICKS[:1500]), place.topic, bootstrap=place.servers)
    place.outcome()
    produce(Ticks(TICKS[1500:]), place.topic, bootstrap=place.servers)
    place.outcome()

    check_proved(place, TICKS)


def test_poison_and_gaps_do_not_stop_a_run(place: Place) -> None:
    """Undecodable messages are quarantined with their bytes inside seq, and the run goes on."""
    with TickProducer(place.servers, place.topic, partition=0) as producer:
        producer.send([("k", b"poison")])
    produce(Ticks(TICKS), place.topic, bootstrap=place.servers)
    with TickProducer(place.servers, place.topic, partition=0) as producer:
        producer.send([("k", b"\x00" * 9)])
    outcome = place.outcome()

    assert 2 == outcome["quarantined"]
    check_proved(place, TICKS)
    controls = open_recording(place.folder / "recording").controls()
    assert [(1, b"poison"), (4002, b"\x00" * 9)] == [(c.seq, c.detail["payload"]) for c in controls]
