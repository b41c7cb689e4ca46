"""What a processor declares is read at the start, and refused there where it cannot be meant."""

from typing import Any

import pytest

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model.errors import ConfigError
from parity.model.timers import AtClose, AtOpen, Every
from parity.model.values import StrategyConfig
from parity.testing.generators import TABLE


class Timing:
    """A processor with timers."""

    def __init__(self, timers: Any) -> None:
        self.timers = timers

    def get_required_history_length(self) -> int:
        """Return 1."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "timing"

    def process_tick(self, tick: Any, history: Any) -> None:
        """Say nothing."""

    def on_timer(self, timer: Any, history: Any) -> None:
        """Say nothing."""


def start(build: Any) -> Engine:
    """Return an engine with it."""
    return Engine(TABLE, [ExecutorPlan(StrategyConfig("t", "t"), "paper", build)])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Every(0), r"Every: seconds: expected a number from 0.001 to 604800, was 0"),
        (lambda: Every("1m"), r"Every: seconds: expected a number .* was '1m'"),
        (lambda: Every(1, offset_sec=-1), r"Every: offset_sec: expected .* was -1"),
        (lambda: AtOpen(90_000), r"AtOpen: offset_sec: expected .* from -86400 to 86400"),
        (lambda: AtClose(float("nan")), r"AtClose: offset_sec: expected .* was nan"),
    ],
)
def test_a_wrong_declaration_is_refused(make: Any, words: str) -> None:
    """Naming the field and the value."""
    with pytest.raises(ConfigError, match=words):
        make()


@pytest.mark.parametrize(
    ("timers", "words"),
    [
        ((), r"strategy timing: on_timer without timers"),
        (None, r"strategy timing: on_timer without timers"),
        ((Every(1), 5), r"strategy timing: timers: expected Every, AtOpen or AtClose, was 5"),
        (Every(1), r"strategy timing: timers: expected a list of them, was Every"),
    ],
)
def test_a_wrong_list_is_refused_at_the_start(timers: Any, words: str) -> None:
    """So is a method without timers."""
    made = Timing(())
    made.timers = timers

    with pytest.raises(ConfigError, match=words):
        start(lambda: made)


def test_timers_without_a_method_are_refused() -> None:
    """Where what the attribute holds are timers; anything else of that name is the strategy's."""

    class Deaf(Timing):
        on_timer = None  # type: ignore[assignment] # what is tried

    with pytest.raises(ConfigError, match=r"timers without on_timer\(timer, history\)"):
        start(lambda: Deaf([Every(1)]))
    start(lambda: Deaf([]))
