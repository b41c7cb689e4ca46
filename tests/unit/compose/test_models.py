"""Which model a strategy gets, what a run keeps of it, and what happens where it cannot load."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

import parity as pt
from parity.compose.kept import KeptPlanner
from parity.compose.plans import prepare
from parity.core.engine import Engine
from parity.live.inference import shipped_models
from parity.model.errors import ConfigError, RecordingCorrupt, StrategyWarning
from parity.model.events import EventBatch
from parity.model.ticks import TickBatch
from parity.settings.strategies import load_strategies
from parity.sources.synthetic import generate, make_recording
from parity.strategies import REGISTRY

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
SHIPPED_SHA256 = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()


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
    with pytest.warns(StrategyWarning, match="strategy ml is skipped"):
        summary = run(recording, folder, model).summary()

    assert {"rules"} == set(summary["strategies"])
    assert ["ml"] == [skipped["strategy_id"] for skipped in summary["skipped"]]
    assert model in summary["skipped"][0]["reason"]


def test_a_damaged_model_is_not_replaced_by_the_shipped_one(
    recording: Path, tmp_path: Path
) -> None:
    """A broken file beside the configuration is an error, though a whole one has its name."""
    (tmp_path / "momentum.onnx").write_bytes(SHIPPED.read_bytes()[:-20])
    with pytest.warns(StrategyWarning, match="strategy ml is skipped"):
        summary = run(recording, tmp_path).summary()

    assert {"rules"} == set(summary["strategies"])
    assert "is not an ONNX model" in summary["skipped"][0]["reason"]


# A strategy with a model of its own, in a folder beside its configuration's.
OWN = """
class Own:
    def __init__(self, model_path):
        self.model_path = model_path
    def use_model(self, model):
        self.model = model
    def get_required_history_length(self):
        return 4
    def supports_instrument(self, token):
        return True
    def get_strategy_name(self):
        return "own"
    def process_tick(self, tick, history):
        from parity import SignalResult
        said = self.model.predict([0.01, 0.02, tick.price % 1])
        if said.sum() > 0 and tick.quantity > 1:
            return SignalResult("BUY", 0.9, 1, tick.price)

def create(config):
    return Own(config["model_path"])
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of configurations, one of code, and a third one that is worked in."""
    for name in ("configs", "code", "desk"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    (tmp_path / "code" / "own.py").write_text(OWN)
    return tmp_path


def own(project: Path, recording: Path, name: str) -> Any:
    """Backtest it with this model_path, beside a shipped strategy."""
    row = {"id": "own", "strategy_type": "own", "instruments": [900001]}
    rows = [row | {"parameters": {"model_path": name}}, {"id": "m", "strategy_type": "momentum"}]
    rows[1]["instruments"] = [900001]
    (project / "configs" / "rows.json").write_text(json.dumps(rows))
    return pt.backtest(recording, project / "configs" / "rows.json", project / "code" / "own.py")


@pytest.mark.parametrize("place", ["configs", "code", "desk", "shipped", "absolute"])
def test_the_places_of_a_model(recording: Path, project: Path, place: str) -> None:
    """The configuration's folder, the strategy's, the shipped ones; never where one works."""
    name = "momentum.onnx" if place == "shipped" else "mine.onnx"
    folder = project / ("code" if place == "absolute" else place)
    if place != "shipped":
        (folder / "mine.onnx").write_bytes(SHIPPED.read_bytes())
    if place == "desk":
        with pytest.warns(StrategyWarning) as caught:
            own(project, recording, name)
        said = str(caught[0].message)
        assert all(
            str(folder / name) in said
            for folder in (project / "configs", project / "code", SHIPPED.parent)
        )
        return
    done = own(project, recording, str(folder / name) if place == "absolute" else name)

    assert SHIPPED_SHA256 == done.folder.manifest.strategies[0].model_sha256


def test_the_first_place_counts(recording: Path, project: Path) -> None:
    """Beside the configuration comes before beside the code; a damaged file is not passed over."""
    (project / "code" / "mine.onnx").write_bytes(SHIPPED.read_bytes())
    (project / "configs" / "mine.onnx").write_bytes(b"damaged")

    with pytest.warns(StrategyWarning, match="not an ONNX model"):
        own(project, recording, "mine.onnx")


@pytest.mark.parametrize("name", ["../desk/mine.onnx", "/elsewhere/mine.onnx"])
def test_a_path_out_of_every_place_names_them(recording: Path, project: Path, name: str) -> None:
    """The refusal says where a model may lie."""
    (project / "desk" / "mine.onnx").write_bytes(SHIPPED.read_bytes())

    with pytest.warns(StrategyWarning, match=r"leads outside .*configs, .*code, .*models"):
        own(project, recording, name)


def test_a_replay_asks_the_kept_model(recording: Path, project: Path) -> None:
    """Where the file lay is not known any more; what a --set names is looked for as ever."""
    model = project / "code" / "mine.onnx"
    model.write_bytes(SHIPPED.read_bytes())
    done = own(project, recording, "mine.onnx")
    model.unlink()
    same = pt.replay(done, overrides=["m.threshold=0.5"])
    other = pt.replay(done, overrides=["own.model_path=other.onnx"])

    assert done.summary()["strategies"]["own"]["signals"] > 0
    assert ["m: parameters.threshold 0.01 -> 0.5"] == same.changed
    assert [] == same.notes
    assert ["skipped own: model other.onnx:"] == [note[:30] for note in other.notes]
    assert [] == pt.replay(done, overrides=["own.model_path=momentum.onnx"]).notes


def test_a_kept_model_stands_for_its_own_path_only(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Today's code that names another model gets that one, though no parameter changed."""
    done = run(recording, tmp_path)
    kept = msgspec.to_builtins(done.folder.manifest.strategies[0])
    shipped = REGISTRY["ml_momentum"]
    create = shipped.create
    assert [] == pt.replay(done).notes
    assert 1 == len(KeptPlanner(done.folder, today=True)(kept))
    monkeypatch.setattr(
        shipped, "create", lambda given: create({**given, "model_path": "newer.onnx"})
    )

    assert ["skipped ml: model newer.onnx:"] == [n[:29] for n in pt.replay(done).notes]
    with pytest.raises(ConfigError, match=r"no strategy left to run .*newer\.onnx"):
        KeptPlanner(done.folder, today=True)(kept)
    assert "identical" == pt.verify(done).verdict


def test_each_strategy_counts_what_it_asks_its_model(tmp_path: Path) -> None:
    """Two strategies on one file, read once: each has its own count, and rules have none."""
    again = ROWS.split("  - strategy_name: rules")[0].partition("strategies:")[2]
    again = again.replace("name: ml", "name: slow").replace(
        "{model_path: MODEL}", "{model_path: MODEL, lookback_periods: 300}"
    )
    (tmp_path / "rows.yaml").write_text((ROWS + again).replace("MODEL", "momentum.onnx"))
    table, records = generate(ticks=1_000)
    records["seq"] = range(1, len(records) + 1)
    plans = prepare(load_strategies([str(tmp_path / "rows.yaml")]), table=table).plans
    Engine(table, plans).process(EventBatch(TickBatch.from_records(records, table)))
    models: dict[str, Any] = {plan.config.strategy_id: plan.model for plan in plans}

    assert models["rules"] is None
    assert models["ml"]._session is models["slow"]._session
    assert models["ml"].inference_count > models["slow"].inference_count > 1
