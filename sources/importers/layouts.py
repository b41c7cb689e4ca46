"""Declared layouts of CSV files: which columns there are, in order, and what they mean to us.

A new layout is a page of data. What it declares is enough to tell the file by a header or, without
one, by how many cells a row has and what kind of text stands in each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.model.errors import ConfigError, InputRefused, did_you_mean
from parity.sources.importers.tables import Found, Place, Records

if TYPE_CHECKING:
    from parity.sources.importers.formats import Options
    from parity.sources.importers.sample import Sample

Columns = dict[str, Any]  # our column name -> dictionary array of texts

KEYS: Final = (
    "ts_event",
    "ts_recv",
    "instrument_token",
    "symbol",
    "venue",
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
# What the files of `parity export` begin with; only of these is a column `flags` ours.
EXPORTED: Final = ("seq", "ts_event", "ts_recv", "instrument_token", "symbol")
SIDES: Final = {"buy": 1, "sell": -1, "b": 1, "s": -1, "1": 1, "+1": 1, "-1": -1, "0": 0}
# kinds of cells, for files without a header
_CELLS: Final = {
    "i": re.compile(r"^-?[0-9]+$"),
    "d": re.compile(r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"),
    "t": re.compile(r"^[0-9]{13}([0-9]{3}){0,2}$"),
    "b": re.compile(r"^(true|false)$", re.IGNORECASE),
    "w": re.compile(r"^[^0-9\s].*$"),
    "?": re.compile(r"^.*$"),
}


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """A layout of CSV columns.

    Args:
        format: the name of the format it belongs to.
        name: "trades", "quotes" and so on.
        names: the file's own column names, in order, as its header writes them.
        columns: our column -> one of `names`, or "=text" that stands for every row. The order of
            `KEYS` does not matter; columns of ours that are not here are absent.
        cells: one letter a column for files without a header: i digits, d decimal, t time of 13,
            16 or 19 digits, b true/false, w a word, ? anything; "" where a header is always there.
        also: other header names seen in the wild -> the one in `names`.
        optional: names that may be missing at the end of a row.
        sides: words of the side column -> 1, -1, 0, any case; an empty cell is 0.
        describe: (symbol, venue) -> Found, for kind and contract size; scales are found.
        shape: called with each block of columns before they are read; may empty or rewrite cells.
            It keeps the number of rows, since refusals count them.
        finish: called with each block's records and columns, to set flags the columns imply.
        row_id: the file's number of a row that is no trade id; `--sort id` sorts by it.
        asked: whether only `--format` chooses it, because another market's files look the same.
        empty_book: whether a row without price, bid and ask is a quote: the book is empty.
        equal_times: whether all that `shape` does is to take a ts_event for absent that equals
            ts_recv, both in microseconds.
    """

    format: str
    name: str
    names: tuple[str, ...]
    columns: Mapping[str, str]
    cells: str = ""
    also: Mapping[str, str] = {}
    optional: frozenset[str] = frozenset()
    sides: Mapping[str, int] = msgspec.field(default_factory=lambda: SIDES)
    describe: Callable[[str, str], Found] = Found
    shape: Callable[[Columns, Place], Columns] | None = None
    finish: Callable[[Records, Columns, Place], None] | None = None
    empty_book: bool = False
    equal_times: bool = False
    row_id: str = ""
    asked: bool = False

    def fits(self, sample: Sample) -> str | None:
        """Return what of a file's start fits this layout, None where it does not."""
        if sample.kind != "text":
            return None
        header = sample.header
        if header is not None:
            others = {self._own(name) for name in header} - set(self.names)
            return None if others or self.missing(header) else "its header"
        rows = sample.data
        if not self.cells or not rows:
            return None
        kinds = [_CELLS[letter] for letter in self.cells]
        shortest = len(self.names) - len(self.optional)
        like = sum(
            shortest <= len(row) <= len(kinds)
            and all(k.match(cell) for k, cell in zip(kinds, row, strict=False))
            for row in rows
        )
        if 2 * like <= len(rows):
            return None  # one bad row is the reader's to name
        return f"no header, {len(rows[0])} columns"

    def missing(self, header: list[str]) -> list[str]:
        """Return the names of this layout that a header lacks."""
        have = {self._own(name) for name in header}
        return [n for n in self.names if n not in have and n not in self.optional]

    def sources(self, sample: Sample) -> dict[str, str]:
        """Return our column -> the file's header name, `#n` or `=text`, as --map would say it."""
        where = self.where(sample)
        return {
            ours: theirs if theirs.startswith("=") else where[theirs]
            for ours, theirs in self.columns.items()
            if theirs.startswith("=") or theirs in where
        }

    def where(self, sample: Sample) -> dict[str, str]:
        """Return the names of this layout that a file has -> its header's names, or `#n`."""
        if sample.header is not None:
            return {self._own(name): name for name in sample.header}
        width = max((len(row) for row in sample.data), default=0)
        return {name: f"#{n}" for n, name in enumerate(self.names[:width], start=1)}

    def refuse(self, sample: Sample) -> InputRefused:
        """Return the refusal of a file that was said to have this layout and has not."""
        names = ", ".join(self.names)
        cure = f"expected columns {names}; docs/import.md shows every layout"
        header = sample.header
        if header is not None:
            lacking = self.missing(header)
            others = [name for name in header if self._own(name) not in self.names]
            problem = f"column {', '.join(lacking or others)} is "
            problem += "missing" if lacking else "not one of it"
            return InputRefused(
                f"{sample.path}: not {self.format} {self.name}: {problem} "
                f"(columns are {', '.join(header)})",
                cure=cure,
            )
        row = sample.data[0] if sample.data else []
        return InputRefused(
            f"{sample.path}: not {self.format} {self.name}: row 1 has {len(row)} cells "
            f"({', '.join(row)[:100]})",
            cure=cure,
        )

    def _own(self, name: str) -> str:
        by_lower = {n.lower(): n for n in self.names}
        by_lower |= {other.lower(): n for other, n in self.also.items()}
        return by_lower.get(name.strip().lower(), name)


def extension_keys(options: Options) -> tuple[str, ...]:
    """Return the extension columns that the --instrument-table declares."""
    return () if options.given is None else tuple(e.name for e in options.given.extensions)


def with_map(sources: dict[str, str], options: Options, *, headerless: bool) -> dict[str, str]:
    """Return a layout's columns with the user's --map on top; names and #n do not mix."""
    keys = (*KEYS, *extension_keys(options))
    for key, source in options.columns.items():
        if key not in keys:
            raise ConfigError(f"--map: {key!r} is not a tick column", cure=did_you_mean(key, keys))
        if not source.startswith("=") and headerless != source.startswith("#"):
            raise ConfigError(
                f"--map: {key}={source}: names and #n are mixed",
                cure="use #n for every column of a file without a header",
            )
    return sources | dict(options.columns)
