"""Delivery: approved signals through a bounded queue to a publisher, each once for its readers.

A signal's line enters the ledger when its report comes, never before. A kill in between leaves a
signal that was sent and not written down; so on start the outputs are read back by run and number,
and what is found there is written down as recovered instead of sent again.

A full queue makes `offer` wait, which pauses the source: nothing is dropped. What a publisher
refuses too often is dead: in the ledger, and handed to the runner as events to journal.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from parity.live.ledger import DEAD, DELIVERED, RECOVERED, Ledger, LedgerHead, LedgerLine, State
from parity.model.errors import ConfigError
from parity.publishers import NotPublished, Publisher, Receipt
from parity.sources.arrivals import Note

if TYPE_CHECKING:
    from pathlib import Path

    from parity.live.telemetry import Telemetry
    from parity.model.effects import ApprovedSignal
    from parity.model.events import Control

QUEUE_MAX: Final = 1024
UNDER_WAY_MAX: Final = 1024
MOMENT_S: Final = 0.25
AGAIN_S: Final = 5.0
TRIES_MAX: Final = 3
RETRY_S: Final = 0.5
PUBLISHER_FAILED: Final = "publisher_failed"
_now_s: Final = time.monotonic

_log = structlog.get_logger("parity.live.delivery")


class Delivery:
    """Carries approved signals of one run to one publisher, in order.

    Args:
        publisher: not started yet.
        ledger: path of the ledger, in the run's folder.
        run_id: stands in each message.
        outlets: by an executor's broker, the broker whose output its signals go to.
        queue_max: signals between the loop and the publisher.
        tries_max: how often a refused signal is offered before it is dead.
        retry_s: pause before the second try; it doubles.

    Attributes:
        failures: details of dead signals that `notes` has not handed over yet.
        unsettled: how many are on their way.
        counts: of those whose fate became known since the start, by it.
        telemetry: where the time to each report is counted; None counts none.
    """

    def __init__(
        self,
        publisher: Publisher,
        ledger: Path,
        run_id: str,
        outlets: Mapping[str, str],
        *,
        queue_max: int = QUEUE_MAX,
        tries_max: int = TRIES_MAX,
        retry_s: float = RETRY_S,
    ) -> None:
        self.failures: deque[dict[str, Any]] = deque()
        self.telemetry: Telemetry | None = None
        self._publisher = publisher
        self._path = ledger
        self._run_id = run_id
        self._outlets = dict(outlets)
        self._outputs = sorted(set(outlets.values()))
        self._tries_max = tries_max
        self._retry_s = retry_s
        self._queue: asyncio.Queue[tuple[ApprovedSignal, int, int]] = asyncio.Queue(queue_max)
        self._slots = asyncio.Semaphore(UNDER_WAY_MAX)
        self.unsettled = 0
        self._slow_until_s = 0.0  # no checkpoint waits again before then
        self._moved_s = 0.0  # the first of those on their way was offered, or a report came
        self.counts: Counter[str] = Counter({DELIVERED: 0, RECOVERED: 0, DEAD: 0})
        self._settled = asyncio.Event()
        self._settled.set()
        self._abandoned = False
        self._found: dict[int, Receipt] = {}
        self._journaled: set[int] = set()  # dead signals whose event is in the journal
        self._ledger: Ledger | None = None

    async def start(self) -> None:
        """Connect, open the ledger, and read the outputs back where a run goes on.

        Raises:
            ServiceDown: the publisher cannot connect or be read back.
            RecordingCorrupt: the ledger is damaged.
            ConfigError: the ledger belongs to another run.
        """
        await self._publisher.start()
        ledger = self._ledger = Ledger(self._path)
        if ledger.head is None:
            ledger.begin(LedgerHead(self._run_id, await self._publisher.ends(self._outputs)))
            return
        if ledger.head.run_id != self._run_id:
            raise ConfigError(
                f"{self._path}: belongs to run {ledger.head.run_id}, not to {self._run_id}",
                cure="name the run's own folder",
            )
        self._found = await self._publisher.read_back(self._run_id, self._unread(ledger))

    def _unread(self, ledger: Ledger) -> dict[str, dict[int, int]]:
        # From behind the last delivered offset of each partition: reports come in offset order.
        assert ledger.head is not None
        starts = {topic: dict(partitions) for topic, partitions in ledger.head.starts.items()}
        for line in ledger.lines.values():
            if line.offset >= 0:
                partitions = starts.setdefault(line.topic, {})
                partitions[line.partition] = max(partitions.get(line.partition, 0), line.offset + 1)
        return starts

    async def offer(self, signals: Iterable[ApprovedSignal], began: int = 0) -> None:
        """Queue signals in order, leaving out those in the ledger or found at the outputs.

        Args:
            signals: approved ones.
            began: when the turn of their ticks began, by the telemetry's clock; 0 is long ago.
        """
        ledger = self._ledger
        assert ledger is not None, "offer before start"
        for signal in signals:
            if self._abandoned:
                return
            if (line := ledger.lines.get(signal.signal_no)) is not None:
                if line.state == DEAD and signal.signal_no not in self._journaled:
                    self._fail(signal, line.error)  # a kill came before its event
                continue
            if (place := self._found.pop(signal.signal_no, None)) is not None:
                self._write(signal, RECOVERED, place)
                continue
            if not self.unsettled:
                self._moved_s = _now_s()
            self.unsettled += 1
            self._settled.clear()
            offered = 0 if self.telemetry is None else self.telemetry.now()
            await self._queue.put((signal, began, offered))

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
        if self._abandoned or self._ledger is None:
            return False
        self._ledger.sync()
        return True

    async def quiet(self) -> bool:
        """Return whether every offered signal is in the ledger, having waited a moment for it.

        A publisher that is slow or gone holds back whoever needs the quiet, and nobody else: where
        the moment was not enough, calls of the next AGAIN_S seconds do not wait.
        """
        if self.unsettled and _now_s() < self._slow_until_s:
            return False
        if await self.settle(MOMENT_S):
            return True
        self._slow_until_s = _now_s() + AGAIN_S
        return False

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
        dead = (c for c in controls if c.verb == PUBLISHER_FAILED)
        self._journaled = {control.detail["signal_no"] for control in dead}

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
        """Let go of the publisher and the ledger; a second call does nothing."""
        await self._publisher.close(limit_s)
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    async def _deliver(self, signal: ApprovedSignal, began: int, offered: int) -> None:
        try:
            place, error = await self._try(signal)
            if error is None:
                self._write(signal, DELIVERED, place)
                if began and self.telemetry is not None:
                    self.telemetry.published(began, offered)
            else:
                self._bury(signal, error)
        finally:
            self._slots.release()
            self.unsettled -= 1
            self._moved_s = _now_s()
            if not self.unsettled:
                self._settled.set()

    async def _try(self, signal: ApprovedSignal) -> tuple[Receipt | None, NotPublished | None]:
        said = signal.candidate
        pause_s = self._retry_s
        for left in reversed(range(self._tries_max)):
            try:
                place = await self._publisher.publish(
                    signal,
                    strategy_id=said.strategy_id,
                    broker=self._outlets[said.broker],
                )
                return place, None
            except NotPublished as error:
                _log.warning(
                    "not_published", signal_no=signal.signal_no, error=str(error), left=left
                )
                if not left:
                    return None, error
                await asyncio.sleep(pause_s)
                pause_s *= 2
        raise AssertionError("tries_max is at least 1")

    def _bury(self, signal: ApprovedSignal, error: NotPublished) -> None:
        self._write(signal, DEAD, None, str(error))
        self._fail(signal, str(error))

    def _fail(self, signal: ApprovedSignal, error: str) -> None:
        self.failures.append(
            {
                "signal_no": signal.signal_no,
                "signal_id": signal.signal_id,
                "strategy_id": signal.candidate.strategy_id,
                "broker": signal.candidate.broker,
                "error": error,
            }
        )

    def _write(
        self, signal: ApprovedSignal, state: State, place: Receipt | None, error: str = ""
    ) -> None:
        assert self._ledger is not None
        self.counts[state] += 1
        topic, partition, offset = place or Receipt("", -1, -1)
        self._ledger.append(
            LedgerLine(
                signal.signal_no, signal.signal_id, state, topic, partition, offset, error=error
            )
        )
