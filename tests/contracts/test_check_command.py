"""`parity check` and `pt.check` on users' files: what they find, say and end with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import parity as pt
from parity.cli import app
from parity.sources.synthetic import make_recording

GOOD = """import parity as pt


@pt.strategy("fine", history=3)
def fine(tick, history, *, least=0.0001):
    change = tick.price / history[0].price - 1
    if change > least:
        return pt.SignalResult("BUY", 0.5, 1, tick.price, "up", {"change": change})
"""
FAULTY = GOOD.replace("    change =", "    seen.append(tick)\n    change =").replace(
    "tick.price, \"up\"", "tick.price + len(seen), \"up\""
).replace("@pt", "seen = []\n\n\n@pt")  # fmt: skip
BROKEN = GOOD.replace("history[0]", "history[3]")

Cli = Callable[..., Any]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files in the working directory."""
    for name, text in (("good", GOOD), ("faulty", FAULTY), ("broken", BROKEN)):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_report_in_python(files: Path) -> None:
    """`ok`, and findings that name strategy, check, tick and both values."""
    good = pt.check("good.py")
    found = [one for one in pt.check("broken.py").findings if one.rule == "raises"]
    leaks = [one for one in pt.check("faulty.py").findings if one.rule == "deterministic"]

    assert good.ok, str(good)
    assert () == good.findings
    assert ("fine",) == good.strategies
    assert "fine: tick " in found[0].message
    assert "IndexError: history[3]: expected an index below 3" in found[0].message
    assert "when it runs again" in leaks[0].message
    assert leaks[0].message.count("BUY 1 at") == 2
    assert not pt.check("broken.py").ok


def test_it_can_be_asked_on_a_recording(files: Path) -> None:
    """With `on`, its ticks are used; instruments that are not in it are an error by name."""
    make_recording(files / "recording", ticks=1_500)
    (files / "rows.json").write_text(
        json.dumps([{"id": "a", "strategy_type": "fine", "instruments": [256265]}])
    )

    assert 1_500 == pt.check("good.py", on=files / "recording").ticks
    (found,) = pt.check("good.py", "rows.json", on=files / "recording").findings
    assert "none of its instruments (256265) is among the ticks of recording" in found.message


@pytest.mark.slow
def test_exit_codes_and_words(files: Path, cli: Cli) -> None:
    """0 for a good one, 1 for one that loads and fails, 2 for one that does not load."""
    (files / "wrong.yaml").write_text("strategy_type: momentun\ninstruments: all\n")
    done = {name: cli("check", name, cwd=files) for name in ("good.py", "broken.py", "wrong.yaml")}
    listed = json.loads(cli("check", "broken.py", "--json", cwd=files).stdout)

    assert [0, 1, 2] == [one.returncode for one in done.values()]
    assert "1 strategy, 0 errors, 0 warnings" in done["good.py"].stdout
    assert "error: broken.py" in done["broken.py"].stderr
    assert "raises: fine: tick " in " ".join(done["broken.py"].stderr.split())
    assert "did you mean 'momentum'?" in done["wrong.yaml"].stderr
    assert not listed["ok"]
    assert {"raises"} <= {one["rule"] for one in listed["findings"]}


def test_a_folder_is_checked_without_the_tests_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test of a strategy may read files; it is no strategy, and no finding is about it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "test_good.py").write_text("from pathlib import Path\nraise SystemExit(1)\n")
    (tmp_path / "wrong.yaml").write_text("strategy_type: momentun\ninstruments: all\n")
    done = CliRunner(env={"NO_COLOR": "1"}).invoke(app, ["check", "."])

    assert 2 == done.exit_code
    assert "wrong.yaml" in done.stderr
    assert "test_good" not in done.stderr + done.stdout
    (tmp_path / "wrong.yaml").unlink()
    assert () == pt.check(".").findings
