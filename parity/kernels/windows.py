"""Indicators over the last `window` values, on exact integers: means, deviations and bands.

A sum of integers does not depend on who adds it or when, so a window that slides gives the bits of
a window added up anew. One division or square root at the end is the only rounding there is.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

import numpy as np

from parity.kernels.exact import EXACT_MAX, divide, wide_add, wide_divide
from parity.kernels.indicator import NAN, Indicator, Parameters, room

_RING = ("count", "at", "total")


def sma_state(window: int) -> np.dtype[Any]:
    """Return the dtype of a streaming average's state; it starts as zeros."""
    fields = [(name, "i8") for name in _RING]
    return np.dtype([*fields, ("ring", "i8", (room(window),))], align=True)


def slide(state: Any, window: int, value: Any) -> Any:
    """Put a value in the place of the oldest of a ring; return that one, 0 while it fills."""
    leaves = state.ring[state.at]
    state.ring[state.at] = value
    state.at += 1
    if state.at == window:
        state.at = 0
    if state.count < window:
        state.count += 1
    return leaves


def push(state: Any, window: int, value: int) -> bool:
    """Take one value into the window; return whether it is full. `state.total` is its sum.

    The total stays within int64 while every |value| is at most (2**63 - 1) // window.
    """
    state.total += value - slide(state, window, value)
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


def spread_state(window: int) -> np.dtype[Any]:
    """Return the dtype of a window whose squared deviation is known; it starts as zeros."""
    fields = [(name, "i8") for name in (*_RING, "high", "low")]
    return np.dtype([*fields, ("ring", "i8", (room(window),))], align=True)


def spread_push(state: Any, window: int, value: int) -> bool:
    """Take one value into the window; return whether it is full.

    (state.high, state.low) is the wide sum n Σx² − (Σx)² of `parity.kernels.exact`. With x for y
    it changes by (x − y) (n (x + y) − Σ before − Σ after), which is one product of integers.
    """
    leaves, before = state.ring[state.at], state.total
    full = push(state, window, value)
    factor = window * (value + leaves) - before - state.total
    high, low = wide_add(state.high, state.low, value - leaves, factor)
    state.high = high
    state.low = low
    return full


def deviation(state: Any, window: int) -> float:
    """Return the population standard deviation of a full window of spread_push, in integers."""
    return math.sqrt(wide_divide(state.high, state.low, window * window))


def rolling_std_step(state: Any, window: int, unit: int, value: int) -> float:
    """Take one value; return the standard deviation over `unit`, NaN while warming."""
    return deviation(state, window) / unit if spread_push(state, window, value) else NAN


def zscore_step(state: Any, window: int, value: int) -> float:
    """Take one value; return how many deviations it is from the mean, NaN while warming."""
    if not spread_push(state, window, value):
        return NAN
    distance = window * value - state.total
    if distance == 0:
        return 0.0
    return float(distance) / math.sqrt(wide_divide(state.high, state.low, 1))


def bollinger_step(
    state: Any, window: int, width: float, unit: int, value: int
) -> tuple[float, float, float]:
    """Take one value; return (middle, upper, lower), NaN while warming."""
    if not spread_push(state, window, value):
        return NAN, NAN, NAN
    middle = divide(state.total, window * unit)
    reach = width * (deviation(state, window) / unit)
    return middle, middle + reach, middle - reach


def summable(parameters: Parameters) -> int:
    """Return the largest integer of which a window's sum is exact as a float64."""
    return EXACT_MAX // int(parameters["window"])


def last(values: list[Any], row: int, window: int) -> list[Any]:
    """Return the window that ends at a row, or nothing while it is not full."""
    return values[row - window + 1 : row + 1] if row >= window - 1 else []


def _sma_reference(values: list[int], window: int, unit: int = 1) -> list[float]:
    """Return what `sma` must return, from the definition, by fractions."""
    windows = (last(values, row, window) for row in range(len(values)))
    return [float(Fraction(sum(w), window * unit)) if w else NAN for w in windows]


def _variance(values: list[int]) -> Fraction:
    mean = Fraction(sum(values), len(values))
    return sum(((value - mean) ** 2 for value in values), Fraction(0)) / len(values)


def _std_reference(values: list[int], window: int, unit: int) -> list[float]:
    windows = (last(values, row, window) for row in range(len(values)))
    return [math.sqrt(float(_variance(w))) / unit if w else NAN for w in windows]


def _zscore_reference(values: list[int], window: int) -> list[float]:
    scores = []
    for row, value in enumerate(values):
        found = last(values, row, window)
        distance = window * value - sum(found)
        spread = math.sqrt(float(window * window * _variance(found))) if found else NAN
        scores.append(distance / spread if distance or not found else 0.0)
    return scores


def _bollinger_reference(
    values: list[int], window: int, width: float, unit: int
) -> list[tuple[float, ...]]:
    means = _sma_reference(values, window, unit)
    spreads = _std_reference(values, window, unit)
    return [
        (m, m + width * s, m - width * s) if m == m else (NAN,) * 3
        for m, s in zip(means, spreads, strict=True)
    ]


def _windowed(parameters: Parameters) -> int:
    return int(parameters["window"])


def _check_sums(parameters: Parameters) -> None:
    if parameters["window"] * parameters.get("unit", 1) > EXACT_MAX:
        raise ValueError(f"window * unit: expected at most 2**53, was {dict(parameters)}")
    if parameters["window"] > 2**26:
        raise ValueError(f"window: expected at most 2**26, was {parameters['window']}")


SMA: Final = Indicator(
    name="sma",
    title="simple moving average",
    formula="Σ x / n over the last n values",
    source="the arithmetic mean",
    exactness="correctly rounded",
    parameters={"window": 20, "unit": 1},
    inputs=("value",),
    outputs=("mean",),
    warm_up=_windowed,
    state=lambda p: sma_state(p["window"]),
    step=sma_step,
    reference=_sma_reference,
    largest=summable,
    check=_check_sums,
)
ROLLING_MEAN: Final = replace(SMA, name="rolling_mean", title="rolling mean: `sma` by another name")
ROLLING_STD: Final = replace(
    SMA,
    name="rolling_std",
    title="rolling standard deviation of the population",
    formula="√(n Σ x² − (Σ x)²) / n over the last n values",
    source="the second central moment, divided by n, not n − 1",
    exactness="float: the variance is correctly rounded, then its root, then the unit",
    outputs=("deviation",),
    state=lambda p: spread_state(p["window"]),
    step=rolling_std_step,
    reference=_std_reference,
    note="pandas and polars divide by n − 1 unless told otherwise (`ddof=0`).",
)
ZSCORE: Final = replace(
    ROLLING_STD,
    name="zscore",
    title="z-score of the newest value in its window",
    formula="(x − mean) / deviation = (n x − Σ x) / √(n Σ x² − (Σ x)²); 0 where x is the mean",
    exactness="float: an exact numerator over a root, two roundings before the quotient's",
    parameters={"window": 20},
    outputs=("score",),
    step=zscore_step,
    reference=_zscore_reference,
)
BOLLINGER: Final = replace(
    ROLLING_STD,
    name="bollinger",
    title="Bollinger bands",
    formula="mean, mean + w deviation, mean − w deviation",
    source="J. Bollinger, Bollinger on Bollinger Bands, 2001: deviation of the population",
    exactness="middle correctly rounded; bands float: w times the deviation, then one sum",
    parameters={"window": 20, "width": 2.0, "unit": 1},
    outputs=("middle", "upper", "lower"),
    step=bollinger_step,
    reference=_bollinger_reference,
    note="",
)
INDICATORS: Final = (SMA, BOLLINGER, ROLLING_MEAN, ROLLING_STD, ZSCORE)
