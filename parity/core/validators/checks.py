"""The validators: pure functions of a candidate, its limits and its context, in a fixed order.

Each returns a Drop with its stable reason, or None to pass; the first one wins. A limit is met by
the value that equals it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, NamedTuple

from parity.core.money import WIDE
from parity.core.orders import order_fault
from parity.core.validators.context import Context, Drop, RiskPolicy, closes, purpose
from parity.core.validators.limits import AUCTION, QUANTITY_MAX, Limits
from parity.model import ticks as flag
from parity.model.effects import Candidate
from parity.model.values import Lifecycle

MINUTE_NS: Final = 60 * 1_000_000_000
_ACTIVE: Final = Lifecycle.ACTIVE
CLOSE: Final = "CLOSE"  # metadata {"action": "CLOSE"}: a strategy that says it leaves

Validator = Callable[[Candidate, Limits, Context], Drop | None]


def lifecycle(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop what an executor says while it is not ACTIVE."""
    if context.lifecycle is _ACTIVE:
        return None
    return Drop("lifecycle", {"state": context.lifecycle.name})


def session(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop outside the phases in which the strategy may trade; regular alone by default."""
    if context.phase in limits.phases:
        return None
    return Drop("session", {"phase": context.phase, "phases": list(limits.phases)})


def halted(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop while the venue says with the tick that trading is halted."""
    return Drop("halted", {}) if context.flags & flag.HALTED else None


def auction(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop while the venue says with the tick that it holds an auction, unless that is a phase."""
    if not context.flags & flag.AUCTION or AUCTION in limits.phases:
        return None
    return Drop("auction", {"phases": list(limits.phases)})


def sanity(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop HOLD, and numbers or instructions that cannot be an order."""
    if candidate.side == 0:
        return Drop("hold", {})
    if not 0.0 < candidate.price < math.inf:
        return Drop("sanity_price", {"price": repr(candidate.price)})
    if not 0.0 < candidate.quantity <= 1e9:
        return Drop("sanity_quantity", {"quantity": repr(candidate.quantity)})
    if not 0.0 <= candidate.confidence <= 1.0:
        return Drop("sanity_confidence", {"confidence": repr(candidate.confidence)})
    if candidate.metadata and (fault := order_fault(candidate.side, candidate.metadata)):
        return Drop("sanity_order", {"order": fault})
    return None


def min_confidence(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop what is less sure than the strategy, or the policy, asks for."""
    own, least = limits.min_confidence, context.policy.min_confidence
    if candidate.confidence >= own and candidate.confidence >= least:
        return None
    least = max(own, least)
    return Drop("min_confidence", {"confidence": candidate.confidence, "min_confidence": least})


def risk_mode(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop in a risk mode that the strategy does not name."""
    mode = context.policy.risk_mode
    if mode in limits.risk_modes:
        return None
    return Drop("risk_mode", {"risk_mode": mode, "risk_modes": list(limits.risk_modes)})


def not_allowed(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop what a strategy says that the policy does not list."""
    if candidate.strategy_id in context.policy.allowed_strategies:
        return None
    return Drop("not_allowed", {})


def not_exact(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop a quantity that `risk_multiplier` gives more digits than money is kept with."""
    if context.quantity > 0:
        return None
    return Drop("not_exact", {"quantity": repr(candidate.quantity)})


def max_quantity(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop a quantity, after `risk_multiplier`, above the limit."""
    most = QUANTITY_MAX if limits.quantity_max is None else limits.quantity_max
    if context.quantity <= most:
        return None
    return Drop("max_quantity", {"quantity": context.quantity, "max_quantity": most})


def room(side: int, position: Decimal, most: Decimal) -> Decimal:
    """Return how much a side may still take before the position passes ±most; negative: none."""
    return WIDE.subtract(most, position) if side > 0 else WIDE.add(most, position)


def max_position_size(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop where the position leaves no room on this side; less room cuts the quantity."""
    if context.quantity > 0:
        return None
    seen = {"position": context.position, "max_position_size": limits.position_max}
    return Drop("max_position_size", seen)


def position_guard(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop what would turn the position to the other side too soon after it took this one."""
    if not context.side_taken or candidate.side == context.side_taken:
        return None
    what = purpose(candidate.side, context.quantity, context.position)
    age = context.clock_ns - context.side_taken_ns
    if what in ("reduce", "close") or age >= limits.position_guard_ns:
        return None
    seen = {"position": context.position, "purpose": what, "age_ns": age}
    return Drop("position_guard", {**seen, "position_guard_ns": limits.position_guard_ns})


def spared(candidate: Candidate, limits: Limits) -> bool:
    """Say whether the cooldown lets this candidate pass if it only reduces the position."""
    return limits.cooldown_opens_only or candidate.metadata.get("action") == CLOSE


def cooldown(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop a signal of an instrument younger than the cooldown, never what says it closes."""
    if context.last_signal_ns is None:
        return None
    age = context.clock_ns - context.last_signal_ns
    if age >= limits.cooldown_ns:
        return None
    if spared(candidate, limits) and closes(candidate.side, context.quantity, context.position):
        return None
    return Drop("cooldown", {"age_ns": age, "cooldown_ns": limits.cooldown_ns})


def price_band(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop where the price has moved too far from its bar's open."""
    price, opened, most = context.price, context.bar_open, limits.price_band
    if price is None or opened is None or most is None:
        return None
    if WIDE.subtract(price, opened).copy_abs() <= WIDE.multiply(most, opened.copy_abs()):
        return None
    return Drop("price_band", {"price": price, "bar_open": opened, "price_band": most})


def slippage_budget(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop a signal whose price lies too far from the last price."""
    price, most = context.price, limits.slippage_budget
    if price is None or most is None:
        return None
    distance = WIDE.subtract(price, Decimal(repr(candidate.price))).copy_abs()
    if distance <= most:
        return None
    return Drop("slippage_budget", {"price": price, "distance": distance, "slippage_budget": most})


def max_exposure(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop what brings the exposure above the limit; less exposure than before always passes."""
    after, most = context.exposure_after, limits.exposure_max
    if most is None or after <= most or after < context.exposure:
        return None
    seen = {"exposure": context.exposure, "exposure_after": after, "max_exposure": most}
    return Drop("max_exposure", seen)


def max_concurrent_signals(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop what would begin in one more instrument than allowed."""
    if context.position or context.busy < limits.concurrent_max:
        return None
    seen = {"busy": context.busy, "max_concurrent_signals": limits.concurrent_max}
    return Drop("max_concurrent_signals", seen)


def circuit_breaker(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop what opens after too many losing trades in a row, until a win or the pause's end."""
    if context.loss_streak < limits.loss_streak_max:
        return None
    age = context.clock_ns - context.last_loss_ns
    over = limits.loss_pause_ns and age >= limits.loss_pause_ns
    if over or closes(candidate.side, context.quantity, context.position):
        return None
    seen = {"loss_streak": context.loss_streak, "loss_streak_max": limits.loss_streak_max}
    return Drop("circuit_breaker", {**seen, "age_ns": age})


def duplicate(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop a signal whose suppression key was approved less than the window ago."""
    if context.twin_ns is None or context.clock_ns - context.twin_ns >= limits.duplicate_ns:
        return None
    age = context.clock_ns - context.twin_ns
    return Drop("duplicate", {"age_ns": age, "duplicate_ns": limits.duplicate_ns})


def max_signals_per_minute(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop where as many signals as allowed are younger than 60 seconds."""
    if context.minute_ns is None or context.clock_ns - context.minute_ns >= MINUTE_NS:
        return None
    most = limits.signals_per_minute_max
    age = context.clock_ns - context.minute_ns
    return Drop("max_signals_per_minute", {"age_ns": age, "max_signals_per_minute": most})


def min_signal_interval(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop a signal too soon after the executor's last one, of any instrument."""
    if context.newest_ns is None:
        return None
    age = context.clock_ns - context.newest_ns
    if age >= limits.signal_interval_ns:
        return None
    return Drop("min_signal_interval", {"age_ns": age, "interval_ns": limits.signal_interval_ns})


def max_signals_per_day(candidate: Candidate, limits: Limits, context: Context) -> Drop | None:
    """Drop where the UTC day has had as many signals as allowed."""
    if context.signals_today < limits.signals_per_day_max:
        return None
    seen = {"signals_today": context.signals_today}
    return Drop("max_signals_per_day", {**seen, "max_signals_per_day": limits.signals_per_day_max})


class Stage(NamedTuple):
    """A validator in its place: when it is asked, and which parts of the context it reads."""

    check: Validator
    asked: Callable[[Limits, RiskPolicy], Any]
    reads: tuple[str, ...] = ()


def _always(limits: Limits, policy: RiskPolicy) -> bool:
    return True


def _sized(limits: Limits, policy: RiskPolicy) -> bool:
    sums = limits.position_max or limits.position_guard_ns or limits.exposure_max
    return bool(sums) or limits.multiplier != 1


STAGES: Final[tuple[Stage, ...]] = (
    Stage(lifecycle, _always),
    Stage(session, lambda a, p: a.sessions, ("phase",)),
    Stage(halted, _always, ("flags",)),
    Stage(auction, _always, ("flags",)),
    Stage(sanity, _always),
    Stage(min_confidence, lambda a, p: a.min_confidence or p.min_confidence),
    Stage(risk_mode, lambda a, p: a.risk_modes),
    Stage(not_allowed, lambda a, p: p.allowed_strategies),
    Stage(not_exact, _sized, ("size",)),
    Stage(max_quantity, lambda a, p: a.quantity_max is not None or a.multiplier != 1),
    Stage(max_position_size, lambda a, p: a.position_max, ("position", "room")),
    Stage(position_guard, lambda a, p: a.position_guard_ns, ("position", "side_taken")),
    Stage(cooldown, lambda a, p: a.cooldown_ns, ("last_signal",)),
    Stage(price_band, lambda a, p: a.price_band is not None, ("price", "bar_open")),
    Stage(slippage_budget, lambda a, p: a.slippage_budget is not None, ("price",)),
    Stage(max_exposure, lambda a, p: a.exposure_max is not None, ("position", "exposure")),
    Stage(max_concurrent_signals, lambda a, p: a.concurrent_max, ("position", "busy")),
    Stage(circuit_breaker, lambda a, p: a.loss_streak_max, ("position", "loss_streak")),
    Stage(duplicate, lambda a, p: a.duplicate_ns, ("twin",)),
    Stage(max_signals_per_minute, lambda a, p: a.signals_per_minute_max, ("rates",)),
    Stage(min_signal_interval, lambda a, p: a.signal_interval_ns, ("rates",)),
    Stage(max_signals_per_day, lambda a, p: a.signals_per_day_max, ("rates",)),
)
