"""Bars by time, by ticks and by volume as streaming steps over one instrument's ticks.

A bar opens with its first tick, never with the close before. A tick that belongs to a bar that is
closed is late: it is counted and left out. Everything is exact; the notional is a wide sum of
`parity.kernels.exact`. Never here: what a column or a user's number is (parity.kernels.cutting).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from parity.kernels.bars import bucket_of
from parity.kernels.exact import EXACT_MAX, wide_add

FLAT_MAX: Final = 1_000  # flat bars in a row
BAR: Final = np.dtype(
    [
        (name, "i8")
        for name in (
            "start", "end", "open", "high", "low", "close", "count", "volume", "notional_high",
            "notional_low", "buy", "sell", "partial", "flat",
        )
    ],
    align=True,
)  # fmt: skip
_STATE: Final = np.dtype(
    [
        *((name, "i8") for name in ("started", "began", "bucket", "left_out")),
        ("bar", BAR),
        ("closed", BAR),
    ],
    align=True,
)


def bars_state() -> np.dtype[Any]:
    """Return the dtype of what bars of any kind remember; it starts as zeros.

    `closed` is the bar that closed last, `bar` the open one, `left_out` counts late ticks. Prices
    and quantities are as they were given, the notional high * 2**60 + low, `flat` how many bars
    without a tick follow the closed one.
    """
    return _STATE


def check_tick(volume: int, quantity: int) -> None:
    """Refuse a tick before anything is taken in.

    Args:
        volume: of the bar it would be in, so far.
        quantity: of the tick.

    Raises:
        ValueError: a quantity below 0.
        OverflowError: the bar's volume would pass 2**53.
    """
    if quantity < 0:
        raise ValueError("quantity: expected 0 or more")
    if quantity > EXACT_MAX - volume:
        raise OverflowError("quantity: the volume of a bar would pass 2**53")


def is_late(state: Any, ts_event: int) -> bool:
    """Return whether a tick is older than the newest of a closed bar of ticks or volume."""
    return bool(state.started != 0 and ts_event < state.closed.end)


def take_tick(bar: Any, ts_event: int, price: int, quantity: int, side: int) -> None:
    """Take a tick into the open bar; the first one opens it."""
    if bar.count == 0:
        bar.open = price
        bar.high = price
        bar.low = price
        bar.start = ts_event
        bar.end = ts_event
    bar.high = max(bar.high, price)
    bar.low = min(bar.low, price)
    bar.end = max(bar.end, ts_event)
    bar.close = price
    bar.count += 1
    bar.volume += quantity
    high, low = wide_add(bar.notional_high, bar.notional_low, price, quantity)
    bar.notional_high = high
    bar.notional_low = low
    if side > 0:
        bar.buy += quantity
    elif side < 0:
        bar.sell += quantity


def close_bar(state: Any) -> None:
    """Make the open bar the closed one, and begin with nothing."""
    bar, closed = state.bar, state.closed
    closed.start = bar.start
    closed.end = bar.end
    closed.open = bar.open
    closed.high = bar.high
    closed.low = bar.low
    closed.close = bar.close
    closed.count = bar.count
    closed.volume = bar.volume
    closed.notional_high = bar.notional_high
    closed.notional_low = bar.notional_low
    closed.buy = bar.buy
    closed.sell = bar.sell
    closed.partial = 0
    closed.flat = 0
    bar.count = 0
    bar.volume = 0
    bar.notional_high = 0
    bar.notional_low = 0
    bar.buy = 0
    bar.sell = 0


def time_bars_step(
    state: Any,
    length_ns: int,
    offset_ns: int,
    flat: int,
    ts_event: int,
    price: int,
    quantity: int,
    side: int,
) -> int:
    """Take one tick; return how many bars closed before it: 0, or 1 and the flat ones behind it.

    Args:
        state: a record of bars_state().
        length_ns: of a bar.
        offset_ns: bars begin at this instant of the Unix epoch plus multiples of the length.
        flat: 1 lets an interval without a tick be a bar at the last close; 0 skips it.
        ts_event: of the tick.
        price: an integer.
        quantity: an integer, 0 or more.
        side: 1, -1, or 0 where unknown.

    Raises:
        ValueError: a quantity below 0.
        OverflowError: the volume of a bar would pass 2**53. The state is as before.
    """
    number = bucket_of(ts_event, length_ns, offset_ns)
    if state.started == 0:
        check_tick(0, quantity)
        state.started = 1
        state.began = ts_event
        state.bucket = number
    if number < state.bucket:
        state.left_out += 1
        return 0
    check_tick(state.bar.volume if number == state.bucket else 0, quantity)
    closed = 0
    if number > state.bucket:
        close_bar(state)
        start = state.bucket * length_ns + offset_ns
        state.closed.start = start
        state.closed.end = start + length_ns
        state.closed.partial = 1 if start < state.began else 0
        if flat != 0:
            state.closed.flat = min(number - state.bucket - 1, FLAT_MAX)
        closed = 1 + state.closed.flat
        state.bucket = number
    take_tick(state.bar, ts_event, price, quantity, side)
    return int(closed)


def is_taken(state: Any, ts_event: int, price: int, quantity: int, side: int) -> bool:
    """Take one tick into a bar that no clock ends; return False for a late one, which it counts."""
    if is_late(state, ts_event):
        state.left_out += 1
        return False
    check_tick(state.bar.volume, quantity)
    take_tick(state.bar, ts_event, price, quantity, side)
    return True


def end_bar(state: Any) -> None:
    """End the bar at hand with its last tick."""
    close_bar(state)
    state.started = 1


def tick_bars_step(
    state: Any, ticks: int, ts_event: int, price: int, quantity: int, side: int
) -> int:
    """Take one tick; return 1 where it is the last of a bar of `ticks` ones, else 0.

    A tick from before the end of the last bar, its newest instant, is late.

    Raises:
        ValueError: a quantity below 0.
        OverflowError: the volume of a bar would pass 2**53. The state is as before.
    """
    if not is_taken(state, ts_event, price, quantity, side) or state.bar.count < ticks:
        return 0
    end_bar(state)
    return 1


def volume_bars_step(
    state: Any, volume: int, ts_event: int, price: int, quantity: int, side: int
) -> int:
    """Take one tick; return 1 where a bar has `volume` or more with it, else 0.

    No trade is cut in two, so a bar may have more. What is late is as in tick_bars_step.

    Raises:
        ValueError: a quantity below 0.
        OverflowError: the volume of a bar would pass 2**53. The state is as before.
    """
    if not is_taken(state, ts_event, price, quantity, side) or state.bar.volume < volume:
        return 0
    end_bar(state)
    return 1
