"""Routing: a tick reaches the strategies on its instrument, and the others cost it nothing.

Work is counted here, never time; `benchmarks/test_bench_routing.py` has the ratio.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import parity
from parity.core.engine import Engine
from parity.core.executor import Executor, ExecutorPlan
from parity.core.routing import Routes
from parity.core.view import Scan, Segment
from parity.model.events import EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.values import SignalResult, StrategyConfig
from parity.testing.generators import cut, dummy_batch

PACKAGE = f"{Path(parity.__file__).parent}{os.sep}"  # not the library that a path may hold, too
MANY = InstrumentTable(
    [Instrument(token=t, symbol=f"I{t}", price_scale=2, quantity_scale=3) for t in range(1, 41)]
)


class Always:
    """Says BUY, then SELL, at every tick."""

    def __init__(self) -> None:
        self.calls = 0

    def get_required_history_length(self) -> int:
        """Return 2."""
        return 2

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "always"

    def process_tick(self, tick: Any, history: Any) -> SignalResult:
        """Take the other side."""
        self.calls += 1
        return SignalResult("BUY" if self.calls % 2 else "SELL", 0.5, 1, tick.price)


def plan(name: str, *tokens: int, on: str = "trades") -> ExecutorPlan:
    """Return a plan on some instruments."""
    config = StrategyConfig(
        strategy_id=name, strategy_type="always", instrument_tokens=tokens, on=on
    )
    return ExecutorPlan(config, "paper", Always)


def calls_of(engine: Engine, batches: Sequence[EventBatch]) -> int:
    """Return how many Python functions the engine calls for the batches, its own and built-in."""
    count = 0

    def look(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        ours = frame.f_code.co_filename.startswith(PACKAGE)  # not a collector's callback
        count += ours and event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        for batch in batches:
            engine.process(batch)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("sizes", [[1] * 60, [40], [7] * 9])
def test_strategies_on_other_instruments_cost_a_tick_nothing(sizes: list[int]) -> None:
    """The engine makes exactly as many calls beside 300 uninterested strategies as beside none."""
    tokens = [1 + n % 2 for n in range(60)]
    counted = []
    for others in (0, 0, 3, 300):  # the first fills the caches of Python and numpy
        plans = [plan("a", 1), plan("b", 1, 2)]
        plans += [plan(f"other{n}", 3 + n % 38) for n in range(others)]
        engine = Engine(MANY, plans)
        batches = list(cut(dummy_batch(60, instrument_token=tokens, table=MANY), sizes))
        counted.append(calls_of(engine, batches))
        assert engine.report().executors[0].fills

    assert counted[1] > 60
    assert [counted[1]] * 3 == counted[1:]


@pytest.mark.parametrize("count", [3, 50])
def test_a_segment_concerns_those_on_its_instruments(count: int) -> None:
    """In the executors' order, whatever the segment's order of ticks; each of them once."""
    plans = [plan("d", 3), plan("c", 1, 2), plan("b"), plan("a", 2), plan("e", 9)]
    engine = Engine(MANY, plans)
    routes = Routes(engine.executors, len(MANY))
    tokens = [(2, 1, 2)[n % 3] for n in range(count)]
    for wanted, named in ((tokens, "abc"), (3, "bd"), (30, "b"), (tokens, "abc")):
        ticks = dummy_batch(count, instrument_token=wanted, table=MANY).ticks
        concerned = routes.concerned(Segment(ticks, Scan(len(MANY))))

        assert [*named] == [e.key[0] for e in concerned]


@pytest.mark.parametrize("sizes", [[1] * 200, [200], [50, 3]])
def test_a_strategy_on_many_instruments_sees_its_own_rows(sizes: list[int]) -> None:
    """One, a few or most of the instruments: what is seen is the same for every way of looking."""
    tokens = [1 + (n * 7) % 40 for n in range(200)]
    wanted = {"one": {5}, "few": {5, 6, 7}, "most": set(range(2, 41)), "all": set(range(1, 41))}
    engine = Engine(MANY, [plan(n, *sorted(t)) for n, t in wanted.items()])
    seen: dict[str, list[int]] = {n: [] for n in wanted}
    for batch in cut(dummy_batch(200, instrument_token=tokens, table=MANY), sizes):
        for effect in engine.process(batch):
            candidate = getattr(effect, "candidate", None)
            if candidate is not None:
                seen[candidate.strategy_id].append(candidate.seq)

    for name, own in wanted.items():
        rows = [n for n, t in enumerate(tokens) if t in own and t in tokens[:n]]
        assert [n + 1 for n in rows] == seen[name]


def test_each_concerned_executor_is_asked_once_per_segment(monkeypatch: Any) -> None:
    """Detect runs for the interested ones only."""
    asked: list[str] = []
    detect = Executor.detect

    def counting(self: Executor, view: Any) -> None:
        asked.append(self.key[0])
        detect(self, view)

    monkeypatch.setattr(Executor, "detect", counting)
    engine = Engine(MANY, [plan("a", 1), *(plan(f"o{n}", 2 + n % 39) for n in range(500))])
    for batch in cut(dummy_batch(20, instrument_token=1, table=MANY), [1] * 20):
        engine.process(batch)

    assert ["a"] * 20 == asked
