"""Laws of rotation: while segments become parts behind the writer, nobody sees a tick go or come.

Real threads, real files: a writer, the sealer behind it, and readers that look on.
"""

import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from parity.model.events import Control
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TICK_DTYPE, TRADE
from parity.recording import journal as journal_module
from parity.recording.journal import JournalWriter
from parity.recording.manifest import add_streams, load_manifest
from parity.recording.reader import Recording, open_recording
from parity.recording.rotation import BackgroundSealer
from parity.recording.sealing import seal
from parity.recording.writer import create_recording

TABLE = InstrumentTable([Instrument(token=7, symbol="A", price_scale=2)])


def ticks_from(seq: int, count: int) -> npt.NDArray[Any]:
    """Ticks that differ from each other."""
    records = np.zeros(count, TICK_DTYPE)
    records["seq"] = np.arange(seq, seq + count)
    records["instrument_token"], records["flags"] = 7, TRADE
    records["price_int"] = records["seq"] * 1_000_003
    return records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty open recording."""
    create_recording(tmp_path / "rec", TABLE, created_by="law", streams=[("t", 0)])
    return tmp_path / "rec"


def seqs_of(recording: Recording) -> list[int]:
    """All seqs that it holds."""
    found: list[int] = []
    for batch in recording.batches():
        found += batch.ticks.column("seq").tolist() + [c.seq for c in batch.controls]
    return sorted(found)


def feed(writer: JournalWriter, upto: int) -> None:
    """Append ticks, a control now and then."""
    while writer.last_seq < upto:
        seq = writer.last_seq + 1
        controls = [Control(seq=seq + 9, ts_recv=seq, verb="gap", detail={"n": seq})]
        writer.append(ticks_from(seq, 9), controls, {0: seq + 10})


def look_on(folder: Path, over: threading.Event, found: list[int], wrong: list[str]) -> None:
    """Open and read the recording again and again."""
    while not over.is_set():
        try:
            with open_recording(folder) as recording:
                seqs = seqs_of(recording)
                again = seqs_of(recording)  # the same moment, whatever was sealed since
            if seqs != list(range(1, len(seqs) + 1)) or again != seqs:
                wrong.append(f"{len(seqs)} seqs, then {len(again)}: {seqs[:3]}…{seqs[-3:]}")
            if found and len(seqs) < found[-1]:
                wrong.append(f"{len(seqs)} after {found[-1]}")
            found.append(len(seqs))
        except Exception as error:  # a thread's own are lost otherwise
            wrong.append(repr(error))


def test_a_reader_sees_each_tick_once_while_segments_move(folder: Path) -> None:
    """Opened at any moment, a recording has every seq up to some point once, and keeps it."""
    over = threading.Event()
    found: list[int] = []
    wrong: list[str] = []
    failures: list[str] = []
    sealer = BackgroundSealer(folder, failures.append)
    reader = threading.Thread(target=look_on, args=(folder, over, found, wrong))
    with JournalWriter(folder, segment_bytes_max=8000, on_end=sealer.wake) as writer:
        reader.start()
        upto = 0
        # As long as reader and sealer need, not by the clock.
        while len(found) < 12 or len(load_manifest(folder).segments) < 8:
            upto += 200
            feed(writer, upto)
            if wrong or failures or upto > 200_000:
                break
        over.set()
        reader.join()
    sealer.stop()
    sealed_behind = len(load_manifest(folder).segments)
    seal(folder)

    assert ([], []) == (wrong, failures)
    assert sealed_behind > 3
    assert len(found) >= 12
    assert list(range(1, upto + 1)) == seqs_of(open_recording(folder))


def test_no_change_of_the_manifest_is_lost(folder: Path) -> None:
    """Streams that are named while segments are listed: all of both are there."""
    failures: list[str] = []
    sealer = BackgroundSealer(folder, failures.append)
    with JournalWriter(folder, segment_bytes_max=1500, on_end=sealer.wake) as writer:
        for partition in range(1, 40):
            feed(writer, writer.last_seq + 10)
            add_streams(folder, [("t", partition)])
    for _ in range(3000):  # on a busy machine the sealer may not have begun yet
        if load_manifest(folder).segments:
            break
        threading.Event().wait(0.01)
    sealer.stop()
    between = load_manifest(folder)
    manifest = seal(folder)

    assert [] == failures
    assert between.segments
    assert list(range(40)) == [s.partition for s in manifest.streams]
    assert list(range(1, len(manifest.segments) + 1)) == [s.number for s in manifest.segments]
    assert list(range(1, 391)) == seqs_of(open_recording(folder))


def test_failing_in_the_background_loses_nothing(folder: Path) -> None:
    """It is told, the journal has it all, and once the disk is well the next end seals them too."""
    failures: list[str] = []
    told = threading.Event()

    def fail(reason: str) -> None:
        failures.append(reason)
        told.set()

    sealer = BackgroundSealer(folder, fail)
    (folder / "ticks").rename(folder / "away")
    (folder / "ticks").write_text("in its way")
    writer = JournalWriter(folder, segment_bytes_max=1500, on_end=sealer.wake)
    feed(writer, 20)
    assert told.wait(30)
    assert "Not a directory" in failures[0]
    assert list(range(1, 21)) == seqs_of(open_recording(folder))
    (folder / "ticks").unlink()
    (folder / "away").rename(folder / "ticks")
    feed(writer, 40)
    writer.close()
    for _ in range(3000):
        if len(load_manifest(folder).segments) >= 2:
            break
        threading.Event().wait(0.01)
    sealer.stop()

    assert 2 == len(load_manifest(folder).segments)
    assert list(range(1, 41)) == seqs_of(open_recording(folder))


def test_a_segment_ends_when_it_is_old(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the first append after its time, be it of nothing; a segment without frames never."""
    now = [100.0]
    monkeypatch.setattr(journal_module.time, "monotonic", lambda: now[0])
    ended: list[int] = []
    with JournalWriter(folder, segment_s_max=60, on_end=ended.append) as writer:
        nothing = np.zeros(0, TICK_DTYPE)
        now[0] += 1000
        writer.append(nothing)
        assert [] == ended
        writer.append(ticks_from(1, 1))
        now[0] += 59
        writer.append(ticks_from(2, 1))
        assert [] == ended
        now[0] += 1
        writer.append(nothing)
        assert [1] == ended
        now[0] += 1000
        writer.append(nothing)
        assert [1] == ended
        writer.append(ticks_from(3, 1))
    assert [1, 2] == ended
    assert [1, 2, 3] == seqs_of(open_recording(folder))


WRITER = """
    import sys
    import numpy as np
    from pathlib import Path
    from parity.model.ticks import TICK_DTYPE
    from parity.recording.journal import JournalWriter
    from parity.recording.rotation import BackgroundSealer

    folder = Path(sys.argv[1])
    sealer = BackgroundSealer(folder, print)
    writer = JournalWriter(folder, segment_bytes_max=20_000, on_end=sealer.wake)
    records = np.zeros(7, TICK_DTYPE)
    records["instrument_token"] = 7
    while True:
        records["seq"] = np.arange(7) + writer.last_seq + 1
        writer.append(records)
        print(writer.last_seq, flush=True)
"""


@pytest.mark.slow
def test_killed_while_segments_move_nothing_is_lost(folder: Path) -> None:
    """SIGKILL between writer and sealer, again and again: what was appended is there once."""
    moved = 0
    for round_no in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for _ in range(500 + 137 * round_no):
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        acknowledged = int((child.stdout.read().split() or [acknowledged])[-1])
        child.wait()
        child.stdout.close()
        with open_recording(folder) as recording:
            seqs = seqs_of(recording)
        assert seqs == list(range(1, len(seqs) + 1))
        assert acknowledged <= len(seqs) <= acknowledged + 7
        moved = len(load_manifest(folder).segments)
    seal(folder)

    assert moved > 3
    assert len(seqs) == open_recording(folder).tick_rows
