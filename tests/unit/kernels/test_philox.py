"""Philox against numpy's, in Python and compiled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.kernels.philox import philox4x64, philox4x64_py

WORD = st.integers(0, 2**64 - 1)


@pytest.mark.slow
@given(st.tuples(WORD, WORD, WORD, WORD), st.tuples(WORD, WORD))
def test_blocks_equal_numpys_raw_output(
    counter: tuple[int, int, int, int], key: tuple[int, int]
) -> None:
    """The Python form, the compiled form and numpy give the same four words."""
    before = (sum(word << 64 * n for n, word in enumerate(counter)) - 1) % 2**256
    words = [before >> 64 * n & (2**64 - 1) for n in range(4)]
    numpys = np.random.Philox(counter=np.array(words, np.uint64), key=np.array(key, np.uint64))

    block = philox4x64_py(counter, key)

    assert tuple(numpys.random_raw(4).tolist()) == block
    compiled = philox4x64(tuple(map(np.uint64, counter)), tuple(map(np.uint64, key)))
    assert block == compiled
    assert all(type(word) is int for word in compiled)  # a float would mean mixed signedness
