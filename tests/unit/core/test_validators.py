"""Validators as truth tables: each reason, and each edge on its right side."""

import math
from decimal import Decimal
from typing import Any

import pytest

from parity.core.validators.checks import STAGES
from parity.core.validators.context import Context, Drop, RiskPolicy, purpose
from parity.core.validators.limits import RISK, Limits, check_risk
from parity.model import ticks as flag
from parity.model.effects import Candidate
from parity.model.errors import ConfigError, InputRefused
from parity.model.values import Lifecycle, StrategyConfig
from parity.testing.generators import ONE, SECOND_NS, START_NS

CHECKS = {stage.check.__name__: stage.check for stage in STAGES}
D = Decimal


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


def said(name: str, limits: Limits, context: Context, **changed: Any) -> str | None:
    """Return the reason that one validator gives, or None where it passes."""
    drop: Drop | None = CHECKS[name](candidate(**changed), limits, context)
    return None if drop is None else drop.reason


def test_the_order_is_the_documented_one() -> None:
    """The first reason wins, so the order is part of what is promised."""
    assert [
        "lifecycle", "session", "halted", "auction", "sanity", "min_confidence", "risk_mode",
        "not_allowed", "not_exact", "max_quantity", "max_position_size", "position_guard",
        "cooldown", "price_band", "slippage_budget", "max_exposure", "max_concurrent_signals",
        "circuit_breaker", "duplicate", "max_signals_per_minute", "min_signal_interval",
        "max_signals_per_day",
    ] == list(CHECKS)  # fmt: skip


def test_without_a_limit_only_four_are_asked() -> None:
    """A strategy that limits nothing pays for lifecycle, the tick's flags and sanity only."""
    asked = [s.check.__name__ for s in STAGES if s.asked(Limits(), RiskPolicy())]

    assert ["lifecycle", "halted", "auction", "sanity"] == asked


PHASES = ("preopen", "regular", "closing", "closed", "unknown")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("allowed", [("regular",), ("preopen", "closing"), ("regular", "auction")])
def test_only_an_allowed_phase_trades(phase: str, allowed: tuple[str, ...]) -> None:
    """The phase has to be one that the strategy names; closed and unknown cannot be named."""
    limits = Limits(sessions=True, phases=allowed)
    expected = None if phase in allowed else "session"

    assert expected == said("session", limits, Context(phase=phase))


@pytest.mark.parametrize(
    ("flags", "allowed", "reasons"),
    [
        (0, ("regular",), (None, None)),
        (flag.TRADE, ("regular",), (None, None)),
        (flag.HALTED, ("regular",), ("halted", None)),
        (flag.HALTED, ("regular", "auction"), ("halted", None)),
        (flag.AUCTION, ("regular",), (None, "auction")),
        (flag.AUCTION, ("regular", "auction"), (None, None)),
        (flag.AUCTION | flag.HALTED, ("auction",), ("halted", None)),
    ],
)
def test_the_ticks_flags_stop_trading(
    flags: int, allowed: tuple[str, ...], reasons: tuple[str | None, str | None]
) -> None:
    """A halt always does, an auction unless it is among the phases."""
    limits, context = Limits(phases=allowed), Context(flags=flags)

    assert reasons == (said("halted", limits, context), said("auction", limits, context))


@pytest.mark.parametrize("phases", [[], "regular", ["closed"], ["lunch"], [1], {}])
def test_wrong_phases_are_refused(phases: Any) -> None:
    """Phases are a list of those in which trading is possible."""
    _, faults = check_risk({"phases": phases})

    assert ["phases"] == [fault.name for fault in faults]


@pytest.mark.parametrize("state", list(Lifecycle))
def test_only_an_active_executor_speaks(state: Lifecycle) -> None:
    """In any other state the candidate is dropped."""
    expected = None if state == Lifecycle.ACTIVE else "lifecycle"

    assert expected == said("lifecycle", Limits(), Context(lifecycle=state))


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
        ({"quantity": 1e9}, None),
        ({"quantity": math.nextafter(1e9, 2e9)}, "sanity_quantity"),
        ({"confidence": math.nan}, "sanity_confidence"),
        ({"confidence": math.nextafter(1.0, 2.0)}, "sanity_confidence"),
        ({"confidence": -0.1}, "sanity_confidence"),
        ({"confidence": 1.0}, None),
        ({"confidence": 0.0}, None),
        ({"side": 0, "price": 0.0}, "hold"),
    ],
)
def test_sanity(changed: dict[str, Any], reason: str | None) -> None:
    """Edges are where the documents say: at the limit passes, the next float beyond does not."""
    assert reason == said("sanity", Limits(), Context(), **changed)


@pytest.mark.parametrize(
    ("own", "policy", "confidence", "reason"),
    [
        (0.4, 0.0, 0.4, None),
        (0.4, 0.0, math.nextafter(0.4, 0.0), "min_confidence"),
        (0.0, 0.5, 0.4, "min_confidence"),
        (0.6, 0.5, 0.55, "min_confidence"),
        (0.6, 0.5, 0.6, None),
        (0.0, 1.01, 1.0, "min_confidence"),  # an emergency stop
    ],
)
def test_min_confidence(own: float, policy: float, confidence: float, reason: str | None) -> None:
    """The larger of the strategy's and the policy's counts; equal passes."""
    context = Context(policy=RiskPolicy(min_confidence=policy))
    limits = Limits(min_confidence=own)

    assert reason == said("min_confidence", limits, context, confidence=confidence)


@pytest.mark.parametrize("mode", ["DEFENSIVE", "NORMAL", "AGGRESSIVE"])
def test_risk_mode_and_allowed_strategies(mode: str) -> None:
    """A strategy speaks in the modes it names, and where the policy's list holds it."""
    context = Context(policy=RiskPolicy(risk_mode=mode, allowed_strategies=("s", "t")))
    limits = Limits(risk_modes=("NORMAL", "AGGRESSIVE"))

    assert (mode == "DEFENSIVE") == (said("risk_mode", limits, context) == "risk_mode")
    assert said("not_allowed", limits, context) is None
    assert "not_allowed" == said("not_allowed", limits, context, strategy_id="u")


@pytest.mark.parametrize(
    ("quantity", "limit", "reason"),
    [
        ("10", "10", None),
        ("10.0000000000000000001", "10", "max_quantity"),
        ("1000000000", None, None),
        ("1000000000.1", None, "max_quantity"),
    ],
)
def test_max_quantity(quantity: str, limit: str | None, reason: str | None) -> None:
    """It judges the exact quantity behind `risk_multiplier`; without one of its own, 10**9."""
    limits = Limits(quantity_max=None if limit is None else D(limit))

    assert reason == said("max_quantity", limits, Context(quantity=D(quantity)))


def test_no_room_and_no_exact_quantity_are_drops() -> None:
    """A quantity that was cut to nothing, or that has too many digits, is no order."""
    limits = Limits(position_max=D(5))
    for name in ("max_position_size", "not_exact"):
        assert said(name, limits, Context(quantity=D(1))) is None
        assert name == said(name, limits, Context(quantity=D(0)))
    assert "max_position_size" == said("max_position_size", limits, Context(quantity=D(-2)))


@pytest.mark.parametrize(
    ("side", "quantity", "position", "what"),
    [
        (1, 1, 0, "open"),
        (-1, 1, 0, "open"),
        (1, 1, 2, "add"),
        (-1, 1, -2, "add"),
        (-1, 1, 2, "reduce"),
        (-1, 2, 2, "close"),
        (-1, 3, 2, "flip"),
        (1, 1, -2, "reduce"),
        (1, 2, -2, "close"),
        (1, 3, -2, "flip"),
    ],
)
def test_the_purpose_of_an_order(side: int, quantity: int, position: int, what: str) -> None:
    """What an order does follows from the position."""
    assert what == purpose(side, D(quantity), D(position))


@pytest.mark.parametrize(
    ("taken", "side", "quantity", "position", "age_s", "reason"),
    [
        (0, -1, 1, 0, 0, None),  # nothing taken yet
        (1, 1, 1, 1, 0, None),  # the same side
        (1, -1, 1, 2, 0, None),  # reduces
        (1, -1, 2, 2, 0, None),  # closes
        (1, -1, 3, 2, 0, "position_guard"),  # flips
        (1, -1, 3, 2, 10, None),
        (1, -1, 1, 0, 9, "position_guard"),  # flips in two steps
        (-1, 1, 3, -2, 9, "position_guard"),
        (-1, 1, 3, -2, 10, None),
    ],
)
def test_position_guard(
    taken: int, side: int, quantity: int, position: int, age_s: int, reason: str | None
) -> None:
    """A position turns only after the guard; leaving it is never guarded."""
    context = Context(
        clock_ns=START_NS + age_s * SECOND_NS,
        side_taken=taken,
        side_taken_ns=START_NS,
        quantity=D(quantity),
        position=D(position),
    )
    limits = Limits(position_guard_ns=10 * SECOND_NS)

    assert reason == said("position_guard", limits, context, side=side)


@pytest.mark.parametrize("age_ns", [0, 30 * SECOND_NS - 1, 30 * SECOND_NS, 30 * SECOND_NS + 1])
@pytest.mark.parametrize("position", [-2, 0, 1, 2])
@pytest.mark.parametrize("opens_only", [False, True])
@pytest.mark.parametrize("metadata", [{}, {"action": "CLOSE"}])
def test_cooldown(age_ns: int, position: int, opens_only: bool, metadata: dict[str, str]) -> None:
    """A signal as old as the cooldown no longer blocks; what closes, by word or limit, passes."""
    context = Context(
        clock_ns=START_NS + age_ns, last_signal_ns=START_NS, position=D(position), quantity=D(1)
    )
    limits = Limits(cooldown_ns=30 * SECOND_NS, cooldown_opens_only=opens_only)
    spared = position in (1, 2) and (opens_only or bool(metadata))
    expected = None if spared or age_ns >= 30 * SECOND_NS else "cooldown"

    assert expected == said("cooldown", limits, context, side=-1, metadata=metadata)
    assert said("cooldown", limits, Context(clock_ns=START_NS)) is None  # the first signal


@pytest.mark.parametrize(
    ("price", "opened", "reason"),
    [
        ("101", "100", None),
        ("101.01", "100", "price_band"),
        ("99", "100", None),
        ("98.99", "100", "price_band"),
        (None, "100", None),
        ("100", None, None),
    ],
)
def test_price_band(price: str | None, opened: str | None, reason: str | None) -> None:
    """Exactly the fraction passes, either way; where a price is missing nothing is judged."""
    context = Context(
        price=None if price is None else D(price), bar_open=None if opened is None else D(opened)
    )

    assert reason == said("price_band", Limits(price_band=D("0.01")), context)


@pytest.mark.parametrize(
    ("own", "last", "budget", "reason"),
    [
        (100.1, "100.0", "0.1", None),  # exact: 100.1 - 100.0 is more than 0.1 in floats
        (100.1, "100.2", "0.1", None),
        (100.1, "99.9", "0.1", "slippage_budget"),
        (100.0, "100.0", "0", None),
        (100.0, "100.0000001", "0", "slippage_budget"),
    ],
)
def test_slippage_budget(own: float, last: str, budget: str, reason: str | None) -> None:
    """The distance is exact."""
    limits = Limits(slippage_budget=D(budget))

    assert reason == said("slippage_budget", limits, Context(price=D(last)), price=own)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [(0, 100, None), (0, 101, "max_exposure"), (150, 120, None), (150, 150, "max_exposure")],
)
def test_max_exposure(before: int, after: int, reason: str | None) -> None:
    """At the cap passes; above it only what lessens the exposure does."""
    context = Context(exposure=D(before), exposure_after=D(after))

    assert reason == said("max_exposure", Limits(exposure_max=D(100)), context)


@pytest.mark.parametrize(
    ("busy", "position", "reason"),
    [(0, 0, None), (1, 0, None), (2, 0, "max_concurrent_signals"), (2, 1, None), (2, -1, None)],
)
def test_max_concurrent_signals(busy: int, position: int, reason: str | None) -> None:
    """One more instrument than allowed is refused; one's own position goes on."""
    context = Context(busy=busy, position=D(position))

    assert reason == said("max_concurrent_signals", Limits(concurrent_max=2), context)


@pytest.mark.parametrize(
    ("streak", "side", "age_s", "pause_s", "reason"),
    [
        (2, 1, 0, 0, None),
        (3, 1, 0, 0, "circuit_breaker"),
        (3, 1, 10**6, 0, "circuit_breaker"),
        (3, -1, 0, 0, None),  # closes
        (3, 1, 59, 60, "circuit_breaker"),
        (3, 1, 60, 60, None),
    ],
)
def test_circuit_breaker(
    streak: int, side: int, age_s: int, pause_s: int, reason: str | None
) -> None:
    """At the limit nothing opens until the pause is over; closing always passes."""
    context = Context(
        clock_ns=START_NS + age_s * SECOND_NS,
        last_loss_ns=START_NS,
        loss_streak=streak,
        position=D(1),
        quantity=D(1),
    )
    limits = Limits(loss_streak_max=3, loss_pause_ns=pause_s * SECOND_NS)

    assert reason == said("circuit_breaker", limits, context, side=side)


@pytest.mark.parametrize(
    ("name", "fact", "limits"),
    [
        ("duplicate", "twin_ns", Limits(duplicate_ns=60 * SECOND_NS)),
        ("max_signals_per_minute", "minute_ns", Limits(signals_per_minute_max=3)),
        ("min_signal_interval", "newest_ns", Limits(signal_interval_ns=60 * SECOND_NS)),
    ],
)
def test_ages_end_exactly(name: str, fact: str, limits: Limits) -> None:
    """Exactly at its end a window no longer blocks, and before any signal there is none."""
    for age_ns, blocked in ((0, True), (60 * SECOND_NS - 1, True), (60 * SECOND_NS, False)):
        context = Context(clock_ns=START_NS + age_ns, **{fact: START_NS})  # type: ignore[arg-type] # all of them are times
        assert (name if blocked else None) == said(name, limits, context)
    assert said(name, limits, Context(clock_ns=START_NS)) is None


def test_max_signals_per_day() -> None:
    """As many as allowed, and no more."""
    limits = Limits(signals_per_day_max=2)
    reasons = [said("max_signals_per_day", limits, Context(signals_today=n)) for n in range(4)]

    assert [None, None, "max_signals_per_day", "max_signals_per_day"] == reasons


def test_limits_come_from_the_configuration() -> None:
    """What is not set does not limit; numbers become exact, seconds become ns."""
    risk = {
        "min_confidence": 0.25, "risk_modes": ["NORMAL"], "max_quantity": 3,
        "position_guard_sec": 2, "cooldown_sec": 1.5, "cooldown_opens_only": True,
        "price_band": 0.02, "price_band_bar_sec": 30, "slippage_budget": 0.05,
        "max_exposure": 1e6, "max_concurrent_signals": 4, "loss_streak_max": 3,
        "loss_streak_pause_sec": 60, "duplicate_sec": 5, "duplicate_price_step": 0.1,
        "max_signals_per_min": 6, "min_signal_interval_ms": 250, "max_signals_per_day": 50,
        "phases": ["preopen", "auction"],
    }  # fmt: skip
    config = StrategyConfig(
        strategy_id="s",
        strategy_type="s",
        parameters={"risk": risk},
        max_position_size=D(7),
        risk_multiplier=D("0.5"),
    )
    bare = StrategyConfig(strategy_id="s", strategy_type="s")

    assert Limits() == Limits.of(bare)
    assert Limits(
        min_confidence=0.25, risk_modes=("NORMAL",), quantity_max=D("3.0"), position_max=D(7),
        multiplier=D("0.5"), position_guard_ns=2 * SECOND_NS, cooldown_ns=1_500_000_000,
        cooldown_opens_only=True, price_band=D("0.02"), bar_ns=30 * SECOND_NS,
        slippage_budget=D("0.05"), exposure_max=D("1000000.0"), concurrent_max=4,
        loss_streak_max=3, loss_pause_ns=60 * SECOND_NS, duplicate_ns=5 * SECOND_NS,
        duplicate_price_step=D("0.1"), signals_per_minute_max=6, signal_interval_ns=250_000_000,
        signals_per_day_max=50, phases=("preopen", "auction"),
    ) == Limits.of(config)  # fmt: skip
    assert {*RISK} == {*check_risk(risk)[0]}  # each key of the block is in this test


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"parameters": {"risk": {"min_confidence": 1.1}}}, "risk.min_confidence: expected"),
        ({"parameters": {"risk": {"cooldown_sec": -1}}}, "risk.cooldown_sec: expected"),
        ({"parameters": {"risk": {"cooldown": 1}}}, "did you mean 'cooldown_sec'"),
        ({"parameters": {"risk": {"price_band_bar_sec": 1}}}, "nothing without price_band"),
        ({"risk_multiplier": D(0)}, "risk_multiplier: expected a number > 0, was 0"),
        ({"max_position_size": D(-1)}, "max_position_size: expected a number ≥ 0, was -1"),
    ],
)
def test_wrong_limits_are_refused(given: dict[str, Any], said: str) -> None:
    """Also where a configuration did not come through a file."""
    with pytest.raises(ConfigError, match=said):
        Limits.of(StrategyConfig(strategy_id="s", strategy_type="s", **given))


def test_a_policy_is_read_whole() -> None:
    """Absent keys have their defaults, as a policy store has; what is no policy is refused."""
    assert RiskPolicy() == RiskPolicy.of({})
    assert RiskPolicy("DEFENSIVE", 0.5, ("a",)) == RiskPolicy.of(
        {"risk_mode": "DEFENSIVE", "min_confidence": 0.5, "allowed_strategies": ["a"]}
    )
    for wrong in ({"risk_mode": "CALM"}, {"min_confidence": "a"}, {"min_confidence": -1}, {"x": 1}):
        with pytest.raises(InputRefused, match="control policy_changed"):
            RiskPolicy.of(wrong)
