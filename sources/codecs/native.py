"""The native wire format: one JSON object a tick with every tick column exactly.

Prices and quantities are decimal strings, times integer ns UTC, the rest integers under the
columns' own names; a column whose flag says absent is left out. Extension columns that the
instrument table declares stand under their names beside them (a word as itself). seq, stream,
offset and sub are not on the wire: they belong to whoever reads. Where `flags` is left out (a
hand-written producer), they follow from what is there. The market_tick envelope of older services
is read too.

Never here: floats on the way to a price, a guess, or any exception but Undecodable.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.model.ticks import COLUMNS, TICK_DTYPE, TickBatch
from parity.sources.codecs import Undecodable, market_tick
from parity.sources.codecs.exact import LIMIT, decimal_text, integer_at_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.model.extensions import Extension
    from parity.model.instruments import InstrumentTable

Int64 = market_tick.Int64
UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]

_KINDS: Final = frozenset((flag.TRADE, flag.QUOTE, flag.INDEX, flag.SNAPSHOT))
# wire name -> flag bit of its absence; prices and quantities, in the order of the columns
_DECIMALS: Final = {
    "price": flag.NO_PRICE,
    "quantity": flag.NO_QUANTITY,
    "bid": flag.NO_BID,
    "ask": flag.NO_ASK,
    "bid_quantity": flag.NO_BID_QUANTITY,
    "ask_quantity": flag.NO_ASK_QUANTITY,
    "volume": flag.NO_VOLUME,
}
_PRICES: Final = frozenset(("price", "bid", "ask"))


class _Wire(msgspec.Struct, omit_defaults=True, gc=False):
    """One message: the native columns, or `type` and `data` of an envelope. None is absent."""

    instrument_token: Int64 | None = None
    ts_event: Int64 | None = None
    ts_recv: Int64 = 0
    price: str | None = None
    quantity: str | None = None
    side: Literal[-1, 0, 1] = 0
    bid: str | None = None
    ask: str | None = None
    bid_quantity: str | None = None
    ask_quantity: str | None = None
    volume: str | None = None
    open_interest: Int64 | None = None
    trade_id: Int64 | None = None
    flags: UInt32 | None = None
    type: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")


_encode_wire: Final = msgspec.json.Encoder().encode

_LETTERS: Final = {"<i8": "q", "|i1": "b", "<u4": "I", "<i4": "i"}
# One pack_into fills a whole record: a third of the cost of assigning its fields one by one.
_RECORD: Final = struct.Struct("<" + "".join(_LETTERS[TICK_DTYPE[n].str] for n in COLUMNS))

_EXTENSION_TYPES: Final[dict[str, Any]] = {
    **dict.fromkeys(("price", "quantity", "text"), str | None),
    "integer": Int64 | None,
}


@functools.lru_cache(maxsize=8)
def _wire_of(extensions: tuple[Extension, ...]) -> Any:
    """Return the message's type with extension columns, under their own names, behind the rest."""
    if not extensions:
        return _Wire
    fields = [(e.name, _EXTENSION_TYPES[e.kind], None) for e in extensions]
    return msgspec.defstruct("_Wire", fields, bases=(_Wire,), omit_defaults=True, gc=False)


class _Exact(dict[str | None, int]):
    """Integers of decimal texts at one scale, remembered: most texts come again within seconds."""

    _SIZE_MAX: Final = 1 << 16

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self[None] = 0  # what is absent is neutral

    def __missing__(self, text: str) -> int:
        value = integer_at_scale(text, self.scale, "decimal")
        if len(self) >= self._SIZE_MAX:
            self.clear()
            self[None] = 0
        self[text] = value
        return value


class NativeDecoder:
    """Reads native messages and market_tick envelopes into tick records.

    Args:
        table: gives each token its scales; a token that is not in it is refused.
        keep_verdicts: leave the flags as they are on the wire. A live reader does not: verdicts
            of another run's sequencer, and the absence of its ts_recv, say nothing here.
    """

    def __init__(self, table: InstrumentTable, *, keep_verdicts: bool = False) -> None:
        self._kept_flags = (
            0xFFFF_FFFF if keep_verdicts else ~(flag.SEQUENCER_BITS | flag.NO_TS_RECV)
        )
        self.dtype = table.tick_dtype
        self._extensions = table.extensions
        self._size = self.dtype.itemsize
        self._beyond = struct.Struct(f"<Q{len(table.extensions)}q")
        self._words = {
            e.name: {word: n for n, word in enumerate(e.words)}
            for e in table.extensions
            if e.kind == "text"
        }
        self._wire = _wire_of(table.extensions)
        self._decode = msgspec.json.Decoder(self._wire).decode
        by_scale = {s: _Exact(s) for i in table for s in (i.price_scale, i.quantity_scale)}
        self._exact = {
            i.token: (by_scale[i.price_scale], by_scale[i.quantity_scale]) for i in table
        }

    def decode_into(
        self,
        payload: bytes | None,
        records: npt.NDArray[Any],
        row: int,
        stream: int = 0,
        offset: int = 0,
        broker_ns: int = 0,
    ) -> None:
        """Fill `records[row]` from one message; seq and sub become 0.

        Args:
            payload: the bytes of the message; None where it has none.
            records: contiguous array of the table's `tick_dtype`.
            row: which of them to fill.
            stream: the reader's dense id of topic and partition.
            offset: of the message in its partition.
            broker_ns: the broker's message time: ts_event where the message has none, which then
                has NO_VENUE_TIME.

        Raises:
            Undecodable: whatever is wrong with the message, with the reason; then nothing is
                written.
        """
        try:
            wire: _Wire = self._decode(payload or b"")
            if wire.type is not None:
                wire = self._from_envelope(wire)
            self._fill(wire, records, row, stream, offset, broker_ns)
        except Undecodable:
            raise
        except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
            what = str(error) if payload else "expected a JSON object, was empty"
            raise Undecodable(f"message: {what}") from None

    def _fill(
        self,
        wire: _Wire,
        records: npt.NDArray[Any],
        row: int,
        stream: int,
        offset: int,
        broker_ns: int,
    ) -> None:
        price, quantity, bid, ask = wire.price, wire.quantity, wire.bid, wire.ask
        bid_quantity, ask_quantity, volume = wire.bid_quantity, wire.ask_quantity, wire.volume
        trade_id, open_interest, ts_event = wire.trade_id, wire.open_interest, wire.ts_event
        absent = (
            (flag.NO_PRICE if price is None else 0)
            | (flag.NO_QUANTITY if quantity is None else 0)
            | (flag.NO_BID if bid is None else 0)
            | (flag.NO_ASK if ask is None else 0)
            | (flag.NO_BID_QUANTITY if bid_quantity is None else 0)
            | (flag.NO_ASK_QUANTITY if ask_quantity is None else 0)
            | (flag.NO_VOLUME if volume is None else 0)
            | (flag.NO_OPEN_INTEREST if open_interest is None else 0)
            | (flag.NO_TRADE_ID if trade_id is None else 0)
            | (flag.NO_VENUE_TIME if ts_event is None else 0)
        )
        flags = wire.flags
        if flags is None or flags & flag.KIND_BITS not in _KINDS or absent & ~flags:
            flags = _flags(wire, absent)
        buffer: Any = records  # it is one, though numpy's types say so only from Python 3.12 on
        try:
            at_price, at_quantity = self._exact[wire.instrument_token]  # type: ignore[index]  # None is refused below
            beyond = self._extension_values(wire, at_price, at_quantity) if self._extensions else ()
            _RECORD.pack_into(
                buffer, row * self._size,
                0, broker_ns if ts_event is None else ts_event, wire.ts_recv, wire.instrument_token,
                at_price[price], at_quantity[quantity], wire.side, at_price[bid], at_price[ask],
                at_quantity[bid_quantity], at_quantity[ask_quantity], at_quantity[volume],
                open_interest or 0, -1 if trade_id is None else trade_id,
                flags & self._kept_flags, stream, offset, 0,
            )  # fmt: skip
            if beyond:
                self._beyond.pack_into(buffer, row * self._size + _RECORD.size, *beyond)
        except (KeyError, Undecodable):
            self._refuse(wire)

    def _extension_values(
        self, wire: _Wire, at_price: _Exact, at_quantity: _Exact
    ) -> tuple[int, ...]:
        """Return `present` and the integers; KeyError or Undecodable where one does not fit."""
        present = 0
        values = []
        for n, extension in enumerate(self._extensions):
            value = getattr(wire, extension.name)
            if value is not None:
                present |= 1 << n
                if extension.kind == "text":
                    value = self._words[extension.name][value]
                elif extension.scaled:
                    value = (at_price if extension.kind == "price" else at_quantity)[value]
            values.append(value or 0)
        return (present, *values)

    def _from_envelope(self, envelope: _Wire) -> _Wire:
        """Return the native form of a market_tick: a conflated snapshot, without aggressor."""
        if envelope.type != "market_tick":
            raise Undecodable(f"type: expected 'market_tick', was {str(envelope.type)[:64]!r}")
        if self._extensions:
            found = market_tick.full_columns(envelope.data)
            mine = {e.name for e in self._extensions if market_tick.KITE.get(e.name) == e.kind}
            found = {n: v for n, v in found.items() if n in mine or n not in market_tick.KITE}
        else:
            found = market_tick.columns(envelope.data)
        wire: _Wire = self._wire(**found)
        absent = sum(bit for name, bit in _DECIMALS.items() if getattr(wire, name) is None)
        absent |= flag.NO_OPEN_INTEREST if wire.open_interest is None else 0
        wire.flags = flag.SNAPSHOT | flag.NO_TS_RECV | flag.NO_TRADE_ID | absent
        return wire

    def _refuse(self, wire: _Wire) -> None:
        """Raise Undecodable naming the field; off the hot path, which does not know names."""
        token = wire.instrument_token
        if token is None:
            raise Undecodable("instrument_token: expected an integer, was absent")
        if token not in self._exact:
            raise Undecodable(
                f"instrument_token: {token} is not in the instrument table",
                cure="add it to the instrument table before the recording starts",
            )
        at_price, at_quantity = self._exact[token]
        for name in _DECIMALS:
            text = getattr(wire, name)
            if text is not None:
                scale = at_price.scale if name in _PRICES else at_quantity.scale
                integer_at_scale(text, scale, name)
        for extension in self._extensions:
            text = getattr(wire, extension.name)
            if text is not None and extension.scaled:
                scale = at_price.scale if extension.kind == "price" else at_quantity.scale
                integer_at_scale(text, scale, extension.name)
            elif extension.kind == "text" and text not in (None, *self._words[extension.name]):
                raise Undecodable(
                    f"{extension.name}: {text[:64]!r} is not among its words",
                    cure="declare the word in the instrument table of a new recording",
                )


def _flags(wire: _Wire, absent: int) -> int:
    if wire.flags is None:
        kind = flag.TRADE if not absent & flag.NO_PRICE else flag.QUOTE
        return kind | absent | (0 if wire.ts_recv else flag.NO_TS_RECV)
    if wire.flags & flag.KIND_BITS not in _KINDS:
        raise Undecodable(f"flags: expected exactly one kind of tick, was {wire.flags}")
    missing = [n for n, bit in flag.FLAG_NAMES.items() if absent & ~wire.flags & bit]
    raise Undecodable(f"flags: {wire.flags} lacks {', '.join(missing)} for what is absent")


def decode_into(
    payload: bytes | None, records: npt.NDArray[Any], row: int, table: InstrumentTable
) -> None:
    """Fill one record from one message, verdicts kept; a reader of many keeps a NativeDecoder."""
    NativeDecoder(table, keep_verdicts=True).decode_into(payload, records, row)


def encode(batch: TickBatch, row: int) -> bytes:
    """Return the message of one tick; raises InputRefused where it has more than 18 digits."""
    return encode_batch(batch.slice(row, row + 1))[0]


def encode_batch(batch: TickBatch) -> list[bytes]:
    """Return the messages of all ticks, in order."""
    flags = batch.column("flags")
    decimals = [
        _texts(batch, f"{name}_int", (batch.column(f"{name}_int") == 0) & ((flags & bit) != 0))
        for name, bit in _DECIMALS.items()
    ]
    price, quantity, bid, ask, bid_quantity, ask_quantity, volume = decimals
    rows = zip(
        batch.column("instrument_token").tolist(),
        batch.column("ts_event").tolist(),
        batch.column("ts_recv").tolist(),
        price,
        quantity,
        batch.column("side").tolist(),
        bid,
        ask,
        bid_quantity,
        ask_quantity,
        volume,
        _present(batch.column("open_interest"), 0, flags & flag.NO_OPEN_INTEREST),
        _present(batch.column("trade_id"), -1, flags & flag.NO_TRADE_ID),
        flags.tolist(),
        strict=True,
    )
    if not batch.table.extensions:
        return [_encode_wire(_Wire(*row)) for row in rows]
    wire = _wire_of(batch.table.extensions)
    columns = [_extension_texts(batch, extension) for extension in batch.table.extensions]
    bare = _Wire()
    neither = (bare.type, bare.data)  # of an envelope: the defaults themselves are left out
    beyond = zip(*columns, strict=True)
    return [
        _encode_wire(wire(*row, *neither, *more)) for row, more in zip(rows, beyond, strict=True)
    ]


def _extension_texts(batch: TickBatch, extension: Extension) -> Sequence[str | int | None]:
    there = batch.column(f"has_{extension.name}")
    if extension.scaled:
        return _texts(batch, extension.field, ~there)
    values: list[int] = batch.column(extension.field).tolist()
    words = extension.words
    return [
        None if not has else words[value] if extension.kind == "text" else value
        for value, has in zip(values, there.tolist(), strict=True)
    ]


def _present(column: npt.NDArray[Any], neutral: int, absent: npt.NDArray[Any]) -> list[int | None]:
    """Return the values, None where one is flagged absent and neutral."""
    left_out = (column == neutral) & (absent != 0)
    values: list[int | None] = column.tolist()
    for row in np.flatnonzero(left_out).tolist():
        values[row] = None
    return values


def _texts(batch: TickBatch, field: str, left_out: npt.NDArray[np.bool_]) -> list[str | None]:
    if left_out.all():
        return [None] * len(batch)
    column = batch.column(field)
    table = batch.table
    name, which = table.columns.scaled[field]
    if ((column <= -LIMIT) | (column >= LIMIT)).any():
        row = int(np.flatnonzero((column <= -LIMIT) | (column >= LIMIT))[0])
        raise InputRefused(
            f"tick of instrument token {int(batch.column('instrument_token')[row])} at ts_event "
            f"{int(batch.column('ts_event')[row])}: {name}: expected at most 18 digits, "
            f"was {int(column[row])}"
        )
    scales = table.scales(which)[batch.column("inst")]
    return [
        None if out else decimal_text(value, scale)
        for value, scale, out in zip(
            column.tolist(), scales.tolist(), left_out.tolist(), strict=True
        )
    ]
