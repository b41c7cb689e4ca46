"""Indicators that remember by smoothing: each value is the last one, moved a part of the way.

They are floats by nature, so what is promised is a fixed order of operations, the same in every
form: the first value is the plain mean of the first n, added up from the oldest.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from parity.kernels.indicator import NAN, Indicator, Parameters

_AVERAGE: Final = np.dtype([("count", "i8"), ("value", "f8")], align=True)
LARGEST: Final = 2**51  # of prices: a difference of two is exact in float64
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


def adx_state() -> np.dtype[Any]:
    """Return the dtype of an ADX's state; it starts as zeros."""
    integers = [(name, "i8") for name in ("started", "high", "low", "last")]
    averages = [(name, _AVERAGE) for name in ("range", "plus", "minus", "average")]
    return np.dtype([*integers, *averages], align=True)


def wilder_sum_step(state: Any, window: int, value: float) -> bool:
    """Take one value into Wilder's running sum; return whether `window` ones are in it."""
    if state.count == window - 1:
        state.value = state.value - state.value / window + value
        return True
    state.value += value
    state.count += 1
    return False


def adx_step(
    state: Any, window: int, high: int, low: int, close: int
) -> tuple[float, float, float]:
    """Take one bar; return (ADX, +DI, −DI) from 0 to 100, NaN until the ADX is warm."""
    rise, fall, before = high - state.high, state.low - low, state.last
    state.high = high
    state.low = low
    state.last = close
    if state.started == 0:
        state.started = 1
        return NAN, NAN, NAN
    warm = wilder_sum_step(state.range, window, true_range(before, high, low))
    wilder_sum_step(state.plus, window, rise if rise > fall and rise > 0 else 0)
    wilder_sum_step(state.minus, window, fall if fall > rise and fall > 0 else 0)
    if not warm:
        return NAN, NAN, NAN
    plus, minus = 0.0, 0.0
    if state.range.value > 0.0:
        plus = 100.0 * state.plus.value / state.range.value
        minus = 100.0 * state.minus.value / state.range.value
    index = 100.0 * abs(plus - minus) / (plus + minus) if plus + minus > 0.0 else 0.0
    average = wilder_step(state.average, window, index)
    if state.average.count < window:
        return NAN, NAN, NAN
    return average, plus, minus


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


def _wilder_sums(values: list[Any], window: int) -> list[float]:
    # of changes, which begin at the second bar; the sums at bar `window`
    found, total = [NAN] * min(window, len(values)), 0.0
    for row in range(1, len(values)):
        if row >= window:
            total = total - total / window + values[row]
            found.append(total)
        else:
            total += values[row]
    return found


def _adx_reference(
    highs: list[int], lows: list[int], closes: list[int], window: int
) -> list[tuple[float, ...]]:
    plus, minus = [0] * min(1, len(highs)), [0] * min(1, len(highs))
    for row in range(1, len(highs)):
        rise, fall = highs[row] - highs[row - 1], lows[row - 1] - lows[row]
        plus.append(rise if rise > max(fall, 0) else 0)
        minus.append(fall if fall > max(rise, 0) else 0)
    parts = (_wilder_sums(values, window) for values in (ranges(highs, lows, closes), plus, minus))
    directions = [
        (100.0 * up / total, 100.0 * down / total) if total != 0.0 else (0.0, 0.0)
        for total, up, down in zip(*parts, strict=True)
    ]
    indices = [
        100.0 * abs(up - down) / (up + down) if up + down != 0.0 else 0.0 for up, down in directions
    ]
    averages = _smoothed(indices, window, wilder=True)
    return [
        (average, up, down) if average == average else (NAN, NAN, NAN)
        for average, (up, down) in zip(averages, directions, strict=True)
    ]


def _check_macd(parameters: Parameters) -> None:
    if parameters["fast"] >= parameters["slow"]:
        raise ValueError(f"fast: expected below slow, was {dict(parameters)}")


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
    note="pandas' `ewm` starts with the first value, and corrects for that with `adjust=True`.",
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
    largest=lambda p: LARGEST,
    note="TA-Lib says 0 where nothing has moved yet. Plain means of gains and losses are no RSI.",
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
    note="TA-Lib starts the fast average later, so that both start on the same value.",
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
    note="As in TA-Lib the first bar has no true range; Wilder took its high − low.",
)
ADX: Final = replace(
    ATR,
    name="adx",
    title="average directional index",
    formula="±DI = 100 S(±DM) / S(TR), S − S / n + x; DX = 100 |+DI − −DI| / (+DI + −DI); ADX is"
    " Wilder's average of DX; what would be 0 by 0 is 0",
    exactness="float: of exact ranges and moves",
    parameters={"window": 14},
    outputs=("adx", "plus", "minus"),
    warm_up=lambda p: 2 * p["window"],
    state=lambda p: adx_state(),
    step=adx_step,
    reference=_adx_reference,
    note="TA-Lib's ±DI come without waiting for the ADX. Give it whole numbers: of floats of"
    " decimals it takes equal moves for unequal ones, and its ADX of cents is off by points.",
)
INDICATORS: Final = (EMA, RSI, MACD, ATR, ADX)
