"""The moving average: streaming, whole column and by fractions, bit for bit."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.kernels.sma import sma, sma_reference, sma_state, sma_step


def bits(values: list[float]) -> list[bytes]:
    """Give each float as its bits, so that NaN equals NaN."""
    return [struct.pack("<d", value) for value in values]


@pytest.mark.slow
@given(
    st.lists(st.integers(-(10**9), 10**9), max_size=60),
    st.integers(1, 12),
    st.sampled_from([1, 100, 10**6]),
)
def test_streaming_equals_column_equals_fractions_at_every_prefix(
    values: list[int], window: int, unit: int
) -> None:
    """One value at a time, the whole column and the definition agree, warm-up included."""
    state = np.zeros(1, sma_state(window)).view(np.recarray)[0]
    streamed = [float(sma_step(state, window, unit, value)) for value in values]
    reference = sma_reference(values, window, unit=unit)

    assert bits(reference) == bits(streamed)
    for end in range(len(values) + 1):
        prefix = sma(np.array(values[:end], np.int64), window, unit=unit)
        assert bits(reference[:end]) == bits(prefix.tolist())


def test_a_sum_beyond_float64_is_refused() -> None:
    """A window whose sum float64 cannot hold is refused, not rounded."""
    with pytest.raises(OverflowError, match=r"exact\.divide"):
        sma(np.array([2**53, 1]), 2)


def test_window_of_nothing_is_refused() -> None:
    """A window below one tick has no mean."""
    with pytest.raises(ValueError, match="at least 1, was 0"):
        sma(np.array([1]), 0)
