"""Wire values to tick records: the one place where a codec's texts become exact integers.

A codec turns its message into a `Wire`: decimals as text, times as int ns, None for what is absent.
Here the instrument's scales are applied, flags are held against what is there, and one packed
record is written, or nothing at all.

Never here: the format of a message, floats on the way to a price, a guess.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import numpy.typing as npt

from parity.model import ticks as flag
from parity.model.ticks import COLUMNS, TICK_DTYPE
from parity.sources.codecs import Undecodable
from parity.sources.codecs.exact import integer_at_scale
from parity.sources.codecs.market_tick import KITE, Int64

if TYPE_CHECKING:
    from parity.model.extensions import Extension
    from parity.model.instruments import InstrumentTable

UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]

_KINDS: Final = frozenset((flag.TRADE, flag.QUOTE, flag.INDEX, flag.SNAPSHOT))
# wire name -> flag bit of its absence; prices and quantities, in the order of the columns
DECIMALS: Final = {
    "price": flag.NO_PRICE,
    "quantity": flag.NO_QUANTITY,
    "bid": flag.NO_BID,
    "ask": flag.NO_ASK,
    "bid_quantity": flag.NO_BID_QUANTITY,
    "ask_quantity": flag.NO_ASK_QUANTITY,
    "volume": flag.NO_VOLUME,
}
_PRICES: Final = frozenset(("price", "bid", "ask"))


class Wire(msgspec.Struct, omit_defaults=True, gc=False):
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


_LETTERS: Final = {"<i8": "q", "|i1": "b", "<u4": "I", "<i4": "i"}
# One pack_into fills a whole record: a third of the cost of assigning its fields one by one.
_RECORD: Final = struct.Struct("<" + "".join(_LETTERS[TICK_DTYPE[n].str] for n in COLUMNS))

_EXTENSION_TYPES: Final[dict[str, Any]] = {
    **dict.fromkeys(("price", "quantity", "text"), str | None),
    "integer": Int64 | None,
}


@functools.lru_cache(maxsize=8)
def wire_of(extensions: tuple[Extension, ...]) -> Any:
    """Return the message's type with extension columns, under their own names, behind the rest."""
    if not extensions:
        return Wire
    fields = [(e.name, _EXTENSION_TYPES[e.kind], None) for e in extensions]
    return msgspec.defstruct("Wire", fields, bases=(Wire,), omit_defaults=True, gc=False)


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


class Filler:
    """Fills tick records of one instrument table from wire values.

    Args:
        table: gives each token its scales; a token that is not in it is refused.
        keep_verdicts: leave the flags as they are on the wire. A live reader does not: verdicts
            of another run's sequencer, and the absence of its ts_recv, say nothing here.

    Attributes:
        dtype: of the records.
        wire: the type of wire values, the table's extension columns included.
        extensions: of the table.
        kept_flags: the bits of the flags that stay.
    """

    def __init__(self, table: InstrumentTable, *, keep_verdicts: bool = False) -> None:
        self.kept_flags = 0xFFFF_FFFF if keep_verdicts else ~(flag.SEQUENCER_BITS | flag.NO_TS_RECV)
        self.dtype = table.tick_dtype
        self.extensions = table.extensions
        self.wire: Any = wire_of(table.extensions)
        self._size = self.dtype.itemsize
        self._beyond = struct.Struct(f"<Q{len(table.extensions)}q")
        self._words = {
            e.name: {word: n for n, word in enumerate(e.words)}
            for e in table.extensions
            if e.kind == "text"
        }
        by_scale = {s: _Exact(s) for i in table for s in (i.price_scale, i.quantity_scale)}
        self._exact = {
            i.token: (by_scale[i.price_scale], by_scale[i.quantity_scale]) for i in table
        }

    def fill(
        self,
        wire: Wire,
        records: npt.NDArray[Any],
        row: int,
        stream: int,
        offset: int,
        broker_ns: int,
    ) -> None:
        """Fill `records[row]`; seq and sub become 0. Where ts_event is absent it is broker_ns.

        Raises:
            Undecodable: a value does not fit, or the flags do not fit the values; nothing is
                written then.
        """
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
            beyond = self._extension_values(wire, at_price, at_quantity) if self.extensions else ()
            _RECORD.pack_into(
                buffer, row * self._size,
                0, broker_ns if ts_event is None else ts_event, wire.ts_recv, wire.instrument_token,
                at_price[price], at_quantity[quantity], wire.side, at_price[bid], at_price[ask],
                at_quantity[bid_quantity], at_quantity[ask_quantity], at_quantity[volume],
                open_interest or 0, -1 if trade_id is None else trade_id,
                flags & self.kept_flags, stream, offset, 0,
            )  # fmt: skip
            if beyond:
                self._beyond.pack_into(buffer, row * self._size + _RECORD.size, *beyond)
        except (KeyError, Undecodable):
            self._refuse(wire)

    def snapshot(self, kind: int, values: dict[str, Any]) -> Wire:
        """Return a conflated snapshot, without aggressor and trade id.

        Of the names in `market_tick.KITE` only those that the table declares, with that kind, stay.
        """
        declared = {e.name for e in self.extensions if KITE.get(e.name) == e.kind}
        wire: Wire = self.wire(
            **{name: v for name, v in values.items() if name in declared or name not in KITE}
        )
        absent = sum(bit for name, bit in DECIMALS.items() if getattr(wire, name) is None)
        absent |= flag.NO_OPEN_INTEREST if wire.open_interest is None else 0
        absent |= flag.NO_VENUE_TIME if wire.ts_event is None else 0
        wire.flags = kind | flag.NO_TS_RECV | flag.NO_TRADE_ID | absent
        return wire

    def _extension_values(
        self, wire: Wire, at_price: _Exact, at_quantity: _Exact
    ) -> tuple[int, ...]:
        """Return `present` and the integers; KeyError or Undecodable where one does not fit."""
        present = 0
        values = []
        for n, extension in enumerate(self.extensions):
            value = getattr(wire, extension.name)
            if value is not None:
                present |= 1 << n
                if extension.kind == "text":
                    value = self._words[extension.name][value]
                elif extension.scaled:
                    value = (at_price if extension.kind == "price" else at_quantity)[value]
            values.append(value or 0)
        return (present, *values)

    def _refuse(self, wire: Wire) -> None:
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
        for name in DECIMALS:
            text = getattr(wire, name)
            if text is not None:
                scale = at_price.scale if name in _PRICES else at_quantity.scale
                integer_at_scale(text, scale, name)
        for extension in self.extensions:
            text = getattr(wire, extension.name)
            if text is not None and extension.scaled:
                scale = at_price.scale if extension.kind == "price" else at_quantity.scale
                integer_at_scale(text, scale, extension.name)
            elif extension.kind == "text" and text not in (None, *self._words[extension.name]):
                raise Undecodable(
                    f"{extension.name}: {text[:64]!r} is not among its words",
                    cure="declare the word in the instrument table of a new recording",
                )


def _flags(wire: Wire, absent: int) -> int:
    if wire.flags is None:
        kind = flag.TRADE if not absent & flag.NO_PRICE else flag.QUOTE
        return kind | absent | (0 if wire.ts_recv else flag.NO_TS_RECV)
    if wire.flags & flag.KIND_BITS not in _KINDS:
        raise Undecodable(f"flags: expected exactly one kind of tick, was {wire.flags}")
    missing = [n for n, bit in flag.FLAG_NAMES.items() if absent & ~wire.flags & bit]
    raise Undecodable(f"flags: {wire.flags} lacks {', '.join(missing)} for what is absent")
