"""Two exponential averages as a kernel: a signal when the fast one crosses the slow one.

Both are `ema` of docs/indicators.md over prices as integers, whose scale cancels. They are floats
by nature, so a cross is one of their bits: the same in every tier and cut. A tie keeps the side,
and the first side after warm-up is no signal, as in `sma_cross`, whose parameters it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from parity.kernels.smoothing import ema_state, ema_step
from parity.model.kernel import KernelStrategy, out_dtype
from parity.strategies.rules import sma_cross
from parity.strategies.rules.sma_cross import take_side

NAME: Final = "ema_cross"
PARAMETERS: Final = sma_cross.PARAMETERS

_PARAMS: Final = np.dtype([("fast", "i8"), ("slow", "i8"), ("quantity", "f8")], align=True)


def step(state: Any, params: Any, out: Any, price_int: int, price: float) -> int:
    """Take one tick; say BUY or SELL when the fast average came to the other side."""
    fast = ema_step(state.fast, params.fast, float(price_int))
    slow = ema_step(state.slow, params.slow, float(price_int))
    side = (fast > slow) - (fast < slow)  # 0 while the slow one warms: NaN is on no side
    return take_side(state, out, side, params.quantity, price)


def create(parameters: Mapping[str, Any]) -> KernelStrategy:
    """Make the kernel; raises ConfigError naming a wrong parameter."""
    given = sma_cross.completed(parameters)
    fast, slow = given["fast_periods"], given["slow_periods"]

    def describe(candidate: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        return sma_cross.reasoning(candidate["side"], fast, slow, "EMA"), {}

    return KernelStrategy(
        name=NAME,
        step=step,
        state=np.dtype([("side", "i8"), ("fast", ema_state()), ("slow", ema_state())], align=True),
        params=np.array((fast, slow, given["position_size"]), _PARAMS),
        out=out_dtype(),
        columns=("price_int", "price"),
        history=slow,
        describe=describe,
    )
