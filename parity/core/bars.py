"""The bars of one executor: its own ticks, cut where its detect clock passes an interval's end.

The detect clock is the largest time of the ticks of the executor's instruments, whatever their
kind, and of heartbeats; of it nothing but the interval it stands in is kept. When it leaves that
interval, the bars of all instruments in it close, in the order of their tokens. A tick of the
executor's kind whose interval the clock has left, or without a time, is counted and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from parity.core.told import Told
from parity.core.view import FEW_ROWS, NO_TIME
from parity.kernels.bars import Sums, bucket_of, grouped
from parity.model.bars import Bar, Bars

if TYPE_CHECKING:
    from parity.core.clocks import OwnTimes
    from parity.core.view import View
    from parity.model.instruments import InstrumentTable

EMPTY_MAX: Final = 1_000  # flat bars of an instrument in a row

Rows = npt.NDArray[np.int64]


class BarFeed:
    """Turns the ticks of one executor into bars.

    Args:
        declared: length, offset and the rule for empty intervals.
        tokens: instrument token by dense id.
        table: for the scales.
        on: "trades" or "quotes"; a mid is one decimal finer.
    """

    def __init__(
        self, declared: Bars, tokens: Mapping[int, int], table: InstrumentTable, on: str
    ) -> None:
        self._length = declared.length_ns
        self._offset = declared.offset_ns
        self._fills_up = declared.empty == "flat"
        self._tokens = dict(sorted(tokens.items()))
        finer = 1 if on == "quotes" else 0
        self._scales = {
            dense: (int(table.price_scales[dense]) + finer, int(table.quantity_scales[dense]))
            for dense in tokens
        }
        self._bucket: int | None = None  # interval the clock stands in
        self._began = 0  # time of the first own tick
        self._open: dict[int, Sums] = {}  # by dense id: bars of that interval
        self._last: dict[int, tuple[int, int]] = {}  # by dense id: last close, flat bars since
        self.closed = 0
        self.left_out = 0

    def feed(self, times: OwnTimes, view: View, rows: Rows | None) -> list[Told]:
        """Take a segment; return what closes in it.

        Args:
            times: of the ticks of the executor's instruments.
            view: the ticks of its kind.
            rows: its own of them; None is all.
        """
        own, newest = times.both()
        closings: list[Told] = []
        if len(own) < FEW_ROWS:
            mine = range(len(view)) if rows is None else rows.tolist()
            self._feed_few(own.tolist(), {view.position(r): r for r in mine}, view, closings)
        else:
            mine = np.arange(len(view)) if rows is None else rows
            self._feed_many(own, newest, mine, view, closings)
        return closings

    def advance(self, ns: int) -> list[Told]:
        """Move the clock to an instant that no tick brought; return what closes.

        Before the first tick there is nothing to move.
        """
        closings: list[Told] = []
        bucket = self._bucket_of(ns)
        if self._bucket is not None and bucket > self._bucket:
            self._leave(bucket, lambda number: 0, closings)
        return closings

    def _bucket_of(self, ns: int) -> int:
        return bucket_of(ns, self._length, self._offset)

    def _feed_few(
        self, own: list[int], mine: Mapping[int, int], view: View, closings: list[Told]
    ) -> None:
        clock_ts, batch = view.segment.clock_ts, view.batch
        columns = [batch.column(name) for name in ("price_int", "quantity_int", "side")]
        for position in own:
            ns = int(clock_ts[position])
            row = mine.get(position)
            if ns == NO_TIME:
                self.left_out += row is not None
                continue
            bucket = self._bucket_of(ns)
            if self._bucket is None:
                self._bucket, self._began = bucket, ns
            if bucket > self._bucket:
                self._leave(bucket, lambda number, at=position: at, closings)  # type: ignore[misc] # a lambda's default has no type
            if row is None:
                continue
            if bucket < self._bucket:
                self.left_out += 1
                continue
            price, quantity, side = (int(column[row]) for column in columns)
            self._open.setdefault(view.inst_list[row], Sums()).take(price, quantity, side)

    def _feed_many(
        self, own: Rows, newest: Rows, mine: Rows, view: View, closings: list[Told]
    ) -> None:
        if self._bucket is None:
            begins = int(newest.searchsorted(NO_TIME, side="right"))
            if begins == len(newest):
                self.left_out += len(mine)
                return
            self._began = int(newest[begins])
            self._bucket = self._bucket_of(self._began)
        positions = view.positions_of(mine)
        reached = np.maximum(self._buckets_of(newest), self._bucket)
        at = reached[own.searchsorted(positions)]
        ns = view.segment.clock_ts[positions]
        kept = np.flatnonzero((ns != NO_TIME) & (self._buckets_of(ns) == at))
        self.left_out += len(mine) - len(kept)

        def where(number: int) -> int:
            return int(own[reached.searchsorted(number, side="right")])

        taken, batch = mine[kept], view.batch
        columns = (batch.column(name)[taken] for name in ("price_int", "quantity_int", "side"))
        for bucket, dense, sums in grouped(at[kept], view.inst[taken], *columns):
            self._leave(bucket, where, closings)
            self._open.setdefault(dense, Sums()).follow(sums)
        self._leave(int(reached[-1]), where, closings)

    def _buckets_of(self, ns: Rows) -> Rows:
        return bucket_of(ns, self._length, self._offset)  # type: ignore[arg-type, return-value] # one rule, for a column as well

    def _leave(self, bucket: int, where: Callable[[int], int], closings: list[Told]) -> None:
        """Close the bars of every interval before `bucket`, in the order (end, token).

        `where` gives the row at which the clock leaves an interval.
        """
        assert self._bucket is not None  # it is set with the first tick
        if bucket <= self._bucket:
            return
        first = len(closings)
        for number in range(self._bucket, bucket if self._fills_up else self._bucket + 1):
            row, before = where(number), len(closings)
            for dense in self._tokens if self._fills_up else sorted(self._open):
                sums = self._open.pop(dense, None) or self._flat(dense)
                if sums is not None:
                    bar, token = self._bar(dense, number, sums), self._tokens[dense]
                    closings.append(Told(row, bar.end_ns, token, dense, bar))
            if len(closings) == before:
                break  # nor will there be any later
        self.closed += len(closings) - first
        self._bucket = bucket

    def _flat(self, dense: int) -> Sums | None:
        close, number = self._last.get(dense, (0, EMPTY_MAX))
        if number >= EMPTY_MAX:
            return None
        self._last[dense] = (close, number + 1)
        return Sums(0, close, close, close, close)

    def _bar(self, dense: int, number: int, sums: Sums) -> Bar:
        if sums.count and self._fills_up:
            self._last[dense] = (sums.close, 0)
        start = number * self._length + self._offset
        price_scale, quantity_scale = self._scales[dense]
        return Bar(
            instrument_token=self._tokens[dense],
            start_ns=start,
            end_ns=start + self._length,
            open_int=sums.open,
            high_int=sums.high,
            low_int=sums.low,
            close_int=sums.close,
            count=sums.count,
            volume_int=sums.volume,
            notional_int=sums.notional,
            buy_int=sums.buy,
            sell_int=sums.sell,
            price_scale=price_scale,
            quantity_scale=quantity_scale,
            partial=start < self._began,
        )

    def next_ns(self) -> int | None:
        """Return the end of the interval the clock stands in; None where nothing closes then."""
        if self._bucket is None or not (self._open or (self._fills_up and self._last)):
            return None
        return (self._bucket + 1) * self._length + self._offset

    def snapshot(self) -> dict[str, Any]:
        """Return the open bars as plain values; sums may be larger than 64 bits, so as text."""
        return {
            "at": [self._bucket, self._began, self.closed, self.left_out],
            "open": {str(d): " ".join(map(str, s.values())) for d, s in sorted(self._open.items())},
            "last": {str(d): list(last) for d, last in sorted(self._last.items())},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave."""
        self._bucket, self._began, self.closed, self.left_out = state["at"]
        self._open = {
            int(dense): Sums(*map(int, values.split())) for dense, values in state["open"].items()
        }
        self._last = {int(dense): (close, n) for dense, (close, n) in state["last"].items()}
