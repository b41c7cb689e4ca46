"""The SMA cross in parity, both tiers, and in a plain loop; a process of its own, as the peers.

Forms: `kernel`, the whole engine; `alone`, its compiled driver with nothing decided, which is what
vectorbt and a loop in numba do; `processor`, the rule that all peers in Python run, as a processor;
`shipped`, the processor that parity ships, which sums its windows anew at every tick. Each reads
Parquet through DuckDB, with the columns that `parity backtest` reads for it; `…_cached` reads the
Arrow cache, `…_held` takes batches in memory. What the engine returns is kept. The first
thousand ticks go through once before the clock starts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from benchmarks import generate
from benchmarks.peers import child
from benchmarks.peers.rule import Cross
from parity.compose.beginning import columns_of
from parity.compose.plans import Prepared
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model.effects import ApprovedSignal, DroppedSignal
from parity.model.values import MarketTick, SignalResult, StrategyConfig
from parity.recording.reader import Recording, open_recording

if TYPE_CHECKING:
    from parity.model.events import EventBatch


class SmaCross:
    """The rule as a processor over running sums."""

    def __init__(self, fast: int, slow: int) -> None:
        self._fast, self._slow = fast, slow
        self._crosses: dict[int, Cross] = {}

    def get_required_history_length(self) -> int:
        """Return one: the rule keeps its own window."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Say yes."""
        return True

    def get_strategy_name(self) -> str:
        """Return its name."""
        return "sma_cross_running"

    def process_tick(self, tick: MarketTick, history: object) -> SignalResult | None:
        """Apply the rule."""
        cross = self._crosses.get(tick.instrument_token)
        if cross is None:
            cross = self._crosses[tick.instrument_token] = Cross(self._fast, self._slow)
        side = cross.take(tick.price_int)
        if not side:
            return None
        return SignalResult("BUY" if side > 0 else "SELL", 1.0, 1.0, tick.price, "")


def planned(form: str, fast: int, slow: int) -> ExecutorPlan:
    """Return the plan of a form."""
    if form.startswith("processor"):
        config = StrategyConfig(strategy_id="bench", strategy_type="sma_cross_running")
        return ExecutorPlan(config, "paper", lambda: SmaCross(fast, slow))
    name = "sma_cross" if form.startswith("shipped") else "sma_cross_kernel"
    return generate.plan(name, {"fast_periods": fast, "slow_periods": slow})


def by_driver(plan: ExecutorPlan, batches: Iterable[EventBatch], instruments: int) -> list[int]:
    """Let the compiled driver say what it finds; return the sides."""
    kernel: Any = plan.build()
    inputs = (
        (b.ticks.column("inst"), tuple(b.ticks.column(c) for c in kernel.columns)) for b in batches
    )
    kept = generate.driven(plan, inputs, instruments)
    return [side for some in kept for side in some["side"].tolist()]


def by_engine(
    plan: ExecutorPlan, batches: Iterable[EventBatch], recording: Recording
) -> list[object]:
    """Let the engine decide, fill and digest; return all that became of it."""
    engine = Engine(recording.table, [plan])
    effects: list[object] = []
    for batch in batches:
        effects += engine.process(batch)
    engine.report()
    return effects


def by_loop(batches: list[EventBatch], fast: int, slow: int) -> None:
    """Apply the rule in a plain loop over lists made beforehand."""
    tokens = [t for b in batches for t in b.ticks.column("instrument_token").tolist()]
    prices = [p for b in batches for p in b.ticks.column("price_int").tolist()]
    begin = time.process_time()
    crosses: dict[int, Cross] = {}
    said = []
    for token, price_int in zip(tokens, prices, strict=True):
        cross = crosses.get(token)
        if cross is None:
            cross = crosses[token] = Cross(fast, slow)
        side = cross.take(price_int)
        if side:
            said.append((token, side, price_int))
    seconds = time.process_time() - begin
    sides = [side for _, side, _ in said]
    child.tell(seconds, sides.count(1), sides.count(-1))


def main() -> None:
    """Run once; print the CPU seconds and the number of signals."""
    asked = child.asked()
    form, fast, slow = asked["form"], asked["fast"], asked["slow"]
    cached = form.endswith("_cached")
    recording = open_recording(asked["recording"], cached=cached)
    if cached:
        recording.build_cache()
    if form == "loop":
        by_loop(list(recording.batches()), fast, slow)
        return
    plan = planned(form, fast, slow)
    columns = columns_of(Prepared([plan], [], [], {}, {}, {}), recording.table)
    first = next(iter(recording.batches(columns=columns, batch_rows=1000)))
    by_engine(plan, [first], recording)  # what a process pays once
    held = []
    if form.endswith("_held"):
        held = generate.fresh(list(recording.batches(columns=columns)))
    begin = time.process_time()
    batches = held or recording.batches(columns=columns)
    if form.startswith("alone"):
        sides = by_driver(plan, batches, len(recording.table))
        seconds = time.process_time() - begin
    else:
        effects = by_engine(plan, batches, recording)
        seconds = time.process_time() - begin
        decided = (ApprovedSignal, DroppedSignal)
        sides = [one.candidate.side for one in effects if isinstance(one, decided)]
    child.tell(seconds, sides.count(1), sides.count(-1))


main()
