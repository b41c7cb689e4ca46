"""Mean reversion in both tiers against the batch statistics of Python, at every prefix."""

import statistics
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.compose.plans import prepare
from parity.core.engine import Engine
from parity.model.effects import Failure
from parity.model.errors import ConfigError
from parity.model.values import StrategyConfig
from parity.settings.strategies import spec_of
from parity.strategies.rules import mean_reversion, mean_reversion_kernel
from parity.testing.generators import TABLE, cut, dummy_batch

KINDS = ("mean_reversion", "mean_reversion_kernel")
TOP = mean_reversion.price_int_max(4)
PRICES = st.lists(
    st.integers(9_995, 10_005) | st.integers(-3, 40) | st.integers(-TOP, TOP), max_size=60
)


def effects_of(kind: str, prices: list[int], sizes: Any = (), **parameters: Any) -> list[Any]:
    """Return what follows from prices in cents."""
    config = StrategyConfig("m", kind, dict(parameters))
    engine = Engine(TABLE, prepare([spec_of(config)]).plans)
    events = dummy_batch(len(prices), price_int=prices)
    return [e for batch in cut(events, sizes) for e in engine.process(batch)]


def said(kind: str, prices: list[int], sizes: Any = (), **parameters: Any) -> list[Any]:
    """Return the candidates over prices in cents."""
    effects = effects_of(kind, prices, sizes, **parameters)
    return [e.candidate for e in effects if hasattr(e, "candidate")]


@pytest.mark.parametrize("kind", KINDS)
@given(
    st.integers(2, 6),
    st.lists(st.integers(1, 20) | st.integers(1, 10**15), min_size=6, max_size=40),
)
def test_z_is_that_of_the_population(kind: str, lookback: int, prices: list[int]) -> None:
    """The z of each signal is (x - mean) / pstdev of its window; others are within the entry."""
    found = {c.seq: c for c in said(kind, prices, lookback_periods=lookback, z_entry=1.0)}
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


@given(prices=PRICES, lookback=st.integers(2, 4), sizes=st.lists(st.integers(1, 9), max_size=9))
def test_both_tiers_say_the_same(prices: list[int], lookback: int, sizes: list[int]) -> None:
    """Bit for bit, words and metadata included, for any cut, up to the largest price."""
    one, other = (
        said(kind, prices, sizes, lookback_periods=lookback, z_entry=0.5) for kind in KINDS
    )

    assert [c.record for c in one] == [c.record for c in other]
    assert [c.reasoning for c in one] == [c.reasoning for c in other]


@pytest.mark.parametrize("kind", KINDS)
def test_a_price_beyond_the_largest_is_an_error(kind: str) -> None:
    """Both tiers refuse the tick whose squares 128 bits might not hold, and none before it."""
    errors = [
        [
            e.seq
            for e in effects_of(kind, [1, 2, 3, top], lookback_periods=4)
            if isinstance(e, Failure)
        ]
        for top in (TOP, -TOP, TOP + 1, -TOP - 1)
    ]

    assert [[], [], [4], [4]] == errors


@pytest.mark.parametrize("kind", KINDS)
def test_the_entry_itself_signals(kind: str) -> None:
    """Both entries are inclusive: of two different prices the last is exactly one deviation off."""
    assert [(2, -1, 1.0), (3, 1, -1.0)] == [
        (c.seq, c.side, c.metadata["z"]) for c in said(kind, [100, 200, 100], lookback_periods=2)
    ]
    assert [] == said(kind, [100, 200, 100], lookback_periods=2, z_entry=1.0000000000000002)


@pytest.mark.parametrize("kind", KINDS)
def test_no_deviation_no_signal(kind: str) -> None:
    """Equal prices have no z, however small the entry."""
    assert [] == said(kind, [7] * 30, lookback_periods=3, z_entry=1e-9)


def test_defaults_and_refusals() -> None:
    """The defaults are those of the documents, and a wrong parameter is named."""
    defaults = {name: p.default for name, p in mean_reversion.PARAMETERS.items()}

    assert {"lookback_periods": 20, "z_entry": 1.0, "position_size": 100} == defaults
    assert 20 == mean_reversion.create({}).get_required_history_length()
    assert 20 == mean_reversion_kernel.create({}).history
    for module in (mean_reversion, mean_reversion_kernel):
        for wrong in ({"lookback_periods": 1}, {"z_entry": 0}, {"position_size": -1}, {"z": 2}):
            with pytest.raises(ConfigError, match=f"parameters.{next(iter(wrong))}"):
                module.create(wrong)
