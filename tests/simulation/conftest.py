"""What the simulations share: live commands as processes, and everything they must have kept.

Seeds come from PARITY_SEED, counts from PARITY_SOAK; each simulation prints how to repeat it.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from waiting import LIMIT_S, until

from parity.core.orders import OUTSIDE
from parity.live.ledger import FillLine, read_ledger
from parity.model.errors import RecordingMissing
from parity.model.events import Control
from parity.model.ticks import TickBatch
from parity.publishers.redpanda import TickProducer
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder
from parity.sources import synthetic
from parity.sources.codecs.native import encode_batch
from parity.testing.broker import Broker, start_broker
from parity.testing.broker.admin import read_topic

ROOT = Path(__file__).resolve().parents[2]
WIRE = ("ts_event", "instrument_token", "price_int", "quantity_int", "side", "trade_id")

SIGNALS = "paper.signals.raw"
FILLS = "paper.orders.filled"
RULES = """\
strategies:
  - {strategy_name: py, strategy_type: momentum, instruments: [900001, 900002], parameters: &m
     {lookback_periods: 20, threshold: 0.002, position_size: 1, risk: {cooldown_sec: 10}}}
  - {strategy_name: kernel, strategy_type: momentum_kernel, instruments: [900001, 900002],
     parameters: *m}
  - {strategy_name: reversion, strategy_type: mean_reversion, instruments: [900001, 900002],
     parameters: {lookback_periods: 20, z_entry: 2.0, position_size: 1, risk: {cooldown_sec: 10}}}
"""


class Bench(NamedTuple):
    """One run or recording under test: where it is, who serves, and the producer's own log."""

    broker: Broker
    folder: Path
    topic: str
    records: np.ndarray
    sent: list[int]  # how many of the records were produced, in all and last
    processes: list[subprocess.Popen[bytes]]

    @property
    def log(self) -> Path:
        """What the commands said."""
        return self.folder.with_suffix(".log")

    @property
    def journal(self) -> Path:
        """The journal of the run's recording, or of the recording."""
        within = self.folder / "recording"
        return (within if within.exists() else self.folder) / "journal"

    def said(self, word: str) -> int:
        """Return how often the log has a word."""
        return self.log.read_text().count(word) if self.log.exists() else 0

    def controls(self) -> list[Control]:
        """Return the controls of the run's recording."""
        with open_recording(self.folder / "recording") as recording:
            return list(recording.controls())

    def produce(self, count: int) -> None:
        """Send the next ticks, and wait until the broker has them."""
        table = synthetic.TABLE
        part = self.records[self.sent[0] : self.sent[0] + count]
        with TickProducer(self.broker.bootstrap_servers, self.topic, partition=0) as producer:
            payloads = encode_batch(TickBatch.from_records(part, table))
            producer.send((str(t), p) for t, p in zip(part["instrument_token"], payloads, strict=1))
        self.sent[:] = self.sent[0] + len(part), len(part)

    def send(self, *payloads: bytes) -> None:
        """Send messages as they are."""
        with TickProducer(self.broker.bootstrap_servers, self.topic, partition=0) as producer:
            producer.send(("k", payload) for payload in payloads)

    def start(
        self, command: str, *options: str, program: str = "", **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start `parity paper`, `live` or `record` on the folder, following the topic.

        `program` is Python that runs before the command, in its process.
        """
        begin = ["-c", f"{program}\nfrom parity.cli import main; main()"]
        begin = begin if program else ["-m", "parity"]
        words = [sys.executable, *begin, command, str(self.folder), "--json"]
        words += ["--topics", self.topic, "--from", "earliest"]
        words += ["--bootstrap-servers", self.broker.bootstrap_servers]
        words += ["--instrument-table", str(self.folder.parent / "table.json")]
        if command == "paper" and "--strategies" not in options:
            words += ["--strategies", str(self.folder.parent / "rules.yaml")]
        # Segments of a second: kills also come while one is sealed behind the loop.
        given = {"PARITY_CHECKPOINT_TICKS": "300", "PARITY_ROTATE_S": "1", "NO_COLOR": "1"}
        given |= environment
        with self.log.open("ab") as file:
            process = subprocess.Popen(
                [*words, *options], cwd=ROOT, stdout=file, stderr=file, env=os.environ | given
            )
        self.processes.append(process)
        return process

    def finish(self, command: str, *options: str, code: int = 0, program: str = "") -> str:
        """Run a command to the end of the topic; returns what it said."""
        before = self.log.stat().st_size if self.log.exists() else 0
        process = self.start(command, "--exit-at-end", *options, program=program)
        found = process.wait(LIMIT_S)
        said = self.log.read_bytes()[before:].decode()
        assert code == found, said
        assert "Traceback" not in said
        return said

    def kept_ticks(self) -> int:
        """Return how many ticks are kept, in parts or in the journal."""
        try:
            with open_recording(self.journal.parent) as recording:
                return recording.tick_rows
        except RecordingMissing:  # not made yet
            return 0

    def await_ticks(self, process: subprocess.Popen[bytes], count: int) -> None:
        """Wait until all that was sent before is kept, and that many of what was sent last."""
        self.await_kept(process, self.sent[0] - self.sent[1] + count)

    def await_kept(self, process: subprocess.Popen[bytes], goal: int) -> None:
        """Wait until that many ticks are kept in all."""

        def there() -> bool:
            assert process.poll() is None, self.log.read_text()
            return self.kept_ticks() >= goal

        until(there, lambda: f"{self.kept_ticks()} of {goal} ticks kept: {self.log.read_text()}")

    def stop(self, process: subprocess.Popen[bytes], how: signal.Signals) -> tuple[int, float]:
        """Send a signal; returns the exit code and how long it took; one that hangs is an error."""
        began = time.monotonic()
        process.send_signal(how)
        return process.wait(LIMIT_S), time.monotonic() - began

    # -- what must hold at the end

    def check_recording(self, folder: Path | None = None) -> Counter[str]:
        """Hold the sealed recording against the producer's log; returns its controls by verb."""
        with open_recording(folder or self.folder) as recording:
            assert "sealed" == recording.manifest.state
            recording.check_files()
            kept = np.concatenate([b.ticks.to_records() for b in recording.batches()])
            controls = Counter(c.verb for c in recording.controls())
        sent = self.records[: self.sent[0]]
        for name in WIRE:
            assert np.array_equal(sent[name], kept[name]), name
        assert list(range(len(sent))) == kept["offset"].tolist()
        return controls

    def check_signals(self) -> int:
        """Hold approvals, ledger and output topic against each other; returns how many."""
        run = RunFolder(self.folder)
        run.check_outputs()
        assert "complete" == run.manifest.state
        approved = sorted(r["signal_no"] for r in run.rows("decisions") if r["signal_no"])
        assert list(range(1, len(approved) + 1)) == approved
        messages = read_topic(self.broker.bootstrap_servers, SIGNALS)
        mine = [h for _, h, _ in messages if h["run_id"] == run.manifest.run_id]
        assert approved == [int(headers["signal_no"]) for headers in mine]
        ledger = read_ledger(self.folder / "deliveries" / "ledger.jsonl")[1]
        assert approved == sorted(line.signal_no for line in ledger)
        assert {"delivered", "recovered"} >= {line.state for line in ledger}
        self.check_fills(run)
        return len(approved)

    def digests(self) -> list[tuple[str, str, str]]:
        """Return what each executor said and decided, as the report of the ended run has it."""
        report = RunFolder(self.folder).manifest.report
        assert report is not None
        return [(e.strategy_id, e.candidate_digest, e.decision_digest) for e in report.executors]

    def check_fills(self, run: RunFolder) -> int:
        """Hold paper fills, their ledger and topic against each other; returns how many."""
        if not run.manifest.settings.get("paper_fills"):
            assert not (self.folder / "deliveries" / "fills.jsonl").exists()
            return 0
        rows = [r for r in run.rows("decisions") if r["kind"] == "fill" and r["reason"] != OUTSIDE]
        run_id, messages = run.manifest.run_id, read_topic(self.broker.bootstrap_servers, FILLS)
        mine = [(h, json.loads(v)) for _, h, v in messages if h["run_id"] == run_id]
        numbers = list(range(1, len(rows) + 1))
        assert numbers == [int(headers["fill_no"]) for headers, _ in mine]
        assert len(rows) == len({message["id"] for _, message in mine})
        for row, (_, message) in zip(rows, mine, strict=True):
            said = message["data"]
            assert [row[k] for k in ("strategy_id", "instrument_token", "price", "quantity")] == [
                said[k] for k in ("strategy_id", "instrument_token", "fill_price", "quantity")
            ]
            assert row["signal_id"] == said["order_id"]
        ledger = read_ledger(self.folder / "deliveries" / "fills.jsonl", FillLine)[1]
        assert numbers == sorted(line.fill_no for line in ledger)
        return len(rows)

    def verify(self) -> dict[str, Any]:
        """Return what `parity verify` says, which must be identical."""
        words = [sys.executable, "-m", "parity", "verify", str(self.folder), "--json"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        assert "identical" == found["verdict"]
        return found


@pytest.fixture(scope="session")
def soak() -> int:
    """What a soak counts by: faults, thousandths of a day; 0 in the normal run."""
    return int(os.environ.get("PARITY_SOAK", "0"))


@pytest.fixture
def seed(request: pytest.FixtureRequest, soak: int) -> int:
    """The seed of a simulation; the line that repeats it is printed."""
    chosen = int(os.environ.get("PARITY_SEED") or secrets.randbelow(2**32))
    print(f"repeat: PARITY_SEED={chosen} PARITY_SOAK={soak} pytest '{request.node.nodeid}' -s")
    return chosen


@pytest.fixture(scope="session")
def mock() -> Iterator[Broker]:
    """The mock broker, whatever else serves the session."""
    with start_broker(prefer="mock") as started:
        yield started


@pytest.fixture
def own_mock() -> Iterator[Broker]:
    """A mock broker of one test, for errors that would meet others."""
    with start_broker(prefer="mock") as started:
        yield started


@pytest.fixture(params=["mock", pytest.param("kafka", marks=pytest.mark.kafka)])
def any_broker(request: pytest.FixtureRequest) -> Broker:
    """The mock, and a real Kafka where there is one."""
    found: Broker = request.getfixturevalue("mock" if request.param == "mock" else "kafka_broker")
    return found


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Make a bench: a topic and folder of its own, ticks of a seed."""
    made: list[Bench] = []

    def make(broker: Broker, ticks: int, seed: int = 1) -> Bench:
        table, records = synthetic.generate(seed=seed, ticks=ticks)
        topic = f"ticks-{uuid.uuid4().hex[:10]}"
        broker.create_topic(topic, 1)
        broker.create_topic(SIGNALS, 1)
        broker.create_topic(FILLS, 1)
        (tmp_path / "table.json").write_bytes(msgspec.json.encode(table.to_json()))
        (tmp_path / "rules.yaml").write_text(RULES)
        made.append(Bench(broker, tmp_path / "run", topic, records, [0, 0], []))
        return made[-1]

    yield make
    for bench in made:
        for process in bench.processes:
            process.kill()
            process.wait()
