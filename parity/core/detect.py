"""Detect: one executor's ticks become candidates, tick by tick or by a driver over the batch.

Dense and pure: nothing here sees positions, fills or other strategies. A processor that raises at
tick k, or a kernel that returns an error there, is rolled back to before k; k is skipped.
"""

from __future__ import annotations

import inspect
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from parity.core.digest import canonical, plain
from parity.core.history import History, HistoryStore
from parity.core.own_state import kept_state, state_of
from parity.core.rng import TickStream, stream_key
from parity.model.errors import ConfigError
from parity.model.values import SIDES, SignalResult

if TYPE_CHECKING:
    from parity.core.view import View
    from parity.model.kernel import KernelStrategy
    from parity.model.protocols import StrategyProcessor
    from parity.model.values import MarketTick

Rows = npt.NDArray[np.int64]
_OUT_ROWS: Final = 4096  # candidates a driver writes before it hands over
_FEW_ROWS: Final = 32


class Found(msgspec.Struct, frozen=True, gc=False):
    """A candidate as it was found, at a row of the view."""

    row: int
    side: int
    price: float
    quantity: float
    confidence: float
    metadata: dict[str, Any]
    reasoning: str
    quantity_exact: Decimal
    metadata_bytes: bytes


class Failed(msgspec.Struct, frozen=True):
    """An error at a row of the view; `anew` where the processor begins behind it without a past."""

    row: int
    error: str
    anew: bool = False


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
    """

    def __init__(
        self,
        build: Callable[[], StrategyProcessor],
        tokens: Mapping[int, int],
        stores: Mapping[int, HistoryStore],
        *,
        seed: int,
        strategy_id: str,
    ) -> None:
        self._build = build
        self.processor = build()
        self.history_length = max(1, self.processor.get_required_history_length())
        self._stores = stores
        self._histories = {d: History(s, self.history_length) for d, s in stores.items()}
        self._begin = {d: s.total for d, s in stores.items()}  # number its own history begins at
        takes_rng = "rng" in inspect.signature(self.processor.process_tick).parameters
        self._keys = (
            {d: stream_key(seed, strategy_id, t) for d, t in tokens.items()} if takes_rng else None
        )

    def detect(self, view: View, rows: Rows | None) -> tuple[list[Found], list[Failed]]:
        """Return what the processor found and where it raised, over its rows of the view."""
        found: list[Found] = []
        failed: list[Failed] = []
        before = kept_state(self.processor)
        todo: Sequence[int] = range(len(view)) if rows is None else rows.tolist()
        while todo:
            at, error = self._run(view, todo, found)
            if error is None:
                break
            done = bisect_left(todo, at)
            failed.append(Failed(at, error, self._roll_back(view, todo[:done], at, before)))
            before = kept_state(self.processor)  # the next error goes back no further than here
            todo = todo[done + 1 :]
        return found, failed

    def _run(self, view: View, todo: Sequence[int], found: list[Found]) -> tuple[int, str | None]:
        """Show the rows to the processor; return the row at which it raised, and its words."""
        if self._keys is not None:
            return self._run_with_rng(view, todo, found)
        warm, histories = self._opened(view)
        process = self.processor.process_tick
        tick = None
        try:
            # Every nanosecond in this loop is paid at every tick by every processor.
            for tick, dense, end in _shown(view, todo):
                if end >= warm[dense]:
                    history = histories[dense]
                    history._end = end
                    said = process(tick, history)
                    if said is not None:
                        found.append(_found(tick._row, said))
        except (Exception, SystemExit) as error:  # a strategy may raise anything, sys.exit too
            return _row(tick), _words(error)
        return 0, None

    def _run_with_rng(
        self, view: View, todo: Sequence[int], found: list[Found]
    ) -> tuple[int, str | None]:
        assert self._keys is not None
        warm, histories = self._opened(view)
        process: Any = self.processor.process_tick
        tick = None
        try:
            for tick, dense, end in _shown(view, todo):
                if end >= warm[dense]:
                    history, row = histories[dense], tick._row
                    history._end = end
                    rng = TickStream(self._keys[dense], tick.ts_event, view.ordinal(row))
                    said = process(tick, history, rng=rng)
                    if said is not None:
                        found.append(_found(row, said))
        except (Exception, SystemExit) as error:  # a strategy may raise anything, sys.exit too
            return _row(tick), _words(error)
        return 0, None

    def _opened(self, view: View) -> tuple[list[int], list[Any]]:
        """Return, by dense id, the place from which on it is warm, and its history made ready."""
        warm: list[int] = [0] * len(view.batch.table)
        histories: list[Any] = [None] * len(view.batch.table)
        for dense, history in self._histories.items():
            history._open()
            histories[dense] = history
            warm[dense] = self._begin[dense] + self.history_length - self._stores[dense].first
        return warm, histories

    def _roll_back(self, view: View, done: Sequence[int], at: int, before: bytes | None) -> bool:
        """Bring the processor to where it stood before row `at`.

        Without a snapshot it warms up anew, and True is returned.
        """
        if before is None or not self._restored(before):
            self.processor = self._build()
            for dense, store in self._stores.items():
                behind = len(view) and int((view.rows_of(dense) > at).sum())
                self._begin[dense] = store.total - behind
            return True
        self._run(view, done, [])
        return False

    def _restored(self, before: bytes) -> bool:
        self.processor = self._build()
        try:
            self.processor.restore(msgspec.msgpack.decode(before))  # type: ignore[attr-defined] # it has snapshot, so restore
        except Exception:  # a strategy may raise anything; the others go on
            return False
        return True

    def history_at(self, view: View, row: int) -> History:
        """Return the history that the processor was shown at a row of the view just detected."""
        history = self._histories[view.inst_list[row]]
        history._open()
        history._end = view.ends[row]
        return history

    def snapshot(self) -> dict[str, Any]:
        """Return the processor's state; raises ConfigError where it cannot be had."""
        return {
            "own": state_of(self.processor),
            "begin": {str(d): n for d, n in self._begin.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what snapshot() gave."""
        self._begin = {int(d): n for d, n in state["begin"].items()}
        if hasattr(self.processor, "restore"):
            self.processor.restore(state["own"])
        else:
            vars(self.processor).update(state["own"])


class KernelDetector:
    """Runs a kernel through its driver over whole batches."""

    def __init__(
        self, kernel: KernelStrategy, driver: DriverCall, tokens: Mapping[int, int], table_size: int
    ) -> None:
        self.kernel = kernel
        self.history_length = max(1, kernel.history)
        self._driver = driver
        self._dense = sorted(tokens)
        self._lut = np.full(table_size, -1, np.int32)
        self._lut[self._dense] = np.arange(len(self._dense), dtype=np.int32)
        self._states = np.zeros(len(self._dense), kernel.state)
        self._bytes = self._states.view(np.uint8).reshape(len(self._dense), -1)
        self._before = self._bytes.copy()
        self._params = kernel.params.reshape(1)
        self._out = np.zeros(_OUT_ROWS, kernel.out)
        self._rows = np.zeros(_OUT_ROWS, np.int64)
        self._codes = np.zeros(_OUT_ROWS, np.int8)
        self._names = tuple(kernel.out.names or ())
        self._missing = dict.fromkeys(self._dense, self.history_length)  # ticks until warm

    def detect(self, view: View, rows: Rows | None) -> tuple[list[Found], list[Failed]]:
        """Return what the kernel found and where it returned an error code."""
        found: list[Found] = []
        failed: list[Failed] = []
        begin: dict[int, int] = {}  # by instrument: the row its kept state stands before
        self._keep_states(view)
        columns = tuple(view.batch.column(name) for name in self.kernel.columns)
        row, end = 0, len(view)
        while row < end:
            count, row = self._call(view, columns, self._lut, row, end)
            error = count > 0 and self._codes[count - 1] < 0
            found += self._collect(count - 1 if error else count, failed)
            if error:
                at, code = row - 1, int(self._codes[count - 1])
                failed.append(Failed(at, f"kernel {self.kernel.name}: step returned {code}"))
                self._roll_back(view, columns, at, begin)
        if self._missing:
            warm = self._warm_rows(view)
            found = [f for f in found if f.row >= warm.get(int(view.inst[f.row]), 0)]
        return found, failed

    def _warm_rows(self, view: View) -> dict[int, int]:
        """Return, by instrument still cold, the first row at which it has its history."""
        warm: dict[int, int] = {}
        for dense, missing in list(self._missing.items()):
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
        view: View,
        columns: tuple[npt.NDArray[Any], ...],
        lut: npt.NDArray[np.int32],
        lo: int,
        hi: int,
    ) -> tuple[int, int]:
        buffers = (self._out, self._rows, self._codes)
        return self._driver(self._states, self._params, lut, view.inst, columns, lo, hi, *buffers)

    def _keep_states(self, view: View) -> None:
        # For a roll-back: the states as they are before this view; few ticks touch few of them.
        if len(view) >= _FEW_ROWS:
            self._before[:] = self._bytes
            return
        for dense in view.inst_list:
            local = self._lut[dense]
            self._before[local] = self._bytes[local]

    def _collect(self, count: int, failed: list[Failed]) -> list[Found]:
        found = []
        for row, values in zip(
            self._rows[:count].tolist(), self._out[:count].tolist(), strict=True
        ):
            try:
                found.append(self._described(row, dict(zip(self._names, values, strict=True))))
            except (
                Exception,
                SystemExit,
            ) as error:  # its candidate is lost, no more
                failed.append(Failed(row, _words(error)))
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
            _reasoning(reasoning),
            _exact(quantity),
            canonical(metadata),
        )

    def _roll_back(
        self,
        view: View,
        columns: tuple[npt.NDArray[Any], ...],
        at: int,
        begin: dict[int, int],
    ) -> None:
        # Only the failing instrument's state was touched at `at`: run its rows again, alone.
        dense = int(view.inst[at])
        local = int(self._lut[dense])
        self._bytes[local] = self._before[local]
        alone = np.full(len(self._lut), -1, np.int32)
        alone[dense] = local
        row = begin.get(dense, 0)
        while row < at:
            _, row = self._call(view, columns, alone, row, at)
        self._before[local] = self._bytes[local]  # the next error goes back no further than here
        begin[dense] = at + 1

    def history_at(self, view: View, row: int) -> None:
        """Return nothing: a kernel keeps its own state instead of a history."""

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
    if isinstance(todo, range):
        return zip(*(c[todo.start : todo.stop] for c in columns), strict=True)
    return zip(*(map(c.__getitem__, todo) for c in columns), strict=True)


def _row(tick: MarketTick | None) -> int:
    assert tick is not None  # only what is shown a tick raises
    return tick._row


def _exact(quantity: Any) -> Decimal:
    try:
        return quantity if isinstance(quantity, Decimal) else Decimal(str(quantity))
    except InvalidOperation:
        raise ConfigError(f"quantity: expected a number, was {quantity!r}") from None


def _words(error: BaseException) -> str:
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # even its text may be a strategy's
        text = type(error).__name__
    return text.encode("utf-8", "backslashreplace").decode()


def _reasoning(text: Any) -> str:
    if not isinstance(text, str):
        raise ConfigError(f"reasoning: expected text, was {text!r}")
    text.encode()  # raises where it is no text that can be written down
    return str(text)


def _found(row: int, said: SignalResult) -> Found:
    if not isinstance(said, SignalResult):
        raise ConfigError(
            f"process_tick returned {type(said).__name__}", cure="return SignalResult or None"
        )
    side = SIDES.get(said.signal_type)
    if side is None:
        raise ConfigError(
            f"signal_type: expected BUY, SELL or HOLD, was {said.signal_type!r}",
        )
    for name in ("price", "quantity", "confidence"):
        value = getattr(said, name)
        if isinstance(value, str | bool):  # float() would take them
            raise ConfigError(f"{name}: expected a number, was {value!r}")
    return Found(
        row,
        side,
        float(said.price),
        float(said.quantity),
        float(said.confidence),
        plain(said.metadata or {}),
        _reasoning(said.reasoning),
        _exact(said.quantity),
        canonical(said.metadata or {}),
    )
