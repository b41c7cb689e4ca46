"""Delivery: approved signals through a bounded queue to a publisher, each once for its readers.

A signal's line enters the ledger when its report comes, never before. A kill in between leaves a
signal that was sent and not written down; so on start the outputs are read back by run and number,
and what is found there is written down as recovered instead of sent again. Fills of the paper
broker go the same way, beside the signals, with numbers and a ledger of their own.

A full queue makes `offer` wait, which pauses the source: nothing is dropped. What a publisher
refuses too often is dead: a letter in a file, in the ledger, and handed to the runner as events to
journal.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from parity.core.orders import OUTSIDE
from parity.live.buried import bury
from parity.live.lane import Lane, label_of
from parity.live.ledger import DEAD, DELIVERED, FillLine, LedgerLine
from parity.model.effects import ApprovedSignal, Effect, Fill
from parity.publishers import (
    NotPublished,
    PaperFill,
    Publisher,
    Receipt,
    event_id_of,
    fills_topic_of,
    topic_of,
)
from parity.sources.arrivals import Note

if TYPE_CHECKING:
    from pathlib import Path

    from parity.live.telemetry import Telemetry
    from parity.model.events import Control
    from parity.publishers import Outgoing

QUEUE_MAX: Final = 1024
UNDER_WAY_MAX: Final = 1024
MOMENT_S: Final = 0.25
MOMENT_MAX_S: Final = 5.0
WAITS_EACH: Final = 500  # of that many seconds at most one goes by in such waits
TRIES_MAX: Final = 3
RETRY_S: Final = 0.5
PUBLISHER_FAILED: Final = "publisher_failed"
PAPER: Final = "paper"  # the broker that fills on paper, whatever broker a row names
_now_s: Final = time.monotonic

_log = structlog.get_logger("parity.live.delivery")


class Delivery:
    """Carries approved signals of one run to one publisher, in order.

    Args:
        publisher: not started yet.
        ledger: path of the ledger, in the run's folder; letters of the dead lie beside it.
        run_id: stands in each message.
        outlets: by an executor's broker, the broker whose output its signals go to.
        fills: path of the ledger of fills on paper; None publishes none.
        queue_max: signals between the loop and the publisher.
        tries_max: how often a refused signal is offered before it is dead.
        retry_s: pause before the second try; it doubles.

    Attributes:
        failures: details of the dead that `notes` has not handed over yet.
        unsettled: how many are on their way.
        fill_count: of the fills on paper that the run has had; a checkpoint keeps it.
        telemetry: where the time to each report is counted; None counts none.
    """

    def __init__(
        self,
        publisher: Publisher,
        ledger: Path,
        run_id: str,
        outlets: Mapping[str, str],
        *,
        fills: Path | None = None,
        queue_max: int = QUEUE_MAX,
        tries_max: int = TRIES_MAX,
        retry_s: float = RETRY_S,
    ) -> None:
        self.failures: deque[dict[str, Any]] = deque()
        self.telemetry: Telemetry | None = None
        self._publisher = publisher
        self._folder = ledger.parent
        self._run_id = run_id
        self._outlets = dict(outlets)
        topics = [topic_of(broker) for broker in sorted(set(outlets.values()))]
        self._signals = Lane(ledger, LedgerLine, topics)
        self._fills = None if fills is None else Lane(fills, FillLine, [fills_topic_of(PAPER)])
        self._lanes = [self._signals] + ([] if self._fills is None else [self._fills])
        self.fill_count = 0
        self._tries_max = tries_max
        self._retry_s = retry_s
        self._queue: asyncio.Queue[tuple[Outgoing, int, int]] = asyncio.Queue(queue_max)
        self._slots = asyncio.Semaphore(UNDER_WAY_MAX)
        self._burying = asyncio.Lock()
        self.unsettled = 0
        self._slow_until_s = 0.0  # no checkpoint waits again before then
        self._moment_s = MOMENT_S
        self._moved_s = 0.0  # the first of those on their way was offered, or a report came
        self._settled = asyncio.Event()
        self._settled.set()
        self._abandoned = False

    async def start(self) -> None:
        """Connect, open the ledgers, and read the outputs back where a run goes on.

        Raises:
            ServiceDown: the publisher cannot connect or be read back.
            RecordingCorrupt: a ledger is damaged.
            ConfigError: a ledger belongs to another run.
        """
        await self._publisher.start()
        for lane in self._lanes:
            await lane.start(self._publisher, self._run_id)

    def outgoing(self, effects: Iterable[Effect]) -> list[Outgoing]:
        """Return what of these effects is to be published, in order, fills with their numbers."""
        found: list[Outgoing] = []
        for effect in effects:
            if isinstance(effect, ApprovedSignal):
                found.append(effect)
            elif (
                self._fills is not None
                and isinstance(effect, Fill)
                and not effect.reason  # of an order that ended without one
                and effect.kind != OUTSIDE
            ):
                self.fill_count += 1
                event_id = event_id_of(self._run_id, self.fill_count)
                found.append(PaperFill(self.fill_count, event_id, effect))
        return found

    @property
    def counts(self) -> dict[str, int]:
        """Of signals whose fate became known since the start, by it."""
        return dict(self._signals.counts)

    @property
    def fill_counts(self) -> dict[str, int] | None:
        """The same of fills on paper; None where they are not published."""
        return None if self._fills is None else dict(self._fills.counts)

    @property
    def dead(self) -> int:
        """How many signals and fills died since the start."""
        return sum(lane.counts[DEAD] for lane in self._lanes)

    def _lane(self, what: Outgoing) -> Lane:
        if isinstance(what, PaperFill):
            assert self._fills is not None, "a fill, and no ledger for it"
            return self._fills
        return self._signals

    async def offer(self, published: Iterable[Outgoing], began: int = 0) -> None:
        """Queue signals and fills in order, leaving out those in a ledger or found at the outputs.

        Args:
            published: as `outgoing` gives them.
            began: when the turn of their ticks began, by the telemetry's clock; 0 is long ago.
        """
        for what in published:
            if self._abandoned:
                return
            lane = self._lane(what)
            known, untold = lane.is_settled(what)
            if untold is not None:
                self.failures.append(lane.failure(what, untold))
            if known:
                continue
            if not self.unsettled:
                self._moved_s = _now_s()
            self.unsettled += 1
            self._settled.clear()
            offered = 0 if self.telemetry is None else self.telemetry.now()
            await self._queue.put((what, began, offered))

    @property
    def waits_s(self) -> float:
        """For how long signals are on their way and no report came; 0 where none is."""
        return _now_s() - self._moved_s if self.unsettled else 0.0

    async def run(self) -> None:
        """Send what is offered, until cancelled; an error of the ledger ends it."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                queued = await self._queue.get()
                await self._slots.acquire()
                # Tasks start in the order they were made, so messages keep the order of signals.
                tasks.create_task(self._deliver(*queued))

    async def settle(self, limit_s: float | None = None) -> bool:
        """Wait until every offered signal is in the ledger; False where that did not come about."""
        try:
            async with asyncio.timeout(limit_s):
                await self._settled.wait()
        except TimeoutError:
            return False
        return not self._abandoned and all([lane.sync() for lane in self._lanes])

    async def quiet(self) -> bool:
        """Return whether every offered signal is in the ledger, having waited a moment for it.

        A publisher that is slow or gone holds back whoever needs the quiet, and nobody else: where
        signals are on their way, all such waits together take one part of WAITS_EACH of the time,
        too little to show in the 99th percentile of anything, and calls before then do not wait.
        The next moment is twice as long as this one took, up to MOMENT_MAX_S: whoever waits offers
        nothing, so one that is only slow has reported on everything by then.
        """
        if self.unsettled and _now_s() < self._slow_until_s:
            return False
        began_s = _now_s()
        settled = await self.settle(self._moment_s)
        waited_s = _now_s() - began_s
        self._moment_s = min(2 * (waited_s if settled else self._moment_s), MOMENT_MAX_S)
        self._moment_s = max(self._moment_s, MOMENT_S)
        self._slow_until_s = _now_s() + WAITS_EACH * waited_s
        return settled

    def abandon(self) -> None:
        """Send nothing more and let nobody wait: what is open is sent after a restart."""
        if not self._settled.is_set():
            _log.error("delivery_abandoned", open=self.unsettled)
            self._abandoned = True
            while not self._queue.empty():
                self._queue.get_nowait()
            self._settled.set()

    def recall(self, controls: Iterable[Control]) -> None:
        """Take the events of a run that goes on: what is dead without one is told anew."""
        dead = [c for c in controls if c.verb == PUBLISHER_FAILED]
        for lane in self._lanes:
            lane.recall(dead)

    def notes(self) -> list[Note]:
        """Return what is to be journaled of signals that died since the last call.

        A strategy whose signal nobody took is paused, once for all that died: what it says next
        would go to the same place. The two events stand together, so a replay pauses it there.
        """
        found: list[Note] = []
        pauses: dict[tuple[str, str], Note] = {}
        while self.failures:
            detail = self.failures.popleft()
            found.append(Note(0, PUBLISHER_FAILED, detail))
            key = (detail["strategy_id"], detail["broker"])
            asked = {"strategy_id": key[0], "broker": key[1], "reason": PUBLISHER_FAILED}
            pauses[key] = Note(0, "strategy_paused", asked)
        return [*found, *pauses.values()]

    async def close(self, limit_s: float) -> None:
        """Let go of the publisher and the ledgers; a second call does nothing."""
        await self._publisher.close(limit_s)
        for lane in self._lanes:
            lane.close()

    def _outlet(self, what: Outgoing) -> str:
        return PAPER if isinstance(what, PaperFill) else self._outlets[label_of(what).broker]

    async def _deliver(self, what: Outgoing, began: int, offered: int) -> None:
        lane = self._lane(what)
        try:
            place, error = await self._try(what)
            if error is None:
                lane.write(what, DELIVERED, place)
                if began and self.telemetry is not None and lane is self._signals:
                    self.telemetry.published(began, offered)
            else:
                run_id, broker, reason = self._run_id, self._outlet(what), str(error)
                async with self._burying:  # one by one: each waits for the disk, and the loop not
                    given = (what, run_id, broker, reason, self._tries_max)
                    await asyncio.to_thread(bury, self._folder, *given)
                lane.write(what, DEAD, None, reason)
                self.failures.append(lane.failure(what, str(error)))
        finally:
            self._slots.release()
            self.unsettled -= 1
            self._moved_s = _now_s()
            if not self.unsettled:
                self._settled.set()

    async def _try(self, what: Outgoing) -> tuple[Receipt | None, NotPublished | None]:
        label, broker = label_of(what), self._outlet(what)
        pause_s = self._retry_s
        for left in reversed(range(self._tries_max)):
            try:
                place = await self._publisher.publish(
                    what, strategy_id=label.strategy_id, broker=broker
                )
                return place, None
            except NotPublished as error:
                named = self._lane(what).named(what)
                _log.warning("not_published", **named, error=str(error), left=left)
                if not left:
                    return None, error
                await asyncio.sleep(pause_s)
                pause_s *= 2
        raise AssertionError("tries_max is at least 1")
