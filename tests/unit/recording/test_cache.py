"""The Arrow cache: the same ticks as without it, whatever becomes of it."""

import errno
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from parity.model.errors import RecordingCorrupt
from parity.model.events import Control
from parity.model.ticks import TickBatch
from parity.recording import cache, disk, scan, writer
from parity.recording.holding import DiskRefused
from parity.recording.inspect import inspect_recording
from parity.recording.journal import JournalWriter
from parity.recording.reader import Recording, open_recording
from parity.recording.writer import RecordingWriter

Records = npt.NDArray[Any]


def files(path: Path) -> list[Path]:
    """The files of a recording's cache."""
    return sorted((path / "cache").iterdir()) if (path / "cache").is_dir() else []


def untouched(path: Path) -> tuple[int, int]:
    """What another write of a file would change; reading changes its access time."""
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns


def plain(path: Path, **selection: Any) -> list[tuple[str, bytes]]:
    """Read without the cache, column by column."""
    return columns_of(open_recording(path, cached=False), **selection)


def columns_of(recording: Recording, **selection: Any) -> list[tuple[str, bytes]]:
    """Return every column whole, with its type, and the controls."""
    batches = list(recording.batches(**selection))
    names = sorted(batches[0].ticks.names) if batches else ()
    found = []
    for name in names:
        values = [b.ticks.column(name) for b in batches]
        found.append((f"{name} {values[0].dtype}", np.concatenate(values).tobytes()))
    return [*found, ("controls", repr([c for b in batches for c in b.controls]).encode())]


@pytest.fixture
def several(
    import_ticks: Callable[..., Recording],
    make_ticks: Callable[..., Records],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A recording of three parts and a few batches each, and one control."""
    monkeypatch.setattr(writer, "PART_ROWS_MAX", 2000)
    monkeypatch.setattr("parity.recording.layout.ROW_GROUP_ROWS", 1000)
    monkeypatch.setattr(cache, "BATCH_ROWS", 700)
    end = Control(seq=5001, ts_recv=5, verb="gap", detail={})
    return import_ticks(make_ticks(5000), (end,)).path


def test_it_is_built_once_and_read_instead_of_the_parts(
    several: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file a part; a second build writes nothing; the ticks are the same, and mapped."""
    recording = open_recording(several)
    selections: list[dict[str, Any]] = [
        {},
        {"columns": ["price", "side"]},
        {"instruments": [7, 12], "batch_rows": 64},
        {"start_ns": 1_700_000_000_500_000_000, "end_ns": 1_700_000_020_000_000_000},
        {"end_ns": 0},
        {"instruments": [], "columns": ["side"]},
    ]
    expected = [plain(several, **s) for s in selections]
    size = recording.build_cache()
    made = {p: untouched(p) for p in files(several)}

    assert 3 == len(made)
    assert size == sum(p.stat().st_size for p in made)
    assert size == recording.build_cache()
    assert made == {p: untouched(p) for p in files(several)}

    monkeypatch.setattr(scan, "scan", None)  # DuckDB cannot be asked any more
    assert expected == [columns_of(open_recording(several), **s) for s in selections]
    (first, *_) = open_recording(several).batches(columns=["price_int"])
    assert not first.ticks.column("price_int").flags.owndata
    assert max(len(b.ticks) for b in open_recording(several).batches(batch_rows=99)) <= 99


def test_nothing_but_reading_knows_of_it(several: Path) -> None:
    """Not the manifest, nor the content hash, nor what inspect counts as parts."""
    before = open_recording(several)
    told, content = inspect_recording(before), before.content_hash()
    before.build_cache()
    after = open_recording(several)

    assert (told, content) == (inspect_recording(after), after.content_hash())
    after.check_files(always=True)
    after.remove_cache()
    assert not (several / "cache").exists()
    after.remove_cache()  # gone already


def test_other_files_in_its_folder_stay(several: Path) -> None:
    """Only what is the cache's is ever removed."""
    recording = open_recording(several)
    recording.build_cache()
    note = several / "cache" / "note.txt"
    note.write_text("mine")
    recording.build_cache()
    recording.remove_cache()

    assert [note] == files(several)


def test_edited_part_is_refused_not_served(several: Path) -> None:
    """The cache never hides that its part is not what the manifest says."""
    open_recording(several).build_cache()
    part = several / open_recording(several).manifest.of_kind("ticks")[1].file
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 1
    part.write_bytes(data)
    with pytest.raises(RecordingCorrupt, match=rf"{part.name} \(seq .*\) has sha256"):
        list(open_recording(several).batches())
    part.unlink()
    with pytest.raises(RecordingCorrupt, match="is missing"):
        open_recording(several)


def test_files_of_other_parts_are_not_found_and_removed(
    several: Path,
    tmp_path: Path,
    make_ticks: Callable[..., Records],
    import_ticks: Callable[..., Recording],
) -> None:
    """A cache that was copied to another recording is not read there, and a build removes it."""
    open_recording(several).build_cache()
    other = import_ticks(make_ticks(3000, seed=1), to=tmp_path / "other").path
    expected = plain(other)
    shutil.copytree(several / "cache", other / "cache")
    foreign = files(other)
    assert expected == columns_of(open_recording(other))

    # and not even under the name of one of its own
    open_recording(other).build_cache()
    own = [p for p in files(other) if p not in foreign]
    assert files(other) == own
    own[0].write_bytes(files(several)[0].read_bytes())
    assert expected == columns_of(open_recording(other))
    assert own[0] not in files(other)


def test_changed_scale_finds_no_cache(several: Path) -> None:
    """The instruments are in the key: other scales would give other integers."""
    recording = open_recording(several)
    (part, *_) = recording.manifest.of_kind("ticks")
    instruments = [dict(i) for i in recording.manifest.instruments]
    instruments[0]["price_scale"] += 1
    changed = type(recording.manifest)(
        **{f: getattr(recording.manifest, f) for f in recording.manifest.__struct_fields__}
        | {"instruments": instruments}
    )

    assert cache.path_of(several, recording.manifest, part) != (
        cache.path_of(several, changed, part)
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: bytes(len(data)),
        lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
        lambda data: b"ARROW1\0\0" + bytes(100),
    ],
    ids=["short", "half", "empty", "zeros", "zero tail", "other"],
)
def test_broken_file_is_dropped_and_the_part_read(
    several: Path, damage: Callable[[bytes], bytes]
) -> None:
    """Cut or zeroed: removed when it is met, built again when asked for."""
    expected = plain(several)
    open_recording(several).build_cache()
    good = {p: p.read_bytes() for p in files(several)}
    broken = sorted(good)[1]
    broken.write_bytes(damage(good[broken]))

    assert expected == columns_of(open_recording(several))
    assert broken not in files(several)
    broken.write_bytes(damage(good[broken]))
    open_recording(several).build_cache()
    assert good == {p: p.read_bytes() for p in files(several)}


def test_flipped_bits_never_reach_a_reader(
    import_ticks: Callable[..., Recording],
    make_ticks: Callable[..., Records],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever a bit flips, in data or in what describes them, the ticks are the same."""
    monkeypatch.setattr(cache, "BATCH_ROWS", 20)
    path = import_ticks(make_ticks(50)).path
    expected = plain(path)
    open_recording(path).build_cache()
    (file,) = files(path)
    good = file.read_bytes()
    chance = random.Random(7)
    dropped = 0
    for _ in range(600):
        data = bytearray(good)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data)
        assert expected == columns_of(open_recording(path))
        dropped += not file.exists()
    assert dropped > 300  # padding and names of columns are nobody's ticks


def test_damage_found_half_way_loses_and_doubles_nothing(several: Path) -> None:
    """Batches that held were given out already; the part gives the rest, filtered too."""
    selections: list[dict[str, Any]] = [{}, {"instruments": [9]}]
    expected = [plain(several, **s) for s in selections]
    for selection, whole in zip(selections, expected, strict=True):
        recording = open_recording(several)
        recording.build_cache()
        file = cache.path_of(several, recording.manifest, recording.manifest.of_kind("ticks")[0])
        data = bytearray(file.read_bytes())
        data[len(data) * 2 // 3] ^= 64
        file.write_bytes(data)

        assert whole == columns_of(open_recording(several), **selection)
        assert not file.exists()


def test_it_needs_no_right_to_write(several: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be removed, damage is read around again and again."""
    expected = plain(several)
    open_recording(several).build_cache()
    for file in files(several):
        file.write_bytes(file.read_bytes()[:-9])

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert expected == columns_of(open_recording(several))
    assert expected == columns_of(open_recording(several))


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
def test_full_disk_leaves_no_cache(
    several: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Every kind of refusal is one error that names the folder; reading goes on without."""
    expected = plain(several)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    recording = open_recording(several)
    with monkeypatch.context() as patch:
        patch.setattr(disk.os, call, refuse)
        with pytest.raises(DiskRefused, match=r"cache: no cache .* space"):
            recording.build_cache()

    assert [] == files(several)
    assert expected == columns_of(open_recording(several))


def test_a_file_in_its_place_is_named(several: Path) -> None:
    """Where the folder cannot be made, the error says which."""
    (several / "cache").write_text("")
    with pytest.raises(DiskRefused, match=r"cache: no cache can be written: .*; free the disk"):
        open_recording(several).build_cache()
    assert plain(several) == columns_of(open_recording(several))


def _build(path: Path, began: Any) -> None:
    began.wait()
    open_recording(path).build_cache()


@pytest.mark.slow
def test_two_processes_build_at_once(several: Path) -> None:
    """Both end well, and what lies there holds."""
    expected = plain(several)
    context = multiprocessing.get_context("spawn")
    began = context.Barrier(2)
    builders = [context.Process(target=_build, args=(several, began)) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(60)

    assert [0, 0] == [b.exitcode for b in builders]
    assert [".arrow"] == sorted({p.suffix for p in files(several)})
    assert expected == columns_of(open_recording(several))


@pytest.mark.slow
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("count", [1, 3])
def test_killed_builder_leaves_nothing_that_is_trusted(
    several: Path, call: str, count: int
) -> None:
    """SIGKILL before a write, a sync or a rename: the ticks stay the same, a build completes."""
    expected = plain(several)
    script = f"""if True:
        import os, signal
        from pathlib import Path
        from parity.recording import cache, disk
        from parity.recording.reader import open_recording
        real, left = os.{call}, [{count}]
        def kill(*given):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given)
        os.{call} = kill
        open_recording({str(several)!r}).build_cache()
    """
    done = subprocess.run([sys.executable, "-c", script], check=False)

    assert -signal.SIGKILL == done.returncode
    assert expected == columns_of(open_recording(several))
    open_recording(several).build_cache()
    assert [".arrow"] * 3 == [p.suffix for p in files(several)]
    assert expected == columns_of(open_recording(several))


def test_unsealed_ticks_follow_from_the_journal(
    several: Path, make_ticks: Callable[..., Records]
) -> None:
    """An open recording has a cache of what is sealed; the journal's tail is read as ever."""
    open_recording(several).build_cache()
    with JournalWriter(several) as journal:
        journal.append(make_ticks(300, next_seq=5002))

    assert plain(several) == columns_of(open_recording(several))
    assert 5300 == sum(len(b.ticks) for b in open_recording(several).batches())


def test_mapped_pages_are_let_go(several: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while their batches are still held: they find their ticks in the file again."""
    monkeypatch.setattr(cache, "_RELEASE_BYTES", 1)
    open_recording(several).build_cache()

    assert plain(several) == columns_of(open_recording(several))


def test_hash_is_taken_once(several: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column of a batch is summed when it is read first, by whatever reader of the process."""
    open_recording(several).build_cache()
    columns_of(open_recording(several), columns=["ts_event"])
    taken: list[int] = []
    real = cache._crc
    monkeypatch.setattr(cache, "_crc", lambda values: taken.append(len(values)) or real(values))
    columns_of(open_recording(several), columns=["ts_event"])
    assert [] == taken
    os.utime(files(several)[0])
    columns_of(open_recording(several), columns=["ts_event"])
    assert 2000 == sum(taken)


def test_a_seq_that_rises_by_one_is_not_read(several: Path) -> None:
    """Unless ticks are left out; who asks for it is given the same, and the file keeps it."""
    open_recording(several).build_cache()
    reading = open_recording(several)
    batches = list(reading.batches(columns=["ts_event"]))
    whole = [isinstance(batch.ticks.seqs, range) for batch in batches if len(batch.ticks)]
    seqs = np.concatenate([batch.ticks.column("seq") for batch in batches])
    assert all(whole)
    assert dict(plain(several))["seq int64"] == seqs.tobytes()
    chosen = reading.batches(columns=["seq"], start_ns=0)
    assert seqs.tolist() == [s for batch in chosen for s in batch.ticks.column("seq").tolist()]


def test_extension_columns_are_in_it(
    folder: Path, make_ticks: Callable[..., Records], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what says whether they are there, of the columns read only."""
    from parity.model.extensions import Extension
    from parity.model.instruments import Instrument, InstrumentTable

    table = InstrumentTable(
        [Instrument(token=t, symbol=str(t), price_scale=t % 3) for t in (7, 9, 12)],
        [
            Extension("open", "price"),
            Extension("word", "text", ("a", "b")),
            Extension("n", "integer"),
        ],
    )
    ticks = make_ticks(500)
    records = np.zeros(len(ticks), table.tick_dtype)
    for name in ticks.dtype.names or ():
        records[name] = ticks[name]
    records["quantity_int"] = records["volume_int"] = 0
    chance = np.random.default_rng(2)
    records["present"] = chance.integers(0, 8, len(ticks))
    for bit, name in enumerate(("open_int", "word", "n")):
        there = records["present"] >> np.uint64(bit) & np.uint64(1)
        records[name] = chance.integers(0, 2, len(ticks)) * there.astype(np.int64)
    with RecordingWriter(folder, table, order="ts_event", created_by="test") as out:
        out.append(TickBatch.from_records(records, table))
    selections: list[dict[str, Any]] = [{}, {"columns": ["word"]}, {"columns": ["open", "price"]}]
    expected = [plain(folder, **s) for s in selections]
    open_recording(folder).build_cache()
    monkeypatch.setattr(scan, "scan", None)

    assert expected == [columns_of(open_recording(folder), **s) for s in selections]
