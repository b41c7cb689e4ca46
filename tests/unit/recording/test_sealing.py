"""Sealing: the same parts whatever interrupted it, and nothing lost or doubled."""

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
from parity.recording import sealing
from parity.recording.journal import JournalWriter
from parity.recording.reader import Recording, open_recording
from parity.recording.sealing import seal, seal_ended
from parity.recording.writer import create_recording

Records = npt.NDArray[Any]


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


@pytest.mark.parametrize("looks", range(15))
def test_a_sealing_that_is_stopped_leaves_the_rest_as_it_is(
    killed: Path, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    """Wherever that is: a reader sees the same, no file is left over, and the next one ends it."""
    monkeypatch.setattr(sealing, "ROW_GROUP_ROWS", 5)  # four groups in each of three segments
    expected = content(open_recording(killed))
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > looks

    manifest = seal(killed, stop=stop)
    stopped = asked > looks
    with open_recording(killed) as left:
        assert expected == content(left)
    listed = {part.file for part in manifest.parts}
    assert listed == {f"{p.parent.name}/{p.name}" for p in killed.glob("[te]*s/*")}

    assert stopped == (manifest.state == "open") == (looks < 1 + 3 * 4)
    assert "sealed" == seal(killed).state
    with open_recording(killed) as sealed:
        sealed.check_files()
        assert expected == content(sealed)


@pytest.mark.parametrize("looks", range(7))
def test_a_thread_that_is_stopped_leaves_the_segment_in_hand(
    killed: Path, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    """Before it, and at each of its four row groups; nothing of it is left over."""
    monkeypatch.setattr(sealing, "ROW_GROUP_ROWS", 5)
    expected = content(open_recording(killed))
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > looks

    seal_ended(killed, 1, stop=stop)
    made = [p.name for p in killed.glob("[te]*s/*")]
    with open_recording(killed) as left:
        assert expected == content(left)
        assert len(made) == len(left.manifest.parts) == (looks >= 5)
    assert len(list((killed / "journal").iterdir())) == 3 - (looks >= 5)
    assert "sealed" == seal(killed).state
    with open_recording(killed) as sealed:
        assert expected == content(sealed)


def test_a_writer_may_go_on_after_a_killed_sealing(
    killed: Path, make_ticks: Callable[..., Records]
) -> None:
    """A listed segment whose file is still there is neither read twice nor written to."""
    first = killed / "journal" / "000001.wal"
    held = first.with_suffix(".held")
    held.hardlink_to(first)
    seal_ended(killed, 1)
    held.rename(first)  # as a kill between its entry in the manifest and its removal leaves it
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
