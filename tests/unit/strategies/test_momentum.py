"""Momentum against its formula in exact arithmetic, in both tiers, and its defaults."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.compose.plans import prepare
from parity.core.engine import Engine
from parity.model.errors import ConfigError
from parity.model.values import SignalResult, StrategyConfig
from parity.settings.strategies import spec_of
from parity.strategies.rules import momentum, momentum_kernel
from parity.testing.generators import TABLE, dummy_batch

LOOKBACK = 4


def said(kind: str, prices: list[int], **parameters: Any) -> list[Any]:
    """Return the candidates of a momentum strategy over prices in cents."""
    config = StrategyConfig(
        strategy_id="m",
        strategy_type=kind,
        parameters={"lookback_periods": LOOKBACK, **parameters},
    )
    engine = Engine(TABLE, prepare([spec_of(config)]).plans)
    effects = engine.process(dummy_batch(len(prices), price_int=prices))
    return [e.candidate for e in effects if hasattr(e, "candidate")]


@pytest.mark.parametrize("kind", ["momentum", "momentum_kernel"])
@given(prices=st.lists(st.integers(9_900, 10_100), min_size=LOOKBACK, max_size=60))
def test_it_is_the_change_over_the_window(kind: str, prices: list[int]) -> None:
    """A signal stands exactly where the exact change is beyond the threshold, with its side."""
    threshold = 0.005
    expected = []
    for n in range(LOOKBACK - 1, len(prices)):
        start = prices[n - LOOKBACK + 1]  # lookback - 1 intervals back
        change = Fraction(prices[n] - start, start)
        if abs(change) > Fraction(threshold):
            expected.append((n + 1, 1 if change > 0 else -1, float(change)))
    found = said(kind, prices, threshold=threshold)

    assert [e[:2] for e in expected] == [(c.seq, c.side) for c in found]
    for (_, _, change), one in zip(expected, found, strict=True):
        assert change == pytest.approx(one.metadata["change"], rel=1e-9)
        assert min(1.0, 5 * abs(one.metadata["change"])) == one.confidence
        assert prices[one.seq - 1] / 100 == one.price


@pytest.mark.parametrize("kind", ["momentum", "momentum_kernel"])
def test_the_threshold_itself_is_not_beyond(kind: str) -> None:
    """Both sides are strict: a change of exactly the threshold says nothing."""
    for last, sides in ((15_000, []), (15_001, [1]), (5_000, []), (4_999, [-1])):
        prices = [10_000, 10_000, 10_000, last]

        assert sides == [c.side for c in said(kind, prices, threshold=0.5)]


@pytest.mark.parametrize("kind", ["momentum", "momentum_kernel"])
def test_a_window_that_starts_at_nothing_says_nothing(kind: str) -> None:
    """A start of zero or less has no change."""
    assert [] == said(kind, [0, 100, 100, 100], threshold=0.0)
    assert [] == said(kind, [-100, 100, 100, 100], threshold=0.0)
    assert [1] == [c.side for c in said(kind, [1, 100, 100, 100], threshold=0.0)]


def test_confidence_ends_at_one() -> None:
    """Confidence is 5 |change|, one at most."""
    found = said("momentum", [100, 100, 100, 110, 100, 100, 1_000], threshold=0.0)

    assert [0.5, 1.0] == [pytest.approx(c.confidence) for c in (found[0], found[-1])]


@pytest.mark.parametrize("module", [momentum, momentum_kernel])
def test_defaults_and_refusals(module: Any) -> None:
    """The defaults are those of the documents, and a wrong parameter is named."""
    defaults = {name: p.default for name, p in module.PARAMETERS.items()}

    assert {"lookback_periods": 20, "threshold": 0.01, "position_size": 100} == defaults
    assert 20 == module.create({}).get_required_history_length()
    assert "momentum" == module.create({}).get_strategy_name()
    for wrong in ({"lookback_periods": 1}, {"threshold": -1}, {"position_size": 0}, {"look": 2}):
        with pytest.raises(ConfigError):
            module.create(wrong)


def test_it_can_be_asked_directly() -> None:
    """Without an engine: a tick and a list will do, as in any runner's tests."""

    class Tick:
        price = 102.0

    class Start:
        price = 100.0

    window = [Start(), *[Tick()] * 19]
    result = momentum.create({}).process_tick(Tick(), window)  # type: ignore[arg-type] # looks alike

    assert isinstance(result, SignalResult)
    assert ("BUY", 0.1, 100) == (
        result.signal_type,
        pytest.approx(result.confidence),
        result.quantity,
    )
