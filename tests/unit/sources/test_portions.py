"""Portions: as much as strategies are done with soon, and every message once, in its order."""

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from parity.sources.arrivals import Note
from parity.sources.decoding import Messages
from parity.sources.portions import TURN_NS, Portions, cut


def sizes(each_ns: list[int]) -> list[int]:
    """Return the portions of a backlog without end, where a tick takes so long in each turn."""
    portions = Portions(1000)
    found = []
    for ns in each_ns:
        found.append(portions.size(10_000))
        portions.took(found[-1] * ns)
    return found


def test_quick_strategies_soon_get_all_there_is() -> None:
    """From a few ticks, doubled each time, to the most; a recorder, whom nobody tells, as well."""
    assert [8, 16, 32, 64, 128, 256, 512, 1000, 1000] == sizes([100] * 9)
    recorder = Portions(100)
    assert [8, 16, 32, 64, 100] == [recorder.size(500) for _ in range(5)]
    assert [3, 0, 100] == [recorder.size(n) for n in (3, 0, 100)]


def test_slow_strategies_get_what_they_do_in_a_turn() -> None:
    """The first few, then a turn's worth, never less than one; those that get quick again grow."""
    assert [8, 2, 2] == sizes([TURN_NS // 2] * 3)
    assert [8, 1, 1] == sizes([2 * TURN_NS] * 3)
    assert [8, 1, 2, 4, 8, 16] == sizes([TURN_NS, *[100] * 5])


def test_a_turn_without_ticks_says_nothing() -> None:
    """A deadline that took long while nothing came does not count as ticks that took long."""
    portions = Portions(1000)
    portions.size(0)
    portions.took(10 * TURN_NS)
    assert 8 == portions.size(1000)


@given(st.integers(0, 20), st.lists(st.integers(0, 20)), st.lists(st.integers(1, 7), min_size=30))
def test_cuts_lose_and_move_nothing(count: int, gaps: list[int], each: list[int]) -> None:
    """Put together again, the pieces are the messages, each gap before the same message."""
    notes = [Note(min(row, count), "gap", {"n": n}) for n, row in enumerate(sorted(gaps))]
    columns = (list(range(count)), [0] * count, list(range(count)), [7] * count)
    left = Messages(*columns, notes)
    pieces = []
    for size in each:
        if size < len(left.payloads):
            piece, left = cut(left, size)
            pieces.append(piece)
    pieces.append(left)

    assert list(columns) == [list(chain.from_iterable(p[k] for p in pieces)) for k in range(4)]
    found, before = [], 0
    for piece in pieces:
        found += [note._replace(row=note.row + before) for note in piece.gaps]
        before += len(piece.payloads)
    assert notes == found
