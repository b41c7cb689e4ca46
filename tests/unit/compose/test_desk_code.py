"""Code of the older contract runs as it is: a desk's own files, of tests/lib/desk."""

import json
import shutil
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import pytest

import parity as pt
from parity.compose.parts import learned_parts
from parity.compose.plans import prepare
from parity.model.errors import ConfigError
from parity.settings.strategies import load_strategies
from parity.sources.synthetic import make_recording

DESK = Path(__file__).parents[2] / "lib" / "desk"
THRESHOLD, Z_ENTRY, MIN_CONF, LOOKBACK = 0.0012, 2.0, 0.55, 12
TOKEN = 900001
PARAMETERS = {
    "rising": {"lookback_periods": LOOKBACK, "threshold": THRESHOLD, "position_size": 10},
    "fading": {"lookback_periods": LOOKBACK, "z_entry": Z_ENTRY, "position_size": 10},
    "guessing": {"position_size": 5, "min_conf": MIN_CONF},
    "both": {
        "lookback_periods": LOOKBACK, "threshold": THRESHOLD, "position_size": 10,
        "min_conf": MIN_CONF,
    },
}  # fmt: skip
Said = tuple[str, float]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One backtest of the four files over 3 000 synthetic ticks."""
    folder = tmp_path_factory.mktemp("desk")
    for name in PARAMETERS:
        shutil.copy(DESK / f"{name}.py", folder)
    rows = [
        {"id": name, "strategy_type": f"{name}.py:{name}", "instruments": [TOKEN],
         "parameters": {**given, "validator": "standard"}, "brokers": ["paper"], "enabled": True}
        for name, given in PARAMETERS.items()
    ]  # fmt: skip
    (folder / "rows.json").write_text(json.dumps(rows))
    make_recording(folder / "recording", ticks=3_000)
    return pt.backtest(folder / "recording", folder, out=folder / "run")


def prices(run: Any) -> list[float]:
    """The trade prices of the instrument, in order."""
    shown: list[float] = run.ticks.filter(run.ticks["instrument_token"] == TOKEN)["price"].to_list()
    return shown


def found(run: Any, name: str) -> dict[int, tuple[str, float, float, float]]:
    """Side, confidence, price and quantity of a strategy's candidates, by number of its tick."""
    ticks = run.ticks.filter(run.ticks["instrument_token"] == TOKEN)
    number = {seq: n for n, seq in enumerate(ticks["seq"].to_list())}
    rows = run.candidates.filter(run.candidates["strategy_id"] == name).to_dicts()
    return {
        number[r["seq"]]: (str(r["side"]), r["confidence"], r["price"], r["quantity"]) for r in rows
    }


def rising(x: list[float], n: int) -> Said | None:
    """The momentum formula at tick n."""
    if n < LOOKBACK - 1:
        return None
    begin = x[n - LOOKBACK + 1]
    moved = (x[n] - begin) / begin
    if abs(moved) <= THRESHOLD:
        return None
    return "BUY" if moved > 0 else "SELL", min(1.0, abs(moved) * 5.0)


def guessing(x: list[float], n: int) -> Said | None:
    """The placeholder model at tick n."""
    if n < 19:
        return None
    ret = (x[n] - x[n - 19]) / x[n - 19]
    sure = min(1.0, abs(ret) * 300)
    return ("BUY" if ret > 0 else "SELL", sure) if abs(ret) > 0.001 and sure >= MIN_CONF else None


def fading(x: list[float], n: int) -> Said | None:
    """The z-score formula at tick n."""
    if n < LOOKBACK - 1:
        return None
    window = x[n - LOOKBACK + 1 : n + 1]
    z = (x[n] - mean(window)) / (pstdev(window) or 1e-9)
    return ("BUY" if z < 0 else "SELL", min(1.0, abs(z) / 3)) if abs(z) >= Z_ENTRY else None


def both(x: list[float], n: int) -> Said | None:
    """The vote at tick n; the hybrid is warm with the longer of its two windows."""
    rules, model = (rising(x, n), guessing(x, n)) if n >= 19 else (None, None)
    if rules and model and rules[0] == model[0]:
        return rules[0], min(1.0, (rules[1] + model[1]) / 2)
    return model or rules


@pytest.mark.parametrize("formula", [rising, fading, guessing, both])
def test_signals_are_those_of_the_formulas(run: Any, formula: Any) -> None:
    """At every tick: side and confidence of the formula over plain floats, its price and size."""
    x = prices(run)
    size = 5.0 if formula is guessing else 10.0
    expected = {
        n: (*said, x[n], size) for n in range(len(x)) if (said := formula(x, n)) is not None
    }

    assert len(expected) > 20
    assert expected == found(run, formula.__name__)


def test_the_hybrid_says_what_it_merged(run: Any) -> None:
    """SignalResults in the metadata are kept as plain values, to the last digit."""
    rows = run.candidates.filter(run.candidates["strategy_id"] == "both").to_dicts()
    merged = [json.loads(r["metadata"]) for r in rows if r["reasoning"] == "both agree"]

    assert len(merged) > 5
    assert {"rules", "ml"} == merged[0].keys()
    assert "guessed" == merged[0]["ml"]["reasoning"]


def test_it_is_proved_from_what_was_kept(run: Any) -> None:
    """The siblings that a factory imports late are kept too; the run verifies without the desk."""
    kept = {path.name for path in (run.path / "source").rglob("*.py")}

    assert {"rising.py", "fading.py", "guessing.py", "both.py"} == kept
    assert 0 == sum(one["errors"] for one in run.summary()["strategies"].values())
    assert "identical" == pt.verify(run).verdict


@pytest.mark.parametrize("name", ["guessing", "both"])
def test_a_model_that_does_not_load_skips_its_strategy(tmp_path: Path, name: str) -> None:
    """Alone and inside a hybrid: the reason is kept, and the hybrid never runs on rules alone."""
    for file in DESK.glob("*.py"):
        shutil.copy(file, tmp_path)
    row = {"strategy_type": f"{name}.py:{name}", "instruments": "all",
           "parameters": {"model_path": "missing"}}  # fmt: skip
    (tmp_path / "row.json").write_text(json.dumps([{"id": name, **row}]))
    specs = load_strategies([tmp_path / "row.json", tmp_path / f"{name}.py"])

    with pytest.raises(ConfigError, match="GuessingProcessor: load_model gave False"):
        prepare(specs)
    assert ["GuessingProcessor"] == [type(p).__name__ for p in learned_parts(specs[0].build())]
