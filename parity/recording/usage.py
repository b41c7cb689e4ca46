"""What a recording or a run takes on the disk: the JSON of `parity inspect --disk`.

Sizes and times only, from the manifest, the files' own statistics and the file system: no tick is
read and no file is hashed. Reads, never writes; the instant it looks from is given.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.recording.inspect import iso
from parity.recording.manifest import load_manifest
from parity.recording.pruning import held_of, times_of
from parity.recording.retention import DAY_NS
from parity.recording.runs import is_run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from parity.recording.pruning import Retention

FORMAT: Final = 1
_RECORDING: Final = ("ticks", "events", "journal", "cache", "damaged")
_RUN: Final = (
    "candidates",
    "decisions",
    "deliveries",
    "checkpoints",
    "models",
    "source",
    "published",
)


def usage_of(folder: Path, retention: Retention, now_ns: int) -> dict[str, Any]:
    """Return what a recording, or a run with its own recording, takes on the disk.

    Args:
        folder: of the recording or the run.
        retention: whose effect is told.
        now_ns: int ns UTC, from which its days are counted back.

    Returns:
        Plain values: bytes by kind; of a recording its sealed segments, the bytes it grew a day,
        how long the free space lasts at that rate, and what would be pruned now. Of a run its own
        recording under `recording`, None where it read another.

    Raises:
        RecordingMissing: nothing is there.
        RecordingCorrupt: a manifest or the end of a part cannot be read.
    """
    if not is_run(folder):
        return _recording(folder, retention, now_ns)
    own = folder / "recording"
    sizes = _sizes(folder, _RUN, apart=("recording",))
    kept = _recording(own, retention, now_ns) if own.is_dir() else None
    if kept is not None:
        sizes["recording"] = kept["bytes"]["total"]
        sizes["total"] += sizes["recording"]
    return {
        "format": FORMAT,
        "path": str(folder),
        "kind": "run",
        "bytes": sizes,
        "free_bytes": shutil.disk_usage(folder).free,
        "recording": kept,
    }


def _recording(folder: Path, retention: Retention, now_ns: int) -> dict[str, Any]:
    manifest = load_manifest(folder)
    segments = held_of(folder, manifest)
    free = shutil.disk_usage(folder).free
    times = [times_of(folder, part) for held in segments for part in held.parts]
    first = min((one for one, _ in times if one), default=0)
    last = max((one for _, one in times), default=0)
    held_bytes = sum(held.bytes for held in segments)
    a_day = held_bytes * DAY_NS / (last - first) if last > first else None
    going = retention.apply(folder, now_ns, dry_run=True)
    return {
        "format": FORMAT,
        "path": str(folder),
        "kind": "recording",
        "state": manifest.state,
        "bytes": _sizes(folder, _RECORDING),
        "free_bytes": free,
        "segments": [
            {
                "first_seq": held.first_seq,
                "last_seq": held.last_seq,
                "first": _iso(min(times_of(folder, p)[0] or now_ns for p in held.parts)),
                "last": _iso(max(times_of(folder, p)[1] for p in held.parts)),
                "ticks": held.ticks,
                "bytes": held.bytes,
                "files": [part.file for part in held.parts],
                "would_go": going is not None and held.last_seq <= going.last_seq,
            }
            for held in segments
        ],
        "rate": {
            "first": _iso(first),
            "last": _iso(last),
            "bytes_per_day": None if a_day is None else round(a_day),
            "free_lasts_days": None if not a_day else round(free / a_day, 1),
        },
        "retention": {
            "policy": retention.policy.words,
            "keep_days": retention.policy.keep_days,
            "keep_bytes": retention.policy.keep_bytes,
            "would_prune": None if going is None else going.to_detail(),
            "held_back": msgspec.to_builtins(retention.held_back(folder, now_ns)),
            "named_by": msgspec.to_builtins(retention.needs(folder)),
        },
        "gone": msgspec.to_builtins(manifest.gone),
    }


def _sizes(folder: Path, names: Iterable[str], apart: tuple[str, ...] = ()) -> dict[str, int]:
    """Return the bytes below each folder of a list, of all others, and of all of it."""
    found = {name: _bytes(folder / name) for name in names}
    others = (p for p in folder.iterdir() if p.name not in found and p.name not in apart)
    found["other"] = sum(map(_bytes, others))
    found["total"] = sum(found.values())
    return found


def _bytes(path: Path) -> int:
    total = 0
    for file in [path, *path.rglob("*")]:
        try:
            total += 0 if file.is_symlink() or file.is_dir() else file.stat().st_size
        except OSError:
            continue  # it is not there, or went while we looked
    return total


def _iso(ns: int) -> str | None:
    return iso(ns) if ns else None
