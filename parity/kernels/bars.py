"""The arithmetic of bars: ticks to open, high, low, close and sums, exact at any size.

Pure: a whole column at once (`grouped`), or one tick after the other (`Sums.take`); both mean the
same. Sums are integers without a bound; where int64 could not hold one, Python's integers do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[Any]
_INT64_MAX = (1 << 63) - 1


class Sums:
    """What one instrument has done in an interval so far; plain integers."""

    __slots__ = ("buy", "close", "count", "high", "low", "notional", "open", "sell", "volume")

    def __init__(
        self,
        count: int = 0,
        first: int = 0,
        high: int = 0,
        low: int = 0,
        close: int = 0,
        volume: int = 0,
        notional: int = 0,
        buy: int = 0,
        sell: int = 0,
    ) -> None:
        self.count = count
        self.open = first
        self.high = high
        self.low = low
        self.close = close
        self.volume = volume
        self.notional = notional
        self.buy = buy
        self.sell = sell

    def take(self, price: int, quantity: int, side: int) -> None:
        """Take one more tick."""
        if self.count == 0:
            self.open = self.high = self.low = price
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.count += 1
        self.volume += quantity
        self.notional += price * quantity
        if side > 0:
            self.buy += quantity
        elif side < 0:
            self.sell += quantity

    def follow(self, later: Sums) -> None:
        """Take all that came later."""
        if self.count == 0:
            self.open, self.high, self.low = later.open, later.high, later.low
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.count += later.count
        self.volume += later.volume
        self.notional += later.notional
        self.buy += later.buy
        self.sell += later.sell

    def values(self) -> list[int]:
        """Return all of it, in the order of the arguments."""
        return [
            self.count,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.notional,
            self.buy,
            self.sell,
        ]


def bucket_of(ns: int, length_ns: int, offset_ns: int) -> int:
    """Return the number of the interval [start, end) that an instant lies in."""
    return (ns - offset_ns) // length_ns


def grouped(
    buckets: Column, inst: Column, prices: Column, quantities: Column, sides: Column
) -> list[tuple[int, int, Sums]]:
    """Return (bucket, instrument, sums) in this order, over ticks whose bucket never falls.

    Args:
        buckets: number of each tick's interval, int64.
        inst: of each tick, int32.
        prices: int64.
        quantities: int64, not negative.
        sides: aggressors.
    """
    if not len(buckets):
        return []
    span = int(inst.max()) + 1
    key = (buckets - buckets[0]) * span + inst
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    ends = np.append(starts[1:], len(key)) - 1
    prices, quantities, sides = prices[order], quantities[order], sides[order]
    columns = (
        (ends - starts + 1).tolist(),
        prices[starts].tolist(),
        np.maximum.reduceat(prices, starts).tolist(),
        np.minimum.reduceat(prices, starts).tolist(),
        prices[ends].tolist(),
        _summed(quantities, starts),
        _summed(_products(prices, quantities), starts),
        _summed(np.where(sides > 0, quantities, 0), starts),
        _summed(np.where(sides < 0, quantities, 0), starts),
    )
    where = zip(buckets[order][starts].tolist(), inst[order][starts].tolist(), strict=True)
    return [
        (bucket, one, Sums(*values))
        for (bucket, one), values in zip(where, zip(*columns, strict=True), strict=True)
    ]


def _products(a: Column, b: Column) -> Column:
    fits = _largest(a) * _largest(b) <= _INT64_MAX
    product: Column = a * b if fits else a.astype(object) * b.astype(object)
    return product


def _summed(values: Column, starts: Column) -> list[int]:
    if values.dtype != object and _largest(values) * len(values) > _INT64_MAX:
        values = values.astype(object)
    sums: list[int] = np.add.reduceat(values, starts).tolist()
    return sums


def _largest(values: Column) -> int:
    return max(abs(int(values.max())), abs(int(values.min())))
