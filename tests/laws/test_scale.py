"""A hundred strategies on ten instruments: each decides as if alone, and sees its own ticks.

20 000 ticks here, a million under `make laws`.
"""

import os
from functools import cache
from typing import Any

import numpy as np
import pytest

from parity.core.engine import Engine, ExecutorReport
from parity.core.executor import ExecutorPlan
from parity.model.events import EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TickBatch
from parity.model.values import StrategyConfig
from parity.sources import synthetic
from parity.strategies import REGISTRY

TICKS = 1_000_000 if os.environ.get("HYPOTHESIS_PROFILE") == "night" else 20_000
TOKENS = tuple(range(1, 11))
TABLE = InstrumentTable(
    [Instrument(token=t, symbol=f"I{t}", price_scale=2, quantity_scale=3) for t in TOKENS]
)
KINDS = (
    ("momentum", {"threshold": 0.012}),
    ("mean_reversion", {"z_entry": 2.5}),
    ("momentum_kernel", {"threshold": 0.011}),
)


@cache
def ticks() -> TickBatch:
    """Return synthetic trades, dealt out to ten instruments in turn of a fixed draw."""
    _, records = synthetic.generate(seed=5, ticks=TICKS)
    drawn = np.random.Philox(key=5).random_raw(TICKS) % np.uint64(len(TOKENS))
    records["instrument_token"] = drawn.astype(np.int64) + 1
    walk = np.cumsum((np.random.Philox(key=6).random_raw(TICKS) % np.uint64(21)).astype(int) - 10)
    records["price_int"] = 10_000 + np.abs(walk) % 5_000
    return TickBatch.from_records(records, TABLE)


@cache
def plans() -> tuple[ExecutorPlan, ...]:
    """Return a hundred plans, ten an instrument, no two alike."""
    from parity import codegen
    from parity.model.kernel import KernelStrategy

    made = []
    for number in range(100):
        kind, parameters = KINDS[number % len(KINDS)]
        given: dict[str, Any] = {**parameters, "lookback_periods": 5 + number % 17}
        create = REGISTRY[kind].create
        example = create(given)
        driver = codegen.build(example) if isinstance(example, KernelStrategy) else None
        config = StrategyConfig(
            strategy_id=f"s{number:02d}",
            strategy_type=kind,
            parameters=given,
            instrument_tokens=(TOKENS[number % 10],),
        )
        made.append(
            ExecutorPlan(config, "paper", lambda create=create, given=given: create(given), driver)
        )
    return tuple(made)


def reports(chosen: list[ExecutorPlan], batch: TickBatch) -> dict[str, ExecutorReport]:
    """Return what each strategy did."""
    engine = Engine(TABLE, chosen)
    engine.process(EventBatch(batch))
    return {one.strategy_id: one for one in engine.report().executors}


@cache
def together() -> dict[str, ExecutorReport]:
    """Return what each did among all."""
    return reports(list(plans()), ticks())


def test_a_hundred_strategies_speak() -> None:
    """Nearly all of them say something, and no two say the same: silence would prove nothing."""
    spoken = [one.candidate_digest for one in together().values() if one.candidates]

    assert len(spoken) > 90
    assert len(set(spoken)) == len(spoken)


@pytest.mark.parametrize("gone", [0, 41, 99])
def test_one_that_is_removed_changes_no_byte_of_the_others(gone: int) -> None:
    """Counts, profit and both digests of the other ninety-nine stay."""
    rest = reports([p for n, p in enumerate(plans()) if n != gone], ticks())

    assert {n: r for n, r in together().items() if n != f"s{gone:02d}"} == rest


@pytest.mark.parametrize("one", [3, 50, 98])
def test_one_alone_on_its_own_ticks_decides_the_same(one: int) -> None:
    """Ticks of the nine other instruments are as good as absent."""
    plan = plans()[one]
    token = plan.config.instrument_tokens[0]
    own = ticks().take(np.flatnonzero(ticks().column("instrument_token") == token))

    assert together()[plan.config.strategy_id] == reports([plan], own)[plan.config.strategy_id]
