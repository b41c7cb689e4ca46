"""How the files of a recording reach the disk: whole, synced, and renamed into place.

Every write, sync, rename and removal here is one call of `os`, so that `parity.testing.disk` can
count them and fail or kill at each. Never here: what the files hold.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

Bytes = bytes | memoryview
_SHARE_BYTES: Final = 1 << 22  # of a file, worth a thread

_sync_file_range: Any = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_BEGIN_ONLY = 2  # SYNC_FILE_RANGE_WRITE
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class HashedFile:
    """A new file being written under a temporary name, hashed as it grows.

    Has what pyarrow asks of a file: write, flush, tell, close and closed.

    Args:
        path: where its bytes go; what was there is lost.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._descriptor = os.open(path, _NEW, 0o644)
        self._abandoned = False
        self.bytes = 0

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._descriptor < 0

    def write(self, data: Any) -> int:
        """Write all of a buffer."""
        size = memoryview(data).nbytes
        if not self._abandoned:
            write_all(self._descriptor, data)
            self._digest.update(data)
        self.bytes += size
        return size

    def flush(self) -> None:
        """Do nothing: every write went to the system."""

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.bytes

    def finish(self, name: Path) -> str:
        """Sync, close and rename it; returns its sha256 in hex."""
        os.fsync(self._descriptor)
        self.close()
        os.replace(self._path, name)
        sync_folder(name.parent)
        return self._digest.hexdigest()

    def abandon(self) -> None:
        """Give it up under its temporary name; what pyarrow still writes goes nowhere."""
        self._abandoned = True

    def close(self) -> None:
        """Close it without giving it its name; a second call does nothing."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def bytes_of(path: Path, *, threads: int = 1) -> Bytes:
    """Return a whole file, read by so many threads where it is large; ends where the file does."""
    # Into numpy's memory, which comes in large pages: half of what bytes of its own take.
    with path.open("rb", buffering=0) as file:
        descriptor = file.fileno()
        memory: Any = np.empty(os.fstat(descriptor).st_size, np.uint8)
        room = memoryview(memory)
        share = max(_SHARE_BYTES, -(-len(room) // threads))
        starts = range(0, len(room), share)
        if len(starts) <= 1:
            return room[: _read_into(descriptor, room, 0)].toreadonly()
        with ThreadPoolExecutor(len(starts)) as pool:
            shares = [room[at : at + share] for at in starts]
            done = list(pool.map(partial(_read_into, descriptor), shares, starts))
    ends = next((at + n for at, n in zip(starts, done, strict=True) if n < share), len(room))
    return room[:ends].toreadonly()


def _read_into(descriptor: int, room: memoryview, at: int) -> int:
    done = 0
    while count := os.preadv(descriptor, [room[done:]], at + done):
        done += count
    return done


def write_all(descriptor: int, data: Any) -> None:
    """Write a whole buffer, however many calls the system makes of it."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]


def begin_writing_out(descriptor: int, start: int, size: int) -> None:
    """Ask the system to begin writing a range of a file to the disk, and do not wait for it.

    So that the sync at the end of a long file finds little left to do. A hint: where the system
    has no such call nothing happens, and no error is told here but by that sync.
    """
    if _sync_file_range is not None:
        _sync_file_range(descriptor, start, size, _BEGIN_ONLY)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file by temporary name, fsync, rename and fsync of its folder."""
    file = HashedFile(path.with_name(f".{path.name}.tmp"))
    try:
        file.write(data)
        file.finish(path)
    finally:
        file.close()


def remove_behind(path: Path) -> None:
    """Remove a large file; its name is gone at once, its room while the caller goes on.

    The system frees a file when the last of its descriptors closes, which takes a thread's time.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.unlink(path)
    finally:
        threading.Thread(target=os.close, args=(descriptor,), name="remove").start()


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
