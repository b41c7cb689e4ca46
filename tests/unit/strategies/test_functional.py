"""Strategies written as one function: parameters, random streams, and what is refused."""

from typing import Any

import pytest

import parity as pt
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model.errors import ConfigError
from parity.model.values import SignalResult, StrategyConfig
from parity.testing.generators import TABLE, cut, dummy_batch


@pt.strategy("dip", history=3)
def dip(tick: Any, history: Any, *, drop: float = 0.1, quantity: int = 1) -> SignalResult | None:
    """Buy what fell."""
    if 1 - tick.price / history.price[0] > drop:
        return SignalResult("BUY", 0.8, quantity, tick.price, "dip")
    return None


@pt.strategy("lucky")
def lucky(tick: Any, history: Any, *, rng: Any, odds: float = 0.5) -> SignalResult | None:
    """Buy by chance."""
    return SignalResult("BUY", rng.uniform(), 1, tick.price) if rng.uniform() < odds else None


def said(spec: Any, prices: Any, *, seed: int = 0, sizes: Any = (), **given: Any) -> list[Any]:
    """Return the candidates of a function over prices in cents."""
    config = StrategyConfig(strategy_id=spec.name, strategy_type=spec.name, on=spec.on)
    engine = Engine(TABLE, [ExecutorPlan(config, "paper", lambda: spec.create(given))], seed=seed)
    events = dummy_batch(len(prices), price_int=prices)
    effects = [e for batch in cut(events, sizes) for e in engine.process(batch)]
    return [e.candidate for e in effects if hasattr(e, "candidate")]


def test_a_function_is_asked_once_it_has_its_history() -> None:
    """It sees exactly its history, and its parameters have their defaults."""
    found = said(dip, [200, 190, 170, 160, 200])

    assert [(3, 1.0), (4, 1.0)] == [(c.seq, c.quantity) for c in found]


def test_parameters_are_given_in_either_way() -> None:
    """`dip(drop=…)` and a configuration's parameters reach the function; the latter win."""
    prices = [200, 190, 170, 160, 200]

    assert [] == said(dip(drop=0.5), prices)
    assert [3.0, 3.0] == [c.quantity for c in said(dip(quantity=3), prices)]
    assert 2 == len(said(dip(drop=0.5), prices, drop=0.1))
    assert {"drop": 0.1, "quantity": 1} == dip.parameters
    assert {"drop": 0.2, "quantity": 3} == dip(drop=0.2)(quantity=3).parameters


def test_an_unknown_parameter_is_named() -> None:
    """A typo has its did-you-mean, whether in a call or in a configuration."""
    for make in (lambda: dip(dorp=1), lambda: dip.create({"dorp": 1})):
        with pytest.raises(ConfigError, match=r"dorp: unknown parameter; did you mean 'drop'"):
            make()


def test_random_numbers_belong_to_the_tick() -> None:
    """The stream is that of (seed, strategy, token, tick): batches do not matter, the seed does."""
    prices = [100] * 40
    whole = said(lucky, prices)

    assert 5 < len(whole) < 35
    assert whole == said(lucky, prices, sizes=[7, 1, 12])
    assert [c.confidence for c in whole] != [c.confidence for c in said(lucky, prices, seed=1)]


def test_what_is_no_strategy_is_refused() -> None:
    """A nameless one, one without history, or a parameter without a default."""
    with pytest.raises(ConfigError, match="expected a name"):
        pt.strategy("")
    with pytest.raises(ConfigError, match="expected a name"):
        pt.strategy(lambda tick, history: None)  # type: ignore[arg-type] # @pt.strategy without ()
    with pytest.raises(ConfigError, match="expected 1 or more ticks, was 0"):
        pt.strategy("x", history=0)

    def needy(tick: Any, history: Any, *, drop: float) -> None:
        """Have no default."""

    with pytest.raises(ConfigError, match=r"needy: parameter drop has no default; write drop="):
        pt.strategy("needy")(needy)


def test_a_function_of_other_arguments_is_refused() -> None:
    """One that no tick could ever be given to fails where it is written, not at every tick."""
    with pytest.raises(ConfigError, match=r"of \(tick, history\), was \(tick\)"):

        @pt.strategy("short")
        def short(tick: Any) -> None: ...

    with pytest.raises(ConfigError, match=r"was \(tick, history, drop\)"):

        @pt.strategy("long")
        def long(tick: Any, history: Any, drop: float = 0.1) -> None: ...
