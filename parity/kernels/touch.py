"""The scan for the next tick that touches a price level: one pass, stopped at the first hit.

And the pass before it, one for all who wait: how far each instrument's prices reach. Only levels
within that are looked for, so what waits far away costs no look at a row, however many wait, and a
quiet tick costs no Python. Cached beside this file, which is sound because nothing here reaches
another one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types

_INT64_IN = types.Array(types.int64, 1, "C", readonly=True)
_INT32_IN = types.Array(types.int32, 1, "C", readonly=True)
_REACH = types.Array(types.int64, 2, "C")
_UINT32_IN = types.Array(types.uint32, 1, "C", readonly=True)


@njit(
    types.int64(
        _INT64_IN,
        types.int64,
        _UINT32_IN,
        _INT64_IN,
        _INT64_IN,
        _UINT32_IN,
        types.int64,
        types.int64,
        types.int64,
        types.int64,
    ),
    cache=True,
)
def next_touch(
    rows: npt.NDArray[np.int64],
    behind: int,
    flags: npt.NDArray[np.uint32],
    traded: npt.NDArray[np.int64],
    quoted: npt.NDArray[np.int64],
    masks: npt.NDArray[np.uint32],
    low_trade: int,
    low_quote: int,
    high_trade: int,
    high_quote: int,
) -> int:
    """Return the first row whose price is at or below a low, or at or above a high; -1 if none.

    Args:
        rows: rows of one instrument, rising.
        behind: the row behind which to look; -1 looks at all of them.
        flags: flag bits of every row.
        traded: trade prices of every row, as integers at the instrument's scale.
        quoted: quoted prices (asks for a BUY, bids for a SELL), likewise.
        masks: the bits (passed over, quote, side absent, trade-like, no price).
        low_trade: of trades; likewise the others.
        low_quote: of quotes.
        high_trade: of trades.
        high_quote: of quotes.
    """
    passed, quote, absent, trade_like, no_price = masks[0], masks[1], masks[2], masks[3], masks[4]
    first, last = 0, len(rows)
    while first < last:
        middle = (first + last) // 2
        if rows[middle] <= behind:
            first = middle + 1
        else:
            last = middle
    for at in range(first, len(rows)):
        row: Any = rows[at]
        bits = flags[row]
        if bits & passed:
            continue
        if bits & quote:
            if not bits & absent and (quoted[row] <= low_quote or quoted[row] >= high_quote):
                return int(row)
            continue
        priced = bits & trade_like and not bits & no_price
        if priced and (traded[row] <= low_trade or traded[row] >= high_trade):
            return int(row)
    return -1


@njit(
    types.void(_INT32_IN, _UINT32_IN, _INT64_IN, _INT64_IN, _INT64_IN, _UINT32_IN, _REACH),
    cache=True,
)
def widen(
    inst: npt.NDArray[np.int32],
    flags: npt.NDArray[np.uint32],
    traded: npt.NDArray[np.int64],
    bids: npt.NDArray[np.int64],
    asks: npt.NDArray[np.int64],
    masks: npt.NDArray[np.uint32],
    reach: npt.NDArray[np.int64],
) -> None:
    """Widen what each instrument's prices reach by those of a batch.

    Args:
        inst: dense id of every row.
        flags: flag bits of every row.
        traded: trade prices of every row, as integers at the instrument's scale.
        bids: bid prices, likewise.
        asks: ask prices, likewise.
        masks: the bits (passed over, quote, no bid, no ask, trade-like, no price).
        reach: of shape (instruments, 6): lowest and highest trade, bid and ask.
    """
    passed, quote, no_bid, no_ask = masks[0], masks[1], masks[2], masks[3]
    trade_like, no_price = masks[4], masks[5]
    for at in range(len(inst)):
        row: Any = np.uint64(at)
        bits = flags[row]
        own: Any = np.uint32(inst[row])
        if bits & passed:
            continue
        if bits & quote:
            if not bits & no_bid:
                reach[own, 2] = min(reach[own, 2], bids[row])
                reach[own, 3] = max(reach[own, 3], bids[row])
            if not bits & no_ask:
                reach[own, 4] = min(reach[own, 4], asks[row])
                reach[own, 5] = max(reach[own, 5], asks[row])
        elif bits & trade_like and not bits & no_price:
            reach[own, 0] = min(reach[own, 0], traded[row])
            reach[own, 1] = max(reach[own, 1], traded[row])
