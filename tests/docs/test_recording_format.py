"""docs/recording-format.md is enough: a reader written from the page alone, and its example."""

import hashlib
import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity.model.events import Control
from parity.model.extensions import Extension
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TICK_DTYPE, TRADE
from parity.recording.journal import JournalWriter, read_journal
from parity.recording.sealing import seal, seal_ended
from parity.recording.segments import pack_data, pack_end, pack_frame, pack_header
from parity.recording.writer import create_recording

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "recording-format.md"


# -- the other program: nothing of parity, nothing but the page

SIZES = (
    "seq ts_event ts_recv instrument_token price quantity side bid ask bid_quantity ask_quantity"
)
SIZES += " volume open_interest trade_id flags stream offset sub"
TICK = struct.Struct("<qqqqqqbqqqqqqqIiqi")


class Damaged(Exception):
    """What the page calls damage."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, its hash checked."""
    values: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    claimed = values.pop("sha256")
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if hashlib.sha256(text.encode()).hexdigest() != claimed:
        raise Damaged("manifest")
    return values


def read_segment(data: bytes, extensions: int, last: bool) -> tuple[list[Any], int]:
    """Frames as (tick tuples, positions, control bytes), and how many bytes are torn."""
    if len(data) < 64 or zlib.crc32(data[:60]) != struct.unpack_from("<I", data, 60)[0]:
        if last and (len(data) <= 64 or not any(data)):
            return [], len(data)
        raise Damaged("header")
    identity = data[12:28]
    width = 125 + (8 + 8 * extensions if extensions else 0)
    frames: list[Any] = []
    at, number, ended = 64, 0, False
    while at < len(data):
        frame = right_frame(data, at, width)
        if frame is None:
            if ended or not last or not torn(data, at, identity, width):
                raise Damaged(f"byte {at}")
            return frames, len(data) - at
        length, own, owner, ticks, places, controls, kind = frame
        if ended or own != number + 1 or owner != identity:
            raise Damaged(f"byte {at}")
        number, ended, body = own, kind == 1, at + 48
        if not ended:
            rows = [TICK.unpack_from(data, body + n * width) for n in range(ticks)]
            body += ticks * width
            pairs = [struct.unpack_from("<iq", data, body + 12 * n) for n in range(places)]
            body += 12 * places
            frames.append((rows, dict(pairs), data[body : body + controls]))
        at += 32 + length
    if not (ended or last):
        raise Damaged("no end")
    return frames, 0


def right_frame(data: bytes, at: int, width: int) -> tuple[Any, ...] | None:
    """A frame whose length, counts and crc are right."""
    if at + 48 > len(data):
        return None
    length, own, owner, crc, ticks, places, controls, kind = struct.unpack_from(
        "<IQ16sIIIII", data, at
    )
    if length != 16 + ticks * width + 12 * places + controls or at + 32 + length > len(data):
        return None
    if zlib.crc32(data[at + 32 : at + 32 + length], zlib.crc32(data[at : at + 28])) != crc:
        return None
    return (length, own, owner, ticks, places, controls, kind)


def torn(data: bytes, at: int, identity: bytes, width: int) -> bool:
    """Whether a wrong frame at the end is what a disk did not take."""
    for place in range(at + 1, len(data) - 47):
        if data[place + 12 : place + 28] == identity and right_frame(data, place, width):
            return False
    if at + 48 > len(data):
        return True
    length, *_, ticks, places, controls, _ = struct.unpack_from("<IQ16sIIIII", data, at)
    counted = 16 + ticks * width + 12 * places + controls
    sectors = [data[max(at, s) : s + 512] for s in range(at - at % 512, len(data), 512)]
    return len(data) - at - 32 not in (length, counted) or not all(map(any, sectors))


def read_recording(folder: Path) -> tuple[list[Any], int]:
    """All frames of the journal that the manifest does not list."""
    manifest = read_manifest(folder)
    sealed = [s["number"] for s in manifest["segments"]]
    numbers = sorted(int(p.stem) for p in (folder / "journal").glob("*.wal"))
    numbers = [n for n in numbers if n not in sealed]
    if numbers != list(
        range(max(sealed, default=0) + 1, max(sealed, default=0) + 1 + len(numbers))
    ):
        raise Damaged("segment missing")
    frames: list[Any] = []
    torn_bytes = 0
    for number in numbers:
        data = (folder / "journal" / f"{number:06d}.wal").read_bytes()
        found, torn_bytes = read_segment(
            data, len(manifest.get("extensions", [])), number == numbers[-1]
        )
        frames += found
    return frames, torn_bytes


# -- what it is held against


def example() -> bytes:
    """The segment of the page."""
    record: Any = np.zeros(1, TICK_DTYPE)
    record["seq"], record["instrument_token"], record["side"] = 1, 900001, 1
    record["ts_event"], record["ts_recv"] = 1736154000365000000, 1736154000365400000
    record["price_int"], record["quantity_int"] = 10000, 250
    record["trade_id"], record["flags"], record["offset"] = 7, TRADE | 0xFC0, 41
    control = Control(seq=2, ts_recv=1736154000365400000, verb="gap", detail={"n": 1})
    identity, recording = bytes(range(0x10, 0x20)), bytes(range(0xA0, 0xB0))
    data = pack_data(record.tobytes(), 1, [control], {0: 42})
    pieces = pack_header(identity, 1, 1, recording) + pack_frame(identity, 1, data)
    return b"".join(pieces + pack_frame(identity, 2, pack_end()))


def test_the_dump_of_the_page_is_what_the_writer_writes() -> None:
    """Byte for byte, and the other program reads it."""
    rows = re.findall(
        r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    data = bytes.fromhex("".join(row for _, row in rows))

    assert [f"{n:04x}" for n in range(0, len(data), 16)] == [at for at, _ in rows]
    assert example() == data
    frames, torn_bytes = read_segment(data, 0, last=False)
    ((ticks, positions, controls),) = frames
    assert (1, 1736154000365000000, 1736154000365400000, 900001, 10000, 250, 1) == ticks[0][:7]
    assert (7, TRADE | 0xFC0, 0, 41, 0) == ticks[0][-5:]
    assert ({0: 42}, 0) == (positions, torn_bytes)
    assert controls.startswith(b"\x91\x84\xa3seq\x02")


def ticks_of(table: InstrumentTable, seq: int, count: int) -> Any:
    """Ticks with something in every column."""
    records = np.zeros(count, table.tick_dtype)
    for column, name in enumerate(table.tick_dtype.names or ()):
        records[name] = np.arange(count) * 3 + column
    records["seq"] = np.arange(seq, seq + count)
    records["instrument_token"], records["flags"] = 7, TRADE
    return records


@pytest.mark.parametrize("extensions", [0, 2])
def test_a_reader_written_from_the_page_reads_our_journals(tmp_path: Path, extensions: int) -> None:
    """Several segments, some sealed, controls, positions, a torn tail: both read the same."""
    names = [Extension("average_price", "price"), Extension("bid_orders_1", "integer")]
    table = InstrumentTable([Instrument(token=7, symbol="Ä", price_scale=2)], names[:extensions])
    folder = tmp_path / "rec"
    create_recording(folder, table, created_by="page", streams=[("t", 0), ("t", 1)])
    with JournalWriter(folder, segment_bytes_max=3000) as writer:
        for n in range(12):
            seq = writer.last_seq + 1
            controls = [Control(seq=seq + 5, ts_recv=n, verb="gap", detail={"n": n})]
            positions = {0: seq, 1: n}
            writer.append(ticks_of(table, seq, 5), controls if n % 3 else (), positions)
    last = max((folder / "journal").iterdir())
    last.write_bytes(last.read_bytes()[:-70])
    seal_ended(folder, 1)
    ours = read_journal(folder)
    expected = [
        ([tuple(row)[:18] for row in frame.records.tolist()], frame.positions, len(frame.controls))
        for frame in ours
    ]
    frames, torn_bytes = read_recording(folder)

    assert len(expected) > 5
    assert ours.torn_bytes == torn_bytes > 0
    assert expected == [
        (rows, at, controls[0] & 15 if controls else 0) for rows, at, controls in frames
    ]
    data = bytearray((folder / "journal" / "000002.wal").read_bytes())
    data[300] ^= 4
    (folder / "journal" / "000002.wal").write_bytes(data)
    with pytest.raises(Damaged):
        read_recording(folder)


def test_a_manifest_edited_by_hand_is_noticed_by_the_page_too(tmp_path: Path) -> None:
    """The rule of the hash, as the page has it, is the one the writer follows."""
    table = InstrumentTable([Instrument(token=7, symbol="größer", price_scale=2)])
    create_recording(tmp_path / "rec", table, created_by="page")
    JournalWriter(tmp_path / "rec").close()
    seal(tmp_path / "rec")

    assert "sealed" == read_manifest(tmp_path / "rec")["state"]
    path = tmp_path / "rec" / "manifest.json"
    path.write_text(
        path.read_text("utf-8").replace('"price_scale": 2', '"price_scale": 3'), "utf-8"
    )
    with pytest.raises(Damaged):
        read_manifest(tmp_path / "rec")
