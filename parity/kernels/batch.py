"""The dense passes over a batch that core needs beside the strategies.

They carry per-instrument arrays from batch to batch, so where a batch ends changes nothing. Cached
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
_FLOAT64_IN = types.Array(types.float64, 1, "C", readonly=True)
_FLOAT64 = types.Array(types.float64, 1, "C")


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


@njit(
    types.int64(_INT64_IN, _INT64_IN, _UINT32_IN, _INT64_IN, _INT32_IN, _UINT32_IN, _INT32, _INT64),
    cache=True,
)
def glance(
    tokens: npt.NDArray[np.int64],
    ts_event: npt.NDArray[np.int64],
    flags: npt.NDArray[np.uint32],
    table: npt.NDArray[np.int64],
    near: npt.NDArray[np.int32],
    masks: npt.NDArray[np.uint32],
    inst: npt.NDArray[np.int32],
    last: npt.NDArray[np.int64],
) -> int:
    """Learn what survey() learns, but for the ordinals: nothing here waits for an earlier row.

    Who is there, and what carry() wants, holds only where every row is delivered.

    Args:
        tokens: as of survey().
        ts_event: likewise.
        flags: likewise.
        table: likewise.
        near: likewise.
        masks: likewise.
        inst: receives dense ids.
        last: per instrument, -1 before; receives its last row.

    Returns:
        What survey() returns.
    """
    some: Any = np.uint32(0)
    odd: Any = 0
    newest = np.int64(-(1 << 62))
    one: Any = 0
    first, reach = table[0], np.uint64(len(near))
    undelivered, trade_like, no_price, no_time = masks[0], masks[1], masks[2], masks[3]
    for at in range(len(tokens)):
        row: Any = np.uint64(at)
        token = tokens[row]
        if reach > 0:
            place: Any = np.uint64(token - first)  # a token below the first wraps to a far one
            if place >= reach:
                return UNKNOWN
            one = near[place]
            if one < 0:
                return UNKNOWN
        elif table[one] != token:
            one = np.searchsorted(table, token)
            if one == len(table) or table[one] != token:
                return UNKNOWN
        inst[row] = one
        last[np.uint32(one)] = at
        bits = flags[row]
        some |= bits
        odd |= NOT_ALL_TRADES * (bits & trade_like == 0)
        ts = ts_event[row]
        odd |= UNSORTED * (ts < newest)
        newest = ts
    said: int = odd
    said |= UNDELIVERED * (some & undelivered != 0)
    said |= NOT_ALL_TRADES * (some & no_price != 0)
    said |= UNTIMED * (some & no_time != 0)
    if said & UNDELIVERED:
        return said & UNDELIVERED  # of the delivered rows alone it says nothing
    return said


@njit(
    types.void(_INT32_IN, _INT64_IN, _INT64_IN, types.boolean, _INT64, _INT64),
    cache=True,
)
def carry(
    inst: npt.NDArray[np.int32],
    ts_event: npt.NDArray[np.int64],
    last: npt.NDArray[np.int64],
    rising: bool,
    last_ts: npt.NDArray[np.int64],
    run_length: npt.NDArray[np.int64],
) -> None:
    """Bring what survey() carries up to date behind a batch of delivered rows, numbering none.

    From the last rows backwards, which mostly ends at once.

    Args:
        inst: dense id of each row.
        ts_event: the venue's instant of each.
        last: per instrument: its last row, or -1.
        rising: ts_event rises.
        last_ts: as of survey().
        run_length: likewise.
    """
    counts = np.zeros(len(last), np.int64)
    waiting, steps = 0, len(inst)
    for one in range(len(last)):
        if last[one] < 0:
            continue
        row = last[one]
        ts = ts_event[row]
        if not rising or ts == last_ts[one] or steps <= 0:
            counts[one] = -1  # the rows in between do not say where its run began
            waiting += 1
            continue
        while row >= 0 and ts_event[row] == ts:
            counts[one] += inst[row] == one
            row -= 1
            steps -= 1
        last_ts[one], run_length[one] = ts, counts[one]
        counts[one] = 0
    row = len(inst) - 1
    while waiting and row >= 0:
        own = inst[row]
        if counts[own] < 0:
            if ts_event[row] == ts_event[last[own]]:
                counts[own] -= 1
            else:
                last_ts[own], run_length[own] = ts_event[last[own]], -1 - counts[own]
                counts[own] = 0
                waiting -= 1
        row -= 1
    for one in range(len(last)):
        if counts[one] < 0:  # from the batch's beginning: its run may be an older one's
            ts = ts_event[last[one]]
            run_length[one] = run_length[one] * (last_ts[one] == ts) - 1 - counts[one]
            last_ts[one] = ts


@njit(
    types.int64(_INT32_IN, _INT64_IN, types.int64, types.boolean, _INT64_IN, _INT64_IN),
    cache=True,
)
def ordinal(
    inst: npt.NDArray[np.int32],
    ts_event: npt.NDArray[np.int64],
    row: int,
    rising: bool,
    last_ts: npt.NDArray[np.int64],
    run_length: npt.NDArray[np.int64],
) -> int:
    """Return the ordinal that survey() gives one row, all rows being delivered.

    Args:
        inst: dense id of each row.
        ts_event: the venue's instant of each.
        row: whose.
        rising: ts_event rises, so that an older row of any instrument ends the run.
        last_ts: as survey() found it before these rows.
        run_length: likewise.
    """
    one: Any = inst[row]
    ts, found = ts_event[row], 0
    apart = rising and ts != last_ts[one]
    for at in range(row - 1, -1, -1):
        if inst[at] == one:
            if ts_event[at] != ts:
                return found
            found += 1
        elif apart and ts_event[at] < ts:
            return found
    if last_ts[one] == ts:
        found += int(run_length[one])
    return found


@njit(types.void(_INT64_IN, _INT32_IN, _FLOAT64_IN, _FLOAT64), cache=True, error_model="numpy")
def quotients(
    values: npt.NDArray[np.int64],
    inst: npt.NDArray[np.int32],
    divisors: npt.NDArray[np.float64],
    made: npt.NDArray[np.float64],
) -> None:
    """Divide every row by its instrument's divisor, as float64: what numpy does in two passes.

    Args:
        values: integers at the instrument's scale.
        inst: dense id of each row.
        divisors: per instrument, none of them 0.
        made: receives the quotients.
    """
    for at in range(len(values)):
        row: Any = np.uint64(at)
        made[row] = np.float64(values[row]) / divisors[np.uint32(inst[row])]


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
