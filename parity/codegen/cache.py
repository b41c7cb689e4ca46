"""The private directory of generated driver modules, named by the hash of their text.

A name says everything the module holds, so a file is written once and never changes; several
processes may write the same one at the same moment. Compiled code is loaded from here, so a
directory that others can write to is refused.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from parity.model.errors import KernelError

CACHE_DIR_VARIABLE: Final = "PARITY_CACHE_DIR"
# numba stamps a module's mtime beside its compiled code; the name already says all of it.
_MTIME: Final = 1_000_000_000
_CURE: Final = f"set {CACHE_DIR_VARIABLE} to a directory of your own (mode 0700)"


def cache_root() -> Path:
    """Return the cache directory the environment asks for, not yet made."""
    own = os.environ.get(CACHE_DIR_VARIABLE)
    if own:
        return Path(own).expanduser().absolute()
    xdg = os.environ.get("XDG_CACHE_HOME")
    if xdg and Path(xdg).is_absolute():
        return Path(xdg) / "parity"
    try:
        return Path.home() / ".cache" / "parity"
    except RuntimeError:
        raise KernelError("driver cache: this process has no home directory", cure=_CURE) from None


def driver_directory() -> Path:
    """Make and return the private directory of drivers.

    Raises:
        KernelError: it cannot be made, or somebody else owns it or can write to it.
    """
    folder = cache_root() / "drivers"
    try:
        for made in reversed([folder, *folder.parents]):
            if not made.exists():
                made.mkdir(mode=0o700, exist_ok=True)  # `parents=True` would leave it to the umask
    except OSError as error:
        raise KernelError(f"driver cache {folder}: {error.strerror}", cure=_CURE) from None
    require_private(folder)
    return folder


def require_private(folder: Path) -> None:
    """Refuse a directory that another user owns, can write to, or can put another in place of."""
    real = folder.resolve()
    status = real.stat()
    if status.st_uid != os.geteuid():
        raise KernelError(f"driver cache {folder}: user {status.st_uid} owns it", cure=_CURE)
    if status.st_mode & 0o022:
        mode = stat.filemode(status.st_mode)
        raise KernelError(f"driver cache {folder}: others can write to it ({mode})", cure=_CURE)
    for parent in real.parents:
        mode_bits = parent.stat().st_mode
        if mode_bits & stat.S_IWOTH and not mode_bits & stat.S_ISVTX:
            raise KernelError(
                f"driver cache {folder}: everybody can write to {parent} above it", cure=_CURE
            )


def key_of(text: str) -> str:
    """Return the key of a generated module: a hash of all its text."""
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def store(folder: Path, name: str, data: bytes) -> Path:
    """Write a file whole or not at all, its mtime pinned; one that holds the same is left alone."""
    path = folder / name
    try:
        if path.read_bytes() == data and path.stat().st_mtime == _MTIME:
            return path
    except OSError:
        pass  # not there yet, or unreadable: write it
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.utime(temporary, (_MTIME, _MTIME))
        os.replace(temporary, path)  # atomic: another process sees the old file or this one
    except BaseException:
        os.unlink(temporary)
        raise
    return path
