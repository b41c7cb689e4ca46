"""Processors that see their portfolio: run tick by tick inside decide, behind the tick's fills.

A processor declares it by a parameter named `portfolio` of process_tick. What it proposes depends
on fills, so it belongs to the decision stream alone. Never here: judging what it says.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from parity.core.asked import name_of
from parity.core.found import Failed, Found, found_of, words_of
from parity.core.own_state import kept_state
from parity.model.errors import ConfigError
from parity.model.values import SignalResult

if TYPE_CHECKING:
    from parity.core.bars import Closing
    from parity.core.clocks import Rows
    from parity.core.detect import ProcessorDetector
    from parity.core.history import History
    from parity.core.portfolio import PortfolioView
    from parity.core.view import View


def is_aware(processor: Any) -> bool:
    """Say whether a processor asks to see its portfolio."""
    return "portfolio" in inspect.signature(processor.process_tick).parameters


class AwareDetector:
    """Shows ticks one by one, when their turn to be decided has come.

    Args:
        inner: keeps the processor, its histories, and what is rolled back after an error.
        portfolio: the executor's, as a strategy may look at it.
    """

    def __init__(self, inner: ProcessorDetector, portfolio: PortfolioView) -> None:
        self._inner = inner
        self._portfolio = portfolio
        self.history_length = inner.history_length
        self.bars = None
        if inner.bars is not None:
            raise ConfigError(
                f"strategy {name_of(inner.processor)}: it asks for its portfolio and for bars",
                cure="take one of them: no bar is shown with a portfolio",
            )
        self._view: View | None = None
        self._rows: list[int] = []  # own rows of the view
        self._at = 0
        self._warm: list[int] = []

    def detect(
        self, view: View, rows: Rows | None, closings: Sequence[Closing] = ()
    ) -> tuple[list[Found], list[Failed]]:
        """Take a view's rows, to be shown by step(); nothing is found before."""
        assert not closings  # there are no bars
        self._view, self._at = view, 0
        self._rows = list(range(len(view))) if rows is None else rows.tolist()
        self._warm, _ = self._inner._opened(view)
        return [], []

    def next_row(self) -> int | None:
        """Return the row of the segment at which the next tick is to be shown, or None."""
        view = self._view
        if view is None:
            return None
        while self._at < len(self._rows):
            row = self._rows[self._at]
            if view.ends[row] >= self._warm[view.inst_list[row]]:
                return view.position(row)
            self._at += 1
        self._view = None  # it holds the segment
        return None

    def step(self) -> tuple[list[Found], list[Failed]]:
        """Show the processor its next tick; return what it proposes, or how it failed."""
        assert self._view is not None  # next_row() gave a row
        view, row = self._view, self._rows[self._at]
        self._at += 1
        inner = self._inner
        # Kept at every tick: what it has seen of its portfolio cannot be shown to it again.
        before = kept_state(inner.processor)
        tick, history = view.ticks[row], inner.history_at(view, row)
        dense, ordinal = view.inst_list[row], view.ordinal(row)
        rng = inner._rng(inner._ticks_take_rng, dense, tick.ts_event, ordinal)
        process: Any = inner.processor.process_tick
        try:
            said = process(tick, history, portfolio=self._portfolio, **rng)
            return [found_of(row, one) for one in _each(said)], []
        except (Exception, SystemExit) as error:  # a strategy may raise anything, sys.exit too
            failed = Failed(row, words_of(error), anew=inner._begins_anew(view, row, before))
            self._warm, _ = inner._opened(view)
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
