"""Who names a recording, and from which seq on it must stay: checkpoints, goldens and runs.

Found by looking, because a run never changes the recording it reads. What lies outside the folders
looked into, names it by another path, or is on another machine, is not seen.
Never here: a change of what is found, or a decision about it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from parity.model.errors import ParityError
from parity.recording.manifest import MANIFEST, load_manifest
from parity.recording.reader import open_recording
from parity.recording.retention import Need
from parity.recording.runs import is_run

GOLDEN: Final = "digests.json"
DEPTH: Final = 3  # folders below a root
# Folders of recordings and runs, in which no other one lies but a run's own recording.
_INSIDE: Final = frozenset(
    {"ticks", "events", "journal", "cache", "damaged", "candidates", "decisions", "deliveries"}
    | {"checkpoints", "models", "source", "published"}
)


class _Reference(msgspec.Struct):
    path: str
    content_hash: str = ""


class _Naming(msgspec.Struct):
    run_id: str
    mode: str
    recording: _Reference


class _Golden(msgspec.Struct):
    recording: str


def needs_of(folder: Path, roots: Iterable[Path] = (), *, runs: bool = True) -> list[Need]:
    """Return what names a recording, by whom and from which seq on.

    Args:
        folder: of the recording.
        roots: folders in which goldens and runs are looked for; that of the recording is another.
        runs: whether a backtest that read it counts, as long as it can be verified: one that read
            it before ticks were added, or others pruned, cannot.
    """
    found = _own_run(folder)
    content = _content_hash(folder) if runs else None
    seen: set[Path] = set()
    for root in (folder.absolute().parent, *roots):
        for place, names in _walk(root):
            if place in seen:
                continue
            seen.add(place)
            if GOLDEN in names and _golden_names(place, folder):
                found.append(Need(by=f"golden {place / GOLDEN}", from_seq=1))
            if runs and MANIFEST in names and _run_names(place, folder, content):
                found.append(Need(by=f"run {place}", from_seq=1))
    return found


def _own_run(folder: Path) -> list[Need]:
    """Return what the run needs whose own recording this is: all behind its oldest checkpoint."""
    run = folder.absolute().parent
    if folder.name != "recording" or not is_run(run):
        return []
    kept = [int(p.stem) for p in (run / "checkpoints").glob("*.ckpt") if p.stem.isdigit()]
    if not kept:
        return [Need(by=f"run {run}, which has no checkpoint yet", from_seq=1)]
    return [Need(by=f"checkpoint {min(kept)} of run {run}", from_seq=min(kept) + 1)]


def _walk(root: Path) -> Iterator[tuple[Path, set[str]]]:
    """Yield folders of a root, itself included, with the names of their files."""
    top = root.absolute()
    for place, folders, files in os.walk(top):
        here = Path(place)
        yield here.resolve(), set(files)
        deep = len(here.relative_to(top).parts) >= DEPTH
        folders[:] = [n for n in folders if not (deep or n in _INSIDE or n.startswith("."))]


def _golden_names(place: Path, folder: Path) -> bool:
    try:
        golden = msgspec.json.decode((place / GOLDEN).read_bytes(), type=_Golden)
    except (msgspec.MsgspecError, OSError, UnicodeDecodeError):
        return False  # another program's file of that name
    # Its path begins at some folder above it: that of the repository it is kept in.
    wanted = folder.resolve()
    return any((above / golden.recording).resolve() == wanted for above in (place, *place.parents))


def _content_hash(folder: Path) -> str | None:
    """Return the hash that runs note of a sealed recording; None where it cannot be told."""
    try:
        if load_manifest(folder).state != "sealed":
            return ""  # it grows: what was read of it is not what it will be
        with open_recording(folder) as recording:
            return recording.content_hash()
    except ParityError:
        return None


def _run_names(place: Path, folder: Path, content: str | None) -> bool:
    try:
        run = msgspec.json.decode((place / MANIFEST).read_bytes(), type=_Naming)
    except (msgspec.MsgspecError, OSError, UnicodeDecodeError):
        return False  # a recording, or none of ours
    if content is not None and run.recording.content_hash != content:
        return False
    return run.mode == "backtest" and (place / run.recording.path).resolve() == folder.resolve()
