"""The laws of warm-up ticks: they fill histories and states, and nobody trades on them.

Over the same generated streams and strategies as tests/laws/test_engine.py.
"""

from functools import cache
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parity.compose.plans import prepare
from parity.core.engine import Engine, RunReport
from parity.core.executor import ExecutorPlan
from parity.model import ticks as flag
from parity.model.effects import ApprovedSignal, DroppedSignal, Effect, Fill
from parity.model.events import EventBatch
from parity.model.ticks import TickBatch
from parity.model.values import StrategyConfig
from parity.settings.strategies import spec_of
from parity.strategies import REGISTRY
from parity.testing.generators import TABLE, cut, event_streams, partitions

SHORT = {
    "momentum": {"lookback_periods": 3, "threshold": 0.0, "position_size": 1},
    "momentum_kernel": {"lookback_periods": 3, "threshold": 0.0, "position_size": 1},
    "sma_cross": {"fast_periods": 2, "slow_periods": 4},
    "sma_cross_kernel": {"fast_periods": 2, "slow_periods": 4},
    "ema_cross_kernel": {"fast_periods": 2, "slow_periods": 4},
    "mean_reversion": {"lookback_periods": 4, "z_entry": 0.5},
    "mean_reversion_kernel": {"lookback_periods": 4, "z_entry": 0.5},
    "ml_momentum": {"lookback_periods": 3, "min_conf": 0.1},
    "breakout": {"lookback_periods": 3, "threshold": 0.0},
    "breakout_kernel": {"lookback_periods": 3, "threshold": 0.0},
    "rsi_bands_kernel": {"lookback_periods": 2, "lower": 45, "upper": 55},
    "hybrid_momentum": {"lookback_periods": 2, "ml_lookback_periods": 3, "min_conf": 0.1},
    "low_frequency_demo": {"min_interval_seconds": 3},
}


@cache
def plans() -> tuple[ExecutorPlan, ...]:
    """Every shipped strategy, on trades and on quotes, some of them selling short."""
    configs = [
        StrategyConfig(
            strategy_id=f"{kind}_{on}",
            strategy_type=kind,
            on=on,
            parameters={**SHORT.get(kind, {}), "paper": {"allow_short": True}},
        )
        for kind in sorted(REGISTRY)
        for on in ("trades", "quotes")
    ]
    return tuple(prepare([spec_of(config) for config in configs]).plans)


def run(batches: list[EventBatch]) -> tuple[list[Effect], RunReport]:
    """Return what all of them decide over the batches."""
    engine = Engine(TABLE, plans(), seed=7)
    return [effect for batch in batches for effect in engine.process(batch)], engine.report()


def flagged(events: EventBatch, seqs: set[int]) -> EventBatch:
    """Return the events with some ticks marked as warm-up."""
    records = events.ticks.to_records()
    rows = np.isin(records["seq"], list(seqs))
    records["flags"][rows] |= flag.WARMUP
    return EventBatch(TickBatch.from_records(records, TABLE), events.controls)


def candidates(effects: list[Effect]) -> list[Any]:
    """Return what was said, whatever became of it."""
    return [e.candidate for e in effects if isinstance(e, ApprovedSignal | DroppedSignal)]


@given(event_streams(), st.data())
def test_warm_up_ticks_leave_out_their_own_candidates_only(events: EventBatch, data: Any) -> None:
    """Whichever ticks are marked, every strategy says at the others what it said before."""
    seqs = events.ticks.column("seq").tolist()
    marked = set(data.draw(st.lists(st.sampled_from(seqs), max_size=len(seqs))))
    effects, report = run([flagged(events, marked)])

    assert [c for c in candidates(run([events])[0]) if c.seq not in marked] == candidates(effects)
    assert not [e for e in effects if isinstance(e, Fill) and e.seq in marked]
    assert len(events.ticks) == report.ticks


@given(event_streams(), partitions(), st.data())
def test_batch_boundaries_never_matter_to_warm_up(
    events: EventBatch, sizes: list[int], data: Any
) -> None:
    """Any cutting of the events gives the same effects and the same report."""
    seqs = events.ticks.column("seq").tolist()
    given_events = flagged(events, set(data.draw(st.lists(st.sampled_from(seqs), max_size=40))))

    assert run([given_events]) == run(list(cut(given_events, sizes)))
