"""What every importer shares: where a value stands, what a file holds, how it becomes ticks.

An importer of a format gives a `TickFile`; everything else (order, merge, numbers, writing) is
the same for all. No format knows another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model.errors import InputRefused
from parity.model.extensions import PRESENT, Extension
from parity.model.instruments import InstrumentTable
from parity.recording.inspect import decimal_text

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Records = npt.NDArray[Any]
Tell = Callable[[int], None]  # takes how many rows of a file were read so far

BATCH_ROWS: Final = 65_536
BATCH_ROWS_MIN: Final = 4096  # of a file among many; fewer cost as much
_MEND: Final = "mend or drop that row"
BARS: Final = frozenset({"open", "high", "low", "close"})


class NamesWithLines(dict[str, str]):
    """What refusals call the columns of a file whose lines may hold several rows.

    Args:
        names: as of `Place`.
        line_of: the row, from 1 -> its line. Asked when something is refused only.
    """

    def __init__(self, names: Mapping[str, str], line_of: Callable[[int], int]) -> None:
        super().__init__(names)
        self.line_of = line_of


class Place(msgspec.Struct, frozen=True):
    """Where a batch of one column stands, so that a refusal can name file, row and column.

    Args:
        column: our name of it, or the file's where none of ours stands for it.
        first_row: rows of the file before the batch; messages count rows from 1.
        names: our column -> what the file has in its place ("column px", "column #2"), where
            that is another name; `NamesWithLines` also where a row stands.
    """

    file: Path
    column: str
    first_row: int
    names: Mapping[str, str] = {}

    def where(self, index: int) -> str:
        """Return how a refusal calls the row at an index of the batch."""
        row = self.first_row + index + 1
        if isinstance(self.names, NamesWithLines):
            return f"line {self.names.line_of(row)}"
        return f"row {row}"

    def refuse(self, index: int, value: object, problem: str, cure: str) -> NoReturn:
        """Refuse the value at an index of the batch."""
        where = self.where(index)
        theirs = self.names.get(self.column)
        column = f"{self.column} ({theirs})" if theirs else self.column
        raise InputRefused(f"{self.file}: {where}: {column}: {problem}, was {value!r}", cure=cure)

    def of(self, column: str) -> Place:
        """Return the same place in another column."""
        return Place(self.file, column, self.first_row, self.names)


class Found(msgspec.Struct):
    """One instrument as a file shows it.

    Args:
        row: the first one that is of it, from 1.
        named: whether the file says both its token and its symbol.
    """

    symbol: str
    venue: str = ""
    kind: str = "spot"
    price_scale: int = 0
    quantity_scale: int = 0
    contract_size: str = "1"
    rows: int = 0
    rows_without_venue_time: int = 0
    row: int = 1
    named: bool = False


class OtherName(NamedTuple):
    """A row that calls the instrument of a token otherwise than an earlier one."""

    row: int
    column: str  # "symbol" or "venue"
    token: int
    word: str
    before: str
    row_before: int


class Survey(msgspec.Struct):
    """What the first pass over a file found out.

    Args:
        first_without: "ts_event" or "ts_recv" -> the first row, from 1, that has none.
        extensions: columns beyond the tick's own, by name; a text one with the words it says.
        notes: what is worth a warning -> in how many rows.
        left_out: columns of the file that nobody asked for.
        other_name: the first row that disagrees with an earlier one about who a token is.
    """

    rows: int = 0
    rows_without_ts_recv: int = 0
    first_without: dict[str, int] = {}
    instruments: dict[int, Found] = {}
    notes: dict[str, int] = {}
    extensions: dict[str, Extension] = {}
    left_out: tuple[str, ...] = ()
    other_name: OtherName | None = None

    def note_without(self, name: str, without: Mask, first_row: int) -> None:
        """Remember the first row that lacks a time."""
        if name not in self.first_without and without.any():
            self.first_without[name] = first_row + int(np.argmax(without)) + 1

    def note_words(self, name: str, words: Iterable[str | None]) -> None:
        """Add words to a text extension."""
        more = {word for word in words if word is not None}
        if more:
            seen = self.extensions.get(name, Extension(name, "text"))
            self.extensions[name] = Extension(name, "text", tuple(sorted({*seen.words, *more})))


def other_names(columns: Mapping[str, str], word: str = "column") -> dict[str, str]:
    """Return what refusals call the file's columns: our column -> words, where names differ.

    >>> other_names({"price": "px", "quantity": "#3", "side": "side", "symbol": "=ESH5"})
    {'price': 'column px', 'quantity': 'column #3', 'symbol': 'given by --map'}
    """
    return {
        ours: "given by --map" if theirs.startswith("=") else f"{word} {theirs}"
        for ours, theirs in columns.items()
        if ours != theirs
    }


class TickFile(Protocol):
    """A file of ticks of one format.

    Attributes:
        names: what refusals call its columns, see `Place`.
    """

    path: Path
    format: str
    layout: str
    names: Mapping[str, str]

    def survey(self, tell: Tell) -> Survey:
        """Read the file once: its instruments, their scales, which times it has."""

    def batches(self, table: InstrumentTable) -> Iterator[Records]:
        """Read it again: records of `table.tick_dtype` in file order, without seq."""


class Scales(msgspec.Struct, frozen=True):
    """The scales of a table for exact conversion: values pass at the recording's own scale.

    The recording keeps DECIMAL(18, largest scale of its table), so what does not fit there is
    refused, and what does is brought to the instrument's scale by exact division only.
    """

    table: InstrumentTable

    def recording(self, which: str) -> int:
        """Return the recording's scale for "price" or "quantity"."""
        return int(self.table.scales(which).max())

    def fit(self, values: Ints, valid: Mask, dense: Ints, which: str, place: Place) -> Ints:
        """Bring values at the recording's scale to their instruments' scales, or refuse."""
        scales = self.table.scales(which)
        largest = int(scales.max())
        if (scales == largest).all():
            return values
        quotients, inexact = divided(values, scales, dense)
        wrong = inexact & valid
        if wrong.any():
            at = int(np.argmax(wrong))
            instrument = self.table.by_dense(int(dense[at]))
            place.refuse(
                at,
                decimal_text(int(values[at]), largest),
                f"more decimals than the {which}_scale {scales[dense[at]]} of instrument "
                f"{instrument.token} ({instrument.symbol})",
                f"give it a larger {which}_scale (--instrument-table)",
            )
        return quotients


def divided(values: Ints, scales: Ints, dense: Ints) -> tuple[Ints, Mask]:
    """Bring values at the largest of some scales to their own; return also which do not fit it.

    Args:
        values: integers.
        scales: one for each instrument.
        dense: of each value, whose scale is its own.
    """
    divisors = np.power(np.int64(10), (scales.max() - scales).astype(np.int64))[dense]
    quotients, remainders = np.divmod(values, divisors)
    return np.asarray(quotients, np.int64), np.asarray(remainders != 0)


def merge_extensions(all_of: Iterable[Iterable[Extension]]) -> tuple[Extension, ...]:
    """Return every extension that files or tables declare, once; texts with all their words."""
    merged: dict[str, Extension] = {}
    for extension in (one for some in all_of for one in some):
        seen = merged.setdefault(extension.name, extension)
        if seen.kind != extension.kind:
            raise InputRefused(
                f"column {extension.name} is {seen.kind} in one place and {extension.kind} in "
                "another",
                cure="import these files into recordings of their own",
            )
        # Words that a table declared keep their place, since ticks hold the place.
        more = sorted(set(extension.words) - set(seen.words))
        merged[extension.name] = Extension(seen.name, seen.kind, (*seen.words, *more))
    return tuple(merged.values())


def fill_extension(
    records: Records, table: InstrumentTable, name: str, values: Ints, valid: Mask
) -> None:
    """Set an extension column, and that it is there, where a row has it."""
    field = next(f for f, e in table.columns.extensions.items() if e.name == name)
    records[field] = np.where(valid, values, 0)
    records[PRESENT] |= np.where(valid, table.columns.bits[field], 0).astype(np.uint64)


def place_of_words(table: InstrumentTable, name: str, words: Iterable[str | None]) -> Ints:
    """Return where a text extension keeps each word (0 for none)."""
    known = next(e.words for e in table.extensions if e.name == name)
    at = {word: n for n, word in enumerate(known)}
    return np.array([0 if word is None else at[word] for word in words] or [0], np.int64)


def refuse_bars(file: Path, columns: list[str]) -> None:
    """Refuse a file of bars by its columns."""
    names = {c.strip().lower() for c in columns}
    if names >= BARS and not names & {"price", "last_price", "bid", "ask"}:
        raise InputRefused(
            f"{file}: columns open, high, low, close: these are bars, and bars are not ticks",
            cure="import the trades or quotes they were made from",
        )


def dense_of(table: InstrumentTable, tokens: Ints, place: Place) -> Ints:
    """Return dense ids, refusing a token that is not in the table with its row."""
    at = np.minimum(np.searchsorted(table.tokens, tokens), len(table) - 1)
    unknown = table.tokens[at] != tokens
    if unknown.any():
        row = int(np.argmax(unknown))
        place.refuse(
            row,
            int(tokens[row]),
            "expected an instrument of the instrument table",
            "add it to the table given by --instrument-table",
        )
    return at.astype(np.int64)


def check_values(records: Records, dense: Ints, table: InstrumentTable, place: Place) -> None:
    """Refuse prices that are not positive (futures excepted) and negative quantities."""
    futures = np.array([i.kind == "future" for i in table])[dense]
    for name in ("price", "bid", "ask"):
        _refuse_where(
            (records[f"{name}_int"] <= 0) & ~futures & ~_absent(records, name),
            _Shown(records[f"{name}_int"], table.price_scales, dense),
            place.of(name),
            "expected a price above zero",
            "mend or drop that row; only a future may cost less (--instrument-table)",
        )
    for name in ("quantity", "bid_quantity", "ask_quantity"):
        column = _Shown(records[f"{name}_int"], table.quantity_scales, dense)
        wrong = column.values < 0
        _refuse_where(wrong, column, place.of(name), "expected zero or more", _MEND)


class _Shown(NamedTuple):
    """Integers that a refusal shows as decimals."""

    values: Ints
    scales: Ints
    dense: Ints


def _refuse_where(wrong: Mask, column: _Shown, place: Place, problem: str, cure: str) -> None:
    if wrong.any():
        at = int(np.argmax(wrong))
        scale = int(column.scales[column.dense[at]])
        place.refuse(at, decimal_text(int(column.values[at]), scale), problem, cure)


def _absent(records: Records, name: str) -> Mask:
    from parity.model.ticks import FLAG_NAMES

    return np.asarray((records["flags"] & FLAG_NAMES[f"no_{name}"]) != 0)
