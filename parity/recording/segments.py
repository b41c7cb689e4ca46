"""A segment of the journal: its bytes, the check that nothing in them lies, the mending of a tail.

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

How long a tick record is, the manifest says: it has the recording's extension columns.
"""

from __future__ import annotations

import itertools
import os
import struct
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model.errors import RecordingCorrupt
from parity.model.events import Control
from parity.recording import passes
from parity.recording.disk import Bytes, bytes_of, sync_folder, write_all
from parity.recording.manifest import repair_cure

if TYPE_CHECKING:
    from parity.recording.manifest import Manifest

MAGIC: Final = b"PARITYJ\n"
JOURNAL_FORMAT: Final = 1

_SEGMENT = struct.Struct("<8sI16sQq16s")
_FRAME = struct.Struct("<IQ16s")
_HEAD = struct.Struct("<IQ16sIIIII")  # of a frame, with its crc and counts
_CRC = struct.Struct("<I")
_COUNTS = struct.Struct("<IIII")
_POSITION = struct.Struct("<iq")
_PLACE = np.dtype([("stream", "<i4"), ("offset", "<i8")])  # the same, for numpy
_SEQ = struct.Struct("<q")
_NUMBERS = np.dtype([("ticks", "<u4"), ("positions", "<u4"), ("control_bytes", "<u4")])
HEADER_BYTES: Final = _SEGMENT.size + _CRC.size
_FRAME_BYTES: Final = _FRAME.size + _CRC.size
_ID_AT: Final = 12  # of the segment id within a frame
_CRC_AT: Final = _FRAME.size
_COUNTS_BYTES: Final = _COUNTS.size
_POSITION_BYTES: Final = _POSITION.size
_NONE: Final = np.zeros((0, 2), np.int64)
_DATA: Final = 0
_END: Final = 1  # the frame that closes a segment
_JOINED_BYTES: Final = 4096  # below, one copy is cheaper than more pieces
SECTOR_BYTES: Final = 512  # what a disk writes whole or not at all

_encode_controls = msgspec.msgpack.Encoder().encode
_decode_controls = msgspec.msgpack.Decoder(list[Control]).decode


class Frame(NamedTuple):
    """What one append kept; `positions` are stream id -> next offset."""

    records: npt.NDArray[Any]
    controls: tuple[Control, ...]
    positions: dict[int, int]


class Segment(NamedTuple):
    """One journal file, checked: where its good frames are."""

    path: Path
    number: int
    id: bytes
    frames: npt.NDArray[np.int64]  # rows of (first byte of the payload, one past its last)
    ended: bool
    good_bytes: int
    torn_bytes: int
    data: Bytes
    dtype: np.dtype[Any]  # of its tick records


def pack_header(identity: bytes, number: int, first_seq: int, recording_id: bytes) -> list[bytes]:
    """Return the header of a segment and its crc."""
    head = _SEGMENT.pack(MAGIC, JOURNAL_FORMAT, identity, number, first_seq, recording_id)
    return [head, _CRC.pack(crc32(head))]


def pack_data(
    ticks: bytes, count: int, controls: Sequence[Control], positions: Mapping[int, int] | None
) -> list[bytes]:
    """Return the payload of a frame with `count` tick records, in pieces."""
    tail = b""
    if positions:
        tail = b"".join([_POSITION.pack(*p) for p in positions.items()])
    control_bytes = 0
    if controls:
        packed = _encode_controls(controls)
        control_bytes = len(packed)
        tail += packed
    counts = _COUNTS.pack(count, len(positions) if positions else 0, control_bytes, _DATA)
    if len(ticks) < _JOINED_BYTES:
        return [counts + ticks + tail]
    return [counts, ticks, tail]


def pack_end() -> list[bytes]:
    """Return the payload of the frame that ends a segment."""
    return [_COUNTS.pack(0, 0, 0, _END)]


def pack_frame(identity: bytes, frame_no: int, payload: list[bytes]) -> list[bytes]:
    """Return a whole frame, in pieces for one writev."""
    length = len(payload[0]) if len(payload) == 1 else sum(map(len, payload))
    head = _FRAME.pack(length, frame_no, identity)
    crc = crc32(head)
    for piece in payload:
        crc = crc32(piece, crc)
    return [head + _CRC.pack(crc), *payload]


def seq_bounds(ticks: bytes, record_bytes: int) -> tuple[int, int]:
    """Return the first and last seq of tick records given as bytes."""
    return _SEQ.unpack_from(ticks)[0], _SEQ.unpack_from(ticks, len(ticks) - record_bytes)[0]


def last_of(frame: Frame) -> int:
    """Return the last seq of a frame, 0 where it holds positions only."""
    tick = int(frame.records["seq"][-1]) if len(frame.records) else 0
    return max(tick, frame.controls[-1].seq if frame.controls else 0)


def segment_files(folder: Path) -> list[Path]:
    """Return the journal files of a recording in order."""
    return sorted((Path(folder) / "journal").glob("*.wal"), key=number_of)


def number_of(path: Path) -> int:
    """Return the number in a segment's name, or raise RecordingCorrupt."""
    if not path.stem.isdigit():
        raise RecordingCorrupt(f"{path}: not the name of a journal segment", cure="move it away")
    return int(path.stem)


def checked_segments(
    folder: Path, manifest: Manifest, *, upto: int | None = None, threads: int = 1
) -> Iterator[Segment]:
    """Yield the segments not sealed yet, each checked in full, one in memory at a time.

    Args:
        folder: of the recording.
        manifest: its manifest.
        upto: only the segments up to this number, all of which must have ended.
        threads: how many read a file at once.
    """
    paths = [p for p in segment_files(folder) if upto is None or number_of(p) <= upto]
    files = [(path, partial(bytes_of, path, threads=threads)) for path in paths]
    return checked(files, manifest, all_ended=upto is not None)


def checked(
    files: Sequence[tuple[Path, Callable[[], Bytes]]],
    manifest: Manifest,
    *,
    all_ended: bool = False,
) -> Iterator[Segment]:
    """Do what `checked_segments` does, for segments given as (path, what reads it)."""
    sealed = {s.number: s.id for s in manifest.segments}
    expected = max(sealed, default=0)
    dtype = manifest.table.tick_dtype
    for path, read in files:
        number = number_of(path)
        if number in sealed:
            continue  # a kill between manifest entry and unlink
        if number != expected + 1:
            raise RecordingCorrupt(
                f"{path.parent}: segment {expected + 1} is missing before {path.name}",
                cure=_cure(path),
            )
        expected = number
        yield parse_segment(
            read(),
            path=path,
            number=number,
            recording_id=manifest.recording_id,
            dtype=dtype,
            last=path == files[-1][0] and not all_ended,
        )


def frames_of(segment: Segment) -> Iterator[Frame]:
    """Yield the frames of a checked segment; records are read-only views of its bytes."""
    data, dtype = segment.data, segment.dtype
    for lo, hi in segment.frames.tolist():
        ticks, places, control_bytes, _ = _COUNTS.unpack_from(data, lo)
        at = lo + _COUNTS.size
        records = np.frombuffer(data, dtype, ticks, at)
        at += ticks * dtype.itemsize
        positions = dict(_POSITION.iter_unpack(data[at : hi - control_bytes])) if places else {}
        controls = tuple(_controls(segment, hi - control_bytes, hi)) if control_bytes else ()
        yield Frame(records, controls, positions)


def columns_of(segment: Segment, group_rows: int) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Yield the ticks of a segment as columns of so many rows, the last ones shorter."""
    payload, (ticks, _, _) = _counts_of(segment)
    starts = _starts(payload + _COUNTS_BYTES, ticks, segment.dtype.itemsize)
    for first in range(0, len(starts), group_rows):
        yield passes.columns_at(segment.data, starts[first : first + group_rows], segment.dtype)


def sparse_of(segment: Segment) -> tuple[list[Control], dict[int, int]]:
    """Return the controls of a segment, and its last positions."""
    payload, (ticks, places, control_bytes) = _counts_of(segment)
    first = payload + _COUNTS_BYTES + ticks * segment.dtype.itemsize
    starts = _starts(first, places, _POSITION_BYTES)
    pairs = passes.columns_at(segment.data, starts[::-1], _PLACE)  # the last of a stream first
    streams, newest = np.unique(pairs["stream"], return_index=True)
    positions = dict(zip(streams.tolist(), pairs["offset"][newest].tolist(), strict=True))
    controls: list[Control] = []
    for at in np.flatnonzero(control_bytes).tolist():
        end = int(segment.frames[at, 1])
        controls.extend(_controls(segment, end - int(control_bytes[at]), end))
    return controls, positions


def _counts_of(segment: Segment) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.int64]]]:
    # -> where each payload begins; its numbers of ticks, positions and control bytes
    payload = segment.frames[:, 0]
    numbers = passes.columns_at(segment.data, payload, _NUMBERS)
    return payload, [column.astype(np.int64) for column in numbers.values()]


def _starts(
    first: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], width: int
) -> npt.NDArray[np.int64]:
    # Of items that stand side by side, `counts` of them from each of `first` on.
    if (counts == 1).all():
        return first
    before = np.cumsum(counts) - counts
    items = np.arange(int(counts.sum()), dtype=np.int64)
    return np.repeat(first - before * width, counts) + items * width


def _controls(segment: Segment, lo: int, hi: int) -> list[Control]:
    try:
        return _decode_controls(segment.data[lo:hi])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise RecordingCorrupt(
            f"{segment.path}: the controls at byte {lo} cannot be read: {error}",
            cure=_cure(segment.path),
        ) from None


def parse_segment(
    data: Bytes,
    *,
    path: Path,
    number: int,
    recording_id: str,
    dtype: np.dtype[Any],
    last: bool,
) -> Segment:
    """Check the bytes of a segment and say where its good frames are; reads and writes nothing.

    Args:
        data: the whole file.
        path: for messages.
        number: of the segment, as its name says.
        recording_id: of the recording it should belong to, in hex.
        dtype: of its tick records.
        last: whether no segment follows, so that its end may be torn.

    Raises:
        RecordingCorrupt: naming path, frame and byte; whatever the bytes are, nothing else.
    """
    size = len(data)
    head = data[: _SEGMENT.size]
    if size < HEADER_BYTES or _CRC.unpack_from(data, _SEGMENT.size)[0] != crc32(head):
        if last and (size <= HEADER_BYTES or not any(data)):
            return Segment(path, number, b"", _NONE, False, 0, size, data, dtype)
        raise RecordingCorrupt(f"{path}: its header is damaged", cure=_cure(path))
    magic, version, identity, own_number, _, recording = _SEGMENT.unpack(head)
    if magic != MAGIC or version != JOURNAL_FORMAT:
        raise RecordingCorrupt(
            f"{path}: journal format {version}, this version reads {JOURNAL_FORMAT}",
            cure="seal it with the version of parity that wrote it",
        )
    if own_number != number or recording.hex() != recording_id:
        raise RecordingCorrupt(
            f"{path}: is segment {own_number} of recording {recording.hex()}, expected {number} of "
            f"{recording_id}",
            cure="move it back to its own recording",
        )
    bare = Segment(path, number, identity, _NONE, False, 0, 0, data, dtype)
    return _check_frames(bare, last=last)


def _check_frames(segment: Segment, *, last: bool) -> Segment:
    path, data, identity = segment.path, segment.data, segment.id
    record_bytes = segment.dtype.itemsize
    frames = array("q")  # begin, end, begin, end, …
    at, frame_no, ended, size = HEADER_BYTES, 0, False, len(data)
    compiled, widths = passes.are_loaded(), (record_bytes, _POSITION_BYTES)
    while at < size:
        if compiled and not ended:
            run = passes.run_of_frames(data, at, identity, frame_no + 1, widths)
            if run:
                frames += run
                frame_no, at = frame_no + len(run) // 2, run[-1]
                continue
        found = _frame_at(data, at, record_bytes)
        if found is None:
            if not last or ended or _lies(bytes(data), at, identity, record_bytes):
                kept = _kept(segment, frames)
                raise RecordingCorrupt(
                    f"{path}: frame {frame_no + 1} at byte {at} is damaged, {kept}",
                    cure=_cure(path),
                )
            break
        end, own_no, owner, kind = found
        if owner != identity or own_no != frame_no + 1 or ended:
            of = "" if owner == identity else f" of another segment ({owner.hex()})"
            raise RecordingCorrupt(
                f"{path}: at byte {at} is frame {own_no}{of}, expected "
                + ("nothing behind the end" if ended else f"frame {frame_no + 1}"),
                cure=_cure(path),
            )
        if kind == _END:
            ended = True
        else:
            frames.extend((at + _FRAME_BYTES, end))
        at, frame_no = end, own_no
    if not last and not ended:
        raise RecordingCorrupt(
            f"{path}: its end is missing after frame {frame_no}, {_kept(segment, frames)}",
            cure=_cure(path),
        )
    return segment._replace(frames=_pairs(frames), ended=ended, good_bytes=at, torn_bytes=size - at)


def salvage_segment(
    data: bytes, *, path: Path, number: int, recording_id: str, dtype: np.dtype[Any]
) -> Segment | None:
    """Return a damaged segment with those of its frames that are proved, or None.

    A frame is proved by its crc and the segment's id, wherever it lies; that the segment is one of
    this recording by its header, even where the header's own crc is wrong. Seqs may be missing
    between frames. Arguments as for `parse_segment`.
    """
    if len(data) < HEADER_BYTES:
        return None
    magic, version, identity, _, _, recording = _SEGMENT.unpack(data[: _SEGMENT.size])
    if (magic, version, recording.hex()) != (MAGIC, JOURNAL_FORMAT, recording_id):
        return None
    frames, frame_no, ended = array("q"), 0, False
    place = data.find(identity, HEADER_BYTES)
    while place >= 0:
        at = place - _ID_AT
        found = _frame_at(data, at, dtype.itemsize) if at >= HEADER_BYTES else None
        if found is None or found[1] <= frame_no:
            place = data.find(identity, place + 1)
            continue
        end, frame_no, _, kind = found
        ended = kind == _END
        if not ended:
            frames.extend((at + _FRAME_BYTES, end))
        place = data.find(identity, end)
    return Segment(path, number, identity, _pairs(frames), ended, len(data), 0, data, dtype)


def own_number(data: bytes, recording_id: str) -> int:
    """Return the number a segment's header gives it, 0 where it cannot be trusted."""
    head = data[: _SEGMENT.size]
    if len(data) < HEADER_BYTES or _CRC.unpack_from(data, _SEGMENT.size)[0] != crc32(head):
        return 0
    _, _, _, number, _, recording = _SEGMENT.unpack(head)
    return int(number) if recording.hex() == recording_id else 0


def first_of(frame: Frame) -> int:
    """Return the first seq of a frame, 0 where it holds positions only."""
    tick = int(frame.records["seq"][0]) if len(frame.records) else 0
    control = frame.controls[0].seq if frame.controls else 0
    return min(tick, control) if tick and control else tick or control


def _pairs(bounds: array[int]) -> npt.NDArray[np.int64]:
    return np.array(bounds, np.int64).reshape(-1, 2)


def _kept(segment: Segment, frames: array[int]) -> str:
    kept = segment._replace(frames=_pairs(frames[-2:]))
    last = max(map(last_of, frames_of(kept)), default=0)
    first = _SEGMENT.unpack(segment.data[: _SEGMENT.size])[4]
    return f"behind seq {last}" if last else f"from seq {first} on"


def _cure(path: Path) -> str:
    return repair_cure(path.parent.parent)


def _frame_at(data: Bytes, at: int, record_bytes: int) -> tuple[int, int, bytes, int] | None:
    # -> (end, frame no, segment id, kind) of a frame whose crc is right, else None
    body = at + _FRAME_BYTES
    if body + _COUNTS_BYTES > len(data):
        return None
    length, frame_no, owner, claimed, ticks, places, controls, kind = _HEAD.unpack_from(data, at)
    end = body + length
    counted = _COUNTS_BYTES + ticks * record_bytes + places * _POSITION_BYTES + controls
    if length != counted or end > len(data):
        return None
    # Of a small frame a copy is cheaper than a view.
    payload = data[body:end] if length < _JOINED_BYTES else memoryview(data)[body:end]
    if claimed != crc32(payload, crc32(data[at : at + _CRC_AT])):
        return None
    if kind == _END and length != _COUNTS_BYTES:
        return None
    return (end, frame_no, owner, kind) if kind <= _END else None


def _lies(data: bytes, at: int, identity: bytes, record_bytes: int) -> bool:
    """Return whether a bad frame is no torn tail: a good one follows it, or it is all there.

    What a disk did not take is missing at the end, or zeros by the sector. A frame that ends with
    the file, by its length or by its counts, and has no sector of zeros was written whole and
    changed afterwards.
    """
    if _good_frame_after(data, at, identity, record_bytes):
        return True
    body, size = at + _FRAME_BYTES, len(data)
    if body + _COUNTS_BYTES > size:
        return False
    length, *_, ticks, places, controls, _ = _HEAD.unpack_from(data, at)
    counted = _COUNTS_BYTES + ticks * record_bytes + places * _POSITION_BYTES + controls
    if size - body not in (length, counted):
        return False
    edges = [at, *range(at - at % SECTOR_BYTES + SECTOR_BYTES, size, SECTOR_BYTES), size]
    return all(any(data[lo:hi]) for lo, hi in itertools.pairwise(edges))


def _good_frame_after(data: bytes, at: int, identity: bytes, record_bytes: int) -> bool:
    # Every frame carries the segment's id, so the good ones are found without their lengths.
    place = data.find(identity, at + _ID_AT + 1)
    while place >= 0:
        if _frame_at(data, place - _ID_AT, record_bytes) is not None:
            return True
        place = data.find(identity, place + 1)
    return False


def mend(segment: Segment) -> None:
    """Cut the torn tail off and end the segment, so that it may stand before another one."""
    if not segment.good_bytes:
        segment.path.unlink()
        sync_folder(segment.path.parent)
        return
    frame = pack_frame(segment.id, len(segment.frames) + 1, pack_end())
    descriptor = os.open(segment.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, segment.good_bytes)
        write_all(descriptor, b"".join(frame))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
