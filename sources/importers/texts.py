"""Columns of text to ticks: the one way in for every format that gives its values as text.

A format hands over blocks of columns (our names, dictionary arrays from `decimals.encode`); here
every cell is converted exactly or refused with its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.model.ticks import SCALED
from parity.sources.importers import decimals
from parity.sources.importers.layouts import SIDES, Columns
from parity.sources.importers.tables import (
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
    place_of_words,
)
from parity.sources.importers.times import parse_times
from parity.sources.importers.tokens import Names, not_once, tokens_of
from parity.sources.importers.trade_ids import fill_ids, note_ids

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.extensions import Extension
    from parity.model.instruments import InstrumentTable

_FROM_SOURCE: Final = (
    flag.KIND_BITS | flag.NO_VENUE_TIME | flag.CATCH_UP | flag.WARMUP | flag.HALTED | flag.AUCTION
)
_MAKERS: Final = {"true": -1, "1": -1, "false": 1, "0": 1}


class TextTickFile:
    """A file whose values come as text.

    Args:
        path: the file, for refusals.
        format: its format's name.
        layout: its layout's name.
        read: opens the file anew and gives (rows before the block, columns) block by block; every
            block has the same columns and at least one row.
        has: the columns of ours that `read` gives.
        tz: the zone of naive times, None refuses them.
        given: the --instrument-table, or that of a recording that is appended to.
        grows: whether that table may get instruments that it has not.
        sides: words of the side column.
        describe: (symbol, venue) -> what is known of an instrument.
        only: (venue, symbol) of a file of one instrument that has no column for it.
        finish: called with each block's records and columns.
        empty_book: whether a row without price, bid and ask is a quote: the book is empty.
        names: what refusals call the file's columns, see `Place`.
        left_out: columns of the file that nobody asked for.
        extensions: declared columns beyond the tick's own, each under its name in `read`'s
            columns where it is there; words of a text one are found in the file.

    Raises:
        InputRefused: columns missing, or no way to tell the instrument.
    """

    def __init__(
        self,
        path: Path,
        format: str,
        layout: str,
        read: Callable[[], Iterator[tuple[int, Columns]]],
        has: frozenset[str],
        *,
        tz: str | None = None,
        given: InstrumentTable | None = None,
        grows: bool = False,
        sides: Mapping[str, int] = SIDES,
        describe: Callable[[str, str], Found] = Found,
        only: tuple[str, str] | None = None,
        finish: Callable[[Records, Columns, Place], None] | None = None,
        empty_book: bool = False,
        names: Mapping[str, str] | None = None,
        left_out: Sequence[str] = (),
        extensions: Sequence[Extension] = (),
    ) -> None:
        self.path, self.format, self.layout = path, format, layout
        self.names: Mapping[str, str] = names or {}
        self.left_out = tuple(left_out)
        self._read, self._has, self._tz = read, has, tz
        self._given, self._sides, self._describe = given, sides, describe
        self._grows = grows
        self._only, self._finish, self._empty_book = only, finish, empty_book
        self._extensions = tuple(e for e in extensions if e.name in has)
        own = {name: which for name, which in SCALED.values()}
        self._scaled = own | {e.name: e.kind for e in self._extensions if e.scaled}
        self._check_instrument()

    def survey(self, tell: Tell) -> Survey:
        """Parse every value once: instruments, and the decimals that decide their scales."""
        found = Survey(extensions={e.name: e for e in self._extensions}, left_out=self.left_out)
        names = Names()
        for first_row, columns in self._read():
            place = Place(self.path, "instrument_token", first_row, self.names)
            tokens = self._tokens(columns, place)
            found.rows += len(tokens)
            tell(found.rows)
            if "instrument_token" in columns:
                names.take(tokens, columns, first_row)
            no_ts_recv = ~_present(columns, "ts_recv", len(tokens))
            found.rows_without_ts_recv += int(no_ts_recv.sum())
            found.note_without("ts_recv", no_ts_recv, first_row)
            scales = {
                which: self._decimals(columns, which, place) for which in ("price", "quantity")
            }
            if "trade_id" in columns:
                note_ids(found, columns["trade_id"], place.of("trade_id"))
            for extension in self._extensions:
                if extension.kind == "text":
                    words = columns[extension.name].dictionary.to_pylist()
                    found.note_words(extension.name, words)
            no_venue_time = ~_present(columns, "ts_event", len(tokens))
            found.note_without("ts_event", no_venue_time, first_row)
            for token in np.unique(tokens).tolist():
                rows = tokens == token
                seen = found.instruments.get(token)
                if seen is None:
                    first = int(np.argmax(rows))
                    seen = found.instruments[token] = self._found(columns, first, token)
                    seen.row = first_row + first + 1
                seen.rows += int(rows.sum())
                seen.rows_without_venue_time += int((no_venue_time & rows).sum())
                seen.price_scale = max(seen.price_scale, int(scales["price"][rows].max()))
                seen.quantity_scale = max(seen.quantity_scale, int(scales["quantity"][rows].max()))
        self.complete(found, names)
        return found

    def batches(self, table: InstrumentTable) -> Iterator[Records]:
        """Yield records of the table's dtype in file order."""
        for first_row, columns in self._read():
            place = Place(self.path, "instrument_token", first_row, self.names)
            tokens = self._tokens(columns, place)
            records = np.zeros(len(tokens), table.tick_dtype)
            records["instrument_token"] = tokens
            dense = dense_of(table, tokens, place)
            records["stream"] = records["offset"] = -1
            self._fill_times(records, columns, place)
            self._fill_scaled(records, columns, dense, Scales(table), place)
            self._fill_integers(records, columns, table, place)
            self._fill_side(records, columns, place)
            self._fill_extensions(records, columns, dense, table, place)
            if "flags" in columns:
                self._fill_flags(records, columns["flags"], place.of("flags"))
            else:
                self._fill_kind(records, place)
            if self._finish is not None:
                self._finish(records, columns, place)
            check_values(records, dense, table, place)
            yield records

    # -- which instrument

    def complete(self, found: Survey, names: Names) -> None:
        """Add to a survey what all its rows call the instruments."""
        names.complete(found.instruments, self._describe)
        found.other_name = names.other

    def only_instrument(self, constants: Columns) -> tuple[int, Found]:
        """Return the token and what is known of a file's only instrument.

        Args:
            constants: one row of the columns that say which it is; {} where its name does.
        """
        row = constants or {"price": decimals.encode(pa.array([""]))}
        token = int(self._tokens(row, Place(self.path, "instrument_token", 0))[0])
        return token, self._found(row, 0, token)

    def _check_instrument(self) -> None:
        one = self._given is not None and len(self._given) == 1
        if not (self._has & {"instrument_token", "symbol"}) and self._only is None and not one:
            raise InputRefused(
                f"{self.path}: no column for instrument_token",
                cure="name it (--map instrument_token=COLUMN, or instrument_token==TOKEN for all "
                "rows), or the symbol (symbol=COLUMN, symbol==BTCUSDT), or give an "
                "--instrument-table of one instrument",
            )

    def _found(self, columns: Columns, row: int, token: int) -> Found:
        if "symbol" not in columns and self._only is None:
            return self._describe(str(token), _word(columns, "venue", row))
        venue, symbol = self._only or ("", "")
        said = _word(columns, "symbol", row)
        found = self._describe(said or symbol or str(token), _word(columns, "venue", row) or venue)
        found.named = bool(said or symbol) and "instrument_token" in columns
        return found

    def _tokens(self, columns: Columns, place: Place) -> Ints:
        if "instrument_token" in columns:
            values, valid = decimals.parse(columns["instrument_token"], None, place)
            _require(valid, place, "expected an integer")
            return values
        count = len(next(iter(columns.values())))
        if "symbol" not in columns:
            return np.full(count, self._token_of_all(), np.int64)
        return self._tokens_of_symbols(columns, place.of("symbol"))

    def _token_of_all(self) -> int:
        if self._only is None:
            if self._given is None:
                raise AssertionError("a file without tokens needs an instrument table")
            return int(self._given.tokens[0])
        venue, symbol = self._only
        named = tokens_of(self._given, venue, symbol, grows=self._grows)
        if len(named) != 1:
            problem, cure = not_once(named, venue)
            raise InputRefused(f"{self.path}: symbol: {problem}, was {symbol!r}", cure=cure)
        return named[0]

    def _tokens_of_symbols(self, columns: Columns, place: Place) -> Ints:
        symbols, valid = decimals.codes_of(columns["symbol"])
        _require(valid & _present(columns, "symbol", len(symbols)), place, "expected a symbol")
        names = columns["symbol"].dictionary.to_pylist()
        venues: list[str | None] = [self._only[0] if self._only else ""]
        at = np.zeros(len(symbols), np.int64)
        if "venue" in columns:
            at, there = decimals.codes_of(columns["venue"])
            venues = [*columns["venue"].dictionary.to_pylist(), ""]
            at = np.where(there, at, len(venues) - 1)
        pairs = at * len(names) + symbols
        found = np.zeros(len(names) * len(venues), np.int64)
        for pair in np.flatnonzero(np.bincount(pairs)).tolist():
            venue, symbol = venues[pair // len(names)] or "", names[pair % len(names)] or ""
            tokens = tokens_of(self._given, venue, symbol, grows=self._grows)
            if len(tokens) != 1:
                place.refuse(int(np.argmax(pairs == pair)), symbol, *not_once(tokens, venue))
            found[pair] = tokens[0]
        return np.asarray(found[pairs])

    # -- scales

    def _decimals(self, columns: Columns, which: str, place: Place) -> Ints:
        named = [name for name, of in self._scaled.items() if of == which and name in columns]
        counts = [decimals.decimals_of(columns[n], place.of(n)) for n in named]
        if not counts:
            return np.zeros(len(next(iter(columns.values()))), np.int64)
        return np.asarray(np.maximum.reduce(counts))

    # -- values

    def _fill_times(self, records: Records, columns: Columns, place: Place) -> None:
        known = {}
        for name in ("ts_event", "ts_recv"):
            known[name] = np.zeros(len(records), np.bool_)
            if name in columns:
                records[name], known[name] = parse_times(columns[name], self._tz, place.of(name))
        _require(known["ts_event"] | known["ts_recv"], place.of("ts_event"), "expected a time")
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

    def _fill_integers(
        self, records: Records, columns: Columns, table: InstrumentTable, place: Place
    ) -> None:
        if "open_interest" in columns:
            there = place.of("open_interest")
            values, valid = decimals.parse(columns["open_interest"], None, there)
            records["open_interest"] = values
            records["flags"][~valid] |= flag.NO_OPEN_INTEREST
        else:
            records["flags"] |= flag.NO_OPEN_INTEREST
        if "trade_id" in columns:
            fill_ids(records, columns["trade_id"], table, place.of("trade_id"))
        else:
            records["trade_id"] = -1
            records["flags"] |= flag.NO_TRADE_ID

    def _fill_side(self, records: Records, columns: Columns, place: Place) -> None:
        if "side" in columns:
            known = f"{', '.join(self._sides).upper()} or nothing"
            records["side"] = _lookup(columns["side"], self._sides, place.of("side"), known)[0]
        elif "buyer_maker" in columns:
            there = place.of("buyer_maker")
            records["side"] = _lookup(columns["buyer_maker"], _MAKERS, there, "true or false")[0]

    def _fill_extensions(
        self, records: Records, columns: Columns, dense: Ints, table: InstrumentTable, place: Place
    ) -> None:
        scales = Scales(table)
        for extension in self._extensions:
            name, texts, there = extension.name, columns[extension.name], place.of(extension.name)
            if extension.kind == "text":
                codes, _ = decimals.codes_of(texts)
                words = place_of_words(table, name, texts.dictionary.to_pylist())
                values, valid = words[codes], _present(columns, name, len(records))
            elif extension.scaled:
                values, valid = decimals.parse(texts, scales.recording(extension.kind), there)
                values = scales.fit(values, valid, dense, extension.kind, there)
            else:
                values, valid = decimals.integers(texts, there)
            fill_extension(records, table, name, values, valid)

    def _fill_flags(self, records: Records, texts: Any, place: Place) -> None:
        # Of parity export: what a tick is and what its source knew; verdicts are judged anew.
        codes, valid = decimals.codes_of(texts)
        bits = []
        for code, text in enumerate(texts.dictionary.to_pylist()):
            words = [] if text is None else text.split("|")
            found = sum(flag.FLAG_NAMES.get(word, 0) for word in set(words))
            kinds = (found & flag.KIND_BITS).bit_count()
            if kinds != 1 or not set(words) <= set(flag.FLAG_NAMES):
                at = int(np.argmax((codes == code) & valid))
                place.refuse(at, text, "expected flags of a tick", "export it again")
            bits.append(found & _FROM_SOURCE)
        _require(valid, place, "expected flags of a tick")
        records["flags"] |= np.array(bits, np.uint32)[codes]

    def _fill_kind(self, records: Records, place: Place) -> None:
        kinds, priced, whole = self._kinds_of(records["flags"])
        _require(priced, place.of("price"), "expected a price, or a bid or an ask")
        _require(whole, place.of("quantity"), "expected a quantity")
        records["flags"] |= kinds

    def _kinds_of(self, flags: Any) -> tuple[Any, Mask, Mask]:
        trades = (flags & flag.NO_PRICE) == 0
        quotes = (flags & (flag.NO_BID | flag.NO_ASK)) != flag.NO_BID | flag.NO_ASK
        lacking = trades & ((flags & flag.NO_QUANTITY) != 0)
        kinds = np.where(trades, flag.TRADE, flag.QUOTE).astype(np.uint32)
        return kinds, np.asarray(trades | quotes | self._empty_book), np.asarray(~lacking)

    def kinds_of(self, flags: Any) -> Any:
        """Return whether ticks of such flags are trades or quotes, as bits; None if one is neither.

        Args:
            flags: what the ticks lack, of each or of all.
        """
        kinds, priced, whole = self._kinds_of(flags)
        return kinds if priced.all() and whole.all() else None


def _word(columns: Columns, name: str, row: int) -> str:
    if name not in columns:
        return ""
    found: str | None = columns[name][row].as_py()
    return found or ""


def _present(columns: Columns, name: str, count: int) -> Mask:
    if name not in columns:
        return np.zeros(count, np.bool_)
    texts = columns[name]
    codes, valid = decimals.codes_of(texts)
    if len(texts.dictionary) == 0:
        return np.zeros(count, np.bool_)
    present = texts.dictionary.is_valid().to_numpy(zero_copy_only=False)
    return np.asarray(valid & present[codes])


def _require(valid: Mask, place: Place, problem: str) -> None:
    if not valid.all():
        place.refuse(int(np.argmin(valid)), "", problem, "mend or drop that row")


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
    known_rows = valid & np.array(present)[codes]
    return np.where(known_rows, np.array(numbers, np.int64)[codes], 0), known_rows
