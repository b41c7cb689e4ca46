"""Laws of the journal: any torn tail recovers the exact prefix, any other damage is found."""

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.model.errors import RecordingCorrupt
from parity.model.events import Control
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TICK_DTYPE, TRADE
from parity.recording.journal import JournalWriter, read_journal, recover
from parity.recording.reader import open_recording
from parity.recording.writer import create_recording

TABLE = InstrumentTable([Instrument(token=7, symbol="A", price_scale=2)])
# (ticks, controls, whether it has a position) of each append
SHAPES = [(1, 0, True), (3, 1, True), (0, 1, False), (2, 0, False), (0, 0, True), (5, 0, True)]
Kept = list[tuple[bytes, tuple[Control, ...], dict[int, int]]]


def write(folder: Path, shapes: list[tuple[int, int, bool]], *, end: bool) -> list[int]:
    """Make a recording with one append per shape; return where each of its frames ends."""
    create_recording(folder, TABLE, created_by="law", streams=[("t", 0)])
    writer = JournalWriter(folder, durability="os")
    seq, ends = 1, [0]
    for count, control_count, has_position in shapes:
        records = np.zeros(count, TICK_DTYPE)
        records["seq"] = np.arange(seq, seq + count)
        records["instrument_token"], records["flags"] = 7, TRADE
        records["price_int"] = records["seq"] * 1_000_003
        seq += count
        controls = [
            Control(seq=seq + n, ts_recv=n, verb="gap", detail={"payload": b"\x00" * n})
            for n in range(control_count)
        ]
        seq += control_count
        writer.append(records, controls, {0: seq} if has_position else None)
        ends.append(file_of(folder).stat().st_size)
    if end:
        writer.close()
    else:  # as a kill leaves it: no end frame, no sync
        shutil.copytree(folder, folder.with_name("killed"))
        writer.close()
        shutil.rmtree(folder)
        folder.with_name("killed").rename(folder)
    return ends


def file_of(folder: Path) -> Path:
    """The first segment."""
    return folder / "journal" / "000001.wal"


def read(folder: Path) -> tuple[Kept, int]:
    """What the journal gives back, and how many bytes it calls torn."""
    frames = read_journal(folder)
    kept = [(f.records.tobytes(), f.controls, f.positions) for f in frames]
    return kept, frames.torn_bytes


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int], Kept]:
    """A killed journal of a few kB, where its frames end, and what it holds."""
    folder = tmp_path_factory.mktemp("law") / "rec"
    ends = write(folder, SHAPES, end=False)
    kept, torn = read(folder)

    assert (len(SHAPES), 0) == (len(kept), torn)
    return folder, ends, kept


def check_every_length(folder: Path, ends: list[int], kept: Kept) -> None:
    """Cut the segment at every byte: the exact whole frames come back, the rest is reported."""
    path = file_of(folder)
    data = path.read_bytes()
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        whole = sum(end <= length for end in ends[1:])
        good = max((e for e in ends if e <= length), default=0)
        found, torn = read(folder)

        assert kept[:whole] == found, length
        if whole:
            assert length - good == torn, length
        else:
            assert torn <= length, length
    path.write_bytes(data)


def test_every_length_recovers_the_exact_prefix(journal: tuple[Path, list[int], Kept]) -> None:
    """Exhaustive over one journal with ticks, controls and positions."""
    check_every_length(*journal)


@settings(max_examples=5)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.booleans()), max_size=4))
def test_every_length_of_any_journal(shapes: list[tuple[int, int, bool]]) -> None:
    """The same for other shapes of frames, and none at all."""
    shapes = [s for s in shapes if s != (0, 0, False)]  # an append of nothing writes nothing
    if not shapes:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "rec"
        ends = write(folder, shapes, end=False)
        check_every_length(folder, ends, read(folder)[0])


def test_recover_goes_on_after_every_length(
    journal: tuple[Path, list[int], Kept], tmp_path: Path
) -> None:
    """Cut anywhere, recover, append: prefix and new frame, nothing torn, and the parts agree."""
    folder, ends, kept = journal
    data = file_of(folder).read_bytes()
    for length in range(0, len(data) + 1, 13):
        copy = tmp_path / f"cut{length}"
        shutil.copytree(folder, copy)
        file_of(copy).write_bytes(data[:length])
        whole = sum(end <= length for end in ends[1:])
        recovered = recover(copy)
        next_seq = recovered.last_seq + 1
        with JournalWriter(copy, durability="os") as writer:
            writer.append(
                np.zeros(0, TICK_DTYPE), [Control(seq=next_seq, ts_recv=0, verb="x", detail={})]
            )
        found, torn = read(copy)

        assert kept[:whole] == found[:-1]
        assert (next_seq, 0) == (found[-1][1][0].seq, torn)
        assert next_seq == sum(
            len(b.ticks) + len(b.controls) for b in open_recording(copy).batches()
        )


@pytest.mark.parametrize("zeros", [1, 4, 31, 32, 48, 4096])
@pytest.mark.parametrize("cut", [0, 9, 40])  # the byte before the last 8 is not zero
def test_zeros_behind_a_torn_tail_are_never_data(
    journal: tuple[Path, list[int], Kept], tmp_path: Path, cut: int, zeros: int
) -> None:
    """A power loss may leave a longer file with zeros where the frame was."""
    folder, ends, kept = journal
    copy = tmp_path / "rec"
    shutil.copytree(folder, copy)
    data = file_of(copy).read_bytes()
    file_of(copy).write_bytes(data[: len(data) - cut] + bytes(zeros))
    whole = len(kept) - (cut > 0)

    assert (kept[:whole], len(data) - cut + zeros - ends[whole]) == read(copy)


def damage(data: bytes, ends: list[int], kind: str) -> bytes:
    """Whole frames with right checksums in the wrong place."""
    frames = [data[a:b] for a, b in itertools.pairwise(ends[1:])]
    head = data[: ends[1]]
    tail = data[ends[-1] :]
    orders: dict[str, list[int]] = {
        "repeated": [0, 0, 1, 2, 3, 4],
        "repeated at the end": [0, 1, 2, 3, 4, 4],
        "skipped": [0, 2, 3, 4],
        "swapped": [1, 0, 2, 3, 4],
    }
    return head + b"".join(frames[n] for n in orders[kind]) + tail


@pytest.mark.parametrize("kind", ["repeated", "repeated at the end", "skipped", "swapped"])
@pytest.mark.parametrize("ended", [True, False], ids=["closed", "killed"])
def test_frames_out_of_place_are_corruption(tmp_path: Path, kind: str, ended: bool) -> None:
    """A checksum says nothing about the place: the frame numbers do."""
    ends = write(tmp_path / "rec", SHAPES, end=ended)
    path = file_of(tmp_path / "rec")
    path.write_bytes(damage(path.read_bytes(), ends, kind))
    with pytest.raises(RecordingCorrupt, match=r"is frame \d, expected frame \d"):
        read(tmp_path / "rec")


def test_frame_of_another_segment_is_corruption(tmp_path: Path) -> None:
    """The next frame number and a right checksum do not help a stranger."""
    ends = write(tmp_path / "a", SHAPES[:2], end=False)
    other = write(tmp_path / "b", SHAPES[:3], end=False)
    path = file_of(tmp_path / "a")
    stranger = file_of(tmp_path / "b").read_bytes()[other[2] : other[3]]
    path.write_bytes(path.read_bytes()[: ends[2]] + stranger)
    with pytest.raises(RecordingCorrupt, match="of another segment"):
        read(tmp_path / "a")


def test_segment_of_another_recording_is_corruption(tmp_path: Path) -> None:
    """A whole file that was copied in is not ours."""
    write(tmp_path / "a", SHAPES, end=False)
    write(tmp_path / "b", SHAPES, end=False)
    shutil.copy(file_of(tmp_path / "b"), file_of(tmp_path / "a"))
    with pytest.raises(RecordingCorrupt, match="of recording"):
        read(tmp_path / "a")


@pytest.mark.parametrize("missing", [1, 2])
def test_a_missing_segment_is_corruption(tmp_path: Path, missing: int) -> None:
    """Segments are numbered without gaps."""
    three_segments(tmp_path / "rec")
    (tmp_path / "rec" / "journal" / f"{missing:06d}.wal").unlink()
    with pytest.raises(RecordingCorrupt, match=f"segment {missing} is missing"):
        read(tmp_path / "rec")


def test_every_cut_of_a_segment_that_others_follow_is_corruption(tmp_path: Path) -> None:
    """Only the last segment can be torn: an earlier one ended with an end frame."""
    three_segments(tmp_path / "rec")
    path = tmp_path / "rec" / "journal" / "000002.wal"
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(RecordingCorrupt, match=r"000002\.wal"):
            read(tmp_path / "rec")


def three_segments(folder: Path) -> None:
    """Three segments of one tick each."""
    create_recording(folder, TABLE, created_by="law")
    for seq in (1, 2, 3):
        records: Any = np.zeros(1, TICK_DTYPE)
        records["seq"], records["instrument_token"], records["flags"] = seq, 7, TRADE
        with JournalWriter(folder, durability="os") as writer:
            writer.append(records)
