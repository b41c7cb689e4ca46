"""The Arrow cache of a recording: its sealed ticks as they are in memory, mapped, not decoded.

A copy and no more: in no manifest and no hash, removed at any time without loss. A file stands for
one part, under a name that follows from the part's sha256, the instruments and this layout; where
one of them changes, the file is simply not found. Arrow IPC takes flipped bits for data (measured),
so every column of every batch has a crc32, checked when a process reads it first. What does not
hold is removed, and the part is read instead: nothing here can make a recording unreadable.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from parity.recording.disk import HashedFile
from parity.recording.holding import DiskRefused
from parity.recording.layout import mapped
from parity.recording.selection import Selection

if TYPE_CHECKING:
    from pathlib import Path

    from parity.recording.manifest import Manifest, Part

Columns = dict[str, npt.NDArray[Any]]
Mapped = dict[str, Any]  # arrays; `seq` may be a range

FOLDER: Final = "cache"
LAYOUT: Final = 2
BATCH_ROWS: Final = 65536
_KEY: Final = b"parity.key"
_BLOCK: Final = b"parity.block"
_HEAD: Final = struct.Struct("<qqqq")  # of a batch, as Head has it
_RELEASE_BYTES: Final = 32 << 20  # mapped pages are let go in steps of this
# (path, size, mtime, inode) -> column -> which batches hold
_checked: dict[tuple[str, int, int, int], dict[str, set[int]]] = {}


class CacheDamaged(Exception):
    """A file of the cache is not what was written; read the part instead."""


class Head(NamedTuple):
    """What a batch of the cache says of itself."""

    rows: int
    ts_min: int
    ts_max: int
    first_seq: int  # where seq rises by one from row to row, so that it need not be read; else 0


def path_of(folder: Path, manifest: Manifest, part: Part) -> Path:
    """Return where the cache of a part lies, whether or not it is there."""
    told = [LAYOUT, part.sha256, manifest.scales, manifest.instruments, manifest.extensions]
    key = hashlib.sha256(msgspec.json.encode(told)).hexdigest()
    return folder / FOLDER / f"{key[:40]}.arrow"


def build(
    folder: Path,
    manifest: Manifest,
    read: Callable[[Part], Iterator[Columns]],
) -> int:
    """Write what is missing, remove what is damaged or of other parts; return the cache's bytes.

    Several processes may do it at once: one at a time writes, the others find it done.

    Args:
        folder: the recording's.
        manifest: its manifest.
        read: gives the ticks of a part in batches of BATCH_ROWS, all columns.

    Raises:
        DiskRefused: the folder cannot be written, or the disk is full; nothing half is left.
    """
    wanted = {path_of(folder, manifest, p): p for p in manifest.of_kind("ticks")}
    dtype = manifest.table.tick_dtype
    cache = folder / FOLDER
    try:
        cache.mkdir(exist_ok=True)
        with _locked(cache):
            for path in _files(cache):
                if path not in wanted or not _holds(path, wanted[path], dtype):
                    path.unlink()
            for path, part in wanted.items():
                if not path.exists():
                    _write(path, dtype, read(part))
            return sum(path.stat().st_size for path in wanted)
    except OSError as error:
        raise DiskRefused(
            f"{cache}: no cache can be written: {error}",
            cure="free the disk or the folder's permissions; without a cache the parts are read",
        ) from error


def remove(folder: Path) -> None:
    """Remove the cache of a recording; other files in its folder stay."""
    cache = folder / FOLDER
    if cache.is_dir():
        with _locked(cache):
            for path in _files(cache):
                path.unlink()
        with contextlib.suppress(OSError):  # something else lies in it
            cache.rmdir()


def read_part(
    path: Path,
    part: Part,
    dtype: np.dtype[Any],
    names: Sequence[str],
    chosen: Selection,
    batch_rows: int,
    *,
    every_bit: bool = False,
) -> Iterator[Mapped]:
    """Yield the wanted ticks of a part from its cache, mapped: read-only, copied where filtered.

    Args:
        path: from `path_of`.
        part: the part it stands for.
        dtype: of a tick's record, as the instrument table has it.
        names: in-memory columns wanted.
        chosen: which ticks.
        batch_rows: most ticks in a batch.
        every_bit: read also a `seq` that is known without.

    Raises:
        CacheDamaged: it is not what was written; what was yielded before holds.
    """
    file = _Mapped(path, part, dtype, [*names, *(n for n in chosen.columns if n not in names)])
    for number in range(file.batches):
        head, columns = file.batch(number, chosen, every_bit=every_bit)
        if columns is None:
            continue
        rows = head.rows
        told: Mapped = {**columns}
        if "seq" not in columns and "seq" in names:
            told["seq"] = range(head.first_seq, head.first_seq + rows)
        if not chosen.everything:
            mask = chosen.mask(columns)
            if not mask.all():
                kept = np.flatnonzero(mask)
                told, rows = {n: columns[n].take(kept) for n in names}, len(kept)
        for lo in range(0, rows, batch_rows):
            yield {n: told[n][lo : lo + batch_rows] for n in names}


class _Mapped:
    """A mapped file of the cache, with the columns asked for."""

    def __init__(self, path: Path, part: Part, dtype: np.dtype[Any], names: Sequence[str]) -> None:
        try:
            with path.open("rb") as file:
                stat = os.fstat(file.fileno())
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._buffer = pa.py_buffer(self._map)
            # All fields: to ask pyarrow for some of them makes it copy those (measured). Pages of
            # columns that nobody looks at are never read.
            self._file: Any = pa.ipc.open_file(self._buffer)
            schema = self._file.schema
            self.batches: int = self._file.num_record_batches
            key = (schema.metadata or {}).get(_KEY, b"").decode("ascii", "replace")
        except (OSError, ValueError, pa.ArrowException) as error:
            raise CacheDamaged(f"{path}: {error}") from None
        if key != path.stem:
            raise CacheDamaged(f"{path}: it says it is {key!r}")
        if not schema.equals(_schema(dtype)):
            raise CacheDamaged(f"{path}: has other columns")
        self._path = path
        self._part = part
        self._at = {n: schema.names.index(n) for n in names}
        self._column_count = len(schema.names)
        self._known = _checked.setdefault(
            (str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino), {}
        )
        self._rows = 0
        self._released = 0

    def batch(
        self, number: int, chosen: Selection, *, every_bit: bool
    ) -> tuple[Head, Columns | None]:
        """Return a batch with its columns checked; None where no tick of it can be wanted.

        Without `seq` where the head knows it and no tick is left out, but for every bit.
        """
        try:
            held, metadata = self._file.get_batch_with_custom_metadata(number)
            block = metadata[_BLOCK]
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise CacheDamaged(f"{self._path}: batch {number}: {error}") from None
        head, sums = _opened(block, self._path.stem, number, self._column_count)
        self._rows += head.rows
        if number == self.batches - 1 and self._rows != self._part.rows:
            raise CacheDamaged(f"{self._path}: {self._rows} ticks, expected {self._part.rows}")
        if held.num_rows != head.rows:
            raise CacheDamaged(f"{self._path}: batch {number} has {held.num_rows} ticks")
        if chosen.outside(head.ts_min, head.ts_max):
            return head, None
        known = head.first_seq and chosen.everything and not every_bit
        names = [n for n in self._at if n != "seq"] if known else self._at
        columns = {n: self._column(held, n, number, sums) for n in names}
        self._release(columns)
        return head, columns

    def _column(self, held: Any, name: str, number: int, sums: Sequence[int]) -> npt.NDArray[Any]:
        try:
            values = mapped(held.column(self._at[name]))
        except (KeyError, ValueError, pa.ArrowException) as error:
            raise CacheDamaged(f"{self._path}: {name} of batch {number}: {error}") from None
        known = self._known.setdefault(name, set())
        if number not in known:
            if _crc(values) != sums[self._at[name]]:
                raise CacheDamaged(f"{self._path}: {name} of batch {number} was altered")
            known.add(number)
        return values

    def _release(self, columns: Columns) -> None:
        # Pages of batches behind us count as our memory until they are let go; whoever still
        # holds such a batch finds them in the file again.
        if not columns:
            return
        first: int = min(c.ctypes.data for c in columns.values()) - self._buffer.address
        if first - self._released > _RELEASE_BYTES:
            end = first // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, self._released, end - self._released)
            self._released = end


def _opened(block: bytes, key: str, number: int, columns: int) -> tuple[Head, Sequence[int]]:
    """Return the head and the crc32 of each column; raises CacheDamaged."""
    if len(block) != _HEAD.size + 4 * columns + 4:
        raise CacheDamaged(f"{key}: the block of batch {number} has {len(block)} bytes")
    *sums, own = struct.unpack_from(f"<{columns + 1}I", block, _HEAD.size)
    if own != _block_crc(block[:-4], key, number):
        raise CacheDamaged(f"{key}: the block of batch {number} was altered")
    return Head(*_HEAD.unpack_from(block)), sums


def _block(columns: Columns, key: str, number: int) -> bytes:
    times, seqs = columns["ts_event"], columns["seq"]
    first_seq = int(seqs[0]) if (np.diff(seqs) == 1).all() else 0
    body = _HEAD.pack(len(times), int(times.min()), int(times.max()), first_seq)
    body += struct.pack(f"<{len(columns)}I", *map(_crc, columns.values()))
    return body + struct.pack("<I", _block_crc(body, key, number))


def _block_crc(body: bytes, key: str, number: int) -> int:
    # Its own place goes in too, so that batches of one file, or of two, cannot change places.
    return zlib.crc32(body, zlib.crc32(f"{key} {number}".encode()))


def _crc(values: npt.NDArray[Any]) -> int:
    data: Any = np.ascontiguousarray(values)  # the stubs do not know that numpy gives buffers
    return zlib.crc32(data)


def _write(path: Path, dtype: np.dtype[Any], batches: Iterator[Columns]) -> None:
    temporary = path.with_suffix(".tmp")
    file: Any = HashedFile(temporary)
    schema = _schema(dtype).with_metadata({_KEY: path.stem.encode()})
    try:
        writer: Any = pa.ipc.new_file(file, schema)
        for number, columns in enumerate(batches):
            arrays = [pa.array(values) for values in columns.values()]
            writer.write_batch(
                pa.RecordBatch.from_arrays(arrays, schema=schema),
                custom_metadata={_BLOCK: _block(columns, path.stem, number)},
            )
        writer.close()
        file.finish(path)
    except BaseException:
        file.abandon()
        temporary.unlink(missing_ok=True)
        raise
    finally:
        file.close()


def _schema(dtype: np.dtype[Any]) -> pa.Schema:
    return pa.schema([pa.field(n, pa.from_numpy_dtype(dtype[n])) for n in dtype.names or ()])


def _holds(path: Path, part: Part, dtype: np.dtype[Any]) -> bool:
    """Return whether a file is whole, every bit of it that is ever read."""
    everything = Selection(None, None, None)
    try:
        names = dtype.names or ()
        for _ in read_part(path, part, dtype, names, everything, BATCH_ROWS, every_bit=True):
            pass
    except CacheDamaged:
        return False
    return True


def _files(cache: Path) -> list[Path]:
    # With the lock held, a temporary file has no writer any more.
    return sorted(p for p in cache.iterdir() if p.suffix in (".arrow", ".tmp"))


@contextlib.contextmanager
def _locked(cache: Path) -> Iterator[None]:
    descriptor = os.open(cache, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
