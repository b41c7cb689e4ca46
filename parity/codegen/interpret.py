"""A kernel's step run by plain CPython: the reference that a compiled driver must equal.

Slow on purpose and simple: Python ints and floats, one tick after another, no numba. It takes the
same arguments as a driver, so it stands in for one wherever a kernel is doubted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parity.codegen.fuse import RAISED
from parity.codegen.reach import python_function
from parity.kernels.record import Record

if TYPE_CHECKING:
    from parity.model.kernel import KernelStrategy


class Interpreter:
    """Runs a kernel like its driver, in CPython."""

    def __init__(self, kernel: KernelStrategy) -> None:
        self.name = kernel.name
        self._step = python_function(kernel.step)
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
        record = Record(params[0], self._params)
        blank = np.zeros((), out.dtype)
        count = 0
        for row in range(lo, hi):
            local = int(lut[inst[row]])
            if local < 0:
                continue
            if count == len(rows):
                return count, row
            state, said = Record(states[local], self._state), Record(blank, self._out)
            try:
                code = int(self._step(state, record, said, *(c[row].item() for c in columns)))
            except Exception:  # whatever a step raises is its error at that tick
                code = RAISED
            state.write(states[local], self._state)
            if code == 0:
                continue
            rows[count], codes[count] = row, max(min(code, 127), -127) if code != RAISED else code
            said.write(out[count : count + 1][0], self._out)
            count += 1
            if code < 0:
                return count, row + 1
        return count, hi
