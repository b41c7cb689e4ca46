"""For tests that start a Kafka of their own: is there one to start?"""

import pytest

from parity.testing.broker import BrokerError, kafka_jars
from parity.testing.broker.start import kafka_required


def need_kafka() -> None:
    """Skip the test, saying why, where no Kafka can be started; fail where one is required."""
    try:
        kafka_jars.find_java()
        kafka_jars.kafka_jars(lambda _: None)
    except BrokerError as error:
        if kafka_required():
            raise
        pytest.skip(f"no real Kafka: {error}")
