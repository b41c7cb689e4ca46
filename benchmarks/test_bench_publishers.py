"""The tick path beside publishers that are slow, silent or refuse: what it takes of theirs.

The turns are those of the real runner at a pace, one tick each, with a signal every few ticks. Runs
with the publishers take turns in one process, and the prompt one runs twice a round: what its two
runs differ by is the measure's own error.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import generate
from benchmarks.test_bench_live import Messages, TimedSource, run_to_end, run_writer
from parity.core.engine import Engine
from parity.live.delivery import QUEUE_MAX, UNDER_WAY_MAX, Delivery
from parity.live.runner import Limits, Outcome, Strategies
from parity.publishers import NotPublished, Outgoing, Receipt
from parity.publishers.memory import MemoryPublisher

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.report import Report
    from parity.sources.arrivals import Arrivals

PACE: Final = 2000  # ticks a second
TICKS: Final = 1500  # a turn: short, so that a noisy neighbour hits all kinds alike
ROUNDS: Final = 10
LATE_S: Final = (0.05, 0.5)
BAR: Final = 1.1
OFTEN: Final = {"lookback_periods": 50, "threshold": 0.0045}
# Nothing is waited for at the end: what is open then is a restart's.
LIMITS: Final = Limits(1 << 60, 1e12, flush_s=0.01, drain_s=0.01, settle_s=0.01)


class Slow(MemoryPublisher):
    """Each report is 50 to 500 ms late."""

    def __init__(self, run_id: str = "") -> None:
        super().__init__(run_id)
        self._late = random.Random(generate.SEED)

    async def publish(self, signal: Outgoing, *, strategy_id: str, broker: str) -> Receipt | None:
        """Report late."""
        await asyncio.sleep(self._late.uniform(*LATE_S))
        return await super().publish(signal, strategy_id=strategy_id, broker=broker)


class Silent(MemoryPublisher):
    """Takes everything and reports on nothing, as where a broker is gone."""

    async def publish(self, signal: Outgoing, *, strategy_id: str, broker: str) -> Receipt | None:
        """Never return."""
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


class Refusing(MemoryPublisher):
    """Refuses everything, so its signals die and their strategy is paused."""

    async def publish(self, signal: Outgoing, *, strategy_id: str, broker: str) -> Receipt | None:
        """Refuse."""
        raise NotPublished("no")


KINDS: Final = {
    "prompt": MemoryPublisher,
    "prompt again": MemoryPublisher,
    "slow": Slow,
    "silent": Silent,
    "refusing": Refusing,
}


class PacedMessages(TimedSource):
    """One tick a turn, each at its time; notes also how late it was done with."""

    def __init__(self, messages: Messages) -> None:
        super().__init__(messages, 1)
        self.behind_ns: list[int] = []
        self._first = 0

    async def take(self, wait_s: float) -> Arrivals | None:
        """Wait until the next tick is due."""
        now = time.perf_counter_ns()
        self._first = self._first or now
        if self._began:
            self.behind_ns.append(now - self._due())
            self.turns_ns.append(now - self._began)
            self._began = 0
        await asyncio.sleep(max(0.0, (self._due() - time.perf_counter_ns()) / 1e9))
        return await super().take(wait_s)

    def _due(self) -> int:
        return self._first + len(self.turns_ns) * (1_000_000_000 // PACE)


def _run(folder: Path, messages: Messages, publisher: MemoryPublisher) -> tuple[Any, Outcome]:
    source = PacedMessages(messages)
    engine = Engine(messages.table, [generate.plan("momentum_kernel", OFTEN)])
    ledger = folder / "ledger.jsonl"
    delivery = Delivery(publisher, ledger, "bench", {"paper": "paper"}, retry_s=0.1)
    strategies = Strategies(engine, run_writer(folder), delivery)
    return source, run_to_end(folder, source, messages.table, strategies, limits=LIMITS)


def test_bench_publishers(benchmark: Any, report: Report, tmp_path: Path) -> None:
    """One tick a turn at a pace, beside each kind of publisher."""
    messages = Messages(TICKS)
    folders = (tmp_path / str(n) for n in itertools.count())
    taken: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {kind: [] for kind in KINDS}
    signals: dict[str, int] = {}
    order = list(KINDS)

    def turn() -> None:
        order.append(order.pop(0))
        for kind in order:
            source, outcome = _run(next(folders), messages, KINDS[kind]("bench"))
            assert TICKS == outcome.ticks
            signals[kind] = outcome.signals
            taken[kind].append((np.array(source.turns_ns), np.array(source.behind_ns)))

    benchmark.pedantic(turn, rounds=ROUNDS, warmup_rounds=1)
    assert TICKS // 100 < signals["prompt"] == signals["slow"] == signals["silent"]
    # Above it the loop waits for reports, by design.
    assert signals["silent"] < QUEUE_MAX + UNDER_WAY_MAX
    p99 = {
        kind: [np.quantile(np.concatenate(ns[1:]), 0.99) for ns in zip(*rounds, strict=True)]
        for kind, rounds in taken.items()
    }
    for kind, found in p99.items():
        (turn_us, late_us), base = (float(ns) / 1e3 for ns in found), p99["prompt"]
        ratio, other = (float(a / b) for a, b in zip(found, base, strict=True))
        case = f"live turn at {PACE}/s, {signals[kind]} signals, {kind} publisher: p99"
        if kind == "prompt":
            report.say(f"{case} bytes → enqueued", f"{turn_us:.0f} µs")
        else:
            report.at_most(f"{case} bytes → enqueued", f"{turn_us:.0f} µs", ratio, BAR, "prompt")
        report.say(f"{case} due → enqueued", f"{late_us:.0f} µs, {other:.2f} × prompt")
