"""Where in a segment an order can fill, or a position's exit is hit, and at which price.

A BUY looks at trades and at the ask of quotes, a SELL at trades and at the bid. A resting limit
order needs a trade *through* its price (at it, others may stand before us in the book), or a quote
that reaches it. Levels become integers at the instrument's scale, so every comparison is exact.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from parity.core.money import EXACT, WIDE
from parity.core.orders import LIMIT, STOP, Bracket, Order
from parity.kernels.touch import next_touch
from parity.model import ticks as flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.core.view import Segment

_MOST: Final = (1 << 63) - 1
_LEAST: Final = -(1 << 63)
# What the kernel asks of a row's flags, for a BUY and for a SELL; ticks of a time before the order
# could have been there are passed over.
_MASKS: Final = {
    side: np.array([flag.WARMUP, flag.QUOTE, absent, flag.TRADE_LIKE, flag.NO_PRICE], np.uint32)
    for side, absent in ((1, flag.NO_ASK), (-1, flag.NO_BID))
}
_NEAR: Final = 8  # rows that are looked at one by one before the compiled scan is called
# A trade that anybody's order of any price may meet is told by these flags alone.
_NOT_SURE: Final = flag.WARMUP | flag.QUOTE | flag.NO_PRICE | flag.TRADE_LIKE
_SURE: Final = frozenset((flag.TRADE, flag.INDEX, flag.SNAPSHOT))


class Levels(NamedTuple):
    """Integer prices: a tick at or below a low, or at or above a high, is the one looked for."""

    low_trade: int = _LEAST
    low_quote: int = _LEAST
    high_trade: int = _MOST
    high_quote: int = _MOST


ANY: Final = Levels(_MOST, _MOST, _LEAST, _LEAST)
NONE: Final = Levels()


def both(one: Levels, other: Levels) -> Levels:
    """Return levels that any tick touches which touches one of the two."""
    return Levels(
        max(one.low_trade, other.low_trade),
        max(one.low_quote, other.low_quote),
        min(one.high_trade, other.high_trade),
        min(one.high_quote, other.high_quote),
    )


def order_levels(order: Order, scale: int) -> Levels:
    """Return what an order waits for; a new one for any tick that can fill it."""
    how = order.how
    if order.phase == STOP and how.stop is not None:
        return _at_least(how.stop, scale) if order.side > 0 else _at_most(how.stop, scale)
    if order.phase == LIMIT and how.limit is not None:
        if order.side > 0:
            low = _at_most(how.limit, scale)
            return low._replace(low_trade=max(_LEAST, _ceiling(how.limit, scale) - 1))
        high = _at_least(how.limit, scale)
        return high._replace(high_trade=min(_MOST, _floor(how.limit, scale) + 1))
    return ANY


def bracket_levels(bracket: Bracket, scale: int) -> Levels:
    """Return the levels that end a position: by trades and quotes alike."""
    down, up = bracket.stop_loss, bracket.take_profit
    if bracket.side > 0:  # of a short position
        down, up = up, down
    low = Levels() if down is None else _at_most(down, scale)
    high = Levels() if up is None else _at_least(up, scale)
    return Levels(low.low_trade, low.low_quote, high.high_trade, high.high_quote)


def price_at(dense: int, side: int, row: int, segment: Segment) -> Decimal:
    """Return the price that an instrument's row offers a side: of the trade, the ask or the bid."""
    _, flags, traded = segment.items
    quoted = flags(row) & flag.QUOTE
    price = segment.batch.column(_quoted(side)).item(row) if quoted else traded(row)
    scale = segment.batch.table.by_dense(dense).price_scale
    return Decimal(price).scaleb(-scale, EXACT)


def triggered(order: Order, price: Decimal) -> bool:
    """Say whether a price sets off an order's stop: a BUY at or above it, a SELL at or below."""
    stop = order.how.stop
    return stop is not None and (price >= stop if order.side > 0 else price <= stop)


def marketable(order: Order, price: Decimal) -> bool:
    """Say whether a price is within an order's limit."""
    limit = order.how.limit
    return limit is not None and (price <= limit if order.side > 0 else price >= limit)


def stopped_out(bracket: Bracket, price: Decimal) -> bool:
    """Say whether a price is at or beyond the stop loss, which wins over the take profit."""
    level = bracket.stop_loss
    return level is not None and (price <= level if bracket.side < 0 else price >= level)


def touches(levels: Levels, side: int, row: int, segment: Segment) -> bool:
    """Say whether the tick at a row touches the levels."""
    return _next(np.array((row,), np.int64), -1, side, levels, segment) >= 0


def first_row(dense: int, side: int, levels: Levels, behind: int, segment: Segment) -> int:
    """Return an instrument's first row behind a row that touches the levels; -1 where none does."""
    if levels is ANY:
        inst, flags, _ = segment.items
        for row in range(behind + 1, min(behind + 1 + _NEAR, len(segment))):
            if inst(row) == dense:
                if flags(row) & _NOT_SURE in _SURE:
                    return row  # a trade, as nearly always: no scan
                break
    elif not _within(segment.reach(dense), side, levels):
        return -1
    return _next(segment.rows_of(dense), behind, side, levels, segment)


def _within(reach: Sequence[int] | None, side: int, levels: Levels) -> bool:
    """Say whether prices that reach so far can touch the levels; None reaches everywhere."""
    if reach is None:
        return True
    low_trade, high_trade = reach[0], reach[1]
    low_quote, high_quote = reach[4:] if side > 0 else reach[2:4]
    return (
        low_trade <= levels.low_trade
        or low_quote <= levels.low_quote
        or high_trade >= levels.high_trade
        or high_quote >= levels.high_quote
    )


def _next(
    rows: npt.NDArray[np.int64], behind: int, side: int, levels: Levels, segment: Segment
) -> int:
    column = segment.batch.column
    seen = column("flags"), column("price_int"), column(_quoted(side)), _MASKS[side]
    return next_touch(rows, behind, *seen, *levels)


def _quoted(side: int) -> str:
    return "ask_int" if side > 0 else "bid_int"


def _at_most(level: Decimal, scale: int) -> Levels:
    price = _floor(level, scale)
    return Levels(low_trade=price, low_quote=price)


def _at_least(level: Decimal, scale: int) -> Levels:
    price = _ceiling(level, scale)
    return Levels(high_trade=price, high_quote=price)


def _floor(level: Decimal, scale: int) -> int:
    return _whole(level, scale, ROUND_FLOOR)


def _ceiling(level: Decimal, scale: int) -> int:
    return _whole(level, scale, ROUND_CEILING)


def _whole(level: Decimal, scale: int, rounding: str) -> int:
    # The nearest integer price on one side of a level: no price lies between, so nothing is lost.
    whole = int(level.scaleb(scale, WIDE).to_integral_value(rounding, WIDE))
    return min(max(whole, _LEAST), _MOST)
