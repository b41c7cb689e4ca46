"""Ticks, and what a run decided, as one Parquet or CSV file for other programs; prices exact.

Parquet has decimal types, CSV exact decimal text; an absent value is null or an empty cell. Times
are UTC: timestamps and ISO 8601 with nine digits, or integers of ns. Reads no recording itself.
"""

from __future__ import annotations

import fcntl
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as typed_pc
import pyarrow.parquet as pq

from parity.analysis import frames
from parity.model import ticks as flag
from parity.model.errors import ConfigError, InputRefused
from parity.model.extensions import PRESENT
from parity.model.trade_ids import is_part, unpack
from parity.recording.disk import HashedFile
from parity.recording.holding import remove_left_over, temporary_of
from parity.recording.layout import tick_table

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.instruments import InstrumentTable
    from parity.model.ticks import TickBatch
    from parity.recording.manifest import Manifest
    from parity.recording.runs import RunFolder
    from parity.recording.slices import Progress, Range

pc: Any = typed_pc  # its stubs refuse plain Python scalars, which it takes
_rows: Any = pa.array  # they take the numpy index for booleans

INSTANT: Final = pa.timestamp("ns", "UTC")
DIGITS_MAX: Final = 38  # DECIMAL of signals, whose prices are a strategy's own
_TIMES: Final = ("ts_event", "ts_recv")
_TEXTS: Final = (pa.types.is_large_string, pa.types.is_string_view, pa.types.is_dictionary)
_PLACE: Final = ("stream", "offset", "sub")
_SIDES: Final = pa.array(["SELL", None, "BUY"], pa.string())  # by side + 1
# What an empty cell says already; these are said by name.
_NAMED: Final = {
    name: bit
    for name, bit in flag.FLAG_NAMES.items()
    if not name.startswith("no_") or name == "no_venue_time"
}


def tick_rows(ticks: TickBatch, manifest: Manifest, times: str, *, text: bool) -> pa.Table:
    """Return ticks as rows for other programs.

    Args:
        ticks: a batch with all its columns.
        manifest: of the recording they are of: scales, and what their streams are called.
        times: "iso" or "ns".
        text: prices and quantities as text at the instrument's own scale, not as decimals.
    """
    table = ticks.table
    known = table.columns
    columns = {name: ticks.column(name) for name in known.names}
    stored = tick_table(columns, table, manifest.scales)
    flags = columns["flags"]
    made: dict[str, Any] = {}
    for name in known.names:
        if name == PRESENT or is_part(name) or (name in _PLACE and not manifest.streams):
            continue
        label = known.stored[name]
        if name in _TIMES:
            made[name] = instants(columns[name], _there(name, columns, ticks), times)
        elif name == "side":
            made[name] = _SIDES.take(_rows(columns[name].astype(np.int64) + 1))
        elif name == "flags":
            made[name] = _flag_words(flags)
        elif name == "trade_id" and any(is_part(part) for part in known.names):
            made[name] = trade_id_texts(columns, _there(name, columns, ticks))
        elif name in known.scaled and text:
            own = table.scales(known.scaled[name][1])[ticks.column("inst")]
            made[label] = decimal_texts(columns[name], own, _there(name, columns, ticks))
        else:
            made[label] = _nulled(stored.column(label), _there(name, columns, ticks))
        if name == "instrument_token":
            symbols = pa.array([i.symbol for i in table])
            made["symbol"] = symbols.take(_rows(ticks.column("inst")))
    if manifest.streams:
        made |= _streams(made.pop("stream"), manifest)
    return pa.table({name: _plain(column) for name, column in made.items()})


def _there(name: str, columns: dict[str, Any], ticks: TickBatch) -> npt.NDArray[np.bool_]:
    """Return which rows have a value in a column."""
    known = ticks.table.columns
    if name in known.bits:
        return np.asarray((columns[PRESENT] & np.uint64(known.bits[name])) != 0)
    bit = flag.FLAG_NAMES.get(f"no_{known.stored[name]}", 0)
    return np.asarray((columns["flags"] & np.uint32(bit)) == 0)


def _nulled(column: Any, there: npt.NDArray[np.bool_]) -> Any:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if there.all() or array.null_count:  # an extension has its nulls already
        return array
    bits: Any = np.packbits(there, bitorder="little")  # a buffer, whatever the stubs say
    valid = pa.py_buffer(bits)
    return pa.Array.from_buffers(array.type, len(array), [valid, array.buffers()[1]])


def trade_id_texts(columns: Mapping[str, npt.NDArray[Any]], there: npt.NDArray[np.bool_]) -> Any:
    """Return trade ids as text, whether they are integers or not; null where there is none."""
    texts = pa.array(unpack({n: c for n, c in columns.items() if is_part(n)}), pa.string())
    numbers = pa.array(columns["trade_id"]).cast(pa.string())
    found = pc.if_else(pc.equal(texts, ""), numbers, texts)
    return pc.if_else(_rows(there), found, pa.scalar(None, pa.string()))


def _flag_words(flags: npt.NDArray[np.uint32]) -> Any:
    values, codes = np.unique(flags, return_inverse=True)
    words = [
        "|".join(name for name, bit in _NAMED.items() if value & bit) for value in values.tolist()
    ]
    return pa.array(words, pa.string()).take(_rows(codes))


def _streams(ids: Any, manifest: Manifest) -> dict[str, Any]:
    known = {s.id: s for s in manifest.streams}
    found = [known.get(number) for number in ids.to_pylist()]
    return {
        "topic": pa.array([None if s is None else s.topic for s in found], pa.string()),
        "partition": pa.array([None if s is None else s.partition for s in found], pa.int32()),
    }


def instants(values: Any, there: npt.NDArray[np.bool_], times: str) -> Any:
    """Return instants in ns UTC as timestamps, or as integers where `times` is "ns"."""
    array = pa.array(values, pa.int64(), mask=~there)
    return array if times == "ns" else array.cast(INSTANT)


def decimal_texts(
    values: npt.NDArray[np.int64], scales: npt.NDArray[np.int64], there: npt.NDArray[np.bool_]
) -> Any:
    """Return integers at their scales as decimal text, exactly and without an exponent.

    >>> decimal_texts(np.array([-5, 7, 9]), np.array([3, 0, 1]), np.array([True, True, False]))[0]
    <pyarrow.StringScalar: '-0.005'>
    """
    texts = np.full(len(values), None, object)
    for scale in np.unique(scales).tolist():
        rows = np.flatnonzero((scales == scale) & there)
        if len(rows):
            texts[rows] = _at_scale(values[rows], scale)
    return pa.array(texts, pa.string())


def _at_scale(values: npt.NDArray[np.int64], scale: int) -> Any:
    distinct, codes = np.unique(values, return_inverse=True)
    digits = pc.utf8_lpad(pa.array(np.abs(distinct)).cast(pa.string()), scale + 1, "0")
    signs = pc.if_else(pa.array(distinct < 0), "-", "")
    parts = [signs, digits]
    if scale:
        whole, part = (
            pc.utf8_slice_codeunits(digits, start, stop)
            for start, stop in ((0, -scale), (-scale, None))
        )
        parts = [signs, pc.binary_join_element_wise(whole, part, ".")]
    return pc.binary_join_element_wise(*parts, "").to_numpy(zero_copy_only=False)[codes]


# -- what a run decided


_OF_RUN: Final[Mapping[str, Callable[[Path, str], pl.DataFrame]]] = {
    "signals": frames.signals,
    "fills": frames.fills,
    "decisions": frames.decisions,
}


def stream_rows(
    run: RunFolder, what: str, wanted: Range, table: InstrumentTable, times: str, *, text: bool
) -> Iterator[pa.Table]:
    """Yield signals, decisions or fills of a run as rows, with their ids and exact numbers.

    One part of the run is in memory at a time: a candidate and its verdict lie in parts of one
    name. A DECIMAL has one scale in a whole file, so that for Parquet the numbers are seen twice.

    Args:
        run: the run's folder.
        what: "signals", "decisions" or "fills".
        wanted: instruments and ts_event.
        table: the instrument table of the run's recording, for symbols.
        times: "iso" or "ns".
        text: decimals as text.

    Raises:
        InputRefused: a number does not fit DECIMAL(38); only Parquet has that limit.
    """
    symbols = {i.token: i.symbol for i in table}
    sizes: dict[str, _Digits] = {}
    if not text:
        for frame in _frames(run, what, wanted):
            for label, numbers in _exact_numbers(frame).items():
                sizes.setdefault(label, _Digits()).see(numbers)
        for label, digits in sizes.items():
            digits.check(f"{run.path}: {what}: {label}")
    for frame in _frames(run, what, wanted):
        numbers_of = _exact_numbers(frame)
        made: dict[str, Any] = {"run_id": pa.array([run.manifest.run_id] * len(frame), pa.string())}
        for name in frame.columns:
            column, label = frame[name], name.removesuffix("_exact")
            if name == "ts_event":
                there = column.is_not_null().to_numpy()
                made[name] = instants(column.to_physical().fill_null(0).to_numpy(), there, times)
            elif label in numbers_of:
                made[label] = _numbers(numbers_of[label], sizes.get(label))
            elif name == "side":
                made[name] = column.cast(pl.String).to_arrow()
            else:
                made[name] = column.to_arrow()
            if name == "instrument_token":
                named = [symbols.get(token) for token in column.to_list()]
                made["symbol"] = pa.array(named, pa.string())
        yield pa.table({n: _plain(c) for n, c in made.items()})


def _frames(run: RunFolder, what: str, wanted: Range) -> Iterator[pl.DataFrame]:
    """Yield the wanted rows of each part of a run that has any."""
    for part in run.parts("decisions"):
        frame = _OF_RUN[what](run.path, part.name)
        at = frame["ts_event"].to_physical()
        keep = np.ones(len(frame), np.bool_)
        if wanted.start_ns is not None:
            keep &= (at >= wanted.start_ns).fill_null(False).to_numpy()
        if wanted.end_ns is not None:
            keep &= (at < wanted.end_ns).fill_null(False).to_numpy()
        if wanted.tokens is not None:
            own = frame["instrument_token"].is_in(list(wanted.tokens)).fill_null(False)
            keep &= own.to_numpy()
        if keep.any():
            yield frame.filter(pl.Series(keep))


def _exact_numbers(frame: pl.DataFrame) -> dict[str, list[Decimal | None]]:
    """Return the columns of numbers without their `_exact`, exactly; a float's shortest decimal."""
    found: dict[str, list[Decimal | None]] = {}
    for name in frame.columns:
        label = name.removesuffix("_exact")
        if f"{name}_exact" in frame.columns or (
            label == name and name not in ("price", "quantity")
        ):
            continue  # the exact one stands in its place; or it is no such number
        # A verdict has the float its strategy gave, a fill the exact money.
        floats = frame[label].to_list() if label in frame.columns else [None] * len(frame)
        said = zip(frame[name].to_list(), floats, strict=True)
        values = [f if e is None else e for e, f in said]
        found[label] = [
            Decimal(repr(v)) if isinstance(v, float) else v and Decimal(v) for v in values
        ]
    return found


def _plain(column: Any) -> Any:
    """Return it in a type that every program knows."""
    kind = column.type
    if pa.types.is_decimal64(kind):
        return column.cast(pa.decimal128(kind.precision, kind.scale))
    if any(is_text(kind) for is_text in _TEXTS):
        return column.cast(pa.string())
    return column


class _Digits:
    """How many digits a column of numbers needs, before and after the point."""

    def __init__(self) -> None:
        self.scale = self.whole = 0

    def see(self, numbers: Iterable[Decimal | None]) -> None:
        """Take more numbers."""
        for value in numbers:
            if value is not None:
                _, digits, exponent = value.as_tuple()
                self.scale = max(self.scale, -int(exponent))
                self.whole = max(self.whole, len(digits) + int(exponent))

    def check(self, place: str) -> None:
        """Refuse a column that no DECIMAL holds."""
        if self.scale + max(self.whole, 1) > DIGITS_MAX:
            raise InputRefused(
                f"{place}: takes {self.scale} decimals and {self.whole} digits before the point, a "
                f"DECIMAL has {DIGITS_MAX} in all",
                cure="export it as CSV, where it is text: --to csv",
            )


def _numbers(values: list[Decimal | None], digits: _Digits | None) -> Any:
    """Return exact decimals, or their text where no digits are said."""
    if digits is None:
        return pa.array([None if v is None else f"{v:f}" for v in values], pa.string())
    return pa.array(values, pa.decimal128(DIGITS_MAX, digits.scale))


# -- files


def write_table(
    out: Path,
    form: str,
    pieces: Iterable[pa.Table],
    *,
    table: InstrumentTable | None = None,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Write pieces of rows as one new file, whole or not at all; returns (rows, bytes).

    Args:
        out: the file; must not exist.
        form: "parquet" or "csv".
        pieces: at least one.
        table: of ticks: their instruments, kept in the Parquet file for reading it back.
        progress: called with (rows, rows).
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_left_over(out)
    temporary = temporary_of(out)
    file = HashedFile(temporary)
    held = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(held, fcntl.LOCK_EX)  # so that nobody takes it for a dead one's
    try:
        written = _parquet if form == "parquet" else _csv
        rows = 0
        for rows in written(file, iter(pieces), table):
            if progress is not None:
                progress(rows, rows)
        if out.exists():
            raise ConfigError(f"{out}: somebody made it meanwhile", cure="name a new one")
        file.finish(out)
    except BaseException:
        file.abandon()
        raise
    finally:
        file.close()
        temporary.unlink(missing_ok=True)
        os.close(held)
    return rows, file.bytes


def _parquet(
    file: HashedFile, pieces: Iterator[pa.Table], table: InstrumentTable | None
) -> Iterator[int]:
    into: Any = file  # has what pyarrow asks of a file
    first = next(pieces)
    schema = first.schema
    if table is not None:
        held = {"instruments": table.to_json(), "extensions": table.extensions}
        schema = schema.with_metadata({"parity.table": msgspec.json.encode(held)})
    rows = 0
    with pq.ParquetWriter(into, schema, compression="zstd", store_decimal_as_integer=True) as made:
        for piece in itertools.chain([first], pieces):
            made.write_table(piece.cast(schema))
            rows += len(piece)
            yield rows


def _csv(
    file: HashedFile, pieces: Iterator[pa.Table], table: InstrumentTable | None
) -> Iterator[int]:
    rows = 0
    for piece in pieces:
        frame = pl.from_arrow(_csv_text(piece))
        assert isinstance(frame, pl.DataFrame)  # a table never gives a series
        file.write(frame.write_csv(include_header=not rows).encode())
        rows += len(piece)
        yield rows


def _csv_text(piece: pa.Table) -> pa.Table:
    """Return times as ISO 8601 with nine digits."""
    for at, field in enumerate(piece.schema):
        if pa.types.is_timestamp(field.type):
            text = piece.column(at).cast(pa.timestamp("ns")).cast(pa.string())
            text = pc.binary_join_element_wise(pc.replace_substring(text, " ", "T"), "Z", "")
            piece = piece.set_column(at, field.name, text)
    return piece
