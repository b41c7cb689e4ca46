"""CSV of trades or quotes, with a map from our columns to those of the file.

Every cell is read as text and converted exactly. The map names header columns, or `#n` counts
columns from 1 in a file without a header, or `=text` stands for every row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc_csv

from parity.model import ticks as flag
from parity.model.errors import ConfigError, InputRefused, did_you_mean
from parity.model.ticks import SCALED, TICK_DTYPE
from parity.sources.importers import decimals
from parity.sources.importers.tables import (
    Found,
    Ints,
    Mask,
    Place,
    Records,
    Scales,
    Survey,
    check_values,
    dense_of,
    refuse_bars,
)
from parity.sources.importers.times import parse_times

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.instruments import InstrumentTable

Columns = dict[str, Any]  # our column name -> dictionary array of texts

KEYS: Final = (
    "ts_event",
    "ts_recv",
    "instrument_token",
    "symbol",
    "price",
    "quantity",
    "side",
    "buyer_maker",
    "bid",
    "ask",
    "bid_quantity",
    "ask_quantity",
    "volume",
    "open_interest",
    "trade_id",
)
_SIDES: Final = {"1": 1, "+1": 1, "buy": 1, "b": 1, "-1": -1, "sell": -1, "s": -1, "0": 0}
_MAKERS: Final = {"true": -1, "1": -1, "false": 1, "0": 1}
_BLOCK_BYTES: Final = 4 << 20


class CsvTickFile:
    """One CSV file, plain or compressed as its suffix says (.gz, .zst, .bz2).

    Args:
        path: the file.
        columns: our column -> header name, `#n` or `=text`; empty takes our own names.
        tz: the zone of naive times, None refuses them.
        instruments: a given instrument table, for files that name no token.

    Raises:
        InputRefused: bars, columns missing, or no way to tell the instrument.
    """

    format = "csv"

    def __init__(
        self,
        path: Path,
        columns: Mapping[str, str],
        *,
        tz: str | None,
        instruments: InstrumentTable | None,
    ) -> None:
        self.path, self._tz, self._given = path, tz, instruments
        self._headerless = any(v.startswith("#") for v in columns.values())
        names = self._names()
        if not self._headerless:
            refuse_bars(path, names)
        self._columns = dict(columns)
        if not self._headerless:
            self._columns |= _same_named(columns, names)
        for key, source in self._columns.items():
            self._check_column(key, source, names)
        self._check_enough(names)

    def survey(self) -> Survey:
        """Parse every value once: instruments, and the decimals that decide their scales."""
        found = Survey(instruments={}, notes={})
        for first_row, columns in self._read():
            place = Place(self.path, "instrument_token", first_row)
            tokens = self._tokens(columns, place)
            found.rows += len(tokens)
            found.rows_without_ts_recv += len(tokens)
            if "ts_recv" in columns:
                _, valid = decimals.codes_of(columns["ts_recv"])
                found.rows_without_ts_recv -= int(valid.sum())
            scales = {
                which: self._decimals(columns, which, place) for which in ("price", "quantity")
            }
            symbols = self._symbols(columns)
            no_venue_time = ~self._valid(columns, "ts_event", len(tokens))
            for token in np.unique(tokens).tolist():
                rows = tokens == token
                symbol = symbols(int(np.argmax(rows))) or str(token)
                seen = found.instruments.setdefault(token, Found(symbol))
                seen.rows += int(rows.sum())
                seen.rows_without_venue_time += int((no_venue_time & rows).sum())
                seen.price_scale = max(seen.price_scale, int(scales["price"][rows].max()))
                seen.quantity_scale = max(seen.quantity_scale, int(scales["quantity"][rows].max()))
        return found

    def batches(self, table: InstrumentTable) -> Iterator[Records]:
        """Yield records of TICK_DTYPE in file order."""
        for first_row, columns in self._read():
            place = Place(self.path, "instrument_token", first_row)
            tokens = self._tokens(columns, place)
            records = np.zeros(len(tokens), TICK_DTYPE)
            records["instrument_token"] = tokens
            dense = dense_of(table, tokens, place)
            records["stream"] = records["offset"] = -1
            self._fill_times(records, columns, place)
            self._fill_scaled(records, columns, dense, Scales(table), place)
            self._fill_integers(records, columns, place)
            self._fill_side(records, columns, place)
            self._fill_kind(records, place)
            check_values(records, dense, table, place)
            yield records

    def _names(self) -> list[str]:
        with self._open(None) as reader:
            try:
                return list(reader.schema.names)
            except UnicodeDecodeError as error:
                raise self._unreadable(error) from None

    def _open(self, columns: list[str] | None) -> Any:
        read = pc_csv.ReadOptions(
            use_threads=False,
            block_size=_BLOCK_BYTES,
            autogenerate_column_names=self._headerless,
        )
        convert = pc_csv.ConvertOptions(
            column_types={c: pa.string() for c in columns or ()},
            include_columns=columns,
            strings_can_be_null=False,
        )
        try:
            return pc_csv.open_csv(self.path, read_options=read, convert_options=convert)
        except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> InputRefused:
        detail = str(error).splitlines()[0]
        return InputRefused(
            f"{self.path}: expected CSV of equal rows, was not ({detail})",
            cure="mend the file, or name its --format",
        )

    def _check_column(self, key: str, source: str, names: list[str]) -> None:
        if key not in KEYS:
            raise ConfigError(f"--map: {key!r} is not a tick column", cure=did_you_mean(key, KEYS))
        if source.startswith("="):
            return
        if self._headerless != source.startswith("#"):
            raise ConfigError(
                f"--map: {key}={source}: names and #n are mixed",
                cure="use #n for every column of a file without a header",
            )
        if self._source(source) in names:
            return
        shown = [f"#{n}" for n in range(1, len(names) + 1)] if self._headerless else names
        raise InputRefused(
            f"{self.path}: column {source!r} (for {key}) is missing",
            cure=did_you_mean(source, shown),
        )

    def _check_enough(self, names: list[str]) -> None:
        have = set(self._columns)
        wanted = None
        if not have & {"ts_event", "ts_recv"}:
            wanted = "ts_event"
        elif not have & {"price", "bid", "ask"}:
            wanted = "price"
        elif "price" in have and "quantity" not in have:
            wanted = "quantity"
        elif {"side", "buyer_maker"} <= have:
            raise ConfigError("--map: side and buyer_maker say the same", cure="give one of them")
        if wanted is not None:
            shown = "" if self._headerless else f" (columns are {', '.join(names)})"
            raise InputRefused(
                f"{self.path}: no column for {wanted}{shown}",
                cure=f"name it: --map {wanted}={'#1' if self._headerless else 'COLUMN'},…",
            )
        one = self._given is not None and len(self._given) == 1
        by_symbol = self._given is not None and "symbol" in have
        if "instrument_token" not in have and not one and not by_symbol:
            raise InputRefused(
                f"{self.path}: no column for instrument_token",
                cure="name it (--map instrument_token=COLUMN, or instrument_token==TOKEN for all "
                "rows), or map symbol and give an --instrument-table",
            )

    def _source(self, source: str) -> str:
        if self._headerless and source[1:].isdigit():
            return f"f{int(source[1:]) - 1}"  # the names pyarrow gives to nameless columns
        return source

    def _read(self) -> Iterator[tuple[int, Columns]]:
        mapped = {k: v for k, v in self._columns.items() if not v.startswith("=")}
        literal = {k: v[1:] for k, v in self._columns.items() if v.startswith("=")}
        wanted = sorted({self._source(v) for v in mapped.values()})
        first_row = 0
        with self._open(wanted) as reader:
            while True:
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
                except pa.ArrowInvalid as error:
                    raise self._unreadable(error) from None
                if len(batch) == 0:
                    continue
                columns = {
                    k: decimals.encode(batch.column(self._source(v))) for k, v in mapped.items()
                }
                for key, text in literal.items():
                    columns[key] = decimals.encode(pa.array([text]).take([0] * len(batch)))
                yield first_row, columns
                first_row += len(batch)

    def _tokens(self, columns: Columns, place: Place) -> Ints:
        if "instrument_token" in columns:
            texts = columns["instrument_token"]
            values, valid = decimals.parse(texts, 0, place)
            self._require(valid, place, "expected an integer")
            return values
        if self._given is None:
            raise AssertionError("a file without tokens needs an instrument table")
        if "symbol" not in columns:
            return np.full(len(next(iter(columns.values()))), self._given.tokens[0], np.int64)
        by_symbol = {i.symbol: i.token for i in self._given}
        there = place.of("symbol")
        known = _lookup(columns["symbol"], by_symbol, there, "a symbol of the instrument table")
        self._require(known[1], there, "expected a symbol")
        return known[0]

    def _symbols(self, columns: Columns) -> Any:
        if "symbol" not in columns:
            return lambda _row: None
        return lambda row: columns["symbol"][row].as_py()

    def _decimals(self, columns: Columns, which: str, place: Place) -> Ints:
        named = [name for name, of in SCALED.values() if of == which and name in columns]
        counts = [decimals.decimals_of(columns[n], place.of(n)) for n in named]
        if not counts:
            return np.zeros(len(next(iter(columns.values()))), np.int64)
        return np.asarray(np.maximum.reduce(counts))

    def _valid(self, columns: Columns, name: str, count: int) -> Mask:
        if name not in columns:
            return np.zeros(count, np.bool_)
        texts = columns[name]
        codes, valid = decimals.codes_of(texts)
        if len(texts.dictionary) == 0:
            return np.zeros(count, np.bool_)
        present = texts.dictionary.is_valid().to_numpy(zero_copy_only=False)
        return np.asarray(valid & present[codes])

    def _require(self, valid: Mask, place: Place, problem: str) -> None:
        if not valid.all():
            place.refuse(int(np.argmin(valid)), "", problem, "mend or drop that row")

    def _fill_times(self, records: Records, columns: Columns, place: Place) -> None:
        known = {}
        for name in ("ts_event", "ts_recv"):
            known[name] = np.zeros(len(records), np.bool_)
            if name in columns:
                records[name], known[name] = parse_times(columns[name], self._tz, place.of(name))
        self._require(known["ts_event"] | known["ts_recv"], place.of("ts_event"), "expected a time")
        records["flags"][~known["ts_recv"]] |= flag.NO_TS_RECV
        # No venue time: the arrival time stands for it, and the flag says so.
        borrowed = ~known["ts_event"]
        records["ts_event"][borrowed] = records["ts_recv"][borrowed]
        records["flags"][borrowed] |= flag.NO_VENUE_TIME

    def _fill_scaled(
        self, records: Records, columns: Columns, dense: Ints, scales: Scales, place: Place
    ) -> None:
        for field, (name, which) in SCALED.items():
            valid = np.zeros(len(records), np.bool_)
            if name in columns:
                there = place.of(name)
                values, valid = decimals.parse(columns[name], scales.recording(which), there)
                records[field] = scales.fit(values, valid, dense, which, there)
            records["flags"][~valid] |= flag.FLAG_NAMES[f"no_{name}"]

    def _fill_integers(self, records: Records, columns: Columns, place: Place) -> None:
        for name, neutral in (("open_interest", 0), ("trade_id", -1)):
            valid = np.zeros(len(records), np.bool_)
            records[name] = neutral
            if name in columns:
                values, valid = decimals.parse(columns[name], 0, place.of(name))
                records[name][valid] = values[valid]
            records["flags"][~valid] |= flag.FLAG_NAMES[f"no_{name}"]

    def _fill_side(self, records: Records, columns: Columns, place: Place) -> None:
        if "side" in columns:
            known = "BUY, SELL, 1, -1, 0 or nothing"
            records["side"] = _lookup(columns["side"], _SIDES, place.of("side"), known)[0]
        elif "buyer_maker" in columns:
            there = place.of("buyer_maker")
            records["side"] = _lookup(columns["buyer_maker"], _MAKERS, there, "true or false")[0]

    def _fill_kind(self, records: Records, place: Place) -> None:
        flags = records["flags"]
        trades = (flags & flag.NO_PRICE) == 0
        quotes = (flags & (flag.NO_BID | flag.NO_ASK)) != flag.NO_BID | flag.NO_ASK
        self._require(trades | quotes, place.of("price"), "expected a price, or a bid or an ask")
        lacking = trades & ((flags & flag.NO_QUANTITY) != 0)
        self._require(~lacking, place.of("quantity"), "expected a quantity")
        records["flags"] = flags | np.where(trades, flag.TRADE, flag.QUOTE).astype(np.uint32)


def _same_named(columns: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return the columns that bear our names and that the map says nothing of."""
    taken = {*columns, *columns.values()}
    if taken & {"side", "buyer_maker"}:
        taken |= {"side", "buyer_maker"}  # they say the same; the one that was named counts
    return {key: key for key in KEYS if key in names and key not in taken}


def _lookup(texts: Any, words: Mapping[str, int], place: Place, known: str) -> tuple[Ints, Mask]:
    """Return the number of each row's word (any case), 0 where the cell is empty."""
    lower = {word.lower(): number for word, number in words.items()}
    numbers, present = [], []
    for code, word in enumerate(texts.dictionary.to_pylist()):
        if word is not None and word.lower() not in lower:
            codes, valid = decimals.codes_of(texts)
            row = int(np.argmax((codes == code) & valid))
            place.refuse(row, word, f"expected {known}", "mend that row, or the --map")
        numbers.append(0 if word is None else lower[word.lower()])
        present.append(word is not None)
    codes, valid = decimals.codes_of(texts)
    if not numbers:
        return np.zeros(len(codes), np.int64), valid
    return np.array(numbers, np.int64)[codes], valid & np.array(present)[codes]
