"""What is asked of a broker beside the reading: where partitions end, and which topics they are.

It has a connection of its own: over the consumer's, a question waits behind a fetch that may wait
half a second for messages. All partitions are asked at once.

Never here: a message, or what follows from an answer.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from parity.sources.redpanda.connection import client_of

if TYPE_CHECKING:
    from concurrent.futures import Future

    from parity.sources.arrivals import Stream

WATCH_S: Final = 2.0  # between two looks at the topics' ids
_LIMIT_S: Final = 1.0
_AT_ONCE_S: Final = 3.0
_AGAIN_S: Final = 0.05
_NO_ID: Final = "AAAAAAAAAAAAAAAAAAAAAA"  # what an older broker leaves out: 16 zero bytes
# Of a consumer's settings, those of its connections.
_SHARED: Final = (
    "api.version.", "broker.", "client.", "enable.sasl.", "enable.ssl.", "https.", "sasl.",
    "security.", "socket.", "ssl.",
)  # fmt: skip

_log = structlog.get_logger("parity.sources.redpanda")


class Inquiry:
    """Asks one broker, again and again, about the same topics.

    Args:
        servers: where to connect.
        given: librdkafka settings of the user; those of connections are taken.

    Raises:
        ConfigError: a librdkafka setting is refused.
    """

    def __init__(self, servers: str, given: Mapping[str, Any]) -> None:
        from confluent_kafka.admin import AdminClient

        shared = {name: value for name, value in given.items() if name.startswith(_SHARED)}
        # Of a broker that is away the consumer speaks. The default backs off for up to 10 s.
        own = {"log_level": 2, "reconnect.backoff.max.ms": 500}
        # As the consumer has it: behind an open transaction there is nothing to read.
        self._isolation = str(given.get("isolation.level", "read_committed")).upper()
        self._servers = servers
        self._admin = client_of(AdminClient, {"bootstrap.servers": servers, **own, **shared})

    def ends(
        self,
        streams: Collection[Stream],
        stopping: Callable[[], bool],
        *,
        once: Collection[Stream] = (),
        limit_s: float = _LIMIT_S,
    ) -> dict[Stream, int]:
        """Return where partitions end; one that does not say in time is left out.

        Args:
            streams: all of them are asked at once.
            stopping: asked in between; what is known then is returned.
            once: of which an answer is taken where there is one, and none is waited for.
            limit_s: for all together.
        """
        deadline = time.monotonic() + limit_s
        found: dict[Stream, int] = {}
        left, why = {*streams}, ""
        while left and not stopping():
            left_s = max(deadline - time.monotonic(), _AGAIN_S)
            answers = self._ask_ends(left, left_s)
            pending = {answers[stream] for stream in left - {*once}}
            concurrent.futures.wait(pending, left_s)
            if left & {*once}:
                concurrent.futures.wait(answers.values(), min(left_s, _AGAIN_S))
            for stream, answer in answers.items():
                error = answer.exception(0) if answer.done() else None
                if answer.done() and error is None:
                    found[stream] = answer.result(0).offset
                elif error is not None:
                    why = error.args[0].str()
            left -= {*found}
            if left <= {*once} or time.monotonic() + _AGAIN_S > deadline:
                break
            time.sleep(_AGAIN_S)  # a leader that has just changed is known a moment later
        if left:
            named = ", ".join(f"{topic}[{partition}]" for topic, partition in sorted(left))
            said = f"where {named} end: {why or 'no answer'}"
            _log.warning("broker_error", servers=self._servers, error=said)
        return found

    def _ask_ends(self, streams: Iterable[Stream], limit_s: float) -> dict[Stream, Future[Any]]:
        from confluent_kafka import IsolationLevel, TopicPartition
        from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # not in its __all__

        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # it has no annotations
        asked = {TopicPartition(*stream): latest for stream in streams}
        level = IsolationLevel[self._isolation]
        answers = self._admin.list_offsets(asked, isolation_level=level, request_timeout=limit_s)
        return {(place.topic, place.partition): one for place, one in answers.items()}

    def topic_ids(self, topics: Collection[str], limit_s: float) -> dict[str, str]:
        """Return the ids of topics, as far as the broker says them in time.

        A topic has one for as long as it is there; made anew, it has another.
        """
        asked = self.ask_ids(topics, limit_s)
        concurrent.futures.wait(asked.values(), limit_s)
        return _ids_of(asked)

    def ask_ids(self, topics: Collection[str], limit_s: float) -> dict[str, Future[Any]]:
        """Ask for the descriptions of topics, and wait for nothing."""
        from confluent_kafka import TopicCollection

        names = TopicCollection([*topics])
        found: dict[str, Future[Any]] = self._admin.describe_topics(names, request_timeout=limit_s)
        return found


class TopicWatch:
    """Whether topics are still those that they were.

    Args:
        inquiry: who asks; None where nobody is connected yet.
        ids: of the topics as they were; of others nothing is known, and nothing asked.
    """

    def __init__(self, inquiry: Inquiry | None, ids: Mapping[str, str]) -> None:
        self._inquiry = inquiry
        self._ids = dict(ids)
        self._asked: dict[str, Future[Any]] = {}
        self._begun_s = self._known_s = time.monotonic()
        self._in_vain = False  # whether the last wait gave nothing, and no answer came since

    def made_anew(self, *, at_once: bool = False) -> dict[str, str]:
        """Return the new ids of topics that have one.

        Every two seconds they are asked, and what has been answered is looked at; nothing is waited
        for. Only where the last answer is old, because the broker was away or this process stood
        still, or with `at_once`, they are asked now, and given three seconds. Where nobody answers
        then, but messages come all the same, no second wait holds them up.
        """
        if not self._ids or self._inquiry is None:
            return {}
        now = time.monotonic()
        is_old = now - self._known_s > 2 * WATCH_S + _LIMIT_S
        if at_once or (is_old and not self._in_vain):
            self._asked = {}
            self._begun_s = self._known_s = now
            found = self._inquiry.topic_ids([*self._ids], _AT_ONCE_S)
            self._in_vain = not found
            return self._others(found)
        found = {}
        if self._asked and all(one.done() for one in self._asked.values()):
            found, self._asked = _ids_of(self._asked), {}
            if found:
                self._known_s, self._in_vain = self._begun_s, False
        if not self._asked and now - self._begun_s >= WATCH_S:
            self._asked, self._begun_s = self._inquiry.ask_ids([*self._ids], _LIMIT_S), now
        return self._others(found)

    def _others(self, found: Mapping[str, str]) -> dict[str, str]:
        return {topic: one for topic, one in found.items() if one != self._ids[topic]}


def _ids_of(asked: Mapping[str, Future[Any]]) -> dict[str, str]:
    # Of a topic that is not there, or nobody knows now, nothing follows: its reader waits for it.
    answered = [(t, one) for t, one in asked.items() if one.done() and one.exception(0) is None]
    found = {topic: str(one.result(0).topic_id) for topic, one in answered}
    return {topic: name for topic, name in found.items() if name != _NO_ID}
