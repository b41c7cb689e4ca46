"""How many partitions topics have: asked of the broker, and nothing of it is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from parity.publishers.redpanda.connection import admin_of, no_answer

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient


class TopicLook:
    """Asks one broker, again and again, about the same topics.

    Args:
        servers: where to connect.
        topics: their names.
        settings: librdkafka settings, passed through.
    """

    def __init__(self, servers: str, topics: Sequence[str], settings: Mapping[str, Any]) -> None:
        self._servers = servers
        self._topics = tuple(topics)
        self._admin: AdminClient = admin_of(servers, settings)

    def __call__(self, limit_s: float) -> dict[str, int]:
        """Return how many partitions each topic has, 0 where it is not there.

        Raises:
            ServiceDown: no answer within `limit_s` seconds.
        """
        from confluent_kafka import KafkaException

        try:
            # All of them: asking for one by name creates it at brokers that do so by themselves.
            known = self._admin.list_topics(timeout=limit_s).topics
        except KafkaException as error:
            raise no_answer(self._servers, limit_s, error) from None
        found = {topic: known.get(topic) for topic in self._topics}
        return {
            topic: 0 if one is None or one.error is not None else len(one.partitions)
            for topic, one in found.items()
        }
