"""Canonical bytes of what a run decided, and the running digest over them.

A record holds what is promised to be the same everywhere and nothing else: never seq, ts_recv,
run id, strategy id or reasoning. Floats enter as bits, with -0.0 as 0.0 and one NaN.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec

from parity.model.errors import ConfigError

_HEAD: Final = struct.Struct("<qqqbddd")
_FLOAT: Final = struct.Struct("<d")
_LENGTH: Final = struct.Struct("<I")
_SHORT: Final = [_LENGTH.pack(n) for n in range(256)]  # nearly every length there is
_NAN: Final = float("nan")
DIGEST_BYTES: Final = 32
DEPTH_MAX: Final = 16
_NO_ITEMS: Final = b"m" + _SHORT[0]  # of a mapping
_EMPTY: Final = hashlib.blake2b(digest_size=DIGEST_BYTES)
_EMPTY_ID: Final = hashlib.blake2b(digest_size=16)


def canonical_float(value: float) -> float:
    """Return the value with -0.0 as 0.0 and every NaN as one NaN."""
    if value == 0.0:
        return 0.0
    return value if value == value else _NAN


def pack_head(
    token: int,
    ts_event: int,
    ordinal: int,
    side: int,
    price: float,
    quantity: float,
    third: float,
) -> bytes:
    """Return the fixed part of a record; `third` is a confidence or a commission."""
    # canonical_float() written out, as a candidate pays for every call: -0.0 + 0.0 is 0.0.
    return _HEAD.pack(
        token,
        ts_event,
        ordinal,
        side,
        price + 0.0 if price == price else _NAN,
        quantity + 0.0 if quantity == quantity else _NAN,
        third + 0.0 if third == third else _NAN,
    )


def canonical(value: Any, depth: int = 0) -> bytes:
    """Return tagged bytes of a plain value; equal values of equal types give equal bytes.

    Raises:
        ConfigError: the value, or something inside it, is not plain.
    """
    kind = type(value)
    if kind is float:
        return b"d" + _FLOAT.pack(canonical_float(value))
    if kind is str:
        return _framed(b"s", value.encode())
    if kind is int:
        return _integer(value)
    if kind is dict and depth <= DEPTH_MAX:  # as metadata nearly always is
        return _framed(b"m", _canonical_items(value, depth)) if value else _NO_ITEMS
    if depth > DEPTH_MAX:
        raise ConfigError(f"signal metadata: nested deeper than {DEPTH_MAX}")
    if value is None:
        return b"n"
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, int):
        return _framed(b"i", int.__repr__(value).encode())
    if isinstance(value, float):
        return b"d" + _FLOAT.pack(canonical_float(value))
    if isinstance(value, str):
        return _framed(b"s", value.encode())
    if isinstance(value, Decimal):
        return _framed(b"D", _canonical_decimal(value).encode())
    if isinstance(value, list | tuple):
        return _framed(b"l", b"".join(canonical(item, depth + 1) for item in value))
    if isinstance(value, Mapping):
        return _framed(b"m", _canonical_items(value, depth))
    if isinstance(value, msgspec.Struct):
        return canonical(msgspec.structs.asdict(value), depth)
    raise ConfigError(
        f"signal metadata: a value of type {type(value).__name__} cannot be recorded",
        cure="use None, bool, int, float, str, Decimal, lists and dicts (numpy: call .item())",
    )


def _integer(value: int) -> bytes:
    body = b"%d" % value
    size = len(body)
    return b"i" + (_SHORT[size] if size < 256 else _LENGTH.pack(size)) + body


_ATOMS: Final = frozenset({type(None), bool, int, float, str, Decimal})


def plain(value: Any) -> Any:
    """Return a copy of a plain value in built-in types, which nobody else holds."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is dict:
        return {str(k): v if type(v) in _ATOMS else plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(k): plain(item) for k, item in value.items()}
    if isinstance(value, msgspec.Struct):
        return plain(msgspec.structs.asdict(value))
    for atom in (bool, int, float, str):  # numpy's float64 is a float, and no encoder takes it
        if isinstance(value, atom):
            return atom(value)
    return value


def _canonical_decimal(value: Decimal) -> str:
    # By its digits: normalize() and scaleb() round to the calling thread's decimal context.
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return str(value)
    text = "".join(map(str, digits)).lstrip("0")
    kept = text.rstrip("0")
    if not kept:
        return "0"
    return f"{'-' * sign}{kept}E{exponent + len(text) - len(kept)}"


def _canonical_items(value: Mapping[Any, Any], depth: int) -> bytes:
    for key in value:
        if not isinstance(key, str):
            raise ConfigError(f"signal metadata: key {key!r} is not text")
    found = b""
    for key in sorted(value) if len(value) > 1 else value:
        name, item = _key(key) if type(key) is str else canonical(key), value[key]
        if type(item) is float:  # as an item nearly always is
            found += name + b"d" + _FLOAT.pack(item + 0.0 if item == item else _NAN)
        else:
            found += name + canonical(item, depth + 1)
    return found


@lru_cache(maxsize=4096)  # a strategy says the same few keys again and again
def _key(key: str) -> bytes:
    return _framed(b"s", key.encode())


def _framed(tag: bytes, body: bytes) -> bytes:
    size = len(body)
    return tag + (_SHORT[size] if size < 256 else _LENGTH.pack(size)) + body


class Chain:
    """A digest that grows by one record at a time: value = blake2b(value + record).

    hashlib's running state cannot be stored in a checkpoint; 32 bytes of a chain can.
    """

    __slots__ = ("count", "value")

    def __init__(self, value: bytes = bytes(DIGEST_BYTES), count: int = 0) -> None:
        self.value = value
        self.count = count

    def add(self, record: bytes) -> None:
        """Take one more record."""
        hashed = _EMPTY.copy()  # costs less than making one
        hashed.update(self.value + record)
        self.value = hashed.digest()
        self.count += 1

    @property
    def hex(self) -> str:
        """The digest as text."""
        return self.value.hex()


def signal_id(
    prefix: bytes, token: int, side: int, price: float, ts_event: int, number: int
) -> str:
    """Return the stable id of an approved signal; nothing in it is rounded.

    Args:
        prefix: signal_prefix() of the executor.
        token: instrument.
        side: +1 or -1.
        price: of the signal.
        ts_event: of its tick.
        number: of the signal in the executor's run, from 1.
    """
    float64 = _FLOAT.pack(price + 0.0 if price == price else _NAN)
    instant, count = b"%d" % ts_event, b"%d" % number  # _integer() written out, twice
    record = b"%bd%bi%b%bi%b%b" % (
        _signal_head(prefix, token, side),
        float64,
        _SHORT[len(instant)],
        instant,
        _SHORT[len(count)],
        count,
    )
    hashed = _EMPTY_ID.copy()
    hashed.update(_framed(b"l", record))
    return hashed.hexdigest()


@lru_cache(maxsize=4096)
def _signal_head(prefix: bytes, token: int, side: int) -> bytes:
    return prefix + _integer(token) + _integer(side)


def signal_prefix(strategy_id: str, broker: str) -> bytes:
    """Return what the ids of one executor's signals begin with."""
    return canonical(strategy_id) + canonical(broker)


def suppression_key(prefix: bytes, token: int, side: int, level: str, bucket: int) -> str:
    """Return the key under which signals that say the same are one.

    Args:
        prefix: canonical() of the strategy's id.
        token: instrument.
        side: +1 or -1.
        level: the price's bucket, as text.
        bucket: of the clock.
    """
    record = prefix + b"".join([canonical(one) for one in (token, side, level, bucket)])
    return hashlib.blake2b(_framed(b"l", record), digest_size=16).hexdigest()
