"""NautilusTrader catalog files: TradeTick and QuoteTick in Parquet, in both of their schemas.

Until 2025 a price is a FixedSizeBinary, little-endian, with 9 decimals in 8 bytes or 16 in 16, the
aggressor a number and times uint64; later it is Decimal128(38, 16), a word, and timestamps. The
precisions stand in the file's metadata; the instrument stands there, in a column, or in the name of
the folder. Times are ns; ts_init is when the tick reached the program, so it is our ts_recv.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as typed_pc
import pyarrow.parquet as pq

from parity.model.errors import InputRefused
from parity.sources.importers import decimals
from parity.sources.importers.formats import Match
from parity.sources.importers.tables import BATCH_ROWS, BATCH_ROWS_MIN, Found, Place, other_names
from parity.sources.importers.texts import TextTickFile
from parity.sources.importers.vendors import CountingTickFile, Notes, instants

if TYPE_CHECKING:
    from pathlib import Path

    from parity.sources.importers.formats import Options
    from parity.sources.importers.layouts import Columns
    from parity.sources.importers.sample import Sample
    from parity.sources.importers.shares import Shares

pc: Any = typed_pc  # its stubs refuse plain Python scalars, which it takes

_TRADE: Final = {"price": "price", "size": "quantity"}
_QUOTE: Final = {
    "bid_price": "bid",
    "ask_price": "ask",
    "bid_size": "bid_quantity",
    "ask_size": "ask_quantity",
}
_TIMES: Final = {"ts_event": "ts_event", "ts_init": "ts_recv"}
_LAYOUTS: Final = {
    "trades": {*_TRADE, *_TIMES, "aggressor_side", "trade_id"},
    "quotes": {*_QUOTE, *_TIMES},
}
_SIDES: Final = {
    "0": 0, "1": 1, "2": -1,
    "no_aggressor": 0, "buy": 1, "buyer": 1, "sell": -1, "seller": -1,
}  # fmt: skip
_DECIMALS: Final = {8: 9, 16: 16}  # bytes of a fixed-point value -> digits behind the point
_NAMES: Final = ("identifier", "instrument_id")
_NOISE: Final = Decimal(2) ** -51  # of a value: what two roundings of a float leave behind


class NautilusFormat:
    """Trades and quotes of a NautilusTrader data catalog."""

    name = "nautilus"

    def recognise(self, sample: Sample, options: Options) -> list[Match]:
        """Recognise the columns of TradeTick or QuoteTick."""
        schema = sample.schema if sample.kind == "parquet" else None
        if schema is None:
            return []
        return [
            Match(self.name, layout, "its columns and ts_init")
            for layout, wanted in _LAYOUTS.items()
            if wanted <= set(schema.names)
        ]

    def open(self, sample: Sample, match: Match | None, options: Options) -> CountingTickFile:
        """Open it; a file of another type of the catalog is refused."""
        if match is None:
            raise _refusal(sample)
        return _open(sample.path, sample.schema, match.layout, options)


FORMAT: Final = NautilusFormat()


def _refusal(sample: Sample) -> InputRefused:
    schema = sample.schema if sample.kind == "parquet" else None
    shown = sample.kind if schema is None else f"columns {', '.join(schema.names)}"
    return InputRefused(
        f"{sample.path}: not a NautilusTrader TradeTick or QuoteTick file ({shown})",
        cure="give the catalog's trade_tick or quote_tick files, of which docs/import/nautilus.md "
        "shows the columns; bars, deltas and depths are not ticks",
    )


def _open(path: Path, schema: Any, layout: str, options: Options) -> CountingTickFile:
    metadata = {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()}
    values = _TRADE if layout == "trades" else _QUOTE
    columns = {**_TIMES, **values}
    if layout == "trades":
        columns |= {"aggressor_side": "side", "trade_id": "trade_id"}
    name = next((n for n in _NAMES if n in schema.names), None)
    only = None if name else _split(metadata.get("instrument_id") or path.parent.name)
    if name is None and only is None and options.given is None:
        raise InputRefused(
            f"{path}: neither metadata, an identifier column nor the folder names the instrument",
            cure="put it into a folder of the instrument's id (BTCUSDT.BINANCE), or give an "
            "--instrument-table of one instrument",
        )
    scales = {
        which: _precision(path, metadata, key)
        for which, key in (("price", "price_precision"), ("quantity", "size_precision"))
    }
    reader = _Reader(path, columns, name, scales, options.shares)
    file = TextTickFile(
        path,
        FORMAT.name,
        layout,
        reader.blocks,
        frozenset(columns.values()) | ({"symbol", "venue"} if name else set()),
        given=options.given,
        grows=options.grows,
        sides=_SIDES,
        describe=reader.describe,
        only=only,
        names=reader.names,
    )
    return CountingTickFile(file, reader.notes)


def _precision(path: Path, metadata: dict[str, str], key: str) -> int | None:
    text = metadata.get(key)
    if text is None:
        return None
    if not text.isdigit() or int(text) > max(_DECIMALS.values()):
        raise InputRefused(
            f"{path}: metadata {key}: expected 0 to 16, was {text!r}",
            cure="write the file again from its catalog",
        )
    return int(text)


def _split(name: str) -> tuple[str, str] | None:
    """Return (venue, symbol) of an instrument id; the venue stands behind the last point."""
    symbol, point, venue = name.rpartition(".")
    return (venue, symbol) if point and symbol and venue else None


class _Reader:
    """Reads blocks of a file as columns of text in our names."""

    def __init__(
        self,
        path: Path,
        columns: dict[str, str],
        name: str | None,
        scales: dict[str, int | None],
        shares: Shares,
    ) -> None:
        self._shares = shares
        self.notes = Notes()
        self._path, self._columns, self._name, self._scales = path, columns, name, scales
        self.names = other_names({ours: theirs for theirs, ours in columns.items()})

    def describe(self, symbol: str, venue: str) -> Found:
        """Return what an id and the metadata say of an instrument."""
        return Found(
            symbol,
            venue,
            "perp" if symbol.endswith("-PERP") else "spot",
            price_scale=self._scales["price"] or 0,
            quantity_scale=self._scales["quantity"] or 0,
        )

    def blocks(self) -> Iterator[tuple[int, Columns]]:
        """Yield (rows before, columns) block by block."""
        wanted = [*self._columns, *([self._name] if self._name else [])]
        first_row = 0
        with pq.ParquetFile(self._path, pre_buffer=False) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=wanted, use_threads=False):
                for at, rows in self._shares.slices(batch, BATCH_ROWS, BATCH_ROWS_MIN):
                    place = Place(self._path, "", first_row + at, self.names)
                    yield first_row + at, self._block(rows, place)
                first_row += len(batch)

    def _block(self, batch: Any, place: Place) -> Columns:
        found: Columns = {}
        for theirs, ours in self._columns.items():
            column, there = batch.column(theirs), place.of(ours)
            if theirs in _TIMES:
                found[ours] = instants(column, there)
            elif theirs in ("trade_id", "aggressor_side"):
                found[ours] = decimals.encode(column.cast(pa.string()))
            else:
                which = "quantity" if ours.endswith("quantity") else "price"
                found[ours] = self._values(column, which, there)
        if self._name is not None:
            found |= _named(batch.column(self._name), place.of(self._name))
        return found

    def _values(self, column: Any, which: str, place: Place) -> Any:
        exact = _exact(column, which, place).dictionary_encode()
        words = exact.dictionary.cast(pa.string())
        scale = self._scales[which]
        if scale is not None:
            words = self._without_noise(words, scale, exact, place)
        return decimals.encode(pa.DictionaryArray.from_arrays(exact.indices, words))

    def _without_noise(self, words: Any, scale: int, exact: Any, place: Place) -> Any:
        """Return decimals at the declared precision.

        Files written through floats carry digits behind their precision, which their program
        rounds away when it reads them. What is no larger than a float's own error is taken so.
        """
        finer = pc.match_substring_regex(words, rf"\.[0-9]{{{scale}}}[0-9]*[1-9]")
        if not pc.any(finer).as_py():
            return words
        found = words.to_pylist()
        for code in np.flatnonzero(finer.fill_null(False).to_numpy(zero_copy_only=False)):
            value = Decimal(found[code])
            near = round(value, scale)
            rows = (exact.indices.fill_null(-1).to_numpy(zero_copy_only=False)) == code
            if abs(value - near) > abs(value) * _NOISE:
                place.refuse(
                    int(np.argmax(rows)),
                    found[code],
                    f"more decimals than the precision {scale} of the metadata",
                    "write the file again from its source, with the instrument's precision",
                )
            found[code] = f"{near:f}"
            self.notes.add(
                f"{place.column}: digits of a float behind the precision were left out",
                int(rows.sum()),
            )
        return pa.array(found, pa.string())


def _exact(column: Any, which: str, place: Place) -> Any:
    """Return a column of values as decimal128, null where Nautilus says "undefined"."""
    kind = column.type
    if pa.types.is_decimal(kind):
        return column.cast(pa.decimal128(38, kind.scale))
    width = kind.byte_width if pa.types.is_fixed_size_binary(kind) else 0
    if width not in _DECIMALS:
        place.refuse(
            0,
            str(kind),
            "expected Decimal128, or FixedSizeBinary of 8 or 16 bytes",
            "write the file again with a NautilusTrader of 2025 or later",
        )
    data = np.frombuffer(column.buffers()[1], np.uint8)
    raw = data[column.offset * width : (column.offset + len(column)) * width].view("<u8")
    halves = np.zeros((len(column), 2), "<u8")  # low and high half of 128 bits
    halves[:, : width // 8] = raw.reshape(-1, width // 8)
    last = halves[:, width // 8 - 1]
    if which == "price":  # signed; the largest value means none
        rest = halves[:, 0] if width == 16 else last
        undefined = (last == 2**63 - 1) & ((rest == 2**64 - 1) | (width == 8))
        if width == 8:
            halves[:, 1] = np.where(last >> np.uint64(63), np.uint64(2**64 - 1), np.uint64(0))
    else:  # unsigned
        undefined = (halves[:, : width // 8] == 2**64 - 1).all(axis=1)
    valid = column.is_valid().to_numpy(zero_copy_only=False) & ~undefined
    bits = pa.array(valid).buffers()[1]
    made = pa.decimal128(38, _DECIMALS[width])
    return pa.Array.from_buffers(made, len(column), [bits, pa.py_buffer(halves.tobytes())])


def _named(column: Any, place: Place) -> Columns:
    texts = decimals.encode(column.cast(pa.string()))
    words = texts.dictionary.to_pylist()
    pairs = [(None, None) if w is None else _split(w) for w in words]
    if None in pairs:
        code = pairs.index(None)
        row = int(np.argmax(texts.indices.fill_null(-1).to_numpy(zero_copy_only=False) == code))
        place.refuse(row, words[code], "expected SYMBOL.VENUE", "mend that row")
    split = {"venue": [p and p[0] for p in pairs], "symbol": [p and p[1] for p in pairs]}
    return {
        ours: decimals.encode(
            pa.DictionaryArray.from_arrays(texts.indices, pa.array(found, pa.string()))
        )
        for ours, found in split.items()
    }
