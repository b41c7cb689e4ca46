"""Orders on paper: what a signal's metadata ask for, and the levels an order or an exit waits at.

Percent as in the seeds' metadata: `stop_loss_pct: 2` is 2 percent of the entry price. Never here:
ticks, money, or filling anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from parity.core.money import WIDE

TYPES: Final = ("market", "limit", "stop", "stop_limit")
TIFS: Final = ("GTC", "DAY", "IOC", "FOK")
AT_ONCE: Final = ("IOC", "FOK")  # whole quantities only, so that the two are one
# Phases of an order that waits.
NEW: Final = "new"  # for the first tick that can fill it
STOP: Final = "stop"  # for its stop price
LIMIT: Final = "limit"  # in the book, for its limit price
# What an order is there for; "order" is a signal's own.
ORDER: Final = "order"
STOP_LOSS: Final = "stop_loss"
TAKE_PROFIT: Final = "take_profit"
FLATTEN: Final = "flatten"
OUTSIDE: Final = "outside"  # filled by a venue; known here by its fill alone

_PRICES: Final = {"limit_price": ("limit", "stop_limit"), "stop_price": ("stop", "stop_limit")}
_PERCENT: Final = ("take_profit_pct", "stop_loss_pct")
KEYS: Final = frozenset({"order_type", "tif", *_PRICES, *_PERCENT})
_HUNDRED: Final = Decimal(100)
_DIGITS_MAX: Final = 40


class Instructions(msgspec.Struct, frozen=True, gc=False):
    """How a signal wants to be ordered.

    Args:
        type: market, limit, stop or stop_limit.
        limit: limit price.
        stop: stop price.
        tif: GTC, DAY, IOC or FOK.
        take_profit: percent of the entry price.
        stop_loss: percent of the entry price.
    """

    type: str = "market"
    limit: Decimal | None = None
    stop: Decimal | None = None
    tif: str = "GTC"
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None


PLAIN: Final = Instructions()


class Order(msgspec.Struct, eq=False, gc=False):
    """An order that waits for a tick of its instrument.

    Args:
        number: of the order in its executor's run: at one tick the oldest comes first.
        kind: what it is there for; its id is its signal's where that is "order".
        phase: what it waits for; the only thing about it that changes.
        due_ns: when it expires; None never.
    """

    number: int
    dense: int
    token: int
    side: int
    quantity: Decimal
    signal_id: str
    how: Instructions = PLAIN
    kind: str = ORDER
    phase: str = NEW
    due_ns: int | None = None


class Bracket(msgspec.Struct, frozen=True, gc=False):
    """The exits of a position: whole, at the level, the stop loss first where both are hit.

    Args:
        side: of the exit: -1 leaves a long position.
        stop_loss: price level, exact.
        take_profit: price level, exact.
        signal_id: of the signal whose fill brought it.
    """

    dense: int
    token: int
    side: int
    stop_loss: Decimal | None
    take_profit: Decimal | None
    signal_id: str


def order_fault(side: int, metadata: Mapping[str, Any]) -> str:
    """Return why a signal's metadata are no order; "" where they are one."""
    if KEYS.isdisjoint(metadata):
        return ""
    try:
        instructions(side, metadata)
    except ValueError as error:
        return str(error)
    return ""


def instructions(side: int, metadata: Mapping[str, Any]) -> Instructions:
    """Read a signal's metadata; keys that are absent or None ask for nothing.

    Args:
        side: +1 or -1, for the percent that would bring a level to 0.
        metadata: of the signal.

    Raises:
        ValueError: naming the key that is wrong.
    """
    if KEYS.isdisjoint(metadata):
        return PLAIN
    kind = _word(metadata, "order_type", TYPES, "market")
    prices = {}
    for key, types in _PRICES.items():
        price = _number(metadata, key)
        if (price is None) == (kind in types):
            words = "is missing" if price is None else "means nothing"
            raise ValueError(f"{key}: {words} for a {kind} order")
        prices[key] = price
    exits = {key: _number(metadata, key) for key in _PERCENT}
    below = "stop_loss_pct" if side > 0 else "take_profit_pct"
    if (percent := exits[below]) is not None and percent >= _HUNDRED:
        raise ValueError(f"{below}: expected less than 100 percent, was {percent}")
    return Instructions(
        kind,
        prices["limit_price"],
        prices["stop_price"],
        _word(metadata, "tif", TIFS, "GTC"),
        exits["take_profit_pct"],
        exits["stop_loss_pct"],
    )


def bracket_of(order: Order, entry: Decimal) -> Bracket | None:
    """Return the exits that an order's fill at `entry` brings; None where it asks for none.

    Levels are entry × (1 ± percent / 100), exact, and need not be on the instrument's tick.
    """
    how = order.how
    if how.take_profit is None and how.stop_loss is None:
        return None
    return Bracket(
        order.dense,
        order.token,
        -order.side,
        None if how.stop_loss is None else _level(entry, -order.side, how.stop_loss),
        None if how.take_profit is None else _level(entry, order.side, how.take_profit),
        order.signal_id,
    )


def _level(entry: Decimal, direction: int, percent: Decimal) -> Decimal:
    whole = WIDE.fma(direction, percent, _HUNDRED)
    return WIDE.multiply(entry, whole).scaleb(-2, WIDE)


def _word(metadata: Mapping[str, Any], key: str, known: tuple[str, ...], default: str) -> str:
    value = metadata.get(key)
    if value is None:
        return default
    if value not in known:
        raise ValueError(f"{key}: expected one of {', '.join(known)}, was {value!r}")
    return str(value)


def _number(metadata: Mapping[str, Any], key: str) -> Decimal | None:
    value = metadata.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"{key}: expected a number, was {value!r}")
    number = Decimal(str(value))  # the shortest text of a float
    if not number.is_finite() or number <= 0 or abs(number.adjusted()) > _DIGITS_MAX:
        raise ValueError(f"{key}: expected a number above 0, was {value!r}")
    if len(number.as_tuple().digits) > _DIGITS_MAX:
        raise ValueError(f"{key}: expected at most {_DIGITS_MAX} digits, was {value!r}")
    return number
