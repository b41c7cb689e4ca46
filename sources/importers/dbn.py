"""Ticks of Databento's binary files (DBN, versions 1 to 3): the schemas trades, mbp-1 and tbbo.

Records of one size, little-endian, prices as integers of 1e-9 and times in ns UTC. What a row means
is as in their CSV, which `databento` reads: the same ticks come out of both.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from parity.model import ticks as flag
from parity.model.errors import ConfigError, InputRefused
from parity.recording.inspect import decimal_text, iso
from parity.sources.importers.dbn_header import layout_of, read_header
from parity.sources.importers.decimals import DIGITS_MAX
from parity.sources.importers.sample import UNPACKING_ERRORS
from parity.sources.importers.tables import (
    BATCH_ROWS,
    BATCH_ROWS_MIN,
    Found,
    Place,
    Scales,
    Survey,
    Tell,
    check_values,
    dense_of,
    other_names,
)
from parity.sources.importers.tokens import not_once, tokens_of

if TYPE_CHECKING:
    from parity.model.instruments import InstrumentTable
    from parity.sources.importers.dbn_header import Header
    from parity.sources.importers.formats import Options
    from parity.sources.importers.sample import Sample
    from parity.sources.importers.tables import Ints, Mask, Records

_TRADE: Final = [
    ("length", "u1"), ("rtype", "u1"), ("publisher_id", "<u2"), ("instrument_id", "<u4"),
    ("ts_event", "<u8"), ("price", "<i8"), ("size", "<u4"), ("action", "S1"), ("side", "S1"),
    ("flags", "u1"), ("depth", "u1"), ("ts_recv", "<u8"), ("ts_in_delta", "<i4"),
    ("sequence", "<u4"),
]  # fmt: skip
_BOOK: Final = [
    ("bid_px_00", "<i8"), ("ask_px_00", "<i8"), ("bid_sz_00", "<u4"), ("ask_sz_00", "<u4"),
    ("bid_ct_00", "<u4"), ("ask_ct_00", "<u4"),
]  # fmt: skip
_SENT: Final = [("ts_out", "<u8")]
_RTYPES: Final = {"trades": 0, "mbp-1": 1}
_COLUMNS: Final = {
    "price": "price", "quantity": "size", "bid": "bid_px_00", "ask": "ask_px_00",
    "bid_quantity": "bid_sz_00", "ask_quantity": "ask_sz_00", "symbol": "instrument_id",
}  # fmt: skip
_SIDES: Final = {b"B": 1, b"A": -1, b"N": 0, b"": 0}
_ACTIONS: Final = {"trades": (b"T",), "mbp-1": (b"T", b"A", b"M", b"C", b"R", b"F", b"N")}
# What a record's flags say beside what it is.
_NOTES: Final = {
    8: "ts_recv is marked as inaccurate by Databento (F_BAD_TS_RECV)",
    4: "the book is marked as possibly wrong by Databento (F_MAYBE_BAD_BOOK)",
}
_DECIMALS: Final = 9
_UNDEF_PRICE: Final = 2**63 - 1
_UNDEF_TIME: Final = 2**64 - 1
_DAY_NS: Final = 86_400 * 10**9
_DAYS: Final = 1 << 20  # more than 64 bits of ns have
_CURE: Final = "take the file again from Databento"
_SYMBOL_CURE: Final = (
    "say --map symbol==ESH5 where the file is of one instrument, or request it by symbol"
)
_CONSTANTS: Final = ("instrument_token", "symbol", "venue")


class DbnTickFile:
    """One DBN file, plain or packed.

    Args:
        sample: the file, which begins with DBN.
        options: of --map, only constants that say which instrument it is.

    Raises:
        InputRefused: a version, schema or header that is not read.
        ConfigError: --map names columns.
    """

    format = "databento"
    names: Mapping[str, str] = other_names(_COLUMNS)

    def __init__(self, sample: Sample, options: Options) -> None:
        self.path, self.layout = sample.path, layout_of(sample)
        self._sample, self._given, self._grows = sample, options.given, options.grows
        self._shares = options.shares
        for key, source in options.columns.items():
            if key not in _CONSTANTS or not source.startswith("="):
                raise ConfigError(
                    f"--map: {key}={source}: binary DBN has its columns already",
                    cure=f"only constants for {', '.join(_CONSTANTS)} can be given: symbol==ESH5",
                )
        said = {key: source[1:] for key, source in options.columns.items()}
        self._venue, self._symbol = said.get("venue", ""), said.get("symbol", "")
        self._fixed = said.get("instrument_token", "")
        if self._fixed and not self._fixed.isdigit():
            raise ConfigError(f"--map: instrument_token: expected digits, was {self._fixed!r}")
        self._known: dict[int, tuple[int, str]] = {}  # instrument id and day -> token, symbol

    def survey(self, tell: Tell) -> Survey:
        """Read it once: the instruments, and how many decimals their prices need."""
        with closing(self._blocks()) as blocks:  # a refusal leaves no file open
            return self._surveyed(blocks, tell)

    def _surveyed(self, blocks: Iterator[tuple[int, Any, Header]], tell: Tell) -> Survey:
        found = Survey()
        for first_row, rows, header in blocks:
            place = Place(self.path, "price", first_row, self.names)
            tokens = self._tokens(rows, header, place)
            self._note_times(found, rows, first_row)
            for bit, words in _NOTES.items():
                marked = int(((rows["flags"] & bit) != 0).sum())
                if marked:
                    found.notes[words] = found.notes.get(words, 0) + marked
            no_venue_time = rows["ts_event"] == _UNDEF_TIME
            for token in np.unique(tokens).tolist():
                mine = tokens == token
                seen = found.instruments.get(token)
                if seen is None:
                    seen = found.instruments[token] = Found(self._symbol_of(token), self._venue)
                    seen.row = first_row + int(np.argmax(mine)) + 1
                    seen.named = bool(self._fixed and self._symbol)
                seen.rows += int(mine.sum())
                seen.rows_without_venue_time += int((no_venue_time & mine).sum())
                for name in ("price", "bid_px_00", "ask_px_00"):
                    if name in rows.dtype.names:
                        shown = mine & (rows[name] != _UNDEF_PRICE)
                        if name == "price":  # of a book update it is that of an order
                            shown &= rows["action"] == b"T"
                        seen.price_scale = _decimals(rows[name][shown], seen.price_scale)
            found.rows += len(rows)
            tell(found.rows)
        return found

    def batches(self, table: InstrumentTable) -> Iterator[Records]:
        """Yield records of the table's dtype in file order."""
        with closing(self._blocks()) as blocks:
            yield from self._records(blocks, table)

    def _records(
        self, blocks: Iterator[tuple[int, Any, Header]], table: InstrumentTable
    ) -> Iterator[Records]:
        scales = Scales(table)
        for first_row, rows, header in blocks:
            place = Place(self.path, "instrument_token", first_row, self.names)
            records = np.zeros(len(rows), table.tick_dtype)
            records["instrument_token"] = self._tokens(rows, header, place)
            dense = dense_of(table, records["instrument_token"], place)
            records["stream"] = records["offset"] = records["trade_id"] = -1
            records["flags"] = flag.NO_VOLUME | flag.NO_OPEN_INTEREST | flag.NO_TRADE_ID
            _fill_times(records, rows)
            trades = _are_trades(rows, place.of("action"), self.layout)
            records["flags"] |= np.where(trades, flag.TRADE, flag.QUOTE).astype(np.uint32)
            _fill_sides(records, rows, trades, place.of("side"))
            for name, theirs in _COLUMNS.items():
                if name == "symbol":
                    continue
                there = np.zeros(len(rows), np.bool_)
                if theirs in rows.dtype.names:
                    there = trades if name in ("price", "quantity") else ~there
                    which = "quantity" if name.endswith("quantity") else "price"
                    own = place.of(name)
                    values, there = _scaled(rows[theirs], there, scales, which, own)
                    records[f"{name}_int"] = scales.fit(values, there, dense, which, own)
                    if name == "price" and (trades & ~there).any():
                        own.refuse(int(np.argmax(trades & ~there)), "", "expected a price", _CURE)
                records["flags"][~there] |= flag.FLAG_NAMES[f"no_{name}"]
            check_values(records, dense, table, place)
            yield records

    # -- rows

    def _blocks(self) -> Generator[tuple[int, Any, Header], None, None]:
        """Yield (rows before, records of the file, its header)."""
        first_row = 0
        try:
            with self._sample.open() as file:
                header = read_header(self._sample, file)
                fields: Any = _TRADE + (_BOOK if self.layout == "mbp-1" else [])
                kind = np.dtype(fields + (_SENT if header.sent else []))
                while block := file.read(kind.itemsize * self._rows()):
                    whole = len(block) // kind.itemsize
                    rows = np.frombuffer(block, kind, whole)
                    self._check_kind(rows, block, first_row)
                    _check_times(rows, Place(self.path, "ts_event", first_row, self.names))
                    if len(block) % kind.itemsize:
                        raise InputRefused(
                            f"{self.path}: row {first_row + whole + 1}: the file ends amid it, "
                            f"after {len(block) % kind.itemsize} of {kind.itemsize} bytes",
                            cure=_CURE,
                        )
                    yield first_row, rows, header
                    first_row += whole
        except UNPACKING_ERRORS as error:
            raise self._sample.unreadable(error) from None

    def _rows(self) -> int:
        return self._shares.of(BATCH_ROWS, BATCH_ROWS_MIN)

    def _check_kind(self, rows: Any, block: bytes, first_row: int) -> None:
        rtype, size = _RTYPES[self.layout], rows.dtype.itemsize
        wrong = (rows["rtype"] != rtype) | (rows["length"] != size // 4)
        if wrong.any() or (not len(rows) and block[:2] != bytes([size // 4, rtype])):
            at = int(np.argmax(wrong)) if len(rows) else 0
            found = rows[at] if len(rows) else None
            said = "" if found is None else f"type {found['rtype']}, {found['length'] * 4} bytes"
            Place(self.path, "rtype", first_row).refuse(
                at, said, f"expected records of type {rtype} with {size} bytes, one kind only",
                "a live session mixes kinds: request the historical data, or write it as CSV "
                "first with dbn FILE --csv --map-symbols",
            )  # fmt: skip

    # -- which instrument

    def _tokens(self, rows: Any, header: Header, place: Place) -> Ints:
        if self._fixed:
            token = int(self._fixed)
            self._known[0] = token, self._symbol or self._fixed
            return np.full(len(rows), token, np.int64)
        if self._symbol:
            self._known[0] = self._token_of(self._symbol, place, 0), self._symbol
            return np.full(len(rows), self._known[0][0], np.int64)
        # The day is that of the arrival, as their own client counts it.
        at = np.where(rows["ts_recv"] == _UNDEF_TIME, rows["ts_event"], rows["ts_recv"])
        keys = rows["instrument_id"].astype(np.int64) * _DAYS + (at // _DAY_NS).astype(np.int64)
        distinct, firsts, places = np.unique(keys, return_index=True, return_inverse=True)
        for key, first in zip(distinct.tolist(), firsts.tolist(), strict=True):
            if key not in self._known:
                number, day = divmod(key, _DAYS)
                symbol = self._symbol_on(number, day, header, place, first)
                self._known[key] = self._token_of(symbol, place, first), symbol
        return np.array([self._known[k][0] for k in distinct.tolist()], np.int64)[places]

    def _symbol_on(self, number: int, day: int, header: Header, place: Place, row: int) -> str:
        named = {one.symbol for one in header.symbols.get(number, ()) if one.start <= day < one.end}
        if not named and self._given is not None and len(self._given) == 1:
            return self._given.by_dense(0).symbol
        if len(named) != 1:
            said = f"symbols {', '.join(sorted(named))}" if named else "no symbol"
            place.of("symbol").refuse(
                row,
                number,
                f"expected one symbol for it on {iso(day * _DAY_NS)[:10]}, the header has {said}",
                _SYMBOL_CURE,
            )
        return named.pop()

    def _token_of(self, symbol: str, place: Place, row: int) -> int:
        tokens = tokens_of(self._given, self._venue, symbol, grows=self._grows)
        if len(tokens) != 1:
            place.of("symbol").refuse(row, symbol, *not_once(tokens, self._venue))
        return tokens[0]

    def _symbol_of(self, token: int) -> str:
        return next(symbol for known, symbol in self._known.values() if known == token)

    def _note_times(self, found: Survey, rows: Any, first_row: int) -> None:
        for name in ("ts_event", "ts_recv"):
            found.note_without(name, rows[name] == _UNDEF_TIME, first_row)
        found.rows_without_ts_recv += int((rows["ts_recv"] == _UNDEF_TIME).sum())


def _decimals(values: Ints, known: int) -> int:
    """Return how many decimals integers of 1e-9 need, at least those known before."""
    while known < _DECIMALS and (values % 10 ** (_DECIMALS - known)).any():
        known += 1
    return known


def _check_times(rows: Any, place: Place) -> None:
    # Before anything asks for a day.
    neither = (rows["ts_event"] == _UNDEF_TIME) & (rows["ts_recv"] == _UNDEF_TIME)
    if neither.any():
        place.refuse(int(np.argmax(neither)), "", "expected a time", _CURE)
    for name in ("ts_event", "ts_recv"):
        wrong = (rows[name] >= 2**63) & (rows[name] != _UNDEF_TIME)
        if wrong.any():
            at = int(np.argmax(wrong))
            place.of(name).refuse(at, int(rows[name][at]), "expected a time up to 2262", _CURE)


def _fill_times(records: Records, rows: Any) -> None:
    for name, absent in (("ts_event", flag.NO_VENUE_TIME), ("ts_recv", flag.NO_TS_RECV)):
        undefined = rows[name] == _UNDEF_TIME
        records[name] = np.where(undefined, 0, rows[name]).astype(np.int64)
        records["flags"][undefined] |= absent
    borrowed = (records["flags"] & flag.NO_VENUE_TIME) != 0
    records["ts_event"][borrowed] = records["ts_recv"][borrowed]


def _are_trades(rows: Any, place: Place, layout: str) -> Mask:
    known = _ACTIONS[layout]
    wrong = ~np.isin(rows["action"], known)
    if wrong.any():
        at = int(np.argmax(wrong))
        words = b", ".join(known).decode()
        place.refuse(at, rows["action"][at].decode("latin-1"), f"expected {words}", _CURE)
    return np.asarray(rows["action"] == b"T")


def _fill_sides(records: Records, rows: Any, trades: Mask, place: Place) -> None:
    known = np.zeros(len(rows), np.bool_)
    for word, side in _SIDES.items():
        mine = rows["side"] == word
        records["side"][mine & trades] = side
        known |= mine
    if not known.all():
        at = int(np.argmin(known))
        place.refuse(at, rows["side"][at].decode("latin-1"), "expected B, A or N", _CURE)


def _scaled(raw: Any, there: Mask, scales: Scales, which: str, place: Place) -> tuple[Ints, Mask]:
    """Return values at the recording's scale, and which rows have one."""
    own = _DECIMALS if which == "price" else 0
    values = raw.astype(np.int64)
    if which == "price":
        there = there & (values != _UNDEF_PRICE)
    values[~there] = 0
    scale = scales.recording(which)
    if scale < own:
        quotients, rest = np.divmod(values, 10 ** (own - scale))
        wrong, values = rest != 0, quotients
        problem = f"expected at most {scale} decimals"
        cure = "give the instrument a larger scale (--instrument-table)"
    else:
        limit = (10**DIGITS_MAX - 1) // 10 ** (scale - own)
        wrong = (values > limit) | (values < -limit)
        problem = f"expected at most {DIGITS_MAX} digits at scale {scale}"
        cure = "give the instruments smaller scales (--instrument-table)"
        values = np.where(wrong, 0, values) * 10 ** (scale - own)
    if wrong.any():
        at = int(np.argmax(wrong))
        place.refuse(at, decimal_text(int(raw[at]), own), problem, cure)
    return np.asarray(values, np.int64), there
