"""Bars as a strategy sees them, and what it declares to get them.

A bar covers [start, end) of the executor's detect clock: its start included, its end not. Never
here: how ticks become bars (parity.core.bars).
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Final

import msgspec

from parity.model.errors import ConfigError
from parity.model.parameters import in_ns

EMPTY_RULES: Final = ("skip", "flat")
LENGTH_SEC: Final = (0.001, 7 * 86_400)  # least and most
_EXACT: Final = Context(prec=60)  # not the thread's own, which a strategy may have changed


class Bars(msgspec.Struct, frozen=True):
    """What a processor with `process_bar` declares in its attribute `bars`.

    Args:
        seconds: length of a bar, 0.001 to a week, in whole nanoseconds.
        offset_sec: bars begin at this instant of the Unix epoch plus multiples of the length, so 0
            is midnight UTC for a length that divides a day; 13 500 (03:45 UTC) lets bars of two
            hours begin with NSE's regular session.
        empty: what becomes of an interval without a tick of the instrument. "skip": no bar.
            "flat": a bar of count 0 at the last close, at most 1 000 of them in a row.

    Raises:
        ConfigError: naming the field that is wrong.
    """

    seconds: float
    offset_sec: float = 0
    empty: str = "skip"

    def __post_init__(self) -> None:
        least, most = LENGTH_SEC
        number = isinstance(self.seconds, int | float) and not isinstance(self.seconds, bool)
        if not (number and least <= self.seconds <= most):
            raise ConfigError(
                f"bars: seconds: expected a number from {least} to {most}, was {self.seconds!r}"
            )
        if not isinstance(self.offset_sec, int | float) or not 0 <= self.offset_sec <= most:
            raise ConfigError(
                f"bars: offset_sec: expected a number from 0 to {most}, was {self.offset_sec!r}"
            )
        if self.empty not in EMPTY_RULES:
            raise ConfigError(
                f"bars: empty: expected one of {', '.join(EMPTY_RULES)}, was {self.empty!r}"
            )

    @property
    def length_ns(self) -> int:
        """Length of a bar in ns."""
        return in_ns(self.seconds)

    @property
    def offset_ns(self) -> int:
        """Where bars begin, in ns after the Unix epoch."""
        return in_ns(self.offset_sec)


class Bar(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an instrument did in [start_ns, end_ns).

    Everything is exact: prices are integers at `price_scale` (one finer than the instrument's for
    mids of quotes), quantities at `quantity_scale`, `notional_int` (sum of price × quantity) at
    the sum of both. The properties divide once.

    Args:
        open_int: price of its first tick, never the close of the bar before.
        count: its ticks; 0 in a flat bar, whose prices are the last close.
        buy_int: quantity of ticks whose aggressor bought, of all in `volume_int`.
        sell_int: quantity of ticks whose aggressor sold.
        partial: the interval had begun before the executor's first tick, so earlier ticks of it
            may be missing.
    """

    instrument_token: int
    start_ns: int
    end_ns: int
    open_int: int
    high_int: int
    low_int: int
    close_int: int
    count: int
    volume_int: int
    notional_int: int
    buy_int: int
    sell_int: int
    price_scale: int
    quantity_scale: int
    partial: bool = False

    @property
    def open(self) -> float:
        """Price of the first tick."""
        return self.open_int / _power(self.price_scale)

    @property
    def high(self) -> float:
        """Highest price."""
        return self.high_int / _power(self.price_scale)

    @property
    def low(self) -> float:
        """Lowest price."""
        return self.low_int / _power(self.price_scale)

    @property
    def close(self) -> float:
        """Price of the last tick."""
        return self.close_int / _power(self.price_scale)

    @property
    def volume(self) -> float:
        """Sum of the quantities."""
        return self.volume_int / _power(self.quantity_scale)

    @property
    def notional(self) -> float:
        """Sum of price × quantity."""
        return self.notional_int / _power(self.price_scale + self.quantity_scale)

    @property
    def delta(self) -> float:
        """Quantity bought minus quantity sold, by the aggressor's side."""
        return (self.buy_int - self.sell_int) / _power(self.quantity_scale)

    @property
    def vwap(self) -> float | None:
        """Notional by volume; None where nothing was traded."""
        if not self.volume_int:
            return None
        return self.notional_int / (self.volume_int * _power(self.price_scale))

    def exact(self, name: str) -> Decimal:
        """Return `open`, `high`, `low`, `close`, `volume` or `notional` as an exact Decimal.

        Raises:
            ConfigError: it is none of these.
        """
        scales = dict.fromkeys(("open", "high", "low", "close"), self.price_scale)
        scales |= {"volume": self.quantity_scale}
        scales |= {"notional": self.price_scale + self.quantity_scale}
        if name not in scales:
            raise ConfigError(f"bar: {name!r} is none of {', '.join(scales)}")
        value: int = getattr(self, f"{name}_int")
        return Decimal(value).scaleb(-scales[name], _EXACT)


def _power(scale: int) -> int:
    # int / int is rounded once, so prices are the float64 that parsing their text gives.
    return int(10**scale)
