"""RSI bands against Wilder's averages written from their definition, at every prefix."""

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.compose.plans import prepare
from parity.core.engine import Engine
from parity.kernels.smoothing import LARGEST
from parity.model.effects import Failure
from parity.model.errors import ConfigError
from parity.model.values import StrategyConfig
from parity.settings.strategies import spec_of
from parity.strategies.rules import rsi_bands_kernel
from parity.testing.generators import TABLE, cut, dummy_batch

SMALL = {"lookback_periods": 3, "lower": 40, "upper": 60, "position_size": 2}


def effects_of(prices: list[int], sizes: Any = (), **parameters: Any) -> list[Any]:
    """Return what follows from prices in cents."""
    config = StrategyConfig("r", "rsi_bands_kernel", {**SMALL, **parameters})
    engine = Engine(TABLE, prepare([spec_of(config)]).plans)
    events = dummy_batch(len(prices), price_int=prices)
    return [e for batch in cut(events, sizes) for e in engine.process(batch)]


def said(prices: list[int], sizes: Any = (), **parameters: Any) -> list[Any]:
    """Return the candidates over prices in cents."""
    effects = effects_of(prices, sizes, **parameters)
    return [e.candidate for e in effects if hasattr(e, "candidate")]


def wilder(values: list[int], window: int, number: Any) -> list[Any]:
    """Return Wilder's averages from the first full window on, in one kind of number."""
    found = [number(sum(values[:window])) / window]
    for value in values[window:]:
        found.append((found[-1] * (window - 1) + number(value)) / window)
    return found


def returns(prices: list[int], number: Any) -> list[tuple[int, int, Any]]:
    """Return (seq, side, RSI) of every way back from beyond a band, window 3, bands 40 and 60."""
    changes = [b - a for a, b in pairwise(prices)]
    gains = wilder([max(c, 0) for c in changes], 3, number)
    losses = wilder([max(-c, 0) for c in changes], 3, number)
    found, before = [], 0
    for n, (up, down) in enumerate(zip(gains, losses, strict=True)):
        rsi = number(100) * up / (up + down) if up + down else number(50)
        zone = (rsi >= 60) - (rsi <= 40)
        if before and zone != before:
            found.append((n + 4, -before, rsi))
        before = zone
    return found


@given(
    prices=st.lists(
        st.integers(9_990, 10_010) | st.integers(-3, 3) | st.integers(-LARGEST, LARGEST),
        min_size=4,
        max_size=60,
    ),
    sizes=st.lists(st.integers(1, 9), max_size=9),
)
def test_it_comes_back_where_the_definition_does(prices: list[int], sizes: list[int]) -> None:
    """In floats of the same order to the bit, at any cut; so every prefix is the whole's."""
    found = said(prices, sizes)

    assert returns(prices, float) == [(c.seq, c.side, c.metadata["rsi"]) for c in found]
    for c in found:
        assert (1.0, 2.0, prices[c.seq - 1] / 100) == (c.confidence, c.quantity, c.price)


def test_a_swing_comes_back_where_exact_numbers_do() -> None:
    """Away from the bands floats say what fractions say; a band itself is beyond."""
    prices = [100, 99, 98, 97, 96, 104, 112, 100, 80, 70, 95]
    found = [(c.seq, c.side) for c in said(prices)]

    assert [(6, 1), (8, -1), (11, 1)] == found
    assert found == [(seq, side) for seq, side, _ in returns(prices, Fraction)]
    assert [] == said([100, 101, 102, 103, 104], upper=100)  # 100 is at the band, and stays
    assert [(5, -1)] == [(c.seq, c.side) for c in said([100, 101, 102, 103, 102], upper=100)]


def test_no_move_and_no_warmth_say_nothing() -> None:
    """Equal prices are at 50, and before the averages are warm nothing is beyond."""
    assert [] == said([100] * 40)
    assert [] == said([100, 90, 80])


def test_a_price_beyond_the_largest_is_an_error() -> None:
    """A difference that float64 would round is refused, at its tick alone."""
    errors = [
        [e.seq for e in effects_of([1, 2, 3, top, 5]) if isinstance(e, Failure)]
        for top in (LARGEST, -LARGEST, LARGEST + 1, -LARGEST - 1)
    ]

    assert [[], [], [4], [4]] == errors


def test_words_defaults_and_refusals() -> None:
    """What it says reads well, and a wrong parameter is named."""
    kernel = rsi_bands_kernel.create({})
    words = "RSI 14 back above 30: 31.25"

    assert (words, {"rsi": 31.25}) == kernel.describe({"side": 1, "rsi": 31.25})
    assert "RSI 14 back below 70: 31.25" == kernel.describe({"side": -1, "rsi": 31.25})[0]
    assert (15, "rsi_bands") == (kernel.history, kernel.name)
    with pytest.raises(ConfigError, match=r"parameters.lower: expected below upper \(70"):
        rsi_bands_kernel.create({"lower": 70})
    for wrong in ({"lookback_periods": 0}, {"lower": -1}, {"upper": 101}, {"position_size": 0}):
        with pytest.raises(ConfigError, match=f"parameters.{next(iter(wrong))}"):
            rsi_bands_kernel.create(wrong)
