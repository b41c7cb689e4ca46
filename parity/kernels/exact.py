"""Exact integer arithmetic for kernels: sums are integers, comparisons cross-multiply.

A sum of floats depends on its order and on who adds; integers do not. Ratios are compared as
128-bit products and divided once, at the very end, by the one division helper here. The functions
are plain Python: a kernel's driver compiles what its step calls, and both mean the same.
"""

from __future__ import annotations

from typing import Final

EXACT_MAX: Final = 2**53  # float64 holds every integer up to here
WIDE_DENOMINATOR_MAX: Final = 2**57
_LOW: Final = 0xFFFFFFFF
_HALF, _WHOLE = 2**30 - 1, 2**60 - 1
_ENOUGH: Final = 2**54
_NEAR, _FEW = 2**45, 2**17  # products of such sums and counts stay within int64


def divide(numerator: int, denominator: int) -> float:
    """Return numerator / denominator, correctly rounded.

    Raises:
        OverflowError: an operand is beyond 2**53, where float64 would round it first.
        ZeroDivisionError: the denominator is 0.
    """
    if (
        numerator > EXACT_MAX
        or numerator < -EXACT_MAX
        or denominator > EXACT_MAX
        or denominator < -EXACT_MAX
    ):
        raise OverflowError("exact.divide: an operand is beyond 2**53")
    return numerator / denominator


def product(a: int, b: int) -> tuple[int, int]:
    """Return the 128-bit product of two int64 as (high, low): high * 2**64 + low.

    `high` is signed; `low` is given as two's complement int64 too, so compare it through
    `compare_products`, never by itself.
    """
    # 32-bit limbs, the upper one signed; no partial sum leaves int64.
    a_high, a_low = a >> 32, a & _LOW
    b_high, b_low = b >> 32, b & _LOW
    # a_low * b_low needs 64 unsigned bits: split it once more.
    low_0 = (a_low & 0xFFFF) * b_low
    low_1 = (a_low >> 16) * b_low
    low_mid = (low_0 >> 16) + low_1
    limb_0 = ((low_mid & 0xFFFF) << 16) | (low_0 & 0xFFFF)
    carry = low_mid >> 16
    cross_1 = a_high * b_low + carry
    cross_2 = a_low * b_high + (cross_1 & _LOW)
    limb_1 = cross_2 & _LOW
    high = a_high * b_high + (cross_1 >> 32) + (cross_2 >> 32)
    if limb_1 >= 0x80000000:  # the same bits as a signed number, without leaving int64
        limb_1 -= 0x100000000
    return high, limb_1 * 0x100000000 + limb_0


def compare_products(a: int, b: int, c: int, d: int) -> int:
    """Return the sign of a * b - c * d, exact for any int64."""
    high_1, low_1 = product(a, b)
    high_2, low_2 = product(c, d)
    if high_1 != high_2:
        return 1 if high_1 > high_2 else -1
    if low_1 == low_2:
        return 0
    if (low_1 < 0) != (low_2 < 0):  # unsigned order: a negative low half is the larger
        return 1 if low_1 < 0 else -1
    return 1 if low_1 > low_2 else -1


def compare_ratios(sum_1: int, count_1: int, sum_2: int, count_2: int) -> int:
    """Return the sign of sum_1 / count_1 - sum_2 / count_2 for counts above 0, exactly."""
    if -_NEAR < sum_1 < _NEAR and -_NEAR < sum_2 < _NEAR and count_1 < _FEW and count_2 < _FEW:
        one, two = sum_1 * count_2, sum_2 * count_1  # both within int64
        return (one > two) - (one < two)
    return compare_products(sum_1, count_2, sum_2, count_1)


# Sums beyond int64 are pairs (high, low), worth high * 2**60 + low with 0 <= low < 2**60: below
# 2**122 nothing here leaves int64, so compiled and plain Python agree.


def wide_add(high: int, low: int, a: int, b: int) -> tuple[int, int]:
    """Return the wide sum (high, low) + a * b; |a| and |b| are at most 2**60."""
    a_high, a_low = a >> 30, a & _HALF
    b_high, b_low = b >> 30, b & _HALF
    middle = a_high * b_low + a_low * b_high
    low += a_low * b_low + ((middle & _HALF) << 30)
    return high + a_high * b_high + (middle >> 30) + (low >> 60), low & _WHOLE


def wide_divide(high: int, low: int, denominator: int) -> float:
    """Return a wide sum over a denominator of 1..2**57, correctly rounded.

    Raises:
        OverflowError: the denominator is above 2**57, or not above 0.
    """
    if denominator < 1 or denominator > WIDE_DENOMINATOR_MAX:
        raise OverflowError("exact.wide_divide: the denominator is not within 1..2**57")
    negative = high < 0
    if negative:
        high, low = -high, -low
        if low < 0:
            high, low = high - 1, low + _WHOLE + 1
    if high == 0 and low == 0:
        return 0.0
    if high == 0 and low <= EXACT_MAX and denominator <= EXACT_MAX:
        value = low / denominator
        return -value if negative else value
    # Long division, six bits at a time, until 55 bits stand; what follows only tips the rounding.
    quotient, rest = high // denominator, high % denominator
    place, scale, rounded_off = 54, 2.0**60, 0
    while place >= 0 or quotient < _ENOUGH:
        rest *= 64
        if place >= 0:
            rest += (low >> place) & 63
        digit = rest // denominator
        rest -= digit * denominator
        if quotient < _ENOUGH:
            quotient = quotient * 64 + digit
            scale /= 64.0
        else:
            rounded_off |= digit
        place -= 6
    if rest != 0 or rounded_off != 0:
        quotient |= 1
    value = float(quotient) * scale
    return -value if negative else value
