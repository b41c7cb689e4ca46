"""Where the two tiers of a strategy on exact integers say the same, and where they part."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.compose.plans import prepare
from parity.core.engine import Engine
from parity.model.effects import Failure
from parity.model.values import StrategyConfig
from parity.settings.strategies import spec_of
from parity.strategies.rules import mean_reversion, sma_cross
from parity.testing.generators import TABLE, cut, dummy_batch

WINDOW = 4
KINDS = ("mean_reversion", "sma_cross")
TOPS = {
    "mean_reversion": mean_reversion.price_int_max(WINDOW),
    "sma_cross": sma_cross.price_int_max(WINDOW),
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "mean_reversion": {"lookback_periods": WINDOW, "z_entry": 0.9},
    "sma_cross": {"fast_periods": 2, "slow_periods": WINDOW},
}


def said(kind: str, prices: list[int], sizes: Any = ()) -> tuple[list[Any], list[int]]:
    """Return the candidates of a tier, words included, and the ticks that were errors."""
    config = StrategyConfig("m", kind, dict(PARAMETERS[kind.removesuffix("_kernel")]))
    engine = Engine(TABLE, prepare([spec_of(config)]).plans)
    events = dummy_batch(len(prices), price_int=prices)
    effects: list[Any] = [e for batch in cut(events, sizes) for e in engine.process(batch)]
    candidates = [e.candidate for e in effects if hasattr(e, "candidate")]
    failures = [e.seq for e in effects if isinstance(e, Failure)]
    return [(c.seq, c.record, c.reasoning) for c in candidates], failures


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_the_tiers_are_one_up_to_the_largest_price(kind: str, data: Any) -> None:
    """Bit for bit and without an error, warm-up included, for any cut."""
    top = TOPS[kind]
    prices = data.draw(st.lists(st.integers(1, 9) | st.integers(-top, top), max_size=40))
    sizes = data.draw(st.lists(st.integers(1, 9), max_size=9))

    one, other = said(kind, prices), said(f"{kind}_kernel", prices, sizes)

    assert one == other
    assert [] == one[1]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_larger_price_parts_them_for_one_window(kind: str, data: Any) -> None:
    """It is an error in both, but in warm-up of the kernel alone; a window later they are one.

    The history that a processor looks at holds the tick, the kernel's state was rolled back. A
    side that differs behind it is the same again where the averages next do.
    """
    top, small = TOPS[kind], st.integers(1, 9)
    before = data.draw(st.lists(small, max_size=12))
    large = data.draw(st.sampled_from([top + 1, -top - 1]))
    after = [*data.draw(st.lists(small, min_size=WINDOW, max_size=WINDOW)), 1, 2, 3]
    prices = [*before, large, *after, *data.draw(st.lists(small, max_size=20))]
    at, settled = len(before) + 1, len(before) + 1 + len(after)

    one, other = said(kind, prices), said(f"{kind}_kernel", prices)

    assert [at] == other[1]
    assert ([at] if at >= WINDOW else []) == one[1]
    for found in zip(*([c for c in tier[0] if c[0] < at] for tier in (one, other)), strict=True):
        assert found[0] == found[1]
    later = [[c for c in tier[0] if c[0] > settled] for tier in (one, other)]
    assert later[0] == later[1]


def test_between_they_say_other_things() -> None:
    """What the documents say of the window behind a refused price: they do part there."""
    prices = [1, 2, 3, 9, TOPS["mean_reversion"] + 1, 5, 1, 9, 2, 9, 1]

    one, other = said("mean_reversion", prices), said("mean_reversion_kernel", prices)

    assert one[1] == other[1] == [5]
    assert [4, 10, 11] == [c[0] for c in one[0]]
    assert [4, 7, 8, 10, 11] == [c[0] for c in other[0]]
