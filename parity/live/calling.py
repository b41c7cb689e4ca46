"""The control socket of a run's folder: where it is, how it is bound, and how it is asked.

A socket's path may have 107 bytes, a run's folder may have more. So the folder is opened, and the
socket is named through its descriptor, `/proc/self/fd/N/control.sock`, by those who bind it and by
those who call. Only its owner may open it (0600). Never here: what is asked.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.model.errors import ConfigError, RecordingMissing, ServiceDown

if TYPE_CHECKING:
    from pathlib import Path

SOCKET: Final = "control.sock"
LINE_BYTES_MAX: Final = 1 << 16
PATH_BYTES_MAX: Final = 107  # of a struct sockaddr_un, less its end


@contextmanager
def address_of(folder: Path) -> Iterator[str]:
    """Give a path of a folder's socket that is short enough, while the block lasts."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        there = f"/proc/self/fd/{descriptor}"
        # Where there is no /proc the plain path has to do.
        yield f"{there if os.path.isdir(there) else folder}/{SOCKET}"
    finally:
        os.close(descriptor)


def listening(folder: Path) -> socket.socket:
    """Return a socket that listens in a folder, for its owner alone.

    The caller holds the folder: what a killed runner left there is removed.

    Raises:
        OSError: the file system knows no sockets, or the path is too long and there is no /proc.
    """
    remove(folder)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        with address_of(folder) as path:
            made.bind(path)
            os.chmod(path, 0o600)  # before it listens, so nobody else can have come
        made.listen()
    except BaseException:
        made.close()
        raise
    return made


def remove(folder: Path) -> None:
    """Remove a folder's socket, if it is there."""
    (folder / SOCKET).unlink(missing_ok=True)


def lives(folder: Path) -> bool:
    """Return whether a runner listens in a folder."""
    with contextlib.suppress(ServiceDown, RecordingMissing), _connected(folder, 1.0):
        return True
    return False


def ask(folder: Path, request: dict[str, Any], *, wait_s: float = 10.0) -> dict[str, Any]:
    """Ask the runner of a folder; return its answer.

    Args:
        folder: of a run or a recording.
        request: see `parity.live.door`.
        wait_s: how long the answer may take. What was not granted by then is not done later;
            what was granted as it ended is done all the same, and the recording has it.

    Raises:
        RecordingMissing: there is no such folder.
        ConfigError: it is somebody else's.
        ServiceDown: no runner lives in it, or it does not answer.
    """
    with _connected(folder, wait_s) as connection:
        try:
            with contextlib.suppress(ConnectionError):  # who is turned away may be answered already
                connection.sendall(msgspec.json.encode(request) + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline()
        except TimeoutError:
            raise ServiceDown(
                f"{folder}: its runner did not answer within {wait_s:g} s",
                cure="it is busy or blocked: its log says with what. What was not granted by then "
                f"is not done later; see which it was: parity status {folder}",
            ) from None
        except ConnectionError:
            line = b""
    if not line:
        raise ServiceDown(
            f"{folder}: its runner ended before it answered",
            cure=f"see what it did: parity status {folder}",
        )
    answer: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    return answer


@contextmanager
def _connected(folder: Path, wait_s: float) -> Iterator[socket.socket]:
    if not folder.is_dir():
        raise RecordingMissing(f"{folder}: no run", cure="name the folder of a run or recording")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(wait_s)
        try:
            with address_of(folder) as path:
                connection.connect(path)
        except PermissionError:
            raise ConfigError(
                f"{folder / SOCKET}: it belongs to another user",
                cure="ask as the user whom the runner runs as",
            ) from None
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError, TimeoutError):
            raise ServiceDown(
                f"{folder}: no runner lives in it",
                cure="start it: a control is for a run that goes on",
            ) from None
        yield connection
