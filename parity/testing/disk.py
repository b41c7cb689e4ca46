"""A disk that can be watched, and made to fail or to kill the process at any call.

It stands in front of the calls of `os` that change files, for one folder, and counts them. So a
test runs an operation once to learn how many calls it makes, and then once for each call with the
fault at that one: every point where a kill or a bad disk can strike, none sampled.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_PATHS: Final = ("mkdir", "remove", "rename", "replace", "rmdir", "truncate", "unlink")
_DESCRIPTORS: Final = ("fdatasync", "fsync", "ftruncate", "pwrite", "write", "writev")
_WRITES: Final = ("pwrite", "write", "writev")
_CHANGES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

FAULTS: Final = ("kill", "half", "eio", "full", "stays full", "sigkill", "sigkill half")


class Killed(BaseException):
    """Stands for a kill; no `except Exception` on the way catches it."""


class Call(NamedTuple):
    """One call that changes the disk: its name, the file below the folder, and bytes written."""

    name: str
    file: str
    bytes: int = 0


class FaultyDisk:
    """Counts the calls that change files below a folder, and strikes at one of them.

    Args:
        root: only calls on it and what is below it count.
        at: number of the call, from 1, at which the fault strikes; 0 only counts.
        fault: "kill" raises Killed before the call, "half" after half of the bytes were written
            (where it is no write: as "kill"), "eio" fails it once, "full" fails it once with half
            of the bytes written, "stays full" fails it and every write behind it, "sigkill" and
            "sigkill half" are real ones.

    Attributes:
        calls: what was called so far, in order; at a fault the call that was struck is the last.
    """

    def __init__(self, root: Path, *, at: int = 0, fault: str = "kill") -> None:
        if fault not in FAULTS:
            raise ValueError(f"fault: expected one of {', '.join(FAULTS)}, was {fault!r}")
        self._root = os.path.realpath(root)
        self._at = at
        self._fault = fault
        self._full = False
        self._real: dict[str, Any] = {}
        self.calls: list[Call] = []

    def __enter__(self) -> FaultyDisk:
        for name in ("open", *_PATHS, *_DESCRIPTORS):
            self._real[name] = getattr(os, name)
            setattr(os, name, self._standing_in(name, self._real[name]))
        return self

    def __exit__(self, *_: object) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    def _standing_in(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            file = self._file_of(name, arguments)
            if file is None:
                return real(*arguments, **named)
            return self._strike(Call(name, file), real, arguments, named)

        return call

    def _file_of(self, name: str, arguments: tuple[Any, ...]) -> str | None:
        place: str
        if name in _DESCRIPTORS:
            place = os.readlink(f"/proc/self/fd/{arguments[0]}")
        else:
            if name == "open" and not (len(arguments) > 1 and arguments[1] & _CHANGES):
                return None
            # The last name may be a link; what is called changes the link, not where it leads.
            folder, last = os.path.split(
                os.path.abspath(os.fsdecode(arguments[-1 if _moves(name) else 0]))
            )
            place = os.path.join(os.path.realpath(folder), last)
        if place != self._root and not place.startswith(self._root + os.sep):
            return None
        return os.path.relpath(place, self._root)

    def _strike(
        self, call: Call, real: Callable[..., Any], arguments: Any, named: dict[str, Any]
    ) -> Any:
        self.calls.append(call)
        if self._full and call.name in (*_WRITES, "open", "mkdir"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if len(self.calls) != self._at:
            done = real(*arguments, **named)
            if call.name in _WRITES:
                self.calls[-1] = call._replace(bytes=done)
            return done
        half = call.name in _WRITES and self._fault in (
            "half",
            "full",
            "stays full",
            "sigkill half",
        )
        if half:
            _write_half(self._real["write"], arguments)
        if self._fault.startswith("sigkill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._fault in ("kill", "half"):
            raise Killed(str(call))
        self._full = self._fault == "stays full"
        code = errno.EIO if self._fault == "eio" else errno.ENOSPC
        raise OSError(code, os.strerror(code))


def _moves(name: str) -> bool:
    return name in ("rename", "replace")


def _write_half(write: Callable[[int, bytes], int], arguments: Any) -> None:
    data = arguments[1]
    whole = b"".join(data) if isinstance(data, list) else bytes(data)
    write(arguments[0], whole[: len(whole) // 2])
