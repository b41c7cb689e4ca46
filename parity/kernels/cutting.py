"""Bars of one instrument from columns of ticks, or a tick at a time: by time, ticks or volume.

The steps are those of `parity.kernels.bar_steps`, compiled down a whole column or in plain Python
in a stream. A row where a tick lacks its instant, price or quantity is as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from parity.kernels.bar_steps import BAR, bars_state
from parity.kernels.columns import as_instants, as_integers
from parity.kernels.exact import EXACT_MAX, WIDE_DENOMINATOR_MAX, divide, wide_divide
from parity.kernels.indicator import carried, compiled
from parity.kernels.record import Record, restored

Parameters = Mapping[str, Any]
_FIELDS: Final = ("start", "end", "open", "high", "low", "close", "count", "volume", "notional",
                  "buy", "sell", "partial")  # fmt: skip


class ClosedBar(NamedTuple):
    """A bar that closed, all of it exact: integers as they were given, the notional their product.

    Args:
        start: ns UTC: of the interval, or of the first tick where bars are of ticks or volume.
        end: where the interval ends, itself not in it; or the newest instant in the bar.
        open: price of the first tick, never the close of the bar before.
        high: highest price.
        low: lowest price.
        close: price of the last tick.
        count: ticks; 0 in a flat bar, whose prices are the last close.
        volume: of all ticks.
        notional: sum of price × quantity.
        buy: quantity of ticks whose aggressor bought.
        sell: quantity of ticks whose aggressor sold.
        partial: the interval had begun before the first tick, so earlier ticks may be missing.
    """

    start: int
    end: int
    open: int
    high: int
    low: int
    close: int
    count: int  # type: ignore[assignment] # the bar's; nobody counts in the tuple
    volume: int
    notional: int
    buy: int
    sell: int
    partial: bool


def flat_bar(start: int, end: int, close: int) -> ClosedBar:
    """Return the bar of an interval without a tick."""
    return ClosedBar._make([start, end, *[close] * 4, *[0] * 5, False])


class BarColumns(NamedTuple):
    """Bars as columns, a row a bar, as ClosedBar has them but in units: floats, rounded once.

    `start` and `end` are int64 ns UTC, `count` int64, `partial` bool; `vwap` is NaN where nothing
    was traded. `left_out` is how many late ticks are in no bar.
    """

    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    open: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    close: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]  # type: ignore[assignment] # as above
    volume: npt.NDArray[np.float64]
    notional: npt.NDArray[np.float64]
    vwap: npt.NDArray[np.float64]
    buy: npt.NDArray[np.float64]
    sell: npt.NDArray[np.float64]
    partial: npt.NDArray[np.bool_]
    left_out: int

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the columns by name, as any library makes a frame of."""
        found: dict[str, Any] = self._asdict()
        del found["left_out"]
        return found


@dataclass(frozen=True, kw_only=True, repr=False)
class BarRule:
    """One way to cut ticks into bars; called with columns it gives BarColumns.

    Args:
        name: as in `parity.kernels`.
        title: in words.
        rule: when a bar closes, what is partial, empty or late.
        parameters: names, each with its default.
        arguments: parameters and the unit of quantities as the integers the step takes.
        step: the streaming form.
        reference: the definition over a list of ticks: the bars, and how many are left out.
    """

    name: str
    title: str
    rule: str
    parameters: Mapping[str, Any]
    arguments: Callable[[Parameters, int], tuple[int, ...]]
    step: Callable[..., int]
    reference: Callable[..., tuple[list[ClosedBar], int]]

    def __repr__(self) -> str:
        defaults = (f"{name}={value!r}" for name, value in self.parameters.items())
        inputs = "ts_event, price, quantity, side=None"
        return f"{self.name}({inputs}, {', '.join(defaults)}): {self.title}"

    def __call__(
        self,
        ts_event: Any,
        price: Any,
        quantity: Any,
        side: Any = None,
        *,
        unit: int | None = None,
        quantity_unit: int | None = None,
        **named: Any,
    ) -> BarColumns:
        """Return the bars of one instrument's ticks that closed; the open one is not among them.

        Args:
            ts_event: ns UTC as integers, or datetimes with a time zone (numpy's are UTC), in the
                order of arrival.
            price: integers of `unit`, or floats or Decimals, taken at their shortest decimal.
            quantity: likewise, of `quantity_unit`.
            side: aggressors: 1, -1, or 0 or nothing where unknown; None is unknown throughout.
            unit: what one is in integers, 10**scale; by default 1 or what the column says.
            quantity_unit: the same for quantities.
            named: the rule's parameters.

        Raises:
            TypeError: an unknown parameter.
            ValueError: a parameter or a value that makes no sense, or columns of unequal length.
            OverflowError: an instant beyond int64, a price or the volume of a bar beyond 2**53.
        """
        where = [f"{self.name}: {name}" for name in ("ts_event", "price", "quantity", "side")]
        instants = as_instants(ts_event, where[0])
        prices, scale = as_integers([price], where[1:2], unit is not None)
        quantities, quantity_scale = as_integers([quantity], where[2:3], quantity_unit is not None)
        unknown = np.zeros(len(instants), np.int64)
        sides = as_integers([unknown if side is None else side], where[3:], True)[0][0]
        columns = [instants, *prices, *quantities, sides.filled(0)]
        if len({len(column) for column in columns}) > 1:
            lengths = ", ".join(str(len(column)) for column in columns)
            raise ValueError(f"{self.name}: columns of unequal length: {lengths}")
        gaps = np.zeros(len(instants), bool)
        for column in columns:
            gaps |= np.ma.getmaskarray(column)
        kept = np.array([np.ma.getdata(column)[~gaps] for column in columns], np.int64)
        unit = 10**scale if unit is None else self._unit("unit", unit)
        if quantity_unit is None:
            quantity_unit = 10**quantity_scale
        integers = self.integers(named, quantity_unit)
        if unit * quantity_unit > WIDE_DENOMINATOR_MAX:
            raise ValueError(f"{self.name}: unit * quantity_unit: expected at most 2**57")
        states = np.zeros(1, bars_state())
        bars = self.advance(states, kept, integers)
        return _in_units(_filled(bars), unit, quantity_unit, int(states["left_out"][0]))

    def integers(self, named: Parameters, quantity_unit: int = 1) -> tuple[int, ...]:
        """Return what the step takes between state and tick; raises on a wrong parameter by name.

        Args:
            named: the rule's parameters.
            quantity_unit: what one is in the integers of the quantities.
        """
        for name in named:
            if name not in self.parameters:
                raise TypeError(
                    f"{self.name}: {name}: no such parameter; it takes {', '.join(self.parameters)}"
                )
        unit = self._unit("quantity_unit", quantity_unit)
        try:
            return self.arguments({**self.parameters, **named}, unit)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None

    def _unit(self, name: str, unit: Any) -> int:
        if not isinstance(unit, int | np.integer) or isinstance(unit, bool) or unit < 1:
            raise ValueError(f"{self.name}: {name}: expected 1 or more, was {unit!r}")
        return int(unit)

    def advance(
        self, states: npt.NDArray[Any], ticks: npt.NDArray[np.int64], integers: tuple[int, ...]
    ) -> npt.NDArray[Any]:
        """Carry a state on over more ticks, by compiled code; return the bars that closed.

        Args:
            states: one record of bars_state(), changed in place; a copy of it is a snapshot.
            ticks: rows ts_event, price, quantity, side.
            integers: of the same name.

        Raises:
            OverflowError: a price or the volume of a bar beyond 2**53.
            ValueError: a quantity below 0. The states are then as they were before.
        """
        if ticks.shape[1] and max(int(ticks[1].max()), -int(ticks[1].min())) > EXACT_MAX:
            raise OverflowError(f"{self.name}: price: expected at most 2**53")
        out = np.zeros(ticks.shape[1], BAR)
        count = carried(_looped(self.step), states, (integers, ticks, out), name=self.name)
        return out[:count]

    def stream(self, *, quantity_unit: int = 1, **named: Any) -> BarStream:
        """Return a streaming form in plain Python, for processors."""
        return BarStream(self, self.integers(named, quantity_unit))


class BarStream:
    """Bars one tick at a time in plain Python; the same as the compiled column's."""

    def __init__(self, rule: BarRule, integers: tuple[int, ...]) -> None:
        self._rule = rule
        self._integers = integers
        zeros = np.zeros(1, bars_state())[0]
        self._state: Any = Record(zeros, zeros.dtype.names)

    @property
    def left_out(self) -> int:
        """How many late ticks are in no bar."""
        return int(self._state.left_out)

    def push(self, ts_event: int, price: int, quantity: int, side: int = 0) -> list[ClosedBar]:
        """Take one tick; return the bars that closed, none as a rule.

        Raises:
            TypeError: something that is no integer.
            ValueError: a quantity below 0.
            OverflowError: a price or the volume of a bar beyond 2**53, or an integer of more than
                64 bits. The state is as before.
        """
        where = self._rule.name
        given = {"ts_event": ts_event, "price": price, "quantity": quantity, "side": side}
        for name, value in given.items():
            if not isinstance(value, int | np.integer):
                raise TypeError(f"{where}: {name}: expected an integer, was {value!r}")
            if not -(2**63) <= value < 2**63:
                raise OverflowError(f"{where}: {name}: expected 64 bits, was {value}")
        if not -EXACT_MAX <= price <= EXACT_MAX:
            raise OverflowError(f"{where}: price: expected at most 2**53, was {price}")
        try:
            count = self._rule.step(self._state, *self._integers, *map(int, given.values()))
        except (OverflowError, ValueError) as error:
            raise type(error)(f"{where}: {error}, at {list(given.values())}") from None
        return _expanded(vars(self._state.closed)) if count else []

    def snapshot(self) -> dict[str, Any]:
        """Return rule, its integers and the state as plain values."""
        named = {"rule": self._rule.name, "integers": list(self._integers)}
        return {**named, "state": self._state.plain()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave.

        Raises:
            ValueError: it is another rule's, of other parameters, or no snapshot.
        """
        own = {"rule": self._rule.name, "integers": list(self._integers)}
        self._state = restored(state, own, bars_state(), f"{self._rule.name}: restore")


def _expanded(closed: Mapping[str, int]) -> list[ClosedBar]:
    """Return a closed bar and the flat ones behind it."""
    notional = closed["notional_high"] * 2**60 + closed["notional_low"]
    values = {**closed, "notional": notional, "partial": bool(closed["partial"])}
    bars = [ClosedBar._make(values[name] for name in _FIELDS)]
    length, close = closed["end"] - closed["start"], closed["close"]
    for number in range(closed["flat"]):
        start = closed["end"] + number * length
        bars.append(flat_bar(start, start + length, close))
    return bars


def _filled(bars: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the bars with the flat ones behind each."""
    if not bars["flat"].any():
        return bars
    rows = np.repeat(np.arange(len(bars)), bars["flat"] + 1)
    number = np.arange(len(rows)) - np.searchsorted(rows, rows)  # 0 for the bar itself
    filled, flat = bars[rows], number > 0
    length = filled["end"] - filled["start"]
    filled["start"] += number * length
    filled["end"] += number * length
    for name in ("open", "high", "low"):
        filled[name][flat] = filled["close"][flat]
    for name in ("count", "volume", "notional_high", "notional_low", "buy", "sell", "partial"):
        filled[name][flat] = 0
    return filled


def _in_units(bars: npt.NDArray[Any], unit: int, quantity_unit: int, left_out: int) -> BarColumns:
    def over(name: str, of: int) -> npt.NDArray[np.float64]:
        return np.array([divide(value, of) for value in bars[name].tolist()], np.float64)

    pairs = list(zip(bars["notional_high"].tolist(), bars["notional_low"].tolist(), strict=True))
    notional = [wide_divide(high, low, unit * quantity_unit) for high, low in pairs]
    vwap = [
        float(Fraction(high * 2**60 + low, volume * unit)) if volume else np.nan
        for (high, low), volume in zip(pairs, bars["volume"].tolist(), strict=True)
    ]
    prices = (over(name, unit) for name in ("open", "high", "low", "close"))
    sides = (over(name, quantity_unit) for name in ("buy", "sell"))
    return BarColumns._make(
        [
            bars["start"].copy(),
            bars["end"].copy(),
            *prices,
            bars["count"].copy(),
            over("volume", quantity_unit),
            np.array(notional, np.float64),
            np.array(vwap, np.float64),
            *sides,
            bars["partial"] == 1,
            left_out,
        ]
    )


@cache
def _looped(step: Callable[..., int]) -> Any:
    from numba import njit  # here: steps are had without waiting for numba

    one = compiled(step)

    def run(states: Any, integers: Any, ticks: Any, out: Any, reached: Any) -> int:
        state, count = states[0], 0
        for row in range(ticks.shape[1]):
            reached[0] = row
            tick = (ticks[0, row], ticks[1, row], ticks[2, row], ticks[3, row])
            if one(state, *(integers + tick)) > 0:
                out[count] = state.closed
                count += 1
        return count

    return njit(run)
