"""Is a recording what was written? Every file hashed, every journal frame checked, all told.

Other readers stop at the first thing that is wrong; this one lists them all. Reads, never writes;
one journal segment in memory at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from parity.model.errors import RecordingCorrupt
from parity.recording.layout import file_sha256
from parity.recording.manifest import repair_cure
from parity.recording.segments import frames_of, last_of, number_of, parse_segment, segment_files

if TYPE_CHECKING:
    from pathlib import Path

    from parity.recording.manifest import Manifest, Part


class Defect(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it was written; seqs are 0 where they are not known."""

    file: str
    problem: str
    cure: str
    first_seq: int = 0
    last_seq: int = 0

    @property
    def words(self) -> str:
        """Place and problem in one line."""
        where = f" (seq {self.first_seq}..{self.last_seq})" if self.last_seq else ""
        return f"{self.file}{where} {self.problem}"


class JournalState(msgspec.Struct, kw_only=True):
    """What lies in the journal and in no part yet.

    Args:
        state: "none", "ended" (every segment has its end), "open" (the last one goes on, or was
            killed), "torn" (its last frame is cut off) or "damaged".
    """

    state: str = "none"
    segments: int = 0
    frames: int = 0
    ticks: int = 0
    last_seq: int = 0
    torn_bytes: int = 0


class Integrity(msgspec.Struct, kw_only=True):
    """What was checked and what was found."""

    defects: list[Defect] = []
    files: int = 0
    bytes: int = 0
    journal: JournalState = msgspec.field(default_factory=JournalState)
    unlisted: list[str] = []

    def to_json(self, *, order: bool) -> dict[str, Any]:
        """Return plain values; `order` says whether seq was seen to rise without a gap."""
        return {
            "ok": not self.defects,
            "hashed_files": self.files,
            "hashed_bytes": self.bytes,
            "order_and_gaplessness": "checked" if order else "not checked",
            "journal": msgspec.to_builtins(self.journal),
            "unlisted_files": self.unlisted,
            "defects": [msgspec.to_builtins(one) for one in self.defects],
        }


def check_integrity(folder: Path, manifest: Manifest) -> Integrity:
    """Hash every part and check every journal frame; nothing is raised for what is wrong.

    Args:
        folder: the recording.
        manifest: its manifest, from `load_manifest`.
    """
    found = Integrity(defects=[])
    for part in manifest.parts:
        problem = _problem_of(folder, part, found)
        if problem:
            found.defects.append(
                Defect(
                    file=str(folder / part.file),
                    problem=problem,
                    cure=repair_cure(folder),
                    first_seq=part.first_seq,
                    last_seq=part.last_seq,
                )
            )
    listed = {part.file for part in manifest.parts}
    found.unlisted = sorted(
        name
        for kind in ("ticks", "events")
        for path in (folder / kind).glob("*")
        if (name := str(path.relative_to(folder))) not in listed
    )
    if manifest.state != "sealed":
        _check_journal(folder, manifest, found)
    return found


def _problem_of(folder: Path, part: Part, found: Integrity) -> str:
    path = folder / part.file
    try:
        size = path.stat().st_size
    except OSError:
        return "is missing"
    if size != part.bytes:
        return f"has {size} bytes, expected {part.bytes}"
    digest = file_sha256(path)
    found.files, found.bytes = found.files + 1, found.bytes + size
    if digest != part.sha256:
        return f"has sha256 {digest}, expected {part.sha256}"
    try:
        rows = pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError) as error:
        return f"cannot be read: {str(error).splitlines()[0]}"
    return f"has {rows} rows, expected {part.rows}" if rows != part.rows else ""


def _check_journal(folder: Path, manifest: Manifest, found: Integrity) -> None:
    journal = found.journal
    sealed = {segment.number for segment in manifest.segments}
    paths = [p for p in segment_files(folder) if not (p.stem.isdigit() and int(p.stem) in sealed)]
    expected = max(sealed, default=0)
    journal.segments = len(paths)
    ended = True
    for path in paths:
        try:
            number = number_of(path)
            if number != expected + 1:
                raise RecordingCorrupt(
                    f"{path.parent}: segment {expected + 1} is missing before {path.name}",
                    cure=repair_cure(folder),
                )
        except RecordingCorrupt as error:
            found.defects.append(_journal_defect(path, error))
            number = int(path.stem) if path.stem.isdigit() else expected + 1
        expected = number
        try:
            segment = parse_segment(
                _bytes_of(path),
                path=path,
                number=number,
                recording_id=manifest.recording_id,
                dtype=manifest.table.tick_dtype,
                last=path == paths[-1],
            )
        except RecordingCorrupt as error:
            found.defects.append(_journal_defect(path, error))
            continue
        ended = segment.ended
        journal.frames += len(segment.frames)
        journal.torn_bytes += segment.torn_bytes
        for frame in frames_of(segment):
            journal.ticks += len(frame.records)
            journal.last_seq = max(journal.last_seq, last_of(frame))
    if paths:
        journal.state = "ended" if ended else "torn" if journal.torn_bytes else "open"
        if any(d.file.endswith(".wal") for d in found.defects):
            journal.state = "damaged"


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordingCorrupt(
            f"{path}: cannot be read: {error.strerror}", cure=repair_cure(path.parent.parent)
        ) from None


def _journal_defect(path: Path, error: RecordingCorrupt) -> Defect:
    return Defect(file=str(path), problem=error.message.removeprefix(f"{path}: "), cure=error.cure)
