"""The states of a kernel as they were before a view, for an instrument whose step failed.

Never here: which rows are run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parity.core.view import FEW_ROWS

if TYPE_CHECKING:
    from parity.core.view import View


class KeptStates:
    """A second copy of the states, byte by byte: an aligned dtype has padding.

    Args:
        states: one record per executor-local instrument; changed by the driver.
        dense: dense ids of these instruments, in their order.
    """

    __slots__ = ("_bytes", "_flat", "_kept", "_kept_flat", "_places")

    def __init__(self, states: npt.NDArray[Any], dense: Sequence[int]) -> None:
        self._bytes = states.view(np.uint8).reshape(len(dense), -1)
        self._kept = self._bytes.copy()
        # The same memory by slices, which cost a fifth of what a row of numpy does.
        flat: Any = self._bytes.reshape(-1)
        kept: Any = self._kept.reshape(-1)
        self._flat, self._kept_flat = memoryview(flat), memoryview(kept)
        size = states.itemsize
        self._places = {d: slice(at * size, (at + 1) * size) for at, d in enumerate(dense)}

    def keep(self, view: View) -> None:
        """Keep the states as they are before this view; few ticks touch few of them."""
        if view.count >= FEW_ROWS:
            self._kept[:] = self._bytes
            return
        for dense in view.inst_list:
            place = self._places.get(dense)
            if place is not None:
                self._kept_flat[place] = self._flat[place]

    def take_back(self, local: int) -> None:
        """Bring an instrument's state back to what was kept of it."""
        self._bytes[local] = self._kept[local]

    def keep_one(self, local: int) -> None:
        """Keep an instrument's state as it is now."""
        self._kept[local] = self._bytes[local]
