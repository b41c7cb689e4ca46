"""What a quiet tick costs while something is waited for: the exits of a position, a limit order.

A kernel that opens a position and a resting order at the start, in an engine over batches that are
in memory, beside one that never speaks: the difference is the scan for the next touched level.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import generate
from benchmarks.report import Report, beside, middle
from parity import codegen
from parity.core.engine import Engine, RunReport
from parity.core.executor import ExecutorPlan
from parity.model.kernel import KernelStrategy, out_dtype
from parity.model.values import StrategyConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNALS: Final = 2  # an instrument: a position with exits, and an order that rests
_STATE: Final = np.dtype([("count", "i8")])
_PARAMS: Final = np.dtype([("signals", "i8")])
# Far from every price of the synthetic ticks.
_EXITS: Final = {"stop_loss_pct": 90, "take_profit_pct": 900}
_RESTING: Final = {"order_type": "limit", "limit_price": 0.5}


def step(state: Any, params: Any, out: Any, price: float) -> int:
    """Say something at the first ticks, and then only look."""
    state.count += 1
    if state.count < 2 or state.count > 1 + params.signals:
        return 0
    out.side = 1
    out.confidence = 1.0
    out.quantity = 1.0
    out.price = price
    out.number = state.count - 2
    return 1


def describe(said: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Let the first signal bring a position with exits, the second an order that rests."""
    return "", dict(_EXITS if said["number"] == 0 else _RESTING)


def kernel(signals: int) -> KernelStrategy:
    """Return the kernel with so many signals an instrument."""
    return KernelStrategy(
        name="watching",
        step=step,
        state=_STATE,
        params=np.array((signals,), _PARAMS),
        out=out_dtype(("number", "i8")),
        columns=("price",),
        history=1,
        describe=describe,
    )


def plan(signals: int) -> ExecutorPlan:
    """Return its plan."""
    config = StrategyConfig("watching", "watching", {})
    return ExecutorPlan(config, "paper", lambda: kernel(signals), codegen.build(kernel(signals)))


def test_bench_quiet_ticks(benchmark: Any, report: Report) -> None:
    """Two instruments, each with a position, both its exits and a limit order, never touched."""
    source = generate.recording()
    batches = list(source.batches())
    said: list[RunReport] = []
    cpu: dict[int, list[float]] = {0: [], SIGNALS: []}

    def run(signals: int) -> None:
        began = time.process_time()
        engine = Engine(source.table, [plan(signals)])
        for batch in generate.fresh(batches):
            engine.process(batch)
        cpu[signals].append(time.process_time() - began)
        said.append(engine.report())
        broker = engine.executors[0].broker
        waiting = len(source.table) if signals else 0  # one of each an instrument
        assert (waiting, waiting) == (len(broker.brackets), len(broker.orders))

    idle = {"idle": lambda: run(0)}
    beside(benchmark, lambda: run(SIGNALS), idle, rounds=generate.ROUNDS)
    assert {0, SIGNALS} == {one.fills for one in said}
    watching, alone = (middle(cpu[n][1:]) / source.tick_rows for n in (SIGNALS, 0))
    figure = f"{watching * 1e9:.1f} ns/tick of CPU, {alone * 1e9:.1f} with nothing waiting"
    report.say("quiet ticks, exits and limit orders waiting", figure)
