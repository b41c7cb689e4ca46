"""The start of a file, as detection and the readers see it: bytes, first rows, header or none.

A `.zip` holds exactly one data file (its CHECKSUM beside it is no data), and that name counts.
Nothing here decides what a column means.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import os
import re
import zipfile
import zlib
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, Final

from parity.model.errors import InputRefused

if TYPE_CHECKING:
    from pathlib import Path

START_BYTES: Final = 1 << 16
ROWS_MAX: Final = 50
_PACKED: Final = (".gz", ".zst", ".bz2", ".zip")
_MAGIC: Final = {b"PAR1": "parquet", b"ARROW1": "arrow"}
_NO_DATA: Final = (".checksum", ".md5", ".sha256", ".txt.asc")
_NUMBER: Final = re.compile(r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$")
_DATE: Final = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CURE: Final = "take the file again from where it came"


class Sample:
    """A file of ticks by what its start shows.

    Args:
        path: the file, plain or packed (.gz, .zst, .bz2, or a .zip of one file).

    Raises:
        InputRefused: it cannot be read or unpacked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._member = _only_member(path) if path.suffix.lower() == ".zip" else None
        self.used: float | None = None  # the share whose rows came, where a reader is far ahead
        self._opened: tuple[Any, Callable[[], float]] | None = None  # a file, the share it read

    @property
    def name(self) -> str:
        """The name of the data: the file's or the zip member's, without .gz and the like."""
        name = self.path.name if self._member is None else self._member.rpartition("/")[2]
        for suffix in _PACKED:
            if name.lower().endswith(suffix):
                name = name[: -len(suffix)]
        return name

    @cached_property
    def size(self) -> int | None:
        """How many bytes it has unpacked, None where only unpacking tells."""
        if self._member is not None:
            with zipfile.ZipFile(self.path) as whole:
                return whole.getinfo(self._member).file_size
        packed = self.path.suffix.lower() in _PACKED
        return None if packed else self.path.stat().st_size

    def share(self, rows: int) -> float | None:
        """Return how much of it was read, from 0 to 1, by the time it gave so many rows.

        None where nothing tells: of a format that is read by its own path and counts no rows.
        """
        if self.kind == "parquet":
            return min(1.0, rows / max(1, self._row_count))
        if self._opened is None or self.kind == "arrow":
            return None
        return self.position() if self.used is None else self.used

    def position(self) -> float:
        """Return how much of what was opened last was read, from 0 to 1."""
        if self._opened is None:
            raise AssertionError(f"{self.path}: not opened yet")
        file, share = self._opened
        return 1.0 if file.closed else min(1.0, share())

    @cached_property
    def _row_count(self) -> int:
        import pyarrow.parquet as pq

        return int(pq.read_metadata(self.path).num_rows)

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return self.name.rpartition(".")[0] or self.name

    def open(self) -> IO[bytes]:
        """Open the unpacked bytes; a read gives fewer than asked for at the end only."""
        try:
            self._opened, self.used = _unpacked(self.path, self._member), None
            file: IO[bytes] = self._opened[0]
            return file
        except (OSError, zipfile.BadZipFile, ValueError) as error:
            raise self.unreadable(error) from None

    def unreadable(self, error: BaseException) -> InputRefused:
        """Return the refusal of a file that cannot be unpacked."""
        packed = self.path.suffix.lower() if self.path.suffix.lower() in _PACKED else "file"
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        return InputRefused(
            f"{self.path}: expected a whole {packed}, was not ({detail})", cure=_CURE
        )

    @cached_property
    def start(self) -> bytes:
        """The first bytes, unpacked."""
        try:
            with self.open() as file:
                return file.read(START_BYTES)
        except UNPACKING_ERRORS as error:
            raise self.unreadable(error) from None

    @property
    def kind(self) -> str:
        """What the bytes are: "parquet", "arrow", "dbn", "json" or "text"."""
        if self.start[:3] == b"DBN" and self.start[3:4] < b" ":  # no letter: a version
            return "dbn"
        for magic, kind in _MAGIC.items():
            if self.start.startswith(magic):
                return kind
        return "json" if self.start.lstrip()[:1] in (b"{", b"[") else "text"

    @cached_property
    def schema(self) -> Any:
        """The Arrow schema (with its metadata) of a Parquet or Arrow file, None of others."""
        if self.kind not in ("parquet", "arrow"):
            return None
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            if self.kind == "parquet":
                return pq.read_schema(self.path)
            return pa.ipc.open_file(str(self.path)).schema
        except (pa.ArrowInvalid, OSError) as error:
            raise InputRefused(
                f"{self.path}: expected a {self.kind.capitalize()} file, was not a whole one "
                f"({str(error).splitlines()[0]})",
                cure=_CURE if self._member is None else "unpack it first",
            ) from None

    @cached_property
    def rows(self) -> list[list[str]]:
        """The first rows of a text of cells, a header included; [] of other kinds."""
        if self.kind != "text":
            return []
        lines = self.start.decode("utf-8-sig", errors="replace").splitlines()
        if len(self.start) == START_BYTES:
            lines = lines[:-1]  # cut somewhere
        given = [line for line in lines[: ROWS_MAX + 1] if line.strip()]
        try:
            return [[cell.strip() for cell in row] for row in csv.reader(given)]
        except csv.Error:
            return []

    @property
    def header(self) -> list[str] | None:
        """The cells of the first row where none of them is a number or a date, else None."""
        if not self.rows:
            return None
        first = self.rows[0]
        values = any(_NUMBER.match(c) or _DATE.match(c) for c in first)
        return None if values or not any(first) else first

    @property
    def data(self) -> list[list[str]]:
        """The first rows without the header."""
        return self.rows if self.header is None else self.rows[1:]


UNPACKING_ERRORS: Final = (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile)


class WithLastLineEnd(io.RawIOBase):
    """A file of lines whose last one ends, as pyarrow wants the only line of a file to.

    Args:
        file: open for reading.
        share: how much of it was read, from 0 to 1.

    Attributes:
        shares: that of each block that was read and that nobody has taken from here.
    """

    def __init__(self, file: IO[bytes], share: Callable[[], float]) -> None:
        self._file, self._share = file, share
        self._next = b""
        self._started = False
        self.shares: deque[float] = deque()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read at most so many bytes; the last ones end a line."""
        room = max(size - 1, 1) if size >= 0 else size
        data = self._next if self._started else self._file.read(room)
        self._started = True
        if data:
            self.shares.append(self._share())
        self._next = self._file.read(room) if data else b""
        last = data and not self._next and not data.endswith(b"\n")
        return data + b"\n" if last else data


def _unpacked(path: Path, member: str | None) -> tuple[Any, Callable[[], float]]:
    """Return the unpacked bytes, and what says how much of them was read."""
    suffix = path.suffix.lower()
    if member is not None:
        whole = zipfile.ZipFile(path)
        one, bytes_in_all = whole.open(member), max(1, whole.getinfo(member).file_size)
        return one, lambda: one.tell() / bytes_in_all
    size = max(1, path.stat().st_size)
    if suffix == ".zst":
        import pyarrow as pa

        packed: Any = pa.OSFile(str(path), "rb")
        unpacked: Any = pa.CompressedInputStream(packed, "zstd")
        return io.BufferedReader(unpacked), lambda: packed.tell() / size
    opener: Any = {".gz": gzip.open, ".bz2": bz2.open}.get(suffix, open)
    file = opener(path, "rb")
    # Of the packed bytes: where the descriptor is, whatever unpacks them.
    return file, lambda: os.lseek(file.fileno(), 0, os.SEEK_CUR) / size


def _only_member(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as whole:
            names = [i.filename for i in whole.infolist() if not i.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputRefused(f"{path}: expected a .zip, was not one ({error})", cure=_CURE) from None
    data = [n for n in names if not n.lower().endswith(_NO_DATA) and "__MACOSX" not in n]
    if len(data) != 1:
        shown = ", ".join(data[:4]) + (", …" if len(data) > 4 else "")
        raise InputRefused(
            f"{path}: expected one file of ticks in the .zip, found {len(data)} ({shown})",
            cure="unpack it and import the folder",
        )
    return data[0]
