"""Processors that see their portfolio: run step by step inside decide, behind the tick's fills.

A processor declares it by a parameter named `portfolio`. What it proposes depends on fills, so it
belongs to the decision stream alone. Never here: judging what it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from parity.core.found import Failed, Found, words_of
from parity.core.own_state import kept_state
from parity.core.told import Step, found_at, steps_of
from parity.model.values import SignalResult

if TYPE_CHECKING:
    from parity.core.clocks import Rows
    from parity.core.detect import ProcessorDetector
    from parity.core.history import History
    from parity.core.portfolio import PortfolioView
    from parity.core.told import Told
    from parity.core.view import View


class AwareDetector:
    """Shows ticks, bars and timers one by one, when their turn to be decided has come.

    Args:
        inner: keeps the processor, its histories, and what is rolled back after an error.
        portfolio: the executor's, as a strategy may look at it.
    """

    def __init__(self, inner: ProcessorDetector, portfolio: PortfolioView) -> None:
        self._inner = inner
        self._portfolio = portfolio
        self.history_length = inner.history_length
        self.bars = inner.bars
        self.timers = inner.timers
        self._view: View | None = None
        self._steps: list[Step] = []  # own ones of the view
        self._at = 0
        self._warm: list[int] = []

    def detect(
        self, view: View, rows: Rows | None, told: Sequence[Told] = ()
    ) -> tuple[list[Found], list[Failed]]:
        """Take a view's rows and what is told, for step(); nothing is found before."""
        self._view, self._at = view, 0
        self._steps = steps_of(view, range(len(view)) if rows is None else rows.tolist(), told)
        self._warm, _ = self._inner.opened(view)
        return [], []

    def next_row(self) -> int | None:
        """Return the row of the segment at which, or before which, the next step is; or None."""
        step = self._next()
        if step is None or self._view is None:
            return None
        return self._view.position(step.row) if step.told is None else step.told.row

    def due(self, row: int) -> tuple[int, int] | None:
        """Return deadline and token of the next step, where it is told before a row; or None."""
        step = self._next()
        if step is None or step.told is None or step.told.row != row:
            return None
        return step.told.due_ns, step.told.token

    def _next(self) -> Step | None:
        view = self._view
        if view is None:
            return None
        while self._at < len(self._steps):
            step = self._steps[self._at]
            if self._inner.warm_at(view, step, self._warm):
                return step
            self._at += 1
        self._view = None  # it holds the segment
        return None

    def step(self) -> tuple[list[Found], list[Failed]]:
        """Take the next step; return what the processor proposes, or how it failed."""
        assert self._view is not None  # next_row() gave a row
        view, step, inner = self._view, self._steps[self._at], self._inner
        self._at += 1
        # Kept at every step: what it has seen of its portfolio cannot be shown to it again.
        before = kept_state(inner.processor)
        try:
            if step.told is None:
                said = inner.show(view, step.row, self._portfolio)
            else:
                said = inner.tell(view, step, self._portfolio)
            return [found_at(step, one) for one in _each(said)], []
        except (Exception, SystemExit) as error:  # a strategy may raise anything, sys.exit too
            failed = inner.failed_at(view, step, words_of(error), before)
            self._warm, _ = inner.opened(view)
            return [], [failed]

    def history_at(self, view: View, row: int) -> History:
        """Return the history that the processor was shown at a row of the view."""
        return self._inner.history_at(view, row)

    def history_before(self, view: View, dense: int, row: int) -> History:
        """Return an instrument's history as it was before a row of the view."""
        return self._inner.history_before(view, dense, row)

    def snapshot(self) -> dict[str, Any]:
        """Return the processor's state; raises ConfigError where it cannot be had."""
        return self._inner.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what snapshot() gave."""
        self._inner.restore(state)


def _each(said: Any) -> Iterable[Any]:
    """Return one signal, or several that were returned or yielded, as they come."""
    if said is None:
        return ()
    return (said,) if isinstance(said, SignalResult) else said
