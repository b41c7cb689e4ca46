"""A record of plain Python numbers: what a kernel's step sees where no numba runs.

CPython's integers and floats behave as compiled ones do as long as no integer leaves int64, and
are faster one at a time than numpy's scalars, which warn and wrap in ways of their own.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


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


def record_of(plain: Any, dtype: np.dtype[Any], where: str) -> npt.NDArray[Any]:
    """Return what Record.plain() gave as a numpy record again.

    Raises:
        ValueError: other fields, another length, or a value that is none of the field's type;
            `where` begins the message.
    """
    names = dtype.names or ()
    if not isinstance(plain, Mapping) or set(plain) != set(names):
        wanted = ", ".join(sorted(names))
        raise ValueError(f"{where}: expected {wanted}, was {reprlib.repr(plain)}")
    values = np.zeros((), dtype)
    for name in names:
        given, one = plain[name], dtype[name]
        if one.names:
            values[name] = record_of(given, one, f"{where}.{name}")
            continue
        item, shape = one.subdtype or (one, ())
        numbers = [given] if not shape else given if isinstance(given, list) else []
        fits = _is_int64 if item.kind == "i" else _is_float
        if len(numbers) != (shape or (1,))[0] or not all(map(fits, numbers)):
            wanted = f"{shape[0]} {item}" if shape else str(item)
            raise ValueError(f"{where}.{name}: expected {wanted}, was {reprlib.repr(given)}")
        values[name] = given
    return values


def restored(state: Any, own: Mapping[str, Any], dtype: np.dtype[Any], where: str) -> Record:
    """Return the record of a stream's snapshot.

    Args:
        state: the snapshot: what `own` has, and `state`.
        own: whose it has to be, and of which parameters.
        dtype: of the record.
        where: begins the messages.

    Raises:
        ValueError: it is another one's, of other parameters, or no snapshot.
    """
    if not isinstance(state, Mapping) or set(state) != {*own, "state"}:
        raise ValueError(f"{where}: expected {', '.join(own)}, state, was {reprlib.repr(state)}")
    for name, expected in own.items():
        if state[name] != expected:
            raise ValueError(
                f"{where}: {name}: expected {expected}, was {state[name]}; restore it into a"
                " stream like the one it was taken from"
            )
    return Record(record_of(state["state"], dtype, f"{where}: state"), dtype.names or ())


def _is_int64(value: Any) -> bool:
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _is_float(value: Any) -> bool:
    return isinstance(value, int | float)
