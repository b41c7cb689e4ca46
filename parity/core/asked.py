"""What a strategy answers about itself, and how an answer that raises, or is none, is refused.

An exception at a tick is another matter: it is counted, and the strategy goes on (`detect`). Here
nothing runs yet, so a refusal names the strategy, the line, and the cure.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from parity.core.found import words_of
from parity.model.errors import ConfigError, ParityError


def asked(who: str, method: str, ask: Callable[[], Any], *, cure: str = "") -> Any:
    """Return what a strategy's method answers.

    Args:
        who: whose, as the refusal begins.
        method: its name, for the refusal.
        ask: calls it.
        cure: what helps; by default to mend the line.

    Raises:
        ConfigError: it raised, or tried to end the program.
    """
    try:
        return ask()
    except ParityError as error:
        raise ConfigError(f"{who}: {method}: {error.message}", cure=cure or error.cure) from error
    except (Exception, SystemExit) as error:  # a strategy may raise anything, sys.exit too
        place = place_of(error)
        raise ConfigError(
            f"{who}: {method} raised {words_of(error)}{place and f' ({place})'}",
            cure=cure or f"mend it; {method} is asked before the first tick",
        ) from error


def place_of(error: BaseException) -> str:
    """Return the last line of Python not our own that an error came through, or ""."""
    step, place = error.__traceback__, ""
    while step is not None:
        module = str(step.tb_frame.f_globals.get("__name__"))
        if not module.startswith("parity.") or module.startswith("parity.strategies."):
            place = f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}"
        step = step.tb_next
    return place


def history_length_of(processor: Any, strategy_id: str) -> int:
    """Return how many ticks a processor wants to see, at least one.

    Raises:
        ConfigError: it raised, or gave no integer.
    """
    method = "get_required_history_length"
    length = asked(f"strategy {strategy_id}", method, processor.get_required_history_length)
    try:
        return max(1, operator.index(length))
    except TypeError:
        raise ConfigError(
            f"strategy {strategy_id}: {method}: expected an integer ≥ 1, was {length!r}",
            cure="say how many ticks of an instrument it wants to see",
        ) from None


def supports(processor: Any, strategy_id: str, token: int) -> bool:
    """Say whether a processor wants an instrument; raises ConfigError where it raises."""
    answer: bool = asked(
        f"strategy {strategy_id}",
        "supports_instrument",
        lambda: bool(processor.supports_instrument(token)),
    )
    return answer


def name_of(processor: Any) -> str:
    """Return a processor's own name, for a message; its class's where it has none to give."""
    try:
        return str(processor.get_strategy_name())
    except (Exception, SystemExit):  # the message is about something else
        return type(processor).__name__
