"""The journal: an append-only record of every event, in frames that cannot lie.

One frame an append, written by one writev; `segments` tells what a frame is and when it is refused.
After a failed write or sync the writer refuses everything: what the disk then holds is unknown.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy.typing as npt

from parity.model.errors import ConfigError, ParityError
from parity.recording.disk import begin_writing_out, sync_folder
from parity.recording.manifest import Manifest, load_manifest, update_manifest
from parity.recording.segments import (
    Frame,
    checked_segments,
    frames_of,
    last_of,
    mend,
    number_of,
    pack_data,
    pack_end,
    pack_frame,
    pack_header,
    segment_files,
    seq_bounds,
)
from parity.recording.snapshot import snapshot

if TYPE_CHECKING:
    from parity.model.events import Control

SEGMENT_BYTES_MAX: Final = 64 * 1024 * 1024
WRITE_OUT_BYTES: Final = 1024 * 1024  # so that the sync at a segment's end does not stall


class JournalFailed(ParityError):
    """The disk refused the journal; the message says what was kept."""

    exit_code = 4


class Recovered(NamedTuple):
    """What a recording holds after a kill: the last seq kept, positions, and torn bytes cut off."""

    last_seq: int
    positions: dict[int, int]
    torn_bytes: int


class JournalWriter:
    """Appends events to the journal of a recording; one at a time, kept out by a lock.

    A journal that a kill left behind is recovered first, and goes on in a new segment.

    Args:
        folder: a recording made by `create_recording`, or a sealed one that goes on.
        segment_bytes_max: a segment ends with the frame that makes it so large.
        segment_s_max: and with the first append, be it of nothing, when it is so old.
        durability: "fdatasync", or "os" (sync does nothing; a power loss may cost the end).
        on_end: called with the number of each segment that ended, for a BackgroundSealer.

    Attributes:
        synced_seq: everything up to here is on the disk (with "os": handed to the system).
        last_seq: the last seq appended.
        positions: stream id -> next offset, as far as kept.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        segment_s_max: float = math.inf,
        durability: str = "fdatasync",
        on_end: Callable[[int], None] = lambda _: None,
    ) -> None:
        if durability not in ("fdatasync", "os"):
            raise ConfigError(f"durability: expected 'fdatasync' or 'os', was {durability!r}")
        self._folder = Path(folder) / "journal"
        manifest = load_manifest(Path(folder))
        if not self._folder.is_dir():  # it was sealed, and goes on
            self._folder.mkdir()
            sync_folder(Path(folder))
        self._lock = lock_journal(Path(folder))
        try:
            recovered = recover_locked(Path(folder), manifest)
            # One life without sync is enough: what it wrote may be lost with the power.
            weakest = "os" if manifest.durability == "os" else durability
            if (manifest.state, manifest.durability) != ("open", weakest):
                opened = {"state": "open", "durability": weakest}
                update_manifest(Path(folder), lambda m: msgspec.structs.replace(m, **opened))
        except BaseException:
            os.close(self._lock)
            raise
        left = [number_of(path) for path in segment_files(folder)]
        self._number = max([s.number for s in manifest.segments] + left, default=0)
        self._dtype = manifest.table.tick_dtype
        self._recording_id = bytes.fromhex(manifest.recording_id)
        self._segment_bytes_max = segment_bytes_max
        self._segment_s_max = segment_s_max
        self._on_end = on_end
        self._old_at = math.inf  # by the monotonic clock, of the open segment
        self._durable = durability == "fdatasync"
        self._file = -1  # opened by the first append, which knows the first seq
        self._id = b""
        self._frame_no = 0
        self._failed = ""
        self._closed = False
        self._written = 0  # bytes in the open segment
        self._begun = 0  # bytes of it that the system was asked to write out
        self.last_seq = self.synced_seq = recovered.last_seq
        self.positions = dict(recovered.positions)
        self.torn_bytes = recovered.torn_bytes
        self.bytes_written = 0

    def append(
        self,
        records: npt.NDArray[Any],
        controls: Sequence[Control] = (),
        positions: Mapping[int, int] | None = None,
    ) -> None:
        """Keep ticks and controls, and where each stream is read next, in one frame.

        Raises:
            JournalFailed: the disk refused; nothing more can be appended.
            ParityError: the seqs do not follow the last ones one by one, or the writer is closed.
        """
        if records.dtype is not self._dtype and records.dtype != self._dtype:
            raise ParityError(
                f"{self._folder}: records of another dtype: {records.dtype}",
                cure="append records of the recording's own: manifest.table.tick_dtype",
            )
        ticks = records.tobytes()
        count = len(records)
        first, last = self._bounds(ticks, count, controls)
        if not first:
            if not positions:
                self._end_if_old()
                return
            first, last = self.last_seq + 1, self.last_seq
        elif first != self.last_seq + 1 and self.last_seq:
            raise self._out_of_order(first, last)
        if self._failed or self._closed:
            raise self._refusal()
        if self._file < 0:
            self._open_segment(first)
        self._write(pack_data(ticks, count, controls, positions))
        self.last_seq = last
        if positions:
            self.positions.update(positions)
        if self._written >= self._segment_bytes_max:
            self._end_segment()
        elif self._written - self._begun >= WRITE_OUT_BYTES:
            begin_writing_out(self._file, self._begun, self._written - self._begun)
            self._begun = self._written
        else:
            self._end_if_old()

    def sync(self) -> None:
        """Make everything appended durable."""
        if self._failed:
            raise self._refusal()
        if self._durable and self._file >= 0 and self.synced_seq < self.last_seq:
            self._sync_file()
        self.synced_seq = self.last_seq

    def close(self) -> None:
        """End the segment, sync, and let go of the lock; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._file >= 0 and not self._failed:
                self._end_segment()
        finally:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
            os.close(self._lock)

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bounds(self, ticks: bytes, count: int, controls: Sequence[Control]) -> tuple[int, int]:
        # O(1) a frame: the count between first and last must be right; sealing checks each one.
        count += len(controls)
        if not count:
            return 0, 0
        first = last = 0
        if ticks:
            first, last = seq_bounds(ticks, self._dtype.itemsize)
        if controls:
            first = min(first or controls[0].seq, controls[0].seq)
            last = max(last, controls[-1].seq)
        if last - first + 1 != count or first < 1:
            raise self._out_of_order(first, last)
        return first, last

    def _out_of_order(self, first: int, last: int) -> ParityError:
        return ParityError(
            f"{self._folder}: events with seq {first}..{last} do not follow seq {self.last_seq} "
            "one by one",
            cure="give every tick and control its seq with one Sequencer, and append in order",
        )

    def _write(self, payload: list[bytes]) -> None:
        self._frame_no += 1
        self._writev(pack_frame(self._id, self._frame_no, payload))

    def _writev(self, pieces: list[bytes]) -> None:
        try:
            written = os.writev(self._file, pieces)
        except OSError as error:
            raise self._fail(f"write failed: {error.strerror}") from error
        self._written += written
        self.bytes_written += written
        length = sum(map(len, pieces))
        if written != length:
            raise self._fail(f"short write: {written} of {length} bytes (disk full?)")

    def _sync_file(self) -> None:
        try:
            os.fdatasync(self._file)
        except OSError as error:
            # A later fdatasync may succeed although pages were lost: never try again.
            raise self._fail(f"fdatasync failed: {error.strerror}") from error

    def _fail(self, what: str) -> ParityError:
        self._failed = what
        return self._refusal()

    def _refusal(self) -> ParityError:
        where = f"{self._folder}: kept up to seq {self.last_seq}, on disk up to {self.synced_seq}"
        if self._failed:
            return JournalFailed(
                f"{where}: {self._failed}",
                cure="free or mend the disk, then start again: it resumes",
            )
        return ParityError(f"{where}: the journal is closed", cure="open a new JournalWriter")

    def _open_segment(self, first_seq: int) -> None:
        self._number += 1
        self._id = uuid.uuid4().bytes
        self._frame_no = 0
        self._written = self._begun = 0
        path = self._folder / f"{self._number:06d}.wal"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, 0o644)
            if self._durable:
                sync_folder(self._folder)
        except OSError as error:
            raise self._fail(f"cannot make {path.name}: {error.strerror}") from error
        self._writev(pack_header(self._id, self._number, first_seq, self._recording_id))
        self._old_at = time.monotonic() + self._segment_s_max

    def _end_if_old(self) -> None:
        if time.monotonic() >= self._old_at and not (self._failed or self._closed):
            self._end_segment()

    def _end_segment(self) -> None:
        self._write(pack_end())
        # Also with durability "os": a torn tail is only ever allowed in the last segment.
        self._sync_file()
        self.synced_seq = self.last_seq
        os.close(self._file)
        self._file = -1
        self._old_at = math.inf
        self._on_end(self._number)


class JournalReader:
    """Iterates over the frames that no part holds yet; after the end `torn_bytes` is known."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self.torn_bytes = 0

    def __iter__(self) -> Iterator[Frame]:
        self.torn_bytes = 0
        _, journal = snapshot(self._folder)
        if journal is not None:
            yield from journal
            self.torn_bytes = journal.torn_bytes


def read_journal(folder: Path) -> JournalReader:
    """Return the frames of a recording's journal that are not sealed yet, changing nothing.

    A torn tail ends it and shows in `.torn_bytes`; anything else that is wrong raises
    RecordingCorrupt naming file, frame and offset.
    """
    return JournalReader(folder)


def recover(folder: Path) -> Recovered:
    """Cut off a torn tail and return what was kept.

    Raises:
        ConfigError: a writer holds the journal.
    """
    folder = Path(folder)
    manifest = load_manifest(folder)
    lock = lock_journal(folder)
    try:
        return recover_locked(folder, manifest)
    finally:
        if lock >= 0:
            os.close(lock)


def recover_locked(folder: Path, manifest: Manifest) -> Recovered:
    """Do what `recover` does, for a caller that holds the lock."""
    last_seq, positions, torn = manifest.last_seq, manifest.positions(), 0
    for segment in checked_segments(folder, manifest):
        torn += segment.torn_bytes
        for frame in frames_of(segment):
            positions.update(frame.positions)
            last_seq = max(last_seq, last_of(frame))
        if segment.torn_bytes or not segment.ended:
            mend(segment)
    return Recovered(last_seq, positions, torn)


def lock_journal(folder: Path) -> int:
    """Lock the journal of a recording against other writers; -1 where it has no journal."""
    try:
        descriptor = os.open(folder / "journal", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigError(
            f"{folder}: its journal is being written by another runner",
            cure="stop that one first, or name another folder",
        ) from None
    return descriptor
