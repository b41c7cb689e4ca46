"""Which model a strategy gets, what a run keeps of it, and what happens where it cannot load."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

import parity as pt
from parity.live.inference import shipped_models
from parity.model.errors import RecordingCorrupt
from parity.sources.synthetic import make_recording

ROWS = """
strategies:
  - strategy_name: ml
    strategy_type: ml_momentum
    instruments: [900001, 900002]
    parameters: {model_path: MODEL}
  - strategy_name: rules
    strategy_type: momentum
    instruments: [900001]
    parameters: {threshold: 0.002}
"""
SHIPPED = shipped_models() / "momentum.onnx"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of 4 000 synthetic ticks."""
    path = tmp_path_factory.mktemp("data") / "recording"
    make_recording(path, ticks=4_000)
    return path


def run(recording: Path, folder: Path, model: str = "momentum.onnx") -> Any:
    """Backtest an ML and a rules strategy, configured in `folder`."""
    file = folder / "rows.yaml"
    file.write_text(ROWS.replace("MODEL", model))
    return pt.backtest(recording, file, out=folder / "run")


def test_a_run_keeps_its_model_and_verifies(recording: Path, tmp_path: Path) -> None:
    """The shipped model is found, signals, lies in the run by its hash, and the run verifies."""
    done = run(recording, tmp_path)
    sha256 = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    verdict = pt.verify(done)

    assert done.summary()["strategies"]["ml"]["signals"] > 0
    assert [f"{sha256}.onnx"] == [f.name for f in (done.path / "models").iterdir()]
    assert sha256 == done.folder.manifest.strategies[0].model_sha256
    assert "identical" == verdict.verdict


def test_verify_asks_the_kept_model(recording: Path, tmp_path: Path) -> None:
    """A model that was changed after the run does not change what verify replays."""
    own = tmp_path / "own.onnx"
    own.write_bytes(SHIPPED.read_bytes())
    done = run(recording, tmp_path, "own.onnx")
    own.write_bytes(b"something else")

    assert done.summary()["strategies"]["ml"]["signals"] > 0
    assert "identical" == pt.verify(done).verdict


@pytest.mark.parametrize("damage", ["edited", "missing"])
def test_a_damaged_kept_model_fails_closed(recording: Path, tmp_path: Path, damage: str) -> None:
    """A kept model that is not what its name says is corrupt, never a change of code."""
    done = run(recording, tmp_path)
    [model] = (done.path / "models").iterdir()
    if damage == "edited":
        model.write_bytes(model.read_bytes() + b"x")
    else:
        model.unlink()

    with pytest.raises(RecordingCorrupt, match=r"the kept model is missing, or not what"):
        pt.verify(done)


@pytest.mark.parametrize("model", ["absent.onnx", "../momentum.onnx", "rows.yaml"])
def test_a_strategy_without_its_model_is_skipped_visibly(
    recording: Path, tmp_path: Path, model: str
) -> None:
    """The others run; the run names the strategy, the model and the reason."""
    folder = tmp_path / "below"
    folder.mkdir()
    (tmp_path / "momentum.onnx").write_bytes(SHIPPED.read_bytes())
    summary = run(recording, folder, model).summary()

    assert {"rules"} == set(summary["strategies"])
    assert ["ml"] == [skipped["strategy_id"] for skipped in summary["skipped"]]
    assert model in summary["skipped"][0]["reason"]


def test_a_damaged_model_is_not_replaced_by_the_shipped_one(
    recording: Path, tmp_path: Path
) -> None:
    """A broken file beside the configuration is an error, though a whole one has its name."""
    (tmp_path / "momentum.onnx").write_bytes(SHIPPED.read_bytes()[:-20])
    summary = run(recording, tmp_path).summary()

    assert {"rules"} == set(summary["strategies"])
    assert "is not an ONNX model" in summary["skipped"][0]["reason"]
