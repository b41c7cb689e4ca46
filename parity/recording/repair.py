"""Repair: find what is wrong in a recording, mend it from what proves itself, and note the rest.

Rules of the house:

* Nothing is invented and nothing is thrown away: a damaged file goes into `damaged/`, and what
  cannot be had is a range in the manifest with a gap event at its last seq.
* A part is whole or lost. Its hash is over the file, so no row group of a damaged one is proved;
  a frame of the journal carries its own crc and the segment's id, so a good one is kept.
* Every change of the manifest is one replacement of the file. A kill before it leaves the damage
  as it was (or a file missing that stands in `damaged/`), after it at most an orphan: the next
  repair goes on.

Never here: reading a clock, or opening a recording as a reader does (it would refuse it).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model.errors import RecordingCorrupt
from parity.recording import segments
from parity.recording.disk import sync_folder
from parity.recording.gone import GAP_SUFFIX, LOST, alone, gap_file, gap_part
from parity.recording.layout import ROW_GROUP_ROWS, file_sha256
from parity.recording.manifest import Gone, Manifest, Part, SealedSegment, save_manifest
from parity.recording.pruning import left_over
from parity.recording.segments import Segment, columns_of, frames_of, sparse_of
from parity.recording.writer import TickPart, event_part, part_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT: Final = 1
DAMAGED: Final = "damaged"
# Doing these loses nothing, and they are no damage: what a kill leaves, or a copy put back.
HARMLESS: Final = ("seal", "remove", "put_back")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, and what is done about it.

    Args:
        file: below the recording.
        first_seq: of what it holds or held; 0 where unknown.
        last_seq: likewise.
        problem: what was found.
        remedy: "rebuild" from the journal or the manifest, "salvage" the good frames, "mark_lost",
            "set_aside" into `damaged/`, "put_back", "seal" or "remove" what a kill left.
        lost_events: how many seqs are noted as lost for it.
    """

    file: str
    first_seq: int = 0
    last_seq: int = 0
    problem: str
    remedy: str
    lost_events: int = 0


def repair_recording(folder: Path, *, noted: str, dry_run: bool = False) -> list[Finding]:
    """Make a recording whole again, or say what that would take.

    Args:
        folder: of the recording; no recorder may be at work in it.
        noted: the instant that stands with what is lost, ISO 8601 UTC.
        dry_run: change nothing.

    Returns:
        What was found, in the order it was dealt with; nothing where nothing is wrong.

    Raises:
        ConfigError: somebody is at work in it.
        RecordingMissing: there is none.
        RecordingCorrupt: its manifest is damaged: nothing else says what the parts mean.
    """
    with alone(folder) as manifest:
        return _Repair(folder, manifest, noted, write=not dry_run).run()


def is_damage(findings: list[Finding]) -> bool:
    """Return whether a reader would have refused the recording, or missed something."""
    return any(finding.remedy not in HARMLESS for finding in findings)


class _Repair:
    """One repair; with `write` off it goes the same way and changes its own manifest only."""

    def __init__(self, folder: Path, manifest: Manifest, noted: str, *, write: bool) -> None:
        self._folder = folder
        self._manifest = manifest
        self._noted = noted
        self._write = write
        self._findings: list[Finding] = []
        self._away: set[str] = set()  # files dealt with, which a dry run leaves where they are

    def run(self) -> list[Finding]:
        """Parts first, for the journal may still hold them; orphans last, when all is listed."""
        self._put_back()
        for part in list(self._manifest.parts):
            problem = self._problem(part)
            if problem:
                self._mend(part, problem)
        if self._manifest.state != "sealed" or (self._folder / "journal").is_dir():
            self._seal_journal()
        for kind in ("ticks", "events"):
            self._look_for_orphans(kind)
        return self._findings

    # -- parts

    def _problem(self, part: Part) -> str:
        path = self._folder / part.file
        if not path.exists():
            path = self._folder / DAMAGED / part.file  # a repair was killed behind setting it aside
        try:
            size = path.stat().st_size
        except OSError:
            return "is missing"
        if size != part.bytes:
            return f"has {size} bytes, expected {part.bytes}"
        found = file_sha256(path)
        if found == part.sha256:
            return "" if path == self._folder / part.file else "is missing"
        return f"has sha256 {found}, expected {part.sha256}"

    def _mend(self, part: Part, problem: str) -> None:
        gone = next((g for g in self._manifest.gone if gap_file(g) == part.file), None)
        source = None if gone is not None else self._segment_of(part)
        if gone is None and source is None:
            self._mark_lost(part, problem)
            return
        where = "manifest.json" if source is None else f"journal/{source.path.name}"
        self._find(part, f"{problem}; {where} still holds it", "rebuild")
        if not self._write:
            return
        self._set_aside(part.file)
        if gone is not None:
            made = gap_part(self._folder, gone)
        elif source is not None and part.kind == "ticks":
            made = self._tick_part(source)
        else:
            assert source is not None  # one of the two, or it would be lost
            made = event_part(self._folder, sparse_of(source)[0])
        if made != part:  # another version of the library writes other bytes of the same rows
            parts = [made if p == part else p for p in self._manifest.parts]
            self._save(parts=parts)

    def _segment_of(self, part: Part) -> Segment | None:
        """Return a sealed segment that a kill left behind and that holds all of a part."""
        sealed = {s.number for s in self._manifest.segments}
        for number, path in self._segment_paths():
            if number not in sealed:
                continue
            try:
                segment = self._parse(path, number, last=False)
            except RecordingCorrupt:
                continue
            if part.kind == "ticks":
                seqs = _tick_seqs(segment)
            else:
                seqs = np.array([c.seq for c in sparse_of(segment)[0]], np.int64)
            if (len(seqs), *seqs[:1], *seqs[-1:]) == (part.rows, part.first_seq, part.last_seq):
                return segment
        return None

    def _mark_lost(self, part: Part, problem: str) -> None:
        gone = Gone(
            reason=LOST,
            first_seq=part.first_seq,
            last_seq=part.last_seq,
            events=part.rows,
            ticks=part.rows if part.kind == "ticks" else 0,
            bytes=part.bytes,
            noted=self._noted,
            why=f"{part.file} {problem}",
            parts=[part],
        )
        self._find(part, problem, "mark_lost", lost_events=part.rows)
        self._set_aside(part.file)
        gap = self._gap(gone)
        parts = [gap if p == part else p for p in self._manifest.parts]
        self._save(parts=parts, gone=_in_order([*self._manifest.gone, gone]))

    def _put_back(self) -> None:
        """Take back what was lost, where its very files stand in their places again."""
        for gone in list(self._manifest.gone):
            if gone.reason != LOST or not gone.parts:
                continue
            if any(self._problem(part) for part in gone.parts):
                continue
            for part in gone.parts:
                self._find(part, "was lost and is there again, whole", "put_back")
            gap = gap_file(gone)
            parts: list[Part] = []
            for part in self._manifest.parts:  # in its old place: the content hash is as it was
                parts += gone.parts if part.file == gap else [part]
            self._save(parts=parts, gone=[g for g in self._manifest.gone if g != gone])
            self._away.add(gap)
            if self._write:
                (self._folder / gap).unlink(missing_ok=True)

    # -- the journal

    def _seal_journal(self) -> None:
        journal = self._folder / "journal"
        for path in sorted(journal.glob("*")):
            if path.suffix != ".wal" or not path.stem.isdigit():
                self._put_aside(f"journal/{path.name}", "is no journal segment")
        sealed = {s.number for s in self._manifest.segments}
        paths = self._segment_paths()
        unread: tuple[str, str] | None = None  # a segment of which nothing is kept, and why
        expected = max(sealed, default=0) + 1
        for number, path in paths:
            if number in sealed:
                self._remove(path, "sealed already; its removal was interrupted")
                continue
            if number > expected:
                unread = unread or (f"journal/{expected:06d}.wal", "is missing")
            expected = number + 1
            unread = self._take(path, number, last=path == paths[-1][1], unread=unread)
        if unread is not None:
            # Nothing follows that would say how much it was; the gap event takes a seq of its own.
            seq = self._manifest.last_seq + 1
            gone = self._lost(seq, seq, f"{unread[0]} {unread[1]}; how much it held is not known")
            gap = self._gap(gone)
            gones = _in_order([*self._manifest.gone, gone])
            self._save(parts=[*self._manifest.parts, gap], gone=gones)
        if self._manifest.state != "sealed":
            if not paths:
                self._find_file("journal", "was left open, with nothing in it", "seal")
            self._save(state="sealed")
        if self._write and journal.is_dir():
            journal.rmdir()
            sync_folder(self._folder)

    def _take(
        self, path: Path, number: int, *, last: bool, unread: tuple[str, str] | None
    ) -> tuple[str, str] | None:
        """Seal what a segment holds; returns what still explains seqs that are missing."""
        name, problem = f"journal/{path.name}", ""
        segment: Segment | None
        try:
            segment = self._parse(path, number, last=last)
            sparse_of(segment)
        except RecordingCorrupt as error:
            problem = error.message.removeprefix(f"{path}: ")
            segment = self._salvage(path, number)
        if segment is None:
            self._put_aside(name, problem)
            return unread or (name, problem)
        bounds = [(segments.first_of(f), segments.last_of(f)) for f in frames_of(segment)]
        bounds = [b for b in bounds if b[0]]
        if _overlap(self._manifest.last_seq, bounds):
            self._put_aside(name, problem or "holds seqs that are there already")
            return unread
        holes = _holes(self._manifest.last_seq, bounds)
        why = unread or (name, problem or "seqs are missing before it")
        if unread is not None and holes:
            self._find_lost(unread, holes[0])
        if problem or unread is None or not holes:
            torn = f"{segment.torn_bytes} torn bytes at its end" if segment.torn_bytes else ""
            found = Finding(
                file=name,
                first_seq=bounds[0][0] if bounds else 0,
                last_seq=bounds[-1][1] if bounds else 0,
                problem=problem or torn or "not sealed yet",
                remedy="salvage" if problem else "seal",
                lost_events=sum(hi - lo + 1 for lo, hi in holes) if unread is None else 0,
            )
            self._findings.append(found)
        self._list(segment, bounds, holes, " ".join(why))
        if problem:
            self._set_aside(name)
        elif self._write:
            path.unlink()
        return None if bounds else unread

    def _list(
        self,
        segment: Segment,
        bounds: list[tuple[int, int]],
        holes: list[tuple[int, int]],
        why: str,
    ) -> None:
        controls, positions = sparse_of(segment)
        gone = [self._lost(lo, hi, why) for lo, hi in holes]
        parts = [self._gap(one) for one in gone]
        seqs = _tick_seqs(segment)
        if len(seqs):
            made = _planned("ticks", len(seqs), int(seqs[0]), int(seqs[-1]))
            if self._write:
                made = self._tick_part(segment)
            parts.append(made)
        if controls:
            made = _planned("events", len(controls), controls[0].seq, controls[-1].seq)
            parts.append(event_part(self._folder, controls) if self._write else made)
        entry = SealedSegment(
            number=segment.number,
            id=segment.id.hex(),
            last_seq=bounds[-1][1] if bounds else self._manifest.last_seq,
            positions=sorted(positions.items()),
        )
        self._save(
            parts=[*self._manifest.parts, *sorted(parts, key=lambda p: p.first_seq)],
            gone=_in_order([*self._manifest.gone, *gone]),
            segments=[*self._manifest.segments, entry],
        )

    def _tick_part(self, segment: Segment) -> Part:
        part = TickPart(self._manifest.scales, self._manifest.table)
        try:
            for columns in columns_of(segment, ROW_GROUP_ROWS):
                part.write(self._folder, columns)
            made = part.finish()
        finally:
            part.discard()
        assert made is not None  # it has ticks
        return made

    def _segment_paths(self) -> list[tuple[int, Path]]:
        found: list[tuple[int, Path]] = []
        for path in (self._folder / "journal").glob("*.wal"):
            if path.stem.isdigit():
                with path.open("rb") as file:
                    head = file.read(segments.HEADER_BYTES)
                # Files that changed names are put in their order again by what they say.
                own = segments.own_number(head, self._manifest.recording_id)
                found.append((own or int(path.stem), path))
        return sorted(found)

    def _parse(self, path: Path, number: int, *, last: bool) -> Segment:
        return segments.parse_segment(
            path.read_bytes(),
            path=path,
            number=number,
            recording_id=self._manifest.recording_id,
            dtype=self._manifest.table.tick_dtype,
            last=last,
        )

    def _salvage(self, path: Path, number: int) -> Segment | None:
        return segments.salvage_segment(
            path.read_bytes(),
            path=path,
            number=number,
            recording_id=self._manifest.recording_id,
            dtype=self._manifest.table.tick_dtype,
        )

    def _lost(self, first: int, last: int, why: str) -> Gone:
        return Gone(
            reason=LOST,
            first_seq=first,
            last_seq=last,
            events=last - first + 1,
            noted=self._noted,
            why=why,
        )

    # -- orphans

    def _look_for_orphans(self, kind: str) -> None:
        listed = {part.file for part in self._manifest.parts} | self._away
        pruned = {part.file for part in left_over(self._folder, self._manifest)}
        for path in sorted((self._folder / kind).glob("*")):
            name = f"{kind}/{path.name}"
            if name in listed or not path.is_file():
                continue
            if path.suffix == ".tmp":
                self._remove(path, "left by a killed sealing")
            elif name in pruned:
                self._remove(path, "pruned already; its removal was interrupted")
            elif name.endswith(GAP_SUFFIX):  # it holds nothing but what the manifest says
                self._remove(path, "the gap event of no range; left by a kill")
            else:
                self._put_aside(name, "is not in the manifest")

    # -- what changes the disk, or in a dry run does not

    def _save(self, **changes: Any) -> None:
        self._manifest = msgspec.structs.replace(self._manifest, **changes)
        if self._write:
            save_manifest(self._folder, self._manifest)

    def _gap(self, gone: Gone) -> Part:
        if self._write:
            return gap_part(self._folder, gone)
        planned = _planned("events", 1, gone.last_seq, gone.last_seq)
        return msgspec.structs.replace(planned, file=gap_file(gone))

    def _remove(self, path: Path, problem: str) -> None:
        self._find_file(str(path.relative_to(self._folder)), problem, "remove")
        if self._write:
            path.unlink()

    def _set_aside(self, name: str) -> None:
        self._away.add(name)
        source = self._folder / name
        if not self._write or not source.exists():
            return
        target = self._folder / DAMAGED / name
        target.parent.mkdir(parents=True, exist_ok=True)
        number = 0
        while target.exists():  # an earlier repair kept one of that name
            number += 1
            target = target.with_name(f"{source.name}.{number}")
        os.replace(source, target)
        sync_folder(target.parent)
        sync_folder(source.parent)

    def _find(self, part: Part, problem: str, remedy: str, *, lost_events: int = 0) -> None:
        found = Finding(
            file=part.file,
            first_seq=part.first_seq,
            last_seq=part.last_seq,
            problem=problem,
            remedy=remedy,
            lost_events=lost_events,
        )
        self._findings.append(found)

    def _find_lost(self, what: tuple[str, str], hole: tuple[int, int]) -> None:
        found = Finding(
            file=what[0],
            first_seq=hole[0],
            last_seq=hole[1],
            problem=what[1],
            remedy="mark_lost",
            lost_events=hole[1] - hole[0] + 1,
        )
        self._findings.append(found)

    def _put_aside(self, name: str, problem: str) -> None:
        self._find_file(name, problem, "set_aside")
        self._set_aside(name)

    def _find_file(self, name: str, problem: str, remedy: str) -> None:
        self._findings.append(Finding(file=name, problem=problem, remedy=remedy))


def _holes(last_seq: int, bounds: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges of seqs that are missing before and between frames.

    >>> _holes(4, [(7, 8), (9, 9), (12, 20)])
    [(5, 6), (10, 11)]
    """
    return list(_missing(last_seq, bounds))


def _tick_seqs(segment: Segment) -> npt.NDArray[np.int64]:
    found = [frame.records["seq"] for frame in frames_of(segment)]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _overlap(last_seq: int, bounds: list[tuple[int, int]]) -> bool:
    for first, last in bounds:
        if first <= last_seq:
            return True
        last_seq = last
    return False


def _missing(last_seq: int, bounds: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for first, last in bounds:
        if first > last_seq + 1:
            yield last_seq + 1, first - 1
        last_seq = last


def _planned(kind: str, rows: int, first: int, last: int) -> Part:
    return Part(
        file=part_name(kind, first),
        kind=kind,
        sha256="",
        bytes=0,
        rows=rows,
        first_seq=first,
        last_seq=last,
    )


def _in_order(gone: list[Gone]) -> list[Gone]:
    return sorted(gone, key=lambda one: (one.first_seq, one.last_seq))
