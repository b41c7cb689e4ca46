"""Dense passes over a batch that core needs beside the strategies: ordinals and clocks.

They carry per-instrument arrays from batch to batch, so where a batch ends changes nothing. Dense
ids are not checked here: the caller checks them once per batch. Cached beside this file, which is
sound because nothing here reaches another one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit, types

_INT32_IN = types.Array(types.int32, 1, "C", readonly=True)
_INT64_IN = types.Array(types.int64, 1, "C", readonly=True)
_INT64 = types.Array(types.int64, 1, "C")


@njit(types.void(_INT32_IN, _INT64_IN, _INT64, _INT64, _INT64), cache=True)
def ordinals(
    inst: npt.NDArray[np.int32],
    ts_event: npt.NDArray[np.int64],
    last_ts: npt.NDArray[np.int64],
    run_length: npt.NDArray[np.int64],
    out: npt.NDArray[np.int64],
) -> None:
    """Number each tick within consecutive ticks of equal ts_event of its instrument, from 0.

    Args:
        inst: dense id of each tick.
        ts_event: the venue's instant of each tick.
        last_ts: per instrument, carried: ts_event of its newest tick.
        run_length: per instrument, carried: ticks of that ts_event so far; 0 = nothing seen.
        out: receives the ordinals.
    """
    for row in range(len(inst)):
        one = inst[row]
        if run_length[one] == 0 or ts_event[row] != last_ts[one]:
            last_ts[one] = ts_event[row]
            run_length[one] = 0
        out[row] = run_length[one]
        run_length[one] += 1


@njit(types.void(_INT32_IN, _INT64_IN, _INT64, _INT64, _INT64, _INT64, _INT64), cache=True)
def ordinals_and_clocks(
    inst: npt.NDArray[np.int32],
    ts_event: npt.NDArray[np.int64],
    last_ts: npt.NDArray[np.int64],
    run_length: npt.NDArray[np.int64],
    clock: npt.NDArray[np.int64],
    ticks: npt.NDArray[np.int64],
    out: npt.NDArray[np.int64],
) -> None:
    """Do `ordinals`, and advance each instrument's clock and tick count, in one pass.

    Args:
        inst: dense id of each tick.
        ts_event: the venue's instant of each tick.
        last_ts: as in `ordinals`.
        run_length: as in `ordinals`.
        clock: per instrument, carried: its largest ts_event; meaningless while ticks is 0.
        ticks: per instrument, carried: count of its ticks.
        out: receives the ordinals.
    """
    for row in range(len(inst)):
        one = inst[row]
        ts = ts_event[row]
        if run_length[one] == 0 or ts != last_ts[one]:
            last_ts[one] = ts
            run_length[one] = 0
        out[row] = run_length[one]
        run_length[one] += 1
        if ticks[one] == 0 or ts > clock[one]:
            clock[one] = ts
        ticks[one] += 1
