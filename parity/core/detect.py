"""Detect: one executor's ticks become candidates, tick by tick or by a driver over the batch.

Dense and pure: nothing here sees positions, fills or other strategies. A processor that raises at
tick k, or a kernel that returns an error there, is rolled back to before k; k is skipped.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from parity.core.asked import asked
from parity.core.before import KeptStates
from parity.core.declared import TICK, declared_bars, declared_timers, parameters_of
from parity.core.digest import canonical, plain
from parity.core.found import Failed, Found, exact_of, found_of, reasoning_of, words_of
from parity.core.history import History, HistoryStore, picked
from parity.core.own_state import kept_state, state_of
from parity.core.rng import TickStream, stream_key
from parity.core.told import Step, found_at, steps_of
from parity.core.view import FEW_ROWS

if TYPE_CHECKING:
    from parity.core.portfolio import PortfolioView
    from parity.core.told import Told
    from parity.core.view import View
    from parity.model.bars import Bars
    from parity.model.kernel import KernelStrategy
    from parity.model.protocols import StrategyProcessor
    from parity.model.timers import Declared
    from parity.model.values import MarketTick

Rows = npt.NDArray[np.int64]
_CHECKPOINT: Final = "mend it: it takes back what snapshot() gave; parity check tries that"
_OUT_ROWS: Final = 1024  # candidates a driver writes before it hands over


class DriverCall(Protocol):
    """The generated loop that runs a kernel over rows lo..hi of a batch.

    Returns (candidates written, next row); it stops early when `out` is full, or behind a row
    whose code was negative.
    """

    def __call__(
        self,
        states: npt.NDArray[Any],
        params: npt.NDArray[Any],
        lut: npt.NDArray[np.int32],
        inst: npt.NDArray[np.int32],
        columns: tuple[npt.NDArray[Any], ...],
        lo: int,
        hi: int,
        out: npt.NDArray[Any],
        rows: npt.NDArray[np.int64],
        codes: npt.NDArray[np.int8],
    ) -> tuple[int, int]:
        """Run rows lo..hi."""
        ...


class ProcessorDetector:
    """Runs any Python processor tick by tick.

    Args:
        build: makes a fresh processor, equal to any other it made.
        tokens: instrument token by dense id, for the executor's instruments.
        stores: history store by dense id.
        length: of the histories it is shown, which the stores keep.
    """

    def __init__(
        self,
        build: Callable[[], StrategyProcessor],
        tokens: Mapping[int, int],
        stores: Mapping[int, HistoryStore],
        *,
        length: int,
        seed: int,
        strategy_id: str,
    ) -> None:
        self._build = build
        self._who = f"strategy {strategy_id}"
        self.processor = build()
        self.history_length = length
        self._stores = stores
        self._histories = {d: History(s, self.history_length) for d, s in stores.items()}
        self._line = [self._histories.get(d) for d in range(max(stores, default=-1) + 1)]
        self._begin = {d: s.total for d, s in stores.items()}  # number its own history begins at
        self._cold = set(stores)  # those whose next tick may not be warm yet
        self.bars = declared_bars(self.processor)
        self.timers = declared_timers(self.processor)
        self._parameters = parameters_of(self.processor)
        self._ticks_take_rng = "rng" in self._parameters[TICK]
        self._keys = (
            {d: stream_key(seed, strategy_id, t) for d, t in tokens.items()}
            if any("rng" in names for names in self._parameters.values())
            else {}
        )

    def detect(
        self, view: View, rows: Rows | None, told: Sequence[Told] = ()
    ) -> tuple[list[Found], list[Failed]]:
        """Return what the processor found and where it raised, over its rows of the view.

        Args:
            view: the ticks of its kind.
            rows: its own of them; None is all.
            told: the bars that close before some of them, and the timers, in order.
        """
        if told or self._ticks_take_rng:
            return self._detect_step_by_step(view, rows, told)
        found: list[Found] = []
        failed: list[Failed] = []
        before = kept_state(self.processor)
        todo: Sequence[int] = range(len(view)) if rows is None else rows.tolist()
        while todo := self._warm_part(view, todo):
            at, error = self._run(view, todo, found)
            if error is None:
                break
            done = bisect_left(todo, at)
            anew = self._begins_anew(view, at, before)
            if not anew:
                self._run(view, todo[:done], [])
            failed.append(Failed(at, error, anew=anew))
            before = kept_state(self.processor)  # the next error goes back no further than here
            todo = todo[done + 1 :]
        return found, failed

    def _run(self, view: View, todo: Sequence[int], found: list[Found]) -> tuple[int, str | None]:
        """Show the rows to the processor; return the row at which it raised, and its words.

        The fast way, for what asks neither for bars nor for a random stream; all rows are warm.
        """
        process, histories = self.processor.process_tick, self._line
        tick = None
        try:
            # Every nanosecond in this loop is paid at every tick by every processor.
            for tick, dense, end in _shown(view, todo):
                history: Any = histories[dense]
                history._end = end
                said = process(tick, history)
                if said is not None:
                    found.append(found_of(tick._row, said))
        except (Exception, SystemExit) as error:  # a strategy may raise anything, sys.exit too
            return _row(tick), words_of(error)
        return 0, None

    def _warm_part(self, view: View, todo: Sequence[int]) -> Sequence[int]:
        """Leave out the rows at which an instrument has not got its whole history yet."""
        if not self._cold:
            return todo
        length, stores = self.history_length, self._stores
        warm = {d: self._begin[d] + length - stores[d].first for d in self._cold}
        self._cold = {d for d in self._cold if stores[d].total - self._begin[d] < length - 1}
        ends, inst = view.ends, view.inst_list
        return [row for row in todo if ends[row] >= warm.get(inst[row], 0)]

    def _detect_step_by_step(
        self, view: View, rows: Rows | None, told: Sequence[Told]
    ) -> tuple[list[Found], list[Failed]]:
        found: list[Found] = []
        failed: list[Failed] = []
        before = kept_state(self.processor)
        todo = steps_of(view, range(len(view)) if rows is None else rows.tolist(), told)
        while todo:
            done, error = self._run_steps(view, todo, found)
            if error is None:
                break
            failed.append(self.failed_at(view, todo[done], error, before))
            if not failed[-1].anew:
                self._run_steps(view, todo[:done], [])
            before = kept_state(self.processor)
            todo = todo[done + 1 :]
        return found, failed

    def _run_steps(
        self, view: View, todo: Sequence[Step], found: list[Found]
    ) -> tuple[int, str | None]:
        """Show rows and bars to the processor; return the step at which it raised, its words."""
        warm, histories = self.opened(view)
        ticks, inst, ends = view.ticks, view.inst_list, view.ends
        process: Any = self.processor.process_tick
        takes_rng, done = self._ticks_take_rng, -1
        try:
            for step in todo:
                done += 1
                row, told = step
                if told is not None:
                    if self.warm_at(view, step, warm):
                        said = self.tell(view, step)
                        if said is not None:
                            found.append(found_at(step, said))
                    continue
                dense = inst[row]
                if ends[row] < warm[dense]:
                    continue
                tick, history = ticks[row], histories[dense]
                history._end = ends[row]
                if takes_rng:
                    rng = TickStream(self._keys[dense], tick.ts_event, view.ordinal(row))
                    said = process(tick, history, rng=rng)
                else:
                    said = process(tick, history)
                if said is not None:
                    found.append(found_of(row, said))
        except (Exception, SystemExit) as error:  # a strategy may raise anything, sys.exit too
            return done, words_of(error)
        return 0, None

    # -- one step, also for those who decide in between --------------------------------------

    def warm_at(self, view: View, step: Step, warm: Sequence[int]) -> bool:
        """Say whether the instrument of a step has its history there; `warm` is of opened()."""
        row, told = step
        if told is None:
            return view.ends[row] >= warm[view.inst_list[row]]
        return self._end_before(view, told.dense, row) >= warm[told.dense]

    def show(self, view: View, row: int, portfolio: PortfolioView) -> Any:
        """Show the processor a tick and its portfolio; return what it says."""
        tick, dense = view.ticks[row], view.inst_list[row]
        more = self._more(TICK, dense, tick.ts_event, view.ordinal(row), portfolio)
        return self.processor.process_tick(tick, self.history_at(view, row), **more)

    def tell(self, view: View, step: Step, portfolio: PortfolioView | None = None) -> Any:
        """Tell the processor of a bar or a timer; return what it says.

        Args:
            view: as it was opened.
            step: where something is told, and the instrument is warm.
            portfolio: for those who ask to see it.
        """
        told = step.told
        assert told is not None  # a tick is shown
        # Streams of what is told at one instant differ by numbers that no tick has.
        more = self._more(told.method, told.dense, told.due_ns, -1 - told.turn, portfolio)
        history = self.history_before(view, told.dense, step.row)
        return getattr(self.processor, told.method)(told.what, history, **more)

    def _more(
        self, method: str, dense: int, ns: int, ordinal: int, portfolio: PortfolioView | None
    ) -> dict[str, Any]:
        names = self._parameters[method]
        more: dict[str, Any] = {}
        if "rng" in names:
            more["rng"] = TickStream(self._keys[dense], ns, ordinal)
        if "portfolio" in names:
            more["portfolio"] = portfolio
        return more

    def failed_at(self, view: View, step: Step, error: str, before: bytes | None) -> Failed:
        """Return an error, the processor being back where its state was `before`, or anew."""
        row, told = step
        if told is None:
            return Failed(row, error, anew=self._begins_anew(view, row, before))
        anew = self._begins_anew(view, row - 1, before)
        return Failed(told.row, error, told.due_ns, told.dense, anew, told.turn)

    def _end_before(self, view: View, dense: int, row: int) -> int:
        """Return the place in an instrument's store behind its last tick before a row."""
        rows = view.rows_of(dense)
        return len(self._stores[dense].ticks) - len(rows) + int(rows.searchsorted(row))

    def opened(self, view: View) -> tuple[list[int], list[Any]]:
        """Return, by dense id, the place from which on it is warm, and its history made ready."""
        warm: list[int] = [0] * len(view.batch.table)
        histories: list[Any] = [None] * len(view.batch.table)
        for dense, history in self._histories.items():
            histories[dense] = history
            warm[dense] = self._begin[dense] + self.history_length - self._stores[dense].first
        return warm, histories

    def _begins_anew(self, view: View, last: int, before: bytes | None) -> bool:
        """Bring the processor back to where it stood before this view.

        Without a snapshot it warms up anew behind the row `last`, and True is returned: there is
        nothing to be shown to it again.
        """
        if before is not None and self._restored(before):
            return False
        self.processor = self._build()
        self._cold = set(self._stores)
        for dense, store in self._stores.items():
            behind = len(view) and int((view.rows_of(dense) > last).sum())
            self._begin[dense] = store.total - behind
        return True

    def _restored(self, before: bytes) -> bool:
        self.processor = self._build()
        try:
            self.processor.restore(msgspec.msgpack.decode(before))  # type: ignore[attr-defined] # it has snapshot, so restore
        except (Exception, SystemExit):  # a strategy may raise anything; the others go on
            return False
        return True

    def history_at(self, view: View, row: int) -> History:
        """Return the history that the processor was shown at a row of the view just detected."""
        history = self._histories[view.inst_list[row]]
        history._end = view.ends[row]
        return history

    def history_before(self, view: View, dense: int, row: int) -> History:
        """Return an instrument's history as it was before a row of the view just detected."""
        history = self._histories[dense]
        history._end = self._end_before(view, dense, row)
        return history

    def snapshot(self) -> dict[str, Any]:
        """Return the processor's state; raises ConfigError where it cannot be had."""
        return {
            "own": state_of(self.processor),
            # Counted from its own beginning: how long others have kept a history is theirs.
            "ticks": {str(d): self._stores[d].total - n for d, n in self._begin.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what snapshot() gave."""
        self._begin = {int(d): self._stores[int(d)].total - n for d, n in state["ticks"].items()}
        self._cold = set(self._stores)
        if hasattr(self.processor, "restore"):
            ask = self.processor.restore
            asked(self._who, "restore", lambda: ask(state["own"]), cure=_CHECKPOINT)
        else:
            vars(self.processor).update(state["own"])


class KernelDetector:
    """Runs a kernel through its driver over whole batches."""

    bars: Bars | None = None
    timers: tuple[Declared, ...] = ()

    def __init__(
        self, kernel: KernelStrategy, driver: DriverCall, tokens: Mapping[int, int], table_size: int
    ) -> None:
        self.kernel = kernel
        self.history_length = max(1, kernel.history)
        self._driver = driver
        self._dense = tuple(sorted(tokens))
        self._lut = np.full(table_size, -1, np.int32)
        self._lut[list(self._dense)] = np.arange(len(self._dense), dtype=np.int32)
        self._states = np.zeros(len(self._dense), kernel.state)
        self._before = KeptStates(self._states, self._dense)
        self._params = kernel.params.reshape(1)
        self._out = np.zeros(_OUT_ROWS, kernel.out)
        self._rows = np.zeros(_OUT_ROWS, np.int64)
        self._codes = np.zeros(_OUT_ROWS, np.int8)
        self._names = tuple(kernel.out.names or ())
        self._missing = dict.fromkeys(self._dense, self.history_length)  # ticks until warm
        # Of a driver that has one: a shorter way into the same code.
        enter = getattr(driver, "for_one_tick", None)
        kept = (self._states, self._params, self._lut, self._out, self._rows, self._codes)
        self._one_tick = None if enter is None else enter(*kept)

    def detect(
        self, view: View, rows: Rows | None, told: Sequence[Told] = ()
    ) -> tuple[list[Found], list[Failed]]:
        """Return what the kernel found and where it returned an error code."""
        found: list[Found] = []
        failed: list[Failed] = []
        begin: dict[int, int] = {}  # by instrument: the row its kept state stands before
        self._before.keep(view)
        inst, column, places = view.inst, view.batch.column, None
        if rows is not None and len(view) >= max(FEW_ROWS, 2 * len(rows)):
            part = view.part(self._dense, rows)  # a driver would pass over all the others' rows
            inst, column, places = part.inst, part.column, rows
        columns = tuple([column(name) for name in self.kernel.columns])
        row, end = 0, len(inst)
        while row < end:
            if end == 1 and self._one_tick is not None:
                count, row = self._one_tick(inst, columns)
            else:
                count, row = self._call(inst, columns, self._lut, row, end)
            error = count > 0 and self._codes[count - 1] < 0
            if count:
                found += self._collect(count - 1 if error else count, places, failed)
            if error:
                at, code = row - 1, int(self._codes[count - 1])
                words = f"kernel {self.kernel.name}: step returned {code}"
                failed.append(Failed(at if places is None else int(places[at]), words))
                self._roll_back(inst, columns, at, begin)
        if self._missing:
            # Errors stay: a tick is missing from the kernel's state, whoever was to hear of it yet.
            warm = self._warm_rows(view)
            found = [f for f in found if f.row >= warm.get(int(view.inst[f.row]), 0)]
        return found, failed

    def _warm_rows(self, view: View) -> dict[int, int]:
        """Return, by instrument still cold, the first row at which it has its history."""
        warm: dict[int, int] = {}
        for dense in view.segment.instruments:
            missing = self._missing.get(dense)
            if missing is None:
                continue
            rows = view.rows_of(dense)
            self._missing[dense] = missing - len(rows)
            if missing > len(rows):
                warm[dense] = len(view)  # not in this view
            else:
                warm[dense] = int(rows[missing - 1])
                del self._missing[dense]
        return warm

    def _call(
        self,
        inst: npt.NDArray[np.int32],
        columns: tuple[npt.NDArray[Any], ...],
        lut: npt.NDArray[np.int32],
        lo: int,
        hi: int,
    ) -> tuple[int, int]:
        buffers = (self._out, self._rows, self._codes)
        return self._driver(self._states, self._params, lut, inst, columns, lo, hi, *buffers)

    def _collect(self, count: int, places: Rows | None, failed: list[Failed]) -> list[Found]:
        found: list[Found] = []
        if not count:
            return found
        rows = self._rows[:count] if places is None else places[self._rows[:count]]
        names, described = self._names, self._described
        for row, values in zip(rows.tolist(), self._out[:count].tolist(), strict=True):
            try:
                found.append(described(row, dict(zip(names, values))))  # noqa: B905  # a record has its dtype's names
            except (Exception, SystemExit) as error:  # its candidate is lost, no more
                failed.append(Failed(row, words_of(error)))
        return found

    def _described(self, row: int, said: dict[str, Any]) -> Found:
        reasoning, metadata = self.kernel.describe(said)
        quantity = said["quantity"]
        return Found(
            row,
            said["side"],
            said["price"],
            quantity,
            said["confidence"],
            plain(metadata),
            reasoning_of(reasoning),
            exact_of(quantity),
            canonical(metadata),
        )

    def _roll_back(
        self,
        inst: npt.NDArray[np.int32],
        columns: tuple[npt.NDArray[Any], ...],
        at: int,
        begin: dict[int, int],
    ) -> None:
        # Only the failing instrument's state was touched at `at`: run its rows again, alone.
        dense = int(inst[at])
        local = int(self._lut[dense])
        self._before.take_back(local)
        alone = np.full(len(self._lut), -1, np.int32)
        alone[dense] = local
        row = begin.get(dense, 0)
        while row < at:
            _, row = self._call(inst, columns, alone, row, at)
        self._before.keep_one(local)  # the next error goes back no further than here
        begin[dense] = at + 1

    def history_at(self, view: View, row: int) -> None:
        """Return nothing: a kernel keeps its own state instead of a history."""

    def history_before(self, view: View, dense: int, row: int) -> None:
        """Return nothing, as history_at()."""

    def snapshot(self) -> dict[str, Any]:
        """Return the states field by field: an aligned dtype has random padding."""
        states = {n: self._states[n].tobytes() for n in self.kernel.state.names or ()}
        return {"states": states, "missing": {str(d): n for d, n in self._missing.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what snapshot() gave."""
        self._missing = {int(d): n for d, n in state["missing"].items()}
        for name in self.kernel.state.names or ():
            field = self._states[name]
            field[...] = np.frombuffer(state["states"][name], field.dtype.base).reshape(field.shape)


def _shown(view: View, todo: Sequence[int]) -> Iterator[tuple[MarketTick, int, int]]:
    """Yield each row's tick, its instrument's dense id, and the place behind it in its store."""
    columns: tuple[list[Any], ...] = (view.ticks, view.inst_list, view.ends)
    if len(todo) == len(view):
        return zip(*columns, strict=True)
    if isinstance(todo, range):
        return zip(*(c[todo.start : todo.stop] for c in columns), strict=True)
    return zip(*(picked(c, todo) for c in columns), strict=True)


def _row(tick: MarketTick | None) -> int:
    assert tick is not None  # only what is shown a tick raises
    return tick._row
