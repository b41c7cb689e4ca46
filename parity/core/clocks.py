"""The times of an executor's own ticks inside a segment: what its clocks are moved by.

Own are all delivered ticks of its instruments, whichever kind it is fed with: a quote may fill an
order of a strategy that runs on trades, so what is due by then has to come first. Carried from
segment to segment is one number, the largest time so far, which the executor keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from parity.core.view import NO_TIME

if TYPE_CHECKING:
    from parity.core.view import Segment

Rows = npt.NDArray[np.int64]


class Overtaking:
    """Counts the own ticks that a heartbeat overtook: those behind it while it leads the clock."""

    __slots__ = ("beat_ns", "count", "tick_ns")

    def __init__(self) -> None:
        self.beat_ns = NO_TIME  # newest heartbeat
        self.tick_ns = NO_TIME  # largest time of an own tick
        self.count = 0

    def beat(self, ns: int) -> None:
        """Take a heartbeat."""
        self.beat_ns = max(self.beat_ns, ns)

    def leave(self, times: OwnTimes) -> None:
        """Take the executor's ticks of a segment."""
        if self.tick_ns < self.beat_ns:
            _, newest = times.both()
            self.count += int(newest.searchsorted(self.beat_ns))
        last = times.last()
        if last > self.tick_ns:
            self.tick_ns = last

    def snapshot(self) -> list[int]:
        """Return everything as plain values."""
        return [self.beat_ns, self.tick_ns, self.count]

    def restore(self, state: list[int]) -> None:
        """Take back what snapshot() gave."""
        self.beat_ns, self.tick_ns, self.count = state


class OwnTimes:
    """The executor's own rows of a segment, and the largest time up to each of them.

    Args:
        segment: where to look.
        tokens: instrument token by dense id.
        takes_all: every instrument of the table is among them.
    """

    __slots__ = ("_last", "_made", "_rows", "_segment", "_takes_all", "_tokens")

    def __init__(self, segment: Segment, tokens: Mapping[int, int], takes_all: bool) -> None:
        self._segment = segment
        self._tokens = tokens
        self._takes_all = takes_all
        self._rows: Rows | None = None
        self._made: tuple[Rows, Rows] | None = None
        self._last: int | None = None

    def at(self, row: int) -> int:
        """Return the largest own time up to an own row; NO_TIME where no tick had one."""
        if self._segment.sorted_ts:
            return self._segment.ts_event.item(row)
        own, newest = self.both()
        before = int(own.searchsorted(row, side="right"))
        return int(newest[before - 1]) if before else NO_TIME

    def reaching(self, ns: int, behind: int) -> int | None:
        """Return the first own row behind a row with a largest time of `ns` at least, or None."""
        if self.last() < ns:
            return None
        own, newest = self.both()
        at = max(int(newest.searchsorted(ns)), int(own.searchsorted(behind, side="right")))
        return int(own[at]) if at < len(own) else None

    def last(self) -> int:
        """Return the largest own time of the segment; NO_TIME where there is none."""
        if self._last is None:
            row = self._last_row()
            self._last = NO_TIME if row < 0 else self.at(row)
        return self._last

    def both(self) -> tuple[Rows, Rows]:
        """Return the own rows, rising, and the largest time up to each."""
        if self._made is None:
            own = self._own_rows()
            times = self._segment.clock_ts[own]
            self._made = (own, times if self._segment.sorted_ts else np.maximum.accumulate(times))
        return self._made

    def _own_rows(self) -> Rows:
        if self._rows is None:
            if self._takes_all:
                self._rows = np.arange(len(self._segment))
            else:
                found = [self._segment.rows_of(dense) for dense in self._here()]
                self._rows = np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)
        return self._rows

    def _last_row(self) -> int:
        if self._takes_all:
            return self._segment.count - 1
        last_row = self._segment.last_row
        return max([last_row(dense) for dense in self._here()], default=-1)

    def _here(self) -> list[int]:
        here, tokens = self._segment.instruments, self._tokens
        if len(here) > len(tokens) == 1:
            return [dense for dense in tokens if self._segment.last_row(dense) >= 0]
        return [dense for dense in here if dense in tokens]
