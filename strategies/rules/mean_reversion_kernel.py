"""Mean reversion as a kernel: the same candidates as `mean_reversion`, bit for bit, compiled.

As long as no price is beyond `mean_reversion.price_int_max`. Such a tick is an error in both, but
this one's window leaves it out while it stands in the other's history, and it is one in warm-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from parity.kernels.windows import spread_state, zscore_step
from parity.model.kernel import KernelStrategy, out_dtype
from parity.model.parameters import check_parameters
from parity.strategies.rules import mean_reversion

PARAMETERS: Final = mean_reversion.PARAMETERS

_PARAMS: Final = np.dtype(
    [("lookback", "i8"), ("price_int_max", "i8"), ("z_entry", "f8"), ("quantity", "f8")], align=True
)
_PRICE_TOO_LARGE: Final = -1


def step(state: Any, params: Any, out: Any, price_int: int, price: float) -> int:
    """Take one tick; say BUY or SELL when it is `z_entry` deviations from its window's mean."""
    if price_int > params.price_int_max or price_int < -params.price_int_max:
        return _PRICE_TOO_LARGE
    z = zscore_step(state, params.lookback, price_int)
    if z <= -params.z_entry:
        out.side = 1
    elif z >= params.z_entry:
        out.side = -1
    else:  # NaN too, while the window fills
        return 0
    out.confidence = min(1.0, abs(z) / 3.0)
    out.quantity = params.quantity
    out.price = price
    out.z = z
    return 1


def create(parameters: Mapping[str, Any]) -> KernelStrategy:
    """Make the kernel; raises ConfigError naming a wrong parameter."""
    given = check_parameters(PARAMETERS, parameters)
    lookback = given["lookback_periods"]
    largest = mean_reversion.price_int_max(lookback)

    def describe(candidate: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        z = candidate["z"]
        return mean_reversion.reasoning(z, lookback), {"z": z}

    return KernelStrategy(
        name=mean_reversion.NAME,
        step=step,
        state=spread_state(lookback),
        params=np.array((lookback, largest, given["z_entry"], given["position_size"]), _PARAMS),
        out=out_dtype(("z", "f8")),
        columns=("price_int", "price"),
        history=lookback,
        describe=describe,
        reference=lambda: mean_reversion.create(parameters),
    )
