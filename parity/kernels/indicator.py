"""What an indicator is: a streaming step over a record, and everything else made from it.

The step is a plain function `step(state, <parameters>, <inputs>)`. A kernel strategy calls it from
its own step, a processor through `Stream`, and a frame through the indicator itself, which runs
the step, compiled, down whole columns. So there is one arithmetic, and the reference, written from
the definition, to hold it against. Where one value is missing in a column the row is a gap: it has
no value, and the state is as if the row were not there.

No indicator may read a clock, call a function of libm but sqrt, or let float sums run on for ever.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import FunctionType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from parity.kernels.columns import as_floats, as_integers
from parity.kernels.record import Record, restored

Parameters = Mapping[str, Any]
NAN: Final = float("nan")
UNITS: Final = ("unit", "quantity_unit")
# What one of each input is in integers; the others are counted as they are.
_UNIT_OF: Final = {"value": 0, "price": 0, "high": 0, "low": 0, "close": 0, "quantity": 1}


@dataclass(frozen=True, kw_only=True, repr=False)
class Indicator:
    """One indicator; called with columns and parameters it gives its whole columns.

    Args:
        name: as in `parity.kernels`.
        title: in words.
        formula: what it computes, including what a quotient of 0 by 0 is.
        source: who defined it so.
        exactness: "exact", "correctly rounded" or "float", and why.
        parameters: names in the order of the step, each with its default.
        inputs: names in the order of the step.
        outputs: names of what the step returns; a plain float where there is one.
        warm_up: how many values come before the first that is not NaN, itself included.
        state: dtype of the state, which starts as zeros.
        step: the streaming form; what it raises (a running sum that leaves what is exact) it
            raises before it changes the state.
        reference: the definition over lists of plain numbers: a row of values a row.
        largest: the largest integer each input may be; None where inputs are floats.
        check: refuses parameters that make no sense, by raising ValueError.
        note: where well-known implementations give something else, and the like.
    """

    name: str
    title: str
    formula: str
    source: str
    exactness: str
    parameters: Mapping[str, int | float]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    warm_up: Callable[[Parameters], int]
    state: Callable[[Parameters], np.dtype[Any]]
    step: Callable[..., Any]
    reference: Callable[..., list[Any]]
    largest: Callable[[Parameters], int] | None
    check: Callable[[Parameters], None] = field(default=lambda parameters: None)
    note: str = ""

    def __repr__(self) -> str:
        defaults = (f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.name}({', '.join((*self.inputs, *defaults))}): {self.title}"

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Return the whole columns: a float64 array, or a named tuple of them.

        Args:
            given: the input columns (numpy, polars or pandas, or a list), then parameters.
            named: parameters. Columns of floats and Decimals say their own `unit`.

        Raises:
            TypeError: an unknown parameter, or a column too few.
            ValueError: a parameter or a value that makes no sense, or columns of unequal length.
            OverflowError: a value, or a running sum, that might not be exact.
        """
        columns, parameters = self._columns(given, named)
        rows = {len(column) for column in columns}
        if len(rows) > 1:
            raise ValueError(f"{self.name}: columns of unequal length: {sorted(rows)}")
        gaps = np.zeros(rows.pop(), bool)
        for column in columns:
            gaps |= np.ma.getmaskarray(column)
        kept = [np.ma.getdata(column)[~gaps] for column in columns]
        values = np.full((len(gaps), len(self.outputs)), np.nan)
        values[~gaps] = self.advance(self.zeros(parameters), kept, parameters)
        if len(self.outputs) == 1:
            return values[:, 0]
        return _named(self.name, self.outputs)(*(values[:, n] for n in range(len(self.outputs))))

    def completed(self, named: Parameters) -> dict[str, Any]:
        """Return all parameters in the order of the step; raises on a wrong one by name."""
        unknown = [name for name in named if name not in self.parameters]
        if unknown:
            raise TypeError(
                f"{self.name}: {unknown[0]}: no such parameter; it takes"
                f" {', '.join(self.parameters) or 'none'}"
            )
        parameters = {**self.parameters, **named}
        for name, default in self.parameters.items():
            value = parameters[name]
            if isinstance(default, int):
                if not isinstance(value, int | np.integer) or not value >= 1:
                    raise ValueError(f"{self.name}: {name}: expected 1 or more, was {value!r}")
                parameters[name] = int(value)
            else:
                if not isinstance(value, int | float) or not 0 <= value < np.inf:
                    raise ValueError(f"{self.name}: {name}: expected 0 or more, was {value!r}")
                parameters[name] = float(value)
        try:
            self.check(parameters)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None
        return parameters

    def dtype(self, *given: Any, **named: Any) -> np.dtype[Any]:
        """Return the dtype of the state with these parameters, for the state of a kernel."""
        return self.state(self.completed(self._merged(given, named)))

    def zeros(self, named: Parameters | None = None) -> npt.NDArray[Any]:
        """Return one fresh state as an array of one record."""
        return np.zeros(1, self.state(self.completed(named or {})))

    def advance(
        self, states: npt.NDArray[Any], columns: list[npt.NDArray[Any]], named: Parameters
    ) -> npt.NDArray[np.float64]:
        """Carry a state on over more rows, by compiled code; return a row of values a row.

        Args:
            states: what `zeros` gave, changed in place; a copy of it is a snapshot.
            columns: the inputs, integers or floats as the step takes them, without gaps.
            named: parameters.

        Raises:
            OverflowError: a value above `largest`, or a running sum that would leave what is exact.
            ValueError: a value that the step refuses. The states are then as they were before.
        """
        parameters = self.completed(named)
        self._check_size(columns, parameters)
        dtype = np.float64 if self.largest is None else np.int64
        inputs = np.array(columns, dtype).reshape(len(self.inputs), -1)
        values = np.empty((inputs.shape[1], len(self.outputs)))
        run = _looped(self.step, len(self.inputs), len(self.outputs))
        given = (tuple(parameters.values()), inputs, values)
        carried(run, states, given, lambda was: dict(zip(self.inputs, was, strict=True)))
        return values

    def stream(self, **named: Any) -> Stream:
        """Return a streaming form in plain Python, for processors."""
        return Stream(self, self.completed(named))

    def _merged(self, given: tuple[Any, ...], named: Parameters) -> dict[str, Any]:
        """Return parameters given by place and by name; raises TypeError for one given twice."""
        names = [name for name in self.parameters if name not in UNITS]
        if len(given) > len(names):
            raise TypeError(f"expected {self!r}; units by name")
        placed = dict(zip(names, given, strict=False))
        for name in (name for name in placed if name in named):
            raise TypeError(
                f"{self.name}: {name}: given twice, as {placed[name]!r} and as {named[name]!r}"
            )
        return {**placed, **named}

    def _columns(self, given: tuple[Any, ...], named: Parameters) -> tuple[list[Any], Any]:
        columns = given[: len(self.inputs)]
        if len(columns) < len(self.inputs):
            raise TypeError(f"expected {self!r}")
        parameters = self._merged(given[len(self.inputs) :], named)
        if self.largest is None:
            pairs = zip(self.inputs, columns, strict=True)
            return [as_floats(c, f"{self.name}: {name}") for name, c in pairs], parameters
        found: list[Any] = [None] * len(columns)
        for group in (0, 1, None):
            places = [n for n, name in enumerate(self.inputs) if _UNIT_OF.get(name) == group]
            if not places:
                continue
            unit = UNITS[group] if group is not None else "1"
            known = parameters.get(unit) if group is not None else 1
            names = [f"{self.name}: {self.inputs[n]}" for n in places]
            integers, scale = as_integers([columns[n] for n in places], names, known is not None)
            for n, column in zip(places, integers, strict=True):
                found[n] = column
            if known is None and unit in self.parameters:
                parameters[unit] = 10**scale
        return found, parameters

    def _check_size(self, columns: list[npt.NDArray[Any]], parameters: Parameters) -> None:
        if self.largest is None:
            return
        most = self.largest(parameters)
        for name, column in zip(self.inputs, columns, strict=True):
            if len(column) and (int(column.max()) > most or int(column.min()) < -most):
                worst = max(int(column.max()), -int(column.min()))
                raise OverflowError(
                    f"{self.name}: {name}: the sums are exact for integers up to {most}"
                    f" with {dict(parameters)}, was {worst}"
                )


class Stream:
    """An indicator one tick at a time in plain Python; the same bits as the compiled column."""

    def __init__(self, indicator: Indicator, parameters: Parameters) -> None:
        self._indicator = indicator
        self._parameters = dict(parameters)
        self._arguments = tuple(parameters.values())
        self._most = indicator.largest(parameters) if indicator.largest is not None else None
        zeros = indicator.zeros(parameters)[0]
        self._state = Record(zeros, zeros.dtype.names)

    def push(self, *inputs: Any) -> Any:
        """Take one tick's inputs; return the float, or the tuple of floats, NaN while warming.

        Raises:
            TypeError: an input too few, or no integer where the indicator takes integers.
            ValueError: a float that is not finite: leave a gap out.
            OverflowError: an integer whose sums might not be exact; the state is as before.
        """
        names = self._indicator.inputs
        if len(inputs) != len(names):
            raise TypeError(f"{self._indicator.name}: expected {', '.join(names)}, was {inputs}")
        plain = [self._plain(name, one) for name, one in zip(names, inputs, strict=True)]
        return self._indicator.step(self._state, *self._arguments, *plain)

    def _plain(self, name: str, value: Any) -> int | float:
        where = f"{self._indicator.name}: {name}"
        if self._most is None:
            if not -np.inf < value < np.inf:
                raise ValueError(f"{where}: expected a finite number, was {value}")
            return float(value)
        if not isinstance(value, int | np.integer):
            raise TypeError(f"{where}: expected an integer, as price_int, was {value!r}")
        if not -self._most <= value <= self._most:
            raise OverflowError(f"{where}: at most {self._most}, was {value}")
        return int(value)

    def snapshot(self) -> dict[str, Any]:
        """Return indicator, parameters and state as plain values."""
        named = {"indicator": self._indicator.name, "parameters": dict(self._parameters)}
        return {**named, "state": self._state.plain()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave.

        Raises:
            ValueError: it is another indicator's, of other parameters, or no snapshot.
        """
        own = {"indicator": self._indicator.name, "parameters": self._parameters}
        dtype = self._indicator.state(self._parameters)
        self._state = restored(state, own, dtype, f"{self._indicator.name}: restore")


def room(window: int) -> int:
    """Return places for a window: a power of two, so that many windows share compiled code."""
    return 1 << max(5, (window - 1).bit_length())


@cache
def _named(name: str, outputs: tuple[str, ...]) -> Any:
    return namedtuple(name, outputs)


def _reached(function: FunctionType, found: set[FunctionType]) -> None:
    for name in function.__code__.co_names:
        helper = function.__globals__.get(name)
        if isinstance(helper, FunctionType) and helper not in found:
            found.add(helper)
            _reached(helper, found)


@cache
def _helper(function: FunctionType) -> None:
    from numba.extending import register_jitable

    register_jitable(function)


@cache
def compiled(step: FunctionType) -> Any:
    """Return a step compiled by numba, and all that it calls along."""
    from numba import njit  # here: steps are had without waiting for numba

    found: set[FunctionType] = set()
    _reached(step, found)
    for helper in found:
        _helper(helper)
    return njit(step)


def carried(
    run: Callable[..., Any],
    states: npt.NDArray[Any],
    given: tuple[tuple[Any, ...], npt.NDArray[Any], npt.NDArray[Any]],
    said: Callable[[list[Any]], Any] = list,
    name: str = "",
) -> Any:
    """Carry states on by a compiled loop; where a step refuses a row they are as before.

    Args:
        run: takes states, what is given, and where it notes the column it has reached.
        states: changed in place.
        given: parameters, inputs (a column a row of ticks), and what it writes.
        said: tells the refused row's values.
        name: whose step it is; "" where the step says so itself.

    Raises:
        OverflowError: in the step's own words and with the row's values, which no step knows.
        ValueError: likewise.
    """
    after, reached = states.copy(), np.zeros(1, np.int64)
    try:
        found = run(after, *given, reached)
    except (OverflowError, ValueError) as error:
        was = given[1][:, reached[0]].tolist()
        words = f"{name}: {error}" if name else str(error)
        raise type(error)(f"{words}, at {said(was)}") from None
    states[:] = after
    return found


@cache
def _looped(step: FunctionType, inputs_count: int, outputs_count: int) -> Any:
    from numba import njit

    take = njit((_take_one, _take_two, _take_three)[inputs_count - 1])
    put = njit(_put_one if outputs_count == 1 else _put_all)
    one = compiled(step)

    def run(states: Any, parameters: Any, inputs: Any, values: Any, reached: Any) -> None:
        state = states[0]
        for row in range(len(values)):
            reached[0] = row
            put(values, row, one(state, *(parameters + take(inputs, row))))

    return njit(run)


def _take_one(inputs: Any, row: int) -> Any:
    return (inputs[0, row],)


def _take_two(inputs: Any, row: int) -> Any:
    return inputs[0, row], inputs[1, row]


def _take_three(inputs: Any, row: int) -> Any:
    return inputs[0, row], inputs[1, row], inputs[2, row]


def _put_one(values: Any, row: int, value: float) -> None:
    values[row, 0] = value


def _put_all(values: Any, row: int, said: Any) -> None:
    for place in range(len(said)):
        values[row, place] = said[place]
