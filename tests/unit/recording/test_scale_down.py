"""Dividing exactly, without dividing: every int64, every power of ten."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parity.recording.layout import exact_quotient

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.integers(1, 18), st.lists(INT64, min_size=1, max_size=20))
def test_multiples_come_back_exactly(zeros: int, values: list[int]) -> None:
    """What was multiplied by a power of ten, negative ones too, divides to what it was."""
    factor = 10**zeros
    small = [v % (2 * (2**63 // factor) - 1) - (2**63 // factor - 1) for v in values]
    fine = np.array([v * factor for v in small], np.int64)
    quotient = exact_quotient(fine, factor)

    assert quotient is not None
    assert small == quotient.tolist()


@given(st.integers(1, 18), st.lists(INT64, min_size=1, max_size=20), st.booleans())
def test_a_rest_is_never_lost(zeros: int, values: list[int], even: bool) -> None:
    """None where one value is no multiple, also where its last bits are zero."""
    factor = 10**zeros
    if even:
        values = [v >> zeros << zeros for v in values]
    quotient = exact_quotient(np.array(values, np.int64), factor)

    if any(v % factor for v in values):
        assert quotient is None
    else:
        assert quotient is not None
        assert [v // factor for v in values] == quotient.tolist()
