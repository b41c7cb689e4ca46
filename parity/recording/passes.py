"""The compiled passes of `parity.kernels.frames` over segments, where they are worth it.

Loading numba costs what reading 300 000 frames does, so they are used where it is loaded already,
as in every run with kernels. What they give is what the pure reader gives: a law.
"""

from __future__ import annotations

import itertools
import sys
from array import array
from typing import Any, Final

import numpy as np
import numpy.typing as npt

RUN_FRAMES: Final = 1 << 12
FRAME_BYTES_MAX: Final = 1024  # of a payload; for longer ones zlib's checksum is the faster
_BLOCK_ROWS: Final = 4096  # so many stay in the cache while their fields are spread
_LONG_ROWS: Final = 256  # of frames that are worth a step of their own


def are_loaded() -> bool:
    """Return whether compiled passes cost no loading."""
    return "numba" in sys.modules


def run_of_frames(
    data: Any, at: int, identity: bytes, frame_no: int, widths: tuple[int, int]
) -> array[int]:
    """Return where the payloads of the good short data frames from a byte on begin and end.

    Args:
        data: the whole segment.
        at: where the first of them should begin.
        identity: of the segment.
        frame_no: the first one's number.
        widths: bytes of a tick and of a position.
    """
    from parity.kernels import frames

    data = np.frombuffer(data, np.uint8)
    own = np.frombuffer(identity, np.uint8)
    found = array("q")
    bounds = np.empty((RUN_FRAMES, 2), np.int64)
    while True:
        number = frame_no + len(found) // 2
        count = frames.run_of_frames(data, at, own, number, *widths, FRAME_BYTES_MAX, bounds)
        found.frombytes(bounds[:count].tobytes())
        if count < RUN_FRAMES:
            return found
        at = found[-1]


def columns_at(
    data: Any, starts: npt.NDArray[np.int64], dtype: np.dtype[Any]
) -> dict[str, npt.NDArray[Any]]:
    """Return the records that begin at these bytes of a segment as columns."""
    if are_loaded():
        return _spread(data, starts, dtype)
    columns = {n: np.empty(len(starts), dtype[n]) for n in dtype.names or ()}
    records = _anywhere(data, dtype)
    for lo, hi in itertools.pairwise(_cuts(starts, dtype.itemsize)):
        begin, end = int(starts[lo]), int(starts[hi - 1])
        if end - begin == (hi - lo - 1) * dtype.itemsize:
            block = records[begin : end + 1 : dtype.itemsize]  # side by side: no copy
        else:
            block = records[starts[lo:hi]]
        for name, column in columns.items():
            column[lo:hi] = block[name]
    return columns


def _anywhere(data: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return what stands at each byte, as if an item began there: frames are aligned to nothing."""
    return np.ndarray((max(0, len(data) - dtype.itemsize + 1),), dtype, data, strides=(1,))


def _spread(
    data: Any, starts: npt.NDArray[np.int64], dtype: np.dtype[Any]
) -> dict[str, npt.NDArray[Any]]:
    from parity.kernels import frames

    fields: Any = dtype.fields
    columns: dict[str, npt.NDArray[Any]] = {}
    asked: list[Any] = []
    for kind in (np.int64, np.int32, np.int8):
        names = [n for n in dtype.names or () if dtype[n].itemsize == np.dtype(kind).itemsize]
        rows = np.empty((len(names), len(starts)), kind)
        columns.update({n: row.view(dtype[n]) for n, row in zip(names, rows, strict=True)})
        asked += [np.array([fields[n][1] for n in names], np.int64), rows]
    frames.spread(np.frombuffer(data, np.uint8), np.ascontiguousarray(starts), *asked)
    return {name: columns[name] for name in dtype.names or ()}


def _cuts(starts: npt.NDArray[np.int64], width: int) -> list[int]:
    # Into blocks that stay in the cache while their fields are spread over the columns: by frame
    # where frames are long, else across them.
    edges = np.flatnonzero(np.diff(starts) != width) + 1
    rows = len(starts)
    even = np.arange(0, rows, _BLOCK_ROWS)
    if len(edges) * _LONG_ROWS > rows:
        return [*even.tolist(), rows]
    return [*np.union1d(even, edges).tolist(), rows]
