"""Kite ticks as JSON: the tick dict of Zerodha's Python client, or a list of them, a message.

Snapshots about a second apart, not trades: no side, and `volume` is the day's so far. Both
generations of keys are read. Times are naive in the zone of the machine that received them, so a
zone must be declared for them; ltp and quote mode carry none, and the broker's time stands in.

Never here: the client's `change`, which other clients compute otherwise; a guess at a zone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.model import ticks as flag
from parity.sources.codecs import Undecodable
from parity.sources.codecs.filling import Filler
from parity.sources.codecs.market_tick import (
    Depth,
    FullSnapshot,
    Int64,
    Number,
    Ohlc,
    full_values_of,
    nanoseconds,
    values_of,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    import numpy.typing as npt

    from parity.model.instruments import InstrumentTable

INDICES: Final = 9  # the segment of a token, its last byte: what is not traded


class _Tick(msgspec.Struct, gc=False):
    """A tick dict; of the keys that changed with version 4 of the client both are here."""

    instrument_token: Int64
    last_price: Number
    exchange_timestamp: str | None = None
    timestamp: str | None = None
    last_traded_quantity: Number | None = None
    last_quantity: Number | None = None
    average_traded_price: Number | None = None
    average_price: Number | None = None
    volume_traded: Number | None = None
    volume: Number | None = None
    total_buy_quantity: Number | None = None
    buy_quantity: Number | None = None
    total_sell_quantity: Number | None = None
    sell_quantity: Number | None = None
    ohlc: Ohlc | None = None
    last_trade_time: str | None = None
    oi: Int64 | None = None
    oi_day_high: Int64 | None = None
    oi_day_low: Int64 | None = None
    depth: Depth | None = None


_decode: Final = msgspec.json.Decoder(_Tick).decode
_decode_list: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class KiteDecoder:
    """Reads the client's ticks; arguments as `registry.decoder_of` gives them.

    Args:
        table: gives each token its scales; a token that is not in it is refused.
        zone: of naive times; None refuses them.
    """

    read_many = None

    def __init__(self, table: InstrumentTable, *, zone: dt.tzinfo | None = None) -> None:
        self._filler = Filler(table)
        self.dtype = self._filler.dtype
        self._zone = zone
        self._full = bool(table.extensions)

    def split(self, payload: bytes | None) -> Sequence[bytes]:
        """Return the ticks of a list, or the one that the message is.

        Raises:
            Undecodable: a list that is no JSON.
        """
        if payload is None or not payload.lstrip(b" \t\r\n").startswith(b"["):
            return [payload or b""]
        try:
            return [bytes(raw) for raw in _decode_list(payload)]
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Undecodable(f"message: {error}") from None

    def decode_into(
        self,
        payload: bytes | None,
        records: npt.NDArray[Any],
        row: int,
        stream: int = 0,
        offset: int = 0,
        broker_ns: int = 0,
    ) -> None:
        """Fill `records[row]` from one tick; arguments and errors as `Decoder` says."""
        try:
            tick = _decode(payload or b"")
            values = self._values(tick)
            token = tick.instrument_token
            kind = flag.INDEX if token & 0xFF == INDICES else flag.SNAPSHOT
            wire = self._filler.snapshot(kind, values)
            self._filler.fill(wire, records, row, stream, offset, broker_ns)
        except Undecodable:
            raise
        except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
            what = str(error) if payload else "expected a tick, was empty"
            raise Undecodable(f"message: {what}") from None

    def _values(self, tick: _Tick) -> dict[str, Any]:
        snapshot = FullSnapshot(
            instrument_token=tick.instrument_token,
            last_price=tick.last_price,
            last_traded_quantity=_either(tick.last_traded_quantity, tick.last_quantity),
            volume_traded=_either(tick.volume_traded, tick.volume),
            oi=tick.oi,
            depth=tick.depth,
            ohlc=tick.ohlc,
            average_traded_price=_either(tick.average_traded_price, tick.average_price),
            total_buy_quantity=_either(tick.total_buy_quantity, tick.buy_quantity),
            total_sell_quantity=_either(tick.total_sell_quantity, tick.sell_quantity),
            last_trade_time=tick.last_trade_time,
            oi_day_high=tick.oi_day_high,
            oi_day_low=tick.oi_day_low,
        )
        values = full_values_of(snapshot, self._zone) if self._full else values_of(snapshot)
        for name in ("exchange_timestamp", "timestamp"):
            text = getattr(tick, name)
            if text is not None:
                values["ts_event"] = nanoseconds(text, name, self._zone)
                break
        return values


def _either(now: Number | None, before: Number | None) -> Number | None:
    return before if now is None else now
