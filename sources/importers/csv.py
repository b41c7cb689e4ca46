"""CSV of trades or quotes: a declared layout, or a map from our columns to those of the file.

Every cell is read as text and converted exactly. The map names header columns, or `#n` counts
columns from 1, or `=text` stands for every row.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa
import pyarrow.csv as pc_csv

from parity.model.errors import ConfigError, InputRefused, did_you_mean
from parity.sources.importers import decimals
from parity.sources.importers.formats import Match
from parity.sources.importers.layouts import (
    EXPORTED,
    KEYS,
    SIDES,
    Columns,
    Layout,
    extension_keys,
    with_map,
)
from parity.sources.importers.naming import Naming
from parity.sources.importers.plain import PlainTickFile, may_be_plain
from parity.sources.importers.sample import UNPACKING_ERRORS, WithLastLineEnd
from parity.sources.importers.sorting import NumberedTickFile
from parity.sources.importers.tables import Place, other_names, refuse_bars
from parity.sources.importers.texts import TextTickFile

if TYPE_CHECKING:
    from parity.sources.importers.formats import Options
    from parity.sources.importers.sample import Sample
    from parity.sources.importers.shares import Shares
    from parity.sources.importers.tables import TickFile

_BLOCK_BYTES: Final = 4 << 20
_BLOCK_BYTES_MIN: Final = 1 << 16  # of a file among many; no row may be longer


class CsvFormat:
    """CSV with our own column names, or with a map of the user's."""

    name = "csv"

    def recognise(self, sample: Sample, options: Options) -> list[Match]:
        """Recognise a header that says enough in our names, or any text with a map of columns."""
        if sample.kind != "text":
            return []
        if maps_columns(options):
            return [Match(self.name, _layout_of({*options.columns}), "--map names its columns")]
        own = own_names(sample, options)
        if _lacking(own) is None:
            return [Match(self.name, _layout_of({*own}), "its header has our column names")]
        return []

    def open(self, sample: Sample, match: Match | None, options: Options) -> TickFile:
        """Open it with the map on top of the columns that bear our names."""
        if sample.header is not None:
            declared = {*extension_keys(options)}  # Kite's open, high, low and close, say
            refuse_bars(sample.path, [name for name in sample.header if name not in declared])
        sources = with_map(own_names(sample, options), options, headerless=sample.header is None)
        _check_sources(sample, sources)
        _check_enough(sample, sources)
        return open_csv(sample, sources, self.name, _layout_of({*sources}), options)


FORMAT: Final = CsvFormat()


def maps_columns(options: Options) -> bool:
    """Return whether --map names columns of the file, not constants only."""
    return any(not source.startswith("=") for source in options.columns.values())


def open_layout(
    sample: Sample, layout: Layout, options: Options, *, only: tuple[str, str] | None = None
) -> TickFile:
    """Open a file of a declared layout; --map may add constants or override columns.

    `only` is (venue, symbol) where the file is of one instrument and has no column for it.
    """
    headerless = sample.header is None
    sources = with_map(layout.sources(sample), options, headerless=headerless)
    _check_sources(sample, sources)
    numbered = layout.row_id in layout.where(sample) and "trade_id" not in options.columns
    by_row = options.sort is not None and numbered
    if by_row:
        sources["trade_id"] = layout.where(sample)[layout.row_id]
    file = open_csv(sample, sources, layout.format, layout.name, options, layout=layout, only=only)
    return NumberedTickFile(file) if by_row else file


def open_csv(
    sample: Sample,
    sources: Mapping[str, str],
    format: str,
    name: str,
    options: Options,
    *,
    layout: Layout | None = None,
    only: tuple[str, str] | None = None,
) -> TickFile:
    """Return the ticks of a CSV file: our column -> header name, `#n` or `=text`."""
    _check_width(sample)
    reader = _Reader(sample, sources, layout, options.shares)
    declared = {} if layout is None else {"sides": layout.sides, "describe": layout.describe}
    texts = TextTickFile(
        sample.path,
        format,
        name,
        reader.blocks,
        frozenset(sources),
        tz=options.tz,
        given=options.given,
        grows=options.grows,
        only=only,
        finish=None if layout is None else layout.finish,
        names=reader.names,
        left_out=_left_out(sample, sources) if layout is None else (),
        empty_book=layout is not None and layout.empty_book,
        extensions=() if options.given is None else options.given.extensions,
        **declared,  # type: ignore[arg-type]  # two kinds of values under their own names
    )
    equal_times = layout is not None and layout.equal_times
    judged = layout is not None and (layout.shape is not None or layout.finish is not None)
    if (judged and not equal_times) or not may_be_plain(sample, reader.places, reader.constants):
        return texts
    return PlainTickFile(
        sample,
        texts,
        reader.places,
        reader.constants,
        naming=Naming(sample, reader.places),
        sides=SIDES if layout is None else layout.sides,
        equal_times=equal_times,
        shares=options.shares,
    )


class _Reader:
    """Reads blocks of text columns through pyarrow."""

    def __init__(
        self, sample: Sample, sources: Mapping[str, str], layout: Layout | None, shares: Shares
    ) -> None:
        self._sample, self._layout, self._shares = sample, layout, shares
        literal = {k: v[1:] for k, v in sources.items() if v.startswith("=")}
        # The columns that --map gives as text, one row of them; the others by place in a row.
        self.constants = {k: decimals.encode(pa.array([v])) for k, v in literal.items()}
        self.places = {k: _number(sample, v) for k, v in sources.items() if not v.startswith("=")}
        self.names = other_names(sources)
        self._other: Any = None  # the first row of another width

    def blocks(self) -> Iterator[tuple[int, Columns]]:
        """Yield (rows before, columns) block by block.

        pyarrow fixes the size of its blocks when it opens a file, and a merge opens all of them
        before it knows whose rows take turns. So a file that may hold more after its first block
        is opened anew then.
        """
        if not self._sample.data:
            return
        size, rows = self._block_bytes(), 0
        with closing(self._batches(size)) as begin:
            for batch in begin:
                yield rows, self._columns(batch, rows)
                rows += len(batch)
                if rows == len(batch) and self._block_bytes() >= 2 * size:
                    break
            else:
                return
        seen = rows
        for batch in self._batches(self._block_bytes()):
            again = min(seen, len(batch))
            seen -= again
            if again < len(batch):
                yield rows, self._columns(batch.slice(again), rows)
                rows += len(batch) - again

    def _block_bytes(self) -> int:
        return self._shares.of(_BLOCK_BYTES, _BLOCK_BYTES_MIN)

    def _batches(self, size: int) -> Generator[Any, None, None]:
        """Yield what pyarrow makes of blocks of a size, where it holds rows."""
        with self._sample.open() as file:
            lines = WithLastLineEnd(file, self._sample.position)
            with self._open(lines, size) as reader:
                while True:
                    try:
                        batch = reader.read_next_batch()
                    except StopIteration:
                        return
                    except pa.ArrowInvalid as error:
                        raise self._refusal(error) from None
                    except UNPACKING_ERRORS as error:
                        raise self._sample.unreadable(error) from None
                    if lines.shares:  # of the block that it was made from: pyarrow reads far ahead
                        self._sample.used = lines.shares.popleft()
                    if len(batch):
                        yield batch

    def _columns(self, batch: Any, first_row: int) -> Columns:
        columns = {k: decimals.encode(batch.column(f"f{n}")) for k, n in self.places.items()}
        for key, text in self.constants.items():
            columns[key] = text.take([0] * len(batch))
        if self._layout is not None and self._layout.shape is not None:
            columns = self._layout.shape(
                columns, Place(self._sample.path, "price", first_row, self.names)
            )
        return columns

    def _open(self, lines: Any, size: int, kind: Any = None) -> Any:
        wanted = [f"f{n}" for n in sorted(set(self.places.values()))]
        read = pc_csv.ReadOptions(
            use_threads=False,
            block_size=size,
            autogenerate_column_names=True,
            skip_rows=0 if self._sample.header is None else 1,
        )
        convert = pc_csv.ConvertOptions(
            column_types={c: kind or pa.string() for c in wanted},
            include_columns=wanted,
            strings_can_be_null=False,
        )
        parse = pc_csv.ParseOptions(invalid_row_handler=self._note_other)
        try:
            return pc_csv.open_csv(
                lines, read_options=read, parse_options=parse, convert_options=convert
            )
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            raise self._refusal(error) from None
        except UNPACKING_ERRORS as error:
            raise self._sample.unreadable(error) from None

    def _note_other(self, row: Any) -> Literal["error"]:
        self._other = row
        return "error"

    def _refusal(self, error: Exception) -> InputRefused:
        """Return the refusal of what pyarrow would not take, in our counting of rows."""
        sample = self._sample
        if self._other is not None:
            header = sample.header is not None
            row, self._other = self._other, None
            return _of_width(sample, row.number - header, row.expected_columns, row.actual_columns)
        if "UTF8" in str(error):
            self._refuse_no_text()
        detail = str(error).splitlines()[0]
        return InputRefused(
            f"{sample.path}: expected CSV of equal rows, was not ({detail})",
            cure="mend the file, or name its --format",
        )

    def _refuse_no_text(self) -> None:
        """Read it again as bytes, and refuse the first cell of ours that is no text."""
        first_row = 0
        with self._sample.open() as file:
            lines = WithLastLineEnd(file, self._sample.position)
            with self._open(lines, _BLOCK_BYTES, pa.binary()) as reader:
                for batch in reader:
                    for key, place in self.places.items():
                        cells = batch.column(f"f{place}")
                        at = _no_text(cells)
                        if at is not None:
                            Place(self._sample.path, key, first_row, self.names).refuse(
                                at,
                                cells[at].as_py(),
                                "expected text in UTF-8",
                                "mend that row, or write the file anew in UTF-8",
                            )
                    first_row += len(batch)


def _no_text(cells: Any) -> int | None:
    """Return the place of the first cell of bytes that is no UTF-8, None where all are."""
    try:
        cells.cast(pa.string())
    except pa.ArrowInvalid:
        for at, cell in enumerate(cells.to_pylist()):
            try:
                cell.decode()
            except UnicodeDecodeError:
                return at
    return None


def _check_width(sample: Sample) -> None:
    """Refuse a header and a first row of different widths; the readers hold all rows to that one.

    They know no header: columns are places in a row, so that a cell more or less would move all.
    """
    if sample.header is not None and sample.data:
        expected, found = len(sample.header), len(sample.data[0])
        if found != expected:
            raise _of_width(sample, 1, expected, found)


def _of_width(sample: Sample, row: int, expected: int, found: int) -> InputRefused:
    like = "row 1" if sample.header is None else "the header"
    return InputRefused(
        f"{sample.path}: row {row}: expected {expected} cells, as {like} has, was {found}",
        cure="mend or drop that row, or mend the header, so that every cell stands in its column",
    )


def own_names(sample: Sample, options: Options) -> dict[str, str]:
    """Return the columns that bear our names and that the map says nothing of."""
    taken = {*options.columns, *options.columns.values()}
    if taken & {"side", "buyer_maker"}:
        taken |= {"side", "buyer_maker"}  # they say the same; the one that was named counts
    header = sample.header or []
    keys = (*KEYS, *extension_keys(options))
    if tuple(header[: len(EXPORTED)]) == EXPORTED:
        keys = (*keys, "flags")
    return {key: key for key in keys if key in header and key not in taken}


def _left_out(sample: Sample, sources: Mapping[str, str]) -> list[str]:
    """Return the columns of a header that no column of ours is taken from."""
    taken = {*sources.values()}
    both = {"side", "buyer_maker"}  # they say the same
    taken |= both if both & taken else set()
    return [name for name in sample.header or () if name and name not in {*taken, "seq"}]


def _number(sample: Sample, source: str) -> int:
    if source.startswith("#"):
        return int(source[1:]) - 1
    return (sample.header or []).index(source)


def _check_sources(sample: Sample, sources: Mapping[str, str]) -> None:
    header = sample.header
    width = len(header) if header is not None else max(map(len, sample.data), default=0)
    shown = [f"#{n}" for n in range(1, width + 1)] + (header or [])
    for key, source in sources.items():
        if not source.startswith("=") and source not in shown:
            raise InputRefused(
                f"{sample.path}: column {source!r} (for {key}) is missing",
                cure=did_you_mean(source, shown),
            )
    if {"side", "buyer_maker"} <= set(sources):
        raise ConfigError("--map: side and buyer_maker say the same", cure="give one of them")


def _lacking(sources: Mapping[str, str]) -> str | None:
    if not set(sources) & {"ts_event", "ts_recv"}:
        return "ts_event"
    if not set(sources) & {"price", "bid", "ask"}:
        return "price"
    return "quantity" if "price" in sources and "quantity" not in sources else None


def _check_enough(sample: Sample, sources: Mapping[str, str]) -> None:
    wanted = _lacking(sources)
    if wanted is None:
        return
    header = sample.header
    shown = f" (columns are {', '.join(header)[:200]})" if header is not None else ""
    column = "#1" if header is None else "COLUMN"
    raise InputRefused(
        f"{sample.path}: no column for {wanted}{shown}",
        cure=f"name it: --map {wanted}={column},…",
    )


def _layout_of(keys: set[str]) -> str:
    return "trades" if "price" in keys else "quotes"
