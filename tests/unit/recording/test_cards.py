"""parity.recording.cards: short HTML that shows what it was given, and escapes it."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.recording.cards import (
    ROWS_MAX,
    card,
    difference_card,
    recording_card,
    run_card,
    verdict_card,
)

RUN = {
    "ticks": 21313,
    "signals": 12,
    "drops": {"cooldown": 3, "min_confidence": 1400},
    "fills": 12,
    "digests": {"candidates": "ab" * 32, "decisions": "cd" * 32},
    "strategies": {"dip_1": {"signals": 12, "drops": {"cooldown": 3}, "fills": 12, "pnl": "-1.05"}},
}
DIVERGENCE = {"stream": "candidates", "seq": 15213, "field": "price", "a": "1.1", "b": "1.2"}


class Tags(HTMLParser):
    """Collects the tags and the text of a page, and checks that every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the tag that was opened last."""
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.words.append(data)


def read(page: str) -> Tags:
    """Return the parsed page, all of its tags closed."""
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert not tags.open
    return tags


def test_a_run_card_shows_the_counts() -> None:
    """Ticks, signals, drops by reason, digests and strategies stand in the card."""
    words = " ".join(read(run_card(RUN)).words)

    for expected in ("21,313", "1,403 (cooldown 3, min_confidence 1,400)", "dip_1", "-1.05"):
        assert expected in words
    assert "abababababababab…" in words


@pytest.mark.parametrize("word", ["identical", "different", "changed"])
def test_a_verdict_card_shows_its_word_and_what_was_covered(word: str) -> None:
    """The verdict, the counts it covers and the first divergence stand in the card."""
    verdict = {"verdict": word, "covered": {"ticks": 1000, "signals": 7}}
    words = " ".join(read(verdict_card(verdict | {"first_divergence": DIVERGENCE})).words)

    for expected in (word, "1,000 ticks, 7 signals", "first divergence", "15213", "1.1", "1.2"):
        assert expected in words


def test_only_identical_is_green() -> None:
    """A verdict nobody knows has the colour of a failure."""
    pages = {w: verdict_card({"verdict": w}) for w in ("identical", "different", "surprise")}

    assert "#1A7F4B" in pages["identical"]
    assert "#C0392B" in pages["different"]
    assert "#C0392B" in pages["surprise"]


def test_a_difference_is_same_only_when_it_says_so() -> None:
    """A comparison without a `same` key is not shown as the same."""
    assert "same" in read(difference_card({"same": True})).words
    assert "different" in read(difference_card({})).words
    parted = {"same": False, "first_divergence": DIVERGENCE, "covered": {"ticks": 1000}}
    words = read(difference_card(parted | {"changed": ["m: parameters.drop"]})).words
    assert {"price", "1,000 ticks", "m: parameters.drop"} <= set(words)


def test_a_recording_card_shows_instruments_and_gaps() -> None:
    """Tokens stand without thousands, gaps are marked."""
    summary = {
        "order": "arrival",
        "ticks": 1500,
        "gaps": 2,
        "flags": {"trade": 1500, "late": 0},
        "instruments": [{"instrument_token": 256265, "symbol": "NIFTY 50", "ticks": 1500}],
    }
    words = read(recording_card(summary)).words

    assert {"256265", "NIFTY 50", "1,500", "has gaps", "trade 1,500"} <= set(words)
    assert "has gaps" not in read(recording_card(summary | {"gaps": 0})).words


def test_rows_beyond_the_limit_are_counted() -> None:
    """A long table is cut, and says by how much."""
    rows = [[n] for n in range(ROWS_MAX + 5)]

    assert "and 5 more" in read(card("x", table=(["n"], rows))).words


@given(st.text(max_size=50), st.text(max_size=50))
@settings(max_examples=40)
def test_nothing_given_becomes_markup(name: str, value: str) -> None:
    """Whatever a strategy is called or a value holds, no tag comes out of it."""
    page = card(f"<script>{name}", [(f"<b>{name}", f"<img src=x onerror={value}>")], mark="<i>")

    assert {"div", "b", "span", "table", "tr", "th", "td"} == read(page).tags
