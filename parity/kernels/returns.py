"""Indicators of relative change, on exact integers: each change is one correctly rounded quotient.

Returns are simple, not logarithmic: a logarithm's last bit depends on the C library.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

import numpy as np

from parity.kernels.exact import EXACT_MAX, divide
from parity.kernels.extremes import float_state, float_total
from parity.kernels.indicator import NAN, Indicator, room
from parity.kernels.windows import last, slide


def roc_state(window: int) -> np.dtype[Any]:
    """Return the dtype of a rate of change's state; it starts as zeros."""
    return np.dtype([("count", "i8"), ("at", "i8"), ("ring", "i8", (room(window),))], align=True)


def roc_step(state: Any, window: int, value: int) -> float:
    """Take one value; return its change against the one `window` before, a fraction."""
    before = slide(state, window, value)
    if before == 0:  # also while the window fills
        return NAN
    if value == before:
        return 0.0  # over a negative number the quotient would be -0.0
    return divide(value - before, before)


def volatility_state(window: int) -> np.dtype[Any]:
    """Return the dtype of a realised volatility's state; it starts as zeros."""
    return np.dtype([("last", "i8"), ("squares", float_state(window))], align=True)


def volatility_step(state: Any, window: int, value: int) -> float:
    """Take one value; return the realised volatility of the last `window` returns, a fraction."""
    before = state.last
    state.last = value
    if before == 0:  # also at the first value
        return NAN
    change = divide(value - before, before)
    total = float_total(state.squares, window, change * change)
    return math.sqrt(total) if state.squares.count == window else NAN


def _roc_reference(values: list[int], window: int) -> list[float]:
    found = []
    for row, value in enumerate(values):
        before = values[row - window] if row >= window else 0
        found.append(float(Fraction(value - before, before)) if before else NAN)
    return found


def _volatility_reference(values: list[int], window: int) -> list[float]:
    squares: list[float] = []
    found = []
    for change in _roc_reference(values, 1):
        if not math.isnan(change):
            squares.append(change * change)
        total = 0.0
        for square in last(squares, len(squares) - 1, window):
            total += square
        full = len(squares) >= window and not math.isnan(change)
        found.append(math.sqrt(total) if full else NAN)
    return found


ROC: Final = Indicator(
    name="roc",
    title="rate of change",
    formula="(x − y) / y with y the value n before, a fraction; NaN where y is 0",
    source="the relative difference",
    exactness="correctly rounded",
    parameters={"window": 10},
    inputs=("value",),
    outputs=("change",),
    warm_up=lambda p: p["window"] + 1,
    state=lambda p: roc_state(p["window"]),
    step=roc_step,
    reference=_roc_reference,
    largest=lambda p: EXACT_MAX // 2,
    note="TA-Lib's ROC is in percent; this one is its ROCP, which says 0 where y is 0.",
)
VOLATILITY: Final = replace(
    ROC,
    name="volatility",
    title="realised volatility of the last n returns",
    formula="√ Σ r², r = (x − y) / y against the value before; NaN against 0, and left out",
    source="T. G. Andersen, T. Bollerslev, Answering the Skeptics, 1998, of simple returns",
    exactness="float: each return is correctly rounded, squares are added from the oldest on",
    parameters={"window": 20},
    outputs=("volatility",),
    state=lambda p: volatility_state(p["window"]),
    step=volatility_step,
    reference=_volatility_reference,
    note="Logarithmic returns are usual; a logarithm's bits depend on the machine. No mean is"
    " taken off and nothing is scaled to a year.",
)
INDICATORS: Final = (ROC, VOLATILITY)
