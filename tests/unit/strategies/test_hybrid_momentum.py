"""The majority vote by its truth table, and the hybrid that asks it."""

import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import parity as pt
from parity.compose.plans import prepare
from parity.live.inference import shipped_models
from parity.model.errors import ConfigError, StrategyWarning
from parity.settings.strategies import load_strategies
from parity.strategies.hybrid.hybrid_momentum import create
from parity.strategies.hybrid.majority_vote import MajorityVote

SIDES = (None, "BUY", "SELL")


def voice(side: str | None, confidence: float, quantity: int, price: str) -> pt.SignalResult | None:
    """A signal, or none."""
    return None if side is None else pt.SignalResult(side, confidence, quantity, Decimal(price))


@pytest.mark.parametrize(
    ("rules", "ml", "sure"), [*product(SIDES, SIDES, (0.2, 0.5499, 0.55, 1.0))]
)
def test_the_truth_table(rules: str | None, ml: str | None, sure: float) -> None:
    """Every pair of voices, the model below, at and above what it needs alone."""
    one, other = voice(rules, 0.8, 5, "100"), voice(ml, sure, 3, "101")
    said = MajorityVote().decide(one, other, {})

    if rules is None and ml is None:
        assert said is None
    elif rules == ml:
        assert said is not None
        assert (ml, (0.8 + sure) / 2, 5, Decimal(101)) == (
            said.signal_type, said.confidence, said.quantity, said.price
        )  # fmt: skip
        assert said.metadata is not None
        assert (0.8, sure) == (
            said.metadata["rules"]["confidence"], said.metadata["ml"]["confidence"]
        )  # fmt: skip
    elif ml is not None and sure >= 0.55:
        assert said is other
    else:
        assert said is one


def test_windows_and_thresholds() -> None:
    """The longer window is asked for, each part sees its own; min_conf sets both thresholds."""
    hybrid: Any = create({"lookback_periods": 5, "ml_lookback_periods": 30})
    given: Any = create({"min_conf": 0.7})

    assert 30 == hybrid.get_required_history_length()
    assert (0.5, 0.55) == (hybrid.ml.min_conf, hybrid.policy.min_ml_conf)
    assert (0.7, 0.7) == (given.ml.min_conf, given.policy.min_ml_conf)
    assert "hybrid:momentum+ml_momentum" == hybrid.get_strategy_name()
    with pytest.raises(ConfigError, match="did you mean 'threshold'"):
        create({"treshold": 1})


def test_a_hybrid_without_its_model_is_skipped() -> None:
    """It never runs on its rules alone."""
    with pytest.raises(ConfigError, match=r"model nowhere\.onnx"):
        prepare(load_strategies(["hybrid_momentum"], ["model_path=nowhere.onnx"]))


HARNESS: list[dict[str, Any]] = [
    {"id": f"{kind}-one", "strategy_type": kind, "brokers": ["paper"], "instruments": [123],
     "enabled": True, "parameters": parameters}
    for kind, parameters in {
        "momentum": {"lookback_periods": 5, "threshold": 0.01, "position_size": 10},
        "ml_momentum": {"model_path": "models/own.onnx", "position_size": 10, "min_conf": 0.5},
        "hybrid_momentum": {"lookback_periods": 5, "threshold": 0.01, "position_size": 10,
                            "model_path": "models/own.onnx"},
    }.items()
]  # fmt: skip


def spoken(service: pt.StrategyRunnerService, prices: list[Any]) -> list[tuple[int, str, str]]:
    """Number, side and price of what the service says."""
    begin = datetime(2025, 1, 6, tzinfo=UTC)
    said = []
    for n, price in enumerate(prices):
        tick = pt.MarketTick(
            instrument_token=123,
            last_price=Decimal(str(price)),
            timestamp=begin + timedelta(seconds=n),
        )
        said += [(n, s.signal_type, str(s.price)) for s in service.on_market_tick(tick)]
    return said


def test_a_harness_of_three_kinds_runs_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules, model and hybrid by their names alone; without the model its two are left out."""
    monkeypatch.chdir(tmp_path)
    prices = [100, 100.5, 101.2, 100.9, 101.6, 102.0, 102.5, *[102.5] * 12, 106, 111, 120]
    blind, whole = pt.StrategyRunnerService(), pt.StrategyRunnerService()
    blind.register_from_config(HARNESS[0])
    for row in HARNESS[1:]:
        with pytest.warns(StrategyWarning, match="own.onnx"):
            blind.register_from_config(row)
    (tmp_path / "models").mkdir()
    shutil.copy(shipped_models() / "momentum.onnx", tmp_path / "models" / "own.onnx")
    for row in HARNESS:
        whole.register_from_config(row)
    rules = spoken(blind, prices)
    every = spoken(whole, prices)

    assert ["ml_momentum-one", "hybrid_momentum-one"] == list(blind.skipped)
    assert [4, 5, 6] == [n for n, _, _ in rules][:3]
    assert (4, "BUY", "101.6") == rules[0]
    assert {} == whole.skipped
    by_id = {one.strategy_id: one.signals for one in whole.report().executors}
    assert by_id["momentum-one"] == len(rules)
    assert by_id["ml_momentum-one"] > 0
    assert by_id["hybrid_momentum-one"] >= by_id["ml_momentum-one"]
    assert sum(by_id.values()) == len(every)
