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
_BOUNDS = _LONG = types.Array(types.int64, 2, "C")
_INT = types.Array(types.int32, 2, "C")
_BYTE = types.Array(types.int8, 2, "C")
BLOCK_ROWS: Final = 1024
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


@njit(types.uint64(_U8_IN, types.int64), cache=True, nogil=True)
def _short_at(data: npt.NDArray[np.uint8], at: int) -> Any:
    """Return the word at a place that may be less than eight bytes before the end of the file."""
    last = len(data) - 8
    return word_at(data, at) if at <= last else word_at(data, last) >> _U(8 * (at - last))


@njit(
    types.void(_U8_IN, _I64_IN, _I64_IN, _LONG, _I64_IN, _INT, _I64_IN, _BYTE),
    cache=True,
    nogil=True,
)
def spread(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    long_fields: npt.NDArray[np.int64],
    longs: npt.NDArray[np.int64],
    int_fields: npt.NDArray[np.int64],
    ints: npt.NDArray[np.int32],
    byte_fields: npt.NDArray[np.int64],
    octets: npt.NDArray[np.int8],
) -> None:
    """Fill columns of 8, 4 and 1 bytes with what stands so many bytes behind each start.

    Args:
        data: the whole segment.
        starts: of records.
        long_fields: where in a record each of `longs` begins.
        longs: columns of 8 bytes, a row each.
        int_fields: where in a record each of `ints` begins.
        ints: columns of 4 bytes.
        byte_fields: where in a record each of `octets` is.
        octets: columns of one byte.
    """
    # In blocks that stay in the cache while their fields are spread over the columns.
    for lo in range(0, len(starts), BLOCK_ROWS):
        hi = min(lo + BLOCK_ROWS, len(starts))
        for n in range(len(long_fields)):
            for row in range(lo, hi):
                longs[n, row] = _short_at(data, starts[row] + long_fields[n])
        for n in range(len(int_fields)):
            for row in range(lo, hi):
                ints[n, row] = _short_at(data, starts[row] + int_fields[n])
        for n in range(len(byte_fields)):
            for row in range(lo, hi):
                octets[n, row] = _short_at(data, starts[row] + byte_fields[n])
