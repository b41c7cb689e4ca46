"""Where approved signals go, and fills on paper: a list, a file, Redpanda.

Only what was decided fits a publisher: an ApprovedSignal, or what the paper broker filled. It sends
and says where that came to lie; it can be asked what it already holds of a run, so that nothing is
sent twice. Never here: a retry, a decision, or an order of signals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from parity.model.errors import ServiceDown

if TYPE_CHECKING:
    from parity.model.effects import ApprovedSignal, Fill

Outgoing: TypeAlias = "ApprovedSignal | PaperFill"


class PaperFill(NamedTuple):
    """A fill of the paper broker on its way to who follows a run.

    Args:
        fill_no: its number in the run, from 1 (header of its message).
        event_id: the same whenever it is sent, and no other fill's: who holds it drops a double.
        fill: what the core said.
    """

    fill_no: int
    event_id: str
    fill: Fill


class Receipt(NamedTuple):
    """Where a message came to lie."""

    topic: str
    partition: int
    offset: int


class NotPublished(ServiceDown):
    """A message that the outside did not take."""


# topic -> partition -> the offset the next message gets
Ends = dict[str, dict[int, int]]


class Publisher(Protocol):
    """The outward port of a runner."""

    async def start(self) -> None:
        """Connect, or raise ServiceDown within a bounded time."""

    async def publish(self, signal: Outgoing, *, strategy_id: str, broker: str) -> Receipt | None:
        """Send one signal or fill; returns once it is safe there, raises NotPublished where not.

        What is sent before the first await stands in the order of the calls.
        """

    async def ends(self, topics: Sequence[str]) -> Ends:
        """Return where these outputs end now."""

    async def read_back(
        self, run_id: str, starts: Mapping[str, Mapping[int, int]]
    ) -> dict[int, Receipt]:
        """Return number -> place of what outputs of one kind hold of a run, from `starts` on."""

    async def close(self, limit_s: float) -> None:
        """Wait at most `limit_s` for what is under way, then let go of everything."""


def event_id_of(run_id: str, fill_no: int) -> str:
    """Return the event id of a run's fill on paper: a restart gives the same fill the same."""
    return f"{run_id}.fill.{fill_no}"


def topic_of(broker: str) -> str:
    """Return the topic of a broker's signals."""
    return f"{broker}.signals.raw"


def fills_topic_of(broker: str) -> str:
    """Return the topic of a broker's fills."""
    return f"{broker}.orders.filled"


def topic_for(what: Outgoing, broker: str) -> str:
    """Return the topic where a signal or fill goes."""
    return fills_topic_of(broker) if isinstance(what, PaperFill) else topic_of(broker)
