"""`parity verify --watch` beside a living paper run, and `--verify` at its end, as processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import until

from parity.compose.verdicts import kept_verdict
from parity.recording.holding import is_held
from parity.recording.runs import RunFolder
from parity.sources.synthetic import make_recording

ROOT = Path(__file__).resolve().parents[2]
TICKS = 6_000
Start = Callable[..., subprocess.Popen[str]]
Cli = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.slow
# In a process of its own it says the same again and again; in another one, something else.
PLANTED = """
import os
import parity as pt

@pt.strategy("planted", history=1)
def planted(tick, history, *, after=0):
    if tick.price_int % 11 == 0:
        other = os.getpid() if tick.ts_event >= after else 0
        return pt.SignalResult("BUY", 0.5, 1 + other, tick.price)
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic recording."""
    folder = tmp_path_factory.mktemp("recordings") / "small"
    make_recording(folder, seed=7, ticks=TICKS)
    return folder


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a command in a process of its own; it is ended with the test, whatever happens."""
    processes: list[subprocess.Popen[str]] = []

    def started(*arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "parity", *map(str, arguments)],
            cwd=ROOT,
            env=os.environ | {"NO_COLOR": "1", "PARITY_CHECKPOINT_TICKS": "300"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def paced(
    recording: Path, run: Path, *strategies: str | Path, pace: int = 150
) -> tuple[str | Path, ...]:
    """Return a paper run of some forty seconds, which proofs beside it do not outlast."""
    return ("paper", run, *strategies, "--recording", recording, "--pace", str(pace), "--json")


def flushed(run: Path) -> bool:
    """Say whether a run has written its first part."""
    return (run / "manifest.json").exists() and RunFolder(run).flushed_seq() > 0


def test_a_living_run_is_proved_to_its_end(start: Start, recording: Path, tmp_path: Path) -> None:
    """Several looks, one JSON object, exit 0 with the run's end, all its ticks covered."""
    run = tmp_path / "run"
    rules = ("-s", "momentum", "--set", "threshold=0.001")
    live = start(*paced(recording, run, *rules, pace=300), "--verify")
    until(lambda: flushed(run))
    watch = start("verify", run, "--watch", "--json")
    until(lambda: kept_verdict(run) is not None)
    assert live.poll() is None
    shown, said = watch.communicate(timeout=120)
    printed, _ = live.communicate(timeout=180)

    found, ended = json.loads(shown), json.loads(printed)
    assert 0 == watch.returncode, said
    assert ("identical", TICKS) == (found["verdict"], found["covered"]["ticks"])
    assert ended["signals"] == found["covered"]["signals"] == found["covered"]["deliveries"] > 0
    assert len([line for line in said.splitlines() if "so far" in line]) > 2
    assert not found["notes"]
    assert 0 == live.returncode
    assert "identical" == ended["verify"]["verdict"]


def test_the_first_difference_ends_it_while_the_run_lives(
    start: Start, recording: Path, tmp_path: Path
) -> None:
    """A strategy that reads its process: exit 1 and tick, strategy and field, at once."""
    (tmp_path / "planted.py").write_text(PLANTED)
    run = tmp_path / "run"
    live = start(*paced(recording, run, "-s", tmp_path / "planted.py"))
    until(lambda: flushed(run))
    watch = start("verify", run, "--watch", "--json")
    shown, said = watch.communicate(timeout=120)
    assert is_held(run)  # the run knows nothing of it
    assert live.poll() is None

    found = json.loads(shown)
    first = found["first_divergence"]
    assert (1, "different") == (watch.returncode, found["verdict"]), said
    assert ("planted", "quantity") == (first["strategy_id"], first["field"])
    assert first["seq"] > 0
    assert first["ts_event"] > 0
    kept = kept_verdict(run)
    assert kept is not None
    assert first == kept["first_divergence"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_with_what_was_proved(
    start: Start, recording: Path, tmp_path: Path, how: signal.Signals
) -> None:
    """130, the verdict so far on stdout, and the run goes on."""
    run = tmp_path / "run"
    live = start(*paced(recording, run, "-s", "momentum"))
    until(lambda: flushed(run))
    watch = start("verify", run, "--watch", "--json")
    until(lambda: kept_verdict(run) is not None)
    watch.send_signal(how)
    shown, said = watch.communicate(timeout=180)

    found = json.loads(shown)
    assert 130 == watch.returncode
    assert "interrupted" in said
    assert "identical" == found["verdict"]
    assert 0 < found["covered"]["ticks"] < TICKS
    assert any("the run is open" in note for note in found["notes"])
    assert live.poll() is None


def test_a_run_that_is_not_proved_ends_with_1(
    cli: Cli, start: Start, recording: Path, tmp_path: Path
) -> None:
    """--verify at the end of a run that reads a file which then changes."""
    (tmp_path / "planted.py").write_text(PLANTED.replace("os.getpid()", "len(os.environ)"))
    rules = ("-s", tmp_path / "planted.py", "--recording", recording)
    again = cli("paper", tmp_path / "run", *rules, "--verify", "--json")
    assert 0 == again.returncode, again.stderr  # one process, one environment
    (tmp_path / "count.py").write_text(COUNTING)
    rules = ("-s", tmp_path / "count.py", "--recording", recording)
    ended = cli("paper", tmp_path / "other", *rules, "--verify", "--json")

    found = json.loads(ended.stdout)
    assert (1, "different") == (ended.returncode, found["verify"]["verdict"])
    assert "identical" not in ended.stderr
    kept = kept_verdict(tmp_path / "other")
    assert kept is not None
    assert "different" == kept["verdict"]
    shown = cli("paper", tmp_path / "third", *rules, "--verify")
    assert 1 == shown.returncode
    assert "first divergence" in shown.stdout


COUNTING = """
import itertools
import os
import parity as pt

@pt.strategy("counting", history=1)
def counting(tick, history):
    made = int(os.environ.get("PARITY_TEST_COUNT", "0")) + 1
    os.environ["PARITY_TEST_COUNT"] = str(made)
    if tick.price_int % 11 == 0:
        return pt.SignalResult("BUY", 0.5, made, tick.price)
"""


def test_watching_several_runs_is_refused(cli: Cli, tmp_path: Path) -> None:
    """One run, one watch; a run that is not there is named as ever."""
    two = cli("verify", tmp_path / "a", tmp_path / "b", "--watch")
    none = cli("verify", tmp_path / "a", "--watch")

    assert (2, 3) == (two.returncode, none.returncode)
    assert "--watch: it goes with one run" in two.stderr
    assert "no run" in none.stderr
