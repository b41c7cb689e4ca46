"""Indicators of the highest and the lowest of the last `window` values, on exact integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

import numpy as np

from parity.kernels.exact import EXACT_MAX, divide
from parity.kernels.indicator import NAN, Indicator, Parameters, room
from parity.kernels.windows import last, slide

_NANS: Final = (NAN, NAN, NAN)


def queue_state(window: int) -> np.dtype[Any]:
    """Return the dtype of a queue of candidates for the highest value; it starts as zeros."""
    fields = [(name, "i8") for name in ("row", "head", "size")]
    rings = [(name, "i8", (room(window),)) for name in ("rows", "values")]
    return np.dtype([*fields, *rings], align=True)


def highest(queue: Any, window: int, value: int) -> int:
    """Take one value; return the highest of the last `window` ones, or of all so far.

    The queue falls from its head on, and what a newer value covers is dropped: a constant number
    of steps a value on average. The lowest is minus the highest of what has the other sign.
    """
    row, edge = queue.row, len(queue.values) - 1  # its room is a power of two
    while queue.size > 0 and queue.values[(queue.head + queue.size - 1) & edge] <= value:
        queue.size -= 1
    if queue.size > 0 and queue.rows[queue.head] <= row - window:
        queue.head = (queue.head + 1) & edge
        queue.size -= 1
    place = (queue.head + queue.size) & edge
    queue.rows[place] = row
    queue.values[place] = value
    queue.size += 1
    queue.row = row + 1
    return int(queue.values[queue.head])


def rolling_max_step(state: Any, window: int, unit: int, value: int) -> float:
    """Take one value; return the highest over `unit`, NaN while warming."""
    found = highest(state, window, value)
    return divide(found, unit) if state.row >= window else NAN


def rolling_min_step(state: Any, window: int, unit: int, value: int) -> float:
    """Take one value; return the lowest over `unit`, NaN while warming."""
    found = -highest(state, window, -value)
    return divide(found, unit) if state.row >= window else NAN


def donchian_state(window: int) -> np.dtype[Any]:
    """Return the dtype of a channel's state; it starts as zeros."""
    return np.dtype([("high", queue_state(window)), ("low", queue_state(window))], align=True)


def donchian_step(
    state: Any, window: int, unit: int, high: int, low: int
) -> tuple[float, float, float]:
    """Take one bar; return (upper, middle, lower) over `unit`, NaN while warming."""
    top = highest(state.high, window, high)
    bottom = -highest(state.low, window, -low)
    if state.high.row < window:
        return NAN, NAN, NAN
    return divide(top, unit), divide(top + bottom, 2 * unit), divide(bottom, unit)


def float_state(window: int) -> np.dtype[Any]:
    """Return the dtype of a window of floats; it starts as zeros."""
    return np.dtype([("count", "i8"), ("at", "i8"), ("ring", "f8", (room(window),))], align=True)


def float_total(state: Any, window: int, value: float) -> float:
    """Take one float; return the window's sum from its oldest on, NaN while it is not full.

    Added up anew each time: what has left the window leaves no rounding behind.
    """
    slide(state, window, value)
    if state.count < window:
        return NAN
    total = 0.0
    for n in range(state.at, window):
        total += state.ring[n]
    for n in range(state.at):
        total += state.ring[n]
    return total


def stochastic_state(window: int, smooth: int, signal: int) -> np.dtype[Any]:
    """Return the dtype of a stochastic's state; it starts as zeros."""
    averages = [("fast", float_state(smooth)), ("slow", float_state(signal))]
    return np.dtype([("channel", donchian_state(window)), *averages], align=True)


def stochastic_step(
    state: Any, window: int, smooth: int, signal: int, high: int, low: int, close: int
) -> tuple[float, float]:
    """Take one bar; return (%K, %D) from 0 to 100, NaN while warming."""
    top = highest(state.channel.high, window, high)
    bottom = -highest(state.channel.low, window, -low)
    if state.channel.high.row < window:
        return NAN, NAN
    raw = divide(100 * (close - bottom), top - bottom) if top > bottom else 50.0
    slow = float_total(state.fast, smooth, raw) / smooth
    if state.fast.count < smooth:
        return NAN, NAN
    mean = float_total(state.slow, signal, slow) / signal
    if state.slow.count < signal:
        return NAN, NAN
    return slow, mean


def _over(value: int, unit: int) -> float:
    return float(Fraction(value, unit))


def _reference_of(extreme: Callable[[list[int]], int]) -> Callable[..., list[float]]:
    def reference(values: list[int], window: int, unit: int) -> list[float]:
        windows = (last(values, row, window) for row in range(len(values)))
        return [_over(extreme(w), unit) if w else NAN for w in windows]

    return reference


def _donchian_reference(
    highs: list[int], lows: list[int], window: int, unit: int
) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = []
    for row in range(len(highs)):
        if row < window - 1:
            found.append(_NANS)
            continue
        top, bottom = max(last(highs, row, window)), min(last(lows, row, window))
        found.append((_over(top, unit), _over(top + bottom, 2 * unit), _over(bottom, unit)))
    return found


def _means(values: list[float], window: int) -> list[float]:
    means = []
    for row in range(len(values)):
        total = 0.0
        for value in last(values, row, window):
            total += value
        means.append(total / window if row >= window - 1 else NAN)
    return means


def _stochastic_reference(
    highs: list[int], lows: list[int], closes: list[int], window: int, smooth: int, signal: int
) -> list[tuple[float, float]]:
    raw = []
    for row, close in enumerate(closes):
        if row >= window - 1:
            top, bottom = max(last(highs, row, window)), min(last(lows, row, window))
            raw.append(_over(100 * (close - bottom), top - bottom) if top > bottom else 50.0)
    slow = _means(raw, smooth)[smooth - 1 :]
    signals = _means(slow, signal)[signal - 1 :]
    values = list(zip(slow[signal - 1 :], signals, strict=True))
    return [(NAN, NAN)] * (len(closes) - len(values)) + values


def _check_unit(parameters: Parameters) -> None:
    if 2 * parameters["unit"] > EXACT_MAX:
        raise ValueError(f"unit: expected at most 2**52, was {parameters['unit']}")


ROLLING_MAX: Final = Indicator(
    name="rolling_max",
    title="highest of a window",
    formula="the highest of the last n values",
    source="the maximum",
    exactness="correctly rounded",
    parameters={"window": 20, "unit": 1},
    inputs=("value",),
    outputs=("highest",),
    warm_up=lambda p: p["window"],
    state=lambda p: queue_state(p["window"]),
    step=rolling_max_step,
    reference=_reference_of(max),
    largest=lambda p: EXACT_MAX // 2,
    check=_check_unit,
)
ROLLING_MIN: Final = replace(
    ROLLING_MAX,
    name="rolling_min",
    title="lowest of a window",
    formula="the lowest of the last n values",
    source="the minimum",
    outputs=("lowest",),
    step=rolling_min_step,
    reference=_reference_of(min),
)
DONCHIAN: Final = replace(
    ROLLING_MAX,
    name="donchian",
    title="Donchian channel",
    formula="highest high, the middle of both, lowest low of the last n bars, the newest included",
    source="R. D. Donchian, the four-week rule, 1960",
    inputs=("high", "low"),
    outputs=("upper", "middle", "lower"),
    state=lambda p: donchian_state(p["window"]),
    step=donchian_step,
    reference=_donchian_reference,
    note="Where a break is to be told, hold the price against the channel of the bar before.",
)
STOCHASTIC: Final = replace(
    ROLLING_MAX,
    name="stochastic",
    title="slow stochastic",
    formula="k = 100 (close − lowest) / (highest − lowest), 50 where those are equal; %K the mean"
    " of k, %D the mean of %K",
    source="G. C. Lane, Lane's Stochastics, 1984",
    exactness="float: k is correctly rounded, the means add floats from the oldest on",
    parameters={"window": 14, "smooth": 3, "signal": 3},
    inputs=("high", "low", "close"),
    outputs=("k", "d"),
    warm_up=lambda p: p["window"] + p["smooth"] + p["signal"] - 2,
    state=lambda p: stochastic_state(p["window"], p["smooth"], p["signal"]),
    step=stochastic_step,
    reference=_stochastic_reference,
    largest=lambda p: EXACT_MAX // 200,
    check=lambda p: None,
    note="TA-Lib's STOCH with simple means; it says 0 where highest and lowest are equal.",
)
INDICATORS: Final = (ROLLING_MIN, ROLLING_MAX, DONCHIAN, STOCHASTIC)
