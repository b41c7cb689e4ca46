"""A publisher that keeps signals and fills in lists: for backtests, tests and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from parity.publishers import Ends, Outgoing, PaperFill, Receipt, topic_for
from parity.publishers.envelope import headers_of, number_in

if TYPE_CHECKING:
    from parity.model.effects import ApprovedSignal


class MemoryPublisher:
    """Keeps what it is given, in order.

    Attributes:
        signals: (run_id, signal) as published.
        fills: (run_id, fill) as published.
    """

    def __init__(self, run_id: str = "") -> None:
        self.signals: list[tuple[str, ApprovedSignal]] = []
        self.fills: list[tuple[str, PaperFill]] = []
        self._run_id = run_id
        self._topics: dict[str, list[dict[str, str]]] = {}  # the headers of each message

    async def start(self) -> None:
        """Nothing to connect."""

    async def publish(self, signal: Outgoing, *, strategy_id: str, broker: str) -> Receipt | None:
        """Append one signal or fill."""
        topic = topic_for(signal, broker)
        messages = self._topics.setdefault(topic, [])
        messages.append(headers_of(signal, self._run_id))
        if isinstance(signal, PaperFill):
            self.fills.append((self._run_id, signal))
        else:
            self.signals.append((self._run_id, signal))
        return Receipt(topic, 0, len(messages) - 1)

    async def ends(self, topics: Sequence[str]) -> Ends:
        """Return how many messages each topic has."""
        return {topic: {0: len(self._topics.get(topic, ()))} for topic in topics}

    async def read_back(
        self, run_id: str, starts: Mapping[str, Mapping[int, int]]
    ) -> dict[int, Receipt]:
        """Return what the lists hold of a run, from `starts` on."""
        found: dict[int, Receipt] = {}
        for topic, partitions in starts.items():
            for offset, headers in enumerate(self._topics.get(topic, ())):
                if headers["run_id"] == run_id and offset >= partitions.get(0, 0):
                    found.setdefault(number_in(headers), Receipt(topic, 0, offset))
        return found

    async def close(self, limit_s: float) -> None:
        """Nothing to wait for."""
