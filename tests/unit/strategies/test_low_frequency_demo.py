"""The low-frequency demo: intervals, days and sides by the ticks' own clock."""

from typing import Any

import pytest

from parity.compose.plans import prepare
from parity.core.engine import Engine
from parity.model.errors import ConfigError
from parity.model.values import StrategyConfig
from parity.settings.strategies import spec_of
from parity.strategies.rules import low_frequency_demo
from parity.testing.generators import ONE, SECOND_NS, TABLE, TWO, cut, dummy_batch

MIDNIGHT_NS = 1_736_208_000 * SECOND_NS  # 2025-01-07 00:00:00 UTC


def said(at: list[float], tokens: Any = ONE, sizes: Any = (), **parameters: Any) -> list[Any]:
    """Return the candidates over ticks at seconds from midnight."""
    config = StrategyConfig(
        strategy_id="d", strategy_type="low_frequency_demo", parameters=dict(parameters)
    )
    engine = Engine(TABLE, prepare([spec_of(config)]).plans)
    ts_event = [MIDNIGHT_NS + round(s * SECOND_NS) for s in at]
    events = dummy_batch(len(at), ts_event=ts_event, instrument_token=tokens)
    effects = [e for batch in cut(events, sizes) for e in engine.process(batch)]
    return [e.candidate for e in effects if hasattr(e, "candidate")]


@pytest.mark.parametrize("sizes", [(), (1,) * 9, (3,)])
def test_one_signal_an_interval(sizes: Any) -> None:
    """The first tick signals, then the first at or behind the interval's end; late ticks do not."""
    at = [0, 1, 899.999999999, 900, 1799, 1000, 1800, 1900, 3600]

    assert [1, 4, 7, 9] == [c.seq for c in said(at, sizes=sizes)]


def test_instruments_do_not_share_an_interval() -> None:
    """Each token has its own interval; an odd one sells, an even one buys."""
    found = said([0, 1, 2, 900, 901], [ONE, TWO, ONE, ONE, TWO])

    assert [(1, -1), (2, 1), (4, -1), (5, 1)] == [(c.seq, c.side) for c in found]
    assert {0.5} == {c.confidence for c in found}
    assert {1.0} == {c.quantity for c in found}


@pytest.mark.parametrize(("side", "number"), [("BUY", 1), ("SELL", -1)])
def test_the_side_can_be_fixed(side: str, number: int) -> None:
    """With a side given, all tokens get it."""
    assert {number} == {c.side for c in said([0, 1], [ONE, TWO], side=side)}


def test_the_daily_count_starts_anew_at_midnight() -> None:
    """A day has at most its number of signals; the first tick of the next UTC day signals again."""
    at = [-4000, -3000, -2000, -0.000000001, 0, 1000, 2000, 3000, 86_399, 86_400]
    found = said(at, max_daily_signals_per_instrument=2)

    assert [1, 2, 5, 6, 10] == [c.seq for c in found]


def test_the_interval_holds_over_midnight() -> None:
    """A new day gives a new count, not a new interval."""
    assert [1, 3] == [c.seq for c in said([-10, 10, 890])]


def test_defaults_and_refusals() -> None:
    """The defaults are those of the documents, and a wrong parameter is named."""
    defaults = {name: p.default for name, p in low_frequency_demo.PARAMETERS.items()}

    assert defaults == {
        "min_interval_seconds": 900,
        "max_daily_signals_per_instrument": None,
        "side": "auto",
        "quantity": 1,
    }
    assert 1 == low_frequency_demo.create({}).get_required_history_length()
    for wrong in ({"side": "buy"}, {"min_interval_seconds": 0}, {"quantity": 0}, {"every": 1}):
        with pytest.raises(ConfigError, match=f"parameters.{next(iter(wrong))}"):
            low_frequency_demo.create(wrong)
