"""A record of plain Python numbers: what a kernel's step sees where no numba runs.

CPython's integers and floats behave as compiled ones do as long as no integer leaves int64, and
are faster one at a time than numpy's scalars, which warn and wrap in ways of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Record:
    """One record with plain Python numbers as attributes; arrays are lists (of lists)."""

    def __init__(self, values: Any, names: tuple[str, ...]) -> None:
        for name in names:
            field = values[name]
            nested = field.dtype.names
            setattr(self, name, Record(field, nested) if nested else field.tolist())

    def write(self, values: Any, names: tuple[str, ...]) -> None:
        """Put the numbers back into the numpy record they came from."""
        for name in names:
            field = getattr(self, name)
            if isinstance(field, Record):
                field.write(values[name], values[name].dtype.names)
            else:
                values[name] = field

    def plain(self) -> dict[str, Any]:
        """Return a copy as numbers, lists and dicts."""
        return {
            name: field.plain()
            if isinstance(field, Record)
            else list(field)
            if isinstance(field, list)
            else field
            for name, field in vars(self).items()
        }

    def take(self, plain: Mapping[str, Any]) -> None:
        """Take back what plain() gave; raises KeyError naming a field that is not there."""
        for name, field in vars(self).items():
            if isinstance(field, Record):
                field.take(plain[name])
            else:
                setattr(self, name, list(plain[name]) if isinstance(field, list) else plain[name])
