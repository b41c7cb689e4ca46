"""Laws of a bad disk: whatever call fails or kills, what was promised is there, and no more.

The calls are enumerated, never sampled: a first run counts them, and then each is struck in turn.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from parity.model.errors import ParityError
from parity.model.events import Control
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TICK_DTYPE, TRADE
from parity.recording.journal import JournalFailed, JournalWriter, read_journal
from parity.recording.reader import open_recording
from parity.recording.sealing import seal
from parity.recording.writer import create_recording
from parity.testing.disk import FaultyDisk, Killed

TABLE = InstrumentTable([Instrument(token=7, symbol="A", price_scale=2)])
Content = tuple[bytes, list[Control], dict[tuple[str, int], int]]


def ticks_from(seq: int, count: int) -> npt.NDArray[Any]:
    """Ticks that differ from each other."""
    records = np.zeros(count, TICK_DTYPE)
    records["seq"] = np.arange(seq, seq + count)
    records["instrument_token"], records["flags"] = 7, TRADE
    records["price_int"] = records["seq"] * 1_000_003
    return records


class Feeder:
    """Appends and syncs to a journal until it fails, and knows what was promised."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.appended = 0  # the last seq whose append returned
        self.synced = 0
        self.failure: BaseException | None = None

    def run(self, upto: int = 40) -> None:
        """Append ticks, a control now and then, in segments of a few frames each."""
        writer, self.failure = None, None
        try:
            writer = JournalWriter(self.folder, segment_bytes_max=1500)
            self.appended = self.synced = writer.last_seq
            while writer.last_seq < upto:
                seq = writer.last_seq + 1
                controls = [Control(seq=seq + 3, ts_recv=seq, verb="gap", detail={"n": seq})]
                writer.append(ticks_from(seq, 3), controls if seq % 2 else (), {0: seq + 3})
                self.appended = writer.last_seq
                if seq % 3 == 0:
                    writer.sync()
                    self.synced = writer.synced_seq
            writer.close()
            self.synced = writer.synced_seq
        except (OSError, ParityError, Killed) as failure:
            self.failure = failure
            if isinstance(failure, Killed):
                _let_go(writer)
            elif writer is not None:
                self._check_refusals(writer)

    def _check_refusals(self, writer: JournalWriter) -> None:
        # Nothing is taken any more, not even by a disk that is well again, and nothing is written.
        before = {p: p.read_bytes() for p in (self.folder / "journal").iterdir()}
        for again in (writer.sync, lambda: writer.append(ticks_from(writer.last_seq + 1, 1))):
            with pytest.raises(ParityError):
                again()
        writer.close()

        assert before == {p: p.read_bytes() for p in (self.folder / "journal").iterdir()}


def _let_go(writer: JournalWriter | None) -> None:
    # What the kernel does for a process that was killed: close its files, and nothing else.
    for descriptor in (writer._file, writer._lock) if writer is not None else ():
        with contextlib.suppress(OSError):  # a kill during close came after it was closed
            os.close(descriptor)


@pytest.fixture
def new(tmp_path: Path) -> Callable[[], Path]:
    """Make empty recordings in folders of their own."""
    numbers = iter(range(10_000))

    def make() -> Path:
        folder = tmp_path / f"{next(numbers)}" / "rec"
        create_recording(folder, TABLE, created_by="law", streams=[("t", 0)])
        return folder

    return make


def seqs_of(folder: Path) -> list[int]:
    """All seqs that a reader sees."""
    found: list[int] = []
    for batch in open_recording(folder).batches():
        found += batch.ticks.column("seq").tolist() + [c.seq for c in batch.controls]
    return sorted(found)


FAULTS = ["kill", "half", "eio", "full", "stays full"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_every_call_of_the_writer(new: Callable[[], Path], fault: str) -> None:
    """What append returned for is read back, and at most the frame that was struck besides."""
    with FaultyDisk(folder := new()) as watched:
        Feeder(folder).run()
    kinds = Counter(call.name for call in watched.calls)

    assert {"fdatasync", "fsync", "open", "writev"} == set(kinds)
    assert kinds["writev"] >= 14
    for at in range(1, len(watched.calls) + 1):
        folder = new()
        feeder = Feeder(folder)
        with FaultyDisk(folder, at=at, fault=fault) as disk:
            feeder.run()
        struck = f"{fault} at call {at}: {disk.calls[-1]}"

        assert feeder.failure is not None, struck
        found = seqs_of(folder)
        if isinstance(feeder.failure, JournalFailed):
            assert f"kept up to seq {len(found)}," in str(feeder.failure), struck
        assert found == list(range(1, len(found) + 1)), struck
        assert feeder.synced <= feeder.appended <= len(found) <= feeder.appended + 4, struck
        feeder.run()  # the disk is well again: it goes on, and nothing is doubled or left out
        assert feeder.failure is None or at == len(watched.calls), struck
        assert list(range(1, feeder.appended + 1)) == seqs_of(folder), struck


def test_every_short_write_of_a_frame(new: Callable[[], Path], monkeypatch: Any) -> None:
    """A writev that takes only so many bytes: for every such count the prefix is what is kept."""
    folder = new()
    with JournalWriter(folder, durability="os") as writer:
        writer.append(ticks_from(1, 2), (), {0: 2})
        before = writer.bytes_written
        writer.append(ticks_from(3, 2), [Control(seq=5, ts_recv=1, verb="x", detail={})], {0: 5})
        size = writer.bytes_written - before
    real = os.writev
    for taken in range(size):
        folder = new()
        writer = JournalWriter(folder, durability="os")
        writer.append(ticks_from(1, 2), (), {0: 2})

        def short(descriptor: int, pieces: list[bytes], taken: int = taken) -> int:
            return real(descriptor, [b"".join(pieces)[:taken]])

        with monkeypatch.context() as patch:
            patch.setattr(os, "writev", short)
            with pytest.raises(JournalFailed, match=f"short write: {taken} of {size} bytes"):
                writer.append(
                    ticks_from(3, 2), [Control(seq=5, ts_recv=1, verb="x", detail={})], {0: 5}
                )
        with pytest.raises(JournalFailed, match="kept up to seq 2"):
            writer.append(ticks_from(3, 1))
        writer.close()
        frames = read_journal(folder)

        assert [ticks_from(1, 2).tobytes()] == [f.records.tobytes() for f in frames]
        assert taken == frames.torn_bytes


# -- sealing


@pytest.fixture
def ended(new: Callable[[], Path]) -> Path:
    """A killed recording: several segments with controls, the last one torn."""
    folder = new()
    Feeder(folder).run(upto=24)
    last = max((folder / "journal").iterdir())
    last.write_bytes(last.read_bytes()[:-20])  # its end frame is torn
    return folder


def content(folder: Path) -> Content:
    """Everything a reader sees."""
    recording = open_recording(folder)
    batches = list(recording.batches())
    ticks = [b.ticks.to_records() for b in batches]
    controls = [c for b in batches for c in b.controls]
    return np.concatenate(ticks).tobytes(), controls, recording.next_positions()


def files_of(folder: Path) -> dict[str, bytes]:
    """All files and their bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_every_call_of_sealing(ended: Path, tmp_path: Path, fault: str) -> None:
    """Struck anywhere, a reader sees all of it, and sealing again gives the very same bytes."""
    whole = Path(shutil.copytree(ended, tmp_path / "whole"))
    with FaultyDisk(whole) as watched:
        seal(whole)
    expected, seen = files_of(whole), content(whole)

    assert content(ended) == seen
    assert len(watched.calls) > 40
    for at in range(1, len(watched.calls) + 1):
        copy = Path(shutil.copytree(ended, tmp_path / f"copy{at}"))
        with (
            FaultyDisk(copy, at=at, fault=fault) as disk,
            pytest.raises((Killed, OSError, ParityError)),
        ):
            seal(copy)
        struck = f"{fault} at call {at}: {disk.calls[-1]}"

        assert seen == content(copy), struck
        seal(copy)
        assert expected == files_of(copy), struck
        shutil.rmtree(copy)


WATCHED = """
    import sys
    from pathlib import Path
    from parity.recording.journal import JournalWriter
    from parity.recording.sealing import seal
    from parity.testing.disk import FaultyDisk

    folder = Path(sys.argv[1]).resolve()
    seen = []
    NAMES = {"os.rename": ("rename", "replace"), "os.remove": ("remove", "unlink"),
             "os.mkdir": ("mkdir",), "os.rmdir": ("rmdir",),
             "os.truncate": ("truncate", "ftruncate")}

    def audit(event, arguments):
        if event == "open" and isinstance(arguments[0], (str, bytes, Path)):
            mode, flags = arguments[1], arguments[2]
            if (mode and set(mode) & set("wax+")) or (not mode and flags & 0o103):
                seen.append(("open", Path(arguments[0])))
        elif event in NAMES:
            place = arguments[1 if event == "os.rename" else 0]
            if isinstance(place, int):
                place = f"/proc/self/fd/{place}"
            seen.append((NAMES[event], Path(place).resolve()))

    sys.addaudithook(audit)
    with FaultyDisk(folder) as disk:
        if sys.argv[2] == "seal":
            seal(folder)
        else:
            JournalWriter(folder).close()
    audited = [(names, str(place.resolve().relative_to(folder)))
               for names, place in seen if place.resolve().is_relative_to(folder)]
    unseen = ("write", "writev", "pwrite", "fsync", "fdatasync")  # by the interpreter's hook
    counted = [(c.name, c.file) for c in disk.calls if c.name not in unseen]
    print(len(audited))
    for (names, place), (name, file) in zip(audited, counted, strict=True):
        assert name in names and place == file, (names, place, name, file)
    written = {}
    for call in disk.calls:
        written[call.file] = written.get(call.file, 0) + call.bytes
    for path in [*folder.glob("ticks/*"), *folder.glob("events/*")]:
        name = str(path.relative_to(folder))
        assert path.stat().st_size == written[name.replace(".parquet", ".tmp")], name
"""


@pytest.mark.parametrize("what", ["seal", "recover"])
def test_no_call_is_forgotten(ended: Path, what: str) -> None:
    """What the interpreter itself reports as opened, renamed and removed is what was counted.

    And the bytes of every part are the bytes counted, so no writing goes past the counting.
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WATCHED), str(ended), what],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    assert int(done.stdout) >= (15 if what == "seal" else 2)


KILLING = """
    import os, sys
    from pathlib import Path
    from parity.recording.sealing import seal
    from parity.testing.disk import FaultyDisk
    import pyarrow.parquet, parity.recording.layout

    folders = Path(sys.argv[1])
    for at in range(1, int(sys.argv[2]) + 1):
        child = os.fork()
        if not child:
            with FaultyDisk(folders / str(at), at=at, fault="sigkill half"):
                seal(folders / str(at))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_a_real_kill_at_every_call_of_sealing(ended: Path, tmp_path: Path) -> None:
    """The same with SIGKILL, in a process of its own for each call."""
    whole = Path(shutil.copytree(ended, tmp_path / "whole"))
    with FaultyDisk(whole) as watched:
        seal(whole)
    expected, seen = files_of(whole), content(whole)
    count = len(watched.calls)
    for at in range(1, count + 1):
        shutil.copytree(ended, tmp_path / "killed" / str(at))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLING), str(tmp_path / "killed"), str(count)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ["-9"] * count == done.stdout.split(), done.stderr
    for at, call in enumerate(watched.calls, 1):
        copy = tmp_path / "killed" / str(at)
        assert seen == content(copy), (at, call)
        seal(copy)
        assert expected == files_of(copy), (at, call)
