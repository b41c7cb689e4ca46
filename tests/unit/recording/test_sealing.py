"""Sealing: the same parts whatever interrupted it, and nothing lost or doubled."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from parity.model.errors import RecordingCorrupt
from parity.model.events import Control
from parity.model.instruments import InstrumentTable
from parity.model.ticks import TICK_DTYPE
from parity.recording.journal import JournalWriter
from parity.recording.reader import Recording, open_recording
from parity.recording.sealing import seal
from parity.recording.writer import create_recording

Records = npt.NDArray[Any]


class Killed(Exception):
    """Stands for a kill."""


@pytest.fixture
def killed(folder: Path, table: InstrumentTable, make_ticks: Callable[..., Records]) -> Path:
    """A recording with three segments, controls in two of them, and a torn tail."""
    create_recording(folder, table, created_by="test", streams=[("t", 0)])
    with JournalWriter(folder, segment_bytes_max=2000) as writer:
        seq = 1
        for n in range(6):
            ticks = make_ticks(10, next_seq=seq, seed=n)
            controls = [Control(seq=seq + 10, ts_recv=n, verb="gap", detail={"n": n})]
            writer.append(ticks, controls if n > 2 else (), {0: seq + 10})
            seq += 10 + (n > 2)
    last = max((folder / "journal").iterdir())
    last.write_bytes(last.read_bytes()[:-20])  # its end frame is torn
    return folder


def content(recording: Recording) -> tuple[bytes, list[Control], dict[tuple[str, int], int]]:
    """Everything a recording holds."""
    ticks = [b.ticks.to_records() for b in recording.batches()]
    controls = [c for b in recording.batches() for c in b.controls]
    return np.concatenate(ticks).tobytes(), controls, recording.next_positions()


def test_sealing_keeps_everything(killed: Path) -> None:
    """Before and after, a reader sees the same; the journal is gone."""
    before = open_recording(killed)
    expected = content(before)
    manifest = seal(killed)
    after = open_recording(killed)
    after.check_files()

    assert expected == content(after)
    assert (60, 63, "sealed") == (after.tick_rows, after.last_seq, manifest.state)
    assert ["events", "manifest.json", "ticks"] == sorted(p.name for p in killed.iterdir())
    assert manifest == seal(killed)


@pytest.mark.slow
def test_a_kill_at_any_step_costs_nothing(killed: Path, tmp_path: Path) -> None:
    """Killed at each step in turn, sealing again ends with the very same manifest and parts."""
    whole = tmp_path / "whole"
    shutil.copytree(killed, whole)
    steps: list[str] = []
    expected = seal(whole, step=steps.append)

    assert len(steps) >= 12
    for at, name in enumerate(steps):
        copy = tmp_path / f"killed{at}"
        shutil.copytree(killed, copy)
        seen: list[str] = []

        def stop(step: str, seen: list[str] = seen, at: int = at) -> None:
            seen.append(step)
            if len(seen) > at:
                raise Killed

        with pytest.raises(Killed):
            seal(copy, step=stop)
        assert name == seen[-1]
        between = open_recording(copy)
        assert content(open_recording(whole)) == content(between), name
        resumed = seal(copy)
        open_recording(copy).check_files(always=True)

        assert expected == resumed, name
        files = sorted(str(p.relative_to(copy)) for p in copy.rglob("*") if p.is_file())
        assert sorted([p.file for p in expected.parts] + ["manifest.json"]) == files


@pytest.mark.slow
def test_kills_in_a_row_cost_nothing(killed: Path) -> None:
    """Killed a little later on each attempt, it still ends where it should."""
    expected = content(open_recording(killed))
    kills = 0
    for attempt in range(40):
        seen: list[str] = []

        def stop(step: str, seen: list[str] = seen, attempt: int = attempt) -> None:
            seen.append(step)
            if len(seen) > attempt:
                raise Killed

        try:
            seal(killed, step=stop)
            break
        except Killed:
            kills += 1
            assert expected == content(open_recording(killed))

    assert kills > 3
    assert "sealed" == open_recording(killed).manifest.state
    assert expected == content(open_recording(killed))


def test_a_writer_may_go_on_after_a_killed_sealing(
    killed: Path, make_ticks: Callable[..., Records]
) -> None:
    """A listed segment whose file is still there is neither read twice nor written to."""

    def stop(step: str) -> None:
        if step == "segment 1 listed":
            raise Killed

    with pytest.raises(Killed):
        seal(killed, step=stop)
    with JournalWriter(killed) as writer:
        writer.append(make_ticks(4, next_seq=writer.last_seq + 1))
    seal(killed)

    assert 64 == open_recording(killed).tick_rows
    assert 67 == sum(len(b.ticks) + len(b.controls) for b in open_recording(killed).batches())


def test_damaged_segment_is_kept_and_named(killed: Path) -> None:
    """Sealing stops at the damage; nothing behind it is guessed at, and nothing is removed."""
    path = killed / "journal" / "000002.wal"
    data = bytearray(path.read_bytes())
    data[1500] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordingCorrupt, match=r"000002\.wal: frame \d at byte"):
        seal(killed)

    assert path.exists()


def test_recording_without_ticks_is_sealed(folder: Path, table: InstrumentTable) -> None:
    """A run that saw nothing leaves a recording that says so."""
    create_recording(folder, table, created_by="test")
    JournalWriter(folder).close()
    manifest = seal(folder)

    assert ([], "sealed") == (manifest.parts, manifest.state)
    assert [] == list(open_recording(folder).batches())


def test_prices_that_do_not_fit_leave_the_journal(folder: Path, table: InstrumentTable) -> None:
    """19 digits at the recording's scale are refused by name; the journal keeps the tick."""
    create_recording(folder, table, created_by="test")
    records = np.zeros(1, TICK_DTYPE)
    records["seq"], records["instrument_token"], records["price_int"] = 1, 12, 10**14
    with JournalWriter(folder) as writer:
        writer.append(records)
    with pytest.raises(Exception, match="price of instrument 12 at seq 1: 100000000000000"):
        seal(folder)

    assert 1 == open_recording(folder).tick_rows
