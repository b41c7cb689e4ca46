"""A publisher that keeps signals in a list: for backtests, tests and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from parity.publishers import Ends, Receipt, topic_of

if TYPE_CHECKING:
    from parity.model.effects import ApprovedSignal


class MemoryPublisher:
    """Keeps what it is given, in order.

    Attributes:
        signals: (run_id, signal) as published.
    """

    def __init__(self, run_id: str = "") -> None:
        self.signals: list[tuple[str, ApprovedSignal]] = []
        self._run_id = run_id
        self._counts: dict[str, int] = {}

    async def start(self) -> None:
        """Nothing to connect."""

    async def publish(
        self, signal: ApprovedSignal, *, strategy_id: str, broker: str
    ) -> Receipt | None:
        """Append one signal."""
        topic = topic_of(broker)
        at = self._counts[topic] = self._counts.get(topic, -1) + 1
        self.signals.append((self._run_id, signal))
        return Receipt(topic, 0, at)

    async def ends(self, brokers: Sequence[str]) -> Ends:
        """Return how many signals each broker has."""
        return {topic_of(b): {0: self._counts.get(topic_of(b), -1) + 1} for b in brokers}

    async def read_back(
        self, run_id: str, starts: Mapping[str, Mapping[int, int]]
    ) -> dict[int, Receipt]:
        """Return what the list holds of a run, from `starts` on."""
        found: dict[int, Receipt] = {}
        at: dict[str, int] = {}
        for owner, signal in self.signals:
            topic = topic_of(signal.candidate.broker)
            offset = at[topic] = at.get(topic, -1) + 1
            if owner == run_id and topic in starts and offset >= starts[topic].get(0, 0):
                found.setdefault(signal.signal_no, Receipt(topic, 0, offset))
        return found

    async def close(self, limit_s: float) -> None:
        """Nothing to wait for."""
