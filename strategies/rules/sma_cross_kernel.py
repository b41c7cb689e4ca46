"""The SMA cross as a kernel: the same candidates as `sma_cross`, bit for bit, in compiled code.

As long as no price is beyond `sma_cross.price_int_max`. Such a tick is an error in both, but this
one's windows leave it out while it stands in the other's history, and it is one in warm-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from parity.kernels.exact import compare_ratios
from parity.kernels.windows import push, sma_state
from parity.model.kernel import KernelStrategy, out_dtype
from parity.strategies.rules import sma_cross
from parity.strategies.rules.sma_cross import take_side

PARAMETERS: Final = sma_cross.PARAMETERS

_PARAMS: Final = np.dtype(
    [("fast", "i8"), ("slow", "i8"), ("price_int_max", "i8"), ("quantity", "f8")], align=True
)
_PRICE_TOO_LARGE: Final = -1


def step(state: Any, params: Any, out: Any, price_int: int, price: float) -> int:
    """Take one tick; say BUY or SELL when the fast average came to the other side."""
    if price_int > params.price_int_max or price_int < -params.price_int_max:
        return _PRICE_TOO_LARGE
    push(state.fast, params.fast, price_int)
    if not push(state.slow, params.slow, price_int):
        return 0
    side = compare_ratios(state.fast.total, params.fast, state.slow.total, params.slow)
    return take_side(state, out, side, params.quantity, price)


def create(parameters: Mapping[str, Any]) -> KernelStrategy:
    """Make the kernel; raises ConfigError naming a wrong parameter."""
    given = sma_cross.completed(parameters)
    fast, slow = given["fast_periods"], given["slow_periods"]

    def describe(candidate: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        return sma_cross.reasoning(candidate["side"], fast, slow), {}

    window = sma_state(slow)
    return KernelStrategy(
        name=sma_cross.NAME,
        step=step,
        state=np.dtype([("side", "i8"), ("fast", window), ("slow", window)], align=True),
        params=np.array(
            (fast, slow, sma_cross.price_int_max(slow), given["position_size"]), _PARAMS
        ),
        out=out_dtype(),
        columns=("price_int", "price"),
        history=slow,
        describe=describe,
        reference=lambda: sma_cross.create(parameters),
    )
