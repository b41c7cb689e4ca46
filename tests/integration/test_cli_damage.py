"""Damaged recordings on the command line: every command refuses, names file, seqs and cure."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from parity.recording.journal import JournalWriter
from parity.recording.manifest import load_manifest
from parity.recording.reader import open_recording
from parity.recording.writer import create_recording
from parity.sources.synthetic import make_recording
from parity.testing.generators import dummy_records

Cli = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.slow
RULES = ("-s", "momentum", "--set", "threshold=0.002", "--set", "risk.cooldown_sec=30")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording, a second one, a journal left open, and room for runs."""
    folder = tmp_path_factory.mktemp("damage")
    make_recording(folder / "rec", seed=7, ticks=4_000)
    make_recording(folder / "other", seed=8, ticks=4_000)
    table = open_recording(folder / "rec").table
    create_recording(folder / "live", table, created_by="test")
    for n in range(3):
        with JournalWriter(folder / "live") as writer:
            seqs = range(1 + n * 50, 51 + n * 50)
            writer.append(dummy_records(50, seq=seqs, instrument_token=table.tokens[0]))
    return folder


def part_of(folder: Path) -> Path:
    """The first part of ticks."""
    return folder / load_manifest(folder).of_kind("ticks")[0].file


def flip(path: Path) -> None:
    """Change one byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


PART = r"ticks/000000000001.parquet (seq 1..4000) "
DAMAGE: dict[str, tuple[str, Callable[[Path], object], str, str]] = {
    "part missing": ("rec", lambda f: part_of(f).unlink(), PART + "is missing", "parity repair"),
    "part edited": ("rec", lambda f: flip(part_of(f)), PART + "has sha256", "parity repair"),
    "part swapped": (
        "rec",
        lambda f: shutil.copy(part_of(f.with_name("other")), part_of(f)),
        PART + "has ",
        "parity repair",
    ),
    "part truncated": (
        "rec",
        lambda f: part_of(f).write_bytes(part_of(f).read_bytes()[:-9]),
        PART + "has ",
        "parity repair",
    ),
    "part empty": ("rec", lambda f: part_of(f).write_bytes(b""), PART + "has 0 b", "parity repair"),
    "manifest missing": (
        "rec",
        lambda f: (f / "manifest.json").unlink(),
        "expected manifest.json",
        "name the folder",
    ),
    "manifest edited": (
        "rec",
        lambda f: (f / "manifest.json").write_text(
            (f / "manifest.json").read_text().replace("4000", "4001", 1)
        ),
        "manifest.json: was edited",
        "restore the manifest",
    ),
    "segment missing": (
        "live",
        lambda f: (f / "journal/000002.wal").unlink(),
        "segment 2 is missing before 000003.wal",
        "parity repair",
    ),
    "segment edited": (
        "live",
        lambda f: flip(f / "journal/000002.wal"),
        "frame 1 at byte 64 is damaged, from seq 51 on",
        "parity repair",
    ),
}


def reading(folder: Path, out: Path) -> dict[str, tuple[str | Path, ...]]:
    """Every command that reads a recording."""
    return {
        "inspect": ("inspect", folder),
        "backtest": ("backtest", folder, *RULES, "--out", out / "run"),
        "export": ("export", folder, out / "slice"),
        "produce": ("produce", folder, "--bootstrap-servers", "127.0.0.1:1"),
        "paper": ("paper", out / "paper", *RULES, "--recording", folder),
    }


@pytest.mark.parametrize("what", list(DAMAGE))
def test_damage_is_refused_by_name_range_and_cure(
    cli: Cli, made: Path, tmp_path: Path, what: str
) -> None:
    """Whatever is wrong and whoever reads: exit 3, the thing, the place, the cure, no output."""
    source, harm, named, cure = DAMAGE[what]
    folder = tmp_path / source
    shutil.copytree(made / source, folder)
    shutil.copytree(made / "other", tmp_path / "other")
    harm(folder)
    for name, command in reading(folder, tmp_path).items():
        done = cli(*command)
        said = " ".join(done.stderr.split())
        assert 3 == done.returncode, (name, done.stderr)
        assert named in said, (name, said)
        assert cure in said, (name, said)
    left = {path.name for path in tmp_path.iterdir()} - {source, "other", "paper"}
    assert set() == left


def test_a_segment_of_another_recording_is_refused(cli: Cli, made: Path, tmp_path: Path) -> None:
    """Its header says whose it is."""
    folder = tmp_path / "live"
    shutil.copytree(made / "live", folder)
    table = open_recording(folder).table
    create_recording(tmp_path / "stranger", table, created_by="test")
    with JournalWriter(tmp_path / "stranger") as writer:
        writer.append(dummy_records(5, instrument_token=table.tokens[0]))
    shutil.copy(tmp_path / "stranger/journal/000001.wal", folder / "journal/000001.wal")
    done = cli("inspect", folder)

    assert 3 == done.returncode
    assert "is segment 1 of recording" in done.stderr
    assert "move it back to its own recording" in done.stderr


def test_an_extra_file_is_not_read_and_is_named(cli: Cli, made: Path, tmp_path: Path) -> None:
    """Readers go by the manifest; repair sets the file aside."""
    folder = tmp_path / "rec"
    shutil.copytree(made / "rec", folder)
    shutil.copy(part_of(made / "other"), folder / "ticks/000000004001.parquet")
    found = json.loads(cli("inspect", folder, "--json").stdout)

    assert 4_000 == found["ticks"]
    assert ["ticks/000000004001.parquet"] == found["integrity"]["unlisted_files"]
    assert 3 == cli("repair", folder, "--dry-run").returncode
    assert 0 == cli("repair", folder).returncode
    assert (folder / "damaged/ticks/000000004001.parquet").is_file()
    assert 0 == cli("repair", folder, "--dry-run").returncode


def test_runs_over_a_recording_that_lost_something(cli: Cli, made: Path, tmp_path: Path) -> None:
    """A run that saw what is gone is refused with its range, until a copy is put back."""
    folder = tmp_path / "rec"
    shutil.copytree(made / "rec", folder)
    part = part_of(folder)
    whole = part.read_bytes()
    before = tmp_path / "before"
    assert 0 == cli("backtest", folder, *RULES, "--out", before).returncode
    flip(part)
    assert 3 == cli("verify", before).returncode
    assert 3 == cli("repair", folder, "--dry-run").returncode
    done = json.loads(cli("repair", folder, "--json").stdout)
    assert ["mark_lost"] == [one["remedy"] for one in done["findings"]]
    for command in ("verify", "replay"):
        refused = cli(command, before)
        assert 3 == refused.returncode
        assert "seq 1..4000 lost (4000 events, all ticks" in " ".join(refused.stderr.split())
    shown = cli("inspect", folder)
    assert 0 == shown.returncode
    assert "lost: seq 1..4000" in shown.stderr

    part.write_bytes(whole)
    assert 0 == cli("repair", folder).returncode
    assert cli("verify", before).stdout.startswith("identical")


def test_a_run_with_damaged_outputs_is_refused(cli: Cli, made: Path, tmp_path: Path) -> None:
    """verify, replay and diff hold a complete run against its own hashes first."""
    one, two = tmp_path / "one", tmp_path / "two"
    for run in (one, two):
        assert 0 == cli("backtest", made / "rec", *RULES, "--out", run).returncode
    next((one / "decisions").glob("*.parquet")).unlink()
    for command in (("verify", one), ("replay", one), ("diff", one, two)):
        done = cli(*command)
        assert 3 == done.returncode, done.stderr
        assert "is missing" in done.stderr
