"""A damaged recording: every kind of damage is refused, by name, never read around."""

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parity.model.errors import RecordingCorrupt, RecordingMissing
from parity.recording import layout
from parity.recording.manifest import load_manifest, save_manifest
from parity.recording.reader import open_recording


def rewrite(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Replace the part by other rows and let the manifest agree: only order can tell."""
    manifest = load_manifest(folder)
    (part,) = manifest.parts
    path = folder / part.file
    rows = change(pq.read_table(path))
    pq.write_table(rows, path, store_decimal_as_integer=True)
    renewed = type(part)(
        **{f: getattr(part, f) for f in part.__struct_fields__}
        | {"sha256": layout.file_sha256(path), "bytes": path.stat().st_size}
    )
    save_manifest(
        folder,
        type(manifest)(
            **{f: getattr(manifest, f) for f in manifest.__struct_fields__} | {"parts": [renewed]}
        ),
    )


def swapped(rows: pa.Table) -> pa.Table:
    """Two rows in the wrong order."""
    return rows.take([*range(100), 101, 100, *range(102, 500)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swapped, "seq 102 follows seq 100 in ticks/"),
        (lambda t: t.take([*range(100), *range(101, 500)]), "seq 102 follows seq 100"),
        (lambda t: t.take([*range(100), 99, *range(100, 500)]), "seq 100 follows seq 100"),
        (lambda t: t.slice(0, 400), "ends at seq 400, expected 500"),
    ],
    ids=["swapped", "missing", "doubled", "short"],
)
def test_order_is_checked_never_trusted(
    recorded: Path, change: Callable[[pa.Table], pa.Table], message: str
) -> None:
    """Even where every hash agrees, seq that does not rise by one is refused."""
    rewrite(recorded, change)
    recording = open_recording(recorded)
    recording.check_files()
    for rows in (50, 100, 65536):
        with pytest.raises(RecordingCorrupt, match=message):
            list(recording.batches(batch_rows=rows))


def test_order_is_checked_under_a_filter_too(recorded: Path) -> None:
    """Gaps are expected there, a step back is not."""
    rewrite(recorded, swapped)
    recording = open_recording(recorded)
    with pytest.raises(RecordingCorrupt, match="seq 101 follows seq 102"):
        list(recording.batches(instruments=[7, 9, 12]))


def test_first_missing_tick_is_found(recorded: Path) -> None:
    """A recording that starts later than its manifest says has lost its start."""
    rewrite(recorded, lambda t: t.slice(10))
    with pytest.raises(RecordingCorrupt, match="starts at seq 11, expected 1"):
        list(open_recording(recorded).batches())


def test_edited_part_is_named_with_range_and_hashes(recorded: Path) -> None:
    """The same size and another content: found by hash, with file, seq range and cure."""
    recording = open_recording(recorded)
    recording.check_files()
    (part,) = recording.manifest.parts
    path = recorded / part.file
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    pattern = rf"{part.file} \(seq 1\.\.500\) has sha256 .*, expected {part.sha256}; restore"
    with pytest.raises(RecordingCorrupt, match=pattern):
        open_recording(recorded).check_files()


def test_hash_is_taken_once_unless_always(recorded: Path) -> None:
    """An edit that restores size, time and inode passes by design; `always` finds it."""
    recording = open_recording(recorded)
    recording.check_files()
    path = recorded / recording.manifest.parts[0].file
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(200)
        byte = file.read(1)
        file.seek(200)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    recording.check_files()
    with pytest.raises(RecordingCorrupt, match="has sha256"):
        recording.check_files(always=True)


def test_truncated_and_missing_parts_are_refused_at_open(recorded: Path) -> None:
    """Before a single tick is read."""
    path = recorded / load_manifest(recorded).parts[0].file
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(RecordingCorrupt, match=rf"has {len(data) - 1} bytes, expected {len(data)}"):
        open_recording(recorded)
    path.unlink()
    with pytest.raises(RecordingCorrupt, match=r"\(seq 1\.\.500\) is missing"):
        open_recording(recorded)


def test_damage_under_an_open_reader_is_an_error(recorded: Path) -> None:
    """What DuckDB cannot read ends in RecordingCorrupt, through the reader thread too."""
    recording = open_recording(recorded)
    path = recorded / recording.manifest.parts[0].file
    path.write_bytes(b"PAR1" + bytes(len(path.read_bytes()) - 4))
    with pytest.raises(RecordingCorrupt, match="cannot be read"):
        list(recording.batches())


def test_edited_manifest_is_refused(recorded: Path) -> None:
    """One other digit in a scale would change every price."""
    path = recorded / "manifest.json"
    path.write_text(path.read_text().replace('"price_scale": 2', '"price_scale": 3', 1))
    with pytest.raises(RecordingCorrupt, match="was edited"):
        open_recording(recorded)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "null"])
def test_broken_manifest_is_refused(recorded: Path, text: str) -> None:
    """Whatever stands in it, the error names the file."""
    (recorded / "manifest.json").write_text(text)
    with pytest.raises(RecordingCorrupt, match=r"manifest\.json"):
        open_recording(recorded)


def test_later_format_is_named(recorded: Path) -> None:
    """A recording of tomorrow is not half read today."""
    (recorded / "manifest.json").write_text('{"format": 2}')
    with pytest.raises(RecordingCorrupt, match="format 2, this version reads up to 1"):
        open_recording(recorded)


def test_missing_recording_says_what_is_there(tmp_path: Path) -> None:
    """Nothing, an empty folder, another folder, a file: each is told apart."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.csv").write_text("1")
    for name, found in {
        "none": "no such recording.* holds empty, other",
        "none/at/all": "no such recording; no ",
        "empty": "found an empty folder, expected manifest.json",
        "other": "found a folder with x.csv",
        "other/x.csv": "found a file of 1 bytes; make a recording from it: parity import",
    }.items():
        with pytest.raises(RecordingMissing, match=found):
            open_recording(tmp_path / name)
