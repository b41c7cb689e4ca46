"""Binance websocket messages: trade, aggTrade and bookTicker of three markets, bare or combined.

A message names its symbol, never its market, so the market follows from its shape: inverse
perpetuals by their symbol (BTCUSD_PERP) or `ps`, spot by `M` or by a bookTicker without `e`, all
else is linear. It must be the market of the instrument: a perpetual's trade never becomes a tick of
the spot pair of the same name. Other events (depth, replies) are refused by name.

A combined stream's name (`xrpeth@aggTrade`) gives symbol and kind where the data has none, as
objects of the REST interface.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.model.errors import ConfigError
from parity.sources.codecs import Undecodable
from parity.sources.codecs.filling import Filler, Wire
from parity.sources.codecs.market_tick import Int64

if TYPE_CHECKING:
    import numpy.typing as npt

    from parity.model.instruments import InstrumentTable

SPOT: Final = "spot"
LINEAR: Final = "linear perpetual"
INVERSE: Final = "inverse perpetual"
_MARKETS: Final = {"spot": SPOT, "perp": LINEAR, "future": LINEAR, "inverse": INVERSE}
_INVERSE_SYMBOL: Final = re.compile(r"[A-Z0-9]+USD_([0-9]{6}|PERP)", re.ASCII)
_VENUE: Final = "BINANCE"
_UNITS: Final = {13: 1_000_000, 16: 1_000}  # digits of a time -> its unit in ns: ms, or µs of spot
_ID: Final = {"trade": "t", "aggTrade": "a"}
_BOOK: Final = "bookTicker"


class _Event(msgspec.Struct, gc=False):
    """Any of the events, or a combined stream's wrapper; one letter means one thing in each."""

    e: str | None = None
    s: str | None = None
    ps: str | None = None
    T: Int64 | None = None
    t: Int64 | None = None
    p: str | None = None
    q: str | None = None
    m: bool | None = None
    M: bool | None = None
    X: str | None = None
    u: Int64 | None = None
    # The best bid and ask; else an order's id, an aggTrade's, or the levels of an order book.
    b: str | Int64 | list[msgspec.Raw] | None = None
    B: str | None = None
    a: str | Int64 | list[msgspec.Raw] | None = None
    A: str | None = None
    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")


_decode: Final = msgspec.json.Decoder(_Event).decode


class BinanceDecoder:
    """Reads websocket messages into ticks; arguments as `registry.decoder_of` gives them.

    Args:
        table: what has no venue, or one that begins with BINANCE, is looked up by its symbol.

    Raises:
        ConfigError: two instruments of one symbol and one market.
    """

    split = None
    read_many = None

    def __init__(self, table: InstrumentTable) -> None:
        self._filler = Filler(table)
        self.dtype = self._filler.dtype
        self._tokens: dict[tuple[str, str], int] = {}
        for one in table:
            market = _MARKETS.get(one.kind)
            if market is None or not (one.venue or _VENUE).upper().startswith(_VENUE):
                continue
            other = self._tokens.setdefault((one.symbol, market), one.token)
            if other != one.token:
                raise ConfigError(
                    f"instrument table: {one.symbol} of {market} stands twice, as tokens {other} "
                    f"and {one.token}; a Binance message says no more than symbol and market",
                    cure="keep one of them",
                )

    def decode_into(
        self,
        payload: bytes | None,
        records: npt.NDArray[Any],
        row: int,
        stream: int = 0,
        offset: int = 0,
        broker_ns: int = 0,
    ) -> None:
        """Fill `records[row]` from one message; arguments and errors as `Decoder` says."""
        try:
            wire = self._wire(_decode(payload or b""))
            self._filler.fill(wire, records, row, stream, offset, broker_ns)
        except Undecodable:
            raise
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            what = str(error) if payload else "expected an event, was empty"
            raise Undecodable(f"message: {what}") from None

    def _wire(self, event: _Event) -> Wire:
        name = ""
        if bytes(event.data):
            name = event.stream or ""
            event = _decode(event.data)
        symbol, _, kind = name.partition("@")
        kind = event.e or kind or ("" if event.b is None or event.u is None else _BOOK)
        if kind in _ID:
            return self._trade(event, kind, event.s or symbol.upper())
        if kind == _BOOK:
            return self._quote(event, event.s or symbol.upper())
        said = repr(kind[:64]) if kind else "absent"
        raise Undecodable(f"e: expected trade, aggTrade or bookTicker, was {said}")

    def _trade(self, event: _Event, kind: str, symbol: str) -> Wire:
        if event.X not in (None, "MARKET"):
            # The venue leaves them out of aggregates, too: no order of the book was taken.
            raise Undecodable(f"X: expected MARKET, was {event.X[:64]!r}")
        number = event.t if kind == "trade" else event.a
        if not isinstance(number, int):
            raise Undecodable(f"{_ID[kind]}: expected an integer, was {_shown(number)}")
        for name in ("p", "q", "m", "T"):
            if getattr(event, name) is None:
                raise Undecodable(f"{name}: expected a value, was absent")
        wire: Wire = self._filler.wire(
            instrument_token=self._token(event, symbol, LINEAR if event.M is None else SPOT),
            ts_event=_nanoseconds(event.T),
            price=event.p,
            quantity=event.q,
            side=-1 if event.m else 1,
            trade_id=number,
        )
        return wire

    def _quote(self, event: _Event, symbol: str) -> Wire:
        for name in ("b", "B", "a", "A"):
            if not isinstance(getattr(event, name), str):
                found = _shown(getattr(event, name))
                raise Undecodable(f"{name}: expected a decimal as text, was {found}")
        wire: Wire = self._filler.wire(
            instrument_token=self._token(event, symbol, SPOT if event.e is None else LINEAR),
            ts_event=None if event.T is None else _nanoseconds(event.T),
        )
        if str(event.b).strip("0."):  # an empty side is written as zeros
            wire.bid, wire.bid_quantity = str(event.b), event.B
        if str(event.a).strip("0."):
            wire.ask, wire.ask_quantity = str(event.a), event.A
        return wire

    def _token(self, event: _Event, symbol: str, market: str) -> int:
        if not symbol:
            raise Undecodable(
                "s: expected a symbol, was absent",
                cure='wrap it as a combined stream does: {"stream": "btcusdt@trade", "data": …}',
            )
        if event.ps is not None or _INVERSE_SYMBOL.fullmatch(symbol):
            market = INVERSE
        token = self._tokens.get((symbol, market))
        if token is None:
            raise Undecodable(
                f"s: {symbol[:64]!r} of {market} is not in the instrument table",
                cure="add it, with kind spot, perp, future or inverse, before the recording starts",
            )
        return token


def _nanoseconds(time: int | None) -> int:
    unit = _UNITS.get(len(str(time)))
    if time is None or unit is None or not 0 <= time < 2**63 // unit:
        raise Undecodable(f"T: expected ms or µs since 1970 (13 or 16 digits), was {time}")
    return time * unit


def _shown(value: object) -> str:
    return "absent" if value is None else repr(value)[:64]
