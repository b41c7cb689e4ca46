"""What a validator sees beside the candidate: state of the executor, money, market, policy.

Values only; a validator that reads nothing else is a pure function. Money is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from parity.core.validators.limits import ONE, RISK_MODES, ZERO
from parity.model.errors import InputRefused
from parity.model.sessions import REGULAR
from parity.model.values import Lifecycle


class RiskPolicy(msgspec.Struct, frozen=True, gc=False):
    """What the outside asks of every strategy; changed by a control `policy_changed`.

    Args:
        risk_mode: DEFENSIVE, NORMAL or AGGRESSIVE.
        min_confidence: least confidence of any signal; above 1 nothing passes.
        allowed_strategies: ids; empty means all.
    """

    risk_mode: str = "NORMAL"
    min_confidence: float = 0.0
    allowed_strategies: tuple[str, ...] = ()

    @classmethod
    def of(cls, detail: Mapping[str, Any]) -> RiskPolicy:
        """Read a control's detail, which carries the whole policy; absent keys have defaults.

        Raises:
            InputRefused: a key or a value that is none of a policy.
        """
        try:
            policy = msgspec.convert(dict(detail), cls)
        except msgspec.ValidationError as error:
            raise InputRefused(f"control policy_changed: {error}") from None
        unknown = sorted({*detail} - {*cls.__struct_fields__})
        if unknown or policy.risk_mode not in RISK_MODES or not _is_least(policy.min_confidence):
            raise InputRefused(
                f"control policy_changed: no policy: {dict(detail)!r}",
                cure=f"risk_mode is one of {', '.join(RISK_MODES)}, min_confidence a number ≥ 0, "
                "allowed_strategies a list",
            )
        return policy


def _is_least(value: float) -> bool:
    return math.isfinite(value) and value >= 0.0


class Drop(msgspec.Struct, frozen=True, gc=False):
    """Why a candidate is no signal: the stable reason, and the values that decided."""

    reason: str
    seen: dict[str, Any]


class Context(msgspec.Struct, kw_only=True, gc=False):
    """What surrounds a candidate at the moment of deciding.

    Only what an active validator asks for is filled in; a registered validator has all of it.

    Args:
        clock_ns: the executor's decide clock, ns UTC.
        phase: of the instrument's session at that clock; regular where it trades round the clock.
        flags: of the candidate's tick; 0 at a deadline.
        quantity: what would be ordered: the candidate's times `risk_multiplier`, cut to the room
            that `max_position_size` leaves.
        position: held of the instrument, with the pending orders that can fill.
        last_signal_ns: clock at the instrument's last approved signal.
        side_taken: +1 or -1: the side its position was last brought to by a signal; 0 before.
        side_taken_ns: clock at that signal.
        price: last price of the instrument.
        bar_open: price at which its current bar began.
        exposure: |sum of position × price| over all instruments.
        exposure_after: the same with this candidate.
        busy: other instruments with a position or a pending order.
        loss_streak: losing trades of the instrument in a row.
        last_loss_ns: clock at the last of them.
        twin_ns: clock at the last approved signal with an equal suppression key.
        newest_ns: clock at the executor's last approved signal.
        minute_ns: clock at the approved signal that is `max_signals_per_minute` back.
        signals_today: approved signals since midnight UTC.
    """

    lifecycle: Lifecycle = Lifecycle.ACTIVE
    clock_ns: int = 0
    phase: str = REGULAR
    flags: int = 0
    policy: RiskPolicy = RiskPolicy()
    quantity: Decimal = ONE
    position: Decimal = ZERO
    last_signal_ns: int | None = None
    side_taken: int = 0
    side_taken_ns: int = 0
    price: Decimal | None = None
    bar_open: Decimal | None = None
    exposure: Decimal = ZERO
    exposure_after: Decimal = ZERO
    busy: int = 0
    loss_streak: int = 0
    last_loss_ns: int = 0
    twin_ns: int | None = None
    newest_ns: int | None = None
    minute_ns: int | None = None
    signals_today: int = 0


def purpose(side: int, quantity: Decimal, position: Decimal) -> str:
    """Return what an order would do to a position: open, add, reduce, close or flip.

    >>> [purpose(-1, Decimal(n), Decimal(2)) for n in (1, 2, 3)]
    ['reduce', 'close', 'flip']
    """
    if not position:
        return "open"
    if (position > 0) == (side > 0):
        return "add"
    held = position.copy_abs()
    return "close" if quantity == held else "reduce" if quantity < held else "flip"


def closes(side: int, quantity: Decimal, position: Decimal) -> bool:
    """Say whether an order would only reduce a position."""
    return purpose(side, quantity, position) in ("reduce", "close")
