"""Columns of any frame as what the steps take: exact integers with a scale, or plain floats.

A missing value (null, None, NaN) is masked, never guessed. A float stands for its shortest
decimal, as everywhere in parity; one that has none of the common scale is refused.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from parity.kernels.exact import EXACT_MAX

_SCALE_MAX: Final = 17
# Beyond it zeros at the end might use up the room that sums need; they are taken off one by one.
_STORED_SCALE_MAX: Final = 8


def as_floats(column: Any, name: str) -> Any:
    """Return a masked float64 array; raises ValueError on an infinity."""
    values = np.asarray(_plain(column, name), np.float64)
    return np.ma.MaskedArray(values, _gaps(values, name))


def as_integers(columns: list[Any], names: list[str], whole: bool) -> tuple[list[Any], int]:
    """Return masked int64 arrays at one scale, and the scale.

    Args:
        columns: integers, floats or Decimals; one-dimensional.
        names: of them, for errors.
        whole: they are integers already, of a unit that the caller gave.

    Raises:
        ValueError: a value that is not finite, no number, or no integer although `whole`.
        OverflowError: a value that does not fit int64 at their common scale.
    """
    exact = [
        _stored(column) or _exact(_plain(column, name), name)
        for column, name in zip(columns, names, strict=True)
    ]
    scale = max(own for _, own in exact)
    if whole and scale:
        worst = next(name for name, (_, own) in zip(names, exact, strict=True) if own)
        raise ValueError(f"{worst}: expected integers of the unit given: leave the unit out")
    found = []
    for name, (integers, own) in zip(names, exact, strict=True):
        factor = 10 ** (scale - own)
        if max(1, _largest(np.ma.getdata(integers))) * factor >= 2**63:
            raise OverflowError(f"{name}: does not fit int64 at scale {scale}")
        found.append(integers * factor)
    return found, scale


def _plain(column: Any, name: str) -> npt.NDArray[Any]:
    values = column.to_numpy() if hasattr(column, "to_numpy") else np.asarray(column)
    if values.ndim != 1:
        raise ValueError(f"{name}: expected a column of one dimension, was {values.ndim}")
    return np.asarray(values)


def _stored(column: Any) -> tuple[Any, int] | None:
    """Return a polars column of Decimals as the integers it is made of, or None."""
    scale = getattr(getattr(column, "dtype", None), "scale", None)
    if scale is None or scale > _STORED_SCALE_MAX or not hasattr(column, "to_physical"):
        return None
    integers = column.to_physical().cast(int, strict=False)
    if integers.null_count() != column.null_count():
        return None  # one does not fit int64, and is refused by name elsewhere
    gaps = column.is_null().to_numpy()
    return np.ma.MaskedArray(integers.fill_null(0).to_numpy(), gaps), scale


def _gaps(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.bool_]:
    if values.dtype == object:
        return np.array([value is None or value != value for value in values], bool)
    if values.dtype.kind == "f":
        if np.isinf(values).any():
            raise ValueError(f"{name}: expected finite values, row {np.isinf(values).argmax()}")
        missing: npt.NDArray[np.bool_] = np.isnan(values)
        return missing
    if values.dtype.kind not in "iub":
        raise ValueError(f"{name}: expected numbers, was {values.dtype}")
    return np.zeros(len(values), bool)


def _exact(values: npt.NDArray[Any], name: str) -> tuple[Any, int]:
    gaps = _gaps(values, name)
    kept = values[~gaps]
    numbers, scale = _floats(kept) if kept.dtype.kind == "f" else (kept, 0)
    if numbers.dtype == object:
        decimals = [Decimal(str(value)) for value in numbers]
        scale = max([0, *(-int(d.normalize().as_tuple().exponent) for d in decimals)])
        numbers = np.array([int(d.scaleb(scale)) for d in decimals], object)
    if _largest(numbers) >= 2**63:
        raise OverflowError(f"{name}: a value does not fit int64 at scale {scale}")
    integers = np.zeros(len(values), np.int64)
    integers[~gaps] = numbers.astype(np.int64)
    return np.ma.MaskedArray(integers, gaps), scale


def _floats(kept: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], int]:
    # The first scale whose integers divide back to the same floats: their shortest decimals.
    for scale in range(_SCALE_MAX + 1):
        integers = np.rint(kept * 10.0**scale)
        if np.abs(integers).max(initial=0) > EXACT_MAX:
            break
        if (integers / 10.0**scale == kept).all():
            return integers, scale
    return np.array([Decimal(repr(float(value))) for value in kept], object), 0


def _largest(values: Any) -> int:
    return max(int(values.max()), -int(values.min())) if len(values) else 0
