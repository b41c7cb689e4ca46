"""Indicators that remember by smoothing: each value is the last one, moved a part of the way.

They are floats by nature, so what is promised is a fixed order of operations, the same in every
form: the first value is the plain mean of the first n, added up from the oldest.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from parity.kernels.indicator import Indicator, Parameters

NAN: Final = float("nan")
_AVERAGE: Final = np.dtype([("count", "i8"), ("value", "f8")], align=True)
_LARGEST: Final = 2**51  # a difference of two is exact in float64
_WILDER: Final = "J. W. Wilder, New Concepts in Technical Trading Systems, 1978"


def ema_state() -> np.dtype[Any]:
    """Return the dtype of an exponential average's state; it starts as zeros."""
    return _AVERAGE


def ema_step(state: Any, window: int, value: float) -> float:
    """Take one value; return the exponential average, NaN while warming."""
    if state.count == window:
        state.value += 2.0 / (window + 1) * (value - state.value)
        return float(state.value)
    state.value += value
    state.count += 1
    if state.count < window:
        return NAN
    state.value /= window
    return float(state.value)


def wilder_step(state: Any, window: int, value: float) -> float:
    """Take one value; return Wilder's average, NaN while warming; the state is ema_state()."""
    if state.count == window:
        state.value = (state.value * (window - 1) + value) / window
        return float(state.value)
    state.value += value
    state.count += 1
    if state.count < window:
        return NAN
    state.value /= window
    return float(state.value)


def rsi_state() -> np.dtype[Any]:
    """Return the dtype of an RSI's state; it starts as zeros."""
    fields = [("started", "i8"), ("last", "i8"), ("gain", _AVERAGE), ("loss", _AVERAGE)]
    return np.dtype(fields, align=True)


def rsi_step(state: Any, window: int, value: int) -> float:
    """Take one value; return Wilder's RSI from 0 to 100, NaN while warming."""
    change = value - state.last
    state.last = value
    if state.started == 0:
        state.started = 1
        return NAN
    gain = wilder_step(state.gain, window, max(change, 0))
    loss = wilder_step(state.loss, window, max(-change, 0))
    if state.gain.count < window:
        return NAN
    return 100.0 * gain / (gain + loss) if gain + loss > 0.0 else 50.0


def macd_state() -> np.dtype[Any]:
    """Return the dtype of a MACD's state; it starts as zeros."""
    return np.dtype([(name, _AVERAGE) for name in ("fast", "slow", "signal")], align=True)


def macd_step(
    state: Any, fast: int, slow: int, signal: int, value: float
) -> tuple[float, float, float]:
    """Take one value; return (line, signal, histogram), NaN until the signal is warm."""
    quick = ema_step(state.fast, fast, value)
    slack = ema_step(state.slow, slow, value)
    if state.slow.count < slow:
        return NAN, NAN, NAN
    line = quick - slack
    smooth = ema_step(state.signal, signal, line)
    if state.signal.count < signal:
        return NAN, NAN, NAN
    return line, smooth, line - smooth


def atr_state() -> np.dtype[Any]:
    """Return the dtype of an ATR's state; it starts as zeros."""
    return np.dtype([("started", "i8"), ("last", "i8"), ("average", _AVERAGE)], align=True)


def true_range(before: int, high: int, low: int) -> int:
    """Return the range of a bar with the close before it taken in."""
    return max(high, before) - min(low, before)


def atr_step(state: Any, window: int, unit: int, high: int, low: int, close: int) -> float:
    """Take one bar; return the average true range over `unit`, NaN while warming."""
    before = state.last
    state.last = close
    if state.started == 0:
        state.started = 1
        return NAN
    average = wilder_step(state.average, window, true_range(before, high, low))
    return average / unit


def _smoothed(values: list[Any], window: int, wilder: bool = False) -> list[float]:
    # over what is not NaN at the head
    first = next((n for n, value in enumerate(values) if value == value), len(values)) + window - 1
    found = [NAN] * min(first, len(values))
    for row in range(first, len(values)):
        if row == first:
            total = 0.0
            for value in values[row - window + 1 : row + 1]:
                total += value
            found.append(total / window)
        elif wilder:
            found.append((found[-1] * (window - 1) + values[row]) / window)
        else:
            found.append(found[-1] + 2.0 / (window + 1) * (values[row] - found[-1]))
    return found


def _rsi_reference(values: list[int], window: int) -> list[float]:
    changes = [NAN, *(b - a for a, b in pairwise(values))][: len(values)]
    gains = _smoothed([c if c != c else max(c, 0) for c in changes], window, wilder=True)
    losses = _smoothed([c if c != c else max(-c, 0) for c in changes], window, wilder=True)
    return [
        50.0 if up + down == 0.0 else 100.0 * up / (up + down)
        for up, down in zip(gains, losses, strict=True)
    ]


def _macd_reference(
    values: list[float], fast: int, slow: int, signal: int
) -> list[tuple[float, float, float]]:
    averages = zip(_smoothed(values, fast), _smoothed(values, slow), strict=True)
    lines = [quick - slack for quick, slack in averages]
    signals = _smoothed(lines, signal)
    return [
        (line, smooth, line - smooth) if smooth == smooth else (NAN, NAN, NAN)
        for line, smooth in zip(lines, signals, strict=True)
    ]


def ranges(highs: list[int], lows: list[int], closes: list[int]) -> list[Any]:
    """Return the true range of every bar, by its definition; the first has none."""
    found: list[Any] = [NAN] * min(1, len(closes))
    for row in range(1, len(closes)):
        high, low, before = highs[row], lows[row], closes[row - 1]
        found.append(max(high - low, abs(high - before), abs(low - before)))
    return found


def _atr_reference(
    highs: list[int], lows: list[int], closes: list[int], window: int, unit: int
) -> list[float]:
    return [x / unit for x in _smoothed(ranges(highs, lows, closes), window, wilder=True)]


def _check_macd(parameters: Parameters) -> None:
    if parameters["fast"] >= parameters["slow"]:
        raise ValueError(f"macd: fast: expected below slow, was {dict(parameters)}")


EMA: Final = Indicator(
    name="ema",
    title="exponential moving average",
    formula="e + 2 / (n + 1) (x − e); the first is the mean of the first n values",
    source="R. G. Brown, Smoothing, Forecasting and Prediction, 1963; started as in TA-Lib",
    exactness="float",
    parameters={"window": 20},
    inputs=("value",),
    outputs=("mean",),
    warm_up=lambda p: p["window"],
    state=lambda p: ema_state(),
    step=ema_step,
    reference=lambda values, window: _smoothed(values, window),
    largest=None,
    differs="pandas' `ewm` starts with the first value, and corrects for that with `adjust=True`.",
)
RSI: Final = replace(
    EMA,
    name="rsi",
    title="relative strength index",
    formula="100 g / (g + l), g and l Wilder's averages of gains and losses, (a (n − 1) + x) / n;"
    " 50 where both are 0",
    source=_WILDER,
    exactness="float: of exact differences",
    parameters={"window": 14},
    outputs=("rsi",),
    warm_up=lambda p: p["window"] + 1,
    state=lambda p: rsi_state(),
    step=rsi_step,
    reference=_rsi_reference,
    largest=lambda p: _LARGEST,
    differs="TA-Lib says 0 where nothing moved. Plain means of gains and losses are no RSI.",
)
MACD: Final = replace(
    EMA,
    name="macd",
    title="moving average convergence and divergence",
    formula="line = ema(fast) − ema(slow), signal = ema(signal) of the line, line − signal",
    source="G. Appel, The Moving Average Convergence-Divergence Method, 1979",
    parameters={"fast": 12, "slow": 26, "signal": 9},
    outputs=("line", "signal", "histogram"),
    warm_up=lambda p: p["slow"] + p["signal"] - 1,
    state=lambda p: macd_state(),
    step=macd_step,
    reference=_macd_reference,
    check=_check_macd,
    differs="TA-Lib starts the fast average later, so that both start on the same value.",
)
ATR: Final = replace(
    RSI,
    name="atr",
    title="average true range",
    formula="Wilder's average of max(high, close before) − min(low, close before)",
    exactness="float: of exact ranges",
    parameters={"window": 14, "unit": 1},
    inputs=("high", "low", "close"),
    outputs=("range",),
    state=lambda p: atr_state(),
    step=atr_step,
    reference=_atr_reference,
    differs="As in TA-Lib the first bar has no true range; Wilder took its high − low.",
)
INDICATORS: Final = (EMA, RSI, MACD, ATR)
