"""Simple moving averages on exact integers: one tick at a time, a whole column, and by fractions.

All three give the same bits at every prefix, warm-up included, which is what lets live and replay
share one kernel.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from parity.kernels.exact import divide

NAN: Final = float("nan")


def sma_state(window: int) -> np.dtype[Any]:
    """Return the dtype of a streaming average's state; it starts as zeros."""
    return np.dtype(
        [("count", "i8"), ("at", "i8"), ("total", "i8"), ("ring", "i8", (window,))], align=True
    )


def push(state: Any, window: int, value: int) -> bool:
    """Take one value into the window; return whether it is full. `state.total` is its sum.

    The total stays within int64 while every |value| is at most (2**63 - 1) // window.
    """
    state.total += value - state.ring[state.at]
    state.ring[state.at] = value
    state.at += 1
    if state.at == window:
        state.at = 0
    if state.count < window:
        state.count += 1
    return bool(state.count == window)


def sma_step(state: Any, window: int, unit: int, value: int) -> float:
    """Take one value; return the mean of the last `window` ones over `unit`, NaN while warming.

    Args:
        state: a record of sma_state(window).
        window: how many values.
        unit: what one is in integers: 10**scale.
        value: the new integer.
    """
    if not push(state, window, value):
        return NAN
    return divide(state.total, window * unit)  # one division, so one rounding


@cache
def _compiled() -> Any:
    from numba import njit  # here: kernels reach the steps above without waiting for numba

    divided: Any = njit(divide)

    def column(values: Any, window: int, unit: int) -> Any:
        means = np.full(len(values), NAN)
        total = 0
        for row in range(len(values)):
            total += values[row]
            if row >= window:
                total -= values[row - window]
            if row >= window - 1:
                means[row] = divided(total, window * unit)
        return means

    return njit(column)


def sma(values: npt.NDArray[np.int64], window: int, *, unit: int = 1) -> npt.NDArray[np.float64]:
    """Return the moving average of a whole column; NaN in the first window - 1 rows.

    >>> sma(np.array([10, 20, 60]), 2, unit=10)
    array([nan, 1.5, 4. ])
    """
    if window < 1:
        raise ValueError(f"sma: window: expected at least 1, was {window}")
    column = _compiled()
    means: npt.NDArray[np.float64] = column(np.ascontiguousarray(values, np.int64), window, unit)
    return means


def sma_reference(values: list[int], window: int, *, unit: int = 1) -> list[float]:
    """Return what `sma` must return, from the definition, by fractions."""
    means: list[float] = []
    for row in range(len(values)):
        last = values[max(0, row - window + 1) : row + 1]
        means.append(float(Fraction(sum(last), window * unit)) if len(last) == window else NAN)
    return means
