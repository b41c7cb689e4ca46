"""Validators and lifecycle as truth tables: each reason, and each edge on its right side."""

import itertools
import math
from decimal import Decimal
from typing import Any

import pytest

from parity.core import lifecycle
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.core.validators import QUANTITY_MAX, VALIDATORS, Context, Limits, validate
from parity.model.effects import ApprovedSignal, Candidate, DroppedSignal
from parity.model.errors import ConfigError
from parity.model.values import Lifecycle, SignalResult, StrategyConfig
from parity.testing.generators import ONE, SECOND_NS, START_NS, TABLE, TWO, cut, dummy_batch

ACTIVE = Context(Lifecycle.ACTIVE, START_NS, None)
LIMITS = Limits(min_confidence=0.4, cooldown_ns=30 * SECOND_NS, quantity_max=10.0)


def candidate(**changed: Any) -> Candidate:
    """Return a candidate that every validator passes."""
    fields: dict[str, Any] = {
        "seq": 1,
        "strategy_id": "s",
        "broker": "paper",
        "instrument_token": ONE,
        "ts_event": START_NS,
        "ordinal": 0,
        "side": 1,
        "price": 100.0,
        "quantity": 1.0,
        "confidence": 0.5,
        "metadata": {},
        "reasoning": "",
        "record": b"",
        "quantity_exact": Decimal(1),
    }
    return Candidate(**{**fields, **changed})


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"side": -1}, None),
        ({"side": 0}, "hold"),
        ({"price": 0.0}, "sanity_price"),
        ({"price": -1.0}, "sanity_price"),
        ({"price": math.nan}, "sanity_price"),
        ({"price": math.inf}, "sanity_price"),
        ({"price": 5e-324}, None),
        ({"quantity": 0.0}, "sanity_quantity"),
        ({"quantity": -1.0}, "sanity_quantity"),
        ({"quantity": math.nan}, "sanity_quantity"),
        ({"quantity": math.inf}, "sanity_quantity"),
        ({"quantity": 10.0}, None),
        ({"quantity": math.nextafter(10.0, 11.0)}, "sanity_quantity"),
        ({"confidence": math.nan}, "sanity_confidence"),
        ({"confidence": math.nextafter(1.0, 2.0)}, "sanity_confidence"),
        ({"confidence": -0.1}, "sanity_confidence"),
        ({"confidence": 1.0}, None),
        ({"confidence": 0.4}, None),
        ({"confidence": math.nextafter(0.4, 0.0)}, "min_confidence"),
        ({"confidence": 0.0}, "min_confidence"),
    ],
)
def test_each_value_has_its_verdict(changed: dict[str, Any], reason: str | None) -> None:
    """Edges are where the documents say: at the limit passes, the next float beyond does not."""
    assert reason == validate(candidate(**changed), LIMITS, ACTIVE)


@pytest.mark.parametrize("state", list(Lifecycle))
def test_only_an_active_executor_speaks(state: Lifecycle) -> None:
    """In any other state the candidate is dropped, whatever else is wrong with it."""
    context = Context(state, START_NS, None)
    expected = None if state == Lifecycle.ACTIVE else "lifecycle"

    assert expected == validate(candidate(), LIMITS, context)
    assert (expected or "hold") == validate(candidate(side=0), LIMITS, context)


@pytest.mark.parametrize(
    ("age_ns", "reason"),
    [
        (0, "cooldown"),
        (30 * SECOND_NS - 1, "cooldown"),
        (30 * SECOND_NS, None),
        (30 * SECOND_NS + 1, None),
    ],
)
def test_a_cooldown_ends_exactly_at_its_end(age_ns: int, reason: str | None) -> None:
    """A signal as old as the cooldown no longer blocks."""
    context = Context(Lifecycle.ACTIVE, START_NS + age_ns, START_NS)

    assert reason == validate(candidate(), LIMITS, context)
    assert validate(candidate(), Limits(), context) is None


def test_the_first_reason_wins() -> None:
    """Validators run in their order, so a candidate that fails several has one stable reason."""
    names = ["lifecycle", "sanity", "min_confidence", "cooldown"]
    context = Context(Lifecycle.ACTIVE, START_NS, START_NS)

    assert names == [v.__name__ for v in VALIDATORS]
    assert "min_confidence" == validate(candidate(confidence=0.1), LIMITS, context)
    assert "sanity_price" == validate(candidate(confidence=0.1, price=0.0), LIMITS, context)


def test_limits_come_from_the_risk_block() -> None:
    """What is not set does not limit, but for the largest quantity."""
    risk = {"min_confidence": 0.25, "cooldown_sec": 1.5, "max_quantity": 3}

    assert Limits(0.25, 1_500_000_000, 3.0) == Limits.from_parameters({"risk": risk})
    assert Limits(0.0, 0, QUANTITY_MAX) == Limits.from_parameters({"risk": None})
    for wrong in ({"min_confidence": 1.1}, {"cooldown_sec": -1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Limits.from_parameters({"risk": wrong})


def test_the_lifecycle_is_a_table() -> None:
    """Every pair of states is either in the table or refused; STOPPED is the end."""
    assert set(Lifecycle) == set(lifecycle.NEXT)
    assert not lifecycle.NEXT[Lifecycle.STOPPED]
    for was, now in itertools.product(Lifecycle, Lifecycle):
        if now in lifecycle.NEXT[was]:
            assert now == lifecycle.step(was, now)
        else:
            with pytest.raises(ValueError, match=f"{now.name} cannot follow {was.name}"):
                lifecycle.step(was, now)


class Always:
    """Says BUY at every tick."""

    def get_required_history_length(self) -> int:
        """Return 1."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "always"

    def process_tick(self, tick: Any, history: Any) -> SignalResult:
        """Say BUY."""
        return SignalResult("BUY", 0.5, 1, tick.price)


@pytest.mark.parametrize("size", [1, 3, 20])
def test_cooldowns_are_per_instrument_and_by_the_decide_clock(size: int) -> None:
    """Each token has its own; a late tick is judged at the time the executor has reached."""
    config = StrategyConfig(
        strategy_id="always", strategy_type="always", parameters={"risk": {"cooldown_sec": 5}}
    )
    engine = Engine(TABLE, [ExecutorPlan(config, "paper", Always)])
    at = [0, 1, 4, 5, 9, 10, 7, 14, 15]
    token = [ONE, TWO, ONE, ONE, TWO, ONE, TWO, TWO, ONE]
    events = dummy_batch(9, ts_event=[START_NS + s * SECOND_NS for s in at], instrument_token=token)
    effects = [e for batch in cut(events, [size] * 9) for e in engine.process(batch)]
    approved = [e.candidate.seq for e in effects if isinstance(e, ApprovedSignal)]
    dropped = [(e.candidate.seq, e.reason) for e in effects if isinstance(e, DroppedSignal)]

    assert [1, 2, 4, 5, 6, 8, 9] == approved  # the late tick 7 is judged at 10 s, not at 7 s
    assert [(3, "cooldown"), (7, "cooldown")] == dropped
