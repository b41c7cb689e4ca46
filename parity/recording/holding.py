"""Holding a folder of a live run: one runner at a time, and what a kill leaves before a manifest.

The lock is the kernel's, on the folder itself: it ends with its process, however that ends.
Never here: what is in the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from parity.model.errors import ConfigError, ParityError

if TYPE_CHECKING:
    from pathlib import Path

_REFUSALS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


class DiskRefused(ParityError):
    """The disk took no more: full, over quota, broken or read only."""

    exit_code = 4


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder where it is not there, and keep other runners out of it.

    A folder that is still empty at the end is removed: a start that failed leaves nothing.

    Raises:
        ConfigError: another runner holds it, or it is no folder.
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
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigError(
            f"{folder}: another runner is at work in it",
            cure="stop that one first, or name another folder",
        ) from None
    return descriptor


def remove_left_over(folders: Iterable[Path]) -> None:
    """Remove folders that a killed writer left; one that a living process holds stays."""
    for folder in folders:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue  # gone meanwhile, or not ours
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
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
