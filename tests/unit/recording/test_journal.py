"""The journal writer: one frame an append, positions, rotation, locks, and a disk that fails."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from parity.model.errors import ConfigError, ParityError, RecordingCorrupt
from parity.model.events import Control
from parity.model.instruments import InstrumentTable
from parity.model.ticks import TICK_DTYPE
from parity.recording import journal
from parity.recording.journal import JournalFailed, JournalWriter, read_journal, recover
from parity.recording.manifest import add_streams, load_manifest
from parity.recording.reader import open_recording
from parity.recording.sealing import seal
from parity.recording.writer import create_recording

Records = npt.NDArray[Any]
NONE = np.zeros(0, TICK_DTYPE)


@pytest.fixture
def live(folder: Path, table: InstrumentTable) -> Path:
    """An empty open recording."""
    create_recording(folder, table, created_by="test", streams=[("market.ticks", 0)])
    return folder


def test_what_is_appended_comes_back(live: Path, make_ticks: Callable[..., Records]) -> None:
    """Ticks, controls and positions, frame by frame."""
    ticks = make_ticks(5)
    control = Control(seq=6, ts_recv=9, verb="quarantine", detail={"payload": b"\x00\xff", "n": 1})
    with JournalWriter(live) as writer:
        writer.append(ticks[:2], positions={0: 2})
        writer.append(ticks[2:], [control], {0: 7})
        writer.append(NONE)
    frames = list(read_journal(live))

    assert [ticks[:2].tobytes(), ticks[2:].tobytes()] == [f.records.tobytes() for f in frames]
    assert [(), (control,)] == [f.controls for f in frames]
    assert [{0: 2}, {0: 7}] == [f.positions for f in frames]


def test_controls_among_ticks(live: Path, make_ticks: Callable[..., Records]) -> None:
    """A control may stand between the ticks of its frame, or before them."""
    ticks = np.concatenate([make_ticks(2, next_seq=2), make_ticks(2, next_seq=5)])
    controls = [Control(seq=s, ts_recv=0, verb="gap", detail={}) for s in (1, 4)]
    with JournalWriter(live) as writer:
        writer.append(ticks, controls)
        assert 6 == writer.last_seq

    (batch,) = open_recording(live).batches()
    assert [2, 3, 5, 6] == batch.ticks.column("seq").tolist()
    assert [1, 4] == [c.seq for c in batch.controls]


@pytest.mark.parametrize("seqs", [[2, 4], [3, 2], [1], [4], [2, 2]])
def test_seq_that_does_not_follow_is_refused(
    live: Path, make_ticks: Callable[..., Records], seqs: list[int]
) -> None:
    """A gap or a step back never gets into the journal."""
    with JournalWriter(live) as writer:
        writer.append(make_ticks(1))
        bad = make_ticks(len(seqs))
        bad["seq"] = seqs
        with pytest.raises(ParityError, match="do not follow seq 1 one by one"):
            writer.append(bad)
        writer.append(make_ticks(1, next_seq=2))

    assert 2 == len(list(read_journal(live)))


def test_records_of_another_dtype_are_refused(live: Path) -> None:
    """An aligned dtype has the same fields and other bytes."""
    aligned = np.dtype([(n, TICK_DTYPE[n]) for n in TICK_DTYPE.names or ()], align=True)
    with JournalWriter(live) as writer, pytest.raises(ParityError, match="another dtype"):
        writer.append(np.zeros(1, aligned))


def test_rotation_keeps_every_frame(live: Path, make_ticks: Callable[..., Records]) -> None:
    """Segments are cut between frames by size."""
    ticks = make_ticks(60)
    with JournalWriter(live, segment_bytes_max=2000) as writer:
        for n in range(0, 60, 3):
            writer.append(ticks[n : n + 3])

    assert 4 <= len(list((live / "journal").iterdir()))
    assert ticks.tobytes() == b"".join(f.records.tobytes() for f in read_journal(live))


def test_a_long_segment_is_written_out_as_it_grows(
    live: Path, make_ticks: Callable[..., Records], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system is asked for each piece once, in order, so that its end has little to sync."""
    asked: list[tuple[int, int]] = []
    real = journal.begin_writing_out

    def note(descriptor: int, start: int, size: int) -> None:
        asked.append((start, size))
        real(descriptor, start, size)

    monkeypatch.setattr(journal, "begin_writing_out", note)
    monkeypatch.setattr(journal, "WRITE_OUT_BYTES", 3000)
    ticks = make_ticks(100)
    with JournalWriter(live) as writer:
        for n in range(0, 100, 10):
            writer.append(ticks[n : n + 10])
    ends = [start + size for start, size in asked]

    assert len(asked) >= 3
    assert [0, *ends[:-1]] == [start for start, _ in asked]
    assert all(size >= 3000 for _, size in asked)
    assert ticks.tobytes() == b"".join(f.records.tobytes() for f in read_journal(live))


def test_synced_seq_follows_sync(live: Path, make_ticks: Callable[..., Records]) -> None:
    """What was appended counts as on disk only after a sync."""
    with JournalWriter(live) as writer:
        writer.append(make_ticks(3))
        assert (3, 0) == (writer.last_seq, writer.synced_seq)
        writer.sync()
        assert (3, 3) == (writer.last_seq, writer.synced_seq)


def test_second_writer_and_sealing_are_kept_out(live: Path) -> None:
    """One writer at a time; a reader may look on."""
    with JournalWriter(live):
        for intruder in (JournalWriter, seal, recover):
            with pytest.raises(ConfigError, match="being written by another"):
                intruder(live)
        assert 0 == open_recording(live).tick_rows
    JournalWriter(live).close()


def test_writer_goes_on_where_it_stopped(live: Path, make_ticks: Callable[..., Records]) -> None:
    """After a stop, and after sealing, seq and positions continue."""
    ticks = make_ticks(9)
    for n in range(3):
        with JournalWriter(live) as writer:
            assert (n * 3, {0: n} if n else {}) == (writer.last_seq, writer.positions)
            writer.append(ticks[n * 3 : n * 3 + 3], positions={0: n + 1})
        if n == 1:
            seal(live)
    recording = open_recording(live)

    assert ("open", {("market.ticks", 0): 3}) == (
        recording.manifest.state,
        recording.next_positions(),
    )
    assert list(range(1, 10)) == [
        s for b in recording.batches() for s in b.ticks.column("seq").tolist()
    ]


def test_closed_writer_refuses(live: Path, make_ticks: Callable[..., Records]) -> None:
    """Closing twice is fine, appending afterwards is not."""
    writer = JournalWriter(live)
    writer.close()
    writer.close()
    with pytest.raises(ParityError, match="is closed"):
        writer.append(make_ticks(1))


def test_streams_get_dense_ids_that_stay(live: Path) -> None:
    """Known streams keep their id, new ones are appended to the manifest."""
    found = add_streams(live, [("fills", 0), ("market.ticks", 0), ("market.ticks", 1)])

    assert {("market.ticks", 0): 0, ("fills", 0): 1, ("market.ticks", 1): 2} == found
    assert found == add_streams(live, [("fills", 0)])
    assert [0, 1, 2] == [s.id for s in load_manifest(live).streams]


def test_stray_file_is_named(live: Path) -> None:
    """A file that is no segment is not read as one."""
    (live / "journal" / "copy of 1.wal").write_bytes(b"")
    with pytest.raises(RecordingCorrupt, match="copy of 1"):
        list(read_journal(live))


def test_disk_full_keeps_what_was_kept(live: Path, make_ticks: Callable[..., Records]) -> None:
    """A real short write poisons the writer; the next one cuts the torn tail off and goes on."""
    script = f"""
        import resource, signal, sys
        import numpy as np
        from pathlib import Path
        from parity.model.ticks import TICK_DTYPE
        from parity.recording.journal import JournalFailed, JournalWriter

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        writer = JournalWriter(Path({str(live)!r}))
        records = np.load({str(live.parent / "ticks.npy")!r})
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        for n in range(0, 100, 10):
            try:
                writer.append(records[n : n + 10])
            except JournalFailed as error:
                print(error)
                break
        for again in (writer.sync, lambda: writer.append(records[n : n + 10])):
            try:
                again()
                sys.exit("a poisoned writer went on")
            except JournalFailed:
                pass
        writer.close()
    """
    ticks = make_ticks(100)
    np.save(live.parent / "ticks.npy", ticks)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stderr
    assert "kept up to seq 30, on disk up to 0: short write" in done.stdout
    recording = open_recording(live)
    assert recording.torn_bytes > 0
    with JournalWriter(live) as writer:
        assert (30, recording.torn_bytes) == (writer.last_seq, writer.torn_bytes)
        writer.append(ticks[30:40])
    assert ticks[:40].tobytes() == b"".join(f.records.tobytes() for f in read_journal(live))


def test_error_of_the_system_is_told(live: Path, make_ticks: Callable[..., Records]) -> None:
    """A file that cannot be made, with what was kept and the cure."""
    writer = JournalWriter(live)
    (live / "journal" / "000001.wal").write_bytes(b"")  # in its way
    with pytest.raises(JournalFailed, match=r"kept up to seq 0.*000001\.wal: File exists") as found:
        writer.append(make_ticks(1))
    writer.close()

    assert 4 == found.value.exit_code


@pytest.mark.slow
def test_kill_loses_nothing_that_was_appended(live: Path, tmp_path: Path) -> None:
    """Five kills between appends: every acknowledged tick is there, once, in order."""
    script = f"""
        import numpy as np
        from pathlib import Path
        from parity.model.ticks import TICK_DTYPE
        from parity.recording.journal import JournalWriter

        writer = JournalWriter(Path({str(live)!r}), segment_bytes_max=100_000)
        records = np.zeros(7, TICK_DTYPE)
        records["instrument_token"] = 7
        while True:
            records["seq"] = np.arange(7) + writer.last_seq + 1
            writer.append(records)
            print(writer.last_seq, flush=True)
    """
    acknowledged = 0
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(300):
            acknowledged = int(child.stdout.readline())
        child.kill()
        acknowledged = int((child.stdout.read().split() or [acknowledged])[-1])
        child.wait()
        child.stdout.close()
    seqs = np.concatenate([f.records["seq"] for f in read_journal(live)])

    assert acknowledged <= len(seqs) <= acknowledged + 7
    assert (np.arange(len(seqs)) + 1 == seqs).all()
    assert len(seqs) == sum(p.rows for p in seal(live).parts)
