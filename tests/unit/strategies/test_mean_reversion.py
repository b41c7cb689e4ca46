"""Mean reversion against the batch statistics of Python, at every prefix."""

import statistics
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.compose.plans import prepare
from parity.core.engine import Engine
from parity.model.errors import ConfigError
from parity.model.values import StrategyConfig
from parity.settings.strategies import spec_of
from parity.strategies.rules import mean_reversion
from parity.testing.generators import TABLE, dummy_batch


def said(prices: list[int], **parameters: Any) -> list[Any]:
    """Return the candidates over prices in cents."""
    config = StrategyConfig(
        strategy_id="m", strategy_type="mean_reversion", parameters=dict(parameters)
    )
    engine = Engine(TABLE, prepare([spec_of(config)]).plans)
    effects = engine.process(dummy_batch(len(prices), price_int=prices))
    return [e.candidate for e in effects if hasattr(e, "candidate")]


@given(
    st.integers(2, 6),
    st.lists(st.integers(1, 20) | st.integers(1, 10**15), min_size=6, max_size=40),
)
def test_z_is_that_of_the_population(lookback: int, prices: list[int]) -> None:
    """The z of each signal is (x - mean) / pstdev of its window; others are within the entry."""
    found = {c.seq: c for c in said(prices, lookback_periods=lookback, z_entry=1.0)}
    for n in range(lookback, len(prices) + 1):
        window = [Fraction(p) for p in prices[n - lookback : n]]
        mean = sum(window) / lookback
        variance = sum((x - mean) ** 2 for x in window) / lookback
        deviation = window[-1] - mean
        if variance == 0 or deviation**2 < variance * (1 - Fraction(1, 10**12)):
            assert n not in found
        elif deviation**2 > variance * (1 + Fraction(1, 10**12)):
            z = float(deviation) / statistics.pstdev(window)
            assert z == pytest.approx(found[n].metadata["z"], rel=1e-12)
            assert (-1 if z > 0 else 1) == found[n].side
            assert min(1.0, abs(found[n].metadata["z"]) / 3) == found[n].confidence


def test_the_entry_itself_signals() -> None:
    """Both entries are inclusive: of two different prices the last is exactly one deviation off."""
    assert [(2, -1, 1.0), (3, 1, -1.0)] == [
        (c.seq, c.side, c.metadata["z"]) for c in said([100, 200, 100], lookback_periods=2)
    ]
    assert [] == said([100, 200, 100], lookback_periods=2, z_entry=1.0000000000000002)


def test_no_deviation_no_signal() -> None:
    """Equal prices have no z, however small the entry."""
    assert [] == said([7] * 30, lookback_periods=3, z_entry=1e-9)


def test_defaults_and_refusals() -> None:
    """The defaults are those of the documents, and a wrong parameter is named."""
    defaults = {name: p.default for name, p in mean_reversion.PARAMETERS.items()}

    assert {"lookback_periods": 20, "z_entry": 1.0, "position_size": 100} == defaults
    assert 20 == mean_reversion.create({}).get_required_history_length()
    for wrong in ({"lookback_periods": 1}, {"z_entry": 0}, {"position_size": -1}, {"z": 2}):
        with pytest.raises(ConfigError, match=f"parameters.{next(iter(wrong))}"):
            mean_reversion.create(wrong)
