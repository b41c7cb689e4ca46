"""Rows of comma-separated plain numbers to exact integers, in one pass over the bytes.

Plain means: digits with at most one point and perhaps a minus, or true and false. Whatever else a
cell may be (quoted, empty, with an exponent, a date) stops the pass at its row and is for somebody
slower. Nothing is rounded: a digit that the scale has no place for stops it too.

`read_cells(data, kinds, scales, found, values)` reads whole lines and returns how many:

* data: bytes; lines end in LF or CRLF. What follows the last line end is left.
* kinds: of each column: SKIP, DECIMAL, INTEGER or BOOLEAN.
* scales: of each column, digits after the point to keep; -1 to count them only.
* found: receives the bytes read, and then per column the most decimals any cell needs, last zeros
  left out; these are never lowered, so they can be carried from call to call.
* values: receives a row per column; as many places as lines to read, or none to read all lines and
  keep nothing. Fewer bytes read than there are whole lines, with places left: the next row is not
  plain.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit, types

SKIP: Final = 0  # a cell nobody asked for: up to the comma, no quotes
DECIMAL: Final = 1
INTEGER: Final = 2
BOOLEAN: Final = 3  # true is 1, false 0
DIGITS_MAX: Final = 18

_BYTES_IN = types.Array(types.uint8, 1, "C", readonly=True)
_INT64_IN = types.Array(types.int64, 1, "C", readonly=True)
_INT64 = types.Array(types.int64, 1, "C")
_TABLE = types.Array(types.int64, 2, "C")


@njit(types.int64(_BYTES_IN, types.int64), cache=True, nogil=True)
def _letters(data: npt.NDArray[np.uint8], at: int) -> int:
    """Return how many letters true (4) or false (5) has here, in any case; 0 where it is none."""
    if at + 5 >= len(data):
        return 0
    word = data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24 | 0x20202020
    if word == 0x65757274:
        return 4
    return 5 if word == 0x736C6166 and data[at + 4] | 0x20 == 0x65 else 0


@njit(types.int64(_BYTES_IN, _INT64_IN, _INT64_IN, _INT64, _TABLE), cache=True, nogil=True)
def read_cells(
    data: npt.NDArray[np.uint8],
    kinds: npt.NDArray[np.int64],
    scales: npt.NDArray[np.int64],
    found: npt.NDArray[np.int64],
    values: npt.NDArray[np.int64],
) -> int:
    """Read whole lines of cells and return how many; the head of this file says of what."""
    # One function, and `at` only ever grows: in pieces it took three times as long.
    size, columns, places = len(data), len(kinds), values.shape[1]
    at = rows = 0
    found[0] = 0
    while at < size and (places == 0 or rows < places):
        column = 0
        while column < columns:
            kind = kinds[column]
            number = 0
            if kind == SKIP:
                while at < size and data[at] != 44 and data[at] != 10 and data[at] != 34:
                    at += 1
            elif kind == BOOLEAN:
                letters = _letters(data, at)
                if letters == 0:
                    return rows
                number = 5 - letters
                at += letters
            else:
                minus = at < size and data[at] == 45
                if minus:
                    at += 1
                begin = at
                while at < size and 48 <= data[at] <= 57:
                    number = number * 10 + (data[at] - 48)
                    at += 1
                whole = at - begin
                needed = zeros = 0
                if kind == DECIMAL and at < size and data[at] == 46:
                    at += 1
                    while at < size and 48 <= data[at] <= 57:
                        zeros += 1
                        if data[at] != 48:
                            while zeros > 1:
                                number *= 10
                                needed += 1
                                zeros -= 1
                            number = number * 10 + (data[at] - 48)
                            needed += 1
                            zeros = 0
                        at += 1
                if needed > found[column + 1]:
                    found[column + 1] = needed
                scale = scales[column]
                if whole == 0 or whole + max(needed, scale) > DIGITS_MAX or 0 <= scale < needed:
                    return rows
                while needed < scale:
                    number *= 10
                    needed += 1
                if minus:
                    number = -number
            if places > 0:
                values[column, rows] = number
            column += 1
            if column == columns and at < size and data[at] == 13:
                at += 1
            if at >= size or data[at] != (10 if column == columns else 44):
                return rows
            at += 1
        rows += 1
        found[0] = at
    return rows


def plain_cells(data: Any) -> npt.NDArray[np.uint8]:
    """Return bytes as `read_cells` takes them, without a copy."""
    return np.frombuffer(data, np.uint8)
