"""The timers of one executor: which instants its detect clock passes, and before which row.

An instant is due for each of the executor's instruments, in the order of their tokens. Kept are the
clock and the newest tick's time and nothing else, so no heartbeat changes what is due by a tick.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from parity.core.told import Told
from parity.core.view import NO_TIME
from parity.kernels.bars import bucket_of
from parity.model.sessions import REGULAR
from parity.model.timers import AtClose, AtOpen, Every, Timer

if TYPE_CHECKING:
    from parity.core.clocks import OwnTimes
    from parity.model.sessions import SessionClock
    from parity.model.timers import Declared

IDLE_MAX: Final = 1_000  # steps of a timer that are due behind a tick, while no other comes


class _Steps(NamedTuple):
    """Instants of `Every`: multiples of a length, moved."""

    number: int
    length: int
    offset: int

    def behind(self, ns: int) -> int:
        """Return the number of the first one behind an instant."""
        return bucket_of(ns, self.length, self.offset) + 1

    def at(self, step: int) -> int:
        """Return the instant of a number."""
        return step * self.length + self.offset


class _Edges(NamedTuple):
    """Instants of `AtOpen` or `AtClose`, of the instruments of one calendar."""

    number: int
    tokens: list[int]
    instants: list[int]

    def behind(self, ns: int) -> int:
        """Return the place of the first one behind an instant."""
        return bisect_right(self.instants, ns)


class TimerFeed:
    """Finds the instants that the clock passes.

    Args:
        declared: the strategy's timers.
        tokens: instrument token by dense id.
        clocks: session of an instrument, by token; those that trade round the clock have none.
    """

    def __init__(
        self,
        declared: Sequence[Declared],
        tokens: Mapping[int, int],
        clocks: Mapping[int, SessionClock],
    ) -> None:
        self._declared = declared
        self._dense = {token: dense for dense, token in tokens.items()}
        self._steps: list[_Steps] = []
        self._edges: list[_Edges] = []
        for number, one in enumerate(declared):
            if isinstance(one, Every):
                self._steps.append(_Steps(number, one.length_ns, one.offset_ns))
                continue
            for clock in {id(clock): clock for clock in clocks.values()}.values():
                mine = [token for token, its in clocks.items() if its is clock]
                self._edges.append(_Edges(number, mine, _instants(clock, one)))
        self._clock = NO_TIME  # the detect clock
        self._newest = NO_TIME  # time of an own tick

    def feed(self, times: OwnTimes) -> list[Told]:
        """Take the times of the executor's ticks of a segment; return what is due in it."""
        found: list[Told] = []
        last = times.last()
        if self._clock == NO_TIME:
            if last == NO_TIME:
                return found
            _, newest = times.both()
            self._clock = self._newest = int(newest[newest.searchsorted(NO_TIME, side="right")])
        while (due_ns := self._next()) is not None and due_ns <= last:
            own, newest = times.both()
            at = int(newest.searchsorted(due_ns))
            if at:
                self._reach(int(newest[at - 1]))
            found += self._passed(int(newest[at]), int(own[at]))
            self._reach(int(newest[at]))
        self._reach(last)
        return found

    def _reach(self, ns: int) -> None:
        self._clock, self._newest = max(self._clock, ns), max(self._newest, ns)

    def advance(self, ns: int) -> list[Told]:
        """Move the clock to an instant that no tick brought; return what is due by then.

        Before the first tick there is nothing to move.
        """
        if self._clock == NO_TIME or ns <= self._clock:
            return []
        found = self._passed(ns, 0)
        self._clock = ns
        return found

    def _passed(self, until_ns: int, row: int) -> list[Told]:
        """Return what is due behind the clock and up to an instant, in order."""
        due: list[tuple[int, int, int]] = []
        for steps in self._steps:
            last = min(steps.behind(until_ns), self._end(steps))
            for step in range(steps.behind(self._clock), last):
                due += [(steps.at(step), token, steps.number) for token in self._dense]
        for edges in self._edges:
            for instant in edges.instants[edges.behind(self._clock) : edges.behind(until_ns)]:
                due += [(instant, token, edges.number) for token in edges.tokens]
        return [
            Told(row, ns, token, self._dense[token], self._timer(ns, token, number))
            for ns, token, number in sorted(due)
        ]

    def _timer(self, ns: int, token: int, number: int) -> Timer:
        declared = self._declared[number]
        return Timer(instrument_token=token, due_ns=ns, number=number, declared=declared)

    def _end(self, steps: _Steps) -> int:
        """Return the number of the first step that is not due any more if no tick comes."""
        return steps.behind(self._newest) + IDLE_MAX

    def _next(self) -> int | None:
        """Return the first instant behind the clock, however long ago the last tick was."""
        found = [steps.at(steps.behind(self._clock)) for steps in self._steps]
        return min([*found, *self._next_edges()], default=None)

    def _next_edges(self) -> list[int]:
        places = ((edges.instants, edges.behind(self._clock)) for edges in self._edges)
        return [instants[at] for instants, at in places if at < len(instants)]

    def next_ns(self) -> int | None:
        """Return the next instant that is due if no tick comes; None where none is."""
        if self._clock == NO_TIME:
            return None
        first = ((steps, steps.behind(self._clock)) for steps in self._steps)
        found = [steps.at(step) for steps, step in first if step < self._end(steps)]
        return min([*found, *self._next_edges()], default=None)

    def snapshot(self) -> list[int]:
        """Return the clock and the newest tick's time."""
        return [self._clock, self._newest]

    def restore(self, state: Sequence[int]) -> None:
        """Take back what snapshot() gave."""
        self._clock, self._newest = state


def _instants(clock: SessionClock, declared: AtOpen | AtClose) -> list[int]:
    """Return where regular sessions begin, or end, each moved; rising."""
    regular = [(begins, ends) for begins, ends, phase in clock.rows if phase == REGULAR]
    opens = isinstance(declared, AtOpen)
    return [(begins if opens else ends) + declared.offset_ns for begins, ends in regular]
