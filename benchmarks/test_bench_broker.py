"""The live path with a real broker: recording, drain, latency at a pace, a tick's way to a signal.

Broker, runner and the desk at the other side share the CPUs, as on a small machine they do. Where
no Kafka can be started, the rows are skipped: the mock keeps too little.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks import generate
from benchmarks.desk import SIGNALS
from benchmarks.report import middle, rate
from benchmarks.test_bench_live import run_to_end, run_writer
from parity.core.engine import Engine
from parity.live.delivery import Delivery
from parity.live.runner import Outcome, Strategies
from parity.live.telemetry import telemetry_of
from parity.model.ticks import TICK_DTYPE, TickBatch
from parity.publishers.redpanda import RedpandaPublisher, TickProducer
from parity.recording.runs import RunFolder
from parity.sources import synthetic
from parity.sources.codecs.native import NativeDecoder, encode_batch
from parity.sources.portions import Portions
from parity.sources.redpanda import BATCH_MESSAGES_MAX, RedpandaSource
from parity.testing.broker import Broker, start_broker
from parity.testing.broker.errors import BrokerError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.report import Report

BACKLOG = min(generate.TICKS, 400_000)
ROUNDS = 3
RATES = {1_000: 20_000, 10_000: 50_000, 50_000: 250_000}  # ticks in all, by ticks a second
FROM_READER_US = 100  # at 1 000 a second
FIRST_PART = 5  # a fifth of what was measured is warm-up


@pytest.fixture(scope="module")
def kafka() -> Iterator[Broker]:
    """A Kafka of this module's own."""
    try:
        started = start_broker(prefer="kafka")
    except BrokerError as error:
        pytest.skip(f"no Kafka: {error}")
    with started:
        started.create_topic(SIGNALS, 1)
        started.create_topic("paper.orders.filled", 1)
        yield started


class Noted(Portions):
    """Notes when the loop took a portion."""

    at = 0

    def size(self, ready: int) -> int:
        """Note it; decoding begins now."""
        self.at = time.monotonic_ns()
        return super().size(ready)


class NotedSource(RedpandaSource):
    """A source that notes, of all ticks, when they were read, taken and done with.

    Done with is when the loop asks for more: then they are journaled and decided, and their signals
    are with the producer.
    """

    def __init__(self, broker: Broker, topic: str, **options: Any) -> None:
        self.table = synthetic.TABLE
        decoder = NativeDecoder(self.table)
        super().__init__(broker.bootstrap_servers, [topic], decoder, **options)
        self._portions = self.noted = Noted(BATCH_MESSAGES_MAX)
        self.read: list[tuple[int, int]] = []  # (when, how many)
        self.taken: deque[tuple[int, int]] = deque()
        self.done: list[tuple[int, int]] = []
        self.began = self.ended = 0
        self.goal = 0  # ticks behind which it asks for a stop
        self.stopping: asyncio.Event | None = None
        self.desk: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start the desk as well, where there is one."""
        await super().start()
        if self.desk:
            self.process = subprocess.Popen(  # noqa: ASYNC220  # a moment before the first tick
                self.desk, stdin=subprocess.PIPE
            )

    async def take(self, wait_s: float) -> Any:
        """Note the times around."""
        now = time.monotonic_ns()
        if len(self.taken) > len(self.done):
            self.done.append((now, self.taken[-1][1]))
            self.ended = now
            self.goal -= self.taken[-1][1]
            if self.stopping is not None and self.goal <= 0:
                self.stopping.set()
        arrived = await super().take(wait_s)
        if arrived is not None and len(arrived.records):
            self.began = self.began or self.noted.at
            self.taken.append((self.noted.at, len(arrived.records)))
        return arrived

    def _hand_over(self, messages: Any) -> None:
        if messages.payloads:
            self.read.append((time.monotonic_ns(), len(messages.payloads)))
        super()._hand_over(messages)


def each(noted: Any) -> np.ndarray:
    """Return a time for each tick, of (time, how many)."""
    times, counts = np.array(noted, np.int64).T
    return np.repeat(times, counts)


def filled(kafka: Broker, ticks: int, partitions: int = 1) -> str:
    """Return a topic with that many ticks, spread evenly over its partitions."""
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    kafka.create_topic(topic, partitions)
    table, records = synthetic.generate(generate.SEED, ticks)
    payloads = [*encode_batch(TickBatch.from_records(records, table))]
    for n in range(partitions):
        with TickProducer(kafka.bootstrap_servers, topic, partition=n) as producer:
            producer.send(("k", payload) for payload in payloads[n::partitions])
    return topic


def bare(kafka: Broker, topic: str, ticks: int) -> float:
    """Consume and decode, nothing else; return seconds from the first message to the last."""
    from confluent_kafka import Consumer, TopicPartition

    from parity.sources.redpanda.connection import SETTINGS

    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, **SETTINGS})
    consumer.assign([TopicPartition(topic, 0, 0)])
    decode, done, began = NativeDecoder(synthetic.TABLE).decode_into, 0, 0.0
    while done < ticks:
        first = consumer.poll(1.0)
        if first is None:
            continue
        began = began or time.perf_counter()
        messages = [first, *consumer.consume(BATCH_MESSAGES_MAX - 1, timeout=0)]
        records = np.zeros(len(messages), TICK_DTYPE)
        for row, message in enumerate(messages):
            decode(message.value(), records, row, 0, message.offset() or 0)
        done += len(messages)
    seconds = time.perf_counter() - began
    consumer.close()
    return seconds


def run(
    folder: Path,
    source: NotedSource,
    kafka: Broker,
    parameters: dict[str, Any] | None,
    durability: str = "fdatasync",
) -> Outcome:
    """Run a recorder, or a paper run with the momentum kernel, to its end."""
    strategies = None
    if parameters is not None:
        engine = Engine(source.table, [generate.plan("momentum_kernel", parameters)])
        publisher = RedpandaPublisher(kafka.bootstrap_servers, folder.name)
        delivery = Delivery(publisher, folder / "ledger.jsonl", folder.name, {"paper": "paper"})
        strategies = Strategies(engine, run_writer(folder), delivery)
    stop = asyncio.Event()
    source.stopping = stop if source.goal else None
    return run_to_end(folder, source, source.table, strategies, stop=stop, durability=durability)


def test_bench_broker_backlog(
    benchmark: Any, report: Report, kafka: Broker, tmp_path: Path
) -> None:
    """A backlog consumed and recorded, and by a paper run, beside bare consuming and decoding."""
    topic, spread = filled(kafka, BACKLOG), filled(kafka, BACKLOG, 3)
    references: list[float] = []
    recorders: list[float] = []
    merges: list[float] = []
    drains: dict[str, list[float]] = {"os": [], "fdatasync": []}

    def turn() -> None:
        references.append(bare(kafka, topic, BACKLOG))
        runs = [(found, topic, generate.MOMENTUM, how) for how, found in drains.items()]
        runs.append((merges, spread, generate.MOMENTUM, "os"))
        for found, of, parameters, how in ((recorders, topic, None, "fdatasync"), *runs):
            source = NotedSource(kafka, of, exit_at_end=True)
            outcome = run(tmp_path / uuid.uuid4().hex, source, kafka, parameters, how)
            assert BACKLOG == outcome.ticks
            found.append((source.ended - source.began) / 1e9)

    benchmark.pedantic(turn, rounds=ROUNDS, warmup_rounds=1)
    ratio = middle([a / b for a, b in zip(references[1:], recorders[1:], strict=True)])
    speed = rate(BACKLOG, recorders[1:])
    report.at_least("consume and record", speed, ratio, 0.8, "bare consume + decode")
    report.say("bare consume + decode", rate(BACKLOG, references[1:]))
    drained = BACKLOG / middle(drains["os"][1:]) / 1e6
    report.above("drain, momentum kernel, journal not synced", drained, "M ticks/s", least=0.5)
    report.say("drain of three partitions, merged, not synced", rate(BACKLOG, merges[1:]))
    report.say("drain, synced before each turn's signals", rate(BACKLOG, drains["fdatasync"][1:]))


def quantiles(ns: np.ndarray) -> str:
    """Return p50 and p99 in µs."""
    p50, p99 = (float(np.quantile(ns, q)) / 1e3 for q in (0.5, 0.99))
    return f"{p50:.0f} / {p99:.0f} µs"


@pytest.mark.parametrize("pace", RATES)
def test_bench_broker_latency(
    benchmark: Any, report: Report, kafka: Broker, tmp_path: Path, pace: int
) -> None:
    """A paper run at a pace: from the reader thread, from bytes, and a tick's way to a signal."""
    ticks, topic = RATES[pace], f"bench-{uuid.uuid4().hex[:8]}"
    kafka.create_topic(topic, 1)
    times = tmp_path / "times.npz"
    source = NotedSource(kafka, topic)
    source.goal = ticks
    source.desk = [
        sys.executable, "-m", "benchmarks.desk", kafka.bootstrap_servers, topic, str(ticks),
        str(pace), str(times),
    ]  # fmt: skip
    outcome = benchmark.pedantic(
        lambda: run(tmp_path / topic, source, kafka, generate.MOMENTUM), rounds=1
    )
    assert source.process is not None
    source.process.communicate(b"", 60)
    assert (ticks, 0) == (outcome.ticks, source.process.returncode)
    read, taken, done = (each(one) for one in (source.read, source.taken, source.done))
    warm = ticks // FIRST_PART
    case = f"live from Kafka, {pace} ticks/s"
    from_reader = (done - read)[warm:]
    if pace == min(RATES):
        p50 = float(np.median(from_reader)) / 1e3
        report.within(f"{case}: reader → enqueued, p50", p50, "µs", most=FROM_READER_US)
    report.say(f"{case}: reader → enqueued, p50 / p99", quantiles(from_reader))
    report.say(f"{case}: bytes → enqueued, p50 / p99", quantiles((done - taken)[warm:]))
    outside = np.load(times)
    produced, signals = outside["ticks"], outside["signals"]
    row = offsets(tmp_path / topic)[signals[:, 0]]
    late = row >= warm
    row, came = row[late], signals[late, 1]
    assert len(row) > 20
    report.say(f"{case}: produce → signal consumed, p50 / p99", quantiles(came - produced[row]))
    parts = (read[row] - produced[row], done[row] - read[row], came - done[row])
    named = zip(("produce → reader", "→ enqueued", "→ consumed"), parts, strict=True)
    kept = telemetry_of(tmp_path / topic)
    assert kept is not None
    synced = kept.stages["sync"].quantile(0.5) / 1e3  # all of them: they are not by tick
    report.say(
        f"{case}: of it, p50",
        ", ".join(f"{n} {np.median(ns) / 1e3:.0f}" for n, ns in named)
        + f" µs; within, the journal's sync {synced:.0f}",
    )


def offsets(run: Path) -> np.ndarray:
    """Return the offset of the tick of each signal, by signal_no."""
    found = {
        int(row["signal_no"]): int(row["seq"]) - 1  # no other event came before
        for row in RunFolder(run).rows("decisions")
        if row["signal_no"]
    }
    return np.array([found.get(n, 0) for n in range(max(found) + 1)])
