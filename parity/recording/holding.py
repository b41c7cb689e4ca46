"""Holding a folder that is written to, and what a kill leaves of it before it is whole.

The lock is the kernel's, on the folder itself: it ends with its process, however that ends.
Never here: what is in the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from parity.model.errors import ConfigError, ParityError

if TYPE_CHECKING:
    from pathlib import Path

_PARTIAL: Final = re.compile(r"\.(.+)\.[0-9a-f]{8}\.partial")
_TRIES: Final = 3
_TRY_S: Final = 0.02
_REFUSALS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


class DiskRefused(ParityError):
    """The disk took no more: full, over quota, broken or read only."""

    exit_code = 4


class FolderHeld(ConfigError):
    """Another process is at work in the folder."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder where it is not there, and keep other runners out of it.

    A folder that is still empty at the end is removed: a start that failed leaves nothing.

    Raises:
        FolderHeld: another runner holds it.
        ConfigError: it is no folder.
        DiskRefused: the disk refused a write meanwhile.
    """
    try:
        descriptor = hold(folder)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                folder.rmdir()
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        raise DiskRefused(
            f"{folder}: the disk refused: {error}",
            cure="free or mend the disk, then start again: what was journaled is kept",
        ) from error


def hold(folder: Path) -> int:
    """Make a folder where it is not there and hold it, until the descriptor is closed.

    Raises:
        ConfigError: another process holds it, or it is no folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileExistsError, NotADirectoryError):
        raise ConfigError(f"{folder}: is no folder", cure="name another one") from None
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if left:  # who only asks whether it is held has it for a moment
                time.sleep(_TRY_S)
                continue
            os.close(descriptor)
            raise FolderHeld(
                f"{folder}: another runner is at work in it",
                cure="stop that one first, or name another folder",
            ) from None
    return descriptor


def is_held(folder: Path) -> bool:
    """Return whether a process holds a folder, on this machine; one that is absent is not held.

    Raises:
        OSError: it cannot be told: the folder may not be read, say, or no descriptor is left.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def temporary_of(target: Path) -> Path:
    """Return where a target grows until it is whole: hidden, beside it, and named after it."""
    return target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.partial"


def is_partial(path: Path) -> bool:
    """Return whether a path is what `temporary_of` gives: never data, whatever is in it."""
    return _PARTIAL.fullmatch(path.name) is not None


def left_over(target: Path) -> list[Path]:
    """Return what killed imports and exports left of a target; some may still be at work."""
    if not target.parent.is_dir():
        return []
    named = {path: _PARTIAL.fullmatch(path.name) for path in target.parent.iterdir()}
    return sorted(path for path, found in named.items() if found and found[1] == target.name)


def remove_left_over(target: Path) -> None:
    """Remove what killed writers left of a target; what a living process holds stays."""
    for path in left_over(target):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # gone meanwhile, or not ours
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        except OSError:
            pass  # its writer lives
        finally:
            os.close(descriptor)


def is_bare(folder: Path, names: Collection[str]) -> bool:
    """Return whether a folder holds nothing but what a kill leaves before its first manifest.

    Args:
        folder: may be absent.
        names: of the empty folders that may stand in it.
    """
    if not folder.exists():
        return True
    return folder.is_dir() and all(_is_left_over(child, names) for child in folder.iterdir())


def _is_left_over(child: Path, names: Collection[str]) -> bool:
    if child.is_dir():
        return child.name in names and not any(child.iterdir())
    return child.name.startswith(".manifest.json.") and child.name.endswith(".tmp")
