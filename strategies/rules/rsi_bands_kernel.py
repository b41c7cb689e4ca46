"""RSI bands as a kernel: a signal when Wilder's RSI comes back from beyond a band.

The RSI is `rsi` of docs/indicators.md over prices as integers, whose scale cancels. At `lower` or
below it is low, at `upper` or above it is high; where it is no longer low BUY, no longer high SELL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from parity.kernels.smoothing import LARGEST, rsi_state, rsi_step
from parity.model.errors import ConfigError
from parity.model.kernel import KernelStrategy, out_dtype
from parity.model.parameters import Parameter, check_parameters

NAME: Final = "rsi_bands"
PARAMETERS: Final = {
    "lookback_periods": Parameter(
        "int", 14, minimum=1, maximum=1_000_000, doc="changes of Wilder's averages"
    ),
    "lower": Parameter("float", 30, minimum=0, maximum=100, doc="the RSI is low from here down"),
    "upper": Parameter("float", 70, minimum=0, maximum=100, doc="the RSI is high from here up"),
    "position_size": Parameter("float", 1, exclusive_minimum=0, doc="quantity of a signal"),
}

_PARAMS: Final = np.dtype(
    [("lookback", "i8"), ("lower", "f8"), ("upper", "f8"), ("quantity", "f8")], align=True
)
_PRICE_TOO_LARGE: Final = -1


def step(state: Any, params: Any, out: Any, price_int: int, price: float) -> int:
    """Take one tick; say BUY or SELL when the RSI is back from beyond its band."""
    if price_int > LARGEST or price_int < -LARGEST:
        return _PRICE_TOO_LARGE
    rsi = rsi_step(state.rsi, params.lookback, price_int)
    side = (rsi <= params.lower) - (rsi >= params.upper)  # what coming back will say
    before = state.side
    if side == before:  # while it warms, too: NaN is beyond no band
        return 0
    state.side = side
    if before == 0:
        return 0
    out.side = before
    out.confidence = 1.0
    out.quantity = params.quantity
    out.price = price
    out.rsi = rsi
    return 1


def create(parameters: Mapping[str, Any]) -> KernelStrategy:
    """Make the kernel; raises ConfigError naming a wrong parameter."""
    given = check_parameters(PARAMETERS, parameters)
    lookback, lower, upper = given["lookback_periods"], given["lower"], given["upper"]
    if lower >= upper:
        raise ConfigError(
            f"parameters.lower: expected below upper ({upper}), was {lower}",
            cure="the RSI is low below the one and high above the other",
        )

    def describe(candidate: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        rsi, low = candidate["rsi"], candidate["side"] > 0
        words = f"RSI {lookback} back {'above' if low else 'below'} {lower if low else upper:g}"
        return f"{words}: {rsi:.2f}", {"rsi": rsi}

    return KernelStrategy(
        name=NAME,
        step=step,
        state=np.dtype([("side", "i8"), ("rsi", rsi_state())], align=True),
        params=np.array((lookback, lower, upper, given["position_size"]), _PARAMS),
        out=out_dtype(("rsi", "f8")),
        columns=("price_int", "price"),
        history=lookback + 1,
        describe=describe,
    )
