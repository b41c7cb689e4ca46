"""Validators: pure functions of a candidate and its context, in a fixed order.

Each returns a stable drop reason, or None to pass. The first reason wins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from parity.model.effects import Candidate
from parity.model.errors import ConfigError
from parity.model.values import Lifecycle

QUANTITY_MAX: Final = 10**9
_NS: Final = 1_000_000_000


class Limits(msgspec.Struct, frozen=True):
    """What a strategy's configuration says about its validators."""

    min_confidence: float = 0.0
    cooldown_ns: int = 0
    quantity_max: float = QUANTITY_MAX

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Limits:
        """Read the block `risk: {min_confidence, cooldown_sec, max_quantity}` of parameters."""
        risk = parameters.get("risk") or {}
        confidence = float(risk.get("min_confidence", 0.0))
        cooldown = float(risk.get("cooldown_sec", 0))
        if not 0.0 <= confidence <= 1.0:
            raise ConfigError(f"min_confidence: expected 0..1, was {confidence}")
        if not 0.0 <= cooldown <= 86_400.0 * 366:
            raise ConfigError(f"cooldown_sec: expected 0 or more seconds, was {cooldown}")
        quantity = float(risk.get("max_quantity", QUANTITY_MAX))
        return cls(confidence, round(cooldown * _NS), quantity)


class Context(msgspec.Struct):
    """What surrounds a candidate at the moment of deciding."""

    lifecycle: Lifecycle
    clock_ns: int  # the executor's decide clock
    last_signal_ns: int | None  # decide clock at the token's last approved signal


def lifecycle(candidate: Candidate, limits: Limits, context: Context) -> str | None:
    """Drop what an executor says while it is not ACTIVE."""
    return None if context.lifecycle == Lifecycle.ACTIVE else "lifecycle"


def sanity(candidate: Candidate, limits: Limits, context: Context) -> str | None:
    """Drop HOLD, and numbers that cannot be an order."""
    if candidate.side == 0:
        return "hold"
    if not (math.isfinite(candidate.price) and candidate.price > 0.0):
        return "sanity_price"
    if not 0.0 < candidate.quantity <= limits.quantity_max:
        return "sanity_quantity"
    if not 0.0 <= candidate.confidence <= 1.0:
        return "sanity_confidence"
    return None


def min_confidence(candidate: Candidate, limits: Limits, context: Context) -> str | None:
    """Drop what is less sure than the strategy asks for; equal passes."""
    return "min_confidence" if candidate.confidence < limits.min_confidence else None


def cooldown(candidate: Candidate, limits: Limits, context: Context) -> str | None:
    """Drop a signal of a token younger than the cooldown; exactly at its end passes."""
    if limits.cooldown_ns == 0 or context.last_signal_ns is None:
        return None
    young = context.clock_ns - context.last_signal_ns < limits.cooldown_ns
    return "cooldown" if young else None


Validator = Callable[[Candidate, Limits, Context], str | None]
VALIDATORS: Final[tuple[Validator, ...]] = (lifecycle, sanity, min_confidence, cooldown)


def validate(candidate: Candidate, limits: Limits, context: Context) -> str | None:
    """Return the first drop reason, or None where every validator passes."""
    for validator in VALIDATORS:
        reason = validator(candidate, limits, context)
        if reason is not None:
            return reason
    return None
