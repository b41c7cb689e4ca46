"""Repair: what proves itself comes back, the rest is a gap, and nothing is thrown away."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from parity.model.errors import ConfigError, RecordingCorrupt
from parity.model.events import Control
from parity.model.instruments import InstrumentTable
from parity.recording.journal import JournalWriter
from parity.recording.manifest import load_manifest, save_manifest
from parity.recording.reader import open_recording
from parity.recording.repair import Finding, is_damage, repair_recording
from parity.recording.sealing import seal
from parity.recording.writer import create_recording
from parity.testing.disk import FaultyDisk, Killed

Records = npt.NDArray[Any]
NOTED = "2026-01-02T03:04:05Z"
SEGMENTS, TICKS = 4, 20  # of each segment; and one control behind its tenth tick


@pytest.fixture
def open_one(folder: Path, table: InstrumentTable, make_ticks: Callable[..., Records]) -> Path:
    """A recording that a kill left open: four segments, each with 20 ticks and a control."""
    create_recording(folder, table, created_by="test", streams=[("t", 0)])
    seq = 1
    for n in range(SEGMENTS):
        with JournalWriter(folder) as writer:
            for half in range(2):
                ticks = make_ticks(TICKS // 2, next_seq=seq, seed=n * 2 + half)
                seq += TICKS // 2
                control = Control(seq=seq, ts_recv=n, verb="resumed", detail={"n": n})
                controls = [control] if half == 0 else []
                seq += len(controls)
                writer.append(ticks, controls, {0: seq})
    return folder


@pytest.fixture
def sealed(open_one: Path) -> Path:
    """The same, sealed: four parts of ticks and four of events."""
    seal(open_one)
    return open_one


def held(folder: Path) -> tuple[list[int], list[Control]]:
    """What a reader gets: the seqs of the ticks, and the controls."""
    recording = open_recording(folder)
    recording.check_files(always=True)
    batches = list(recording.batches())
    seqs = [seq for b in batches for seq in b.ticks.column("seq").tolist()]
    return seqs, [c for b in batches for c in b.controls]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def flip(path: Path, at: int) -> None:
    """Change one bit; the size stays."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def repaired(folder: Path) -> list[Finding]:
    """Repair, after a dry run that must say the same and change nothing; then nothing is wrong."""
    before = tree(folder)
    planned = repair_recording(folder, noted=NOTED, dry_run=True)
    assert before == tree(folder)
    found = repair_recording(folder, noted=NOTED)
    assert planned == found
    after = tree(folder)
    assert [] == repair_recording(folder, noted="later")
    assert after == tree(folder)
    return found


def test_a_whole_recording_is_left_alone(sealed: Path) -> None:
    """Nothing is found, nothing is written."""
    before = tree(sealed)

    assert [] == repaired(sealed)
    assert before == tree(sealed)


@pytest.mark.parametrize("how", ["missing", "edited", "truncated", "empty"])
@pytest.mark.parametrize("kind", ["ticks", "events"])
def test_a_lost_part_is_a_gap_and_comes_back(sealed: Path, kind: str, how: str) -> None:
    """Its seqs are named by the manifest and a gap event; a copy put back makes all as it was."""
    whole, content_hash = held(sealed), open_recording(sealed).content_hash()
    part = load_manifest(sealed).of_kind(kind)[1]
    path = sealed / part.file
    copy = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "edited":
        flip(path, 40)
    else:
        path.write_bytes(copy[: -10 if how == "truncated" else 0])
    damaged = path.read_bytes() if path.exists() else None
    with pytest.raises(RecordingCorrupt, match=rf"{part.file} \(seq \d+.*parity repair"):
        held(sealed)
    (found,) = repaired(sealed)

    assert ("mark_lost", part.file, part.rows) == (found.remedy, found.file, found.lost_events)
    (gone,) = load_manifest(sealed).gone
    assert (part.first_seq, part.last_seq, part.rows) == (
        gone.first_seq, gone.last_seq, gone.events,
    )  # fmt: skip
    seqs, controls = held(sealed)
    gap = next(c for c in controls if c.verb == "gap")
    assert (part.last_seq, "lost", part.rows) == (
        gap.seq,
        gap.detail["reason"],
        gap.detail["events"],
    )
    every = sorted([*seqs, *(c.seq for c in controls)])
    expected = {*whole[0], *(c.seq for c in whole[1])}
    assert part.rows - 1 == len(expected) - len(every)
    if damaged is not None:
        assert damaged == (sealed / "damaged" / part.file).read_bytes()

    path.write_bytes(copy)
    (found,) = repaired(sealed)
    assert "put_back" == found.remedy
    assert whole == held(sealed)
    assert content_hash == open_recording(sealed).content_hash()


def test_a_part_is_rebuilt_where_its_segment_is_still_there(open_one: Path) -> None:
    """A kill between the manifest entry and the removal: the journal gives the same bytes."""
    journal = tree(open_one)
    seal(open_one)
    whole, content_hash = held(open_one), open_recording(open_one).content_hash()
    (open_one / "journal").mkdir()
    (open_one / "journal/000002.wal").write_bytes(journal["journal/000002.wal"])
    for kind in ("ticks", "events"):
        flip(open_one / load_manifest(open_one).of_kind(kind)[1].file, 30)
    found = repaired(open_one)

    assert ["rebuild", "rebuild", "remove"] == [f.remedy for f in found]
    assert whole == held(open_one)
    assert content_hash == open_recording(open_one).content_hash()


def test_a_journal_left_by_a_kill_is_sealed(open_one: Path) -> None:
    """That is no damage: as sealing does it."""
    whole = held(open_one)
    found = repaired(open_one)

    assert ["seal"] * SEGMENTS == [f.remedy for f in found]
    assert not is_damage(found)
    assert whole == held(open_one)


@pytest.mark.parametrize("at", [0, 1])
def test_a_damaged_frame_costs_its_own_seqs_only(open_one: Path, at: int) -> None:
    """Frames before and behind it prove themselves by crc and id; the segment is kept aside."""
    seqs, controls = held(open_one)
    path = open_one / "journal/000002.wal"
    data = path.read_bytes()
    frame = (len(data) - 84) // 2
    flip(path, 84 + at * frame + 200)
    damaged = path.read_bytes()
    with pytest.raises(
        RecordingCorrupt, match=r"journal/000002.wal: frame .* damaged.*parity repair"
    ):
        held(open_one)
    found = repaired(open_one)
    lost = (22, 32) if at == 0 else (33, 42)

    assert ["seal", "salvage", "seal", "seal"] == [f.remedy for f in found]
    (gone,) = load_manifest(open_one).gone
    assert lost == (gone.first_seq, gone.last_seq)
    kept = [s for s in seqs if not lost[0] <= s <= lost[1]]
    now, controls_now = held(open_one)
    assert kept == now
    assert [lost[1]] == [c.seq for c in controls_now if c.verb == "gap"]
    assert [c for c in controls if not lost[0] <= c.seq <= lost[1]] == [
        c for c in controls_now if c.verb != "gap"
    ]
    assert damaged == (open_one / "damaged/journal/000002.wal").read_bytes()


def test_a_missing_segment_is_a_range_of_seqs(open_one: Path) -> None:
    """What stands before and behind it says which."""
    (open_one / "journal/000002.wal").unlink()
    found = repaired(open_one)

    assert ("journal/000002.wal", "is missing", 22, 42, "mark_lost") == (
        found[1].file, found[1].problem, found[1].first_seq, found[1].last_seq, found[1].remedy,
    )  # fmt: skip
    assert 21 == found[1].lost_events
    assert [*range(1, 11), *range(12, 22), *range(43, 53)] == held(open_one)[0][:30]


def test_segments_that_changed_names_are_read_in_their_order(open_one: Path) -> None:
    """Their headers say which is which; nothing is lost."""
    whole = held(open_one)
    two, three = (open_one / f"journal/00000{n}.wal" for n in (2, 3))
    spare = two.with_suffix(".x")
    two.rename(spare)
    three.rename(two)
    spare.rename(three)
    with pytest.raises(RecordingCorrupt, match="is segment 3 of recording"):
        held(open_one)

    assert not is_damage(repaired(open_one))
    assert whole == held(open_one)


def test_a_last_segment_that_says_nothing_leaves_a_gap(open_one: Path) -> None:
    """How much it held is not known; the gap says so, and seq goes on behind it."""
    path = open_one / "journal/000004.wal"
    path.write_bytes(b"x" * 500)
    found = repaired(open_one)

    assert ("set_aside", "its header is damaged") == (found[-1].remedy, found[-1].problem)
    (gone,) = load_manifest(open_one).gone
    assert (64, 64) == (gone.first_seq, gone.last_seq)
    assert "how much it held is not known" in gone.why
    with JournalWriter(open_one) as writer:
        assert 64 == writer.last_seq


def test_orphans_are_set_aside_and_leavings_removed(sealed: Path) -> None:
    """What the manifest does not list is kept apart; half a file of a killed sealing is not."""
    shutil.copy(sealed / "ticks/000000000001.parquet", sealed / "ticks/000000000999.parquet")
    (sealed / "ticks/000000001000.tmp").write_bytes(b"half")
    whole = held(sealed)
    found = repaired(sealed)

    assert {"set_aside", "remove"} == {f.remedy for f in found}
    assert (sealed / "damaged/ticks/000000000999.parquet").is_file()
    assert whole == held(sealed)


def test_two_parts_that_changed_places_lose_their_rows(sealed: Path) -> None:
    """Neither proves itself by its name; both stay in damaged/ and can be put back."""
    one, two = (sealed / p.file for p in load_manifest(sealed).of_kind("ticks")[:2])
    a, b = one.read_bytes(), two.read_bytes()
    one.write_bytes(b)
    two.write_bytes(a)
    assert ["mark_lost"] * 2 == [f.remedy for f in repaired(sealed)]

    one.write_bytes(a)
    two.write_bytes(b)
    assert ["put_back"] * 2 == [f.remedy for f in repaired(sealed)]
    assert [] == load_manifest(sealed).gone


def test_absent_seqs_pass_only_as_noted(sealed: Path) -> None:
    """A manifest that notes a larger loss than there is, or a smaller one, is refused."""
    (sealed / load_manifest(sealed).of_kind("ticks")[1].file).unlink()
    repaired(sealed)
    manifest = load_manifest(sealed)
    (gone,) = manifest.gone
    fields = {f: getattr(gone, f) for f in gone.__struct_fields__}
    for change in ({"events": 19}, {"first_seq": gone.first_seq + 1}):
        wrong = type(gone)(**fields | change)
        save_manifest(sealed, type(manifest)(
            **{f: getattr(manifest, f) for f in manifest.__struct_fields__} | {"gone": [wrong]}
        ))  # fmt: skip
        with pytest.raises(RecordingCorrupt, match=r"absent|follows"):
            held(sealed)


def test_a_recorder_at_work_keeps_repair_out(open_one: Path) -> None:
    """Its journal is locked; nothing is touched."""
    with JournalWriter(open_one), pytest.raises(ConfigError, match="another runner"):
        repair_recording(open_one, noted=NOTED)


def test_a_damaged_manifest_is_beyond_repair(sealed: Path) -> None:
    """Nothing else says what the parts mean: refused, with the cure."""
    path = sealed / "manifest.json"
    path.write_text(path.read_text().replace('"price_scale": 2', '"price_scale": 3', 1))
    with pytest.raises(RecordingCorrupt, match=r"was edited.*restore the manifest"):
        repair_recording(sealed, noted=NOTED)


def test_what_goes_on_after_a_repair_is_read_with_it(
    open_one: Path, make_ticks: Callable[..., Records]
) -> None:
    """A recorder goes on behind a lost last part, and seq never starts again."""
    seal(open_one)
    part = load_manifest(open_one).of_kind("ticks")[-1]
    flip(open_one / part.file, 50)
    repaired(open_one)
    with JournalWriter(open_one) as writer:
        assert part.last_seq == writer.last_seq
        writer.append(make_ticks(5, next_seq=writer.last_seq + 1), (), {0: 200})
    seqs, _ = held(open_one)
    seal(open_one)

    assert [85, 86, 87, 88, 89] == seqs[-5:]
    assert seqs == held(open_one)[0]
    assert np.all(np.diff(seqs) > 0)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["journal", "parts"])
def test_a_kill_at_any_call_costs_nothing(open_one: Path, tmp_path: Path, what: str) -> None:
    """Killed at each write, sync, rename and removal: repairing again ends with the same events."""
    if what == "journal":
        flip(open_one / "journal/000003.wal", 300)
        (open_one / "journal/000002.wal").unlink()
    else:
        seal(open_one)
        flip(open_one / load_manifest(open_one).of_kind("ticks")[1].file, 60)
        (open_one / load_manifest(open_one).of_kind("events")[2].file).unlink()
        (open_one / "events/000000000999.parquet").write_bytes(b"orphan")
    whole = tmp_path / "whole"
    shutil.copytree(open_one, whole)
    with FaultyDisk(whole) as disk:
        repair_recording(whole, noted=NOTED)
    expected = held(whole)

    # The last call is the lock's own; a further write to the same half file changes no name.
    called = [call[:2] for call in disk.calls[:-1]]
    points = [n for n, call in enumerate(called, 1) if n == 1 or call != called[n - 2]]
    assert len(points) > 10
    for at in points:
        copy = tmp_path / f"killed{at}"
        shutil.copytree(open_one, copy)
        with pytest.raises(Killed), FaultyDisk(copy, at=at):
            repair_recording(copy, noted=NOTED)
        repair_recording(copy, noted=NOTED)
        assert expected == held(copy)
        shutil.rmtree(copy)
