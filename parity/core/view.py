"""A batch as the engine looks at it: delivered ticks, per-kind views, rows by instrument.

Everything here is a function of the batch; what is carried from batch to batch lives in Scan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from parity.core.history import HistoryStore, market_ticks, picked
from parity.core.view_part import Part
from parity.kernels.batch import (
    NOT_ALL_TRADES,
    UNDELIVERED,
    UNKNOWN,
    UNSORTED,
    UNTIMED,
    carry,
    glance,
    group,
    ordinal,
    survey,
)
from parity.kernels.touch import widen
from parity.model import ticks as flag
from parity.model.ticks import TickBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from parity.core.room import Room
    from parity.model.values import MarketTick

    Item = Callable[[int], int]

Rows = npt.NDArray[np.int64]
FEW_ROWS: Final = 32  # below it, row by row costs less than passes of numpy
MANY_ROWS: Final = 1024  # from here on it pays to number ticks only where somebody asks
_MASKS = np.array([flag.UNDELIVERED, flag.TRADE_LIKE, flag.NO_PRICE, flag.NO_VENUE_TIME], np.uint32)
_REACHING = np.array(
    [flag.WARMUP, flag.QUOTE, flag.NO_BID, flag.NO_ASK, flag.TRADE_LIKE, flag.NO_PRICE], np.uint32
)
_MOST: Final = (1 << 63) - 1
_ASKED_ROWS: Final = 100  # to number so many costs what finding one ordinal does (measured)
_NO_ROWS: Final = np.zeros(0, np.int64)
NO_TIME: Final = -(1 << 62)  # of a tick that advances no clock, and of a clock before any tick


class Scan:
    """Per instrument: the last ts_event and how many consecutive ticks had it."""

    __slots__ = ("_here", "last_ts", "run_length")

    def __init__(self, instruments: int) -> None:
        self._here = np.zeros(instruments, np.bool_)
        self.last_ts = np.zeros(instruments, np.int64)
        self.run_length = np.zeros(instruments, np.int64)

    def copy(self) -> Scan:
        """Return another that goes on from here."""
        made = Scan(len(self.last_ts))
        made.last_ts, made.run_length = self.last_ts.copy(), self.run_length.copy()
        return made

    def glance(self, batch: TickBatch, inst: npt.NDArray[np.int32]) -> tuple[int, Rows]:
        """Advance over a batch without numbering its ticks, where all of them are delivered.

        Args:
            batch: where one is not, nothing is advanced.
            inst: receives dense ids.

        Returns:
            What kernels.batch.survey says, and by dense id the last row, or -1.

        Raises:
            InputRefused: as survey().
        """
        last = np.full(len(batch.table), -1, np.int64)
        tokens, ts_event = batch.column("instrument_token"), batch.column("ts_event")
        table, flags = batch.table, batch.column("flags")
        said = glance(tokens, ts_event, flags, table.tokens, table.near, _MASKS, inst, last)
        if said & UNKNOWN:
            table.dense(tokens)  # raises, naming the token
        if not said & UNDELIVERED:
            batch.keep("inst", inst)
            carry(inst, ts_event, last, not said & UNSORTED, self.last_ts, self.run_length)
        return said, last

    def survey(self, batch: TickBatch) -> tuple[int, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Advance over a batch.

        Returns:
            What kernels.batch.survey says, the ordinals, and by dense id who has a delivered tick.

        Raises:
            InputRefused: a tick of an instrument that is not in the table.
        """
        count = len(batch)
        inst = np.empty(count, np.int32)
        ordinals = np.empty(count, np.int64)
        # Of few rows nobody looks there: what earlier ones left in it may stay.
        here = self._here if count < FEW_ROWS else np.zeros(len(batch.table), np.bool_)
        said = survey(
            batch.column("instrument_token"),
            batch.column("ts_event"),
            batch.column("flags"),
            batch.table.tokens,
            batch.table.near,
            _MASKS,
            self.last_ts,
            self.run_length,
            inst,
            ordinals,
            here,
        )
        if said & UNKNOWN:
            batch.table.dense(batch.column("instrument_token"))  # raises, naming the token
        batch.keep("inst", inst)
        return said, ordinals, here

    def snapshot(self) -> dict[str, bytes]:
        """Return the carried state."""
        return {"last_ts": self.last_ts.tobytes(), "run_length": self.run_length.tobytes()}

    def restore(self, state: dict[str, bytes]) -> None:
        """Take back what snapshot() gave."""
        self.last_ts = np.frombuffer(state["last_ts"], np.int64).copy()
        self.run_length = np.frombuffer(state["run_length"], np.int64).copy()


class ByInstrument:
    """The rows of a batch by instrument, looked up when first asked for."""

    __slots__ = ("_inst", "_rows", "_sorted", "_starts")

    def __init__(self, inst: npt.NDArray[np.int32], instruments: int) -> None:
        self._inst = inst
        self._rows: dict[int, Rows] = {}
        self._starts: list[int] = []
        if len(inst) >= FEW_ROWS:
            starts = np.empty(instruments + 1, np.int64)
            self._sorted = np.empty(len(inst), np.int64)
            group(inst, self._sorted, starts)
            self._starts = starts.tolist()

    def rows(self, dense: int) -> Rows:
        """Return one instrument's rows, rising."""
        if self._starts:
            return self._sorted[self._starts[dense] : self._starts[dense + 1]]
        rows = self._rows.get(dense)
        if rows is None:
            rows = self._rows[dense] = np.flatnonzero(self._inst == dense)
        return rows


class Segment:
    """The delivered ticks between two barriers; positions in it are called rows.

    Args:
        ticks: all of them.
        scan: carried from segment to segment.
        room: for what is made of the ticks, where nobody looks at them behind this segment.
    """

    __slots__ = (
        "_asked",
        "_before",
        "_by_instrument",
        "_here",
        "_instruments",
        "_items",
        "_last",
        "_ordinals",
        "_reach",
        "_views",
        "all_trades",
        "batch",
        "clock_ts",
        "count",
        "sorted_ts",
        "ts_event",
    )

    def __init__(self, ticks: TickBatch, scan: Scan, room: Room | None = None) -> None:
        said, ordinals = UNDELIVERED, _NO_ROWS
        self._asked = 0
        self._before: Scan | None = None
        self._last: Rows | None = None  # by dense id
        count = len(ticks)
        if count >= MANY_ROWS and count >= len(ticks.table):
            if room is None:
                inst = np.empty(count, np.int32)
            else:
                inst = room.of("inst", np.int32, count)
                ticks.lend(room)
            self._before = scan.copy()
            said, self._last = scan.glance(ticks, inst)
            self._here = self._last >= 0
        if said & UNDELIVERED:
            self._last = None
            said, ordinals, self._here = scan.survey(ticks)
        if said & UNDELIVERED:
            shown = np.flatnonzero((ticks.column("flags") & flag.UNDELIVERED) == 0)
            ticks, ordinals = ticks.take(shown), ordinals.take(shown)
        self.batch = ticks
        self.count = len(ticks)
        self._ordinals = ordinals
        self.ts_event: Rows = ticks.column("ts_event")
        # What each tick sets a clock to: its ts_event, where that is the clock's kind of time.
        self.clock_ts = _clock_times(ticks) if said & UNTIMED else self.ts_event
        self.sorted_ts = not said & (UNSORTED | UNTIMED)
        self.all_trades = not said & NOT_ALL_TRADES
        self._instruments: list[int] | None = None
        self._items: tuple[Item, Item, Item] | None = None
        self._by_instrument: ByInstrument | None = None
        self._reach: Rows | None = None
        self._views: dict[str, View] = {}

    def __len__(self) -> int:
        return self.count

    @property
    def seq(self) -> Rows:
        """Number of each tick in the run."""
        return self.batch.column("seq")

    def seq_at(self, row: int) -> int:
        """Return one tick's number in the run."""
        seqs = self.batch.seqs
        return seqs[row] if isinstance(seqs, range) else seqs.item(row)

    def ordinal(self, row: int) -> int:
        """Return a tick's position within consecutive ticks of equal (token, ts_event)."""
        before = self._before
        asked = self._asked * _ASKED_ROWS
        if before is None or len(self._ordinals) or asked >= self.count:
            return self.ordinals.item(row)
        self._asked += 1
        inst, carried = self.batch.column("inst"), (before.last_ts, before.run_length)
        return ordinal(inst, self.ts_event, row, self.sorted_ts, *carried)

    @property
    def ordinals(self) -> Rows:
        """Each tick's ordinal()."""
        if len(self._ordinals) < self.count and self._before is not None:
            _, self._ordinals, _ = self._before.survey(self.batch)
        return self._ordinals

    @property
    def instruments(self) -> list[int]:
        """Dense ids of the instruments that have a tick here, rising."""
        if self._instruments is None:
            if self.count == 1:
                self._instruments = self.batch.column("inst").tolist()
            elif self.count < FEW_ROWS:
                self._instruments = sorted(set(self.batch.column("inst").tolist()))
            else:
                self._instruments = np.flatnonzero(self._here).tolist()
        return self._instruments

    @property
    def items(self) -> tuple[Item, Item, Item]:
        """What gives a row's instrument, flags and trade price, for who looks at few of them."""
        if self._items is None:
            column = self.batch.column
            self._items = column("inst").item, column("flags").item, column("price_int").item
        return self._items

    def release(self) -> None:
        """Forget the views, which hold the segment: a cycle keeps a batch until it is collected."""
        self._views.clear()

    def rows_of(self, dense: int) -> Rows:
        """Return the rows of one instrument, rising."""
        if self._by_instrument is None:
            self._by_instrument = ByInstrument(self.batch.column("inst"), len(self.batch.table))
        return self._by_instrument.rows(dense)

    def rows_back(self, dense: int, until: int | None = None) -> Iterable[int]:
        """Return the rows of one instrument from the last, or from `until`, back to the first."""
        if self.count < FEW_ROWS:
            inst = self.batch.column("inst").tolist()
            last = self.count - 1 if until is None else min(until, self.count - 1)
            return [row for row in range(last, -1, -1) if inst[row] == dense]
        if until is None:
            return self._from_last(dense)
        rows = self.rows_of(dense)
        return map(int, rows[: rows.searchsorted(until, side="right")][::-1])

    def _from_last(self, dense: int) -> Iterator[int]:
        last = self.last_row(dense)
        if last >= 0:
            yield last  # mostly the one that is looked for
            yield from map(int, self.rows_of(dense)[-2::-1])

    def last_row(self, dense: int) -> int:
        """Return the last row of one instrument, -1 where it has none."""
        if self._last is not None:
            return self._last.item(dense)
        rows = self.rows_of(dense)
        return rows.item(-1) if len(rows) else -1

    def reach(self, dense: int) -> list[int] | None:
        """Return the lowest and highest trade, bid and ask of an instrument; None where few rows.

        As integers at its scale; of what it has none, the lowest is above the highest.
        """
        if len(self) < FEW_ROWS:
            return None
        if self._reach is None:
            found = np.empty((len(self.batch.table), 6), np.int64)
            found[:, ::2], found[:, 1::2] = _MOST, -_MOST
            column = self.batch.column
            prices = column("price_int"), column("bid_int"), column("ask_int")
            widen(column("inst"), column("flags"), *prices, _REACHING, found)
            self._reach = found
        row: list[int] = self._reach[dense].tolist()  # of one: a table may be long
        return row

    def view(self, on: str) -> View:
        """Return the ticks that executors on trades, or on quotes, are fed with."""
        view = self._views.get(on)
        if view is None:
            view = View(self, on)
            self._views[on] = view
        return view


class View:
    """The ticks of one kind (`on: trades` or `on: quotes`) inside a segment."""

    __slots__ = (
        "_by_instrument",
        "_inst_list",
        "_parts",
        "_positions",
        "_ticks",
        "batch",
        "count",
        "ends",
        "inst",
        "segment",
    )

    def __init__(self, segment: Segment, on: str) -> None:
        self.segment = segment
        self.batch, self._positions = _of_kind(segment, on)
        self.count = len(self.batch)
        self.inst: npt.NDArray[np.int32] = self.batch.column("inst")
        self._by_instrument: ByInstrument | None = None
        self._parts: dict[tuple[int, ...], Part] = {}
        self._ticks: list[MarketTick] | None = None
        self._inst_list: list[int] | None = None
        self.ends: list[int] = []  # by row: the place behind it in its instrument's store

    def __len__(self) -> int:
        return self.count

    def ordinal(self, row: int) -> int:
        """Return the tick's position within consecutive ticks of equal (token, ts_event)."""
        return self.segment.ordinal(self.position(row))

    def feed(self, stores: dict[int, HistoryStore]) -> None:
        """Append this view's ticks to the histories, and learn every tick's number."""
        if len(self) < FEW_ROWS:
            self._feed_rows(stores)
            return
        fed = [(d, stores[d]) for d in self.segment.instruments if d in stores]
        for _, store in fed:
            store.cut()  # first: the new ticks take the places of the old ones, still in the cache
        ends = np.zeros(len(self), np.int64)
        ticks = self.ticks
        for dense, store in fed:
            rows = self.rows_of(dense)
            if not len(rows):
                continue
            place = len(store.ticks) + 1
            ends[rows] = np.arange(place, place + len(rows))
            if len(rows) == len(ticks):
                store.extend(ticks, self.batch, slice(None))
            else:
                store.extend(picked(ticks, rows.tolist()), self.batch, rows)
        self.ends = ends.tolist()

    def _feed_rows(self, stores: dict[int, HistoryStore]) -> None:
        # Row by row: for a few ticks that costs less than a pass over every instrument.
        self.ends = [0] * len(self)
        for dense in set(self.inst_list):
            if dense in stores:
                stores[dense].cut()
        for row, dense in enumerate(self.inst_list):
            store = stores.get(dense)
            if store is not None:
                store.extend([self.ticks[row]], self.batch, slice(row, row + 1))
                self.ends[row] = len(store.ticks)

    def position(self, row: int) -> int:
        """Return the segment's row of a row of this view."""
        return row if self._positions is None else int(self._positions[row])

    def row_at(self, position: int) -> int:
        """Return this view's row of a row of the segment that is in it."""
        return position if self._positions is None else int(self._positions.searchsorted(position))

    def positions_of(self, rows: Rows) -> Rows:
        """Return the segment's rows of several rows of this view."""
        return rows if self._positions is None else self._positions[rows]

    def rows_of(self, dense: int) -> Rows:
        """Return this view's rows of one instrument, rising."""
        if self._positions is None:
            return self.segment.rows_of(dense)
        if self._by_instrument is None:
            self._by_instrument = ByInstrument(self.inst, len(self.batch.table))
        return self._by_instrument.rows(dense)

    def part(self, of: tuple[int, ...], rows: Rows) -> Part:
        """Return the rows of some instruments side by side, once for all who have the same.

        Args:
            of: dense ids of the instruments.
            rows: of this view, rising: theirs.
        """
        part = self._parts.get(of)
        if part is None:
            part = self._parts[of] = Part(self, rows)
        return part

    @property
    def inst_list(self) -> list[int]:
        """Dense ids by row, as a list."""
        if self._inst_list is None:
            self._inst_list = self.inst.tolist()
        return self._inst_list

    @property
    def ticks(self) -> list[MarketTick]:
        """The ticks as processors see them, made once for all executors."""
        if self._ticks is None:
            self.batch.own()  # a tick may be kept
            self._ticks = market_ticks(self.batch)
        return self._ticks


def _clock_times(ticks: TickBatch) -> Rows:
    untimed = ticks.column("flags") & flag.NO_VENUE_TIME != 0
    by_venue = np.array([i.clock == "venue" for i in ticks.table])
    untimed &= by_venue[ticks.column("inst")]
    times: Rows = np.where(untimed, NO_TIME, ticks.column("ts_event"))
    return times


def _of_kind(segment: Segment, on: str) -> tuple[TickBatch, Rows | None]:
    batch = segment.batch
    if on == "trades" and segment.all_trades:
        return batch, None
    flags = batch.column("flags")
    if on == "trades":
        mine = (flags & flag.TRADE_LIKE != 0) & (flags & flag.NO_PRICE == 0)
        rows = np.flatnonzero(mine)
        return batch.take(rows), rows
    two_sided = (flags & flag.QUOTE != 0) & (flags & (flag.NO_BID | flag.NO_ASK) == 0)
    rows = np.flatnonzero(two_sided)
    quotes = batch.take(rows)
    columns: dict[str, Any] = {n: quotes.column(n) for n in quotes.names}
    # mid = (bid + ask) / 2 = (bid + ask) * 5 / 10: exact one decimal finer
    columns["price_int"] = (quotes.column("bid_int") + quotes.column("ask_int")) * 5
    return TickBatch(columns, batch.table, extra_scale=1), rows
