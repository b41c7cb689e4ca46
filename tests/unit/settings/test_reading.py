"""Keys that nobody reads are refused where a factory declares none, however it reads its own."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import parity as pt
from parity.compose.modes import backtest
from parity.model.errors import ConfigError
from parity.settings.reading import build_reading
from parity.settings.strategies import load_rows, load_strategies
from parity.sources.synthetic import make_recording

DESK = Path(__file__).parents[2] / "lib" / "desk"
RIGHT = {"lookback_periods": 5, "threshold": 0.001, "position_size": 10}


def row(name: str, **parameters: Any) -> dict[str, Any]:
    """Return a row for a desk's file."""
    kind = f"{name}.py:{name}"
    return {"id": "d", "strategy_type": kind, "instruments": [900001], "parameters": parameters}


@pytest.mark.parametrize(
    ("way", "reads"),
    [
        (lambda c: c["a"], {"a"}),
        (lambda c: c.get("a", 1), {"a"}),
        (lambda c: c.get("b"), {"b"}),
        (lambda c: "a" in c, {"a"}),
        (lambda c: c.pop("a"), {"a"}),
        (lambda c: c.setdefault("b", 3), {"b"}),
        (lambda c: [c["a"], "c" in c], {"a", "c"}),
        (lambda c: len(c), set()),
        (lambda c: dict(c), None),
        (lambda c: {**c}, None),
        (lambda c: (lambda **given: given)(**c), None),
        (lambda c: list(c), None),
        (lambda c: list(c.items()), None),
        (lambda c: list(c.values()), None),
        (lambda c: set(c.keys()), None),
        (lambda c: c.copy(), None),
        (lambda c: copy.copy(c), None),
        (lambda c: copy.deepcopy(c), None),
        (lambda c: c | {"b": 1}, None),
        (lambda c: {"b": 1} | c, None),
        (lambda c: {"b": 1}.update(c), None),
        (lambda c: json.dumps(c), None),
        (lambda c: c == {"a": 1}, None),
        (lambda c: c, None),
        (lambda c: {"kept": [c]}, None),
        (lambda c: lambda: c["b"], None),
    ],
)
def test_every_way_to_ask_is_noted(
    way: Callable[[Mapping[str, Any]], Any], reads: set[str] | None
) -> None:
    """One key, all of them, or the mapping kept for later, which may be asked anything."""
    given = {"a": 1, "z": 2}

    assert reads == build_reading(way, given).reads
    assert {"a": 1, "z": 2} == given


@pytest.mark.parametrize("name", ["rising", "fading", "guessing", "both"])
def test_a_desks_own_keys_are_known(name: str) -> None:
    """What the factory reads, through inner factories too, and what the framework reads, pass."""
    own = {"both": RIGHT | {"min_conf": 0.6}, "rising": RIGHT, "guessing": {"min_conf": 0.6}}
    given = {**own.get(name, {}), "validator": "standard", "enabled": True, "cooldown_sec": 5,
             "risk": {"min_confidence": 0.1}, "paper": {"cash": 1000}}  # fmt: skip
    (spec,) = load_rows([row(name, **given)], [DESK / f"{name}.py"])

    assert {"min_confidence": 0.1, "cooldown_sec": 5} == spec.config.parameters["risk"]


def test_typing_errors_are_named_with_what_was_meant(tmp_path: Path) -> None:
    """Each key that nobody read, with its line and the nearest key that was."""
    path = tmp_path / "d.yaml"
    path.write_text(
        "id: d\nstrategy_type: rising.py:rising\ninstruments: [900001]\nparameters:\n"
        "  lokback_periods: 5\n  treshold: 0.001\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_strategies([path, DESK / "rising.py"])
    first, second = caught.value.message.splitlines()

    assert first == (
        f"{path}:5: parameters.lokback_periods: unknown parameter; did you mean 'lookback_periods'?"
    )
    assert second.endswith(":6: parameters.treshold: unknown parameter; did you mean 'threshold'?")


def test_what_is_set_is_known_by_what_is_read() -> None:
    """`--set` of a typo is refused with its flag; of a key that the row does not give, taken."""
    loaded = [DESK / "rising.py"]
    with pytest.raises(ConfigError, match=r"--set rising.lookbck=3.*unknown parameter") as caught:
        load_strategies(loaded, ["rising.lookbck=3"])
    assert "did you mean 'lookback_periods'?" in str(caught.value)
    with pytest.raises(ConfigError, match="did you mean 'threshold'"):
        load_strategies(loaded, ["treshold=3"])
    (spec,) = load_strategies(loaded, ["threshold=0.5"])
    assert {"threshold": 0.5} == spec.parameters


def test_an_older_run_is_proved_all_the_same(tmp_path: Path, monkeypatch: Any) -> None:
    """What a run was made with is never refused by its proof, unread keys included."""
    make_recording(tmp_path / "recording", ticks=500)
    (spec,) = load_rows([row("rising", **RIGHT)], [DESK / "rising.py"])
    monkeypatch.setattr("parity.settings.reading.Built.unread", lambda self, given: [])
    (old,) = load_rows([row("rising", **RIGHT, tresh=1)], [DESK / "rising.py"])
    monkeypatch.undo()

    assert spec.parameters != old.parameters
    run = backtest(tmp_path / "recording", [old], out=tmp_path / "run").run
    assert "identical" == pt.verify(run.path).verdict
