"""The market_tick envelope of older services: a conflated snapshot, as values of the native wire.

What Kite's full mode has beyond the tick columns comes under the names of `KITE`, and enters a
recording that declares them. What else stands in the envelope is not read.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Final

import msgspec

from parity.sources.codecs import Undecodable
from parity.sources.codecs.exact import shortest_text

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Number = str | int | float

LEVELS: Final = 5
_LEVEL_KINDS: Final = {"": "price", "_quantity": "quantity", "_orders": "integer"}
# the extension columns of Kite's full mode -> their kind
KITE: Final[dict[str, str]] = {
    **dict.fromkeys(("open", "high", "low", "close", "average_price"), "price"),
    "last_trade_time": "integer",  # ns UTC
    **dict.fromkeys(("total_buy_quantity", "total_sell_quantity"), "quantity"),
    **dict.fromkeys(("open_interest_day_high", "open_interest_day_low"), "integer"),
    **{
        f"{side}{what}_{level}": kind
        for side in ("bid", "ask")
        for level in range(1, LEVELS + 1)
        for what, kind in _LEVEL_KINDS.items()
    },
}

_ISO: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class _Level(msgspec.Struct, gc=False):
    price: Number = 0
    quantity: Number = 0
    orders: Int64 | None = None


class Depth(msgspec.Struct, gc=False):
    """The best levels of both sides."""

    buy: list[_Level] = []
    sell: list[_Level] = []


class Ohlc(msgspec.Struct, gc=False):
    """Prices of the day."""

    open: Number | None = None
    high: Number | None = None
    low: Number | None = None
    close: Number | None = None


class Snapshot(msgspec.Struct, gc=False, kw_only=True):
    """A conflated tick as services write it, what a recording without extensions has of it."""

    instrument_token: Int64
    last_price: Number
    last_traded_quantity: Number | None = None
    volume_traded: Number | None = None
    oi: Int64 | None = None
    depth: Depth | None = None


class FullSnapshot(Snapshot, gc=False, kw_only=True):
    """The same with all that Kite's full mode has."""

    ohlc: Ohlc | None = None
    average_traded_price: Number | None = None
    total_buy_quantity: Number | None = None
    total_sell_quantity: Number | None = None
    last_trade_time: str | None = None
    oi_day_high: Int64 | None = None
    oi_day_low: Int64 | None = None


class _Envelope(Snapshot, gc=False, kw_only=True):
    timestamp: str


class _FullEnvelope(FullSnapshot, gc=False, kw_only=True):
    timestamp: str


_MODULES: Final[dict[str, Any]] = {"json": msgspec.json, "msgpack": msgspec.msgpack}
_DECODE: Final[dict[str, Any]] = {n: m.Decoder(_Envelope).decode for n, m in _MODULES.items()}
_DECODE_FULL: Final[dict[str, Any]] = {
    n: m.Decoder(_FullEnvelope).decode for n, m in _MODULES.items()
}


def columns(data: msgspec.Raw, packing: str = "json") -> dict[str, Any]:
    """Return the wire values of an envelope's `data`; what is absent is left out or None.

    Raises:
        Undecodable: a time without a zone, or none.
        msgspec.MsgspecError: not such an envelope.
    """
    tick: _Envelope = _DECODE[packing](data)
    return {"ts_event": nanoseconds(tick.timestamp, "timestamp"), **values_of(tick)}


def full_columns(data: msgspec.Raw, packing: str = "json") -> dict[str, Any]:
    """Return the same, and the values of `KITE` that are there."""
    tick: _FullEnvelope = _DECODE_FULL[packing](data)
    return {"ts_event": nanoseconds(tick.timestamp, "timestamp"), **full_values_of(tick)}


def full_values_of(tick: FullSnapshot, zone: dt.tzinfo | None = None) -> dict[str, Any]:
    """Return the wire values of a snapshot and those of `KITE`, without ts_event.

    Args:
        tick: the snapshot.
        zone: of a naive last_trade_time; None refuses one.
    """
    found = values_of(tick)
    ohlc = tick.ohlc or Ohlc()
    numbers = {
        "open": ohlc.open,
        "high": ohlc.high,
        "low": ohlc.low,
        "close": ohlc.close,
        "average_price": tick.average_traded_price,
        "total_buy_quantity": tick.total_buy_quantity,
        "total_sell_quantity": tick.total_sell_quantity,
    }
    found |= {name: None if n is None else shortest_text(n) for name, n in numbers.items()}
    found["open_interest_day_high"] = tick.oi_day_high
    found["open_interest_day_low"] = tick.oi_day_low
    if tick.last_trade_time is not None:
        found["last_trade_time"] = nanoseconds(tick.last_trade_time, "last_trade_time", zone)
    depth = tick.depth or Depth()
    for side, levels in (("bid", depth.buy), ("ask", depth.sell)):
        for n, level in enumerate(levels[:LEVELS], start=1):
            if float(level.price):
                found[f"{side}_{n}"] = shortest_text(level.price)
                found[f"{side}_quantity_{n}"] = shortest_text(level.quantity)
                found[f"{side}_orders_{n}"] = level.orders
    return found


def values_of(tick: Snapshot) -> dict[str, Any]:
    """Return the wire values of a snapshot, without ts_event."""
    found: dict[str, Any] = {
        "instrument_token": tick.instrument_token,
        "price": shortest_text(tick.last_price),
        "open_interest": tick.oi,
    }
    if tick.last_traded_quantity is not None:
        found["quantity"] = shortest_text(tick.last_traded_quantity)
    if tick.volume_traded is not None:
        found["volume"] = shortest_text(tick.volume_traded)
    # A level of zeros is how the vendor says that there is none.
    depth = tick.depth or Depth()
    for side, levels in (("bid", depth.buy), ("ask", depth.sell)):
        if levels and float(levels[0].price):
            found[side] = shortest_text(levels[0].price)
            found[f"{side}_quantity"] = shortest_text(levels[0].quantity)
    return found


def nanoseconds(text: str, name: str, naive: dt.tzinfo | None = None) -> int:
    """Return an ISO 8601 instant as int ns UTC.

    Args:
        text: with a zone, unless `naive` says which one is meant.
        name: what the value is, for the refusal.
        naive: the zone of a time that has none; an hour that it has twice or never is refused.
    """
    found = _ISO.fullmatch(text)
    if found is None:
        raise Undecodable(f"{name}: expected ISO 8601 with a zone, was {text[:64]!r}")
    day, clock, fraction, zone = found.groups()
    if zone is None and naive is None:
        raise Undecodable(
            f"{name}: expected a zone (Z or +05:30), was the naive {text!r}",
            cure="let the producer write aware times, or declare their zone with --tz",
        )
    # The fraction stays text: datetime holds microseconds only.
    moment = dt.datetime.fromisoformat(f"{day}T{clock}{zone or ''}")
    if zone is None:
        moment = _placed(moment.replace(tzinfo=naive), text, name)
    instant = moment - _EPOCH
    seconds = instant.days * 86_400 + instant.seconds
    value = seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
    if not -(2**63) <= value < 2**63:
        raise Undecodable(f"{name}: expected a year from 1678 to 2261, was {text!r}")
    return value


def _placed(moment: dt.datetime, text: str, name: str) -> dt.datetime:
    """Return a local time in UTC; raises Undecodable where its zone has it twice or never."""
    found = moment.astimezone(dt.UTC)
    if found != moment.replace(fold=1).astimezone(dt.UTC):
        raise Undecodable(
            f"{name}: expected one instant, was {text!r}, which {moment.tzinfo} has twice or never",
            cure="let the producer write aware times",
        )
    return found
