"""Ticks from Redpanda (or Kafka): who reads them, and what is asked of a broker beside that.

confluent_kafka is imported where a connection is made, never before.
"""

from parity.sources.redpanda.reading import BATCH_MESSAGES_MAX, RedpandaSource

__all__ = ["BATCH_MESSAGES_MAX", "RedpandaSource"]
