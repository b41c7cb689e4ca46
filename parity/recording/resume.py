"""Where an import ended: what the next append goes on from without reading all ticks again.

A file beside the manifest with the sequencer's state, the last time, and how each part looked
(size, mtime, inode). A convenience and no more: in no hash, removed at any time without loss. It
counts only where it is of this very manifest and every part still looks the same; else the parts
are hashed and read.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.recording.disk import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from parity.recording.manifest import Manifest

FILE: Final = ".resume"
LAYOUT: Final = 1
BYTES_MAX: Final = 16 << 20  # of very many instruments all ticks are read again
_DIGEST_BYTES: Final = 32


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """Where an import ended.

    Args:
        parts: file -> (size, mtime in ns, inode).
        sequencer: `Sequencer.snapshot()`.
        end_ns: the last time in the recording's order.
    """

    layout: int = LAYOUT
    recording_id: str
    parts: dict[str, tuple[int, int, int]]
    sequencer: dict[str, Any]
    end_ns: int


def save_resume(folder: Path, manifest: Manifest, sequencer: dict[str, Any], end_ns: int) -> None:
    """Write it for a manifest that is about to be written."""
    held = Resume(
        recording_id=manifest.recording_id,
        parts=_looks(folder, manifest),
        sequencer=sequencer,
        end_ns=end_ns,
    )
    body = msgspec.msgpack.encode(held)
    if len(body) > BYTES_MAX:
        (folder / FILE).unlink(missing_ok=True)
        return
    replace_file(folder / FILE, hashlib.sha256(body).digest() + body)


def load_resume(folder: Path, manifest: Manifest) -> Resume | None:
    """Return it, or None where it is missing, damaged, of another content, or a part changed."""
    try:
        data = (folder / FILE).read_bytes()
        if hashlib.sha256(data[_DIGEST_BYTES:]).digest() != data[:_DIGEST_BYTES]:
            return None
        held = msgspec.msgpack.decode(data[_DIGEST_BYTES:], type=Resume)
        looks = _looks(folder, manifest)
    except (OSError, msgspec.MsgspecError):
        return None
    same = held.layout == LAYOUT and held.recording_id == manifest.recording_id
    return held if same and held.parts == looks else None


def _looks(folder: Path, manifest: Manifest) -> dict[str, tuple[int, int, int]]:
    found = {}
    for part in manifest.parts:
        seen = (folder / part.file).stat()
        found[part.file] = (seen.st_size, seen.st_mtime_ns, seen.st_ino)
    return found
