"""What the engine keeps of a batch that kernels have processed: nothing; what effects cost."""

import gc
import weakref
from typing import Any

import numpy as np

from parity import codegen
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model.events import EventBatch
from parity.model.ticks import TickBatch
from parity.model.values import StrategyConfig
from parity.sources import synthetic
from parity.strategies import REGISTRY


def test_a_processed_batch_is_let_go_at_once() -> None:
    """Without the garbage collector's help, which would come some hundred batches later."""
    table, records = synthetic.generate(3, 3_000)
    create = REGISTRY["momentum_kernel"].create
    parameters: dict[str, Any] = {"lookback_periods": 20, "threshold": 0.004}
    config = StrategyConfig(strategy_id="s", strategy_type="momentum_kernel", parameters=parameters)
    kernel: Any = create(parameters)
    plan = ExecutorPlan(config, "paper", lambda: create(parameters), codegen.build(kernel))
    engine = Engine(table, [plan])
    left = []
    gc.collect()
    gc.disable()
    try:
        for lo in range(0, 3_000, 1_000):
            prices = records["price_int"][lo : lo + 1_000].copy()
            left.append(weakref.ref(prices))
            columns = {
                n: np.ascontiguousarray(records[n][lo : lo + 1_000]) for n in records.dtype.names
            }
            batch = EventBatch(TickBatch(columns | {"price_int": prices}, table))
            engine.process(batch)
            del batch, columns, prices
        alive = [one() is not None for one in left]
    finally:
        gc.enable()

    assert [False] * 3 == alive
    assert engine.report().executors[0].candidates > 0


def test_no_effect_is_the_garbage_collectors_business() -> None:
    """However many a run keeps: they are values without cycles, which it need not look through."""
    table, records = synthetic.generate(3, 3_000)
    parameters: dict[str, Any] = {"lookback_periods": 20, "threshold": 0.004}
    config = StrategyConfig(strategy_id="s", strategy_type="momentum", parameters=parameters)
    create = REGISTRY["momentum"].create
    engine = Engine(table, [ExecutorPlan(config, "paper", lambda: create(parameters))])
    effects = engine.process(EventBatch(TickBatch.from_records(records, table)))

    assert {"ApprovedSignal", "Fill", "Transition"} <= {type(e).__name__ for e in effects}
    assert not any(gc.is_tracked(effect) for effect in effects)
