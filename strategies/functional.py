"""Strategies written as one function: `@strategy("dip", history=50)`.

The function takes `(tick, history, *, parameters…)`, with defaults for its parameters and, where
it names them, `rng` for the tick's random stream and `portfolio`. It keeps no state, so any
checkpoint fits it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from parity.model.errors import ConfigError
from parity.model.parameters import Parameter, check_parameters
from parity.model.values import MarketTick, SignalResult

_RESERVED: Final = ("rng", "portfolio")


class FunctionStrategy(msgspec.Struct, frozen=True):
    """A decorated function; calling it with parameters gives a configured one.

    Args:
        given: parameters set so far; the others keep the function's defaults.
    """

    name: str
    function: Callable[..., SignalResult | None]
    history: int
    on: str = "trades"
    given: dict[str, Any] = {}

    __parity_strategy__ = True

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters with their values."""
        return check_parameters(declared(self.function), self.given)

    def __call__(self, **parameters: Any) -> FunctionStrategy:
        """Return the same strategy with other parameters; raises ConfigError on an unknown one."""
        given = {**self.given, **parameters}
        check_parameters(declared(self.function), given)
        return msgspec.structs.replace(self, given=given)

    def create(self, parameters: Mapping[str, Any]) -> FunctionProcessor:
        """Make the processor; raises ConfigError naming a wrong parameter."""
        given = {**self.given, **parameters}
        return FunctionProcessor(self, check_parameters(declared(self.function), given))


class FunctionProcessor:
    """The processor around a function."""

    def __init__(self, spec: FunctionStrategy, parameters: Mapping[str, Any]) -> None:
        self._spec = spec
        self._parameters = dict(parameters)
        asked = inspect.signature(spec.function).parameters
        forms: dict[tuple[bool, ...], Callable[..., SignalResult | None]] = {
            (False, False): self._plain,
            (True, False): self._with_rng,
            (False, True): self._with_portfolio,
            (True, True): self._with_both,
        }
        # bound here, so that a tick costs no further look-up; the engine reads the signature
        self.process_tick = forms[tuple(name in asked for name in _RESERVED)]

    def get_required_history_length(self) -> int:
        """Return the declared history."""
        return self._spec.history

    def supports_instrument(self, token: int) -> bool:
        """Say yes: the configuration names the instruments."""
        return True

    def get_strategy_name(self) -> str:
        """Return the declared name."""
        return self._spec.name

    def snapshot(self) -> dict[str, Any]:
        """Return nothing: a function keeps no state."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take nothing back."""

    def _plain(self, tick: MarketTick, history: Any) -> SignalResult | None:
        return self._spec.function(tick, history, **self._parameters)

    def _with_rng(self, tick: MarketTick, history: Any, rng: Any) -> SignalResult | None:
        return self._spec.function(tick, history, rng=rng, **self._parameters)

    def _with_portfolio(self, tick: MarketTick, history: Any, portfolio: Any) -> Any:
        return self._spec.function(tick, history, portfolio=portfolio, **self._parameters)

    def _with_both(self, tick: MarketTick, history: Any, portfolio: Any, rng: Any) -> Any:
        more = {"portfolio": portfolio, "rng": rng, **self._parameters}
        return self._spec.function(tick, history, **more)


def strategy(
    name: str, *, history: int = 1, on: str = "trades"
) -> Callable[[Callable[..., SignalResult | None]], FunctionStrategy]:
    """Make a strategy of a function ``(tick, history, *, parameters…) -> SignalResult | None``.

    Args:
        name: what it is called in a run.
        history: ticks of one instrument it is shown, the current one counted.
        on: "trades" or "quotes".

    Raises:
        ConfigError: the name is empty, or a parameter has no default.
    """
    if not isinstance(name, str) or not name:
        raise ConfigError(
            f"strategy: expected a name, was {name!r}",
            cure='write @strategy("my_name", history=20)',
        )
    if not isinstance(history, int) or history < 1:
        raise ConfigError(f"strategy {name}: history: expected 1 or more ticks, was {history!r}")

    def wrap(function: Callable[..., SignalResult | None]) -> FunctionStrategy:
        _check_arguments(name, function)
        declared(function)
        return FunctionStrategy(name, function, history, on)

    return wrap


def _check_arguments(name: str, function: Callable[..., Any]) -> None:
    taken = [
        argument.name
        for argument in inspect.signature(function).parameters.values()
        if argument.kind in (argument.POSITIONAL_ONLY, argument.POSITIONAL_OR_KEYWORD)
        and argument.name not in _RESERVED
    ]
    if len(taken) != 2:
        raise ConfigError(
            f"strategy {name}: expected a function of (tick, history), was ({', '.join(taken)})",
            cure=f"write def {function.__name__}(tick, history, *, parameter=default)",
        )


def declared(function: Callable[..., Any]) -> dict[str, Parameter]:
    """Return the parameters a function declares by its keyword-only arguments."""
    found: dict[str, Parameter] = {}
    for name, argument in inspect.signature(function).parameters.items():
        if argument.kind is not inspect.Parameter.KEYWORD_ONLY or name in _RESERVED:
            continue
        if argument.default is inspect.Parameter.empty:
            raise ConfigError(
                f"strategy function {function.__name__}: parameter {name} has no default",
                cure=f"write {name}=… behind the *",
            )
        kind = {bool: "bool", int: "any", float: "float", str: "str"}.get(
            type(argument.default), "any"
        )
        found[name] = Parameter(kind, argument.default)
    return found
