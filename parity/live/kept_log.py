"""The log of a live run, kept in its folder as lines of JSON, so that its last error can be read.

A line goes in once the folder holds a run or a recording; what was said before waits until then.
A disk that refuses costs lines, never the run. Never here: what is said, or on which terminal.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "log.jsonl"
OLDER: Final = "log.1.jsonl"  # the one that was full before it
BYTES_MAX: Final = 16_000_000
_WAITING_MAX: Final = 200
_TAIL_BYTES: Final = 1 << 18
_MANIFEST: Final = "manifest.json"
ALARMS: Final = ("warning", "error", "critical")


class KeptLog:
    """Appends to the log of a folder.

    Args:
        folder: of the run, or of the recording.
        bytes_max: at which a file is put aside, and the one before it goes.
    """

    def __init__(self, folder: Path, bytes_max: int = BYTES_MAX) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._waiting: deque[bytes] = deque(maxlen=_WAITING_MAX)
        # The watchdog and librdkafka's threads speak, too; within a write its own thread may, in a
        # finalizer or a signal's handler.
        self._lock = threading.RLock()

    def add(self, event: Mapping[str, Any]) -> None:
        """Append one line, from any thread; raises nothing."""
        line = json.dumps(event, default=str).encode() + b"\n"
        with self._lock:
            self._waiting.append(line)
            if not (self._folder / _MANIFEST).is_file():
                return
            rest: deque[bytes] = deque(maxlen=_WAITING_MAX)
            # Taken before they are written: a line from within is not to write them again.
            taken, self._waiting = self._waiting, rest
            try:
                self._write(b"".join(taken))
            except OSError:
                self._waiting.extendleft(reversed(taken))

    def _write(self, lines: bytes) -> None:
        path = self._folder / FILE
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size + len(lines) > self._bytes_max:
                path.replace(self._folder / OLDER)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(file, lines)
        finally:
            os.close(file)


def last_error(folder: Path) -> dict[str, Any] | None:
    """Return the last line of a folder's log that is a warning or worse, or None."""
    for name in (FILE, OLDER):
        try:
            with (folder / name).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                lines = file.read().splitlines()
        except OSError:
            continue
        for line in reversed(lines):
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                found: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
                if found.get("level") in ALARMS:
                    return found
    return None
