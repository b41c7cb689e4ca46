"""Routing: what a tick costs beside strategies that want other instruments.

.venv/bin/python -m pytest benchmarks/test_bench_routing.py --benchmark-only -p no:randomly
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest

from benchmarks import generate
from benchmarks.report import Report, beside, middle, rate
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model.events import EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TickBatch

if TYPE_CHECKING:
    import numpy.typing as npt

TICKS: Final = 2_000  # in batches of one, where a cost per strategy shows most
OTHERS: Final = (10, 100, 1000)
BAR: Final = 0.8


def _events() -> tuple[InstrumentTable, npt.NDArray[Any]]:
    records = generate.recording(max(20_000, generate.TICKS // 10)).batches()
    first = next(iter(records))
    table = first.ticks.table
    quiet = [
        Instrument(token=10_000_000 + n, symbol=f"Q{n}", price_scale=2, quantity_scale=0)
        for n in range(max(OTHERS))
    ]
    return InstrumentTable([*table, *quiet]), first.ticks.to_records()[:TICKS]


def _engine(table: InstrumentTable, interested: int, others: int) -> Engine:
    made = generate.plan("momentum", generate.MOMENTUM)

    def plan(name: str, token: int) -> ExecutorPlan:
        config = msgspec.structs.replace(made.config, strategy_id=name, instrument_tokens=(token,))
        return ExecutorPlan(config, made.broker, made.build)

    plans = [plan("interested", interested)]
    return Engine(table, [*plans, *(plan(f"o{n}", 10_000_000 + n) for n in range(others))])


def _run(engine: Engine) -> Callable[[Sequence[EventBatch]], None]:
    def run(batches: Sequence[EventBatch]) -> None:
        for batch in batches:
            engine.process(batch)

    return run


@pytest.mark.parametrize("others", OTHERS)
def test_bench_routing(benchmark: Any, report: Report, others: int) -> None:
    """One interested strategy alone, and beside uninterested ones, one tick a batch."""
    table, records = _events()
    token = int(records["instrument_token"][0])
    made = [0]

    def batches() -> list[EventBatch]:
        made[0] += 1
        again = records.copy()
        again["seq"] += made[0] * TICKS  # an engine takes each seq once
        rows = [again[n : n + 1] for n in range(TICKS)]
        return [EventBatch(TickBatch.from_records(row, table)) for row in rows]

    alone, among = _engine(table, token, 0), _engine(table, token, others)
    for_alone = iter([batches() for _ in range(generate.ROUNDS + 1)])  # made untimed, too
    seconds = beside(
        benchmark,
        _run(among),
        {"alone": lambda: _run(alone)(next(for_alone))},
        rounds=generate.ROUNDS,
        prepare=lambda: (batches(),),
    )
    ratio = middle([a / b for a, b in zip(seconds["alone"], seconds["subject"], strict=True)])
    report.at_least(
        f"routing, 1 interested + {others} others, 1 a batch",
        rate(TICKS, seconds["subject"]),
        ratio,
        BAR,
        "alone",
    )
