"""A strategy whose methods raise: named with its line and a cure, on the documented way out."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import parity as pt
from parity.cli import app
from parity.core.asked import name_of, place_of
from parity.model.errors import ConfigError
from parity.sources.synthetic import make_recording

RUNNER = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "200"})
CODE = """
import sys
class Odd:
    def get_required_history_length(self):
        return 2
    def supports_instrument(self, token):
        return True
    def get_strategy_name(self):
        return "odd"
    def process_tick(self, tick, history):
        return None
    # here
def create(config):
    return Odd()
"""
BOOM = 'raise ValueError("boom")'


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short recording."""
    path = tmp_path_factory.mktemp("data") / "recording"
    make_recording(path, ticks=300)
    return path


def written(folder: Path, method: str) -> tuple[Path, int]:
    """Write the strategy with a method, `name(…): body`, more or otherwise; return its line."""
    text = CODE.replace("    # here", f"    def {method}")
    (folder / "odd.py").write_text(text)
    return folder / "odd.py", text.count("\n", 0, text.index(method)) + 1


WRONG = {
    f"get_required_history_length(self): {BOOM}": "ValueError: boom",
    "get_required_history_length(self): return '3'": "expected an integer ≥ 1, was '3'",
    "get_required_history_length(self): sys.exit(0)": "SystemExit: 0",
    f"supports_instrument(self, token): {BOOM}": "ValueError: boom",
    f"supports_broker(self, broker): {BOOM}": "ValueError: boom",
    f"use_model(self, model): {BOOM}\n    model_path = ''": "ValueError: boom",
    "use_model(self, model): pass": "model_path raised AttributeError",
    "load_model(self): sys.exit()": "load_model failed: SystemExit",
    "__getattr__(self, name): return self.inner.x": "RecursionError for a name that is not there",
    f"__init__(self): {BOOM}": "could not be built: ValueError: boom",
}


@pytest.mark.parametrize("method", WRONG)
def test_what_is_asked_before_the_first_tick(recording: Path, tmp_path: Path, method: str) -> None:
    """Exit code 2 with the strategy, the method, what it raised and a cure; nothing is left."""
    file, line = written(tmp_path, method)
    out = tmp_path / "run"
    words = ["--strategies", str(file), "--json"]
    ran = RUNNER.invoke(app, ["backtest", str(recording), *words, "--out", str(out)])
    paper = RUNNER.invoke(app, ["paper", str(out), "--recording", str(recording), *words])
    checked = RUNNER.invoke(app, ["check", str(file), "--json"])

    assert (2, 2) == (ran.exit_code, paper.exit_code), ran.output + paper.output
    assert checked.exit_code in (1, 2)  # it loads, and fails a check; or it does not load
    for done in (ran, paper, checked):
        assert WRONG[method] in done.output
        assert "Traceback" not in done.output
        assert "odd" in done.output
    if BOOM in method:
        assert f"odd.py:{line})" in ran.stderr
    assert 2 == len(ran.stderr.strip().splitlines())  # the refusal and its cure
    assert not out.exists()
    with pytest.raises(ConfigError):
        pt.backtest(recording, file)


def test_a_program_is_not_ended_by_a_strategy(recording: Path, tmp_path: Path) -> None:
    """sys.exit(0) at a place where nothing else catches it is no success."""
    method = "extensions(self): sys.exit(0)\n    extensions = property(extensions)"
    file, _ = written(tmp_path, method)
    done = RUNNER.invoke(app, ["backtest", str(recording), "--strategies", str(file)])

    assert (2, True) == (done.exit_code, "a strategy ended the program" in done.stderr), done.output


def test_a_snapshot_that_raises_is_only_no_checkpoint(recording: Path, tmp_path: Path) -> None:
    """The run goes on and verifies; the warning of check says what was raised."""
    file, _ = written(tmp_path, f"snapshot(self): {BOOM}\n    def restore(self, state): pass")
    run = tmp_path / "run"
    words = ["paper", str(run), "--recording", str(recording), "--strategies", str(file)]
    paper = RUNNER.invoke(app, words)
    checked = RUNNER.invoke(app, ["check", str(file), "--json"])

    assert (0, 0) == (paper.exit_code, checked.exit_code), paper.output
    assert "identical" == pt.verify(run).verdict
    (said,) = [f for f in json.loads(checked.stdout)["findings"] if f["rule"] == "snapshot"]
    assert "storable: ValueError: boom" in said["message"]


def test_a_restore_that_raises_fails_the_check(tmp_path: Path) -> None:
    """As a finding of the contract, with the line."""
    method = f"restore(self, state): {BOOM}\n    def snapshot(self): return {{}}"
    file, line = written(tmp_path, method)
    checked = RUNNER.invoke(app, ["check", str(file), "--json"])

    assert 1 == checked.exit_code
    found = {f["rule"]: f["message"] for f in json.loads(checked.stdout)["findings"]}
    assert f"restore raised ValueError: boom ({file}:{line})" in found["snapshot"]


def test_a_name_that_raises_spoils_no_message() -> None:
    """Where the message is about something else, the class's name stands in; no line is none."""

    class Nameless:
        def get_strategy_name(self) -> str:
            raise ValueError("boom")

    assert "Nameless" == name_of(Nameless())
    assert "" == place_of(ValueError("never raised"))
