"""The times of an executor's own ticks inside a segment: what its clocks are moved by.

A clock is the largest time of the executor's own ticks so far; what is carried from segment to
segment is that one number, which the executor keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from parity.core.view import NO_TIME

if TYPE_CHECKING:
    from parity.core.view import Segment, View

Rows = npt.NDArray[np.int64]


class OwnTimes:
    """The executor's own rows of a segment, and the largest time up to each of them.

    Args:
        view: the ticks of the executor's kind.
        rows: its own rows of the view, rising; None is all of them.
    """

    __slots__ = ("_made", "_rows", "_segment", "_view")

    def __init__(self, view: View, rows: Rows | None) -> None:
        self._view = view
        self._rows = rows
        self._segment: Segment = view.segment
        self._made: tuple[Rows, Rows] | None = None

    def at(self, row: int) -> int:
        """Return the largest own time up to a row; NO_TIME before the first.

        The row is an own one, or one that moves the clock itself.
        """
        if self._segment.sorted_ts:
            return int(self._segment.ts_event[row])
        own, newest = self._both()
        before = int(own.searchsorted(row, side="right"))
        return int(newest[before - 1]) if before else NO_TIME

    def of(self, row: int) -> int:
        """Return the time of one tick, of whatever kind; NO_TIME where it moves no clock."""
        return int(self._segment.clock_ts[row])

    def reaching(self, ns: int, behind: int) -> int | None:
        """Return the first own row behind a row with a largest time of `ns` at least, or None."""
        if self.last() < ns:
            return None
        own, newest = self._both()
        at = max(int(newest.searchsorted(ns)), int(own.searchsorted(behind, side="right")))
        return int(own[at]) if at < len(own) else None

    def last(self) -> int:
        """Return the largest own time of the segment; NO_TIME where there is none."""
        count = len(self._view) if self._rows is None else len(self._rows)
        if not count:
            return NO_TIME
        row = count - 1 if self._rows is None else int(self._rows[-1])
        return self.at(self._view.position(row))

    def _both(self) -> tuple[Rows, Rows]:
        if self._made is None:
            rows = np.arange(len(self._view)) if self._rows is None else self._rows
            own = self._view.positions_of(rows)
            times = self._segment.clock_ts[own]
            self._made = (own, times if self._segment.sorted_ts else np.maximum.accumulate(times))
        return self._made
