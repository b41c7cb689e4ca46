"""Publishers that fail, or are late, as told."""

import asyncio
from collections.abc import Mapping, Sequence

from parity.live.lane import label_of
from parity.publishers import Ends, NotPublished, Outgoing, Receipt
from parity.publishers.memory import MemoryPublisher


class Faulty:
    """A memory publisher whose outside fails, hangs, or swallows reports as told.

    Args:
        outside: what readers see; shared by the lives of one run.
        refuse: signal numbers that are never taken.
        silent_after: from here on signals arrive, but their reports never do.
    """

    def __init__(
        self,
        outside: MemoryPublisher,
        *,
        refuse: Sequence[int] = (),
        silent_after: int = 10**9,
    ) -> None:
        self.outside = outside
        self.refuse = set(refuse)
        self.silent_after = silent_after

    async def start(self) -> None:
        """Nothing to connect."""

    async def publish(self, signal: Outgoing, *, strategy_id: str, broker: str) -> Receipt | None:
        """Hand on, refuse or go silent."""
        if label_of(signal).number in self.refuse:
            raise NotPublished("paper.signals.raw: refused")
        place = await self.outside.publish(signal, strategy_id=strategy_id, broker=broker)
        if label_of(signal).number > self.silent_after:
            await asyncio.Event().wait()
        return place

    async def ends(self, brokers: Sequence[str]) -> Ends:
        """Ask the outside."""
        return await self.outside.ends(brokers)

    async def read_back(
        self, run_id: str, starts: Mapping[str, Mapping[int, int]]
    ) -> dict[int, Receipt]:
        """Ask the outside."""
        return await self.outside.read_back(run_id, starts)

    async def close(self, limit_s: float) -> None:
        """Nothing to wait for."""


class Late(MemoryPublisher):
    """Takes each signal at once, and reports on it so many seconds later."""

    def __init__(self, run_id: str, report_s: float) -> None:
        super().__init__(run_id)
        self._report_s = report_s

    async def publish(self, signal: Outgoing, *, strategy_id: str, broker: str) -> Receipt | None:
        """Take it, and wait."""
        place = await super().publish(signal, strategy_id=strategy_id, broker=broker)
        await asyncio.sleep(self._report_s)
        return place
