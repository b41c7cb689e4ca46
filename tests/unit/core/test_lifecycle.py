"""The lifecycle of an executor as a table."""

import itertools

import pytest

from parity.core import lifecycle
from parity.core.deadlines import Deadlines
from parity.core.lifecycle import ErrorTerms, Life
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


def active(deadlines: Deadlines, **terms: int) -> Life:
    """Return a life that is ACTIVE at 0; windows and delays in nanoseconds."""
    given = {"window_ns": 10, "most": 1, "retry_ns": 3, "retries": 1, "resume_ns": 20, **terms}
    life = Life(ErrorTerms(**given), deadlines)
    life.began(0)
    life.warmed(0)
    return life


@pytest.mark.parametrize(
    ("errors_ns", "states"),
    [
        ((0, 9), ["", "ERROR"]),
        ((0, 10), ["", ""]),  # exactly one window apart: the first counts no longer
        ((0, 11), ["", ""]),
        ((0, 10, 19), ["", "", "ERROR"]),
        ((0, 10, 20, 29), ["", "", "", "ERROR"]),
        ((5, 5), ["", "ERROR"]),
    ],
)
def test_the_window_of_errors_is_half_open(errors_ns: tuple[int, ...], states: list[str]) -> None:
    """Errors count while they are less than a window old; one more than is put up with: ERROR."""
    life = active(Deadlines())

    assert states == ["".join(c.now.name for c in life.failed(ns)) for ns in errors_ns]


@pytest.mark.parametrize(
    ("age_ns", "states"),
    [(0, ["ERROR", "PAUSED"]), (9, ["ERROR", "PAUSED"]), (10, ["ERROR", "PAUSED"]),
     (11, ["ERROR"])],
)  # fmt: skip
def test_a_try_went_well_only_after_a_whole_window(age_ns: int, states: list[str]) -> None:
    """An error up to a window after the try spends the next one; later, tries begin anew."""
    deadlines = Deadlines()
    life = active(deadlines, most=0)
    life.failed(0)
    life.retry(3)
    changes = life.failed(3 + age_ns)
    due = 3 + age_ns + (3 if len(states) == 1 else 20)

    assert states == [change.now.name for change in changes]
    assert due == deadlines.next_ns()


@pytest.mark.parametrize("left", ["resume", "stop"])
def test_leaving_a_pause_leaves_no_deadline(left: str) -> None:
    """Neither that of the control nor that of spent tries is due any more."""
    for spent in (False, True):
        deadlines = Deadlines()
        life = active(deadlines, most=0, retries=0)
        if spent:
            life.failed(1)
        else:
            life.pause("paused", 1, 20)
        assert 21 == deadlines.next_ns()
        getattr(life, left)("by hand", 2)

        assert deadlines.next_ns() is None
