"""Room for what is made of large batches: the same arrays for each, as fresh pages cost more.

Never here: what somebody may look at behind the segment it was made for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from parity.kernels.batch import quotients


class Room:
    """Arrays for what is made of large batches, taken over by the next one."""

    __slots__ = ("_arrays",)

    def __init__(self) -> None:
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def of(self, name: str, dtype: type[np.generic], count: int) -> npt.NDArray[Any]:
        """Return the array of that name, at that length."""
        found = self._arrays.get(name)
        if found is None or len(found) < count:
            found = self._arrays[name] = np.empty(count, dtype)
        return found[:count]

    def quotient(
        self,
        source: str,
        values: npt.NDArray[np.int64],
        divisor: float | npt.NDArray[np.float64],
        inst: npt.NDArray[np.int32],
    ) -> npt.NDArray[np.float64]:
        """Return an integer column divided, by one divisor or by each instrument's."""
        made = self.of(source, np.float64, len(values))
        if isinstance(divisor, np.ndarray):
            quotients(values, inst, divisor, made)
        else:
            np.divide(values, divisor, out=made)
        return made
