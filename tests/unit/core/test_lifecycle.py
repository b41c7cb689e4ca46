"""The lifecycle of an executor as a table."""

import itertools

import pytest

from parity.core import lifecycle
from parity.model.values import Lifecycle


def test_the_lifecycle_is_a_table() -> None:
    """Every pair of states is either in the table or refused; STOPPED is the end."""
    assert set(Lifecycle) == set(lifecycle.NEXT)
    assert not lifecycle.NEXT[Lifecycle.STOPPED]
    for was, now in itertools.product(Lifecycle, Lifecycle):
        if now in lifecycle.NEXT[was]:
            assert now == lifecycle.step(was, now)
        else:
            with pytest.raises(ValueError, match=f"{now.name} cannot follow {was.name}"):
                lifecycle.step(was, now)
