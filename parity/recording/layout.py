"""The Parquet layout of ticks and events: columns, scales, encodings. Not a place for seq rules.

Integers go to DECIMAL(18, scale of the recording) exactly and come back exactly, or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from parity.model.errors import InputRefused, RecordingCorrupt
from parity.model.events import RAW, Control
from parity.model.extensions import PRESENT
from parity.recording.payloads import shown_to_people

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.extensions import Extension, TickColumns
    from parity.model.instruments import InstrumentTable

Column = npt.NDArray[Any]

ROW_GROUP_ROWS: Final = 128 * 1024
DIGITS: Final = 18
_INT64_MAX: Final = 2**63 - 1
_UNSIGNED: Final = {"seq": pa.uint64(), "flags": pa.uint32()}
_DICTIONARIES: Final = ["instrument_token", "price", "quantity"]
_WORDS: Final = pa.dictionary(pa.int32(), pa.string())

_EVENT_FIELDS: list[tuple[str, Any]] = [
    ("seq", pa.uint64()),
    ("ts_recv", pa.int64()),
    ("verb", pa.string()),
    ("detail", pa.binary()),  # msgpack: exact
    ("detail_json", pa.string()),  # the same for people and SQL; bytes as base64
]
EVENT_SCHEMA: Final = pa.schema(_EVENT_FIELDS)


def tick_schema(scales: Mapping[str, int], columns: TickColumns) -> pa.Schema:
    """Return the Parquet schema of ticks at the scales of a recording, extensions last."""
    fields: list[pa.Field[Any]] = [
        pa.field(stored, _arrow_type(n, scales, columns)) for n, stored in columns.stored.items()
    ]
    return pa.schema(fields)


def _arrow_type(name: str, scales: Mapping[str, int], columns: TickColumns) -> pa.DataType:
    if name in columns.scaled:
        return pa.decimal64(DIGITS, scales[columns.scaled[name][1]])
    if name in columns.extensions and columns.extensions[name].kind == "text":
        return _WORDS
    return _UNSIGNED.get(name) or pa.from_numpy_dtype(columns.dtype[name])


def tick_table(
    columns: Mapping[str, Column], table: InstrumentTable, scales: Mapping[str, int]
) -> pa.Table:
    """Return ticks as Arrow, scaled up to the recording's scales; refuses what does not fit."""
    dense = table.dense(columns["instrument_token"])
    known = table.columns
    arrays = [tick_array(name, columns, dense, table, scales) for name in known.stored]
    return pa.Table.from_arrays(arrays, schema=tick_schema(scales, known))


def tick_array(
    name: str,
    columns: Mapping[str, Column],
    dense: Column,
    table: InstrumentTable,
    scales: Mapping[str, int],
) -> Any:
    """Return one column of ticks as Arrow; `dense` are the dense ids of their instruments."""
    known = table.columns
    values = np.ascontiguousarray(columns[name])
    if name in known.scaled:
        values = _scaled_up(name, values, dense, columns, table, scales)
    kind = _arrow_type(name, scales, known)
    if name in known.extensions:
        there = (columns[PRESENT] & np.uint64(known.bits[name])) != 0
        return _nullable(known.extensions[name], values, there, kind)
    data: Any = values  # the stubs do not know that numpy gives buffers
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(data)])


def _nullable(extension: Extension, values: Column, there: Column, kind: pa.DataType) -> Any:
    """Return the values of an extension, null where it is absent."""
    if extension.kind == "text":
        codes: Any = pa.array(values.astype(np.int32), mask=~there)
        return pa.DictionaryArray.from_arrays(codes, pa.array(extension.words, pa.string()))
    data: Any = values
    bits: Any = np.packbits(there, bitorder="little")
    buffers: Any = [pa.py_buffer(bits), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _scaled_up(
    name: str,
    values: Column,
    dense: Column,
    columns: Mapping[str, Column],
    table: InstrumentTable,
    scales: Mapping[str, int],
) -> Column:
    if not values.any():
        return values  # absent everywhere: zero at any scale
    factors = scale_factors(name, table, scales)
    largest = int(factors.max())
    limit = (10**DIGITS - 1) // largest  # within it a value fits, whatever its instrument
    if int(values.max()) > limit or int(values.min()) < -limit:
        limits = ((10**DIGITS - 1) // factors)[dense]
        wrong = (values > limits) | (values < -limits)
        if wrong.any():
            _refuse_long(name, int(np.argmax(wrong)), columns, table, scales)
    if largest == 1:
        return values
    scaled: Column = factors.take(dense)
    scaled *= values
    return scaled


def _refuse_long(
    name: str,
    row: int,
    columns: Mapping[str, Column],
    table: InstrumentTable,
    scales: Mapping[str, int],
) -> NoReturn:
    stored, which = table.columns.scaled[name]
    raise InputRefused(
        f"{stored} of instrument {int(columns['instrument_token'][row])} at seq "
        f"{int(columns['seq'][row])}: {int(columns[name][row])} at the instrument's scale has more "
        f"than {DIGITS} digits at the recording's {which} scale {scales[which]}",
        cure=f"lower {which}_scale in the instrument table, or record the instrument apart",
    )


def scale_factors(name: str, table: InstrumentTable, scales: Mapping[str, int]) -> Column:
    """Return, per dense id, what an instrument's integers are multiplied with in Parquet."""
    which = table.columns.scaled[name][1]
    return np.array([10 ** int(scales[which] - s) for s in table.scales(which)], np.int64)


def mapped(array: Any) -> Column:
    """Return an Arrow array's numbers where they lie: read-only, no copy.

    Raises:
        ValueError: it holds nulls, or no whole or floating numbers.
    """
    # pyarrow's own `to_numpy` imports pandas first, where it is installed: 0.2 s.
    if array.null_count or not (pa.types.is_integer(array.type) or pa.types.is_float64(array.type)):
        raise ValueError(f"{array.type} with {array.null_count} nulls")
    numbers: Column = np.from_dlpack(array)
    return numbers


class Decoder:
    """Turns record batches from DuckDB into in-memory columns, without a copy where scales agree.

    Args:
        names: in-memory names; the batch's columns are those of them that are stored, in order.
        place: named when a value is finer than its instrument's scale.
    """

    def __init__(
        self,
        names: Sequence[str],
        table: InstrumentTable,
        scales: Mapping[str, int],
        place: str,
    ) -> None:
        known = table.columns
        self._present = PRESENT in names
        self._names = [n for n in names if n in known.stored]
        self._scaled = known.scaled
        self._bits = known.bits
        self._words = {
            n: pa.array(known.extensions[n].words, pa.string())
            for n in names
            if n in known.extensions and known.extensions[n].kind == "text"
        }
        self._table = table
        self._place = place
        # which scale -> (factor, by dense id whether it is the instrument's), where it is not 1
        self._factors: dict[str, list[tuple[int, Column]]] = {}
        for name in names:
            if name in self._scaled:
                factors = scale_factors(name, table, scales)
                others = [int(f) for f in np.unique(factors) if f != 1]
                if others:
                    self._factors[self._scaled[name][1]] = [(f, factors == f) for f in others]

    def __call__(self, batch: pa.RecordBatch) -> dict[str, Column]:
        """Return the columns of one record batch, read-only."""
        columns: dict[str, Column] = {}
        if self._present:
            columns[PRESENT] = np.zeros(batch.num_rows, np.uint64)
        for name, array in zip(self._names, batch.columns, strict=True):
            if name in self._bits:
                columns[name] = self._extension(name, array, columns[PRESENT])
                continue
            if name in self._scaled:
                array = array.view(pa.int64())
            values = mapped(array)
            columns[name] = values.view(np.int64) if name == "seq" else values
        if self._factors:
            self._scale_down(columns)
        return columns

    def _extension(self, name: str, array: Any, present: Column) -> Column:
        """Return the integers of an extension, 0 where it is null, and note where it is there."""
        if name in self._words:
            array = self._codes(name, array)
        elif name in self._scaled:
            array = array.view(pa.int64())
        bit = np.uint64(self._bits[name])
        if array.null_count == 0:
            present |= bit
        else:
            present[array.is_valid().to_numpy(zero_copy_only=False)] |= bit
            array = array.fill_null(0)
        return mapped(array)

    def _codes(self, name: str, array: Any) -> Any:
        codes = pc.index_in(array.cast(pa.string()), self._words[name])
        if codes.null_count > array.null_count:
            lost = pc.and_(codes.is_null(), array.is_valid())
            word = array.filter(lost)[0].as_py()
            raise RecordingCorrupt(
                f"{self._place}: {name}: {word[:64]!r} is not among the words of the manifest",
                cure="the part was not written by parity; import its source again",
            )
        return codes.cast(pa.int64())

    def _scale_down(self, columns: dict[str, Column]) -> None:
        dense = self._table.dense(columns["instrument_token"])
        rows = {
            which: [(factor, np.flatnonzero(mine.take(dense))) for factor, mine in factors]
            for which, factors in self._factors.items()
        }
        for name, (_, which) in self._scaled.items():
            # A column that is absent everywhere (bid and ask of trades) is zero at any scale.
            if name in columns and which in rows and np.bitwise_or.reduce(columns[name]):
                columns[name] = self._divided(name, columns[name], rows[which])

    def _divided(self, name: str, values: Column, rows: list[tuple[int, Column]]) -> Column:
        whole = values.copy()
        for factor, own in rows:
            fine = values.take(own)
            coarse = exact_quotient(fine, factor)
            if coarse is None:
                value = int(fine[np.argmax(fine % factor != 0)])
                raise RecordingCorrupt(
                    f"{self._place}: {self._scaled[name][0]}: {value} is finer than its "
                    "instrument's scale",
                    cure="the part was not written by parity; import its source again",
                )
            whole[own] = coarse
        return whole


def exact_quotient(values: Column, factor: int) -> Column | None:
    """Return int64 values divided by a power of ten, or None where one of them leaves a rest.

    An exact division is a shift and a multiplication by the inverse of 5**n modulo 2**64, five
    times as fast as dividing (measured). It is exact where the last n bits are zero and the product
    is small enough to be multiplied back.

    >>> exact_quotient(np.array([1200, -300]), 100)
    array([12, -3])
    >>> exact_quotient(np.array([1200, 2**62]), 100) is None
    True
    """
    zeros = len(str(factor)) - 1
    if not len(values):
        return values
    if int(np.bitwise_or.reduce(values)) & ((1 << zeros) - 1):
        return None
    quotient: Column = values >> zeros
    quotient *= np.uint64(pow(5**zeros, -1, 1 << 64)).astype(np.int64)
    limit = _INT64_MAX // factor
    fits = -limit <= int(quotient.min()) and int(quotient.max()) <= limit
    return quotient if fits else None


def open_tick_file(
    file: Any, scales: Mapping[str, int], columns: TickColumns, *, only: str | None = None
) -> pq.ParquetWriter:
    """Begin a Parquet file of ticks, in the encodings that are smallest and fastest to scan.

    With `only` it has that column alone, written as in a file of all.
    """
    words = [e.name for e in columns.extensions.values() if e.kind == "text"]
    schema = tick_schema(scales, columns)
    if only is not None:
        schema = pa.schema([schema.field(only)])
    dictionaries = [n for n in _DICTIONARIES + words if n in schema.names]
    plain = [n for n in schema.names if n not in dictionaries]
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=dictionaries,  # type: ignore[arg-type]  # the stubs miss the list
        column_encoding=dict.fromkeys(plain, "DELTA_BINARY_PACKED"),
        store_decimal_as_integer=True,
        write_statistics=["seq", "ts_event", "ts_recv", "instrument_token"],  # what filters ask
    )


_NOTHING: Final = msgspec.msgpack.encode({})


def write_events(file: Any, controls: Sequence[Control]) -> None:
    """Write one Parquet file of controls into a file open for writing."""
    pq.write_table(event_table(controls), file, compression="zstd")


def event_table(controls: Sequence[Control]) -> pa.Table:
    """Return controls as Arrow."""
    data = {
        "seq": [c.seq for c in controls],
        "ts_recv": [c.ts_recv for c in controls],
        "verb": [c.verb for c in controls],
        "detail": [msgspec.msgpack.encode(c.detail) for c in controls],
        "detail_json": [msgspec.json.encode(shown_to_people(c)).decode() for c in controls],
    }
    return pa.table(data, schema=EVENT_SCHEMA)


def read_events(path: Path, *, payloads: bool = False) -> list[Control]:
    """Read one Parquet file of controls.

    Args:
        path: of the part.
        payloads: read those that hold payloads, and no other; else these have an empty detail, so
            that reading a recording never takes what its messages were.
    """
    shown = ["seq", "ts_recv", "verb"]
    try:
        found = pq.read_table(path, columns=shown).to_pylist()
        if not payloads and not any(row["verb"] == RAW for row in found):
            details: list[Any] = pq.read_table(path, columns=["detail"]).column(0).to_pylist()
        else:
            wanted = pc.field("verb") == RAW if payloads else pc.field("verb") != RAW
            some = pq.read_table(path, columns=["seq", "detail"], filters=wanted).to_pylist()
            if payloads:
                found = [row for row in found if row["verb"] == RAW]
            by_seq: dict[int, bytes] = {row["seq"]: row["detail"] for row in some}
            details = [by_seq.get(row["seq"], _NOTHING) for row in found]
        return [
            Control(**row, detail=msgspec.msgpack.decode(detail))
            for row, detail in zip(found, details, strict=True)
        ]
    except (pa.ArrowException, OSError, msgspec.MsgspecError) as error:
        raise RecordingCorrupt(
            f"{path}: cannot be read: {error}", cure="restore the part from a copy"
        ) from None


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
