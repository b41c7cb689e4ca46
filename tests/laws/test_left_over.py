"""Laws of a kill: an import or export is whole or not there, and the next one clears its traces.

Every call that changes the disk is struck once, by a real SIGKILL; none is sampled.
"""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from parity.cli import app
from parity.model.errors import RecordingMissing
from parity.recording.holding import hold, is_partial, left_over, temporary_of
from parity.recording.manifest import load_manifest
from parity.recording.reader import open_recording
from parity.recording.resume import FILE, load_resume
from parity.recording.runs import RunFolder
from parity.sources.importers import import_ticks
from parity.sources.importers.inputs import expand

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "recordings/demo"
RUNNER = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "120"})
ROWS = 7
# One process loads everything once and forks for each step: the fork is killed at its n-th call.
_STRUCK = textwrap.dedent("""
    import sys
    from pathlib import Path
    from forked import forked
    from parity.testing.disk import FaultyDisk
    from parity.sources.importers import import_ticks
    from parity.compose.exports import Wanted, export

    what, source, root, name = sys.argv[1:]
    def work():
        with FaultyDisk(folder, at=step, fault="sigkill"):
            if what == "import":
                import_ticks(source, folder / name)
            else:
                export(Path(source), folder / name, Wanted(what=what))
    for step in range(1, 500):
        folder = Path(root) / str(step)
        folder.mkdir()
        code = forked(work)
        if code >= 0:
            print(step, code)
            break
""")


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small archive of Binance."""
    path = tmp_path_factory.mktemp("csv") / "BTCUSDT-trades-2025-06-01.csv"
    rows = [f"{n},1.5,2,3,{1_748_736_000_000_000 + n},True,True\n" for n in range(ROWS)]
    path.write_text("".join(rows))
    return path


@pytest.fixture(scope="module")
def recording(csv: Path) -> Path:
    """The same, imported."""
    import_ticks(csv, csv.parent / "rec")
    with open_recording(csv.parent / "rec") as made:
        made.check_files(always=True)
        assert ROWS == made.tick_rows
    return csv.parent / "rec"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backtest over the demo."""
    out = tmp_path_factory.mktemp("runs") / "momentum"
    command = ["backtest", DEMO, "-s", "momentum", "--set", "threshold=0.003", "--out", out]
    assert RUNNER.invoke(app, [str(word) for word in command]).exit_code == 0
    return out


State = dict[str, bytes | None]


def _state(folder: Path) -> State:
    """Return every file below a folder with its bytes, and the folders; a hidden name in short.

    Of what an append would go on from its being there: it holds inodes and times of files, and
    `_goes_on` loads it.
    """
    return {
        re.sub(r"\.[0-9a-f]{8}\.partial", ".partial", str(path.relative_to(folder))): (
            path.read_bytes() if path.is_file() and path.name != FILE else None
        )
        for path in sorted(folder.rglob("*"))
    }


def _goes_on(out: Path) -> bool:
    """Say whether what an append would go on from holds, where there is any."""
    return not (out / FILE).exists() or load_resume(out, load_manifest(out)) is not None


def _rows_of(out: Path) -> int:
    """Return how many rows a recording, a Parquet file or a CSV has."""
    if out.is_dir():
        with open_recording(out) as made:
            return made.tick_rows
    if out.suffix == ".parquet":
        return int(pq.read_metadata(out).num_rows)
    return len(out.read_text().splitlines()) - 1


def _again(what: str, source: Path, out: Path) -> None:
    command = (
        ["import", source, out] if what == "import" else ["export", source, out, "--what", what]
    )
    done = RUNNER.invoke(app, [str(word) for word in command])
    assert done.exit_code == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "of", "name"),
    [
        ("import", "csv", "rec"),
        ("ticks", "recording", "slice"),
        ("ticks", "recording", "ticks.parquet"),
        ("ticks", "recording", "ticks.csv"),
        ("signals", "run", "signals.csv"),
    ],
)
def test_a_kill_at_every_call_leaves_nothing_half(
    what: str, of: str, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The target is whole or absent; what is hidden is no data, named, and goes with the next.

    The next is run once for each set of names that a kill leaves.
    """
    source: Path = request.getfixturevalue(of)
    _again(what, source, tmp_path / "whole" / name)
    expected = _state(tmp_path / "whole")
    assert [tmp_path / "whole" / name] == list((tmp_path / "whole").iterdir())
    signals = (
        sum(1 for r in RunFolder(source).rows("decisions") if r["signal_no"])
        if of == "run"
        else ROWS
    )
    assert _rows_of(tmp_path / "whole" / name) == signals > 0
    assert (what == "import") == (f"{name}/{FILE}" in expected)
    struck = tmp_path / "struck"
    struck.mkdir()
    command = [sys.executable, "-c", _STRUCK, what, source, struck, name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests/lib")}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=300, env=environment
    )
    steps, code = map(int, done.stdout.split())
    assert code == 0
    assert steps > 5

    known: list[dict[str, bool]] = []
    hidden_count = 0
    for step in range(1, steps):
        folder = struck / str(step)
        out = folder / name
        state = _state(folder)
        hidden = [path for path in folder.iterdir() if path != out]
        assert hidden == left_over(out)
        assert out.exists() == (state == expected), f"call {step}: half of it is there"
        assert not out.exists() or _goes_on(out), (
            f"call {step}: an append has nothing to go on from"
        )
        hidden_count += len(hidden)
        for path in hidden:
            with pytest.raises(RecordingMissing, match="did not finish"):
                open_recording(path)
        shape = {file: bool(held) for file, held in state.items()}
        if shape in known:  # the next one clears by names: what follows would be the same again
            continue
        known.append(shape)
        if hidden and not out.suffix:
            told = RUNNER.invoke(app, ["inspect", str(out)])
            assert told.exit_code == 3
            assert hidden[0].name in told.stderr.replace("\n", "")
        if not out.exists():
            _again(what, source, out)
        assert expected == _state(folder)
        assert _goes_on(out)
    assert hidden_count


def test_what_is_hidden_is_no_source(tmp_path: Path, csv: Path) -> None:
    """A folder of files is read without what a killed export left, or a program hides in it."""
    (tmp_path / "a.csv").write_bytes(csv.read_bytes())
    temporary_of(tmp_path / "b.csv").write_text("half")
    (tmp_path / "._a.csv").write_bytes(b"\0\5\26\7")

    assert [tmp_path / "a.csv"] == expand(tmp_path)


def test_inspect_names_what_was_left_beside_a_recording(tmp_path: Path, csv: Path) -> None:
    """As text and in `--json`; another target's is not its business."""
    import_ticks(csv, tmp_path / "rec")
    left = temporary_of(tmp_path / "rec")
    left.mkdir()
    temporary_of(tmp_path / "rec2").mkdir()

    told = RUNNER.invoke(app, ["inspect", str(tmp_path / "rec"), "--json"])

    assert [str(left)] == json.loads(told.stdout)["left_over"]
    shown = RUNNER.invoke(app, ["inspect", str(tmp_path / "rec")])
    assert left.name in (shown.stderr + shown.stdout).replace("\n", "")


def test_what_a_living_process_writes_stays(tmp_path: Path, recording: Path) -> None:
    """Another export of the same target goes on; only what nobody holds is removed."""
    out = tmp_path / "slice"
    living, dead = temporary_of(out), temporary_of(out)
    descriptor = hold(living)
    dead.mkdir()

    _again("ticks", recording, out)

    assert living.is_dir()
    assert not dead.exists()
    assert is_partial(living)
    assert ROWS == open_recording(out).tick_rows
    assert [living] == left_over(out)
    os.close(descriptor)
