"""Breakout as a kernel: the same candidates as `breakout`, bit for bit, in compiled code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from parity.kernels.indicator import room
from parity.model.kernel import KernelStrategy, out_dtype
from parity.model.parameters import check_parameters
from parity.strategies.rules import breakout

PARAMETERS: Final = breakout.PARAMETERS

_PARAMS: Final = np.dtype([("lookback", "i8"), ("threshold", "f8"), ("quantity", "f8")], align=True)


def step(state: Any, params: Any, out: Any, price: float) -> int:
    """Hold one tick against the range before it, then take it into the range."""
    code = 0
    if state.count == params.lookback and state.low > 0.0:
        beyond = (price - state.high) / state.high
        out.side, out.edge = 1, state.high
        if price < state.low:
            beyond = (state.low - price) / state.low
            out.side, out.edge = -1, state.low
        if beyond > params.threshold:
            out.confidence = min(1.0, 0.5 + 5.0 * beyond)
            out.quantity = params.quantity
            out.price = price
            out.beyond = beyond
            code = 1
    _push(state, params.lookback, price)
    return code


def _push(state: Any, lookback: int, price: float) -> None:
    at = state.at
    full = state.count == lookback
    leaving = state.ring[at]
    state.ring[at] = price
    state.at = at + 1 if at + 1 < lookback else 0
    if not full:
        state.count += 1
    if state.count == 1 and not full:
        state.high = price
        state.low = price
        return
    # Looked for again only when the one that leaves was it: seldom, so a tick costs a few steps.
    if full and (leaving == state.high or leaving == state.low):
        high = state.ring[0]
        low = state.ring[0]
        for n in range(1, lookback):
            one = state.ring[n]
            high = max(high, one)
            low = min(low, one)
        state.high = high
        state.low = low
        return
    state.high = max(state.high, price)
    state.low = min(state.low, price)


def create(parameters: Mapping[str, Any]) -> KernelStrategy:
    """Make the kernel; raises ConfigError naming a wrong parameter."""
    given = check_parameters(PARAMETERS, parameters)
    lookback = given["lookback_periods"]

    def describe(candidate: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        beyond = candidate["beyond"]
        words = breakout.reasoning(candidate["side"], beyond, lookback)
        return words, {"edge": candidate["edge"], "beyond": beyond}

    ring = ("ring", "f8", (room(lookback),))
    return KernelStrategy(
        name=breakout.NAME,
        step=step,
        state=np.dtype(
            [("at", "i8"), ("count", "i8"), ("high", "f8"), ("low", "f8"), ring], align=True
        ),
        params=np.array((lookback, given["threshold"], given["position_size"]), _PARAMS),
        out=out_dtype(("edge", "f8"), ("beyond", "f8")),
        columns=("price",),
        history=lookback + 1,
        describe=describe,
        reference=lambda: breakout.create(parameters),
    )
