"""The runner: one asyncio loop that journals what arrives, asks the engine, and delivers.

The order of one turn is the contract: order becomes a fact, the fact is kept, the core decides,
effects are written, the journal is durable before an approved signal leaves, and a checkpoint is
visible only after the journal and the ledger hold everything up to it.

Never here: a setting read from anywhere, a decision about a signal, a vendor library.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import structlog

from parity.core.own_state import SnapshotUnavailable
from parity.live.clock import ClockSteps, anchored_clock
from parity.live.ending import Ending, first_of
from parity.live.operator import Seen
from parity.live.telemetry import CHECKPOINT, Telemetry, telemetry_of
from parity.model.effects import ApprovedSignal, Effect
from parity.model.errors import ParityError, RecordingCorrupt
from parity.model.events import HEARTBEAT, RAW, Control, EventBatch
from parity.model.ticks import TickBatch
from parity.recording.behind import behind
from parity.recording.gone import words
from parity.recording.reader import open_recording
from parity.recording.retention import pruned_to
from parity.recording.runs import RunFolder
from parity.recording.sealing import seal
from parity.sources.arrivals import Arrivals, LiveSource, Note

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from parity.core.engine import Engine
    from parity.live.dead_letters import DeadLetters
    from parity.live.delivery import Delivery
    from parity.live.heart import Heart
    from parity.live.operator import Operator
    from parity.live.retention import Pruner
    from parity.model.instruments import InstrumentTable
    from parity.recording.journal import JournalWriter
    from parity.recording.reader import Recording
    from parity.recording.rotation import BackgroundSealer
    from parity.recording.runs import RunWriter
    from parity.recording.sequencer import Sequencer

TAKE_S: Final = 0.2  # how long silence lasts before the loop looks around
FLUSH_LIMIT_S: Final = 3.0  # so that a stop ends within 5 s, whatever hangs
DRAIN_LIMIT_S: Final = 1.5  # behind a stop, for what was read already
SETTLE_LIMIT_S: Final = 15.0  # at the end of a topic, where nobody asked for a stop
LETTERS_LIMIT_S: Final = 1.0  # at a stop; what is open then goes out with the next start
SAID_EACH: Final = 10  # of gaps and quarantined messages; then every thousandth is logged

_log = structlog.get_logger("parity.live.runner")


@dataclass(frozen=True)
class Limits:
    """When a checkpoint is due, and how long the end may take."""

    checkpoint_ticks: int = 100_000
    checkpoint_s: float = 30.0
    flush_s: float = FLUSH_LIMIT_S
    drain_s: float = DRAIN_LIMIT_S
    settle_s: float = SETTLE_LIMIT_S
    seal_s: float = math.inf  # behind a stop, until what is not sealed is left to the next start


@dataclass(frozen=True)
class Strategies:
    """What a run has and a mere recording has not: engine, run folder and delivery."""

    engine: Engine
    writer: RunWriter
    delivery: Delivery
    heart: Heart | None = None  # None where ticks do not come in their own time


@dataclass(frozen=True)
class Outcome:
    """How a runner ended; `settled` is False where a signal's fate is not known yet."""

    last_seq: int
    ticks: int
    signals: int
    quarantined: int
    gaps: int
    settled: bool
    pruned_segments: int = 0
    pruned_bytes: int = 0
    pruning_failures: int = 0
    dead_letters: int = 0
    dead_letters_open: int = 0


class Interrupted(ParityError):
    """A stop came before all was done that a start begins with, or an end is for."""

    exit_code = 130


class Runner:
    """Runs from a source until `stop` is set or the source ends.

    Args:
        folder: of the recording, made by `create_recording`.
        table: the recording's instrument table.
        source: named after the recording's streams.
        sequencer: new; a resumed runner restores it.
        journal: open on `folder`.
        sealer: of its ended segments; stopped before the rest is sealed.
        pruner: what the sealer has called; its events are journaled.
        letters: where undecodable messages go, told by events.
        strategies: None records only.
        operator: who may ask for controls and look on; None is nobody.
        stop: set from outside to end.
        limits: checkpoints and the end.
        clock: int ns UTC for ts_recv.
        telemetry: what the loop spends its time on is counted here, and kept in the run.
        progress: called with counts after each turn.
    """

    def __init__(
        self,
        folder: Path,
        table: InstrumentTable,
        source: LiveSource,
        sequencer: Sequencer,
        journal: JournalWriter,
        *,
        sealer: BackgroundSealer | None = None,
        pruner: Pruner | None = None,
        letters: DeadLetters | None = None,
        strategies: Strategies | None = None,
        operator: Operator | None = None,
        stop: asyncio.Event,
        limits: Limits | None = None,
        clock: Callable[[], int] | None = None,
        telemetry: Telemetry | None = None,
        progress: Callable[[dict[str, int]], None] | None = None,
    ) -> None:
        self._folder = folder
        self._table = table
        self._source = source
        self._sequencer = sequencer
        self._journal = journal
        self._sealer = sealer
        self._pruner = pruner
        self._letters = letters
        self._strategies = strategies
        self._operator = operator
        self._limits = limits or Limits()
        self._ending = Ending(stop, self._limits.seal_s)
        self._clock = clock or anchored_clock()
        self._steps = ClockSteps()
        self._telemetry = telemetry or (Telemetry() if operator is None else operator.telemetry)
        self._ticks = self._signals = 0
        self._counts = {"gap": 0, "quarantine": 0}
        self._last: npt.NDArray[Any] | None = None  # the last ticks that came
        self._without_checkpoints = False
        self._progress = progress
        self._checkpoint_ticks = self._checkpoint_seq = 0
        self._checkpoint_ns = self._clock()

    async def run(self, recorded: Recording | None = None) -> Outcome:
        """Run to the end and seal the recording.

        Args:
            recorded: what a run that goes on has recorded so far; None for a new one.

        Raises:
            ServiceDown: source or publisher cannot go on. The journal is closed, not sealed.
            Interrupted: a stop came before everything recorded was processed again, or its time
                was over before all was sealed.
            JournalFailed: the disk refused.
        """
        settled = True
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = await self._start_helpers(tasks)
                if self._letters is not None:
                    self._letters.begin(self._folder, recorded)
                if self._operator is not None:
                    await self._operator.open(lambda: Seen(self._ticks, self._counts, self._last))
                    helpers.append(tasks.create_task(self._operator.pulse()))
                if recorded is not None:
                    if self._pruner is not None:
                        self._pruner.said(recorded)
                    await self._go_on(recorded)
                if self._sealer is not None and self._pruner is not None:
                    self._sealer.wake(0)  # not before: what is pruned is not read again
                await self._source.start()
                if self._operator is not None:
                    self._operator.ready()
                await self._loop()
                if self._letters is not None:
                    await self._settle_letters(self._letters)
                if self._strategies is not None:
                    settled = await self._finish(self._strategies)
                for helper in helpers:
                    helper.cancel()
        except ExceptionGroup as errors:
            # No except*: up to Python 3.11.3 (Debian 12) it wraps what is raised here in a group.
            raise first_of(errors) from None
        finally:
            await self._close(self._limits.flush_s if settled else 0)
        sealed = seal(self._folder, stop=self._ending.is_over).state == "sealed"
        if self._pruner is not None and sealed:
            self._pruner()  # a run may be too short for its sealer to have come to it
        if self._strategies is not None:
            self._telemetry.save(self._strategies.writer.folder)
        if not sealed and settled:
            raise Interrupted(
                f"{self._folder}: {self._limits.seal_s:g} s after the stop not all was sealed",
                cure="nothing is lost: its journal is read as it is, and the next start seals it",
            )
        if self._strategies is not None and settled:
            self._complete(self._strategies)
        return self._outcome(settled)

    def _outcome(self, settled: bool) -> Outcome:
        pruner, letters = self._pruner, self._letters
        return Outcome(
            self._journal.last_seq,
            self._ticks,
            self._signals,
            self._counts["quarantine"],
            self._counts["gap"],
            settled,
            *((pruner.segments, pruner.bytes, pruner.failures) if pruner else (0, 0, 0)),
            *((letters.delivered, letters.open) if letters is not None else ()),
        )

    async def _loop(self) -> None:
        until_ns = 0
        while (arrived := await self._source.take(TAKE_S)) is not None:
            if self._ending.asked():
                self._source.stop()  # what was read already is still taken, for a while
                if self._operator is not None:
                    self._operator.stopping()
                until_ns = until_ns or self._clock() + int(self._limits.drain_s * 1e9)
                if self._clock() > until_ns:
                    # Not journaled, so it did not happen: the next start reads it again.
                    _log.warning("drain_cut_short", waited_s=self._limits.drain_s)
                    return
            await self._turn(arrived)
            if self._progress is not None:
                self._progress({"ticks": self._ticks, "signals": self._signals})

    async def _turn(self, arrived: Arrivals) -> None:
        batch = self._keep(arrived)
        self._telemetry.mark("journal")
        effects: list[Effect] = []
        if self._strategies is not None:
            effects = await self._decide(self._strategies, batch, self._telemetry.began)
        if self._operator is not None and self._operator.asked:
            self._journal.sync()  # what an operator was told has happened stays so
            self._operator.decided(batch.controls, effects)
        if self._strategies is not None and self._checkpoint_due():
            await self._checkpoint(self._strategies)

    def _keep(self, arrived: Arrivals) -> EventBatch:
        """Give seq and ts_recv, and journal: from here on it happened."""
        now = self._clock()
        self._telemetry.begin()
        records, notes, positions = arrived
        if len(records):
            records["ts_recv"] = now
            self._last = records
        pruned = [] if self._pruner is None else self._pruner.notes()
        told = [] if self._letters is None else self._letters.notes()
        dead = [] if self._strategies is None else self._strategies.delivery.notes()
        ours = [*self._steps.notes(), *dead, *pruned, *told]
        notes = [*ours, *notes, *self._beats(records, now)]
        if self._operator is not None:
            # First of all: they were held against the states that there are now.
            notes = [*self._operator.notes(), *notes]
        if notes:
            records, controls = self._interleave(records, notes, now)
        else:
            records, controls = self._sequencer.sequence(records), ()
        self._journal.append(records, controls, positions)
        if self._letters is not None:
            self._letters.offer(controls)
        self._ticks += len(records)
        if self._strategies is not None and self._strategies.heart is not None:
            self._strategies.heart.took(records, now)
        return EventBatch(TickBatch.from_records(records, self._table), controls)

    def _interleave(
        self, records: npt.NDArray[Any], notes: Sequence[Note], now: int
    ) -> tuple[npt.NDArray[Any], tuple[Control, ...]]:
        pieces, controls, at = [], [], 0
        for note in notes:
            pieces.append(self._sequencer.sequence(records[at : note.row]))
            at = note.row
            seq = self._sequencer.take_seq()
            controls.append(Control(seq=seq, ts_recv=now, verb=note.verb, detail=note.detail))
            count = self._counts[note.verb] = self._counts.get(note.verb, 0) + 1
            if note.verb != RAW and (count <= SAID_EACH or not count % 1000):
                # Somebody asked for a change of a strategy; all else is something that happened.
                calm = note.verb.startswith("strategy_") or note.verb in (HEARTBEAT, "fill")
                say = _log.info if calm else _log.warning
                say(note.verb, seq=seq, count=count, **_printable(note.detail))
        pieces.append(self._sequencer.sequence(records[at:]))
        return np.concatenate(pieces), tuple(controls)

    def _beats(self, records: npt.NDArray[Any], now: int) -> list[Note]:
        """Return a heartbeat, where something is due and the source is silent."""
        if len(records) or self._strategies is None or self._strategies.heart is None:
            return []
        ns = self._strategies.heart.beat(now, self._strategies.engine.next_due())
        return [] if ns is None else [Note(0, HEARTBEAT, {"ts_event": ns})]

    async def _decide(
        self, strategies: Strategies, batch: EventBatch, began: int = 0
    ) -> list[Effect]:
        """Let the engine decide and offer what it approved; `began` is 0 of what is no news."""
        effects = strategies.engine.process(batch)
        if began:
            self._source.took(self._telemetry.mark("decide"))
        if effects:
            strategies.writer.write(effects)
            published = strategies.delivery.outgoing(effects)
            if published:
                approved = [one for one in published if isinstance(one, ApprovedSignal)]
                self._telemetry.skip()
                self._journal.sync()
                if began:
                    self._telemetry.mark("sync")
                self._signals += len(approved)
                if self._operator is not None:
                    self._operator.approved(approved)
                await strategies.delivery.offer(published, began)
        return effects

    # -- checkpoints

    def _checkpoint_due(self) -> bool:
        new = self._ticks - self._checkpoint_ticks
        if new >= self._limits.checkpoint_ticks:
            return True
        return new > 0 and self._clock() - self._checkpoint_ns >= self._limits.checkpoint_s * 1e9

    async def _checkpoint(self, strategies: Strategies) -> None:
        # A restart replays from here only, so nothing before may still be on its way out.
        # And what died since the last turn must be an event first: the next turn makes it one.
        # Where a broker is away it is put off, while memory allows: nothing else waits for it.
        delivery = strategies.delivery
        wait = delivery.settle if strategies.writer.is_large else delivery.quiet
        if await wait() and not delivery.failures:
            self._telemetry.skip()
            self._save(strategies)
            self._telemetry.mark(CHECKPOINT)

    def _save(self, strategies: Strategies) -> None:
        self._journal.sync()
        seq = self._journal.last_seq
        if seq == self._checkpoint_seq:
            return  # a second part of that name would take the place of the first
        strategies.writer.flush(seq)
        try:
            engine = strategies.engine.snapshot()
        except SnapshotUnavailable as error:
            # Without a checkpoint a restart replays the whole journal: slower, and as exact.
            if not self._without_checkpoints:
                _log.warning("no_checkpoints", reason=str(error))
            self._without_checkpoints = True
        else:
            state = {"engine": engine, "sequencer": self._sequencer.snapshot(),
                     "fills": strategies.delivery.fill_count}  # fmt: skip
            strategies.writer.save_checkpoint(seq, state)
        self._telemetry.save(strategies.writer.folder)
        self._checkpoint_seq = seq
        self._checkpoint_ticks = self._ticks
        self._checkpoint_ns = self._clock()

    # -- beginning and end

    async def _start_helpers(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        found = []
        if self._strategies is not None:
            kept = telemetry_of(self._strategies.writer.folder)
            if kept is not None:
                self._telemetry.merge(kept.to_json())
            delivery = self._strategies.delivery
            delivery.telemetry = self._telemetry
            await delivery.start()
            # A publisher that hangs must not hold a stop back; a restart sends what it leaves open.
            give_up = self._ending.give_up(delivery, self._limits.flush_s)
            found = [tasks.create_task(delivery.run()), tasks.create_task(give_up)]
        pulse = self._telemetry.pulse(self._clock, lambda: self._journal.last_seq)
        return [*found, tasks.create_task(pulse)]

    async def _go_on(self, recorded: Recording) -> None:
        """Bring sequencer and engine to the end of the recording, and note that it went on."""
        after = self._restore()
        if after > self._journal.last_seq:
            raise RecordingCorrupt(
                f"{self._folder}: a checkpoint is at seq {after}, the journal ends at "
                f"{self._journal.last_seq}",
                cure="the disk lost the end of the journal; start a new run",
            )
        if self._strategies is not None and pruned_to(recorded.manifest) > after:
            raise RecordingCorrupt(
                f"{self._folder}: {words(recorded.manifest.gone)}; the run's newest checkpoint is "
                f"at seq {after}, and what came behind it is no longer there",
                cure="start a new run",
            )
        if self._strategies is not None:
            self._strategies.delivery.recall(recorded.controls())
        for batch in behind(recorded, after):
            await asyncio.sleep(0)  # a stop, and the deliveries, get their turn
            if self._ending.asked():
                raise Interrupted(
                    f"{self._folder}: stopped while going on from its recording",
                    cure="start it again: nothing is lost",
                )
            self._sequencer.observe(batch)
            if self._strategies is not None:
                await self._decide(self._strategies, batch)
        detail = {
            "last_seq": self._journal.last_seq,
            "torn_bytes": self._journal.torn_bytes,
            "checkpoint": after,
        }
        none = np.zeros(0, self._table.tick_dtype)
        await self._turn(Arrivals(none, [Note(0, "resumed", detail)], {}))

    def _restore(self) -> int:
        if self._strategies is None:
            return 0
        writer = self._strategies.writer
        kept = RunFolder(writer.folder).checkpoints()
        seq, state = kept[-1] if kept else (0, {})
        if kept:
            self._strategies.engine.restore(state["engine"])
            self._sequencer.restore(state["sequencer"])
            self._strategies.delivery.fill_count = state["fills"]
        self._checkpoint_seq = seq
        writer.drop_behind(seq)
        return seq

    async def _finish(self, strategies: Strategies) -> bool:
        # Nobody waits at the end of a topic: the broker gets longer there, and a stop cuts it.
        limit_s = self._limits.flush_s if self._ending.asked() else self._limits.settle_s
        settled = await strategies.delivery.settle(limit_s)
        if strategies.delivery.failures:
            await self._turn(Arrivals(np.zeros(0, self._table.tick_dtype), [], {}))
        if settled:
            self._save(strategies)
        else:
            # No checkpoint: a later start replays to the signals whose fate is open.
            _log.error("signals_not_settled", waited_s=limit_s)
        return settled

    async def _settle_letters(self, letters: DeadLetters) -> None:
        asked = self._ending.asked()
        await letters.settle(LETTERS_LIMIT_S if asked else self._limits.settle_s)
        await self._turn(Arrivals(np.zeros(0, self._table.tick_dtype), [], {}))  # tells of them

    def _complete(self, strategies: Strategies) -> None:
        # Last of all, with the hash of what was sealed: a kill before leaves an open run.
        with open_recording(self._folder) as sealed:
            content_hash = sealed.content_hash()
        report = strategies.engine.report()
        strategies.writer.close(report, self._journal.last_seq, content_hash=content_hash)

    async def _close(self, limit_s: float) -> None:
        try:
            if self._operator is not None:
                await self._operator.close()
            if self._letters is not None:
                self._letters.close()
            await self._source.close()
            if self._strategies is not None:
                await self._strategies.delivery.close(limit_s)
        finally:
            self._journal.close()
            if self._sealer is not None:
                self._sealer.stop()


def _printable(detail: dict[str, Any]) -> dict[str, Any]:
    shown = {k: v[:64] if isinstance(v, bytes) else v for k, v in detail.items()}
    shown.pop("strategy", None)  # a whole configuration
    # Of the files of a large pruning the first few.
    return {k: v[:4] if isinstance(v, list) else v for k, v in shown.items()}
