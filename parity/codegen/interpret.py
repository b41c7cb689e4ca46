"""A kernel's step run by plain CPython: the reference that a compiled driver must equal.

Slow on purpose and simple: Python ints and floats, one tick after another, no numba, not even for
helpers that are decorated with it. It takes the same arguments as a driver, so it stands in for one
wherever a kernel is doubted.
"""

from __future__ import annotations

import math
import types
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from parity.codegen.fuse import RAISED
from parity.codegen.reach import python_function
from parity.kernels.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from parity.model.kernel import KernelStrategy

_LEFT_ALONE: Final = (math, np)  # their functions mean the same to numba


class Interpreter:
    """Runs a kernel like its driver, in CPython.

    What the step reaches is read here and now, as a driver's text is when it is built.
    """

    def __init__(self, kernel: KernelStrategy) -> None:
        self.name = kernel.name
        self._step = in_python(kernel.step)
        self._state = kernel.state.names or ()
        self._params = kernel.params.dtype.names or ()
        self._out = kernel.out.names or ()

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
        """Run ticks lo..hi-1 and return (count of candidates, next row), as `Driver` does."""
        record = self.params(params[0])
        blank = np.zeros((), out.dtype)
        count = 0
        for row in range(lo, hi):
            local = int(lut[inst[row]])
            if local < 0:
                continue
            if count == len(rows):
                return count, row
            state = self.state(states[local])
            code, said, _ = self.step(state, record, blank, [c[row].item() for c in columns])
            self.keep(state, states[local : local + 1])
            if code == 0:
                continue
            rows[count], codes[count], out[count] = row, code, said
            count += 1
            if code < 0:
                return count, row + 1
        return count, hi

    # -- the parts, for those who keep records from tick to tick ------------------------------

    def params(self, params: Any) -> Record:
        """Return the parameters as the step reads them."""
        return Record(params, self._params)

    def state(self, state: Any) -> Record:
        """Return a state as the step reads and writes it."""
        return Record(state, self._state)

    def keep(self, record: Record, states: npt.NDArray[Any]) -> None:
        """Put a state back where it came from; `states` holds it alone."""
        record.write(states[0], self._state)

    def step(
        self, state: Record, params: Record, blank: npt.NDArray[Any], values: Sequence[Any]
    ) -> tuple[int, npt.NDArray[Any], str]:
        """Run one tick; return the code as drivers give it, `out`, and the words of what it raised.

        Args:
            state: changed by the step; where it raised, left half way.
            params: of the kernel.
            blank: a record of `out` with nothing in it.
            values: of the declared columns, plain Python ones.
        """
        said = Record(blank, self._out)
        try:
            code = int(self._step(state, params, said, *values))
        except Exception as error:  # whatever a step raises is its error at that tick
            return RAISED, blank, f"{type(error).__name__}: {error}"
        if code == 0:
            return 0, blank, ""
        out = blank.copy()
        said.write(out, self._out)
        return max(min(code, 127), -127), out, ""


def in_python(function: Any) -> Callable[..., Any]:
    """Return a function that runs without numba, and so does whatever it calls."""
    return _Unwrapped().function(function)


class _Unwrapped:
    """Copies functions so that they find plain ones where numba's stood; each once."""

    def __init__(self) -> None:
        self._made: dict[types.FunctionType, types.FunctionType] = {}

    def function(self, function: Any) -> types.FunctionType:
        """Return the copy of a function, or of what numba compiles."""
        plain = python_function(function)
        if plain in self._made:
            return self._made[plain]
        found: dict[str, Any] = {"__builtins__": plain.__globals__["__builtins__"]}
        closure = plain.__closure__ or ()
        cells = tuple(types.CellType() for _ in closure)
        made = types.FunctionType(plain.__code__, found, plain.__name__, plain.__defaults__, cells)
        self._made[plain] = made  # first: helpers may call each other
        for cell, own in zip(closure, cells, strict=True):
            own.cell_contents = self.value(cell.cell_contents)
        for name in plain.__code__.co_names:
            if name in plain.__globals__:
                found[name] = self.value(plain.__globals__[name])
        return made

    def value(self, value: Any) -> Any:
        """Return what stands in the place of a global."""
        if isinstance(value, types.ModuleType):
            return value if value in _LEFT_ALONE else _Module(value, self)
        is_numpys = getattr(np, str(getattr(value, "__name__", "")), None) is value
        if not is_numpys and (isinstance(value, types.FunctionType) or hasattr(value, "py_func")):
            return self.function(value)
        return value


class _Module:
    """A module whose functions are found unwrapped."""

    def __init__(self, module: types.ModuleType, unwrapped: _Unwrapped) -> None:
        self._module = module
        self._unwrapped = unwrapped

    def __getattr__(self, name: str) -> Any:
        return self._unwrapped.value(getattr(self._module, name))
