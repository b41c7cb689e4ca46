"""Big files of plain numbers: read by one pass over the bytes instead of cell by cell as text.

For a file whose columns are decimals or nothing, integers, times in digits, true/false, words of
sides and names of instruments.
Whatever else stands in a cell leaves the file to the reader of texts, which takes or refuses it by
its row; so nothing is judged here, and both give the same ticks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.model.ticks import SCALED
from parity.recording.layout import ROW_GROUP_ROWS
from parity.recording.scan import cpu_count
from parity.sources.importers.columns import ColumnRecords
from parity.sources.importers.naming import COLUMNS as NAMING
from parity.sources.importers.naming import Who
from parity.sources.importers.sample import UNPACKING_ERRORS
from parity.sources.importers.tables import Place, Survey, check_values
from parity.sources.importers.times import DECIMALS
from parity.sources.importers.tokens import Names

if TYPE_CHECKING:
    from parity.model.instruments import InstrumentTable
    from parity.sources.importers.layouts import Columns
    from parity.sources.importers.naming import Naming
    from parity.sources.importers.sample import Sample
    from parity.sources.importers.shares import Shares
    from parity.sources.importers.tables import Found, Ints, Records, Tell
    from parity.sources.importers.texts import TextTickFile

_Done = TypeVar("_Done")

BLOCK_BYTES: Final = 2 << 20
BLOCK_BYTES_MIN: Final = 1 << 14  # of a file among many, and so many rows
BLOCK_ROWS_MIN: Final = 512
BIG_BLOCKS: Final = 4  # of so many bytes, a glance at the start saves a pass
BLOCK_ROWS: Final = ROW_GROUP_ROWS  # so that a batch is written as it is
PLAIN_BYTES_MIN: Final = 1 << 20  # below, loading the compiled pass costs more than it saves
LINE_BYTES_MAX: Final = 1 << 12  # of a row that may name an instrument
_LINE_END: Final = 10
_TIMES: Final = ("ts_event", "ts_recv")
_INTEGERS: Final = ("open_interest", "trade_id")
_SCALED: Final = {name: (field, which) for field, (name, which) in SCALED.items()}
_MICROSECOND: Final = 1000


class Unlike(Exception):
    """A file that was taken to be like its start is not."""


class PlainTickFile:
    """A CSV file, read as plain numbers as far as it goes.

    Args:
        texts: the same file by the reader of texts.
        columns: our column -> its place in a row, from 0.
        constants: columns that --map gives as text, one row of them.
        naming: what columns of the file that name the instrument say.
        sides: words of the side column.
        equal_times: whether two equal times, in microseconds, say that the venue gave none.
        shares: how much is read at a time.

    Attributes:
        glanced: whether its survey is of its start only, and its rows are an estimate.
        rows: that `batches` gave, at its end.
    """

    def __init__(
        self,
        sample: Sample,
        texts: TextTickFile,
        columns: Mapping[str, int],
        constants: Columns,
        *,
        naming: Naming,
        sides: Mapping[str, int],
        shares: Shares,
        equal_times: bool = False,
    ) -> None:
        self.path, self.format, self.layout = texts.path, texts.format, texts.layout
        self.names = texts.names
        self._sample, self._texts = sample, texts
        self._columns = columns
        self._constants, self._naming = constants, naming
        self._sides, self._equal_times, self._shares = sides, equal_times, shares
        self._anywhere = Place(self.path, "price", 0)  # for what the texts will refuse by its row
        self._tokens: dict[int, int] = {}  # of codes that `naming` gives, once surveyed
        self._width = len(sample.data[0])
        self._plain = True
        self.glanced = False
        self.rows = 0

    def survey(self, tell: Tell) -> Survey:
        """Count rows and decimals; by texts where a cell is not plain."""
        self.glanced = False
        try:
            found = self._survey_all(tell)
            if found is None and (self._equal_times or self._naming.words()):
                found = self._survey_each(tell)
        except InputRefused:  # the texts know its row
            found = None
        self._plain = found is not None
        return found or self._texts.survey(tell)

    def _survey_all(self, tell: Tell) -> Survey | None:
        """Survey rows of one instrument on all CPUs; None where that cannot be."""
        if self._equal_times or self._naming.several:
            return None
        group = _Group(self._width)
        work = partial(_count, *self._kinds(dict.fromkeys(self._columns, -1)))
        for counted, found, size in _each(work, self._lines(held=cpu_count() + 1)):
            if found[0] < size:
                return None
            group.rows += counted
            tell(group.rows)
            np.maximum(group.most, found, out=group.most)
        return self._survey_of({0: group}) if group.rows else None

    def _survey_each(self, tell: Tell, only: tuple[Any, int] | None = None) -> Survey | None:
        """Survey rows by their instruments, of all lines or only of some; None if not plain."""
        groups: dict[int, _Group] = {}
        rows = first = 0
        unit = dict.fromkeys(self._columns, -1)
        most = np.zeros(self._width + 1, np.int64)
        lines = self._lines(held=1) if only is None else iter([only])
        for values, whole in self._blocks(unit, most, lines, learn=True):
            if not whole or not self._timed(values):
                return None
            lacking = self._without_venue_time(values)
            if not first and lacking.any():
                first = rows + int(np.argmax(lacking)) + 1
            self._group(groups, values, lacking, rows)
            rows += values.shape[1]
            tell(rows)
        if not rows:
            return None
        survey = self._survey_of(groups)
        if first:
            survey.first_without["ts_event"] = first
        return survey

    def _group(self, groups: dict[int, _Group], values: Ints, lacking: Any, before: int) -> None:
        codes = self._naming.codes(values)
        counts = np.bincount(codes)
        new = [c for c in np.flatnonzero(counts).tolist() if c not in groups]
        for first, code in sorted((int(np.argmax(codes == code)), code) for code in new):
            groups[code] = _Group(self._width, before + first + 1)
        without = np.bincount(codes[lacking], minlength=len(counts))
        for code in np.flatnonzero(counts).tolist():
            groups[code].rows += int(counts[code])
            groups[code].without += int(without[code])
        for name, at in self._columns.items():
            if name in _SCALED:
                most = np.zeros(len(counts), np.int64)
                np.maximum.at(most, codes, values[at])
                for code in np.flatnonzero(most).tolist():
                    found = groups[code].most
                    found[at + 1] = max(found[at + 1], most[code])

    def _without_venue_time(self, values: Ints) -> Any:
        if not self._equal_times:
            return np.zeros(values.shape[1], np.bool_)
        return values[self._columns["ts_event"]] == values[self._columns["ts_recv"]]

    def is_big(self) -> bool:
        """Return whether the start is a small part of it."""
        size = None if self._equal_times else self._sample.size
        return size is not None and size >= BIG_BLOCKS * BLOCK_BYTES

    def glance(self) -> Survey:
        """Survey the start as if all were like it, the rows an estimate; `batches` notices."""
        with closing(self._lines(held=1)) as blocks:
            lines = next(blocks, None)
        survey = None if lines is None else self._survey_each(lambda _: None, lines)
        if lines is None or survey is None:
            raise Unlike
        self.glanced = True
        size = self._sample.size or lines[1]
        for one in survey.instruments.values():
            one.rows = one.rows * size // lines[1]
            one.rows_without_venue_time = one.rows_without_venue_time * size // lines[1]
        survey.rows = survey.rows * size // lines[1]
        survey.rows_without_ts_recv = survey.rows_without_ts_recv * size // lines[1]
        return survey

    def _survey_of(self, groups: Mapping[int, _Group]) -> Survey:
        found: dict[int, Found] = {}
        names = Names()
        for code, group in groups.items():
            row = {**self._constants, **self._naming.row(code)}
            token, one = self._texts.only_instrument(row)
            one.row = group.row
            one = found.setdefault(token, one)
            if "instrument_token" in row:
                names.take(np.array([token]), row, group.row - 1)
            self._tokens[code] = token
            one.rows += group.rows
            one.rows_without_venue_time += (
                group.without if "ts_event" in self._columns else group.rows
            )
            for name, at in self._columns.items():
                if name in _SCALED:
                    scale = f"{_SCALED[name][1]}_scale"
                    setattr(one, scale, max(getattr(one, scale), int(group.most[at + 1])))
        rows = sum(group.rows for group in groups.values())
        survey = Survey(
            rows=rows,
            rows_without_ts_recv=0 if "ts_recv" in self._columns else rows,
            first_without={name: 1 for name in _TIMES if name not in self._columns},
            instruments=found,
            left_out=self._texts.left_out,
        )
        self._texts.complete(survey, names)
        return survey

    def batches(self, table: InstrumentTable) -> Iterator[Records]:
        """Yield records of the table's dtype in file order."""
        done = self.rows = 0
        if self._plain and all(token in table for token in self._tokens.values()):
            who = Who(table, self._tokens, self._naming)
            scales = {
                name: int(who.scales(_SCALED[name][1]).max()) if name in _SCALED else 0
                for name in self._columns
            }
            most = np.zeros(self._width + 1, np.int64)
            for values, whole in self._blocks(scales, most, self._lines(held=1)):
                records = self._records(values, who) if values.shape[1] else None
                if records is not None:
                    yield records
                    done += values.shape[1]
                if not whole or (records is None and values.shape[1]):
                    break
            else:
                self.rows = done
                return
        if self.glanced:
            raise Unlike
        for records in self._texts.batches(table):  # says why, or goes on
            skipped = min(done, len(records))
            done -= skipped
            self.rows += len(records)
            if skipped < len(records):
                yield records[skipped:]

    def _kinds(self, scales: Mapping[str, int]) -> tuple[Ints, Ints, Any]:
        """Return kinds, scales and words, as `read_cells` takes them."""
        from parity.kernels import cells

        kinds = np.full(self._width, cells.SKIP)
        fixed = np.zeros(self._width, np.int64)
        for name, at in self._columns.items():
            kinds[at] = cells.DECIMAL if name in _SCALED else cells.INTEGER
            fixed[at] = scales[name]
        if "buyer_maker" in self._columns:
            kinds[self._columns["buyer_maker"]] = cells.BOOLEAN
        said = self._naming.words()
        sides = {self._columns["side"]: {**self._sides, "": 0}} if "side" in self._columns else {}
        words, begins = cells.words_of(said | sides, any_case=sides)
        for at, begin in begins.items():
            kinds[at], fixed[at] = cells.WORD, begin
        return kinds, fixed, words

    def _blocks(
        self,
        scales: Mapping[str, int],
        most: Ints,
        lines: Iterator[tuple[Any, int]],
        *,
        learn: bool = False,
    ) -> Iterator[tuple[Ints, bool]]:
        """Yield the values of some rows, and whether all was plain; ends where it was not.

        A name that was not known yet is learned, or it is not plain.
        """
        from parity.kernels import cells

        kinds = self._kinds(scales)
        values, rows = self._room(), 0
        for data, size in lines:
            at = 0
            while at < size:
                rows += cells.read_cells(data[at:], size - at, *kinds, most, values, rows)
                at += int(most[0])
                whole = rows == values.shape[1] or at == size
                if not whole and learn and self._naming.learn(_line(data, at, size)):
                    kinds = self._kinds(scales)
                    continue
                if rows == values.shape[1] or not whole:
                    yield values[:, :rows], whole
                    values, rows = self._room(), 0
                if not whole:
                    return
        yield values[:, :rows], True

    def _room(self) -> Ints:
        return np.empty((self._width, self._shares.of(BLOCK_ROWS, BLOCK_ROWS_MIN)), np.int64)

    def _lines(self, held: int) -> Generator[tuple[Any, int], None, None]:
        """Yield blocks of whole lines without the header, as (bytes, how many of them count).

        The bytes of the last `held` blocks stay as they are; then their memory is used again,
        since fresh memory costs more than what is done with it.
        """
        from parity.kernels.cells import BEYOND

        skip = self._sample.header is not None
        kept = b""  # the begin of a line whose end is in the next block
        blocks = deque(bytearray() for _ in range(held + 1))
        with self._sample.open() as file:
            while True:
                block = blocks.popleft()
                more = self._shares.of(BLOCK_BYTES, BLOCK_BYTES_MIN)
                needed = len(kept) + more + BEYOND + 1
                if not needed <= len(block) <= 4 * needed:
                    block = bytearray(needed)
                blocks.append(block)
                block[: len(kept)] = kept
                room = memoryview(block)[len(kept) : len(kept) + more]
                try:
                    count = _fill(file, room)
                except UNPACKING_ERRORS as error:
                    raise self._sample.unreadable(error) from None
                size, last = len(kept) + count, count < more
                if last and size and block[size - 1] != _LINE_END:
                    block[size] = _LINE_END  # a last line without its end
                    size += 1
                begin = block.find(b"\n", 0, size) + 1 if skip else 0
                skip = False
                end = block.rfind(b"\n", 0, size) + 1
                kept = bytes(memoryview(block)[end:size])
                if end > begin:
                    yield np.frombuffer(block, np.uint8)[begin:], end - begin
                if last:
                    return

    def _timed(self, values: Ints) -> bool:
        for name in _TIMES:
            if name in self._columns and values.shape[1]:
                times = values[self._columns[name]]
                unit = _unit_of(int(times.min()))
                if unit is None or unit != _unit_of(int(times.max())):
                    return False
                if self._equal_times and unit != _MICROSECOND:
                    return False
        return True

    def _records(self, values: Ints, who: Who) -> Any:
        """Return records, or None where the texts have to say what is wrong."""
        from parity.kernels.cells import NONE

        count, columns = values.shape[1], self._columns
        dense = who.dense(values)
        if not self._timed(values) or dense is None:
            return None
        records: Any = ColumnRecords(count, who.table.tick_dtype)
        records["instrument_token"] = who.table.tokens[dense]
        records["stream"] = records["offset"] = -1
        flags: Any = np.zeros((), np.uint32)
        smallest = 1
        for name, (field, which) in _SCALED.items():
            bit = np.uint32(flag.FLAG_NAMES[f"no_{name}"])
            if name not in columns:
                flags = flags | bit
                continue
            column = values[columns[name]]
            least = int(column.min())
            if least == NONE:
                absent = column == NONE
                column = np.where(absent, 0, column)
                flags = flags | absent * bit
            fitting = who.fit(column, which, dense)
            if fitting is None:
                return None
            records[field] = fitting
            smallest = min(smallest, least)
        for name, neutral in zip(_INTEGERS, (0, -1), strict=True):
            records[name] = values[columns[name]] if name in columns else neutral
            flags = flags | np.uint32(0 if name in columns else flag.FLAG_NAMES[f"no_{name}"])
        for name in _TIMES:
            if name in columns:
                times = values[columns[name]]
                records[name] = times * (_unit_of(int(times[0])) or 1)
        if "ts_recv" not in columns:
            flags = flags | np.uint32(flag.NO_TS_RECV)
        if "ts_event" not in columns:
            records["ts_event"] = records["ts_recv"]
            flags = flags | np.uint32(flag.NO_VENUE_TIME)
        if self._equal_times:
            flags = flags | self._without_venue_time(values) * np.uint32(flag.NO_VENUE_TIME)
        if "side" in columns:
            records["side"] = values[columns["side"]].astype(np.int8)
        if "buyer_maker" in columns:
            records["side"] = 1 - 2 * values[columns["buyer_maker"]].astype(np.int8)
        kinds = self._texts.kinds_of(flags)
        if kinds is None:
            return None
        records["flags"] = flags | kinds
        if smallest <= 0:
            try:
                check_values(records, np.broadcast_to(dense, count), who.table, self._anywhere)
            except InputRefused:
                return None
        return records


class _Group:
    """Rows of one instrument: the first, how many, without venue time, decimals by column."""

    def __init__(self, width: int, row: int = 1) -> None:
        self.row = row
        self.rows = self.without = 0
        self.most = np.zeros(width + 1, np.int64)


def _line(data: Any, at: int, size: int) -> bytes:
    end = bytes(data[at : min(size, at + LINE_BYTES_MAX)])
    return end[: end.find(b"\n") + 1]


def _fill(file: IO[bytes], room: memoryview) -> int:
    """Read until the room is full or the file at its end; return how many bytes."""
    into: Any = file  # every file that Sample opens has it
    done = 0
    while done < len(room):
        count = into.readinto(room[done:])
        if not count:
            break
        done += count
    return done


def _count(kinds: Ints, scales: Ints, words: Any, lines: tuple[Any, int]) -> tuple[int, Ints, int]:
    """Return the rows, what `read_cells` found, and the bytes it was given."""
    from parity.kernels import cells

    data, size = lines
    found = np.zeros(len(kinds) + 1, np.int64)
    nothing = np.zeros((len(kinds), 0), np.int64)
    return cells.read_cells(data, size, kinds, scales, words, found, nothing, 0), found, size


def _each(work: Callable[[Any], _Done], blocks: Iterator[Any]) -> Iterator[_Done]:
    """Yield work(block) of each in order, a few at a time on all CPUs: it must leave Python."""
    count = cpu_count()
    with ThreadPoolExecutor(count) as pool:
        running: deque[Future[_Done]] = deque()
        for block in blocks:
            running.append(pool.submit(work, block))
            if len(running) > count:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def may_be_plain(sample: Sample, mapped: Mapping[str, int], constants: Collection[str]) -> bool:
    """Return whether a file is worth it: big, of numbers (see `PlainTickFile`).

    Args:
        sample: the file.
        mapped: our columns that the file has -> their places in a row.
        constants: our columns that --map gives as text.
    """
    return (
        {*_SCALED, *_INTEGERS, *_TIMES, *NAMING, "buyer_maker", "side"}.issuperset(mapped)
        and set(NAMING).issuperset(constants)
        and bool(sample.data)
        and max(mapped.values()) < len(sample.data[0])
        and len(set(mapped.values())) == len(mapped)  # each has one kind and one scale
        and sample.path.stat().st_size >= PLAIN_BYTES_MIN
    )


def _unit_of(time: int) -> int | None:
    decimals = DECIMALS.get(len(str(time))) if time > 0 else None  # 19 digits are for the texts
    unit = None if decimals is None else 10**decimals
    return unit if unit is not None and time * unit < 2**63 else None
