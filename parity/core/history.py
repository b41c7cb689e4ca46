"""Histories: each processor's view of exactly its required number of last ticks.

One store per instrument is shared by all executors of the same kind of ticks; a view never shows
more than its own length. Columns are kept only for the names somebody has asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from operator import itemgetter
from typing import Any, Final, cast, overload

import numpy as np
import numpy.typing as npt

from parity.model.ticks import TickBatch
from parity.model.values import BatchTick, MarketTick

_ROOM: Final = 512  # rows a column grows before it is cut back
_ROWS: Final = tuple(range(1024))
_TICKS_ROOM: Final = 64  # and objects: those that are gone make room for the next in the cache


class _ColumnBuffer:
    """An append-only column; a full one is replaced, so views handed out stay as they were."""

    __slots__ = ("array", "first", "used")

    def __init__(self, values: npt.NDArray[Any], first: int) -> None:
        self.array = np.empty(len(values) + _ROOM, values.dtype)
        self.array[: len(values)] = values
        self.used = len(values)
        self.first = first

    def extend(self, values: npt.NDArray[Any], first: int) -> None:
        """Append values; what lies before the tick number `first` may go."""
        end = self.used + len(values)
        if end > len(self.array):
            gone = first - self.first
            keep = self.used - gone
            fresh = np.empty(keep + len(values) + _ROOM, self.array.dtype)
            fresh[:keep] = self.array[gone : self.used]
            self.first = first
            self.array, self.used, end = fresh, keep, keep + len(values)
        self.array[self.used : end] = values
        self.used = end

    def view(self, lo: int, hi: int) -> npt.NDArray[Any]:
        shown = self.array[lo - self.first : hi - self.first]
        shown.flags.writeable = False
        return shown


class HistoryStore:
    """The last ticks of one instrument; tick number n is the n-th the instrument ever had.

    Args:
        depth: the longest history anybody asked for.
    """

    __slots__ = ("_columns", "depth", "first", "ticks")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.ticks: list[MarketTick] = []  # always this list: histories hold it
        self.first = 0  # number of ticks before ticks[0]
        self._columns: dict[str, _ColumnBuffer] = {}

    def resize(self, depth: int) -> None:
        """Keep another number of ticks from here on.

        At a barrier: a deeper one begins with what was promised so far, not with what is there by
        chance, or a snapshot would tell where batches ended.
        """
        if depth > self.depth and len(self.ticks) > self.depth:
            cut = len(self.ticks) - self.depth
            del self.ticks[:cut]
            self.first += cut
            self._columns = {}
        self.depth = depth

    @property
    def total(self) -> int:
        """How many ticks the instrument had so far."""
        return self.first + len(self.ticks)

    def cut(self) -> None:
        """Forget what lies behind the depth; places in `ticks` move, so only before a segment."""
        gone = len(self.ticks) - self.depth
        if gone > _TICKS_ROOM:
            del self.ticks[:gone]
            self.first += gone

    def extend(
        self, ticks: Sequence[MarketTick], batch: TickBatch, rows: npt.NDArray[np.int64] | slice
    ) -> None:
        """Append ticks, which stand at `rows` of `batch`."""
        self.ticks.extend(ticks)
        # A column holds what the list holds, which is cut before a segment only: earlier rows of
        # this one may look further back than the depth from here.
        for name, buffer in self._columns.items():
            buffer.extend(batch.column(name)[rows], self.first)

    def column(self, name: str, lo: int, hi: int) -> npt.NDArray[Any]:
        """Return a read-only view of tick numbers [lo, hi) of one column."""
        buffer = self._columns.get(name)
        if buffer is None:
            values = [t._batch.column(name)[t._row] for t in self.ticks]
            buffer = _ColumnBuffer(np.asarray(values), self.first)
            self._columns[name] = buffer
        return buffer.view(lo, hi)

    def snapshot(self) -> dict[str, Any]:
        """Return the last `depth` ticks as plain columns."""
        kept = self.ticks[-self.depth :]
        names = kept[0]._batch.names if kept else ()
        columns = {n: np.array([t._batch.column(n)[t._row] for t in kept]) for n in names if kept}
        return {
            "total": self.total,
            "extra_scale": kept[0]._batch.extra_scale if kept else 0,
            "columns": {n: [str(c.dtype), c.tobytes()] for n, c in columns.items()},
        }

    def restore(self, state: dict[str, Any], table: Any) -> None:
        """Take back what snapshot() gave."""
        columns = {
            n: np.frombuffer(raw, dtype).copy() for n, (dtype, raw) in state["columns"].items()
        }
        batch = TickBatch(columns, table, extra_scale=state["extra_scale"])
        self.ticks[:] = market_ticks(batch) if columns else []  # a store before its first tick
        self.first = state["total"] - len(self.ticks)
        self._columns = {}


class History:
    """What a processor sees of an instrument's past: exactly `length` ticks, the current included.

    Valid during the call it is handed to; the ticks and columns taken from it stay valid.
    """

    __slots__ = ("_end", "_length", "_places", "_store", "_ticks")

    def __init__(self, store: HistoryStore, length: int) -> None:
        self._store = store
        self._length = length
        self._places = _places(length)
        self._ticks = store.ticks
        self._end = 0  # place in the store's list behind the current tick

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> MarketTick: ...
    @overload
    def __getitem__(self, index: slice) -> list[MarketTick]: ...
    def __getitem__(self, index: int | slice) -> MarketTick | list[MarketTick]:
        # Asked at nearly every tick: one lookup takes both signs, and refuses what is outside.
        try:
            return self._ticks[self._end + self._places[index]]  # type: ignore[operator] # a slice gives a tuple: TypeError, caught below
        except TypeError:
            if isinstance(index, slice):
                return self._ticks[self._end - self._length : self._end][index]
            raise
        except IndexError:
            words = f"history[{index}]: expected an index below {self._length}"
            raise IndexError(words) from None

    def __iter__(self) -> Iterator[MarketTick]:
        return iter(self[:])

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a tick column of the history, oldest first, read-only and without a copy."""
        end = self._store.first + self._end
        return self._store.column(name, end - self._length, end)

    @property
    def price(self) -> npt.NDArray[np.float64]:
        """Prices as float64."""
        return self.column("price")

    @property
    def price_int(self) -> npt.NDArray[np.int64]:
        """Exact prices as integers at the instrument's scale."""
        return self.column("price_int")

    @property
    def quantity(self) -> npt.NDArray[np.float64]:
        """Quantities as float64."""
        return self.column("quantity")

    @property
    def ts_event(self) -> npt.NDArray[np.int64]:
        """Venue instants, int ns UTC."""
        return self.column("ts_event")

    @property
    def side(self) -> npt.NDArray[np.int8]:
        """Aggressor sides."""
        return self.column("side")


@lru_cache(maxsize=256)
def _places(length: int) -> tuple[int, ...]:
    """Return, by index into a history, its distance from the history's end."""
    return tuple(range(-length, 0))


def picked(values: Sequence[Any], places: Sequence[int]) -> Sequence[Any]:
    """Return the values at several places, in one pass of C."""
    return itemgetter(*places)(values) if len(places) > 1 else [values[at] for at in places]


def market_ticks(batch: TickBatch) -> list[MarketTick]:
    """Return the ticks of a batch as a processor sees them."""
    made = list(
        map(
            BatchTick,
            picked(batch.table.tokens.tolist(), batch.column("inst").tolist()),
            batch.column("ts_event").tolist(),
            batch.column("price").tolist(),
            batch.column("quantity").tolist(),
            batch.column("side").tolist(),
            repeat(batch),
            _ROWS if len(batch) <= len(_ROWS) else range(len(batch)),  # no number is made twice
        )
    )
    return cast("list[MarketTick]", made)  # each is one, as isinstance says
