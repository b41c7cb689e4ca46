"""Fuzzing the journal's reader: whatever the bytes are, what was written or RecordingCorrupt.

The reader under test takes bytes and touches no file, so tens of thousands of damaged segments
are read in seconds. Each flip is made from a seed that is printed, none is stored.
"""

import itertools
import os
import random
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parity.model.errors import RecordingCorrupt
from parity.model.events import Control
from parity.model.ticks import TICK_DTYPE, TRADE
from parity.recording import passes
from parity.recording.segments import (
    HEADER_BYTES,
    SECTOR_BYTES,
    Frame,
    Segment,
    columns_of,
    frames_of,
    pack_data,
    pack_end,
    pack_frame,
    pack_header,
    parse_segment,
    sparse_of,
)

SEGMENT, RECORDING = bytes(range(1, 17)), bytes(range(101, 117))
Shape = tuple[int, int, int]  # ticks, controls and positions of a frame
SMALL: list[Shape] = [(1, 0, 1), (3, 1, 1), (0, 1, 0), (2, 0, 0), (0, 0, 1), (5, 0, 2)]
LARGE: list[Shape] = [(40, 0, 1), (1, 2, 0), (60, 1, 3)]
FLIPS = 10_000
Kept = list[tuple[bytes, tuple[Control, ...], dict[int, int]]]


def segment_of(shapes: list[Shape], *, end: bool) -> tuple[bytes, list[int]]:
    """A segment with a frame per shape; returns it and where each of its frames ends."""
    data = b"".join(pack_header(SEGMENT, 1, 1, RECORDING))
    ends, seq = [len(data)], 1
    for number, (count, control_count, places) in enumerate(shapes, 1):
        records: Any = np.zeros(count, TICK_DTYPE)
        records["seq"] = np.arange(seq, seq + count)
        records["instrument_token"], records["flags"] = 7, TRADE
        records["price_int"] = records["seq"] * 1_000_003
        seq += count
        controls = [
            Control(seq=seq + n, ts_recv=n, verb="gap", detail={"payload": b"\x00" * n})
            for n in range(control_count)
        ]
        seq += control_count
        positions = {stream: seq + stream for stream in range(places)}
        payload = pack_data(records.tobytes(), count, controls, positions)
        data += b"".join(pack_frame(SEGMENT, number, payload))
        ends.append(len(data))
    if end:
        data += b"".join(pack_frame(SEGMENT, len(shapes) + 1, pack_end()))
        ends.append(len(data))
    return data, ends


def parse(data: bytes, *, last: bool = True) -> Segment:
    """The segment that bytes are."""
    return parse_segment(
        data,
        path=Path("000001.wal"),
        number=1,
        recording_id=RECORDING.hex(),
        dtype=TICK_DTYPE,
        last=last,
    )


def read(data: bytes, *, last: bool = True) -> tuple[Kept, int]:
    """What the reader makes of bytes: the frames, and how many bytes it calls torn."""
    segment = parse(data, last=last)
    sparse_of(segment)
    return [kept(frame) for frame in frames_of(segment)], segment.torn_bytes


def kept(frame: Frame) -> tuple[bytes, tuple[Control, ...], dict[int, int]]:
    """A frame as plain values."""
    return frame.records.tobytes(), frame.controls, frame.positions


def may_be_torn(data: bytes, at: int) -> bool:
    """Whether some sector from a byte on is all zeros, as a disk leaves what it did not take."""
    sectors = itertools.groupby(range(at, len(data)), key=lambda byte: byte // SECTOR_BYTES)
    return any(not any(data[byte] for byte in sector) for _, sector in sectors)


@pytest.mark.parametrize("end", [True, False], ids=["closed", "killed"])
@pytest.mark.parametrize("shapes", [SMALL, LARGE], ids=["small", "large"])
def test_every_flipped_bit_is_found(shapes: list[Shape], end: bool) -> None:
    """10 000 flips: each is refused by name, or is in a last frame that may be torn, and says so.

    Only where the flip is in the very last frame, and that frame has a sector of zeros, can nobody
    tell it from a tail that a power loss tore; then all frames before it are there.
    """
    seed = int(os.environ.get("PARITY_SEED", "20261124"))
    print(f"PARITY_SEED={seed}")
    rng = random.Random(seed)
    data, ends = segment_of(shapes, end=end)
    whole, torn = read(data)

    assert (len(shapes), 0) == (len(whole), torn)
    refused = 0
    for _ in range(FLIPS // 4):
        bit = rng.randrange(len(data) * 8)
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        if bit // 8 >= ends[-2] and may_be_torn(bytes(bad), ends[-2]):
            before = whole if end else whole[:-1]
            assert (before, len(data) - ends[-2]) == read(bytes(bad)), f"bit {bit}"
        else:
            refused += 1
            with pytest.raises(RecordingCorrupt, match=r"^000001\.wal: "):
                read(bytes(bad))
    assert refused > FLIPS // 4 * 0.9


def test_a_flip_is_never_torn_where_a_segment_follows() -> None:
    """In a segment that others follow every flip is refused, the last frame's too."""
    data, ends = segment_of(SMALL, end=True)
    for bit in range(ends[-2] * 8, len(data) * 8):
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RecordingCorrupt):
            read(bytes(bad), last=False)


@pytest.mark.parametrize("shapes", [SMALL, LARGE], ids=["small", "large"])
def test_zeros_from_any_sector_on_are_a_torn_tail(shapes: list[Shape]) -> None:
    """The last frame with its end never taken by the disk is cut off, and the rest is kept."""
    data, ends = segment_of(shapes, end=False)
    whole, _ = read(data)
    for at in range(-(-ends[-2] // SECTOR_BYTES) * SECTOR_BYTES, len(data), SECTOR_BYTES):
        zeroed = data[:at] + bytes(len(data) - at)
        assert (whole[:-1], len(data) - ends[-2]) == read(zeroed), at


@st.composite
def damage(draw: st.DrawFn) -> bytes:
    """A segment with some of its bytes changed, cut out, moved, repeated or put in."""
    shapes = draw(st.sampled_from([SMALL, LARGE, SMALL[:1], []]))
    data = segment_of(shapes, end=draw(st.booleans()))[0]
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 300)))
        piece = data[at:to]
        new = draw(
            st.one_of(
                st.binary(max_size=80),
                st.just(b""),
                st.just(piece + piece),
                st.just(bytes(len(piece))),
                st.just(piece[::-1]),
                st.sampled_from([b"\xff" * 4, b"\xff" * 16, SEGMENT]),
            )
        )
        data = data[:at] + new + data[to:]
    return data


@given(damage(), st.booleans())
def test_damage_never_reads_as_something_else(data: bytes, last: bool) -> None:
    """Any mutation gives a prefix of what was written, or RecordingCorrupt and nothing else."""
    written = [read(segment_of(shapes, end=False)[0])[0] for shapes in (SMALL, LARGE)]
    try:
        found, torn = read(data, last=last)
    except RecordingCorrupt:
        return
    assert any(found == whole[: len(found)] for whole in written)
    assert torn <= len(data)
    assert sum(len(ticks) for ticks, *_ in found) <= len(data)


@given(st.binary(max_size=400), st.booleans())
@example(b"", True)
@example(b"PARITYJ\n", True)
def test_arbitrary_bytes_are_never_data(data: bytes, last: bool) -> None:
    """Bytes that nobody wrote hold no frame: behind a right header, and without one."""
    header = b"".join(pack_header(SEGMENT, 1, 1, RECORDING))
    for whole in (data, header + data):
        try:
            found, torn = read(whole, last=last)
        except RecordingCorrupt:
            continue
        assert [] == found
        assert torn in (len(whole), len(whole) - HEADER_BYTES)


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
@example(b"", 2**32 - 1, 2**32 - 1)
@example(b"\x91" * 5000, 0, 5000)  # msgpack nested deeper than any stack
@example(b"\x91\xa1\xff", 0, 3)  # text that is no UTF-8
@example(b"\xdd\xff\xff\xff\xff", 0, 5)  # an array of four thousand million, of which none is there
def test_frames_forged_with_a_right_checksum(body: bytes, ticks: int, control_bytes: int) -> None:
    """A right checksum over wrong counts or controls gets no further, and takes no memory."""
    counts = b"".join(n.to_bytes(4, "little") for n in (ticks, 0, control_bytes, 0))
    header = b"".join(pack_header(SEGMENT, 1, 1, RECORDING))
    data = header + b"".join(pack_frame(SEGMENT, 1, [counts + body]))
    try:
        found, _ = read(data)
    except RecordingCorrupt:
        return
    assert len(found) <= 1
    assert sum(len(records) for records, *_ in found) <= len(data)


def outcome(data: bytes, *, compiled: bool, last: bool = True) -> Any:
    """What sealing would make of bytes, ticks as columns, or the words it is refused with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "are_loaded", lambda: compiled)
        try:
            found = read(data, last=last)
            segment = parse(data, last=last)
        except RecordingCorrupt as error:
            return str(error), error.cure
        groups = [
            {name: column.tolist() for name, column in columns.items()}
            for columns in columns_of(segment, 17)
        ]
        return found, groups, segment.ended, segment.good_bytes


@pytest.mark.parametrize("shapes", [SMALL, LARGE + SMALL[:2]], ids=["small", "large"])
def test_the_compiled_pass_reads_what_the_pure_one_reads(shapes: list[Shape]) -> None:
    """Law: truncations and many flipped bits give both the same frames, ticks and words."""
    seed = int(os.environ.get("PARITY_SEED", "20261124"))
    print(f"PARITY_SEED={seed}")
    rng = random.Random(seed)
    data, _ = segment_of(shapes, end=True)
    damaged = [data[:size] for size in range(0, len(data) + 1, 7 if len(data) > 4000 else 1)]
    for _ in range(FLIPS // 40):
        bad = bytearray(data)
        bit = rng.randrange(len(data) * 8)
        bad[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(bad))

    for bad_data in damaged:
        for last in (True, False):
            pure = outcome(bad_data, compiled=False, last=last)
            assert pure == outcome(bad_data, compiled=True, last=last)


@given(damage(), st.booleans())
def test_the_compiled_pass_takes_any_damage_alike(data: bytes, last: bool) -> None:
    """Law: whatever was changed, cut out, moved or put in, both say the same of it."""
    assert outcome(data, compiled=False, last=last) == outcome(data, compiled=True, last=last)


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 2**32 - 1))
def test_checksums_are_those_of_zlib(data: bytes, begin: int, before: int) -> None:
    """Law: of any bytes, from any place on, going on from any checksum."""
    from parity.kernels.frames import crc32_of

    begin = min(begin, len(data))
    found = crc32_of(np.frombuffer(data, np.uint8), begin, len(data), np.uint64(before))

    assert zlib.crc32(data[begin:], before) == found
