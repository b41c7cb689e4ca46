"""`parity verify` of several runs: each is proved, whatever the others come to."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import parity as pt
from parity.cli import app
from parity.sources.synthetic import make_recording

RUNNER = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "200"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good runs, one whose source was edited, and one without ticks."""
    folder = tmp_path_factory.mktemp("several")
    make_recording(folder / "recording", ticks=500)
    for name in ("a", "b"):
        pt.backtest(folder / "recording", "momentum", out=folder / name)
    pt.backtest(folder / "recording", "momentum", out=folder / "empty", start=2 * 10**18)
    shutil.copytree(folder / "a", folder / "edited")
    (source,) = (folder / "edited" / "source").rglob("momentum.py")
    source.write_text(source.read_text() + "\n# edited\n")
    return folder


@pytest.mark.parametrize(
    ("names", "code", "identical"),
    [
        (["a", "b"], 0, ["a", "b"]),
        (["empty", "a"], 1, ["a"]),
        (["a", "none", "empty", "b"], 3, ["a", "b"]),
        (["edited", "b"], 3, ["b"]),
    ],
)
def test_each_is_proved_and_the_worst_is_the_end(
    folder: Path, names: list[str], code: int, identical: list[str]
) -> None:
    """A run that is missing, edited or empty is named, and hides no other's verdict."""
    paths = [str(folder / name) for name in names]
    text, plain = (
        RUNNER.invoke(app, ["verify", *paths]),
        RUNNER.invoke(app, ["verify", *paths, "--json"]),
    )
    found = json.loads(plain.stdout)
    failed = [str(folder / name) for name in names if name not in identical]

    assert (code, code) == (text.exit_code, plain.exit_code)
    assert [str(folder / name) for name in identical] == [one["run"] for one in found["runs"]]
    assert {"identical"} == {one["verdict"] for one in found["runs"]}
    assert failed == [one["run"] for one in found["failed"]]
    assert code == max((one["exit_code"] for one in found["failed"]), default=0)
    assert f"{len(identical)} of {len(names)} runs identical" in text.stdout
    assert all(f"{folder / name} identical: 500 ticks" in text.stdout for name in identical)
    assert all(name in text.stderr for name in failed)
