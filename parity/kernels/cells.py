"""Rows of comma-separated plain numbers to exact integers, in one pass over the bytes.

Plain means: digits with at most one point and perhaps a minus, or nothing in their place; of an
integer no zeros before it; true and false, or one of some short words. Whatever else a cell may be
(quoted, with an exponent, a date) stops the pass at its row and is for somebody slower. Nothing is
rounded: a digit that the scale has no place for stops it too.

`read_cells(data, size, kinds, scales, words, found, values, first)` reads whole lines and returns
how many:

* data: bytes; lines end in LF or CRLF. What follows the last line end is left.
* size: how many of them count. At least `BEYOND` more must be there, because eight are looked at
  at a time: two thirds of what it takes one by one (measured).
* kinds: of each column: SKIP, DECIMAL, INTEGER, BOOLEAN or WORD.
* scales: of each column, digits after the point to keep; -1 to count them, and then that is the
  value of a decimal. Of one of words: where its words begin.
* words: those that a cell may say, by column, as `words_of` gives them.
* found: receives the bytes read, and then per column the most decimals any cell needs, last zeros
  left out; these are never lowered, so they can be carried from call to call.
* values: receives a row per column but skipped ones, from place `first` on; as many lines are read
  as it has places there, or all where it has none at all, and then nothing is kept. Fewer bytes
  read than there are whole lines, with places left: the next row is not plain.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

SKIP: Final = 0  # a cell nobody asked for: up to the comma, no quotes
DECIMAL: Final = 1  # an empty cell is NONE
INTEGER: Final = 2
BOOLEAN: Final = 3  # true is 1, false 0
WORD: Final = 4  # the number of its word
NONE: Final = -(2**63)
DIGITS_MAX: Final = 18
WORD_BYTES_MAX: Final = 16
BEYOND: Final = 8

_BYTES_IN = types.Array(types.uint8, 1, "C", readonly=True)
_INT64_IN = types.Array(types.int64, 1, "C", readonly=True)
_INT64 = types.Array(types.int64, 1, "C")
_TABLE = types.Array(types.int64, 2, "C")
_WORDS_IN = types.Array(types.uint64, 2, "C", readonly=True)

# Of words, whose lowest byte is the first: the same byte eight times, or some of them kept.
_U: Final = np.uint64
_ONES, _HIGHS = _U(0x0101010101010101), _U(0x8080808080808080)
_ZEROS, _OVER_NINE = _U(0x3030303030303030), _U(0x4646464646464646)
_COMMAS, _LINE_ENDS = _U(0x2C2C2C2C2C2C2C2C), _U(0x0A0A0A0A0A0A0A0A)
_QUOTES, _LOWER = _U(0x2222222222222222), _U(0x2020202020202020)
_TRUE, _FALSE = _U(0x65757274), _U(0x65736C6166)
_FOUR, _FIVE = _U(0xFFFFFFFF), _U(0xFFFFFFFFFF)
_NIBBLES, _PAIRS, _QUADS = _U(0x0F0F0F0F0F0F0F0F), _U(0x00FF00FF00FF00FF), _U(0x0000FFFF0000FFFF)
_ALL: Final = _U(0xFFFFFFFFFFFFFFFF)
_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz"
_POWERS: Final = np.array([10**n for n in range(DIGITS_MAX + 1)], np.int64)


def _load(typing: Any, data: Any, at: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.gep(array.data, [args[1]])
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, types.int64), build


def _count_low(typing: Any, word: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], cgutils.false_bit)

    return types.int64(types.uint64), build


def _count_high(typing: Any, word: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], cgutils.false_bit)

    return types.int64(types.uint64), build


word_at: Any = intrinsic(_load)  # (data, at): the eight bytes there, which must all be there
_low_zeros: Any = intrinsic(_count_low)  # (word): zero bits below its lowest one; 64 of 0
_high_zeros: Any = intrinsic(_count_high)  # (word): zero bits above its highest one; 64 of 0


@njit(types.int64(types.uint64), cache=True, nogil=True)
def _digits(word: Any) -> Any:
    """Return how many bytes of a word are digits, before the first that is none."""
    return _low_zeros(((word + _OVER_NINE) | (word - _ZEROS)) & _HIGHS) >> 3


@njit(types.int64(types.uint64, types.int64), cache=True, nogil=True)
def _number(word: Any, digits: int) -> Any:
    """Return the number that the first digits of a word say, 1 to 8 of them."""
    word = (word << _U(64 - 8 * digits)) & _NIBBLES
    word = (word * _U(10) + (word >> _U(8))) & _PAIRS
    word = (word * _U(100) + (word >> _U(16))) & _QUADS
    return np.int64((word * _U(10000) + (word >> _U(32))) & _FOUR)


@njit(inline="always")
def _past(data: npt.NDArray[np.uint8], at: int, size: int) -> int:
    """Return where a cell that begins here ends: at a comma, a line end or a quote."""
    while at < size:
        word = word_at(data, at)
        comma, end, quote = word ^ _COMMAS, word ^ _LINE_ENDS, word ^ _QUOTES
        hit = ((comma - _ONES) & ~comma) | ((end - _ONES) & ~end)
        hit = (hit | ((quote - _ONES) & ~quote)) & _HIGHS
        at += _low_zeros(hit) >> 3
        if hit != 0:
            break
    return at


@njit(inline="always")
def _letters(data: npt.NDArray[np.uint8], at: int, size: int) -> int:
    """Return how many letters true (4) or false (5) has here, in any case; 0 where it is none."""
    if at >= size:
        return 0
    word = word_at(data, at) | _LOWER
    if word & _FOUR == _TRUE:
        return 4
    return 5 if word & _FIVE == _FALSE else 0


@njit(inline="always")
def _place_of(
    data: npt.NDArray[np.uint8], at: int, length: int, words: npt.NDArray[np.uint64], first: int
) -> int:
    """Return where among the words of a column, from `first` on, these bytes stand; -1: nowhere."""
    if length > WORD_BYTES_MAX:
        return -1
    low, high = word_at(data, at), _U(0)
    if length > 8:
        high = word_at(data, at + 8) & (_ALL >> _U(8 * (16 - length)))
    elif length < 8:
        low &= (_U(1) << _U(8 * length)) - _U(1)
    place = first
    while place < len(words) and words[place, 0] == words[first, 0]:
        word = words[place]
        if word[1] == _U(length) and low | word[4] == word[2] and high | word[5] == word[3]:
            return place
        place += 1
    return -1


@njit(inline="always")
def _word(
    data: npt.NDArray[np.uint8],
    at: int,
    size: int,
    words: npt.NDArray[np.uint64],
    first: int,
    last: bool,
) -> tuple[int, int]:
    """Return where a cell that begins here ends, and its place among the words of its column."""
    end = _past(data, at, size)
    if end >= size:
        return end, -1
    if last and end > at and data[_U(end - 1)] == 13:
        end -= 1  # of a line end of two bytes
    return end, _place_of(data, at, end - at, words, first)


@njit(inline="always")
def _number_at(
    data: npt.NDArray[np.uint8], at: int, size: int, point: bool
) -> tuple[int, int, int, int]:
    """Return where a number ends, itself without its point and last zeros, digits on both sides."""
    number = whole = needed = zeros = 0
    while at < size:
        word = word_at(data, at)
        count = _digits(word)
        if count == 0:
            break
        number = number * _POWERS[_U(count)] + _number(word, count)
        whole += count
        at += count
        if count < 8:
            break
    if not point or at >= size or data[_U(at)] != 46:
        return at, number, whole, needed
    at += 1
    while at < size:
        word = word_at(data, at)
        count = _digits(word)
        if count == 0:
            break
        # Last zeros wait until a digit comes that is none.
        told = count - (_high_zeros((word ^ _ZEROS) << _U(64 - 8 * count)) >> 3)
        if told > 0:
            while zeros > 0:
                number *= 10
                needed += 1
                zeros -= 1
            number = number * _POWERS[_U(told)] + _number(word, told)
            needed += told
        zeros += count - max(told, 0)
        at += count
        if count < 8:
            break
    return at, number, whole, needed


@njit(
    types.int64(
        _BYTES_IN, types.int64, _INT64_IN, _INT64_IN, _WORDS_IN, _INT64, _TABLE, types.int64
    ),
    cache=True,
    nogil=True,
)
def read_cells(
    data: npt.NDArray[np.uint8],
    size: int,
    kinds: npt.NDArray[np.int64],
    scales: npt.NDArray[np.int64],
    words: npt.NDArray[np.uint64],
    found: npt.NDArray[np.int64],
    values: npt.NDArray[np.int64],
    first: int,
) -> int:
    """Read whole lines of cells and return how many; the head of this file says of what."""
    if size + BEYOND > len(data):
        raise ValueError("read_cells: too few bytes beyond those that count")
    columns, keep, places = len(kinds), values.shape[1] > 0, values.shape[1] - first
    at = rows = 0
    found[0] = 0
    while at < size and (not keep or rows < places):
        column = 0
        while column < columns:
            kind = kinds[_U(column)]
            number: Any = 0
            if kind == SKIP:
                at = _past(data, at, size)
            elif kind == BOOLEAN:
                letters = _letters(data, at, size)
                if letters == 0:
                    return rows
                number = 5 - letters
                at += letters
            elif kind == WORD:
                last = column == columns - 1
                at, place = _word(data, at, size, words, scales[_U(column)], last)
                if place < 0:
                    return rows
                number = np.int64(words[place, 6])
            else:
                begin, minus = at, at < size and data[_U(at)] == 45
                at, number, whole, needed = _number_at(data, at + minus, size, kind == DECIMAL)
                if needed > found[_U(column + 1)]:
                    found[_U(column + 1)] = needed
                scale = scales[_U(column)]
                if whole == 0 and (kind != DECIMAL or at != begin):
                    return rows
                if kind == INTEGER and whole > 1 and data[_U(begin + minus)] == 48:
                    return rows  # of a time, zeros say its unit
                if whole + max(needed, scale) > DIGITS_MAX or 0 <= scale < needed:
                    return rows
                if scale < 0 and kind == DECIMAL:
                    number = needed
                elif whole == 0:
                    number = NONE
                else:
                    if needed < scale:
                        number *= _POWERS[_U(scale - needed)]
                    if minus:
                        number = -number
            if keep and kind != SKIP:
                values[_U(column), _U(first + rows)] = number
            column += 1
            if column == columns and at < size and data[_U(at)] == 13:
                at += 1
            if at >= size or data[_U(at)] != (10 if column == columns else 44):
                return rows
            at += 1
        rows += 1
        found[0] = at
    return rows


def words_of(
    columns: Mapping[int, Mapping[str, int]], *, any_case: Collection[int] = ()
) -> tuple[npt.NDArray[np.uint64], dict[int, int]]:
    """Return the words of columns as `read_cells` takes them, and where those of each begin.

    Args:
        columns: column -> its words, each with its number; of at most 16 bytes.
        any_case: columns whose words may be in letters of any case.
    """
    rows: list[list[int]] = []
    begins = {}
    for column, words in columns.items():
        begins[column] = len(rows)
        if not words:  # one that no cell is, or those of the next column would count for it
            rows.append([column, WORD_BYTES_MAX + 1, 0, 0, 0, 0, 0])
        for word, number in words.items():
            said = word.lower().encode() if column in any_case else word.encode()
            letters = bytes(0x20 if column in any_case and b in _LETTERS else 0 for b in said)
            halves = [
                int.from_bytes(text.ljust(WORD_BYTES_MAX, b"\0")[half : half + 8], "little")
                for text in (said, letters)
                for half in (0, 8)
            ]
            rows.append([column, len(said), *halves, number % 2**64])
    return np.array(rows, np.uint64).reshape(-1, 7), begins
