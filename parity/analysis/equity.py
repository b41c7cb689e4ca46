"""Equity over time: cash and marked positions of a run's books, at fills, on a grid, at extremes.

Marks are the engine's own last prices. Which ticks of a stretch matter is found with floats; what
is said of them is exact. So the curve has the deepest drawdown over all ticks, however coarse its
grid. Never here: what a batch was; the ticks are looked at stretch by stretch of the grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from parity.analysis.books import ZERO, Book
from parity.core.market import marks
from parity.core.money import WIDE
from parity.core.view import Scan, Segment

if TYPE_CHECKING:
    from parity.model.events import EventBatch
    from parity.model.instruments import InstrumentTable

COLUMNS: Final = ("seq", "ts_event", "instrument_token", "flags", "price_int", "bid_int", "ask_int")
START, FILL, GRID, EXTREME = "start", "fill", "grid", "extreme"
POINTS: Final = (START, FILL, GRID, EXTREME)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Point(msgspec.Struct, frozen=True):
    """Equity after everything that happened at one tick.

    Args:
        seq: of the tick.
        clock_ns: the largest ts_event so far.
        point: why it is on the curve: "start", "fill", "grid" or "extreme".
        cash: exact.
        value: of the marked positions, exact.
        cost: of what is held, exact.
    """

    seq: int
    clock_ns: int
    point: str
    cash: Decimal
    value: Decimal
    cost: Decimal

    @property
    def unrealised(self) -> Decimal:
        """What the positions gained since they were entered."""
        return WIDE.subtract(self.value, self.cost)

    @property
    def equity(self) -> Decimal:
        """Cash and marked positions."""
        return WIDE.add(self.cash, self.value)


class Grid(NamedTuple):
    """Equal stretches of time, counted from `start_ns`."""

    start_ns: int
    step_ns: int

    @classmethod
    def over(cls, first_ns: int, last_ns: int, stretches: int) -> Grid:
        """Return at most so many stretches, the last of which holds `last_ns`."""
        return cls(first_ns, (last_ns - first_ns) // stretches + 1)


class Stretch:
    """The ticks of one stretch that set a price, in order.

    Args:
        seq: of each.
        clock: the largest ts_event so far.
        dense: instrument.
        mark: the price, an integer at the instrument's scale + 1.
    """

    __slots__ = ("_rows", "clock", "dense", "mark", "seq")

    def __init__(self, seq: Ints, clock: Ints, dense: Ints, mark: Ints) -> None:
        self.seq = seq
        self.clock = clock
        self.dense = dense
        self.mark = mark
        self._rows: dict[int, Ints] = {}

    def part(self, lo: int, hi: int) -> Stretch:
        """Return the rows lo to hi."""
        return Stretch(self.seq[lo:hi], self.clock[lo:hi], self.dense[lo:hi], self.mark[lo:hi])

    def rows_of(self, dense: int) -> Ints:
        """Return the rows of one instrument, rising."""
        rows = self._rows.get(dense)
        if rows is None:
            rows = self._rows[dense] = np.flatnonzero(self.dense == dense)
        return rows


class Account:
    """The books of one strategy, or of several together, as steps over seq; and their curve.

    Args:
        books: whose.
        table: the instruments.
    """

    def __init__(self, books: Sequence[Book], table: InstrumentTable) -> None:
        self.books = books
        self.points: list[Point] = []
        self.exposed = 0.0  # sum of |positions| × mark × ns
        self.held_ns = 0  # with a position
        self.all_ns = 0
        entries = sorted(((e.seq, b.key, b, e) for b in books for e in b.entries), key=_order)
        self._seqs = np.array([seq for seq, *_ in entries], np.int64)
        self._steps(entries, table)
        self._marks: dict[int, int] = {}  # last one, by dense id
        self._last: tuple[int, float] | None = None  # clock, exposure
        self._taken = 0  # fills that are on the curve

    def _steps(self, entries: Sequence[Any], table: InstrumentTable) -> None:
        cash = cost = ZERO
        for book in self.books:
            cash = WIDE.add(cash, book.start)
        self._cash, self._cost = [cash], [cost]
        held: dict[int, Decimal] = {}
        steps: dict[int, list[tuple[int, Decimal]]] = {}
        latest = {book.key: (book.start, dict[int, Decimal]()) for book in self.books}
        costs: dict[Any, Decimal] = {}
        for at, (_, key, _, entry) in enumerate(entries, 1):
            before, own = latest[key]
            token = entry.instrument_token
            cost = WIDE.add(cost, WIDE.subtract(entry.cost, costs.get((key, token), ZERO)))
            costs[key, token] = entry.cost
            self._cost.append(cost)
            cash = WIDE.add(cash, WIDE.subtract(entry.cash, before))
            more = WIDE.subtract(entry.position, own.get(token, ZERO))
            held[token] = WIDE.add(held.get(token, ZERO), more)
            own[token] = entry.position
            latest[key] = (entry.cash, own)
            self._cash.append(cash)
            steps.setdefault(token, []).append((at, held[token]))
        self._cash_floats = np.array([float(c) for c in self._cash])
        self._positions = [_Steps.of(token, found, table) for token, found in sorted(steps.items())]

    def take(self, stretch: Stretch) -> None:
        """Take the next stretch of ticks."""
        last = len(stretch.seq) - 1
        step = self._seqs.searchsorted(stretch.seq, side="right")
        after = int(step[-1])
        wanted: dict[int, str] = {last: GRID}
        held = [p for p in self._positions if p.any(self._taken, after)]
        rows = np.array([0, last])
        exposure = np.zeros(2)
        if held:
            rows = self._rows(stretch, step, held)
            equity, exposure = self._floats(stretch, rows, step, held)
            wanted = dict.fromkeys(rows[_extremes(equity)].tolist(), EXTREME) | wanted
        fills = stretch.seq.searchsorted(self._seqs[self._taken : after])
        wanted |= dict.fromkeys(fills.tolist(), FILL)
        if self._last is None:
            wanted[0] = FILL if wanted.get(0) == FILL else START
        self._weigh(stretch.clock, rows, exposure)
        for row in sorted(wanted):
            self.points.append(self._point(stretch, row, int(step[row]), wanted[row]))
        for position in self._positions:
            own = stretch.rows_of(position.dense)
            if len(own):
                self._marks[position.dense] = int(stretch.mark[own[-1]])
        self._taken = after

    def _rows(self, stretch: Stretch, step: Ints, held: Sequence[_Steps]) -> Ints:
        """Return the rows at which something changes: marks of what is held, and fills."""
        fills = np.flatnonzero(np.diff(step)) + 1
        ends = np.array([0, len(step) - 1])  # what came before the stretch is settled at its first
        own = [stretch.rows_of(position.dense) for position in held]
        return np.unique(np.concatenate([ends, fills, *own]))

    def _floats(
        self, stretch: Stretch, rows: Ints, step: Ints, held: Sequence[_Steps]
    ) -> tuple[Floats, Floats]:
        steps = step[rows]
        equity = self._cash_floats[steps]
        exposure = np.zeros(len(rows))
        for position in held:
            own = stretch.rows_of(position.dense)
            known = np.concatenate([[self._marks.get(position.dense, 0)], stretch.mark[own]])
            mark = known[own.searchsorted(rows, side="right")]
            worth = position.at(steps) * (mark * position.unit)
            equity = equity + worth
            exposure += np.abs(worth)
        return equity, exposure

    def _weigh(self, clock: Ints, rows: Ints, exposure: Floats) -> None:
        times = clock[rows]
        if self._last is not None:
            times = np.concatenate([[self._last[0]], times])
            exposure = np.concatenate([[self._last[1]], exposure])
        lasted = np.diff(times)
        self.exposed += float(np.dot(exposure[:-1], lasted))
        self.held_ns += int(lasted[exposure[:-1] > 0].sum())
        self.all_ns += int(lasted.sum())
        self._last = (int(times[-1]), float(exposure[-1]))

    def _point(self, stretch: Stretch, row: int, step: int, why: str) -> Point:
        value = ZERO
        for position in self._positions:
            held = position.exact(step)
            if not held:
                continue
            own = stretch.rows_of(position.dense)
            at = int(own.searchsorted(row, side="right"))
            mark = int(stretch.mark[own[at - 1]]) if at else self._marks[position.dense]
            worth = WIDE.multiply(WIDE.multiply(held, position.size), Decimal(mark))
            value = WIDE.add(value, worth.scaleb(-position.scale, WIDE))
        clock = int(stretch.clock[row])
        seq, cash, cost = int(stretch.seq[row]), self._cash[step], self._cost[step]
        return Point(seq, clock, why, cash, value, cost)


class _Steps(NamedTuple):
    """The position in one instrument as a step function of the number of fills."""

    dense: int
    size: Decimal
    scale: int  # of marks
    unit: float  # what a mark of 1 is worth for one contract
    begins: Ints
    held: list[Decimal]
    floats: Floats

    @classmethod
    def of(cls, token: int, found: Sequence[tuple[int, Decimal]], table: InstrumentTable) -> _Steps:
        instrument = table.by_token(token)
        begins = np.array([0, *(at for at, _ in found)], np.int64)
        held = [ZERO, *(position for _, position in found)]
        scale = instrument.price_scale + 1
        size = Decimal(instrument.contract_size)
        unit = float(size) / 10**scale
        floats = np.array([float(one) for one in held])
        return cls(table.dense_id(token), size, scale, unit, begins, held, floats)

    def any(self, before: int, after: int) -> bool:
        """Say whether anything is held between two numbers of fills, both included."""
        lo = int(self.begins.searchsorted(before, side="right")) - 1
        hi = int(self.begins.searchsorted(after, side="right"))
        return any(self.held[lo:hi])

    def at(self, steps: Ints) -> Floats:
        """Return the positions after so many fills, as floats."""
        return self.floats[self.begins.searchsorted(steps, side="right") - 1]

    def exact(self, step: int) -> Decimal:
        """Return the position after so many fills."""
        return self.held[int(self.begins.searchsorted(step, side="right")) - 1]


def _order(entry: Any) -> Any:
    return entry[:2]


def _extremes(equity: Floats) -> Ints:
    """Return where a curve is highest and lowest, and where it has fallen most, from where."""
    peaks = np.maximum.accumulate(equity)
    found = [int(equity.argmax()), int(equity.argmin())]
    for fall in (peaks - equity, 1.0 - equity / np.where(peaks > 0, peaks, np.inf)):
        trough = int(fall.argmax())
        found += [trough, int(equity[: trough + 1].argmax())]
    return np.unique(found)


def trace(
    accounts: Sequence[Account], events: Iterable[EventBatch], table: InstrumentTable, grid: Grid
) -> None:
    """Draw the curves of accounts over the events of their run.

    Args:
        accounts: fresh.
        events: in seq order, with COLUMNS.
        table: the instruments.
        grid: the stretches of time.
    """
    for stretch in _stretches(events, table, grid):
        for account in accounts:
            account.take(stretch)


def _stretches(
    events: Iterable[EventBatch], table: InstrumentTable, grid: Grid
) -> Iterator[Stretch]:
    """Cut marked ticks where the clock enters a new stretch, whatever the batches were."""
    scan, clock = Scan(len(table)), grid.start_ns
    kept: list[Stretch] = []
    for batch in events:
        if not len(batch.ticks):
            continue
        segment = Segment(batch.ticks, scan)
        if not len(segment):
            continue
        clocks = np.maximum(np.maximum.accumulate(segment.clock_ts), clock)
        clock = int(clocks[-1])  # before the first tick with a time, the grid's start
        rows, mark = marks(segment)
        dense = segment.batch.column("inst")[rows].astype(np.int64)
        found = Stretch(segment.seq[rows], clocks[rows], dense, mark)
        yield from _cut(kept, found, (found.clock - grid.start_ns) // grid.step_ns, grid)
    if kept:
        yield _joined(kept)


def _cut(kept: list[Stretch], found: Stretch, number: Ints, grid: Grid) -> Iterator[Stretch]:
    if not len(number):
        return
    begins = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(number)]
    if kept and (int(kept[-1].clock[-1]) - grid.start_ns) // grid.step_ns != int(number[0]):
        yield _joined(kept)
        kept.clear()
    for lo, hi in pairwise(begins):
        kept.append(found.part(lo, hi))
        if hi < len(number):
            yield _joined(kept)
            kept.clear()


def _joined(kept: Sequence[Stretch]) -> Stretch:
    if len(kept) == 1:
        return kept[0]
    columns = ([s.seq, s.clock, s.dense, s.mark] for s in kept)
    return Stretch(*(np.concatenate(column) for column in zip(*columns, strict=True)))


class Drawdown(NamedTuple):
    """The deepest fall of a curve from its highest point so far."""

    amount: Decimal
    fraction: float
    peak_seq: int
    trough_seq: int


def drawdown(points: Sequence[Point]) -> Drawdown:
    """Return the largest max(equity so far) − equity, exact, and the largest share of that maximum.

    The two may come from different falls; the seqs are those of the amount's. A maximum that is not
    above 0 has no share.
    """
    top: Point | None = None
    found, fraction = Drawdown(ZERO, 0.0, 0, 0), 0.0
    for point in points:
        equity = point.equity
        if top is None or equity > top.equity:
            top = point
        fall = WIDE.subtract(top.equity, equity)
        if fall > found.amount:
            found = Drawdown(fall, 0.0, top.seq, point.seq)
        if top.equity > 0:
            fraction = max(fraction, float(fall) / float(top.equity))
    return found._replace(fraction=fraction)
