"""Keys that nobody reads are refused where a factory declares none, however it reads its own."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
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
        (lambda c: msgspec.convert(c, dict[str, int]), None),
        (lambda c: len(c), None),
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
    with pytest.raises(ConfigError, match=r"--set rising.lokback_p.*unknown parameter") as caught:
        load_strategies(loaded, ["rising.lokback_periods=3"])
    assert "did you mean 'lookback_periods'?" in str(caught.value)
    with pytest.raises(ConfigError, match="did you mean 'threshold'"):
        load_strategies(loaded, ["treshold=3"])
    (spec,) = load_strategies(loaded, ["threshold=0.5"])
    assert {"threshold": 0.5} == spec.parameters


PROCESSOR = """
class Asked:
    def __init__(self, **given): self.given = given
    def process_tick(self, tick, history): return None
    def get_required_history_length(self): return 1
    def supports_instrument(self, token): return True
    def get_strategy_name(self): return "asked"
"""
# Under one value of `mode` it reads what it does not under another; `slow_period` it always reads.
CONDITIONAL = """
def create_asked(config):
    CALLS.append(1)
    slow = config.get("slow_period", 9)
    if config.get("mode", "fixed") == "trailing":
        return Asked(trail=config["trail"], fast=config.get("fast_period", 3), slow=slow)
    return Asked(slow=slow)
CALLS = []
"""
CONVERTED = """
import msgspec
class Wanted(msgspec.Struct):
    mode: str = ""
    trail: int = 0
    fast_period: int = 0
def create_asked(config):
    wanted = msgspec.convert(config, Wanted)
    return Asked(mode=wanted.mode, trail=wanted.trail)
"""
REQUIRED = """
def create_asked(config):
    return Asked(length=config["length"], width=config["width"])
"""


def asked(folder: Path, text: str) -> list[Path]:
    """Write a file whose factory is `asked`."""
    (folder / "asking.py").write_text(PROCESSOR + text)
    return [folder / "asking.py"]


def given(folder: Path, text: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the strategy of a file was built with."""
    (spec,) = load_strategies(asked(folder, text), overrides)
    built: dict[str, Any] = spec.build().given
    return built


@pytest.mark.parametrize("text", [CONDITIONAL, CONVERTED])
def test_what_only_another_value_or_a_decoder_reads_passes(tmp_path: Path, text: str) -> None:
    """A key read under another key's value, and keys that are read in C, are no typos."""
    files = asked(tmp_path, text)
    parameters = {"mode": "fixed", "trail": 2, "fast_period": 4}
    own = {"id": "d", "strategy_type": "asking.py:asked", "instruments": [1]}
    (spec,) = load_rows([{**own, "parameters": parameters}], files)

    assert parameters == spec.parameters
    if text is CONDITIONAL:
        with pytest.raises(ConfigError, match="did you mean 'slow_period'"):
            load_rows([{**own, "parameters": {**parameters, "slow_perod": 4}}], files)


@pytest.mark.parametrize("near", ["fast_period", "slow_period2", "period", "slow"])
def test_another_name_is_no_typo_of_one(near: str) -> None:
    """Names that differ by a word or a number are two."""
    built = build_reading(lambda c: c.get("slow_period"), {near: 1})

    assert [] == built.unread({near: 1})
    assert [("slow_peroid", "unknown parameter", "did you mean 'slow_period'?")] == built.unread(
        {"slow_peroid": 1}
    )
    assert [] == built.unread({"slow_period": 1, "slow_peroid": 1})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("stop_loss", "stop_loss_pct"),
        ("stop_loss_pct", "stop_loss"),
        ("position_size", "max_position_size"),
        ("entry_threshold", "exit_threshold"),
    ],
)
def test_a_word_more_or_another_word_is_no_typo(one: str, other: str) -> None:
    """However near the letters are: who gives one may mean it, under another key's value."""
    assert [] == build_reading(lambda c: c.get(other), {one: 1}).unread({one: 1})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("stoploss", "stop_loss"),
        ("stop_losspct", "stop_loss_pct"),
        ("stop_loss_", "stop_loss"),
        ("stop_los_pct", "stop_loss_pct"),
        ("mni_position", "min_position"),
    ],
)
def test_a_typo_within_a_word_is_one(wrong: str, right: str) -> None:
    """As is a line between words that was left out, or one too many."""
    ((name, _, cure),) = build_reading(lambda c: c.get(right), {wrong: 1}).unread({wrong: 1})

    assert (wrong, f"did you mean {right!r}?") == (name, cure)


@pytest.mark.parametrize("named", ["", "asked."])
@pytest.mark.parametrize("backwards", [False, True])
def test_what_a_factory_must_have_is_set(tmp_path: Path, named: str, backwards: bool) -> None:
    """Keys without which it raises, and keys read only where another is set, in any order."""
    step = -1 if backwards else 1
    required = [f"{named}length=5", f"{named}width=6"][::step]
    trailing = [f"{named}mode=trailing", f"{named}trail=3", f"{named}fast_period=1"][::step]

    assert {"length": 5, "width": 6} == given(tmp_path, REQUIRED, required)
    assert {"trail": 3, "fast": 1, "slow": 9} == given(tmp_path, CONDITIONAL, trailing)


def test_a_later_value_stands_for_an_earlier_one(tmp_path: Path) -> None:
    """Whether a name has an id or none, and whenever it is found whom it is for."""
    for last, sets in ((3, ["asked.trail=1", "trail=3"]), (1, ["trail=3", "asked.trail=1"])):
        found = given(tmp_path, CONDITIONAL, [*sets, "mode=fixed", "mode=trailing"])

        assert last == found["trail"]
    with pytest.raises(ConfigError, match=r"--set trial=3: no strategy .* mean 'trail'"):
        given(tmp_path, CONDITIONAL, ["mode=trailing", "trial=3"])


@pytest.mark.parametrize(
    ("sets", "calls"),
    [
        (["slow_period=1", "mode=fixed", "slow_period=3"], 1),
        (["asked.slow_period=1"], 0),
        (["trail=1", "mode=trailing"], 2),
    ],
)
def test_a_factory_is_asked_once_for_all_that_is_set(
    tmp_path: Path, sets: list[str], calls: int
) -> None:
    """Not for each name: once, and again for what only another name makes it read."""
    (spec,) = load_strategies(asked(tmp_path, CONDITIONAL), sets)
    file = spec.type.file
    assert file is not None

    assert calls + 1 == len(file.module.CALLS)  # it is built once more, to be tried


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
