"""What the market was at a row of a segment: last prices, opens of bars, halts and auctions.

What is carried from segment to segment is kept per instrument, so batches may end anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from parity.core.money import EXACT
from parity.core.view import NO_TIME
from parity.model import ticks as flag

if TYPE_CHECKING:
    from parity.core.view import Segment, View

_SIDES: Final = (("bid_int", flag.NO_BID), ("ask_int", flag.NO_ASK))


def last_price(segment: Segment, dense: int, until: int | None = None) -> Decimal | None:
    """Return an instrument's last price in a segment: of a trade, the mid, or the one side.

    Args:
        segment: where to look.
        dense: the instrument.
        until: last row to look at; None is the segment's last.
    """
    flags = segment.batch.column("flags")
    scale = segment.batch.table.by_dense(dense).price_scale
    for row in segment.rows_back(dense, until):
        bits = flags.item(row)
        if bits & flag.TRADE_LIKE and not bits & flag.NO_PRICE:
            return Decimal(segment.batch.column("price_int").item(row)).scaleb(-scale, EXACT)
        sides = [n for n, absent in _SIDES if bits & flag.QUOTE and not bits & absent]
        if sides:
            total = sum(segment.batch.column(n).item(row) for n in sides)
            return Decimal(total * 10 // len(sides)).scaleb(-scale - 1, EXACT)
    return None


def marks(segment: Segment) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return every row that sets its instrument's last price, and the price, one decimal finer.

    The rule of last_price() for a whole segment at once: integers at the instrument's scale + 1.
    """
    batch = segment.batch
    flags = batch.column("flags")
    price = batch.column("price_int")
    traded = (flags & flag.TRADE_LIKE != 0) & (flags & flag.NO_PRICE == 0)
    quoted = (flags & flag.QUOTE != 0) & ~traded
    has_bid, has_ask = (quoted & (flags & absent == 0) for _, absent in _SIDES)
    bid, ask = (batch.column(name) for name, _ in _SIDES)
    sides = np.where(has_bid, bid, 0) + np.where(has_ask, ask, 0)
    finer = np.where(traded, price, sides) * np.where(has_bid & has_ask, 5, 10)
    rows = np.flatnonzero(traded | has_bid | has_ask)
    return rows, finer[rows]


class Prices:
    """Last prices of the instruments an executor has ever ordered, held now or not.

    Ever, not now: what is kept must not tell where batches ended.

    Args:
        watched: dense ids to watch from the beginning.
    """

    def __init__(self, watched: Iterable[int] = ()) -> None:
        self._carried: dict[int, Decimal] = {}  # by dense id
        self._watched: set[int] = set(watched)

    def watch(self, dense: int, paid: Decimal | None = None) -> None:
        """Carry this instrument's price from now on; `paid` is its price until it has one."""
        self._watched.add(dense)
        if paid is not None:
            self._carried.setdefault(dense, paid)

    def at(self, dense: int, row: int, segment: Segment) -> Decimal | None:
        """Return the last price at a row; None where there was none."""
        price = last_price(segment, dense, row)
        return self._carried.get(dense) if price is None else price

    def leave(self, segment: Segment) -> None:
        """Carry the last prices over to the next segment."""
        for dense in self._watched.intersection(segment.instruments):
            price = last_price(segment, dense)
            if price is not None:
                self._carried[dense] = price

    def snapshot(self) -> dict[str, str]:
        """Return what is carried."""
        return {str(d): str(p) for d, p in sorted(self._carried.items())}

    def restore(self, state: dict[str, str]) -> None:
        """Take back what snapshot() gave."""
        self._carried = {int(d): Decimal(p) for d, p in state.items()}
        self._watched.update(self._carried)


class Halts:
    """What the venue said of halts and auctions with the last tick of each instrument, of any kind.

    For what is said at deadlines, which has no tick of its own.
    """

    _BITS: Final = flag.HALTED | flag.AUCTION

    def __init__(self) -> None:
        self._carried: dict[int, int] = {}  # by dense id: bits, where there are any

    def at(self, dense: int, row: int, segment: Segment) -> int:
        """Return the bits of the last tick up to a row; none where there was no tick."""
        rows = segment.rows_of(dense)
        before = int(rows.searchsorted(row, side="right"))
        if not before:
            return self._carried.get(dense, 0)
        return int(segment.batch.column("flags")[rows[before - 1]]) & self._BITS

    def leave(self, tokens: Iterable[int], segment: Segment) -> None:
        """Carry the bits of the given instruments over to the next segment."""
        for dense in {*tokens}.intersection(segment.instruments):
            bits = self.at(dense, len(segment), segment)
            if bits:
                self._carried[dense] = bits
            else:
                self._carried.pop(dense, None)

    def snapshot(self) -> dict[str, int]:
        """Return what is carried."""
        return {str(dense): bits for dense, bits in sorted(self._carried.items())}

    def restore(self, state: dict[str, int]) -> None:
        """Take back what snapshot() gave."""
        self._carried = {int(dense): bits for dense, bits in state.items()}


class BarOpens:
    """The price at which each instrument's current bar began.

    A bar is an interval of the instrument's own time; its first tick is the one with which that
    time enters it. A late tick belongs to a closed bar and opens none.
    """

    def __init__(self, bar_ns: int) -> None:
        self._bar_ns = bar_ns
        self._carried: dict[int, tuple[int, int]] = {}  # by dense id: newest time, open as integer
        self._opens: dict[int, tuple[npt.NDArray[Any], npt.NDArray[Any], int]] = {}

    def enter(self) -> None:
        """Begin with a new segment."""
        self._opens = {}

    def at(self, dense: int, row: int, view: View) -> Decimal | None:
        """Return the open of the bar that a row of the segment lies in."""
        positions, opens, _ = self._of(dense, view)
        at = int(positions.searchsorted(row, side="right")) - 1
        carried = self._carried.get(dense)
        if at < 0 and carried is None:
            return None
        opened = int(opens[at]) if at >= 0 or carried is None else carried[1]
        scale = view.batch.table.by_dense(dense).price_scale + view.batch.extra_scale
        return Decimal(opened).scaleb(-scale, EXACT)

    def _of(self, dense: int, view: View) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int]:
        found = self._opens.get(dense)
        if found is None:
            found = self._opens[dense] = self._made(dense, view)
        return found

    def _made(self, dense: int, view: View) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int]:
        rows = view.rows_of(dense)
        positions = view.positions_of(rows)
        if not len(rows):
            return positions, positions, NO_TIME
        newest, opened = self._carried.get(dense, (NO_TIME, 0))
        reached = np.maximum.accumulate(np.maximum(view.segment.clock_ts[positions], newest))
        bars = reached // self._bar_ns
        begins = np.empty(len(rows), np.bool_)
        begins[0] = dense not in self._carried or bars[0] != newest // self._bar_ns
        begins[1:] = bars[1:] != bars[:-1]
        first = np.maximum.accumulate(np.where(begins, np.arange(len(rows)), -1))
        prices = view.batch.column("price_int")[rows]
        return positions, np.where(first >= 0, prices[first], opened), int(reached[-1])

    def leave(self, tokens: Iterable[int], view: View) -> None:
        """Carry the bars of the given instruments over to the next segment."""
        for dense in tokens:
            positions, opens, newest = self._of(dense, view)
            if len(positions):
                self._carried[dense] = (newest, int(opens[-1]))

    def snapshot(self) -> dict[str, list[int]]:
        """Return what is carried."""
        return {str(d): list(kept) for d, kept in self._carried.items()}

    def restore(self, state: dict[str, list[int]]) -> None:
        """Take back what snapshot() gave."""
        self._carried = {int(d): (newest, opened) for d, (newest, opened) in state.items()}
        self._opens = {}
