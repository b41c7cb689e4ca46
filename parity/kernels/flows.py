"""Indicators of traded quantity: running sums of exact integers from the first tick on.

A sum that starts over (a session, say) starts from a fresh state. Notional is a wide sum of
`parity.kernels.exact`, 128 bits in two integers. A sum that would leave what is exact is refused by
name before it is taken in.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

import numpy as np

from parity.kernels.exact import (
    EXACT_MAX,
    WIDE_DENOMINATOR_MAX,
    divide,
    wide_add,
    wide_divide,
)
from parity.kernels.indicator import NAN, Indicator, Parameters

_WIDE: Final = [("high", "i8"), ("low", "i8")]


def vwap_state() -> np.dtype[Any]:
    """Return the dtype of a VWAP's state; it starts as zeros."""
    return np.dtype([*_WIDE, ("total", "i8")], align=True)


def vwap_step(state: Any, unit: int, price: int, quantity: int) -> float:
    """Take one trade; return the average price so far over `unit`, NaN while nothing was traded.

    Raises:
        ValueError: a quantity below 0.
        OverflowError: Σ quantity * unit would pass 2**57.
    """
    if quantity < 0:
        raise ValueError("vwap: quantity: expected 0 or more")
    if quantity > WIDE_DENOMINATOR_MAX // unit - state.total:
        raise OverflowError("vwap: quantity: the sum times unit would pass 2**57")
    high, low = wide_add(state.high, state.low, price, quantity)
    state.high = high
    state.low = low
    state.total += quantity
    return wide_divide(high, low, state.total * unit) if state.total > 0 else NAN


def obv_state() -> np.dtype[Any]:
    """Return the dtype of an on-balance volume's state; it starts as zeros."""
    return np.dtype([("started", "i8"), ("last", "i8"), ("total", "i8")], align=True)


def obv_step(state: Any, quantity_unit: int, price: int, quantity: int) -> float:
    """Take one trade or bar; return the quantity with rising prices less that with falling ones.

    Raises:
        OverflowError: the sum would pass 2**53.
    """
    signed = 0
    if state.started != 0 and price != state.last:
        signed = quantity if price > state.last else -quantity
    total = state.total + signed
    if total > EXACT_MAX or total < -EXACT_MAX:
        raise OverflowError("obv: quantity: the sum would pass 2**53")
    state.started = 1
    state.last = price
    state.total = total
    return divide(total, quantity_unit)


def cvd_state() -> np.dtype[Any]:
    """Return the dtype of a CVD's state; it starts as zeros. `total` is its exact sum."""
    return np.dtype([("total", "i8")], align=True)


def signed(side: int, quantity: int) -> int:
    """Return the quantity with the aggressor's sign; 0 where nobody knows who that was."""
    return quantity if side > 0 else (-quantity if side < 0 else 0)


def cvd_step(state: Any, contract_size: int, quantity_unit: int, side: int, quantity: int) -> float:
    """Take one trade; return what buyers took less what sellers gave so far.

    Raises:
        OverflowError: the sum would pass 2**53.
    """
    total = state.total + signed(side, quantity) * contract_size
    if total > EXACT_MAX or total < -EXACT_MAX:
        raise OverflowError("cvd: quantity: the sum would pass 2**53")
    state.total = total
    return divide(total, quantity_unit)


def cvd_quote_state() -> np.dtype[Any]:
    """Return the dtype of a CVD in quote currency; it starts as zeros and is a wide sum."""
    return np.dtype(_WIDE, align=True)


def cvd_quote_step(
    state: Any, contract_size: int, unit: int, quantity_unit: int, side: int, price: int,
    quantity: int,
) -> float:  # fmt: skip
    """Take one trade; return the notional that buyers took less what sellers gave so far.

    Raises:
        OverflowError: the sum would pass 2**119.
    """
    high, low = wide_add(state.high, state.low, price, signed(side, quantity) * contract_size)
    if high >= 2**59 or high < -(2**59):
        raise OverflowError("cvd_quote: the sum would pass 2**119")
    state.high = high
    state.low = low
    return wide_divide(high, low, unit * quantity_unit)


def cvd_inverse_state() -> np.dtype[Any]:
    """Return the dtype of an inverse contract's CVD in base currency; it starts as zero."""
    return np.dtype([("total", "f8")], align=True)


def cvd_inverse_step(
    state: Any, contract_size: int, unit: int, quantity_unit: int, side: int, price: int,
    quantity: int,
) -> float:  # fmt: skip
    """Take one trade of inverse contracts; return the coins that buyers took, less sellers'.

    Raises:
        ValueError: a price that is not above 0.
    """
    if price <= 0:
        raise ValueError("cvd_inverse: price: expected above 0")
    high, low = wide_add(0, 0, signed(side, quantity) * contract_size, unit)
    state.total += wide_divide(high, low, price * quantity_unit)
    return float(state.total)


def _vwap_reference(prices: list[int], quantities: list[int], unit: int) -> list[float]:
    found = []
    for end in range(1, len(prices) + 1):
        pairs = zip(prices[:end], quantities[:end], strict=True)
        total = sum(quantities[:end]) * unit
        found.append(float(Fraction(sum(p * q for p, q in pairs), total)) if total else NAN)
    return found


def _obv_reference(prices: list[int], quantities: list[int], quantity_unit: int) -> list[float]:
    total, found = 0, []
    for row, price in enumerate(prices):
        before = prices[row - 1] if row else price
        total += quantities[row] * ((price > before) - (price < before))
        found.append(float(Fraction(total, quantity_unit)))
    return found


def _signs(sides: list[int]) -> list[int]:
    return [(side > 0) - (side < 0) for side in sides]


def _cvd_reference(
    sides: list[int], quantities: list[int], contract_size: int, quantity_unit: int
) -> list[float]:
    deltas = [s * q * contract_size for s, q in zip(_signs(sides), quantities, strict=True)]
    return [float(Fraction(sum(deltas[: n + 1]), quantity_unit)) for n in range(len(deltas))]


def _cvd_quote_reference(
    sides: list[int], prices: list[int], quantities: list[int], contract_size: int, unit: int,
    quantity_unit: int,
) -> list[float]:  # fmt: skip
    rows = zip(_signs(sides), prices, quantities, strict=True)
    deltas = [s * p * q * contract_size for s, p, q in rows]
    return [float(Fraction(sum(deltas[: n + 1]), unit * quantity_unit)) for n in range(len(deltas))]


def _cvd_inverse_reference(
    sides: list[int], prices: list[int], quantities: list[int], contract_size: int, unit: int,
    quantity_unit: int,
) -> list[float]:  # fmt: skip
    total, found = 0.0, []
    for side, price, quantity in zip(_signs(sides), prices, quantities, strict=True):
        coins = Fraction(side * quantity * contract_size, quantity_unit) / Fraction(price, unit)
        total += float(coins)
        found.append(total)
    return found


def _check_units(parameters: Parameters) -> None:
    product = parameters.get("unit", 1) * parameters.get("quantity_unit", 1)
    if product > EXACT_MAX:
        raise ValueError(f"unit * quantity_unit: expected at most 2**53, was {product}")


def _sized(parameters: Parameters) -> int:
    return EXACT_MAX // int(parameters.get("contract_size", 1))


VWAP: Final = Indicator(
    name="vwap",
    title="volume-weighted average price since the first trade",
    formula="Σ price quantity / Σ quantity; NaN while nothing was traded",
    source="the weighted mean",
    exactness="correctly rounded: the notional is a sum in 128 bits",
    parameters={"unit": 1},
    inputs=("price", "quantity"),
    outputs=("price",),
    warm_up=lambda p: 1,
    state=lambda p: vwap_state(),
    step=vwap_step,
    reference=_vwap_reference,
    largest=lambda p: EXACT_MAX,
    check=_check_units,
    note="That of a session begins with a fresh state. TA-Lib's price is the mean of high, low and"
    " close.",
)
OBV: Final = replace(
    VWAP,
    name="obv",
    title="on-balance volume",
    formula="Σ of the quantities of rising prices less those of falling ones; the first is 0",
    source="J. E. Granville, New Key to Stock Market Profits, 1963",
    exactness="correctly rounded",
    parameters={"quantity_unit": 1},
    outputs=("volume",),
    state=lambda p: obv_state(),
    step=obv_step,
    reference=_obv_reference,
    note="TA-Lib starts with the first quantity, not with 0.",
)
CVD: Final = replace(
    OBV,
    name="cvd",
    title="cumulative volume delta in base currency; of inverse contracts in quote currency",
    formula="Σ side quantity contract_size, side the aggressor's: 1, −1, or 0 where unknown",
    source="the running sum of signed quantity",
    parameters={"contract_size": 1, "quantity_unit": 1},
    inputs=("side", "quantity"),
    outputs=("delta",),
    state=lambda p: cvd_state(),
    step=cvd_step,
    reference=_cvd_reference,
    largest=_sized,
    note="A contract size that is a fraction goes into quantity_unit: 0.001 is 1 and 1000.",
)
CVD_QUOTE: Final = replace(
    CVD,
    name="cvd_quote",
    title="cumulative volume delta in quote currency; not of inverse contracts",
    formula="Σ side price quantity contract_size",
    source="the running sum of signed notional",
    exactness="correctly rounded: the notional is a sum in 128 bits",
    parameters={"contract_size": 1, "unit": 1, "quantity_unit": 1},
    inputs=("side", "price", "quantity"),
    state=lambda p: cvd_quote_state(),
    step=cvd_quote_step,
    reference=_cvd_quote_reference,
)
CVD_INVERSE: Final = replace(
    CVD_QUOTE,
    name="cvd_inverse",
    title="cumulative volume delta of inverse contracts in base currency",
    formula="Σ side quantity contract_size / price",
    source="the running sum of signed coins",
    exactness="float: each trade's coins are correctly rounded and added in their order",
    state=lambda p: cvd_inverse_state(),
    step=cvd_inverse_step,
    reference=_cvd_inverse_reference,
    largest=lambda p: min(_sized(p), WIDE_DENOMINATOR_MAX // p["quantity_unit"]),
)
INDICATORS: Final = (VWAP, OBV, CVD, CVD_QUOTE, CVD_INVERSE)
