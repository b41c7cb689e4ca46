"""The dense pass over a batch that core needs beside the strategies.

It carries per-instrument arrays from batch to batch, so where a batch ends changes nothing. Cached
beside this file, which is sound because nothing here reaches another one.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit, types

_INT32_IN = types.Array(types.int32, 1, "C", readonly=True)
_INT64_IN = types.Array(types.int64, 1, "C", readonly=True)
_UINT32_IN = types.Array(types.uint32, 1, "C", readonly=True)
_INT32 = types.Array(types.int32, 1, "C")
_INT64 = types.Array(types.int64, 1, "C")
_BOOL = types.Array(types.boolean, 1, "C")


# What survey() answers, as bits.
UNDELIVERED: Final = 1  # some rows are not to be shown to executors
UNSORTED: Final = 2  # ts_event of the delivered rows does not rise
NOT_ALL_TRADES: Final = 4  # some delivered rows are quotes, or have no price
UNTIMED: Final = 16  # some delivered rows have no venue time
UNKNOWN: Final = 8  # a token is not in the table; nothing else is valid then


@njit(
    types.int64(
        _INT64_IN,
        _INT64_IN,
        _UINT32_IN,
        _INT64_IN,
        _INT32_IN,
        _UINT32_IN,
        _INT64,
        _INT64,
        _INT32,
        _INT64,
        _BOOL,
    ),
    cache=True,
)
def survey(
    tokens: npt.NDArray[np.int64],
    ts_event: npt.NDArray[np.int64],
    flags: npt.NDArray[np.uint32],
    table: npt.NDArray[np.int64],
    near: npt.NDArray[np.int32],
    masks: npt.NDArray[np.uint32],
    last_ts: npt.NDArray[np.int64],
    run_length: npt.NDArray[np.int64],
    inst: npt.NDArray[np.int32],
    ordinals: npt.NDArray[np.int64],
    here: npt.NDArray[np.bool_],
) -> int:
    """Learn in one pass what the engine needs of a batch before any strategy sees it.

    Each delivered tick is numbered within consecutive ticks of equal (token, ts_event), from 0;
    undelivered ones are passed over. The per-instrument arrays are carried from batch to batch.

    Args:
        tokens: instrument token of each tick.
        ts_event: the venue's instant of each tick.
        flags: flag bits of each tick.
        table: the table's tokens, rising.
        near: dense id, or -1, by token - table[0]; empty where tokens lie too far apart.
        masks: the bits (undelivered, trade-like, no price, no venue time) of `parity.model.ticks`.
        last_ts: per instrument, carried: ts_event of its newest tick.
        run_length: per instrument, carried: ticks of that ts_event so far; 0 = nothing seen.
        inst: receives dense ids.
        ordinals: receives the positions.
        here: receives True at each instrument that has a delivered tick.

    Returns:
        Bits UNDELIVERED, UNSORTED, NOT_ALL_TRADES, UNTIMED, UNKNOWN.
    """
    said = 0
    newest = np.int64(-(1 << 62))
    one: Any = 0
    first, reach = table[0], len(near)
    # In locals: a store to one array makes the compiler load the others again.
    undelivered, trade_like, no_price, no_time = masks[0], masks[1], masks[2], masks[3]
    for row in range(len(tokens)):
        token = tokens[row]
        if reach > 0:
            place = token - first
            if place < 0 or place >= reach or near[place] < 0:
                return UNKNOWN
            one = near[place]
        elif table[one] != token:
            one = np.searchsorted(table, token)
            if one == len(table) or table[one] != token:
                return UNKNOWN
        inst[row] = one
        bits = flags[row]
        if bits & undelivered:
            said |= UNDELIVERED
            ordinals[row] = 0
            continue
        here[one] = True
        if bits & trade_like == 0 or bits & no_price != 0:
            said |= NOT_ALL_TRADES
        said |= UNTIMED * (bits & no_time != 0)
        ts = ts_event[row]
        said |= UNSORTED * (ts < newest)
        newest = ts
        # No branch: whether a venue's times repeat is nothing that a processor could foresee.
        ordinal = run_length[one] * (ts == last_ts[one])
        last_ts[one] = ts
        ordinals[row] = ordinal
        run_length[one] = ordinal + 1
    return said


@njit(types.void(_INT32_IN, _INT64, _INT64), cache=True)
def group(
    inst: npt.NDArray[np.int32], rows: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]
) -> None:
    """Sort the rows of a batch by instrument, each instrument's rising: one counting sort.

    Args:
        inst: dense id of each row.
        rows: receives the rows; those of instrument d stand at ``starts[d]:starts[d + 1]``.
        starts: receives the places; instruments + 1 of them.
    """
    starts[:] = 0
    for one in inst:
        starts[one + 1] += 1
    for dense in range(1, len(starts)):
        starts[dense] += starts[dense - 1]
    free = starts[:-1].copy()
    for row in range(len(inst)):
        rows[free[inst[row]]] = row
        free[inst[row]] += 1
