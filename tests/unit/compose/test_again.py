"""A backtest into the folder of a run: the same one is given back, another is refused."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from parity.compose.modes import Finished, backtest
from parity.model.errors import ConfigError, RecordingCorrupt
from parity.recording.runs import MANIFEST
from parity.settings.strategies import load_strategies
from parity.sources.synthetic import make_recording


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings, and a run of the first."""
    folder = tmp_path_factory.mktemp("again")
    make_recording(folder / "recording", ticks=500)
    make_recording(folder / "other", ticks=400)
    made(folder, folder / "run")
    return folder


def made(
    folder: Path, out: Path, overrides: Sequence[str] = (), recording: str = "recording", **how: Any
) -> Finished:
    """Backtest momentum."""
    specs = load_strategies(["momentum"], overrides)
    return backtest(folder / recording, specs, out=out, **how)


def contents(run: Path) -> dict[str, bytes]:
    """Return every file of a run."""
    files = sorted(p for p in run.rglob("*") if p.is_file())
    return {str(p.relative_to(run)): p.read_bytes() for p in files}


def test_the_same_run_is_given_back(folder: Path) -> None:
    """Nothing is run and no byte moves; it is said."""
    before = contents(folder / "run")
    again = made(folder, folder / "run")

    assert before == contents(folder / "run")
    assert "nothing was run" in again.warnings[0]
    assert again.run.manifest.report is not None
    assert 500 == again.run.manifest.report.ticks


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"overrides": ["threshold=0.003"]}, "other parameters"),
        ({"recording": "other"}, "the recording was"),
        ({"seed": 7}, "seed was 0, is 7"),
        ({"start_ns": 5}, "the start was None, is 5"),
        ({"end_ns": 2 * 10**18}, "the end was None"),
        ({"instruments": [900001]}, "instruments were None"),
    ],
)
def test_another_run_is_refused(folder: Path, how: dict[str, Any], said: str) -> None:
    """What differs is named, and the run that is there stays as it is."""
    before = contents(folder / "run")
    with pytest.raises(ConfigError, match="another configuration") as caught:
        made(folder, folder / "run", **how)

    assert said in str(caught.value)
    assert before == contents(folder / "run")


def test_what_was_skipped_is_a_part_of_it(folder: Path, tmp_path: Path) -> None:
    """A row that is gone or new, though it does not run, makes another configuration."""
    rows = [{"id": "good", "strategy_type": "momentum", "instruments": "all"}]
    bad = {**rows[0], "id": "bad", "parameters": {"treshold": 1}}

    def again(*given: dict[str, Any]) -> Finished:
        (tmp_path / "rows.json").write_text(json.dumps(given))
        specs = load_strategies([tmp_path / "rows.json"], skip_invalid=True)
        return backtest(folder / "recording", specs, out=tmp_path / "run")

    again(*rows, bad)
    before = contents(tmp_path / "run")
    for given, said in (
        ([*rows, bad], None),
        ([*rows], "strategy bad was skipped, is not there"),
        ([*rows, {**bad, "id": "worse"}], "strategy worse was not there, is skipped"),
        ([*rows, {**bad, "parameters": {}}], "strategy bad was not there"),
    ):
        if said is None:
            assert "nothing was run" in again(*given).warnings[0]
            continue
        with pytest.raises(ConfigError, match=f"another configuration.*{said}"):
            again(*given)
    assert before == contents(tmp_path / "run")


def test_what_is_not_whole_is_refused(folder: Path, tmp_path: Path) -> None:
    """A run that was killed, one that was edited, and a folder of something else."""
    for name in ("open", "edited"):
        shutil.copytree(folder / "run", tmp_path / name)
    manifest = tmp_path / "open" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"state": "complete"', '"state": "open"'))
    (part,) = (tmp_path / "edited" / "candidates").iterdir()
    part.write_bytes(part.read_bytes()[:-1])
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "notes.txt").write_text("mine")

    with pytest.raises(ConfigError, match=r"did not come to its end.*remove the folder"):
        made(folder, tmp_path / "open")
    with pytest.raises(RecordingCorrupt, match="candidates"):
        made(folder, tmp_path / "edited")
    with pytest.raises(ConfigError, match="not empty"):
        made(folder, tmp_path / "else")
    assert "mine" == (tmp_path / "else" / "notes.txt").read_text()
