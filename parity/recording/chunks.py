"""A Parquet file of ticks, written column by column: the bytes that pyarrow's writer would give.

pyarrow encodes one column after the other, on one CPU, and a column that says the same all along
(bid and ask of trades) over and over. Here each column has a pyarrow writer of its own, into
memory; what comes out is put side by side, and the footers are made one with the places moved.
So columns are encoded by several threads, and a chunk that was there before is only copied: half
of the work for trades (measured). That the file is pyarrow's to the byte is a law with its test.

Never here: encodings, schema, scales. They are in `layout`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from parity.recording import layout, thrift

if TYPE_CHECKING:
    from parity.model.instruments import InstrumentTable

_MAGIC: Final = b"PAR1"
_TAIL: Final = struct.Struct("<I4s")
# Fields of Parquet's footer, by their numbers in parquet.thrift.
_FILE_ROWS, _FILE_GROUPS = 3, 4
_GROUP_COLUMNS, _GROUP_BYTES, _GROUP_ROWS, _GROUP_AT, _GROUP_PACKED = 1, 2, 3, 5, 6
_CHUNK_META: Final = 3
_META_PACKED, _META_DATA, _META_INDEX, _META_DICTIONARY = 7, 9, 10, 11


# Chunks that say one value all along, by what decides their bytes; with their footer. A full row
# group's only, of which a process sees the same ones again with every segment it seals.
_SEEN_MAX: Final = 512
_seen: dict[Any, tuple[bytes, thrift.Struct]] = {}


class _Chunk(NamedTuple):
    """Where a column's part of a row group lies, and what its own writer's footer says of it."""

    at: int
    group: int | thrift.Struct  # the row group there, or its number


class TickWriter:
    """Writes row groups of ticks, then the footer.

    Args:
        file: takes bytes by `write`, and says by `tell` where it is.
        table: of the ticks.
        scales: of the recording.
        threads: how many encode at once.
    """

    def __init__(
        self, file: Any, table: InstrumentTable, scales: Mapping[str, int], *, threads: int = 1
    ) -> None:
        self._file, self._table, self._scales = file, table, scales
        self._columns = [_Column(name, table, scales) for name in table.columns.stored]
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._groups: list[tuple[int, list[_Chunk]]] = []
        file.write(_MAGIC)

    def write(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add ticks as one row group (or more, where they are many).

        Raises:
            InputRefused: a token is not in the table, or a number does not fit the scales.
        """
        rows = len(columns["seq"])
        for lo in range(0, rows, layout.ROW_GROUP_ROWS):
            hi = min(lo + layout.ROW_GROUP_ROWS, rows)
            some = columns if hi - lo == rows else {n: c[lo:hi] for n, c in columns.items()}
            dense = self._table.dense(np.ascontiguousarray(some["instrument_token"]))
            encode = partial(_Column.encode, columns=some, dense=dense)
            chunks = []
            for data, group in (self._pool.map if self._pool else map)(encode, self._columns):
                chunks.append(_Chunk(self._file.tell(), group))
                self._file.write(data)
            self._groups.append((hi - lo, chunks))

    def close(self) -> None:
        """Write the footer; the file stays open."""
        footer = _footer_of(self._table, self._scales)
        own = [column.close() for column in self._columns]
        groups = [
            _group(rows, chunks, [_of(c.group, o) for o, c in zip(own, chunks, strict=True)])
            for rows, chunks in self._groups
        ]
        footer[_FILE_ROWS] = (thrift.I64, sum(rows for rows, _ in self._groups))
        footer[_FILE_GROUPS] = (thrift.LIST, (thrift.STRUCT, groups))
        body = thrift.encode(footer)
        self._file.write(body + _TAIL.pack(len(body), _MAGIC))
        self.discard()

    def discard(self) -> None:
        """End its threads; a second call does nothing."""
        if self._pool is not None:
            self._pool.shutdown()


class _Column:
    """One column, encoded by a pyarrow writer of its own."""

    def __init__(self, name: str, table: InstrumentTable, scales: Mapping[str, int]) -> None:
        self._name, self._table, self._scales = name, table, scales
        stored = table.columns.stored[name]
        self._schema = pa.schema([layout.tick_schema(scales, table.columns).field(stored)])
        self._sink = _Sink()
        self._writer = layout.open_tick_file(self._sink, scales, table.columns, only=stored)
        self._sink.take()  # Parquet's magic
        self._count = 0
        # The last chunk that says one value all along: (value, rows), what it is in Parquet.
        self._same: tuple[Any, int] | None = None
        self._kept: tuple[bytes, int | thrift.Struct] = (b"", 0)
        factors = np.ones(1, np.int64)
        if name in table.columns.scaled:
            factors = layout.scale_factors(name, table, scales)
        self._factor = int(factors[0]) if (factors == factors[0]).all() else None

    def encode(
        self, columns: Mapping[str, npt.NDArray[Any]], dense: npt.NDArray[Any]
    ) -> tuple[bytes, int | thrift.Struct]:
        """Return the bytes of a row group's chunk, and which one of this writer's it is."""
        same = self._one_value(columns[self._name])
        if same is not None and same == self._same:
            return self._kept
        if same is not None and (seen := _seen.get(self._key(same))) is not None:
            self._same, self._kept = same, seen
            return seen
        array = layout.tick_array(self._name, columns, dense, self._table, self._scales)
        rows: pa.Table = pa.Table.from_arrays([array], schema=self._schema)
        self._writer.write_table(rows, row_group_size=len(array))
        made = (self._sink.take(), self._count)
        self._count += 1
        if same is not None:
            self._same, self._kept = same, made
        return made

    def close(self) -> list[thrift.Struct]:
        """Return the row groups in the footer of this column's writer."""
        self._writer.close()
        groups: list[thrift.Struct] = _footer_in(self._sink.take())[_FILE_GROUPS][1][1]
        if self._same is not None and self._same[1] == layout.ROW_GROUP_ROWS:
            data, group = self._kept
            if isinstance(group, int) and len(_seen) < _SEEN_MAX:
                _seen[self._key(self._same)] = (data, groups[group])
        return groups

    def _key(self, same: tuple[Any, int]) -> Any:
        return (self._name, str(self._schema), self._factor, *same)

    def _one_value(self, values: npt.NDArray[Any]) -> tuple[Any, int] | None:
        if self._name in self._table.columns.extensions:
            return None  # what is null there, another column says
        first = values[0]
        if values.strides != (0,):
            if first != values[-1] or first != values[len(values) // 2]:
                return None
            if not (values == first).all():
                return None
        return (first, len(values)) if self._factor is not None or first == 0 else None


class _Sink:
    """A file in memory for pyarrow, emptied from time to time."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: Any) -> int:
        """Keep a copy of a buffer."""
        piece = bytes(data)
        self._pieces.append(piece)
        self._size += len(piece)
        return len(piece)

    def flush(self) -> None:
        """Do nothing."""

    def tell(self) -> int:
        """Return how many bytes were ever written."""
        return self._size

    def take(self) -> bytes:
        """Return what was written since the last time."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def _footer_of(table: InstrumentTable, scales: Mapping[str, int]) -> thrift.Struct:
    """Return the footer of a file of all columns and no rows, as pyarrow writes it."""
    sink = _Sink()
    layout.open_tick_file(sink, scales, table.columns).close()
    return _footer_in(sink.take())


def _footer_in(data: bytes) -> thrift.Struct:
    size, _ = _TAIL.unpack(data[-_TAIL.size :])
    return thrift.decode(data[-_TAIL.size - size : -_TAIL.size])


def _of(group: int | thrift.Struct, own: Sequence[thrift.Struct]) -> thrift.Struct:
    return own[group] if isinstance(group, int) else group


def _group(rows: int, chunks: Sequence[_Chunk], own: Sequence[thrift.Struct]) -> thrift.Struct:
    """Return a row group of the footer, from those of the columns' own writers."""
    columns: list[thrift.Struct] = []
    packed = 0
    for chunk, group in zip(chunks, own, strict=True):
        column: thrift.Struct = group[_GROUP_COLUMNS][1][1][0]
        meta: thrift.Struct = dict(column[_CHUNK_META][1])
        start = meta.get(_META_DICTIONARY, meta[_META_DATA])[1]
        for place in (_META_DATA, _META_INDEX, _META_DICTIONARY):
            if place in meta:
                meta[place] = (thrift.I64, meta[place][1] - start + chunk.at)
        packed += meta[_META_PACKED][1]
        columns.append(column | {_CHUNK_META: (thrift.STRUCT, meta)})
    return {
        _GROUP_COLUMNS: (thrift.LIST, (thrift.STRUCT, columns)),
        _GROUP_BYTES: (thrift.I64, sum(group[_GROUP_BYTES][1] for group in own)),
        _GROUP_ROWS: (thrift.I64, rows),
        _GROUP_AT: (thrift.I64, chunks[0].at),
        _GROUP_PACKED: (thrift.I64, packed),
    }
