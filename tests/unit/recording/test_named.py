"""Who names a recording: its own run's checkpoints, goldens, and the runs that read it."""

import json
from pathlib import Path

import msgspec
import pytest

from parity.recording.manifest import update_manifest
from parity.recording.named import DEPTH, needs_of
from parity.recording.reader import open_recording
from parity.recording.retention import Need


def run_at(folder: Path, mode: str, recording: str) -> Path:
    """A run's manifest, as far as it is looked at."""
    folder.mkdir(parents=True)
    manifest = {"run_id": "r", "mode": mode, "recording": {"path": recording}, "other": [1]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """The folder of a recording; what is in it does not matter here."""
    folder = tmp_path / "recordings" / "today"
    (folder / "ticks").mkdir(parents=True)
    (folder / "manifest.json").write_text('{"recording_id": "x"}')
    return folder


def test_nobody_names_it(recording: Path, tmp_path: Path) -> None:
    """Broken files, other runs and files of other programs are passed over."""
    run_at(tmp_path / "runs" / "other", "backtest", "../../recordings/yesterday")
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "manifest.json").write_bytes(b"\xff{")
    (recording.parent / "digests.json").write_text('["not ours"]')

    assert [] == needs_of(recording, [tmp_path / "runs", tmp_path / "absent"])


def test_a_backtest_needs_all_it_read(recording: Path, tmp_path: Path) -> None:
    """Found below a root, named by a relative path through links; not asked for, not counted."""
    run = run_at(tmp_path / "runs" / "a" / "b", "backtest", "../../../link/today")
    (tmp_path / "link").symlink_to(tmp_path / "recordings")

    assert [Need(by=f"run {run}", from_seq=1)] == needs_of(recording, [tmp_path / "runs"])
    assert [] == needs_of(recording, [tmp_path / "runs"], runs=False)
    deep = tmp_path / "far" / "/".join("d" * (DEPTH + 1))
    run_at(deep, "backtest", "/".join([".."] * (DEPTH + 2)) + "/recordings/today")
    assert [] == needs_of(recording, [tmp_path / "far"])


def test_a_backtest_that_cannot_be_verified_any_more_does_not_count(
    recorded: Path, tmp_path: Path
) -> None:
    """One that read other ticks than are there; and none of a recording that still grows."""
    run = run_at(tmp_path / "runs" / "a", "backtest", f"../../{recorded.name}")
    file = run / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["recording"]["content_hash"] = open_recording(recorded).content_hash()
    file.write_text(json.dumps(manifest))
    assert [Need(by=f"run {run}", from_seq=1)] == needs_of(recorded)
    update_manifest(recorded, lambda m: msgspec.structs.replace(m, state="open"))
    assert [] == needs_of(recorded)
    update_manifest(recorded, lambda m: msgspec.structs.replace(m, state="sealed"))
    manifest["recording"]["content_hash"] = "another"
    file.write_text(json.dumps(manifest))
    assert [] == needs_of(recorded)


def test_a_paper_run_that_read_it_has_a_recording_of_its_own(
    recording: Path, tmp_path: Path
) -> None:
    """It is proved from that one."""
    run_at(tmp_path / "runs" / "paper", "paper", "../../recordings/today")

    assert [] == needs_of(recording, [tmp_path / "runs"])


def test_a_golden_needs_all_of_it(recording: Path, tmp_path: Path) -> None:
    """Its path begins at a folder above it; it counts whatever is said of runs."""
    golden = recording.parent / "today-golden"
    golden.mkdir()
    (golden / "digests.json").write_text('{"format": 1, "recording": "recordings/today"}')

    expected = [Need(by=f"golden {golden / 'digests.json'}", from_seq=1)]
    assert expected == needs_of(recording, runs=False)
    assert expected == needs_of(recording, [tmp_path, recording.parent])  # found once


def test_a_run_needs_its_own_behind_the_oldest_checkpoint(tmp_path: Path) -> None:
    """Two are kept; without one all of it is needed."""
    run = run_at(tmp_path / "run", "paper", "recording")
    recording = run / "recording"
    recording.mkdir()
    (run / "checkpoints").mkdir()
    assert [Need(by=f"run {run}, which has no checkpoint yet", from_seq=1)] == needs_of(recording)
    for seq in (700, 1200):
        (run / "checkpoints" / f"{seq:020d}.ckpt").write_bytes(b"")

    assert [Need(by=f"checkpoint 700 of run {run}", from_seq=701)] == needs_of(recording)


def test_the_demo_is_named_by_its_golden() -> None:
    """What ships with the project cannot be pruned by mistake."""
    (need,) = needs_of(Path(__file__).parents[3] / "recordings" / "demo")

    assert need.by.endswith("demo-golden/digests.json")
