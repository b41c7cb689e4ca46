"""Breakout in both tiers against its formula in exact arithmetic, at every prefix."""

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
from parity.strategies.rules import breakout, breakout_kernel
from parity.testing.generators import TABLE, cut, dummy_batch

KINDS = ("breakout", "breakout_kernel")
PRICES = st.lists(st.integers(9_950, 10_050) | st.integers(-3, 40), min_size=1, max_size=60)


def said(kind: str, prices: list[int], sizes: Any = (), **parameters: Any) -> list[Any]:
    """Return the candidates over prices in cents."""
    config = StrategyConfig("b", kind, dict(parameters))
    engine = Engine(TABLE, prepare([spec_of(config)]).plans)
    events = dummy_batch(len(prices), price_int=prices)
    effects = [e for batch in cut(events, sizes) for e in engine.process(batch)]
    return [e.candidate for e in effects if hasattr(e, "candidate")]


@pytest.mark.parametrize("kind", KINDS)
@given(prices=PRICES, lookback=st.integers(1, 6), threshold=st.sampled_from([0.0, 0.001, 0.01]))
def test_it_is_the_way_out_of_the_range_before(
    kind: str, prices: list[int], lookback: int, threshold: float
) -> None:
    """A signal stands where the exact way out is beyond the threshold, the tick itself left out."""
    found = {c.seq: c for c in said(kind, prices, lookback_periods=lookback, threshold=threshold)}
    for n in range(len(prices)):
        before = prices[max(0, n - lookback) : n]
        one = found.pop(n + 1, None)
        if len(before) < lookback or min(before) <= 0:
            assert one is None
            continue
        up = Fraction(prices[n] - max(before), max(before))
        down = Fraction(min(before) - prices[n], min(before))
        beyond = max(up, down)
        if beyond == 0 or abs(beyond - Fraction(threshold)) < Fraction(1, 10**12):
            continue  # at the threshold itself a float decides; below, it is asked alone
        assert (beyond > Fraction(threshold)) == (one is not None)
        if one is not None:
            assert (1 if up > down else -1) == one.side
            assert float(beyond) == pytest.approx(one.metadata["beyond"], rel=1e-9)
            assert min(1.0, 0.5 + 5 * one.metadata["beyond"]) == one.confidence
            assert prices[n] / 100 == one.price
    assert {} == found


@given(prices=PRICES, lookback=st.integers(1, 9), sizes=st.lists(st.integers(1, 9), max_size=9))
def test_both_tiers_say_the_same(prices: list[int], lookback: int, sizes: list[int]) -> None:
    """Bit for bit, words and metadata included, for any cut."""
    given_ = {"lookback_periods": lookback, "threshold": 0.0005}
    one, other = (said(kind, prices, sizes, **given_) for kind in KINDS)

    assert [c.record for c in one] == [c.record for c in other]
    assert [c.reasoning for c in one] == [c.reasoning for c in other]


@pytest.mark.parametrize("kind", KINDS)
def test_the_tested_tick_is_not_in_its_range(kind: str) -> None:
    """A new high speaks at once, its repetition does not; the edge itself is not beyond."""
    prices = [100, 101, 100, 102, 102, 100, 99, 99]
    found = said(kind, prices, lookback_periods=3, threshold=0.0)

    assert [(4, 1, 1.01), (7, -1, 1.0)] == [(c.seq, c.side, c.metadata["edge"]) for c in found]
    assert [] == said(kind, [100, 100, 100, 150], lookback_periods=3, threshold=0.5)
    assert [4] == [
        c.seq for c in said(kind, [100, 100, 100, 151], lookback_periods=3, threshold=0.5)
    ]


def test_defaults_and_refusals() -> None:
    """The defaults are those of the documents, and a wrong parameter is named."""
    defaults = {name: p.default for name, p in breakout.PARAMETERS.items()}

    assert {"lookback_periods": 20, "threshold": 0.001, "position_size": 100} == defaults
    assert 21 == breakout.create({}).get_required_history_length()
    assert 21 == breakout_kernel.create({}).history
    for module in (breakout, breakout_kernel):
        for wrong in ({"lookback_periods": 0}, {"threshold": -1}, {"position_size": 0}, {"z": 1}):
            with pytest.raises(ConfigError, match=f"parameters.{next(iter(wrong))}"):
                module.create(wrong)


def test_lookbacks_of_a_sweep_share_a_driver() -> None:
    """The ring is a power of two, so many lookbacks have one state dtype."""
    assert 1 == len({breakout_kernel.create({"lookback_periods": n}).state for n in range(1, 33)})
