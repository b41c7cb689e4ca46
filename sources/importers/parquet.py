"""Parquet files of trades or quotes with exact integers beside the decimal text.

Known by their columns: `instrument_token, ts_event, price_scale` and `price_i, quantity_i, side`
(trades) or `bid_i, ask_i` (quotes). The integers are taken and must equal the text; a file whose
two halves disagree is refused, since nobody can say which one is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from parity.model import ticks as flag
from parity.model.errors import InputRefused, did_you_mean
from parity.model.instruments import SCALE_MAX
from parity.sources.importers import decimals
from parity.sources.importers.formats import Match
from parity.sources.importers.tables import (
    BATCH_ROWS,
    BATCH_ROWS_MIN,
    Found,
    Ints,
    Mask,
    Place,
    Records,
    Scales,
    Survey,
    Tell,
    check_values,
    dense_of,
    fill_extension,
    other_names,
    place_of_words,
    refuse_bars,
)
from parity.sources.importers.tokens import Names
from parity.sources.importers.trade_ids import fill_ids, note_ids

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.instruments import InstrumentTable
    from parity.sources.importers.formats import Options
    from parity.sources.importers.sample import Sample
    from parity.sources.importers.shares import Shares

_BOTH: Final = ("instrument", "instrument_token", "venue", "ts_event", "price_scale")
_TRADE: Final = ("price", "price_i", "quantity", "quantity_i", "quantity_scale", "side")
_QUOTE: Final = ("bid", "ask", "bid_i", "ask_i", "bid_qty", "ask_qty")
_KINDS: Final = {
    "BINANCE-SPOT": "spot",
    "BINANCE-USDM": "perp",
    "BINANCE-COINM": "inverse",
    "US-CONSOLIDATED": "equity",
    "FXCM": "fx",
    "COMEX": "future",
}
_NO_VENUE_TIME: Final = "ts=recv"  # what the text flags say where ts_event is the arrival time
CONDITIONS: Final = "conditions"  # the text extension that keeps other text flags (sale conditions)
_NO_BOOK: Final = flag.NO_BID | flag.NO_ASK | flag.NO_BID_QUANTITY | flag.NO_ASK_QUANTITY
_NO_DAY: Final = flag.NO_VOLUME | flag.NO_OPEN_INTEREST


class ParquetTickFile:
    """One Parquet file of trades or of quotes.

    Args:
        path: the file.
        shares: how much is read at a time.

    Raises:
        InputRefused: not Parquet, bars, or columns missing.
    """

    format = "parquet"
    names: Mapping[str, str] = other_names(
        {"symbol": "instrument", "bid_quantity": "bid_qty", "ask_quantity": "ask_qty"}
    )

    def __init__(self, path: Path, shares: Shares) -> None:
        self.path, self._shares = path, shares
        try:
            self._schema: dict[str, pa.DataType] = {f.name: f.type for f in pq.read_schema(path)}
        except pa.ArrowInvalid as error:
            raise InputRefused(
                f"{path}: expected a Parquet file, was not one ({str(error).splitlines()[0]})",
                cure="take the file again from where it came, or name its --format",
            ) from None
        refuse_bars(path, list(self._schema))
        self.trades = "bid_i" not in self._schema
        self.layout = "trades" if self.trades else "quotes"
        self._has_conditions = "flags" in self._schema
        for name in (*_BOTH, *(_TRADE if self.trades else _QUOTE)):
            if name not in self._schema:
                raise InputRefused(
                    f"{path}: column {name!r} is missing (columns are {', '.join(self._schema)})",
                    cure=did_you_mean(name, set(self._schema)),
                )

    def survey(self, tell: Tell) -> Survey:
        """Read tokens, names, scales and which times are absent; prices wait for the next pass."""
        found, names = Survey(), Names()
        wanted = [*_BOTH, "quantity_scale", "ts_recv", "flags", "trade_id", "bid_qty", "ask_qty"]
        for first_row, batch in self._read(wanted):
            found.rows += len(batch)
            tell(found.rows)
            no_ts_recv = ~_valid(batch, "ts_recv")
            found.rows_without_ts_recv += int(no_ts_recv.sum())
            found.note_without("ts_recv", no_ts_recv, first_row)
            without = _equals(batch, "flags", _NO_VENUE_TIME)
            found.note_without("ts_event", without, first_row)
            if self._has_conditions and _valid(batch, "flags").any():
                words = decimals.encode(batch.column("flags")).dictionary.to_pylist()
                found.note_words(CONDITIONS, (w for w in words if w != _NO_VENUE_TIME))
            if self._has_texts():
                place = Place(self.path, "trade_id", first_row)
                note_ids(found, decimals.encode(batch.column("trade_id")), place)
            tokens = self._required(batch, "instrument_token", first_row)
            who = {"symbol": "instrument", "venue": "venue"}
            texts = {ours: decimals.encode(batch.column(theirs)) for ours, theirs in who.items()}
            names.take(tokens, texts, first_row)
            scales = self._scale(batch, "price_scale", first_row)
            decimals_found = self._quantity_decimals(batch, first_row)
            for token in np.unique(tokens).tolist():
                rows = tokens == token
                seen = found.instruments.get(token)
                if seen is None:
                    first = int(np.argmax(rows))
                    seen = found.instruments[token] = self._found(batch, first)
                    seen.row = first_row + first + 1
                seen.rows += int(rows.sum())
                seen.rows_without_venue_time += int((without & rows).sum())
                seen.price_scale = max(seen.price_scale, int(scales[rows].max()))
                seen.quantity_scale = max(seen.quantity_scale, int(decimals_found[rows].max()))
        names.complete(found.instruments, _describe)
        found.other_name = names.other
        return found

    def batches(self, table: InstrumentTable) -> Iterator[Records]:
        """Yield records of the table's dtype in file order; every value is checked."""
        for first_row, batch in self._read(list(self._schema)):
            place = Place(self.path, "instrument_token", first_row, self.names)
            records = np.zeros(len(batch), table.tick_dtype)
            records["instrument_token"] = self._required(batch, "instrument_token", first_row)
            dense = dense_of(table, records["instrument_token"], place)
            records["ts_event"] = self._required(batch, "ts_event", first_row)
            records["stream"] = records["offset"] = -1
            self._ids(records, batch, table, place.of("trade_id"))
            if self.trades:
                records["flags"] |= flag.TRADE | _NO_BOOK | _NO_DAY
                self._fill_trades(records, batch, dense, Scales(table), place)
            else:
                records["flags"] |= flag.QUOTE | flag.NO_PRICE | flag.NO_QUANTITY | _NO_DAY
                self._fill_quotes(records, batch, dense, Scales(table), place)
            if any(e.name == CONDITIONS for e in table.extensions):
                self._fill_conditions(records, batch, table)
            check_values(records, dense, table, place)
            yield records

    def _fill_conditions(self, records: Records, batch: Any, table: InstrumentTable) -> None:
        if not self._has_conditions:
            return
        texts = decimals.encode(batch.column("flags"))
        words = [None if w == _NO_VENUE_TIME else w for w in texts.dictionary.to_pylist()]
        codes, valid = decimals.codes_of(texts)
        said = np.array([w is not None for w in words] or [False])
        values = place_of_words(table, CONDITIONS, words)[codes]
        fill_extension(records, table, CONDITIONS, values, valid & said[codes])

    def _read(self, wanted: list[str]) -> Iterator[tuple[int, Any]]:
        texts = [n for n, t in self._schema.items() if pa.types.is_string(t)]
        columns = [n for n in wanted if n in self._schema]
        first_row = 0
        with pq.ParquetFile(self.path, read_dictionary=texts, pre_buffer=False) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                for at, rows in self._shares.slices(batch, BATCH_ROWS, BATCH_ROWS_MIN):
                    yield first_row + at, rows
                first_row += len(batch)

    def _found(self, batch: Any, row: int) -> Found:
        symbol, venue = (batch.column(name)[row].as_py() or "" for name in ("instrument", "venue"))
        found = _describe(symbol, venue)
        found.named = bool(symbol)
        return found

    def _quantity_decimals(self, batch: Any, first_row: int) -> Ints:
        if self.trades:
            return self._scale(batch, "quantity_scale", first_row)
        sides = []
        for side in ("bid", "ask"):
            text = decimals.encode(batch.column(f"{side}_qty"))
            place = Place(self.path, f"{side}_quantity", first_row, self.names)
            sides.append(decimals.decimals_of(text, place))
        return np.maximum(*sides)

    def _scale(self, batch: Any, name: str, first_row: int) -> Ints:
        scales = self._required(batch, name, first_row)
        wrong = (scales < 0) | (scales > SCALE_MAX)
        if wrong.any():
            row = int(np.argmax(wrong))
            problem = f"expected a scale of 0..{SCALE_MAX}"
            place = Place(self.path, name, first_row)
            place.refuse(row, int(scales[row]), problem, "make the file again from its source")
        return scales

    def _required(self, batch: Any, name: str, first_row: int) -> Ints:
        column = batch.column(name)
        if column.null_count:
            row = int(np.argmin(_valid(batch, name)))
            place = Place(self.path, name, first_row)
            place.refuse(row, None, "expected an integer", "mend or drop that row")
        return np.asarray(column.to_numpy(zero_copy_only=False)).astype(np.int64)

    def _has_texts(self) -> bool:
        kind = self._schema.get("trade_id")
        return kind is not None and (pa.types.is_string(kind) or pa.types.is_large_string(kind))

    def _ids(self, records: Records, batch: Any, table: InstrumentTable, place: Place) -> None:
        if self._has_texts():
            fill_ids(records, decimals.encode(batch.column("trade_id")), table, place)
        for name, absent, neutral in (
            ("ts_recv", flag.NO_TS_RECV, 0),
            ("trade_id", flag.NO_TRADE_ID, -1),
        ):
            if name == "trade_id" and self._has_texts():
                continue
            valid = _valid(batch, name)
            records[name] = _integers(batch, name, neutral)
            records["flags"][~valid] |= absent
        records["flags"][_equals(batch, "flags", _NO_VENUE_TIME)] |= flag.NO_VENUE_TIME

    def _fill_trades(
        self, records: Records, batch: Any, dense: Ints, scales: Scales, place: Place
    ) -> None:
        for name in ("price", "quantity"):
            values, valid = self._exact(batch, name, f"{name}_scale", scales, name, place)
            if not valid.all():
                row = int(np.argmin(valid))
                place.of(name).refuse(row, None, "expected a decimal", "mend or drop that row")
            records[f"{name}_int"] = scales.fit(values, valid, dense, name, place.of(name))
        sides = _integers(batch, "side", 0)
        wrong = np.abs(sides) > 1
        if wrong.any():
            row = int(np.argmax(wrong))
            place.of("side").refuse(row, int(sides[row]), "expected 1, -1 or 0", "mend that row")
        records["side"] = sides

    def _fill_quotes(
        self, records: Records, batch: Any, dense: Ints, scales: Scales, place: Place
    ) -> None:
        for side in ("bid", "ask"):
            absent = flag.FLAG_NAMES[f"no_{side}"]
            values, valid = self._exact(batch, side, "price_scale", scales, "price", place)
            records[f"{side}_int"] = scales.fit(values, valid, dense, "price", place.of(side))
            records["flags"][~valid] |= absent
            name = f"{side}_qty"
            text = decimals.encode(batch.column(name))
            there = place.of(f"{side}_quantity")
            values, valid = decimals.parse(text, scales.recording("quantity"), there)
            values = scales.fit(values, valid, dense, "quantity", there)
            records[f"{side}_quantity_int"] = values
            records["flags"][~valid] |= flag.FLAG_NAMES[f"no_{side}_quantity"]

    def _exact(
        self, batch: Any, name: str, scale_name: str, scales: Scales, which: str, place: Place
    ) -> tuple[Ints, Mask]:
        """Return values at the recording's scale; the integer column must equal the text."""
        scale = scales.recording(which)
        there = place.of(name)
        values, valid = decimals.parse(decimals.encode(batch.column(name)), scale, there)
        own = self._required(batch, scale_name, place.first_row)
        integers = _integers(batch, f"{name}_i", 0)
        # By division, since a product of two good numbers may not fit 64 bits.
        larger, smaller = np.maximum(scale - own, 0), np.maximum(own - scale, 0)
        here, rest = np.divmod(values, np.power(np.int64(10), larger))
        file, cut = np.divmod(integers, np.power(np.int64(10), smaller))
        equal = (here == file) & (rest == 0) & (cut == 0)
        equal &= valid == _valid(batch, f"{name}_i")
        if not equal.all():
            row = int(np.argmin(equal))
            there.refuse(
                row,
                batch.column(name)[row].as_py(),
                f"the text and {name}_i ({int(integers[row])} at scale {int(own[row])}) differ",
                "make the file again from its source",
            )
        return values, valid


class ParquetFormat:
    """Parquet with exact integers beside the decimal text."""

    name = "parquet"

    def recognise(self, sample: Sample, options: Options) -> list[Match]:
        """Recognise a schema with our token, time and scale; of others the reader says more."""
        if sample.schema is None or sample.kind != "parquet":
            return []
        names = set(sample.schema.names)
        if not names >= set(_BOTH):
            return []
        layout = "quotes" if "bid_i" in names else "trades"
        return [Match(self.name, layout, "its columns")]

    def open(self, sample: Sample, match: Match | None, options: Options) -> ParquetTickFile:
        """Open it, or refuse it by its columns."""
        return ParquetTickFile(sample.path, options.shares)


FORMAT: Final = ParquetFormat()


def _describe(symbol: str, venue: str) -> Found:
    contract_size = "1"
    if venue == "BINANCE-COINM":  # contracts of 100 USD on bitcoin, of 10 USD on the others
        contract_size = "100" if symbol.startswith("BTCUSD") else "10"
    return Found(symbol, venue, _KINDS.get(venue, "spot"), contract_size=contract_size)


def _valid(batch: Any, name: str) -> Mask:
    if name not in batch.schema.names:
        return np.zeros(len(batch), np.bool_)
    return np.asarray(batch.column(name).is_valid().to_numpy(zero_copy_only=False))


def _integers(batch: Any, name: str, neutral: int) -> Ints:
    if name not in batch.schema.names:
        return np.full(len(batch), neutral, np.int64)
    column = batch.column(name).fill_null(neutral)
    return np.asarray(column.to_numpy(zero_copy_only=False)).astype(np.int64)


def _equals(batch: Any, name: str, word: str) -> Mask:
    if name not in batch.schema.names:
        return np.zeros(len(batch), np.bool_)
    texts = decimals.encode(batch.column(name))
    codes, valid = decimals.codes_of(texts)
    known = np.array([w == word for w in texts.dictionary.to_pylist()] or [False])
    return np.asarray(known[codes] & valid)
