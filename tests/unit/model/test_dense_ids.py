"""Dense ids: every known token gets its rank, every other one is refused by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.model.errors import InputRefused
from parity.model.instruments import Instrument, InstrumentTable

INT64 = st.integers(-(2**63), 2**63 - 1)
NEAR = st.integers(0, 40).map(lambda n: n + 900_000)


def table_of(tokens: set[int]) -> InstrumentTable:
    """Return a table of these tokens."""
    return InstrumentTable(Instrument(token=t, symbol=str(t), price_scale=2) for t in tokens)


@given(st.sets(INT64 | NEAR, min_size=1, max_size=8) | st.sets(NEAR, min_size=1), st.data())
def test_a_dense_id_is_the_rank_of_the_token(tokens: set[int], data: st.DataObject) -> None:
    """Near tokens (looked up) and far ones (searched) give the same: the rank."""
    column = data.draw(st.lists(st.sampled_from(sorted(tokens))))
    found = table_of(tokens).dense(np.array(column, np.int64))

    assert np.int32 == found.dtype
    assert [sorted(tokens).index(t) for t in column] == found.tolist()


@given(st.sets(INT64 | NEAR, min_size=1, max_size=8), INT64 | NEAR)
def test_a_token_that_is_not_there_is_refused(tokens: set[int], other: int) -> None:
    """Before, between or behind the known ones, and however far."""
    if other in tokens:
        return
    with pytest.raises(InputRefused, match=str(other)):
        table_of(tokens).dense(np.array([min(tokens), other], np.int64))
