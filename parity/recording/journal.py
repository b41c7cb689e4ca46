"""The journal: an append-only record of every event, in frames that cannot lie.

    segment = [magic][format u32][segment id 16][number u64][first seq i64][recording id 16][crc32]
              frame*
    frame   = [length u32][frame no u64][segment id 16][crc32 of all of it] payload
    payload = [ticks u32][positions u32][control bytes u32][kind u32]
              tick records, (stream i32, next offset i64) each, controls in msgpack

Rules of the house:

* A frame is written by one writev, so a kill leaves whole frames; only the last frame of the last
  segment can be torn (a power loss), and then it is reported and cut off, never read.
* A bad frame with a good one behind it, a frame of another segment, a frame number twice or
  skipped, a closed segment without its end frame: corruption, and nothing is read past it.
* A length of zero is never a frame (zeros are what a power loss leaves behind).
* After a failed write or sync the writer refuses everything: what the disk then holds is unknown.
"""

from __future__ import annotations

import fcntl
import os
import struct
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model.errors import ConfigError, ParityError, RecordingCorrupt
from parity.model.events import Control
from parity.model.ticks import TICK_DTYPE
from parity.recording.manifest import Manifest, load_manifest, save_manifest, sync_folder

MAGIC: Final = b"PARITYJ\n"
JOURNAL_FORMAT: Final = 1
SEGMENT_BYTES_MAX: Final = 64 * 1024 * 1024

_SEGMENT = struct.Struct("<8sI16sQq16s")
_FRAME = struct.Struct("<IQ16s")
_CRC = struct.Struct("<I")
_COUNTS = struct.Struct("<IIII")
_POSITION = struct.Struct("<iq")
_SEQ = struct.Struct("<q")
_SEGMENT_BYTES: Final = _SEGMENT.size + _CRC.size
_FRAME_BYTES: Final = _FRAME.size + _CRC.size
_ID_AT: Final = 12  # of the segment id within a frame
_DATA: Final = 0
_END: Final = 1  # the frame that closes a segment
_RECORD: Final = TICK_DTYPE.itemsize
_CURE = "run `parity repair`, or restore the file from a copy"

_encode_controls = msgspec.msgpack.Encoder().encode
_decode_controls = msgspec.msgpack.Decoder(list[Control]).decode


class JournalFailed(ParityError):
    """The disk refused the journal; the message says what was kept."""

    exit_code = 4


class Frame(NamedTuple):
    """What one append kept; `positions` are stream id -> next offset."""

    records: npt.NDArray[Any]
    controls: tuple[Control, ...]
    positions: dict[int, int]


class Recovered(NamedTuple):
    """What a recording holds after a kill: the last seq kept, positions, and torn bytes cut off."""

    last_seq: int
    positions: dict[int, int]
    torn_bytes: int


class Segment(NamedTuple):
    """One journal file, checked: where its good frames are."""

    path: Path
    number: int
    id: bytes
    frames: list[tuple[int, int]]  # (first byte of the payload, one past its last)
    ended: bool
    good_bytes: int
    torn_bytes: int
    data: bytes


class JournalWriter:
    """Appends events to the journal of a recording; one at a time, kept out by a lock.

    A journal that a kill left behind is recovered first, and goes on in a new segment.

    Args:
        folder: a recording made by `create_recording`, or a sealed one that goes on.
        durability: "fdatasync", or "os" (sync does nothing; a power loss may cost the end).

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
        durability: str = "fdatasync",
    ) -> None:
        if durability not in ("fdatasync", "os"):
            raise ConfigError(f"durability: expected 'fdatasync' or 'os', was {durability!r}")
        self._folder = Path(folder) / "journal"
        manifest = load_manifest(Path(folder))
        self._folder.mkdir(exist_ok=True)
        self._lock = lock_journal(Path(folder))
        try:
            recovered = recover_locked(Path(folder), manifest)
            if (manifest.state, manifest.durability) != ("open", durability):
                changed = msgspec.structs.replace(manifest, state="open", durability=durability)
                save_manifest(Path(folder), changed)
        except BaseException:
            os.close(self._lock)
            raise
        numbers = [s.number for s in manifest.segments] + [number_of(p) for p in segments(folder)]
        self._number = max(numbers, default=0)
        self._recording_id = bytes.fromhex(manifest.recording_id)
        self._segment_bytes_max = segment_bytes_max
        self._durable = durability == "fdatasync"
        self._file = -1  # opened by the first append, which knows the first seq
        self._id = b""
        self._frame_no = 0
        self._failed = ""
        self._closed = False
        self._written = 0  # bytes in the open segment
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
        ticks = records.tobytes()
        first, last = self._bounds(ticks, controls)
        if not first:
            if not positions:
                return
            first, last = self.last_seq + 1, self.last_seq
        elif first != self.last_seq + 1 and self.last_seq:
            raise self._out_of_order(first, last)
        if self._failed or self._closed:
            raise self._refusal()
        if self._file < 0:
            self._open_segment(first)
        places = (
            b"".join([_POSITION.pack(s, o) for s, o in positions.items()]) if positions else b""
        )
        packed = _encode_controls(controls) if controls else b""
        counts = _COUNTS.pack(
            len(ticks) // _RECORD, len(places) // _POSITION.size, len(packed), _DATA
        )
        self._write(counts, ticks, places, packed)
        self.last_seq = last
        if positions:
            self.positions.update(positions)
        if self._written >= self._segment_bytes_max:
            self._end_segment()

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

    def _bounds(self, ticks: bytes, controls: Sequence[Control]) -> tuple[int, int]:
        # O(1) a frame: the count between first and last must be right; sealing checks each one.
        count = len(ticks) // _RECORD + len(controls)
        if not count:
            return 0, 0
        first = last = 0
        if ticks:
            first = _SEQ.unpack_from(ticks)[0]
            last = _SEQ.unpack_from(ticks, len(ticks) - _RECORD)[0]
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

    def _write(self, *payload: bytes) -> None:
        self._frame_no += 1
        length = sum(map(len, payload))
        head = _FRAME.pack(length, self._frame_no, self._id)
        crc = zlib.crc32(head)
        for piece in payload:
            crc = zlib.crc32(piece, crc)
        self._writev([head, _CRC.pack(crc), *payload], length + _FRAME_BYTES)

    def _writev(self, pieces: list[bytes], length: int) -> None:
        try:
            written = os.writev(self._file, pieces)
        except OSError as error:
            raise self._fail(f"write failed: {error.strerror}") from error
        self._written += written
        self.bytes_written += written
        if written != length:
            raise self._fail(f"short write: {written} of {length} bytes (disk full?)")

    def _sync_file(self) -> None:
        try:
            os.fdatasync(self._file)
        except OSError as error:
            # A later fdatasync may succeed although pages were lost: never try again.
            raise self._fail(f"fdatasync failed: {error.strerror}") from error

    def _fail(self, what: str) -> JournalFailed:
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
        self._written = 0
        path = self._folder / f"{self._number:06d}.wal"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, 0o644)
            if self._durable:
                sync_folder(self._folder)
        except OSError as error:
            raise self._fail(f"cannot make {path.name}: {error.strerror}") from error
        head = _SEGMENT.pack(
            MAGIC, JOURNAL_FORMAT, self._id, self._number, first_seq, self._recording_id
        )
        self._writev([head, _CRC.pack(zlib.crc32(head))], _SEGMENT_BYTES)

    def _end_segment(self) -> None:
        self._write(_COUNTS.pack(0, 0, 0, _END))
        # Also with durability "os": a torn tail is only ever allowed in the last segment.
        self._sync_file()
        self.synced_seq = self.last_seq
        os.close(self._file)
        self._file = -1


class JournalReader:
    """Iterates over the frames that no part holds yet; after the end `torn_bytes` is known."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self.torn_bytes = 0

    def __iter__(self) -> Iterator[Frame]:
        self.torn_bytes = 0
        for segment in checked_segments(self._folder, load_manifest(self._folder)):
            self.torn_bytes += segment.torn_bytes
            yield from frames_of(segment)


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
            _mend(segment)
    return Recovered(last_seq, positions, torn)


def last_of(frame: Frame) -> int:
    """Return the last seq of a frame, 0 where it holds positions only."""
    tick = int(frame.records["seq"][-1]) if len(frame.records) else 0
    return max(tick, frame.controls[-1].seq if frame.controls else 0)


def segments(folder: Path) -> list[Path]:
    """Return the journal files of a recording in order."""
    return sorted((Path(folder) / "journal").glob("*.wal"), key=number_of)


def number_of(path: Path) -> int:
    """Return the number in a segment's name, or raise RecordingCorrupt."""
    if not path.stem.isdigit():
        raise RecordingCorrupt(f"{path}: not the name of a journal segment", cure="move it away")
    return int(path.stem)


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


def checked_segments(folder: Path, manifest: Manifest) -> Iterator[Segment]:
    """Yield the segments not sealed yet, each checked in full, one in memory at a time."""
    paths = segments(folder)
    sealed = {s.number: s.id for s in manifest.segments}
    expected = max(sealed, default=0)
    for path in paths:
        number = number_of(path)
        if number in sealed:
            continue  # a kill between manifest entry and unlink
        if number != expected + 1:
            raise RecordingCorrupt(
                f"{path.parent}: segment {expected + 1} is missing before {path.name}",
                cure="restore it from a copy",
            )
        expected = number
        yield _check_segment(path, number, manifest, last=path == paths[-1])


def frames_of(segment: Segment) -> Iterator[Frame]:
    """Yield the frames of a checked segment; records are read-only views of its bytes."""
    data = segment.data
    for lo, hi in segment.frames:
        ticks, places, control_bytes, _ = _COUNTS.unpack_from(data, lo)
        at = lo + _COUNTS.size
        records = np.frombuffer(data, TICK_DTYPE, ticks, at)
        at += ticks * _RECORD
        positions = dict(_POSITION.iter_unpack(data[at : hi - control_bytes])) if places else {}
        controls = tuple(_decode_controls(data[hi - control_bytes : hi])) if control_bytes else ()
        yield Frame(records, controls, positions)


def tick_bytes_of(segment: Segment) -> bytes:
    """Return the tick records of all frames of a segment, joined."""
    view = memoryview(segment.data)
    pieces = []
    for lo, _ in segment.frames:
        at = lo + _COUNTS.size
        pieces.append(view[at : at + _COUNTS.unpack_from(view, lo)[0] * _RECORD])
    return b"".join(pieces)


def _check_segment(path: Path, number: int, manifest: Manifest, *, last: bool) -> Segment:
    data = path.read_bytes()
    size = len(data)
    head = data[: _SEGMENT.size]
    if size < _SEGMENT_BYTES or _CRC.unpack_from(data, _SEGMENT.size)[0] != zlib.crc32(head):
        if last and (size <= _SEGMENT_BYTES or not any(data)):
            return Segment(path, number, b"", [], False, 0, size, data)
        raise RecordingCorrupt(f"{path}: its header is damaged", cure=_CURE)
    magic, version, identity, own_number, _, recording = _SEGMENT.unpack(head)
    if magic != MAGIC or version != JOURNAL_FORMAT:
        raise RecordingCorrupt(
            f"{path}: journal format {version}, this version reads {JOURNAL_FORMAT}",
            cure="seal it with the version of parity that wrote it",
        )
    if own_number != number or recording.hex() != manifest.recording_id:
        raise RecordingCorrupt(
            f"{path}: is segment {own_number} of recording {recording.hex()}, expected {number} of "
            f"{manifest.recording_id}",
            cure="move it back to its own recording",
        )
    return _check_frames(Segment(path, number, identity, [], False, 0, 0, data), last=last)


def _check_frames(segment: Segment, *, last: bool) -> Segment:
    path, data, identity = segment.path, segment.data, segment.id
    frames: list[tuple[int, int]] = []
    at, frame_no, ended, size = _SEGMENT_BYTES, 0, False, len(data)
    while at < size:
        found = _frame_at(data, at)
        if found is None:
            if not last or ended or _good_frame_after(data, at, identity):
                raise RecordingCorrupt(
                    f"{path}: frame {frame_no + 1} at byte {at} is damaged", cure=_CURE
                )
            break
        end, own_no, owner = found
        if owner != identity or own_no != frame_no + 1 or ended:
            of = "" if owner == identity else f" of another segment ({owner.hex()})"
            raise RecordingCorrupt(
                f"{path}: at byte {at} is frame {own_no}{of}, expected "
                + ("nothing behind the end" if ended else f"frame {frame_no + 1}"),
                cure=_CURE,
            )
        ended = _COUNTS.unpack_from(data, at + _FRAME_BYTES)[3] == _END
        if not ended:
            frames.append((at + _FRAME_BYTES, end))
        at, frame_no = end, own_no
    if not last and not ended:
        raise RecordingCorrupt(f"{path}: its end is missing after frame {frame_no}", cure=_CURE)
    return segment._replace(frames=frames, ended=ended, good_bytes=at, torn_bytes=size - at)


def _frame_at(data: bytes, at: int) -> tuple[int, int, bytes] | None:
    # -> (end, frame no, segment id) of a frame whose crc is right, else None
    body = at + _FRAME_BYTES
    if body > len(data):
        return None
    length, frame_no, owner = _FRAME.unpack_from(data, at)
    end = body + length
    if length < _COUNTS.size or end > len(data):
        return None
    view = memoryview(data)
    crc = zlib.crc32(view[body:end], zlib.crc32(view[at : at + _FRAME.size]))
    if crc != _CRC.unpack_from(data, at + _FRAME.size)[0]:
        return None
    ticks, places, control_bytes, kind = _COUNTS.unpack_from(data, body)
    if _COUNTS.size + ticks * _RECORD + places * _POSITION.size + control_bytes != length:
        return None
    return (end, frame_no, owner) if kind in (_DATA, _END) else None


def _good_frame_after(data: bytes, at: int, identity: bytes) -> bool:
    # Every frame carries the segment's id, so the good ones are found without their lengths.
    place = data.find(identity, at + _ID_AT + 1)
    while place >= 0:
        if _frame_at(data, place - _ID_AT) is not None:
            return True
        place = data.find(identity, place + 1)
    return False


def _mend(segment: Segment) -> None:
    # Cut the torn tail off and end the segment, so that it may stand before another one.
    if not segment.good_bytes:
        segment.path.unlink()
        sync_folder(segment.path.parent)
        return
    body = _COUNTS.pack(0, 0, 0, _END)
    head = _FRAME.pack(len(body), len(segment.frames) + 1, segment.id)
    frame = head + _CRC.pack(zlib.crc32(body, zlib.crc32(head))) + body
    with segment.path.open("r+b") as file:
        file.truncate(segment.good_bytes)
        file.seek(segment.good_bytes)
        file.write(frame)
        file.flush()
        os.fsync(file.fileno())
