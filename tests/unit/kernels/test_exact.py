"""Integer arithmetic of kernels against Python's own unbounded integers and fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numba import njit

from parity.kernels import exact

INT64 = st.integers(-(2**63), 2**63 - 1)
_product = njit(exact.product)
_wide_add, _wide_divide = njit(exact.wide_add), njit(exact.wide_divide)
WIDE = st.integers(-(2**121), 2**121) | st.integers(-(2**70), 2**70) | st.integers(-9, 9)


def test_divide_is_the_correctly_rounded_quotient() -> None:
    """Numbers up to 2**53 divide to the float nearest to the fraction."""
    assert float(Fraction(2**53, 3)) == exact.divide(2**53, 3)


@pytest.mark.parametrize("operands", [(2**53 + 1, 1), (1, 2**53 + 1), (-(2**53) - 1, 7)])
def test_divide_refuses_operands_that_float64_would_round(operands: tuple[int, int]) -> None:
    """An operand above 2**53 is refused by the helper's name."""
    with pytest.raises(OverflowError, match=r"exact\.divide"):
        exact.divide(*operands)


@given(INT64, INT64)
def test_product_is_the_whole_product(a: int, b: int) -> None:
    """High and low words give a * b back, in Python and compiled, for any int64."""
    high, low = exact.product(a, b)

    assert a * b == high * 2**64 + (low & (2**64 - 1))
    assert (high, low) == _product(np.int64(a), np.int64(b))


@given(INT64, INT64, INT64, INT64)
def test_compare_products_is_the_sign_of_the_difference(a: int, b: int, c: int, d: int) -> None:
    """Products are compared exactly, however large."""
    difference = a * b - c * d

    assert (difference > 0) - (difference < 0) == exact.compare_products(a, b, c, d)
    assert exact.compare_products(a, b, b, a) == 0


SUMS = INT64 | st.integers(-(2**45) - 2, 2**45 + 2) | st.integers(-9, 9)
COUNTS = st.integers(1, 2**17 + 2)


@given(SUMS, COUNTS, SUMS, COUNTS)
def test_compare_ratios_agrees_with_fractions(s1: int, n1: int, s2: int, n2: int) -> None:
    """Means are compared as fractions are."""
    one, two = Fraction(s1, n1), Fraction(s2, n2)

    sign = (one > two) - (one < two)

    assert sign == exact.compare_ratios(s1, n1, s2, n2)
    assert 0 == exact.compare_ratios(s1, n1, s1, n1)


FACTOR = st.integers(-(2**60), 2**60) | st.integers(-(2**31), 2**31)


@pytest.mark.slow
@given(WIDE, FACTOR, FACTOR)
def test_a_wide_sum_is_exact(start: int, a: int, b: int) -> None:
    """It takes products on as unbounded integers do, in Python and compiled."""
    high, low = start >> 60, start & (2**60 - 1)

    found = exact.wide_add(high, low, a, b)

    assert start + a * b == found[0] * 2**60 + found[1]
    assert 0 <= found[1] < 2**60
    assert found == _wide_add(np.int64(high), np.int64(low), np.int64(a), np.int64(b))


@pytest.mark.slow
@example(0, 2**57)
@given(WIDE, st.integers(1, 2**57) | st.integers(1, 2**20))
def test_a_wide_quotient_is_correctly_rounded(numerator: int, denominator: int) -> None:
    """It is the float64 nearest to the fraction, ties to even, in Python and compiled."""
    high, low = numerator >> 60, numerator & (2**60 - 1)

    expected = float(Fraction(numerator, denominator))

    assert expected == exact.wide_divide(high, low, denominator)
    assert expected == _wide_divide(np.int64(high), np.int64(low), np.int64(denominator))


@given(st.integers(2**52, 2**53 - 1), st.integers(0, 60), st.sampled_from([-1, 0, 1]))
def test_a_wide_quotient_near_a_tie_goes_to_even(odd: int, shift: int, off: int) -> None:
    """Half way between two floats, and a hair beside it."""
    numerator = ((2 * odd + 1) << shift) * 3 + off

    found = exact.wide_divide(numerator >> 60, numerator & (2**60 - 1), 3)

    assert float(Fraction(numerator, 3)) == found


@pytest.mark.parametrize("denominator", [0, -1, 2**57 + 1])
def test_wide_divide_refuses_denominators_out_of_range(denominator: int) -> None:
    """By the helper's name."""
    with pytest.raises(OverflowError, match=r"exact\.wide_divide"):
        exact.wide_divide(0, 1, denominator)
