"""Cells as the fast pass reads them: a number is its digits, a word one of those that are known."""

import itertools
import re
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parity.kernels import cells

NO_WORDS = cells.words_of({})[0]


@given(
    word=st.text(st.characters(min_codepoint=1, max_codepoint=0x17F), max_size=18),
    known=st.dictionaries(
        st.text(
            st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=1, max_size=8
        ).filter(
            lambda text: not set(text) & set(',"') and len(text.encode()) <= cells.WORD_BYTES_MAX
        ),
        st.integers(-9, 9),
        min_size=1,
        max_size=4,
    ),
    pick=st.booleans(),
)
@example("1", {"1": 5, "\x11": 6}, False)
@example("\x11", {"1": 5}, False)
@example("BUY", {"buy": 1, "b": 2}, False)
def test_words_are_told_exactly(word: str, known: dict[str, int], pick: bool) -> None:
    """Law: a cell is one of the words, letters of ASCII in any case, or it stops the pass."""
    said = next(iter(known)).upper() if pick else word
    said = "".join(c for c in said if c not in ',"\r\n')
    lower = {w.lower(): number for w, number in reversed(known.items())}
    words, begins = cells.words_of({0: known}, any_case=[0])
    data = said.encode() + b"\n"
    values = np.zeros((1, 1), np.int64)

    count = cells.read_cells(
        np.frombuffer(data + bytes(cells.BEYOND), np.uint8),
        len(data),
        np.array([cells.WORD]),
        np.array([begins[0]]),
        words,
        np.zeros(2, np.int64),
        values,
        0,
    )

    if count:
        assert values[0, 0] == lower[said.lower()]
    elif said.isascii():
        assert said.lower() not in lower


DIGITS = st.from_regex(r"[0-9]{0,19}", fullmatch=True)
NUMBER = st.builds(
    lambda minus, whole, part: minus + whole + part,
    st.sampled_from(["", "", "-"]),
    DIGITS,
    st.one_of(st.just(""), st.builds(lambda a, n: f".{a}{'0' * n}", DIGITS, st.integers(0, 20))),
)
CELL = st.one_of(
    NUMBER,
    st.from_regex(r"-?[0-9]{1,9}(\.[0-9]{0,8})?", fullmatch=True),
    st.sampled_from(["true", "False", "TRUE", "tru", "falsee", "", '"1"', "1e5", "٣", "abcdefghi"]),
)


def _integer(cell: str, kind: int, scale: int) -> int | None:
    """Return what a cell says, or None where it is not plain."""
    if kind == cells.SKIP:
        return None if '"' in cell else 0
    if kind == cells.BOOLEAN:
        return {"true": 1, "false": 0}.get(cell.lower())
    if kind == cells.DECIMAL and not cell:
        return cells.NONE
    if not re.fullmatch(r"-?[0-9]+" + (r"(\.[0-9]*)?" if kind == cells.DECIMAL else ""), cell):
        return None
    value = Decimal(cell)
    whole = len(cell.partition(".")[0].lstrip("-"))
    if kind == cells.INTEGER and whole > 1 and cell.lstrip("-")[0] == "0":
        return None  # of a time they say its unit
    needed = len(cell.partition(".")[2].rstrip("0"))
    fits = needed <= scale and whole + max(needed, scale) <= cells.DIGITS_MAX
    return int(value.scaleb(scale)) if fits else None


@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=6),
    kinds=st.tuples(*[st.integers(cells.SKIP, cells.BOOLEAN)] * 3),
    scales=st.tuples(*[st.integers(0, 18)] * 3),
    end=st.sampled_from(["\n", "\r\n"]),
    beyond=st.binary(min_size=cells.BEYOND, max_size=cells.BEYOND),
)
@example([("1", "0.10", "true")], (2, 1, 3), (0, 1, 0), "\n", b"12345678")
@example([("1", "5", "x")], (2, 1, 0), (0, 1, 0), "\n", b",,,,,\n\n\n")
def test_cells_are_exact(
    rows: list[tuple[str, str, str]],
    kinds: tuple[int, int, int],
    scales: tuple[int, int, int],
    end: str,
    beyond: bytes,
) -> None:
    """Law: a cell's integer is its decimal at the scale; the first that is not plain ends it."""
    lines = [(",".join(row) + end).encode() for row in rows]
    data = np.frombuffer(b"".join(lines) + beyond, np.uint8)
    values, found = np.zeros((3, len(rows) + 2), np.int64), np.zeros(4, np.int64)

    count = cells.read_cells(
        data,
        len(data) - len(beyond),
        np.array(kinds),
        np.array(scales),
        NO_WORDS,
        found,
        values,
        2,
    )

    expected = [list(map(_integer, row, kinds, scales)) for row in rows]
    plain_rows = list(itertools.takewhile(lambda row: None not in row, expected))
    assert count == len(plain_rows)
    assert values[:, 2 : count + 2].T.tolist() == plain_rows
    assert found[0] == sum(map(len, lines[:count]))


@pytest.mark.parametrize(
    "row",
    ['"1",true', "1,tree", "1,true,2", "1", "1,tru", "1e5,true", "٣,true", "-,true", "., true"],
)
def test_what_is_not_plain_stops_it(row: str) -> None:
    """A row of anything else is left where it begins."""
    good = b"5,false\r\n7,TRUE\n"
    data = good + row.encode() + b"\n1,true\n"
    found = np.zeros(3, np.int64)

    rows = cells.read_cells(
        np.frombuffer(data + bytes(cells.BEYOND), np.uint8),
        len(data),
        np.array([cells.DECIMAL, cells.BOOLEAN]),
        np.array([0, 0]),
        NO_WORDS,
        found,
        np.zeros((2, 9), np.int64),
        0,
    )

    assert (rows, found[0]) == (2, len(good))


@pytest.mark.parametrize(
    ("row", "is_read"), [("a,b\r", True), ("a\r,b", False), ("a,b\r\r", False)]
)
def test_a_line_end_of_two_bytes_is_no_part_of_a_word(row: str, is_read: bool) -> None:
    """The last word of a row is what stands before it; anywhere else it is a byte like others."""
    words, begins = cells.words_of({0: {"a": 3}, 1: {"b": 4}})
    data = row.encode() + b"\n"
    values = np.zeros((2, 1), np.int64)

    rows = cells.read_cells(
        np.frombuffer(data + bytes(cells.BEYOND), np.uint8),
        len(data),
        np.array([cells.WORD, cells.WORD]),
        np.array([begins[0], begins[1]]),
        words,
        np.zeros(3, np.int64),
        values,
        0,
    )

    assert ([3, 4] if is_read else []) == values[:, :rows].ravel().tolist()


def test_bytes_beyond_the_last_are_asked_for() -> None:
    """Without room to look ahead it reads nothing, and says so."""
    data = np.frombuffer(b"1\n", np.uint8)

    with pytest.raises(ValueError, match="too few bytes beyond"):
        cells.read_cells(
            data,
            2,
            np.array([cells.INTEGER]),
            np.array([0]),
            NO_WORDS,
            np.zeros(2, np.int64),
            np.zeros((1, 1), np.int64),
            0,
        )
