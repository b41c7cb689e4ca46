"""The EMA cross against averages written from their definition, at every prefix."""

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
from parity.strategies.rules import ema_cross_kernel
from parity.testing.generators import TABLE, cut, dummy_batch

SMALL = {"fast_periods": 2, "slow_periods": 5, "position_size": 3}


def said(prices: list[int], sizes: Any = (), **parameters: Any) -> list[Any]:
    """Return the candidates over prices in cents."""
    config = StrategyConfig("e", "ema_cross_kernel", {**SMALL, **parameters})
    engine = Engine(TABLE, prepare([spec_of(config)]).plans)
    events = dummy_batch(len(prices), price_int=prices)
    effects = [e for batch in cut(events, sizes) for e in engine.process(batch)]
    return [e.candidate for e in effects if hasattr(e, "candidate")]


def averages(prices: list[int], window: int, number: Any) -> list[Any]:
    """Return the averages from the first full window on, in one kind of number."""
    found = [number(sum(prices[:window])) / window]
    for price in prices[window:]:
        found.append(found[-1] + number(2) / (window + 1) * (number(price) - found[-1]))
    return found


def crosses(prices: list[int], number: Any) -> list[tuple[int, int]]:
    """Return (seq, side) of every change of side; a tie keeps it, the first is no signal."""
    fast, slow = averages(prices, 2, number)[3:], averages(prices, 5, number)
    found, before = [], 0
    for n, (quick, calm) in enumerate(zip(fast, slow, strict=True)):
        side = (quick > calm) - (quick < calm)
        if side and before and side != before:
            found.append((n + 5, side))
        before = side or before
    return found


@given(
    prices=st.lists(
        st.integers(9_990, 10_010) | st.integers(-3, 3) | st.integers(-(2**40), 2**40),
        min_size=5,
        max_size=60,
    ),
    sizes=st.lists(st.integers(1, 9), max_size=9),
)
def test_it_crosses_where_the_definition_does(prices: list[int], sizes: list[int]) -> None:
    """In floats of the same order to the bit, at any cut; so every prefix is the whole's."""
    found = said(prices, sizes)

    assert crosses(prices, float) == [(c.seq, c.side) for c in found]
    for c in found:
        assert (1.0, 3.0, prices[c.seq - 1] / 100) == (c.confidence, c.quantity, c.price)


def test_a_swing_crosses_where_exact_numbers_do() -> None:
    """Away from ties floats say what fractions say: each way, on the tick a person would name."""
    prices = [100] * 5 + [110, 120, 130, 90, 60, 50, 40, 90, 130, 150]
    found = [(c.seq, c.side) for c in said(prices)]

    assert [(9, -1), (13, 1)] == found == crosses(prices, Fraction)


def test_the_first_side_and_a_tie_say_nothing() -> None:
    """Nothing is said before the slow average is warm, by equal prices, or by the first side."""
    assert [] == said([100, 200, 50, 300])
    assert [] == said([100] * 40)
    assert [] == said([100] * 5 + [101, 102, 103])


def test_words_defaults_and_refusals() -> None:
    """What it says reads well, and a wrong parameter is named."""
    kernel = ema_cross_kernel.create({})

    assert ("EMA 20 crossed below EMA 50", {}) == kernel.describe({"side": -1})
    assert (50, "ema_cross") == (kernel.history, kernel.name)
    with pytest.raises(ConfigError, match=r"fast_periods: expected below slow_periods \(50\)"):
        ema_cross_kernel.create({"fast_periods": 50})
    with pytest.raises(ConfigError, match="did you mean 'slow_periods'"):
        ema_cross_kernel.create({"slow_period": 60})
