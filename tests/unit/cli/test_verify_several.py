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


KEPT = {"calendar": "NSE", "start_ns": 0, "end_ns": 9, "rows": ["1 2 regular"]}


@pytest.mark.parametrize(
    "sessions",
    [
        "NSE",
        [7],
        [{"calendar": "NSE"}],
        [KEPT | {"end_ns": 10**30}],
        [KEPT | {"start_ns": "0"}],
        [KEPT | {"rows": ["1 2"]}],
        [KEPT | {"rows": ["1 two regular"]}],
        [KEPT | {"rows": ["1 2 lunch"]}],
        [KEPT | {"end_ns": -1, "rows": []}],
    ],
)
def test_damaged_sessions_are_a_damaged_run(folder: Path, tmp_path: Path, sessions: object) -> None:
    """Each command that reads a manifest names it and ends with 3; the other runs are proved."""
    run = tmp_path / "damaged"
    shutil.copytree(folder / "a", run, ignore=shutil.ignore_patterns("verdict.json"))
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["recording"]["path"] = str(folder / "recording")
    manifest["settings"]["sessions"] = sessions
    (run / "manifest.json").write_text(json.dumps(manifest))
    several = RUNNER.invoke(app, ["verify", str(run), str(folder / "b"), "--json"])
    (failed,) = json.loads(several.stdout)["failed"]

    assert 3 == several.exit_code
    assert (str(run), 3) == (failed["run"], failed["exit_code"])
    assert 1 == json.loads(several.stdout)["identical"]
    for words in (["verify"], ["inspect"], ["report"], ["replay"], ["inspect", "--json"]):
        done = RUNNER.invoke(app, [*words, str(run)])
        assert 3 == done.exit_code, words
        assert f"error: {run / 'manifest.json'}: settings.sessions" in done.stderr
        assert "" == done.stdout


def test_notes_of_several_runs_name_theirs(folder: Path, tmp_path: Path) -> None:
    """What is said below a verdict says of which run, as soon as there are several."""
    shutil.copytree(folder / "a", tmp_path / "noted")
    manifest = json.loads((tmp_path / "noted" / "manifest.json").read_text())
    manifest["recording"]["path"] = str(folder / "recording")
    manifest["fingerprint"]["numpy"] = "0.0"
    (tmp_path / "noted" / "manifest.json").write_text(json.dumps(manifest))
    names = [str(tmp_path / "noted"), str(folder / "b")]
    several = RUNNER.invoke(app, ["verify", *names]).stderr
    alone = RUNNER.invoke(app, ["verify", names[0]]).stderr

    assert f"{names[0]} changed since: numpy" in several
    assert alone.startswith("changed since: numpy")
