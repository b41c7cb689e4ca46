"""An operator beside a living run: controls that are journaled and replayed, refusals, the end."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import until

import parity as pt
from parity.live.calling import SOCKET, lives
from parity.sources.synthetic import make_recording

ROOT = Path(__file__).resolve().parents[2]
TICKS = 30_000
Cli = Callable[..., subprocess.CompletedProcess[str]]
ROWS = """
strategies:
  - {strategy_name: mom, strategy_type: momentum, instruments: all,
     parameters: {lookback_periods: 5, threshold: 0.0003, position_size: 1}}
  - {strategy_name: kernel, strategy_type: momentum_kernel, instruments: all,
     parameters: {lookback_periods: 5, threshold: 0.0004, position_size: 1}}
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording, rows, and a file for a replacement."""
    folder = tmp_path_factory.mktemp("control")
    make_recording(folder / "recording", ticks=TICKS)
    (folder / "rows.yaml").write_text(ROWS)
    (folder / "other.yaml").write_text(ROWS.replace("lookback_periods: 5", "lookback_periods: 9"))
    return folder


@pytest.fixture
def living(base: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A paper run at a pace, in a process of its own, whose door is open."""
    command = [
        *(sys.executable, "-m", "parity", "paper", tmp_path / "run", "-s", base / "rows.yaml"),
        *("--recording", base / "recording", "--pace", "500"),
    ]
    process = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def there() -> bool:
        assert process.poll() is None, process.communicate()[1]
        return (tmp_path / "run").is_dir() and lives(tmp_path / "run")

    until(there)
    yield process
    process.kill()
    process.communicate()


def test_controls_sent_to_a_living_run_are_replayed_bit_for_bit(
    cli: Cli, base: Path, tmp_path: Path, living: subprocess.Popen[str]
) -> None:
    """Every verb, and refusals between; the run's proof is identical, controls included."""
    run = tmp_path / "run"
    asked = [
        (0, "pause", "mom", "--reason", "news", "--json"),
        (2, "pause", "momm", "--json"),
        (0, "replace", "kernel", "-s", base / "other.yaml", "--set", "threshold=0.0002", "--json"),
        (2, "replace", "kernel", "-s", base / "rows.yaml", "--set", "treshold=1", "--json"),
        (0, "resume", "mom", "--json"),
        (2, "resume", "mom", "--json"),
        (0, "flatten", "kernel", "--json"),
        (0, "stop", "kernel", "--reason", "enough", "--json"),
    ]
    answers = []
    for code, *rest in asked:
        done = cli("control", run, *rest)
        assert code == done.returncode, done.stderr
        answers.append(json.loads(done.stdout))
    living.send_signal(signal.SIGTERM)
    _, said = living.communicate(timeout=180)
    assert 0 == living.returncode, said
    verdict = json.loads(cli("verify", run, "--json").stdout)

    controls = [c for c in pt.open(run / "recording").controls() if c.verb.startswith("strategy_")]
    granted = [a for a in answers if a["accepted"]]
    assert [c.seq for c in controls] == [a["seq"] for a in granted]
    assert ["strategy_paused", "strategy_replaced", "strategy_resumed", "strategy_flattened",
            "strategy_stopped"] == [c.verb for c in controls]  # fmt: skip
    assert "news" == controls[0].detail["reason"]
    assert 9 == controls[1].detail["strategy"]["config"]["parameters"]["lookback_periods"]
    assert ["unknown_strategy", "not_built", "not_allowed"] == [
        a["reason"] for a in answers if not a["accepted"]
    ]
    assert ("identical", TICKS) > ("identical", verdict["covered"]["ticks"]) > ("identical", 0)
    assert "identical" == verdict["verdict"]
    dropped = json.loads(cli("inspect", run, "--json").stdout)["drops"]
    assert dropped["lifecycle"] > 0
    assert not (run / SOCKET).exists()
    gone = cli("control", run, "pause", "mom")
    assert (4, "") == (gone.returncode, gone.stdout)
    assert "no runner lives in it" in gone.stderr


def test_a_run_that_was_killed_goes_on_with_what_it_was_told(
    cli: Cli, base: Path, tmp_path: Path, living: subprocess.Popen[str]
) -> None:
    """SIGKILL right behind an answer: the control is in the recording, and the restart obeys it."""
    run = tmp_path / "run"
    answer = json.loads(cli("control", run, "stop", "mom", "--json").stdout)
    living.kill()
    living.communicate()
    assert (run / SOCKET).is_socket()  # left by the kill
    assert 4 == cli("control", run, "pause", "mom").returncode
    again = cli("paper", run, "-s", base / "rows.yaml", "--recording", base / "recording", "--json")

    assert 0 == again.returncode, again.stderr
    (control,) = [c for c in pt.open(run / "recording").controls() if "stopped" in c.verb]
    assert (answer["seq"], "mom") == (control.seq, control.detail["strategy_id"])
    assert "identical" == json.loads(cli("verify", run, "--json").stdout)["verdict"]


def test_what_cannot_be_asked_is_said_before_anybody_is_called(cli: Cli, tmp_path: Path) -> None:
    """Verbs and options that do not go together, and a folder that is not there."""
    for code, words, *rest in (
        (2, "did you mean 'pause'", "pawse", "x"),
        (2, "--strategies: replace needs it", "replace", "x"),
        (2, "--strategies: replace needs it", "pause", "x", "-s", "momentum"),
        (2, "--set: it goes with replace", "pause", "x", "--set", "a=1"),
        (2, "--resume-sec: it goes with pause", "stop", "x", "--resume-sec", "3"),
        (3, "no run", "pause", "x"),
    ):
        done = cli("control", tmp_path / "absent", *rest)
        assert (code, "") == (done.returncode, done.stdout)
        assert words in done.stderr
