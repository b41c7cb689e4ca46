"""Strategies that block the loop or take the memory: named while they do it, and what is left."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder

pytestmark = pytest.mark.slow
Cli = Callable[..., subprocess.CompletedProcess[str]]
AT = 1500  # the tick of 900001 at which it happens
PYTHON = f"""\
class Odd:
    def __init__(self):
        self.count = 0
        self.held = []

    def process_tick(self, tick, history):
        self.count += 1
        if self.count == {AT}:
            self.misbehave()
        return None

    def misbehave(self):
        WHAT

    def get_required_history_length(self):
        return 1

    def supports_instrument(self, token):
        return token == 900001

    def get_strategy_name(self):
        return "odd"


def create(config):
    return Odd()
"""
KERNEL = f"""\
import numpy as np
from parity.model.kernel import KernelStrategy, out_dtype

STATE = np.dtype([("count", "i8"), ("spins", "i8")], align=True)


def step(state, params, out, price_int):
    state.count += 1
    if state.count == {AT}:
        while state.spins >= 0:
            state.spins = (state.spins + price_int) & 7
    return 0


def create(parameters):
    return KernelStrategy(
        name="spin", step=step, state=STATE, params=np.zeros((), [("x", "i8")]),
        out=out_dtype(), columns=("price_int",), history=1,
        describe=lambda candidate: ("", {{}}),
    )
"""
MOMENTUM = ("--strategies", "momentum", "--set", "momentum.threshold=0.002")


def paper(cli: Cli, tmp_path: Path, code: str, **settings: str) -> Any:
    """Run momentum and a strategy of one's own over the demo recording, as fast as it goes."""
    (tmp_path / "odd.py").write_text(code)
    return cli(
        *("paper", tmp_path / "run", *MOMENTUM, "--strategies", tmp_path / "odd.py"),
        *("--recording", "recordings/demo", "--json"),
        env={"PARITY_STALL_EXIT_S": "3", **settings},
    )


def alarms(tmp_path: Path) -> list[dict[str, Any]]:
    """Return the alarms of the run."""
    return [json.loads(x) for x in (tmp_path / "run" / "alarms.jsonl").read_text().splitlines()]


def where(code: str, words: str) -> int:
    """Return the number of the line that has these words."""
    return 1 + next(n for n, line in enumerate(code.splitlines()) if words in line)


def kept_ticks(tmp_path: Path) -> int:
    """Return how many ticks the run's recording holds, which must be readable."""
    with open_recording(tmp_path / "run" / "recording") as recording:
        return sum(len(batch.ticks) for batch in recording.batches())


def test_endless_loop_is_named_and_ends_the_run(cli: Cli, tmp_path: Path) -> None:
    """Strategy, file and line are in the log and in the run; then exit 5, the journal readable."""
    code = PYTHON.replace("WHAT", "while True: self.count += 1")
    done = paper(cli, tmp_path, code)

    assert 5 == done.returncode, done.stderr
    said = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    named = [one for one in said if one["event"].startswith("strategy_")]
    assert ["strategy_stalls", "strategy_blocks"] == [one["event"] for one in named]
    found = alarms(tmp_path)
    assert ["strategy_stalls", "strategy_blocks"] == [one["alarm"] for one in found]
    for one in (*named, *found):
        assert ("odd", "paper") == (one["strategy_id"], one["broker"])
        assert "odd.py" in one["file"]
        assert where(code, "while True") == one["line"]
    # One text in the log, as a terminal shows it; places one by one in the file.
    tops = [*(one["stack"].splitlines()[0] for one in named), *(one["stack"][0] for one in found)]
    assert all(top.endswith(" misbehave") for top in tops), tops
    assert 5 == named[-1]["exit_code"]
    assert kept_ticks(tmp_path) >= AT
    assert "open" == RunFolder(tmp_path / "run").manifest.state
    assert 0 == cli("inspect", tmp_path / "run" / "recording").returncode


def test_slow_strategy_is_named_and_changes_nobody(cli: Cli, tmp_path: Path) -> None:
    """A call that takes its time is an alarm; the run goes on, verifies, others are the same."""
    slow = "import threading; threading.Event().wait(4)"
    done = paper(cli, tmp_path, PYTHON.replace("WHAT", slow), PARITY_STALL_EXIT_S="60")
    alone = cli("backtest", "recordings/demo", *MOMENTUM, "--out", tmp_path / "b", "--json")

    assert 0 == done.returncode, done.stderr
    found = alarms(tmp_path)
    assert ["strategy_stalls"] == [one["alarm"] for one in found]
    assert "odd" == found[0]["strategy_id"]
    assert '"strategy_went_on"' in done.stderr
    both, one = json.loads(done.stdout), json.loads(alone.stdout)
    assert one["strategies"]["momentum"]["digests"] == both["strategies"]["momentum"]["digests"]
    assert 0 == cli("verify", tmp_path / "run").returncode
    assert not (tmp_path / "run" / "stacks.txt").exists()


def test_endless_kernel_is_named_though_it_holds_the_lock(cli: Cli, tmp_path: Path) -> None:
    """No Python runs beside it, and yet its strategy stands in the log; a signal ends the run."""
    done = paper(cli, tmp_path, KERNEL)

    assert -signal.SIGPROF == done.returncode, done.stderr
    assert "in strategy odd@paper" in done.stderr
    assert "in strategy odd@paper" in (tmp_path / "run" / "stacks.txt").read_text()
    assert kept_ticks(tmp_path) >= AT


def test_memory_hog_is_named_and_stops_the_run(cli: Cli, tmp_path: Path) -> None:
    """Who holds the memory is said; the run comes to its end, sealed and proved, with exit 5."""
    code = PYTHON.replace(
        "        self.count += 1\n", "        self.count += 1\n        self.eat()\n"
    )
    code = code.replace(
        "    def misbehave(self):\n        WHAT",
        "    def misbehave(self):\n        pass\n\n    def eat(self):\n"
        f"        if self.count > {AT} and len(self.held) < 700:\n"
        "            self.held.append(bytearray(b'x' * 1_000_000))\n\n"
        "    def snapshot(self):\n        return {'count': self.count}\n\n"
        "    def restore(self, state):\n        self.count = state['count']",
    )
    (tmp_path / "odd.py").write_text(code)
    done = cli(
        *("paper", tmp_path / "run", *MOMENTUM, "--strategies", tmp_path / "odd.py"),
        *("--recording", "recordings/demo", "--pace", "2000", "--json"),
        env={"PARITY_MEMORY_MB": "500"},
    )

    assert 5 == done.returncode, done.stderr
    assert "odd@paper: it holds about" in done.stderr
    (alarm,) = alarms(tmp_path)
    assert ("memory_limit", "odd") == (alarm["alarm"], alarm["strategy_id"])
    assert "complete" == RunFolder(tmp_path / "run").manifest.state
    assert 0 == cli("verify", tmp_path / "run").returncode
