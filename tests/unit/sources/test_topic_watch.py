"""Whether a topic is still the one that was recorded: asked beside the reading, seldom waited for.

The broker's client is a stub here, and time stands unless it is moved.
"""

from collections.abc import Collection
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from parity.sources.redpanda import inquiry
from parity.sources.redpanda.inquiry import WATCH_S, TopicWatch

STEP_S = 0.1
OLD = "old"


class Asked:
    """Answers with the id it is given, at once; without one every question fails."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.answer = OLD
        self.waits = 0
        self.asked = 0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now_s

    def topic_ids(self, topics: Collection[str], limit_s: float) -> dict[str, str]:
        """Wait for an answer; in vain that takes all the time there is."""
        self.waits += 1
        self.now_s += 0 if self.answer else limit_s
        return dict.fromkeys(topics, self.answer) if self.answer else {}

    def ask_ids(self, topics: Collection[str], limit_s: float) -> dict[str, Future[Any]]:
        """Ask, and wait for nothing."""
        self.asked += 1
        found: dict[str, Future[Any]] = {topic: Future() for topic in topics}
        for one in found.values():
            if self.answer:
                one.set_result(SimpleNamespace(topic_id=self.answer))
            else:
                one.set_exception(TimeoutError())
        return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Who is asked, and the time that all see."""
    found = Asked()
    monkeypatch.setattr(inquiry, "time", found)
    return found


def watching(asked: Any, ids: dict[str, str]) -> TopicWatch:
    """Return the watch of topics that had these ids."""
    return TopicWatch(asked, ids)


def looks(asked: Asked, watch: TopicWatch, seconds: float) -> list[dict[str, str]]:
    """Return what each look of a reader found in some seconds."""
    found = []
    until_s = asked.now_s + seconds
    while asked.now_s < until_s:
        asked.now_s += STEP_S
        found.append(watch.made_anew())
    return found


def test_a_topic_made_anew_is_told_within_two_looks(asked: Asked) -> None:
    """Nobody waits for an answer, and nothing is asked more often than every two seconds."""
    watch = watching(asked, {"t": OLD})
    calm = looks(asked, watch, 60)
    questions, asked.answer = asked.asked, "new"
    told = looks(asked, watch, WATCH_S + 3 * STEP_S)

    assert [] == [found for found in calm if found]
    assert {"t": "new"} in told
    assert questions <= 60 / WATCH_S
    assert 0 == asked.waits


def test_where_nobody_answers_one_wait_is_all(asked: Asked) -> None:
    """A cluster whose controller is away, and partitions that can be read: they are, undelayed."""
    watch = watching(asked, {"t": OLD})
    asked.answer = ""
    silent = looks(asked, watch, 600)
    waits = asked.waits
    asked.answer = OLD
    back = looks(asked, watch, 60)
    asked.now_s += 60  # this process stood still
    asked.answer = "new"

    assert [] == [found for found in silent + back if found]
    assert 1 == waits == asked.waits
    assert {"t": "new"} == watch.made_anew()
    assert 2 == asked.waits


def test_where_a_broker_is_back_it_is_waited_for(asked: Asked) -> None:
    """Before a message is passed on, also where the last wait was in vain."""
    watch = watching(asked, {"t": OLD})
    asked.answer = ""
    assert {} == watch.made_anew(at_once=True)
    asked.answer = "new"
    assert {"t": "new"} == watch.made_anew(at_once=True)


def test_of_topics_without_ids_nobody_asks(asked: Asked) -> None:
    """An older broker gives none: there is nothing to hold them against."""
    watch = watching(asked, {})
    assert {} == watch.made_anew(at_once=True)
    assert 0 == len([found for found in looks(asked, watch, 60) if found])
    assert (0, 0) == (asked.waits, asked.asked)
