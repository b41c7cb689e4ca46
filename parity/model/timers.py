"""Timers as a strategy declares them, and what it is told when one is due.

An instant of the executor's detect clock, for each of its instruments. Never here: which instants
a clock has passed (parity.core.timers).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from parity.model.bars import LENGTH_SEC
from parity.model.errors import ConfigError
from parity.model.parameters import in_ns

_DAY_SEC: Final = 86_400


class Every(msgspec.Struct, frozen=True):
    """A timer at equal steps.

    Args:
        seconds: between two instants, 0.001 to a week, in whole nanoseconds.
        offset_sec: the instants are this one of the Unix epoch plus multiples of the step, so
            `Every(86_400, offset_sec=13_500)` is daily at 03:45 UTC.

    Raises:
        ConfigError: naming the field that is wrong.
    """

    seconds: float
    offset_sec: float = 0

    def __post_init__(self) -> None:
        least, most = LENGTH_SEC
        _check("Every: seconds", self.seconds, least, most)
        _check("Every: offset_sec", self.offset_sec, 0, most)

    @property
    def length_ns(self) -> int:
        """The step in ns."""
        return in_ns(self.seconds)

    @property
    def offset_ns(self) -> int:
        """Where steps begin, in ns after the Unix epoch."""
        return in_ns(self.offset_sec)


class AtOpen(msgspec.Struct, frozen=True):
    """A timer where the regular session of the instrument begins; none where it trades 24/7.

    Args:
        offset_sec: moves it, by a day at most: −60 is a minute before.

    Raises:
        ConfigError: `offset_sec` is wrong.
    """

    offset_sec: float = 0

    def __post_init__(self) -> None:
        _check("AtOpen: offset_sec", self.offset_sec, -_DAY_SEC, _DAY_SEC)

    @property
    def offset_ns(self) -> int:
        """How far from the session's beginning, in ns."""
        return in_ns(self.offset_sec)


class AtClose(msgspec.Struct, frozen=True):
    """A timer where the regular session of the instrument ends; none where it trades 24/7.

    The session's last instant lies before its end: what is said with an offset of 0 is said
    outside of it.

    Args:
        offset_sec: moves it, by a day at most: −600 is ten minutes before.

    Raises:
        ConfigError: `offset_sec` is wrong.
    """

    offset_sec: float = 0

    def __post_init__(self) -> None:
        _check("AtClose: offset_sec", self.offset_sec, -_DAY_SEC, _DAY_SEC)

    @property
    def offset_ns(self) -> int:
        """How far from the session's end, in ns."""
        return in_ns(self.offset_sec)


Declared = Every | AtOpen | AtClose


class Timer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A timer that is due, as `on_timer` is shown it.

    Args:
        instrument_token: of the instrument, whose history comes with it.
        due_ns: the instant, ns UTC; what is said is stamped with it.
        number: of the declaration in `timers`, from 0.
        declared: the declaration.
    """

    instrument_token: int
    due_ns: int
    number: int
    declared: Declared


def _check(what: str, value: Any, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ConfigError(f"{what}: expected a number from {least} to {most}, was {value!r}")
