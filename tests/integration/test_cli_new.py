"""`parity new`: what it writes is checked, tested and run in a fresh folder, as it is."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from parity.cli import app

ROOT = Path(__file__).resolve().parents[2]
RUNNER = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "300"})

Cli = Callable[..., Any]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rules", "kernel", "timers"])
def test_what_is_written_works_without_an_edit(cli: Cli, tmp_path: Path, kind: str) -> None:
    """The commands it names next pass, one after the other; the run speaks and verifies."""
    written = cli("new", "my_rule", "--kind", kind, "--json", cwd=tmp_path)
    said = json.loads(written.stdout)
    (tmp_path / "recordings").symlink_to(ROOT / "recordings")
    check, test, backtest = (line.split() for line in said["next"])
    checked = cli(*check[1:], "--json", cwd=tmp_path)
    tested = subprocess.run(
        [sys.executable, "-m", *test, "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    words = [*("recordings/demo" if w == "REC" else w for w in backtest[1:]), "--out", "run"]
    ran = cli(*words, "--json", cwd=tmp_path)

    assert ["my_rule.py", "test_my_rule.py", "my_rule.yaml"] == said["files"]
    assert 0 == checked.returncode, checked.stderr
    assert [] == json.loads(checked.stdout)["findings"]
    assert 0 == tested.returncode, tested.stdout + tested.stderr
    assert f"{3 if kind == 'timers' else 2} passed" in tested.stdout
    assert 0 == ran.returncode, ran.stderr
    (found,) = json.loads(ran.stdout)["strategies"].values()
    assert found["signals"] > 10
    assert 0 == found["errors"]
    assert "identical" in cli("verify", "run", cwd=tmp_path).stdout
    lint = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "100",
         "--select", "E,F,I,B,UP", "."],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert 0 == lint.returncode, lint.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["my-rule"], "try my_rule"),
        (["My Rule"], "try my_rule"),
        (["class"], "for example my_rule"),
        (["7up"], "for example my_rule"),
        (["json"], "'json' is a module"),
        (["polars"], "'polars' is a module"),
        (["parity"], "'parity' is a module"),
        (["good", "--kind", "ml"], "no strategy of kind 'ml' can be written"),
        (["good", "--kind", "declarative"], "known are kernel, rules, timers"),
        (["good", "--kind", "rule"], "did you mean 'rules'?"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    """Names that could not be imported and kinds that do not exist: exit code 2, and no file."""
    monkeypatch.chdir(tmp_path)
    done = RUNNER.invoke(app, ["new", *words])

    assert 2 == done.exit_code
    assert said in done.stderr
    assert [] == list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """One of the three files is enough to refuse them all."""
    (tmp_path / "test_mine.py").write_text("mine")
    done = RUNNER.invoke(app, ["new", "mine", "--to", str(tmp_path)])

    assert 2 == done.exit_code
    assert "test_mine.py: it is there already" in done.stderr
    assert ["test_mine.py"] == [file.name for file in tmp_path.iterdir()]
