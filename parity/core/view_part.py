"""Some rows of a view side by side, for a driver that is to pass over these alone.

Never here: which rows they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from parity.core.view import Rows, View


class Part:
    """Some rows of a view side by side, as a driver wants them; columns are made when asked for.

    Attributes:
        rows: of the view, rising.
        inst: dense id of each.
    """

    __slots__ = ("_batch", "_columns", "inst", "rows")

    def __init__(self, view: View, rows: Rows) -> None:
        self._batch = view.batch
        self._columns: dict[str, npt.NDArray[Any]] = {}
        self.rows = rows
        self.inst: npt.NDArray[np.int32] = view.inst.take(rows)

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return one tick column."""
        found = self._columns.get(name)
        if found is None:
            found = self._columns[name] = self._batch.column(name).take(self.rows)
        return found
