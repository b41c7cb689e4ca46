"""Records held as columns: what an import asks of a structured array, without the copies.

Made by readers that have columns anyway, for a writer that wants columns. Whoever needs records
takes them by `np.asarray`. A column that says the same everywhere is held once, by a stride of 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class ColumnRecords:
    """So many records of a dtype, each column zero until it is set.

    Args:
        count: how many.
        dtype: of a record.
    """

    __slots__ = ("columns", "count", "dtype")

    def __init__(self, count: int, dtype: np.dtype[Any]) -> None:
        self.count, self.dtype = count, dtype
        self.columns: dict[str, npt.NDArray[Any]] = {}
        for name in dtype.names or ():
            self[name] = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: Any) -> Any:
        """Return a column by its name, or some of the records by what numpy takes for rows."""
        if isinstance(key, str):
            return self.columns[key]
        columns = {name: column[key] for name, column in self.columns.items()}
        some = ColumnRecords(len(next(iter(columns.values()))), self.dtype)
        some.columns = columns
        return some

    def __setitem__(self, name: str, values: Any) -> None:
        """Set a column to values, which must not change afterwards, or to one for all records."""
        self.columns[name] = np.broadcast_to(np.asarray(values, self.dtype[name]), self.count)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return them as a structured array."""
        records = np.empty(self.count, self.dtype)
        for name, column in self.columns.items():
            records[name] = column
        return records if dtype is None else records.astype(dtype)
