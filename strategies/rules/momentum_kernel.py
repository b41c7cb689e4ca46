"""Momentum as a kernel: the same candidates as `momentum`, bit for bit, in compiled code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from parity.kernels.extremes import float_state
from parity.model.kernel import KernelStrategy, out_dtype
from parity.model.parameters import check_parameters
from parity.strategies.rules import momentum

PARAMETERS: Final = momentum.PARAMETERS

_PARAMS: Final = np.dtype([("lookback", "i8"), ("threshold", "f8"), ("quantity", "f8")], align=True)


def step(state: Any, params: Any, out: Any, price: float) -> int:
    """Take one tick; say BUY or SELL when the window's change is beyond the threshold."""
    at = state.at
    state.ring[at] = price
    at += 1
    if at == params.lookback:
        at = 0
    state.at = at
    if state.count < params.lookback:
        state.count += 1
        if state.count < params.lookback:
            return 0
    start = state.ring[at]  # the next slot to be written holds the oldest price
    if start <= 0.0:
        return 0
    change = (price - start) / start
    if change > params.threshold:
        out.side = 1
        size = change
    elif change < -params.threshold:
        out.side = -1
        size = -change
    else:
        return 0
    out.confidence = min(1.0, 5.0 * size)
    out.quantity = params.quantity
    out.price = price
    out.change = change
    return 1


def create(parameters: Mapping[str, Any]) -> KernelStrategy:
    """Make the kernel; raises ConfigError naming a wrong parameter."""
    given = check_parameters(PARAMETERS, parameters)
    lookback = given["lookback_periods"]

    def describe(candidate: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        change = candidate["change"]
        return momentum.reasoning(change, lookback), {"change": change}

    return KernelStrategy(
        name="momentum",
        step=step,
        state=float_state(lookback),
        params=np.array((lookback, given["threshold"], given["position_size"]), _PARAMS),
        out=out_dtype(("change", "f8")),
        columns=("price",),
        history=lookback,
        describe=describe,
        reference=lambda: momentum.create(parameters),
    )
