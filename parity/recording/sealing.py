"""Sealing: the journal becomes Parquet, segment by segment; a kill at any point costs nothing.

The manifest entry is the one moment that counts: before it a part is an orphan that the next
sealing writes again with the same bytes, after it the segment is only waiting to be removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model.errors import InputRefused, RecordingCorrupt
from parity.recording.disk import remove_behind, sync_folder
from parity.recording.journal import lock_journal
from parity.recording.layout import ROW_GROUP_ROWS
from parity.recording.manifest import (
    Manifest,
    SealedSegment,
    load_manifest,
    repair_cure,
    save_manifest,
    update_manifest,
)
from parity.recording.scan import cpu_count
from parity.recording.segments import (
    Segment,
    checked_segments,
    columns_of,
    segment_files,
    sparse_of,
)
from parity.recording.writer import TickPart, check_follows, event_part

if TYPE_CHECKING:
    from parity.model.events import Control

Item = TypeVar("Item")


class _Stopped(Exception):
    """A segment is left as it is: what was made of it is removed."""


def _never() -> bool:
    return False


def seal(folder: Path, *, stop: Callable[[], bool] = _never) -> Manifest:
    """Turn the journal of a recording into parts and mark the recording sealed.

    Args:
        folder: an open recording, whatever a kill left in it; a sealed one stays as it is.
        stop: asked before each segment and row group; the rest is left, and the state, as it is.

    Raises:
        RecordingCorrupt: a segment is damaged; the ones before it are sealed, it is kept.
    """
    folder = Path(folder)
    manifest = load_manifest(folder)
    lock = lock_journal(folder)
    try:
        if lock >= 0:
            _remove_temporary(folder)
            try:
                manifest = _seal_segments(folder, manifest, stop)
            except _Stopped:
                return load_manifest(folder)
            _remove_journal(folder)
        if manifest.state != "sealed":
            manifest = msgspec.structs.replace(manifest, state="sealed")
            save_manifest(folder, manifest)
        return manifest
    finally:
        if lock >= 0:
            os.close(lock)


def seal_ended(folder: Path, upto: int, *, stop: Callable[[], bool] = _never) -> None:
    """Turn the segments up to a number into parts, while the journal's writer goes on.

    Args:
        folder: of a recording whose journal this process holds.
        upto: the number of the last segment that has ended.
        stop: asked before each segment and row group; the rest is left as it is.

    Raises:
        RecordingCorrupt: a segment is damaged; the ones before it are sealed, it is kept.
    """
    for segment in checked_segments(folder, load_manifest(folder), upto=upto):
        if stop():
            return
        try:
            _seal_segment(folder, load_manifest(folder), segment, stop=stop)
        except _Stopped:
            return
        segment.path.unlink()


def _seal_segments(folder: Path, manifest: Manifest, stop: Callable[[], bool]) -> Manifest:
    if stop():
        raise _Stopped
    for segment in _ahead(checked_segments(folder, manifest, threads=cpu_count())):
        manifest = _seal_segment(folder, manifest, segment, hurry=True, stop=stop)
        remove_behind(segment.path)
    return manifest


def _seal_segment(
    folder: Path,
    manifest: Manifest,
    segment: Segment,
    *,
    stop: Callable[[], bool],
    hurry: bool = False,
) -> Manifest:
    controls, positions = sparse_of(segment)
    part = TickPart(manifest.scales, manifest.table, threads=cpu_count() if hurry else 1)
    seqs = [np.zeros(0, np.int64)]
    try:
        groups = columns_of(segment, ROW_GROUP_ROWS)
        for columns in _ahead(groups) if hurry else groups:
            if stop():
                raise _Stopped
            part.write(folder, columns)
            seqs.append(columns["seq"])
        last_seq = _follows(manifest.last_seq, segment, np.concatenate(seqs), controls)
        ticks = part.finish()
    except _Stopped:
        part.remove()
        raise
    finally:
        part.discard()
    parts = [] if ticks is None else [ticks]
    if controls:
        parts.append(event_part(folder, controls))
    entry = SealedSegment(
        number=segment.number,
        id=segment.id.hex(),
        last_seq=last_seq,
        positions=sorted(positions.items()),
    )
    warnings = []
    if segment.torn_bytes:
        warnings.append(
            f"{segment.path.name}: {segment.torn_bytes} torn bytes behind seq {last_seq} left out"
        )

    def listed(now: Manifest) -> Manifest:
        return msgspec.structs.replace(
            now,
            parts=[*now.parts, *parts],
            segments=[*now.segments, entry],
            warnings=[*now.warnings, *warnings],
        )

    return update_manifest(folder, listed)


def _follows(
    last_seq: int, segment: Segment, seqs: npt.NDArray[np.int64], controls: Sequence[Control]
) -> int:
    try:
        return check_follows(last_seq, seqs, controls)
    except InputRefused as error:
        raise RecordingCorrupt(
            f"{segment.path}: {error.message}", cure=repair_cure(segment.path.parent.parent)
        ) from None


def _ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield what an iterator yields; a thread makes the next while the last one is used."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, items, None)
        while (item := pending.result()) is not None:
            pending = pool.submit(next, items, None)
            yield item


def _remove_temporary(folder: Path) -> None:
    for kind in ("ticks", "events"):
        if not (folder / kind).is_dir():
            (folder / kind).mkdir()
        for left in (folder / kind).glob("*.tmp"):
            left.unlink()


def _remove_journal(folder: Path) -> None:
    for path in segment_files(folder):  # listed ones, whose unlink a kill prevented
        path.unlink()
    journal = folder / "journal"
    if journal.is_dir():
        journal.rmdir()
        sync_folder(folder)
