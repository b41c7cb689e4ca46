"""The native wire format: one message a tick with every tick column exactly, JSON or msgpack.

Prices and quantities are decimal strings, times integer ns UTC, the rest integers under the
columns' own names; a column whose flag says absent is left out. Extension columns that the
instrument table declares stand under their names beside them (a word as itself). seq, stream,
offset and sub are not on the wire: they belong to whoever reads. Where `flags` is left out (a
hand-written producer), they follow from what is there. The market_tick envelope of older services
is read too.

Never here: floats on the way to a price, a guess, or any exception but Undecodable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.sources.codecs import Undecodable, market_tick
from parity.sources.codecs.exact import LIMIT, decimal_text
from parity.sources.codecs.filling import DECIMALS, Filler, Wire, wire_of
from parity.sources.codecs.native_rows import NativeRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from parity.model.extensions import Extension
    from parity.model.instruments import InstrumentTable
    from parity.model.ticks import TickBatch

JSON: Final = "json"
MSGPACK: Final = "msgpack"
_MODULES: Final[dict[str, Any]] = {JSON: msgspec.json, MSGPACK: msgspec.msgpack}
_ENCODE: Final[dict[str, Any]] = {name: m.Encoder().encode for name, m in _MODULES.items()}


class NativeDecoder:
    """Reads native messages and market_tick envelopes into tick records.

    Args:
        table: gives each token its scales; a token that is not in it is refused.
        packing: "json" or "msgpack".
        keep_verdicts: leave the flags as they are on the wire, see `Filler`.
    """

    split = None
    read_many: Callable[..., Sequence[int]] | None = None

    def __init__(
        self, table: InstrumentTable, *, packing: str = JSON, keep_verdicts: bool = False
    ) -> None:
        self._filler = Filler(table, keep_verdicts=keep_verdicts)
        self.dtype = self._filler.dtype
        self._fill = self._filler.fill
        self._packing = packing
        self._decode = _MODULES[packing].Decoder(self._filler.wire).decode
        if packing == JSON and not table.extensions:
            self.read_many = NativeRows(table, self._filler.kept_flags).read

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
            wire: Wire = self._decode(payload or b"")
            if wire.type is not None:
                wire = self._from_envelope(wire)
            self._fill(wire, records, row, stream, offset, broker_ns)
        except Undecodable:
            raise
        except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
            what = str(error) if payload else "expected a tick, was empty"
            raise Undecodable(f"message: {what}") from None

    def _from_envelope(self, envelope: Wire) -> Wire:
        """Return the native form of a market_tick: a conflated snapshot, without aggressor."""
        if envelope.type != "market_tick":
            raise Undecodable(f"type: expected 'market_tick', was {str(envelope.type)[:64]!r}")
        read = market_tick.full_columns if self._filler.extensions else market_tick.columns
        return self._filler.snapshot(flag.SNAPSHOT, read(envelope.data, self._packing))


def decode_into(
    payload: bytes | None, records: npt.NDArray[Any], row: int, table: InstrumentTable
) -> None:
    """Fill one record from one message, verdicts kept; a reader of many keeps a NativeDecoder."""
    NativeDecoder(table, keep_verdicts=True).decode_into(payload, records, row)


def encode(batch: TickBatch, row: int) -> bytes:
    """Return the message of one tick; raises InputRefused where it has more than 18 digits."""
    return encode_batch(batch.slice(row, row + 1))[0]


def encode_batch(batch: TickBatch, packing: str = JSON) -> list[bytes]:
    """Return the messages of all ticks, in order."""
    encode_wire = _ENCODE[packing]
    flags = batch.column("flags")
    decimals = [
        _texts(batch, f"{name}_int", (batch.column(f"{name}_int") == 0) & ((flags & bit) != 0))
        for name, bit in DECIMALS.items()
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
        return [encode_wire(Wire(*row)) for row in rows]
    wire = wire_of(batch.table.extensions)
    columns = [_extension_texts(batch, extension) for extension in batch.table.extensions]
    bare = Wire()
    neither = (bare.type, bare.data)  # of an envelope: the defaults themselves are left out
    beyond = zip(*columns, strict=True)
    return [
        encode_wire(wire(*row, *neither, *more)) for row, more in zip(rows, beyond, strict=True)
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
