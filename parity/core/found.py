"""What detect finds: a candidate in the making, or an error, at a row of a view or at a deadline.

Here whatever a strategy handed over is checked, typed and copied, for it may change it later.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

import msgspec

from parity.core.digest import canonical, pack_head, plain
from parity.model.effects import Candidate
from parity.model.errors import ConfigError
from parity.model.values import SIDES, SignalResult

NOT_DUE: Final = (1 << 63) - 1  # of what belongs to a tick, which comes behind all that is due


class Found(msgspec.Struct, frozen=True, gc=False):
    """A candidate as it was found, at a row of the view; or before one of the segment, when due.

    Args:
        due_ns: the deadline; NOT_DUE at a tick.
        dense: the instrument at a deadline.
        turn: among what is told of an instrument at one deadline.
    """

    row: int
    side: int
    price: float
    quantity: float
    confidence: float
    metadata: dict[str, Any]
    reasoning: str
    quantity_exact: Decimal
    metadata_bytes: bytes
    due_ns: int = NOT_DUE
    dense: int = -1
    turn: int = 0


class Failed(msgspec.Struct, frozen=True):
    """An error at a row of the view; or before one of the segment, when something was due.

    Args:
        due_ns: the deadline; NOT_DUE at a tick.
        dense: the instrument at a deadline.
        anew: the processor begins behind it without a past.
        turn: among what is told of an instrument at one deadline.
    """

    row: int
    error: str
    due_ns: int = NOT_DUE
    dense: int = -1
    anew: bool = False
    turn: int = 0


def exact_of(quantity: Any) -> Decimal:
    """Return a quantity as a Decimal of its shortest text; raises ConfigError where it is none."""
    if type(quantity) is int:
        return Decimal(quantity)
    if type(quantity) is float and quantity:  # the two zeros are equal, and have two texts
        return _of_float(quantity)
    try:
        return quantity if isinstance(quantity, Decimal) else Decimal(str(quantity))
    except InvalidOperation:
        raise ConfigError(f"quantity: expected a number, was {quantity!r}") from None


@lru_cache(maxsize=1024)  # a strategy orders the same few sizes again and again
def _of_float(quantity: float) -> Decimal:
    return Decimal(repr(quantity))


def words_of(error: BaseException) -> str:
    """Return an error as text that can be written down."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # even its text may be a strategy's
        text = type(error).__name__
    return text.encode("utf-8", "backslashreplace").decode()


def reasoning_of(text: Any) -> str:
    """Return a reasoning as plain text; raises where it is none."""
    if type(text) is str and text.isascii():
        return text
    if not isinstance(text, str):
        raise ConfigError(f"reasoning: expected text, was {text!r}")
    text.encode()  # raises where it is no text that can be written down
    return str(text)


def found_of(row: int, said: Any, due_ns: int = NOT_DUE, dense: int = -1, turn: int = 0) -> Found:
    """Return what a processor said, checked and copied; raises ConfigError naming what is wrong."""
    if not isinstance(said, SignalResult):
        method = "process_tick" if due_ns == NOT_DUE else "on_timer" if turn else "process_bar"
        raise ConfigError(
            f"{method} returned {type(said).__name__}", cure="return SignalResult or None"
        )
    side = SIDES.get(said.signal_type)
    if side is None:
        raise ConfigError(
            f"signal_type: expected BUY, SELL or HOLD, was {said.signal_type!r}",
        )
    price, quantity, confidence = said.price, said.quantity, said.confidence
    if (
        type(price) is not float
        or type(confidence) is not float
        or isinstance(quantity, bool | str)
    ):
        _check_numbers(said)
    metadata = said.metadata or {}
    return Found(
        row,
        side,
        float(price),
        float(quantity),
        float(confidence),
        plain(metadata),
        reasoning_of(said.reasoning),
        exact_of(quantity),
        canonical(metadata),
        due_ns,
        dense,
        turn,
    )


def _check_numbers(said: SignalResult) -> None:
    for name in ("price", "quantity", "confidence"):
        value = getattr(said, name)
        if isinstance(value, bool | str):  # float() would take them
            raise ConfigError(f"{name}: expected a number, was {value!r}")


def candidate_of(
    found: Found, key: tuple[str, str], moment: tuple[int, int, int, int], proposed: bool
) -> Candidate:
    """Return what was found as a candidate, with its record.

    Args:
        found: at a tick or a deadline.
        key: strategy_id and broker.
        moment: seq, token, ts_event and ordinal there.
        proposed: by a processor that sees its portfolio.
    """
    seq, token, ts_event, ordinal = moment
    head = pack_head(
        token, ts_event, ordinal, found.side, found.price, found.quantity, found.confidence
    )
    return Candidate(
        seq,
        *key,
        token,
        ts_event,
        ordinal,
        found.side,
        found.price,
        found.quantity,
        found.confidence,
        found.metadata,
        found.reasoning,
        head + found.metadata_bytes,
        found.quantity_exact,
        proposed,
    )
