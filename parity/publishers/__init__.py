"""Where approved signals go: a list, a file, Redpanda. Only an ApprovedSignal fits a publisher.

A publisher sends and says where the signal came to lie; it can be asked what it already holds of
a run, so that nothing is sent twice. Never here: a retry, a decision, or an order of signals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from parity.model.errors import ServiceDown

if TYPE_CHECKING:
    from parity.model.effects import ApprovedSignal


class Receipt(NamedTuple):
    """Where a signal came to lie."""

    topic: str
    partition: int
    offset: int


class NotPublished(ServiceDown):
    """A signal that the outside did not take."""


# topic -> partition -> the offset the next message gets
Ends = dict[str, dict[int, int]]


class Publisher(Protocol):
    """The outward port of a runner."""

    async def start(self) -> None:
        """Connect, or raise ServiceDown within a bounded time."""

    async def publish(
        self, signal: ApprovedSignal, *, strategy_id: str, broker: str
    ) -> Receipt | None:
        """Send one signal; returns once it is safe there, raises NotPublished where it is not.

        What is sent before the first await stands in the order of the calls.
        """

    async def ends(self, brokers: Sequence[str]) -> Ends:
        """Return where the outputs of these brokers end now."""

    async def read_back(
        self, run_id: str, starts: Mapping[str, Mapping[int, int]]
    ) -> dict[int, Receipt]:
        """Return signal_no -> place of what the outputs hold of a run, from `starts` on."""

    async def close(self, limit_s: float) -> None:
        """Wait at most `limit_s` for what is under way, then let go of everything."""


def topic_of(broker: str) -> str:
    """Return the topic of a broker's signals."""
    return f"{broker}.signals.raw"
