"""Everything that is wrong with a recording is told at once, and nothing of it is summed up."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from parity.cli import app
from parity.model.events import Control
from parity.model.ticks import TICK_DTYPE
from parity.recording.inspect import inspect_folder
from parity.recording.integrity import check_integrity
from parity.recording.journal import JournalWriter
from parity.recording.manifest import add_streams, load_manifest
from parity.recording.writer import RecordingWriter, create_recording
from parity.testing.generators import TABLE, dummy_batch, dummy_records

RUNNER = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "120"})


def sealed(folder: Path) -> Path:
    """A recording of two parts: ticks and a gap."""
    gap = Control(seq=6, ts_recv=0, verb="gap", detail={"stream": 0, "offset": 4, "next_offset": 9})
    events = dummy_batch(8, seq=[1, 2, 3, 4, 5, 7, 8, 9], controls=[gap])
    with RecordingWriter(folder, TABLE, order="arrival", created_by="test") as writer:
        writer.append(events.ticks, events.controls)
    return folder


def journal(folder: Path, segments: int) -> list[Path]:
    """An open recording whose journal has some segments of one frame of three ticks."""
    create_recording(folder, TABLE, created_by="test")
    with JournalWriter(folder, segment_bytes_max=1) as writer:
        for n in range(segments):
            writer.append(dummy_records(3, seq=np.arange(3 * n + 1, 3 * n + 4)))
    return sorted((folder / "journal").glob("*.wal"))


def test_a_sound_recording_has_no_defect(tmp_path: Path) -> None:
    """Every part hashed, order and gaplessness seen."""
    found, histogram, defects = inspect_folder(sealed(tmp_path / "rec"))

    assert [] == defects
    assert found["integrity"]["ok"]
    assert (2, "checked") == (
        found["integrity"]["hashed_files"],
        found["integrity"]["order_and_gaplessness"],
    )
    assert "none" == found["integrity"]["journal"]["state"]
    assert histogram is not None


def test_every_defect_is_told_with_its_file_and_seqs(tmp_path: Path) -> None:
    """A missing part and an edited one, both by name; no sum is given."""
    folder = sealed(tmp_path / "rec")
    (ticks,) = (folder / "ticks").iterdir()
    (events,) = (folder / "events").iterdir()
    data = bytearray(ticks.read_bytes())
    data[100] ^= 1
    ticks.write_bytes(data)
    events.unlink()
    (folder / "ticks/stray.tmp").write_text("")
    code = RUNNER.invoke(app, ["inspect", str(folder), "--json"])
    found = json.loads(code.stdout)

    assert 3 == code.exit_code
    assert "and 1 defect more" in code.stderr
    assert found["ticks"] is None
    assert [("has sha256", 1, 9), ("is missing", 6, 6)] == [
        (d["problem"][:10], d["first_seq"], d["last_seq"]) for d in found["integrity"]["defects"]
    ]
    assert ["ticks/stray.tmp"] == found["integrity"]["unlisted_files"]
    shown = RUNNER.invoke(app, ["inspect", str(folder)])
    assert 3 == shown.exit_code
    assert "is damaged" in shown.stdout
    assert "000000000006.parquet" in shown.stdout


def test_a_manifest_that_was_edited_is_refused(tmp_path: Path) -> None:
    """Nothing else can be told then."""
    folder = sealed(tmp_path / "rec")
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"symbol": "ONE"', '"symbol": "TWO"'))
    done = RUNNER.invoke(app, ["inspect", str(folder)])

    assert 3 == done.exit_code
    assert "was edited" in done.stderr


def test_every_damaged_segment_is_told(tmp_path: Path) -> None:
    """Segments behind a damaged one are checked as well."""
    paths = journal(tmp_path / "rec", 4)
    for path in (paths[0], paths[2]):
        data = bytearray(path.read_bytes())
        data[-90] ^= 1
        path.write_bytes(data)
    found = check_integrity(tmp_path / "rec", load_manifest(tmp_path / "rec"))

    assert [str(paths[0]), str(paths[2])] == [one.file for one in found.defects]
    assert ("damaged", 4, 6) == (found.journal.state, found.journal.segments, found.journal.ticks)


def test_a_missing_segment_is_told(tmp_path: Path) -> None:
    """With the one that should follow it."""
    paths = journal(tmp_path / "rec", 3)
    paths[1].unlink()
    (defect,) = check_integrity(tmp_path / "rec", load_manifest(tmp_path / "rec")).defects

    assert "segment 2 is missing before 000003.wal" in defect.words


@pytest.mark.parametrize(("cut", "state"), [(0, "ended"), (70, "torn")])
def test_a_torn_tail_is_a_state_and_no_defect(tmp_path: Path, cut: int, state: str) -> None:
    """A power loss may leave it; what is whole is counted."""
    (path,) = journal(tmp_path / "rec", 1)
    path.write_bytes(path.read_bytes()[: -cut or None])
    found, _, defects = inspect_folder(tmp_path / "rec")

    assert [] == defects
    assert state == found["integrity"]["journal"]["state"]
    assert (cut > 0) == (found["integrity"]["journal"]["torn_bytes"] > 0)


def test_gaps_and_quarantine_are_told_by_stream_and_reason(tmp_path: Path) -> None:
    """Counts, skipped positions, and the largest gaps first."""
    folder = tmp_path / "rec"
    create_recording(folder, TABLE, created_by="test")
    add_streams(folder, [("ticks", 0), ("ticks", 1)])
    details = [
        ("gap", 0, 5, 9, "skipped"),
        ("gap", 1, 0, 100, "retention"),
        ("gap", 0, 9, 10, "skipped"),
    ]
    controls = [
        Control(
            seq=n,
            ts_recv=n,
            verb=verb,
            detail={"stream": s, "offset": a, "next_offset": b, "reason": why},
        )
        for n, (verb, s, a, b, why) in enumerate(details, start=1)
    ]
    bad = Control(seq=4, ts_recv=4, verb="quarantine", detail={"stream": 1, "reason": "json"})
    with JournalWriter(folder) as writer:
        writer.append(np.zeros(0, TICK_DTYPE), [*controls, bad])
        writer.append(dummy_records(1, seq=5))
    found, _, _ = inspect_folder(folder)

    assert 3 == found["gaps"]
    assert {"skipped": 2, "retention": 1} == found["gap_details"]["by_reason"]
    assert {"ticks/0": 2, "ticks/1": 1} == found["gap_details"]["by_stream"]
    assert 105 == found["gap_details"]["positions"]
    assert [100, 4, 1] == [one["positions"] for one in found["gap_details"]["largest"]]
    assert (1, {"json": 1}) == (found["quarantined"], found["quarantine_details"]["by_reason"])
    shown = RUNNER.invoke(app, ["inspect", str(folder)]).stdout
    assert "largest gap: 100 positions of ticks/1 at seq 2" in shown
