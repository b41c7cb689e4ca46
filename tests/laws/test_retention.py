"""Laws of retention: what a policy chooses, and a kill or a bad disk at every call of pruning.

What is chosen is held against a choice made by trying every count, so neither can hide the other.
"""

import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.model.errors import ParityError, RecordingCorrupt
from parity.model.events import Control
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TICK_DTYPE, TRADE
from parity.recording import reader
from parity.recording.journal import JournalWriter
from parity.recording.manifest import Part, load_manifest
from parity.recording.pruning import prune
from parity.recording.reader import Recording, open_recording
from parity.recording.repair import repair_recording
from parity.recording.retention import DAY_NS, Held, Need, Policy, choose
from parity.recording.rotation import BackgroundSealer
from parity.recording.sealing import seal
from parity.recording.writer import create_recording
from parity.testing.disk import FaultyDisk, Killed

TABLE = InstrumentTable([Instrument(token=7, symbol="A", price_scale=2)])
NOW = 1_000 * DAY_NS
NOTED = "2026-01-02T03:04:05Z"


def held(*rows: tuple[int, float]) -> list[Held]:
    """Segments of ten seqs each, from (bytes, days old)."""
    found = []
    for n, (size, days) in enumerate(rows):
        first, last = n * 10 + 1, n * 10 + 10
        part = Part(
            file=f"ticks/{first}.parquet", kind="ticks", sha256="", bytes=size, rows=10,
            first_seq=first, last_seq=last,
        )  # fmt: skip
        newest = NOW - int(days * DAY_NS)
        found.append(Held(first_seq=first, last_seq=last, parts=(part,), newest_ns=newest))
    return found


THREE = held((100, 9), (100, 8), (100, 1))


@pytest.mark.parametrize(
    ("policy", "needed", "count"),
    [
        (Policy(), None, 0),
        (Policy(keep_days=9), None, 0),  # nine days old to the ns is not older
        (Policy(keep_days=8.5), None, 1),
        (Policy(keep_days=2), None, 2),
        (Policy(keep_days=0), None, 3),
        (Policy(keep_bytes=300), None, 0),
        (Policy(keep_bytes=299), None, 1),
        (Policy(keep_bytes=200), None, 1),
        (Policy(keep_bytes=0), None, 3),
        (Policy(keep_days=8.5, keep_bytes=100), None, 2),  # the stricter of the two
        (Policy(keep_days=2, keep_bytes=299), None, 2),
        (Policy(keep_bytes=0), 1, 0),
        (Policy(keep_bytes=0), 10, 0),  # its last seq is needed
        (Policy(keep_bytes=0), 11, 1),
        (Policy(keep_bytes=0), 30, 2),
        (Policy(keep_bytes=0), 31, 3),  # only what is to come is needed
    ],
)
def test_what_goes(policy: Policy, needed: int | None, count: int) -> None:
    """The truth table of the choice."""
    needs = [] if needed is None else [Need(by="x", from_seq=1000), Need(by="y", from_seq=needed)]

    assert count == choose(THREE, policy, now_ns=NOW, needs=needs)


def test_an_old_segment_behind_a_young_one_stays() -> None:
    """Only from the oldest end, so that no hole is made."""
    assert 1 == choose(held((1, 9), (1, 1), (1, 9)), Policy(keep_days=5), now_ns=NOW)


def wanted(segments: Sequence[Held], policy: Policy, needed: int | None) -> int:
    """The choice by its meaning: the least count behind which nothing has to go, or may."""
    for count in range(len(segments)):
        rest = segments[count:]
        young = policy.keep_days is None or NOW - rest[0].newest_ns <= policy.keep_days * DAY_NS
        small = policy.keep_bytes is None or sum(s.bytes for s in rest) <= policy.keep_bytes
        if (young and small) or (needed is not None and rest[0].last_seq >= needed):
            return count
    return len(segments)


@given(
    rows=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 12).map(float)), max_size=8),
    keep_days=st.none() | st.integers(0, 12).map(float),
    keep_bytes=st.none() | st.integers(0, 300),
    needed=st.none() | st.integers(1, 90),
)
def test_the_choice_is_the_least_that_obeys(
    rows: list[tuple[int, float]],
    keep_days: float | None,
    keep_bytes: int | None,
    needed: int | None,
) -> None:
    """Oldest first, never what is needed, below the limit unless needed, and done when done."""
    segments = held(*rows)
    policy = Policy(keep_days=keep_days, keep_bytes=keep_bytes)
    needs = [] if needed is None else [Need(by="x", from_seq=needed)]
    count = choose(segments, policy, now_ns=NOW, needs=needs)
    rest = segments[count:]

    assert wanted(segments, policy, needed) == count
    assert needed is None or all(s.last_seq < needed for s in segments[:count])
    if needed is None and keep_bytes is not None:
        assert sum(s.bytes for s in rest) <= keep_bytes
    assert 0 == choose(rest, policy, now_ns=NOW, needs=needs)


# -- on the disk


def ticks_from(seq: int, count: int, ts_recv: int) -> npt.NDArray[Any]:
    """Ticks that differ from each other."""
    records = np.zeros(count, TICK_DTYPE)
    records["seq"] = np.arange(seq, seq + count)
    records["instrument_token"], records["flags"] = 7, TRADE
    records["price_int"] = records["seq"] * 1_000_003
    records["ts_recv"] = records["ts_event"] = ts_recv
    return records


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Five segments of ten seqs, one a day and the last one today: four sealed, one in a journal.

    Each has two controls, one of them the last of the segment.
    """
    folder = tmp_path / "rec"
    create_recording(folder, TABLE, created_by="law", streams=[("t", 0)])
    for n in range(5):
        if n == 4:
            seal(folder)
        with JournalWriter(folder) as writer:
            seq, at = n * 10 + 1, NOW - (4 - n) * DAY_NS
            ticks = np.concatenate([ticks_from(seq, 4, at), ticks_from(seq + 5, 4, at)])
            controls = [
                Control(seq=s, ts_recv=at, verb="resumed", detail={"n": n})
                for s in (seq + 4, seq + 9)
            ]
            writer.append(ticks, controls, {0: seq})
    return folder


def seqs_of(folder: Path) -> list[int]:
    """All seqs that a reader sees, in its own checked order."""
    with open_recording(folder) as recording:
        recording.check_files(always=True)
        return seqs_in(recording)


def seqs_in(recording: Recording) -> list[int]:
    """All seqs of a recording that is open."""
    found: list[int] = []
    for batch in recording.batches():
        found += [*batch.ticks.column("seq").tolist(), *(c.seq for c in batch.controls)]
    return sorted(found)


def files_of(folder: Path) -> dict[str, bytes]:
    """All files and their bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_was_pruned_is_named(recorded: Path) -> None:
    """By the manifest with hashes, and by a gap event at its last seq; the rest is as it was."""
    before = load_manifest(recorded)
    found = prune(recorded, Policy(keep_days=2.5), now_ns=NOW)
    after = load_manifest(recorded)

    assert found is not None
    assert (1, 20, 2, 20, 16) == (
        found.first_seq, found.last_seq, found.segments, found.events, found.ticks,
    )  # fmt: skip
    (gone,) = after.gone
    assert ("pruned", 1, 20, 20, 16) == (
        gone.reason, gone.first_seq, gone.last_seq, gone.events, gone.ticks,
    )  # fmt: skip
    assert "retention: keep 2.5 days" == gone.why
    assert gone.noted.startswith("1972-09-27T")
    assert before.parts[:4] == gone.parts
    assert found.bytes == gone.bytes == sum(p.bytes for p in gone.parts)
    assert [*range(20, 51)] == seqs_of(recorded)
    (event,) = [c for c in open_recording(recorded).controls() if c.seq == 20]
    assert ("gap", "pruned", 1, 20) == (
        event.verb, event.detail["reason"], event.detail["first_seq"], event.detail["last_seq"],
    )  # fmt: skip
    assert {p.file for p in after.parts} == {
        n for n in files_of(recorded) if n.startswith(("ticks", "events"))
    }
    assert prune(recorded, Policy(keep_days=2.5), now_ns=NOW) is None


def test_pruning_goes_on_where_it_ended(recorded: Path) -> None:
    """However often it is done there is one range and one gap event; the journal always stays."""
    first = prune(recorded, Policy(keep_days=3.5), now_ns=NOW)
    second = prune(recorded, Policy(keep_days=0), now_ns=NOW + DAY_NS)
    manifest = load_manifest(recorded)

    assert first is not None
    assert second is not None
    assert [(1, 10), (11, 40)] == [(f.first_seq, f.last_seq) for f in (first, second)]
    (gone,) = manifest.gone
    assert (1, 40, 32, 8) == (gone.first_seq, gone.last_seq, gone.ticks, len(gone.parts))
    assert ["events/000000000040-gap.parquet"] == [p.file for p in manifest.parts]
    assert [*range(40, 51)] == seqs_of(recorded)
    with JournalWriter(recorded) as writer:
        writer.append(ticks_from(51, 3, NOW))
        assert {0: 41} == writer.positions
    seal(recorded)
    assert [*range(40, 54)] == seqs_of(recorded)


def test_bytes_are_held_below_a_limit(recorded: Path) -> None:
    """Of the sealed parts that are left, whatever the limit."""
    sizes = [p.bytes for p in load_manifest(recorded).parts]
    for limit in range(sum(sizes), -1, -997):
        prune(recorded, Policy(keep_bytes=limit), now_ns=NOW)
        manifest = load_manifest(recorded)
        left = [p.bytes for p in manifest.parts if not p.file.endswith("-gap.parquet")]

        assert sum(left) <= limit
        assert [*range(max([1, *(g.last_seq for g in manifest.gone)]), 51)] == seqs_of(recorded)


@pytest.mark.parametrize("fault", ["kill", "half", "eio", "full", "stays full"])
def test_a_fault_at_every_call_of_pruning(recorded: Path, tmp_path: Path, fault: str) -> None:
    """Struck anywhere it is whole or its range is named; done again it is as if nothing was.

    The second of two prunings, so that an earlier range and its gap event are in it.
    """
    before, policy = [*range(10, 51)], Policy(keep_days=1.5)
    prune(recorded, Policy(keep_days=3.5), now_ns=NOW)
    with open_recording(recorded) as recording:
        recording.build_cache()
    whole = Path(shutil.copytree(recorded, tmp_path / "whole"))
    with FaultyDisk(whole) as watched:
        prune(whole, policy, now_ns=NOW)
    expected = files_of(whole)

    assert 1 == sum(name.startswith("cache/") and name.endswith(".arrow") for name in expected)
    assert {"unlink", "open", "write", "fsync", "replace"} <= {c.name for c in watched.calls}
    assert len(watched.calls) > 20
    for at in range(1, len(watched.calls) + 1):
        copy = Path(shutil.copytree(recorded, tmp_path / f"copy{at}"))
        with (
            FaultyDisk(copy, at=at, fault=fault) as disk,
            pytest.raises((Killed, OSError, ParityError)),
        ):
            prune(copy, policy, now_ns=NOW)
        struck = f"{fault} at call {at}: {disk.calls[-1]}"

        noted = load_manifest(copy).gone[0].last_seq
        assert noted in (10, 30), struck
        assert seqs_of(copy) == (before if noted == 10 else [*range(30, 51)]), struck
        if fault == "kill":
            mended = Path(shutil.copytree(copy, tmp_path / "mended"))
            assert {"remove", "seal"} >= {
                f.remedy for f in repair_recording(mended, noted=NOTED)
            }, struck
            assert seqs_of(mended) == seqs_of(copy), struck
            assert [] == repair_recording(mended, noted=NOTED, dry_run=True), struck
            shutil.rmtree(mended)
        prune(copy, policy, now_ns=NOW)
        assert expected == files_of(copy), struck
        shutil.rmtree(copy)


def test_the_gap_event_of_what_was_pruned_is_rebuilt(recorded: Path) -> None:
    """Damaged, it is made again from the manifest, and the range stays pruned."""
    prune(recorded, Policy(keep_days=2.5), now_ns=NOW)
    gap = recorded / "events" / "000000000020-gap.parquet"
    whole = gap.read_bytes()
    gap.write_bytes(whole[:-1])
    found = repair_recording(recorded, noted=NOTED)

    assert ["rebuild"] == [f.remedy for f in found if f.file == f"events/{gap.name}"]
    assert whole == gap.read_bytes()
    assert [*range(20, 51)] == seqs_of(recorded)


def test_lost_ranges_go_with_what_is_around_them(recorded: Path) -> None:
    """A part lost before is inside the pruned range, which says so; a later one stays its own."""
    for n in (10, 30):
        (recorded / "ticks" / f"{n + 1:012d}.parquet").unlink()
    repair_recording(recorded, noted=NOTED)
    lost = [(g.first_seq, g.last_seq) for g in load_manifest(recorded).gone]
    found = prune(recorded, Policy(keep_days=2.5), now_ns=NOW)
    pruned, left = load_manifest(recorded).gone

    assert [(11, 19), (31, 39)] == lost
    assert found is not None
    assert ("pruned", 1, 20, 20, 16) == (
        pruned.reason, pruned.first_seq, pruned.last_seq, pruned.events, pruned.ticks,
    )  # fmt: skip
    assert "lost before: 11..19" in pruned.why
    assert ("lost", 31, 39) == (left.reason, left.first_seq, left.last_seq)
    assert [*range(20, 31), 35, *range(39, 51)] == seqs_of(recorded)
    assert prune(recorded, Policy(keep_days=0), now_ns=NOW + DAY_NS) is not None
    assert [("pruned", 1, 50)] == [
        (g.reason, g.first_seq, g.last_seq) for g in load_manifest(recorded).gone
    ]


# -- readers


def test_a_reader_whose_parts_go_is_told(recorded: Path) -> None:
    """Whatever it asks for then: what was pruned is named, and opened again it reads the rest."""
    asked: dict[str, Callable[[Recording], object]] = {
        "batches": lambda r: list(r.batches()),
        "controls": lambda r: r.controls(),
        "check_files": lambda r: r.check_files(always=True),
    }
    for days, (name, ask) in zip((3.5, 2.5, 1.5), asked.items(), strict=True):
        with open_recording(recorded) as recording:
            prune(recorded, Policy(keep_days=days), now_ns=NOW)
            with pytest.raises(RecordingCorrupt, match="while it was being read") as told:
                ask(recording)
        gone = load_manifest(recorded).gone[0]
        assert f"pruned ({gone.events} events" in str(told.value), name
        with open_recording(recorded) as recording:
            ask(recording)
            assert [*range(gone.last_seq, 51)] == seqs_in(recording), name


def test_opening_while_it_is_pruned(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between manifest and parts: it opens what is left."""
    real = reader.snapshot
    policies = [Policy(keep_days=3.5), Policy(keep_days=2.5)]

    def pruned_then(folder: Path) -> Any:
        found = real(folder)
        if policies:
            prune(folder, policies.pop(0), now_ns=NOW)
        return found

    monkeypatch.setattr(reader, "snapshot", pruned_then)
    with open_recording(recorded) as recording:
        assert 20 == recording.manifest.gone[0].last_seq
    assert [] == policies


def look_on(folder: Path, over: threading.Event, seen: list[int], wrong: list[str]) -> None:
    """Open and read again and again; what is read has no hole, and no seq that is pruned."""
    while not over.is_set():
        try:
            with open_recording(folder) as recording:
                gone = recording.manifest.gone
                seqs = seqs_in(recording)
            first = gone[0].last_seq if gone else 1
            if seqs != list(range(first, first + len(seqs))):
                wrong.append(f"{seqs[:3]}…{seqs[-3:]} behind {first}")
            seen.append(first)
        except RecordingCorrupt as error:
            if "while it was being read" not in str(error):
                wrong.append(str(error))
        except Exception as error:  # a thread's own are lost otherwise
            wrong.append(repr(error))


def test_recorded_sealed_pruned_and_read_at_once(tmp_path: Path) -> None:
    """A writer, the sealer that prunes behind each segment, and a reader, with real threads."""
    folder = tmp_path / "rec"
    create_recording(folder, TABLE, created_by="law", streams=[("t", 0)])
    over, seen, wrong = threading.Event(), list[int](), list[str]()
    failures: list[str] = []
    done = threading.Event()

    def pruned() -> None:
        try:
            prune(folder, Policy(keep_bytes=20_000), now_ns=NOW)
        except Exception as error:  # as above
            failures.append(repr(error))
        done.set()

    sealer = BackgroundSealer(folder, failures.append, then=pruned)
    looking = threading.Thread(target=look_on, args=(folder, over, seen, wrong), daemon=True)
    looking.start()
    try:
        with JournalWriter(folder, segment_bytes_max=4000, on_end=sealer.wake) as writer:
            # As long as reader and sealer need, not by the clock.
            while len({*seen}) < 5 and not wrong and not failures and writer.last_seq < 40_000:
                done.clear()
                for _ in range(8):
                    writer.append(ticks_from(writer.last_seq + 1, 10, NOW))
                assert done.wait(60), "the sealer did not prune behind a segment"
    finally:  # a failed assert must leave no thread behind that keeps the process alive
        over.set()
        looking.join(60)
        sealer.stop()
    assert not looking.is_alive()
    seal(folder)
    prune(folder, Policy(keep_bytes=20_000), now_ns=NOW)
    manifest = load_manifest(folder)

    assert ([], []) == (wrong, failures)
    assert len({*seen}) >= 5
    assert [*range(manifest.gone[0].last_seq, manifest.last_seq + 1)] == seqs_of(folder)
    assert 1 == sum(part.file.endswith("-gap.parquet") for part in manifest.parts)
