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
# How polars, pandas and Arrow are asked where a column has nothing, and for the rest of it.
_NULLS: Final = (("is_null", "drop_nulls"), ("isna", "dropna"), ("is_null", "drop_null"))
_NUMBERS: Final = (int, float, Decimal, np.integer, np.floating, np.bool_)
# Beyond it zeros at the end might use up the room that sums need; they are taken off one by one.
_STORED_SCALE_MAX: Final = 8


def as_floats(column: Any, name: str) -> Any:
    """Return a masked float64 array; raises ValueError on an infinity, and on what is no number."""
    kept, gaps = _parted(column, name)
    values = np.zeros(len(gaps))
    values[~gaps] = kept.astype(np.float64)
    return np.ma.MaskedArray(values, gaps)


def as_instants(column: Any, name: str) -> Any:
    """Return a masked int64 array of ns UTC, from integers or datetimes; numpy's are UTC.

    Raises:
        ValueError: datetimes of a frame that have no time zone, or no instants at all.
        OverflowError: an instant that does not fit.
    """
    dtype: Any = getattr(column, "dtype", None)
    if hasattr(dtype, "time_zone"):  # polars
        _require_zone(dtype.time_zone, name)
        values = column.to_numpy()
    elif getattr(dtype, "kind", "") != "M":
        return as_integers([column], [name], True)[0][0]
    elif hasattr(column, "tz_convert"):  # pandas
        dated = getattr(column, "dt", column)
        _require_zone(dated.tz, name)
        values = np.asarray(dated.tz_convert(None))
    else:
        values = column
    _check_dimension(values, name)
    mask, values = np.ma.getmaskarray(values), np.ma.getdata(values)
    gaps = np.isnat(values) | mask
    instants = values.astype("datetime64[ns]")
    other = (instants.astype(values.dtype) != values) & ~gaps  # numpy lets them wrap
    if other.any():
        row = int(other.argmax())
        raise OverflowError(f"{name}: row {row} does not fit int64 ns, was {values[row]}")
    return np.ma.MaskedArray(instants.view(np.int64), gaps)


def _require_zone(zone: Any, name: str) -> None:
    if zone is None:
        raise ValueError(
            f"{name}: datetimes have no time zone: dt.replace_time_zone of polars, or"
            " dt.tz_localize of pandas, declares it"
        )


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
        _stored(column) or _exact(*_parted(column, name), name)
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


def _parted(column: Any, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return the finite numbers of a column, and where it has none: null, None, NaN or masked."""
    kept, gaps = _without_nulls(column, name)
    if kept.dtype == object:
        missing = np.array([_is_missing(value) for value in kept], bool)
    elif kept.dtype.kind in "iubf":
        missing = np.isnan(kept)
    else:
        raise ValueError(f"{name}: expected numbers, was {kept.dtype}")
    rows, kept = np.flatnonzero(~gaps)[~missing], kept[~missing]
    gaps = np.ones(len(gaps), bool)
    gaps[rows] = False
    if kept.dtype == object:
        for row, value in zip(rows.tolist(), kept, strict=True):
            if not isinstance(value, _NUMBERS):
                raise ValueError(f"{name}: expected numbers, row {row} is {value!r}")
        infinite = np.array([value in (np.inf, -np.inf) for value in kept], bool)
    else:
        infinite = np.isinf(kept)
    if infinite.any():
        at = int(infinite.argmax())
        raise ValueError(f"{name}: expected finite values, row {rows[at]} is {kept[at]}")
    return kept, gaps


def _without_nulls(column: Any, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    # Before it becomes numpy's: beside a null integers would become floats, and be rounded.
    for ask, drop in _NULLS:
        if hasattr(column, ask) and hasattr(column, drop):
            gaps = np.asarray(getattr(column, ask)())
            _check_dimension(gaps, name)
            return np.asarray(getattr(column, drop)()), gaps
    values, gaps = np.ma.getdata(column), np.ma.getmaskarray(column)
    _check_dimension(values, name)
    return values[~gaps], gaps


def _check_dimension(values: npt.NDArray[Any], name: str) -> None:
    if values.ndim != 1:
        raise ValueError(f"{name}: expected a column of one dimension, was {values.ndim}")


def _is_missing(value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_nan()
    return value is None or (isinstance(value, float | np.floating) and value != value)


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


def _exact(kept: npt.NDArray[Any], gaps: npt.NDArray[np.bool_], name: str) -> tuple[Any, int]:
    numbers, scale = _floats(kept) if kept.dtype.kind == "f" else (kept, 0)
    if numbers.dtype == object:
        decimals = [Decimal(str(value)) for value in numbers]
        scale = max([0, *(-int(d.normalize().as_tuple().exponent) for d in decimals)])
        numbers = np.array([int(d.scaleb(scale)) for d in decimals], object)
    if _largest(numbers) >= 2**63:
        raise OverflowError(f"{name}: a value does not fit int64 at scale {scale}")
    integers = np.zeros(len(gaps), np.int64)
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
