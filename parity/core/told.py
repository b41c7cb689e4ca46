"""What a processor is told at deadlines of its executor's detect clock: bars that close, timers.

Merged here into one order, and among the ticks. Never here: how bars are made (parity.core.bars),
which timers are due (parity.core.timers), what is said.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from parity.core.declared import BAR, TIMER
from parity.core.found import Found, found_of
from parity.model.timers import Timer

if TYPE_CHECKING:
    from parity.core.bars import BarFeed
    from parity.core.clocks import OwnTimes, Rows
    from parity.core.timers import TimerFeed
    from parity.core.view import View
    from parity.model.bars import Bar


class Told(NamedTuple):
    """One thing a processor is told, before a row.

    Args:
        row: of the segment; 0 where no tick did it.
        due_ns: the deadline.
        token: instrument.
        dense: instrument, by its dense id.
        what: the bar that closes, or the timer that is due.
    """

    row: int
    due_ns: int
    token: int
    dense: int
    what: Bar | Timer

    @property
    def turn(self) -> int:
        """Its place among what is told of the instrument at that deadline: a bar is first."""
        return 1 + self.what.number if isinstance(self.what, Timer) else 0

    @property
    def method(self) -> str:
        """The method in which a processor is told of it."""
        return TIMER if isinstance(self.what, Timer) else BAR


class Feeds:
    """The bars and the timers of one executor.

    Args:
        bars: None where it asks for none.
        timers: likewise.
    """

    def __init__(self, bars: BarFeed | None, timers: TimerFeed | None) -> None:
        self.bars = bars
        self.timers = timers

    def feed(self, times: OwnTimes, view: View, rows: Rows | None) -> list[Told]:
        """Take a segment; return what is told in it, in order.

        Args:
            times: of the ticks of the executor's instruments.
            view: the ticks of its kind.
            rows: its own of them; None is all.
        """
        bars = [] if self.bars is None else self.bars.feed(times, view, rows)
        return _merged(bars, [] if self.timers is None else self.timers.feed(times))

    def advance(self, ns: int) -> list[Told]:
        """Move the clock to an instant that no tick brought; return what is told by then."""
        bars = [] if self.bars is None else self.bars.advance(ns)
        return _merged(bars, [] if self.timers is None else self.timers.advance(ns))

    def next_ns(self) -> int | None:
        """Return the next instant at which something is told, or None."""
        found = [feed.next_ns() for feed in (self.bars, self.timers) if feed is not None]
        return min((ns for ns in found if ns is not None), default=None)

    def snapshot(self) -> dict[str, Any]:
        """Return both as plain values; nothing of what the strategy does not ask for."""
        feeds = {"bars": self.bars, "timers": self.timers}
        return {name: feed.snapshot() for name, feed in feeds.items() if feed is not None}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave."""
        if self.bars is not None:
            self.bars.restore(state["bars"])
        if self.timers is not None:
            self.timers.restore(state["timers"])


def _merged(bars: list[Told], timers: list[Told]) -> list[Told]:
    if not bars or not timers:
        return bars or timers
    return sorted([*bars, *timers], key=_place_of)  # stable: a bar before timers of its end


def _place_of(told: Told) -> tuple[int, int, int]:
    return told[:3]


class Step(NamedTuple):
    """A row of the view; or what is told before it."""

    row: int
    told: Told | None


def steps_of(view: View, rows: Sequence[int], told: Sequence[Told]) -> list[Step]:
    """Return the rows with everything told in its place among them."""
    steps: list[Step] = []
    at = 0
    for one in told:
        before = view.row_at(one.row)  # the view's first row that has not happened by then
        upto = bisect_left(rows, before)
        steps += [Step(row, None) for row in rows[at:upto]]
        at = upto
        steps.append(Step(before, one))
    steps += [Step(row, None) for row in rows[at:]]
    return steps


def found_at(step: Step, said: Any) -> Found:
    """Return what was said at a step, checked and copied; raises ConfigError as found_of()."""
    row, told = step
    if told is None:
        return found_of(row, said)
    return found_of(told.row, said, told.due_ns, told.dense, told.turn)
