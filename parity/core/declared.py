"""What a processor declares that it wants to be told and shown: bars, timers, parameters.

Read once, when an executor is made. Never here: telling it.
"""

from __future__ import annotations

import inspect
from typing import Any, Final

from parity.core.asked import name_of
from parity.model.bars import Bars
from parity.model.errors import ConfigError
from parity.model.timers import AtClose, AtOpen, Declared, Every

TICK: Final = "process_tick"
BAR: Final = "process_bar"
TIMER: Final = "on_timer"
_TIMERS: Final = (Every, AtOpen, AtClose)
_NONE: Final[frozenset[str]] = frozenset()


def parameters_of(processor: Any) -> dict[str, frozenset[str]]:
    """Return the names of the parameters of each method in which it is told something."""
    found = {}
    for name in (TICK, BAR, TIMER):
        method = getattr(processor, name, None)
        found[name] = frozenset(inspect.signature(method).parameters) if method else _NONE
    return found


def is_aware(processor: Any) -> bool:
    """Say whether a processor asks to see its portfolio, in any of its methods."""
    return any("portfolio" in names for names in parameters_of(processor).values())


def declared_bars(processor: Any) -> Bars | None:
    """Return the bars a processor asks for, or None.

    Raises:
        ConfigError: it has one of `process_bar` and `bars` without the other.
    """
    bars, takes = getattr(processor, "bars", None), getattr(processor, BAR, None) is not None
    if not takes and not isinstance(bars, Bars):
        return None  # an attribute of that name may be anything
    if takes and isinstance(bars, Bars):
        return bars
    missing = "process_bar(bar, history)" if not takes else "bars = Bars(seconds=…)"
    raise ConfigError(
        f"strategy {name_of(processor)}: bars without {missing}",
        cure="have both, or neither (parity.model.bars.Bars)",
    )


def declared_timers(processor: Any) -> tuple[Declared, ...]:
    """Return the timers a processor asks for; none where it has neither list nor method.

    Raises:
        ConfigError: it has one of `on_timer` and `timers` without the other, or something else
            stands in the list.
    """
    timers, takes = getattr(processor, "timers", None), getattr(processor, TIMER, None) is not None
    who = f"strategy {name_of(processor)}"
    cure = "timers = (Every(seconds=…),) and on_timer(timer, history) (parity.model.timers)"
    if not takes:
        if is_timers(timers):
            raise ConfigError(f"{who}: timers without on_timer(timer, history)", cure=cure)
        return ()  # an attribute of that name may be anything
    if isinstance(timers, _TIMERS):
        kind = type(timers).__name__
        raise ConfigError(f"{who}: timers: expected a list of them, was {kind}", cure=cure)
    if not isinstance(timers, list | tuple) or not timers:
        raise ConfigError(f"{who}: on_timer without timers", cure=cure)
    for one in timers:
        if not isinstance(one, _TIMERS):
            what = "timers: expected Every, AtOpen or AtClose"
            raise ConfigError(f"{who}: {what}, was {one!r}", cure=cure)
    return tuple(timers)


def is_timers(value: Any) -> bool:
    """Say whether a value declares a timer, or several and nothing else."""
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(one, _TIMERS) for one in value)
    return isinstance(value, _TIMERS)


def is_declaration(value: Any) -> bool:
    """Say whether an attribute's value only declares what its processor asks for: no state."""
    return isinstance(value, Bars) or is_timers(value)
