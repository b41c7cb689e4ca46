"""One way to get a broker of the Kafka API for tests, the demo and benchmarks.

`start_broker` takes the first that can be had: the broker PARITY_BOOTSTRAP_SERVERS names, a real
Apache Kafka whose jars Maven resolves once, the mock cluster inside the confluent-kafka wheel. It
runs in a process of its own that ends with its owner, however the owner ends.

Nothing that a trading process needs belongs here: this folder makes brokers, it does not use them.
"""

from parity.testing.broker.errors import BrokerError
from parity.testing.broker.start import Broker, BrokerKind, start_broker

__all__ = ["Broker", "BrokerError", "BrokerKind", "start_broker"]
