"""The native JSON form of ticks, many messages in one pass over their bytes.

What is read here is exactly what the plain reader would read; whatever is written in any other way
(an envelope, an escape, a null, a number that does not fit, a name not known, any mistake) is left
to it, which also finds the words for what is wrong. Cached beside this file, which is sound because
nothing here reaches another one.

Never here: a float.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit, types

NAMES: Final = (
    "instrument_token", "ts_event", "ts_recv", "price", "quantity", "side", "bid", "ask",
    "bid_quantity", "ask_quantity", "volume", "open_interest", "trade_id", "flags",
)  # fmt: skip
_LONGEST: Final = 16
_TOKEN, _TS_EVENT, _TS_RECV, _PRICE, _SIDE, _TRADE_ID, _FLAGS = 0, 1, 2, 3, 5, 12, 13
_DECIMALS: Final = (3, 4, 6, 7, 8, 9, 10)
_PRICES: Final = (3, 6, 7)
_LIMIT: Final = 10**18  # what a recording stores
_INT64_TENTH: Final = (1 << 63) // 10
_U: Final = np.uint64  # of places: numba would test each signed one for counting from the end

LETTERS: Final = np.zeros((len(NAMES), _LONGEST), np.uint8)
LENGTHS: Final = np.array([len(name) for name in NAMES], np.int64)
for _n, _name in enumerate(NAMES):
    LETTERS[_n, : len(_name)] = np.frombuffer(_name.encode(), np.uint8)

_UINT8_IN = types.Array(types.uint8, 1, "C", readonly=True)
_LETTERS_IN = types.Array(types.uint8, 2, "C")
_INT64_IN = types.Array(types.int64, 1, "C", readonly=True)
_INT64 = types.Array(types.int64, 1, "C")
_UINT8 = types.Array(types.uint8, 1, "C")
_BOOL = types.Array(types.boolean, 1, "C")


@njit(inline="always")
def _behind_space(data: Any, at: int, end: int) -> int:
    while at < end and (data[_U(at)] == 32 or 9 <= data[_U(at)] <= 10 or data[_U(at)] == 13):
        at += 1
    return at


@njit(inline="always")
def _integer(data: Any, at: Any, end: int) -> tuple[Any, int]:
    """Return a JSON integer and where it ends; -1 where it is none that an int64 surely holds."""
    negative = at < end and data[_U(at)] == 45
    first = at + 1 if negative else at
    at, value = first, np.int64(0)
    while at < end and at - first < 18:
        digit = np.int64(data[_U(at)]) - 48
        if digit < 0 or digit > 9:
            break
        value = value * 10 + digit
        at += 1
    if at - first == 18 and at < end and 48 <= data[_U(at)] <= 57:
        if value >= _INT64_TENTH:
            return 0, -1
        value = value * 10 + np.int64(data[_U(at)]) - 48
        at += 1  # a digit behind it is no end of a number, and refused as such
    count = at - first
    if count == 0 or (data[_U(first)] == 48 and (count > 1 or negative)):
        return 0, -1
    return (-value if negative else value), at


@njit(inline="always")
def _decimal(data: Any, at: Any, end: int) -> tuple[Any, int, int]:
    """Return the digits of a decimal text as an integer, how many follow the point, and its end."""
    if at + 2 >= end or data[_U(at)] != 34:
        return 0, 0, -1
    at += 1
    negative = data[_U(at)] == 45
    if negative:
        at += 1
    first, point, value = at, -1, 0
    while at < end and data[_U(at)] != 34:
        if data[_U(at)] == 46:
            if point >= 0 or at == first:
                return 0, 0, -1
            point = at
        elif 48 <= data[_U(at)] <= 57 and at - first <= 18:
            digit: Any = np.int64(data[_U(at)]) - 48
            value = value * 10 + digit
        else:
            return 0, 0, -1
        at += 1
    tail = at - point - 1 if point >= 0 else 0
    digits = at - first - (1 if point >= 0 else 0)
    if at >= end or digits == 0 or digits > 18 or (point >= 0 and tail == 0):
        return 0, 0, -1
    return (-value if negative else value), tail, at + 1


@njit(inline="always")
def _named(data: Any, at: int, end: int, letters: Any, lengths: Any, likely: int) -> int:
    """Return which name stands behind the quote at `at`; -1 where it is none of them."""
    n = likely  # the usual order first
    for _ in range(len(lengths)):
        if n >= len(lengths):
            n = 0
        close = at + 1 + lengths[n]
        if close < end and data[_U(close)] == 34 and data[_U(at + 1)] == letters[n, 0]:
            i = 1
            while i < lengths[n] and data[_U(at + 1 + i)] == letters[n, i]:
                i += 1
            if i == lengths[n]:
                return n
        n += 1
    return -1


@njit(inline="always")
def _fields(
    data: Any, at: int, end: int, letters: Any, lengths: Any, values: Any, tails: Any
) -> int:
    """Read one object; return the bits of the names that are there, 0 where it is left out."""
    at = _behind_space(data, at, end)
    if at >= end or data[_U(at)] != 123:
        return 0
    there, likely = 0, 0
    while True:
        at = _behind_space(data, at + 1, end)  # behind the brace or comma
        if at >= end or data[_U(at)] != 34:
            return 0
        n = _named(data, at, end, letters, lengths, likely)
        if n < 0 or there >> n & 1:
            return 0
        there |= 1 << n
        likely = n + 1
        at = _behind_space(data, at + 2 + lengths[n], end)
        if at >= end or data[_U(at)] != 58:
            return 0
        at = _behind_space(data, at + 1, end)
        if n in _DECIMALS:
            values[n], tails[n], at = _decimal(data, at, end)
        else:
            values[n], at = _integer(data, at, end)
        if at < 0:
            return 0
        at = _behind_space(data, at, end)
        if at >= end or (data[_U(at)] != 44 and data[_U(at)] != 125):
            return 0
        if data[_U(at)] == 125:
            return there if _behind_space(data, at + 1, end) == end else 0


@njit(inline="always")
def _scaled(values: Any, tails: Any, price_scale: int, quantity_scale: int) -> bool:
    """Bring the decimals to their scales; False where one is finer, or too large."""
    for n in _DECIMALS:
        short = (price_scale if n in _PRICES else quantity_scale) - tails[n]
        if short < 0:
            return False
        power = 1
        for _ in range(short):
            power *= 10
        if abs(values[n]) > (_LIMIT - 1) // power:
            return False
        values[n] *= power
    return True


@njit(inline="always")
def _store_4(out: Any, at: Any, value: Any) -> None:
    # One by one: the compiler makes one store of them.
    place = np.uint64(at)
    out[place] = np.uint8(value & 0xFF)
    out[place + np.uint64(1)] = np.uint8((value >> 8) & 0xFF)
    out[place + np.uint64(2)] = np.uint8((value >> 16) & 0xFF)
    out[place + np.uint64(3)] = np.uint8((value >> 24) & 0xFF)


@njit(inline="always")
def _store_8(out: Any, at: Any, value: Any) -> None:
    _store_4(out, at, value)
    _store_4(out, at + 4, value >> 32)


@njit(inline="always")
def _store(out: Any, at: Any, places: Any, values: Any, stream: Any, offset: Any) -> None:
    for n in range(len(values)):
        if n == _SIDE:
            out[at + places[n]] = np.uint8(values[n] & 0xFF)
        elif n == _FLAGS:
            _store_4(out, at + places[n], values[n])
        else:
            _store_8(out, at + places[n], values[n])
    _store_4(out, at + places[len(values)], stream)
    _store_8(out, at + places[len(values) + 1], offset)


@njit(inline="always")
def _flags_of(there: Any, values: Any, absent_bits: Any, kinds: Any) -> Any:
    """Return the flags, as they are or as they follow from what is there; -1 where they cannot."""
    absent = 0
    for n in range(len(values)):
        if not there >> n & 1:
            absent |= absent_bits[n]
    flags = values[_FLAGS]
    if not there >> _FLAGS & 1:
        flags = absent | (kinds[1] if absent & absent_bits[_PRICE] else kinds[0])
        if values[_TS_RECV] == 0:
            flags |= kinds[2]
    any_kind, single = kinds[3:].sum(), False
    for kind in kinds[3:]:
        single |= flags & any_kind == kind
    if not single or absent & ~flags or not 0 <= flags < 1 << 32:
        flags = -1
    return flags


@njit(
    types.int64(
        _UINT8_IN, _INT64_IN, _LETTERS_IN, _INT64_IN, _INT64_IN, _INT64_IN, _INT64_IN, _INT64_IN,
        _INT64_IN,
        _INT64_IN, types.int64, _INT64_IN, _INT64_IN, _INT64_IN, _UINT8, types.int64, _BOOL,
    ),
    cache=True,
)  # fmt: skip
def read_ticks(
    data: npt.NDArray[np.uint8],
    sizes: npt.NDArray[np.int64],
    letters: npt.NDArray[np.uint8],
    lengths: npt.NDArray[np.int64],
    tokens: npt.NDArray[np.int64],
    price_scales: npt.NDArray[np.int64],
    quantity_scales: npt.NDArray[np.int64],
    absent_bits: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    kinds: npt.NDArray[np.int64],
    kept: int,
    streams: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    broker_ms: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint8],
    size: int,
    done: npt.NDArray[np.bool_],
) -> int:
    """Read messages, each by itself.

    Args:
        data: the messages, one behind the other.
        sizes: bytes of each.
        letters: `LETTERS`.
        lengths: `LENGTHS`.
        tokens: of the instrument table, rising.
        price_scales: by dense id.
        quantity_scales: by dense id.
        absent_bits: by name, the flag of its absence, 0 where it has none.
        places: where in a record the values of each name are, then stream and offset.
        kinds: the flags of a trade, a quote, a tick without ts_recv, then of all kinds.
        kept: the bits of the flags that stay.
        streams: dense ids of topic and partition.
        offsets: in their partitions.
        broker_ms: ts_event where a message has none.
        out: bytes of a record of `TICK_DTYPE` for each; filled where a message is read here.
        size: bytes of a record.
        done: by message, whether it was read here.

    Returns:
        How many were.
    """
    values = np.zeros(len(lengths), np.int64)
    tails = np.zeros(len(lengths), np.int64)
    count = end = 0
    for row in range(len(sizes)):
        begin, end = end, end + sizes[row]
        done[row] = False
        values[:] = 0
        tails[:] = 0
        values[_TRADE_ID] = -1
        there = _fields(data, begin, end, letters, lengths, values, tails)
        if not there & 1:
            continue
        dense = np.searchsorted(tokens, values[_TOKEN])
        if dense == len(tokens) or tokens[dense] != values[_TOKEN]:
            continue
        flags = _flags_of(there, values, absent_bits, kinds)
        if flags < 0 or abs(values[_SIDE]) > 1:
            continue
        if not _scaled(values, tails, price_scales[dense], quantity_scales[dense]):
            continue
        if not there >> _TS_EVENT & 1:
            values[_TS_EVENT] = broker_ms[row] * 1_000_000
        values[_FLAGS] = flags & kept
        _store(out, row * size, places, values, streams[row], offsets[row])
        done[row] = True
        count += 1
    return count
