"""Compiled passes over the bytes of a journal's segment: runs of good frames, records to columns.

They see what `parity.recording.segments` defines and judge nothing: a frame that is not exactly
the next good one ends a run, and whoever defines frames says why. Checksums are zlib's crc32, eight
bytes at a time by tables.
"""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

import numpy as np
import numpy.typing as npt
from numba import njit, types

from parity.kernels.cells import word_at

_U8_IN = types.Array(types.uint8, 1, "C", readonly=True)
_I64_IN = types.Array(types.int64, 1, "C", readonly=True)
_BOUNDS = types.Array(types.int64, 2, "C")
_U: Final = np.uint64
_LOW: Final = _U(0xFFFFFFFF)


def _tables() -> npt.NDArray[np.uint64]:
    # [k][b]: what byte b, k bytes before the end of a word, does to the crc.
    first = np.array([crc32(bytes([b])) for b in range(256)], np.uint64)
    first ^= first[0]  # without zlib's inversion before and after
    tables = [first]
    for _ in range(7):
        last = tables[-1]
        tables.append((last >> _U(8)) ^ first[last & _U(0xFF)])
    return np.array(tables)


_TABLES: Final = _tables()


@njit(types.uint64(_U8_IN, types.int64, types.int64, types.uint64), cache=True, nogil=True)
def crc32_of(data: npt.NDArray[np.uint8], at: int, end: int, crc: Any) -> Any:
    """Return zlib's crc32 of data[at:end], going on from one."""
    crc = (crc ^ _LOW) & _LOW
    while at + 8 <= end:
        word = word_at(data, at) ^ crc
        crc = _U(0)
        for k in range(8):
            crc ^= _TABLES[_U(7 - k), (word >> _U(8 * k)) & _U(0xFF)]
        at += 8
    while at < end:
        crc = (crc >> _U(8)) ^ _TABLES[_U(0), (crc ^ _U(data[at])) & _U(0xFF)]
        at += 1
    return crc ^ _LOW


@njit(
    types.int64(
        _U8_IN, types.int64, _U8_IN, types.int64, types.int64, types.int64, types.int64, _BOUNDS
    ),
    cache=True,
    nogil=True,
)
def run_of_frames(
    data: npt.NDArray[np.uint8],
    at: int,
    identity: npt.NDArray[np.uint8],
    frame_no: int,
    record_bytes: int,
    position_bytes: int,
    longest: int,
    bounds: npt.NDArray[np.int64],
) -> int:
    """Take good data frames from `at` on, as many as come one after the other.

    A frame is `[length u32][frame no u64][segment id 16][crc32 u32]` and a payload that begins with
    `[ticks u32][positions u32][control bytes u32][kind u32]`, kind 0 for data.

    Args:
        data: the whole segment.
        at: where the first of them should begin.
        identity: the segment's id, 16 bytes.
        frame_no: of the first one; they go up by one.
        record_bytes: of a tick.
        position_bytes: of a position.
        longest: a payload of more bytes is left to somebody else.
        bounds: receives where each payload begins and ends; its length is a limit too.

    Returns:
        How many there were.
    """
    count, size = 0, len(data)
    low, high = word_at(identity, 0), word_at(identity, 8)
    while count < len(bounds) and at + 48 <= size:
        length: Any = np.int64(word_at(data, at) & _LOW)
        body = at + 32
        if length > longest or body + length > size or length < 16:
            break
        ticks, places = word_at(data, body) & _LOW, word_at(data, body) >> _U(32)
        controls, kind = word_at(data, body + 8) & _LOW, word_at(data, body + 8) >> _U(32)
        counted = 16 + np.int64(ticks) * record_bytes + np.int64(places) * position_bytes
        if kind != 0 or length != counted + np.int64(controls):
            break
        own = word_at(data, at + 4)
        if own != _U(frame_no + count) or word_at(data, at + 12) != low:
            break
        if word_at(data, at + 20) != high:
            break
        claimed = word_at(data, at + 28) & _LOW
        if crc32_of(data, body, body + length, crc32_of(data, at, at + 28, _U(0))) != claimed:
            break
        bounds[count, 0], bounds[count, 1] = body, body + length
        count += 1
        at = body + length
    return count


@njit(
    [
        types.void(_U8_IN, _I64_IN, types.int64, types.Array(kind, 1, "C"))
        for kind in (types.int64, types.int32, types.int8)
    ],
    cache=True,
    nogil=True,
)
def spread(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    field: int,
    column: npt.NDArray[Any],
) -> None:
    """Fill a column of int64, int32 or int8 with what stands `field` bytes behind each start."""
    last = len(data) - 8
    for row in range(len(starts)):
        at = starts[row] + field
        if at <= last:
            column[row] = word_at(data, at)
        else:  # a short field at the end of the file
            column[row] = word_at(data, last) >> _U(8 * (at - last))
