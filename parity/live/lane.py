"""A lane of the delivery: what is delivered of one kind, signals or fills, each once.

It has the ledger, what the outputs held already when the run went on, and which of the dead are
events already. Never here: a publisher's call, a queue, or a try.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from parity.live.ledger import (
    DEAD,
    DELIVERED,
    RECOVERED,
    FillLine,
    Ledger,
    LedgerHead,
    LineKind,
    State,
)
from parity.model.errors import ConfigError
from parity.publishers import PaperFill, Publisher, Receipt

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.events import Control
    from parity.publishers import Outgoing

_NOWHERE: Final = Receipt("", -1, -1)


class Label(NamedTuple):
    """Who said what is delivered, and under which number of its kind."""

    number: int
    identity: str
    strategy_id: str
    broker: str


def label_of(what: Outgoing) -> Label:
    """Return the label of a signal or fill."""
    if isinstance(what, PaperFill):
        return Label(what.fill_no, what.event_id, what.fill.strategy_id, what.fill.broker)
    said = what.candidate
    return Label(what.signal_no, what.signal_id, said.strategy_id, said.broker)


class Lane:
    """What became of the signals of a run, or of its fills.

    Args:
        path: of the ledger, in the run's folder.
        kind: of its lines.
        topics: where what is delivered goes.

    Attributes:
        counts: of those whose fate became known since the start, by it.
    """

    def __init__(self, path: Path, kind: LineKind, topics: Sequence[str]) -> None:
        self.counts: Counter[str] = Counter({DELIVERED: 0, RECOVERED: 0, DEAD: 0})
        self._path = path
        self._kind = kind
        self._topics = topics
        self._names = ("fill_no", "event_id") if kind is FillLine else ("signal_no", "signal_id")
        self._found: dict[int, Receipt] = {}
        self._journaled: set[int] = set()  # the dead whose event is in the journal
        self._ledger: Ledger | None = None

    async def start(self, publisher: Publisher, run_id: str) -> None:
        """Open the ledger, and read the outputs back where a run goes on.

        Raises:
            ServiceDown: the publisher cannot be read back.
            RecordingCorrupt: the ledger is damaged.
            ConfigError: the ledger belongs to another run.
        """
        ledger = self._ledger = Ledger(self._path, self._kind)
        if ledger.head is None:
            ledger.begin(LedgerHead(run_id, await publisher.ends(self._topics)))
            return
        if ledger.head.run_id != run_id:
            raise ConfigError(
                f"{self._path}: belongs to run {ledger.head.run_id}, not to {run_id}",
                cure="name the run's own folder",
            )
        self._found = await publisher.read_back(run_id, self._unread(ledger, ledger.head))

    def _unread(self, ledger: Ledger, head: LedgerHead) -> dict[str, dict[int, int]]:
        # From behind the last delivered offset of each partition: reports come in offset order.
        starts = {topic: dict(partitions) for topic, partitions in head.starts.items()}
        for line in ledger.lines.values():
            if line.offset >= 0:
                partitions = starts.setdefault(line.topic, {})
                partitions[line.partition] = max(partitions.get(line.partition, 0), line.offset + 1)
        return starts

    def recall(self, controls: Iterable[Control]) -> None:
        """Take the events of the dead of a run that goes on, of signals and fills."""
        number = self._names[0]
        self._journaled = {c.detail[number] for c in controls if number in c.detail}

    def is_settled(self, what: Outgoing) -> tuple[bool, str | None]:
        """Return whether nothing is to be sent, and the error of one that is dead untold.

        What the outputs held already is written down now, as recovered.
        """
        assert self._ledger is not None, "offer before start"
        number = label_of(what).number
        if (line := self._ledger.lines.get(number)) is not None:
            untold = line.state == DEAD and number not in self._journaled
            return True, line.error if untold else None  # a kill came before its event
        if (place := self._found.pop(number, None)) is not None:
            self.write(what, RECOVERED, place)
            return True, None
        return False, None

    def write(self, what: Outgoing, state: State, place: Receipt | None, error: str = "") -> None:
        """Put what became of it into the ledger."""
        assert self._ledger is not None
        self.counts[state] += 1
        label, at = label_of(what), (place or _NOWHERE)._asdict()
        line = self._kind(label.number, label.identity, state=state, error=error, **at)
        self._ledger.append(line)

    def failure(self, what: Outgoing, error: str) -> dict[str, Any]:
        """Return the detail of the event of one that is dead."""
        label = label_of(what)
        whose = {"strategy_id": label.strategy_id, "broker": label.broker}
        return {**self.named(what), **whose, "error": error}

    def named(self, what: Outgoing) -> dict[str, Any]:
        """Return its number and id, under the names that they have for its kind."""
        return dict(zip(self._names, label_of(what), strict=False))

    def sync(self) -> bool:
        """Make the ledger durable; False where it is closed."""
        if self._ledger is None:
            return False
        self._ledger.sync()
        return True

    def close(self) -> None:
        """Close the ledger; a second call does nothing."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
