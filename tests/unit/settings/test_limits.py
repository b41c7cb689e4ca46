"""Limits in a configuration: the block `risk`, and the two that stand in the row itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from parity.model.errors import ConfigError
from parity.settings.drafts import StrategySpec
from parity.settings.strategies import apply_overrides, load_strategies


def loaded(folder: Path, **keys: Any) -> StrategySpec:
    """Load one row of momentum with some keys."""
    path = folder / "row.yaml"
    row = {"strategy_name": "m", "strategy_type": "momentum", "instruments": "all", **keys}
    path.write_text(json.dumps(row, indent=1))
    (spec,) = load_strategies([path])
    return spec


@pytest.mark.parametrize(
    ("risk", "said"),
    [
        (
            {"max_signals_per_min": 0},
            "risk.max_signals_per_min: expected an integer ≥ 1 and ≤ 100000, was 0",
        ),
        (
            {"max_signals_per_min": 6, "max_signals_per_minute": 6},
            "risk.max_signals_per_minute: means the same as max_signals_per_min; keep one",
        ),
        (
            {"risk_modes": ["CALM"]},
            "risk.risk_modes: expected a list of DEFENSIVE, NORMAL, AGGRESSIVE, was",
        ),
        ({"risk_modes": []}, "risk.risk_modes: expected a list of DEFENSIVE"),
        (
            {"loss_streak_pause_sec": 60},
            "risk.loss_streak_pause_sec: means nothing without loss_streak_max; set",
        ),
        (
            {"max_exposur": 5},
            "risk.max_exposur: unknown parameter; did you mean 'max_exposure'?",
        ),
        ({"price_band": 0}, "risk.price_band: expected a number > 0, was 0"),
    ],
)
def test_what_is_wrong_with_a_limit_is_named(
    tmp_path: Path, risk: dict[str, Any], said: str
) -> None:
    """Each refusal names the key as it was written, the value, and where it can the cure."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, parameters={"risk": risk})
    message = str(caught.value)
    line = int(message.split(":")[1])

    assert said in message
    assert next(reversed(risk)) in (tmp_path / "row.yaml").read_text().splitlines()[line - 1]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"max_position_size": -1}, "max_position_size: expected a number ≥ 0 (0 is no limit), wa"),
        ({"max_position_size": True}, "max_position_size: expected a number ≥ 0"),
        ({"max_position_sise": 1}, "unknown key; did you mean 'max_position_size'?"),
        ({"risk_multiplier": 0}, "risk_multiplier: expected a number > 0, was 0"),
        ({"risk_multiplier": "much"}, 'risk_multiplier: expected a number > 0, was "much"'),
        ({"risk_multiplier": "1e999"}, "risk_multiplier: expected a number > 0"),
    ],
)
def test_what_is_wrong_with_a_limit_of_the_row_is_named(
    tmp_path: Path, keys: dict[str, Any], said: str
) -> None:
    """The two limits beside the parameters are checked as strictly."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, **keys)

    assert said in str(caught.value)


def test_limits_of_the_row_itself(tmp_path: Path) -> None:
    """`max_position_size` and `risk_multiplier` stand in the row; decimal text is read exactly."""

    def kept(**keys: Any) -> tuple[str, str]:
        config = loaded(tmp_path, **keys).config
        return str(config.max_position_size), str(config.risk_multiplier)

    assert kept() == ("0", "1")
    assert kept(max_position_size=5, risk_multiplier=0.1) == ("5", "0.1")
    assert kept(max_position_size="2.50", risk_multiplier="1.0") == ("2.50", "1.0")


def test_set_reaches_the_limits_of_the_row(tmp_path: Path) -> None:
    """They are checked as in the row, with or without an id."""
    spec = loaded(tmp_path)
    (changed,) = apply_overrides([spec], ["risk_multiplier=0.5", "m.max_position_size=7"])
    with pytest.raises(ConfigError, match="--set risk_multiplier=0: risk_multiplier: expected a"):
        apply_overrides([spec], ["risk_multiplier=0"])

    assert "0.5" == str(changed.config.risk_multiplier)
    assert "7" == str(changed.config.max_position_size)
    assert spec.config.parameters == changed.config.parameters


def test_the_seeds_spelling_of_a_rate(tmp_path: Path) -> None:
    """`max_signals_per_min`, beside the parameters or in the block, is the limit per minute."""
    for given in ({"max_signals_per_min": 6}, {"risk": {"max_signals_per_min": 6}}):
        config = loaded(tmp_path, parameters=given).config
        assert config.parameters["risk"] == {"max_signals_per_minute": 6}
