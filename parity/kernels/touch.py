"""The scan for the next tick that touches a price level: one pass, stopped at the first hit.

So an order that rests costs a compare a row, and a quiet tick costs no Python. Cached beside this
file, which is sound because nothing here reaches another one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types

_INT64_IN = types.Array(types.int64, 1, "C", readonly=True)
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
