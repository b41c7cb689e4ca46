"""The live path inside the loop: bytes, decode, sequence, journal, decide, publish enqueued.

The turns are those of the real runner, from the first byte decoded to the next batch asked for;
only the broker is left out, whose payloads wait in memory. The stages are timed apart, by calling
the same parts in the same order without the loop.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from benchmarks import generate
from parity.core.engine import Engine
from parity.live.clock import anchored_clock
from parity.live.delivery import Delivery
from parity.live.runner import Limits, Outcome, Strategies
from parity.live.start import start
from parity.model.events import EventBatch
from parity.model.ticks import TickBatch
from parity.publishers.memory import MemoryPublisher
from parity.recording.journal import JournalWriter
from parity.recording.runs import RecordingReference, RunManifest, RunWriter
from parity.recording.sequencer import Sequencer
from parity.recording.writer import create_recording
from parity.sources import synthetic
from parity.sources.codecs.native import NativeDecoder, encode_batch
from parity.sources.decoding import Messages as Poll
from parity.sources.decoding import decode_messages

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.report import Report
    from parity.model.instruments import InstrumentTable
    from parity.sources.arrivals import Arrivals, LiveSource

TURNS = {1: 20_000, 10: 5_000, 100: 1_000, 1000: 200}  # by ticks a batch
STRATEGIES = {"momentum_kernel": generate.MOMENTUM, "momentum": generate.MOMENTUM}
NEVER = Limits(checkpoint_ticks=1 << 60, checkpoint_s=1e12)
P50_US, P99_US = 10, 30
RATES = {10: 0.5, 1000: 1.0}  # M ticks a second, by ticks a batch


class Messages:
    """Payloads as a broker would have them, and the tick source they make."""

    def __init__(self, ticks: int) -> None:
        self.table, records = synthetic.generate(generate.SEED, ticks)
        self.payloads = encode_batch(TickBatch.from_records(records, self.table))


class TimedSource:
    """A live source over payloads in memory that notes how long each turn of the loop took."""

    def __init__(self, messages: Messages, batch: int) -> None:
        self.streams = [("bench", 0)]
        self.turns_ns: list[int] = []
        self._messages = messages
        self._batch = batch
        self._decoder = NativeDecoder(messages.table)
        self._at = 0
        self._began = 0

    def start_at(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Always from the start."""

    async def connect(self) -> None:
        """Nothing to connect."""

    def topic_ids(self) -> Mapping[str, str]:
        """There is no broker."""
        return {}

    def name_streams(self, ids: Mapping[tuple[str, int], int]) -> None:
        """The only stream is 0."""

    def positions(self) -> dict[int, int]:
        """From the start."""
        return {0: 0}

    async def start(self) -> None:
        """Nothing to start."""

    async def take(self, wait_s: float) -> Arrivals | None:
        """End one turn, let the publisher work, and begin the next by decoding."""
        if self._began:
            self.turns_ns.append(time.perf_counter_ns() - self._began)
        await asyncio.sleep(0)
        lo, hi = self._at, min(self._at + self._batch, len(self._messages.payloads))
        if lo == hi:
            return None
        self._at = hi
        self._began = time.perf_counter_ns()
        return _decoded(self._decoder, self._messages.payloads, lo, hi)

    def took(self, ns: int) -> None:
        """Its batches are what they are."""

    def stop(self) -> None:
        """Ends by itself."""

    async def close(self) -> None:
        """Nothing to let go of."""


def _decoded(decoder: NativeDecoder, payloads: Sequence[bytes], lo: int, hi: int) -> Arrivals:
    """Read one poll's messages, as the source of a broker does."""
    count = hi - lo
    poll = Poll(list(payloads[lo:hi]), [0] * count, list(range(lo, hi)), [0] * count, [])
    return decode_messages(decoder, poll)


def run_writer(folder: Path) -> RunWriter:
    """Return the writer of a new run."""
    manifest = RunManifest(
        run_id="bench",
        mode="paper",
        created_by="benchmark",
        started="",
        seed=0,
        strategies=[],
        skipped=[],
        recording=RecordingReference(path="recording", content_hash=""),
        fingerprint={},
    )
    return RunWriter(folder, manifest)


def run_to_end(
    folder: Path,
    source: LiveSource,
    table: InstrumentTable,
    strategies: Strategies | None,
    *,
    stop: asyncio.Event | None = None,
    limits: Limits = NEVER,
    durability: str = "os",
) -> Outcome:
    """Run the real runner over a source to its end, or to the stop."""
    return asyncio.run(
        start(
            folder / "recording",
            table,
            source,
            created_by="benchmark",
            stop=stop or asyncio.Event(),
            strategies=strategies,
            limits=limits,
            durability=durability,
        )
    )


def _live(folder: Path, source: TimedSource, messages: Messages, strategy: str) -> Outcome:
    engine = Engine(messages.table, [generate.plan(strategy, STRATEGIES[strategy])])
    writer = run_writer(folder)
    delivery = Delivery(
        MemoryPublisher("bench"), folder / "ledger.jsonl", "bench", {"paper": "paper"}
    )
    return run_to_end(folder, source, messages.table, Strategies(engine, writer, delivery))


@pytest.mark.parametrize("batch", TURNS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_bench_live(
    benchmark: Any, report: Report, tmp_path: Path, strategy: str, batch: int
) -> None:
    """Turns of the runner with one strategy, journal without fdatasync."""
    messages = Messages(batch * TURNS[batch])
    sources = [TimedSource(messages, batch) for _ in range(3)]
    folders = (tmp_path / str(n) for n in itertools.count())
    waiting = iter(sources)
    benchmark.pedantic(
        lambda: _live(next(folders), next(waiting), messages, strategy), rounds=len(sources)
    )
    taken = [np.array(s.turns_ns) / 1e3 for s in sources]
    assert {TURNS[batch]} == {len(t) for t in taken}
    p50, p99 = (statistics.median(float(np.quantile(t, q)) for t in taken) for q in (0.5, 0.99))
    rate = batch / statistics.median(float(t.mean()) for t in taken)
    case = f"live turn, {strategy}, {batch} a batch"
    if batch == 1:
        report.within(f"{case}: p50", p50, "µs", most=P50_US)
        report.within(f"{case}: p99", p99, "µs", most=P99_US)
    else:
        report.say(f"{case}: p50 / p99", f"{p50:.1f} / {p99:.1f} µs")
    if batch in RATES:
        report.above(case, rate, "M ticks/s", least=RATES[batch])
    else:
        report.say(case, f"{rate:.3g} M ticks/s")


class Stages(NamedTuple):
    """The parts of the live path, without the loop around them."""

    messages: Messages
    decoder: NativeDecoder
    sequencer: Sequencer
    journal: JournalWriter
    engine: Engine
    writer: RunWriter

    def turn(self, lo: int, hi: int, clock: Callable[[], int]) -> list[int]:
        """Carry payloads lo..hi through; return perf_counter_ns before, between and behind."""
        at = [time.perf_counter_ns()]
        records = _decoded(self.decoder, self.messages.payloads, lo, hi).records
        at.append(time.perf_counter_ns())
        records["ts_recv"] = clock()
        records = self.sequencer.sequence(records)
        at.append(time.perf_counter_ns())
        self.journal.append(records, (), {0: hi})
        at.append(time.perf_counter_ns())
        batch = EventBatch(TickBatch.from_records(records, self.messages.table), ())
        at.append(time.perf_counter_ns())
        effects = self.engine.process(batch)
        at.append(time.perf_counter_ns())
        if effects:
            self.writer.write(effects)
        at.append(time.perf_counter_ns())
        return at


STAGES = ("decode", "sequence", "journal", "batch", "decide", "write effects")


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_bench_live_stages(
    benchmark: Any, report: Report, tmp_path: Path, strategy: str, batch: int
) -> None:
    """Where a turn's time goes: the median of each stage."""
    messages = Messages(batch * TURNS[batch])
    folder = tmp_path / "recording"
    create_recording(folder, messages.table, created_by="benchmark", durability="os")
    with JournalWriter(folder, durability="os") as journal:
        stages = Stages(
            messages,
            NativeDecoder(messages.table),
            Sequencer(messages.table),
            journal,
            Engine(messages.table, [generate.plan(strategy, STRATEGIES[strategy])]),
            run_writer(tmp_path / "run"),
        )
        clock = anchored_clock()

        def run() -> list[list[int]]:
            ends = range(batch, batch * TURNS[batch] + 1, batch)
            return [stages.turn(hi - batch, hi, clock) for hi in ends]

        taken = np.diff(np.array(benchmark.pedantic(run, rounds=1)), axis=1)
    medians = np.median(taken, axis=0) / 1e3
    shown = ", ".join(f"{n} {us:.1f}" for n, us in zip(STAGES, medians, strict=True))
    report.say(f"live stages, {strategy}, {batch} a batch (µs)", shown)
