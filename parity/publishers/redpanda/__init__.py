"""Ports to Redpanda (or Kafka): approved signals of a runner, and ticks of a recording.

confluent_kafka is imported where a connection is made, never before.
"""

from parity.publishers.redpanda.fenced import FencedPublisher
from parity.publishers.redpanda.signals import RedpandaPublisher
from parity.publishers.redpanda.ticks import TickProducer

__all__ = ["FencedPublisher", "RedpandaPublisher", "TickProducer"]
