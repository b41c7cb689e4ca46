"""The engine: events in, effects out, by one mutating method.

It holds what executors share: the ordinals, the histories, the last prices, and the number of the
next approved signal.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.core.controls import STRATEGY_VERBS, Impossible, carry_out, refusal, refused
from parity.core.digest import DIGEST_BYTES, canonical
from parity.core.market import last_price
from parity.core.merge import merged
from parity.core.room import Room
from parity.core.roster import Planner, Roster
from parity.core.validators.context import RiskPolicy
from parity.core.view import FEW_ROWS, NO_TIME, Scan, Segment
from parity.model.effects import ApprovedSignal, ControlRefused, Effect, Fill
from parity.model.errors import ConfigError, InputRefused
from parity.model.events import HEARTBEAT, RAW, Control, EventBatch
from parity.model.ticks import TickBatch

if TYPE_CHECKING:
    from parity.core.executor import Executor, ExecutorPlan
    from parity.core.lifecycle import Life
    from parity.model.instruments import InstrumentTable
    from parity.model.sessions import SessionClock

# Older formats know less than an engine needs (format 1: no deadlines, bars or lifecycle): no state
# is carried over from them.
SNAPSHOT_FORMAT: Final = 3
# Ticks looked at together: a batch as readers give it is one segment, which costs least (measured).
# Of tick objects, which processors are shown, fewer stay in the processor's cache.
_ROWS_MAX: Final = 65_536
_OBJECTS_MAX: Final = 1024


class LifecycleReport(msgspec.Struct, frozen=True):
    """What an executor's lifecycle has been through.

    Args:
        gauge: number of its state.
        entered: how often it entered each state.
        since_ns: its decide clock at the last transition, ns UTC; None before its first tick.
        reason: what made that transition.
    """

    gauge: int = 0
    entered: dict[str, int] = {}
    since_ns: int | None = None
    reason: str = ""


class ExecutorReport(msgspec.Struct, frozen=True):
    """Counts, profit and digests of one executor.

    Args:
        lifecycle: None in reports of versions that did not write it.
        bars: that closed.
        overtaken: own ticks that came behind a heartbeat of a later time.
        left_out: ticks that no bar took: late for theirs, or without a time.
    """

    strategy_id: str
    broker: str
    state: str
    candidates: int
    signals: int
    drops: dict[str, int]
    fills: int
    errors: int
    pnl: str
    candidate_digest: str
    decision_digest: str
    lifecycle: LifecycleReport | None = None
    bars: int = 0
    left_out: int = 0
    overtaken: int = 0


class RunReport(msgspec.Struct, frozen=True):
    """What an engine has done so far."""

    ticks: int
    undelivered: int
    controls: dict[str, int]
    executors: tuple[ExecutorReport, ...]
    candidate_digest: str
    decision_digest: str
    refused_controls: dict[str, int] = {}

    @property
    def signals(self) -> int:
        """Approved signals of all executors."""
        return sum(e.signals for e in self.executors)

    @property
    def fills(self) -> int:
        """Paper fills of all executors."""
        return sum(e.fills for e in self.executors)

    @property
    def drops(self) -> dict[str, int]:
        """Drops of all executors by reason."""
        total: Counter[str] = Counter()
        for executor in self.executors:
            total.update(executor.drops)
        return dict(sorted(total.items()))


class Engine:
    """Strategy executors driven by events in seq order.

    Args:
        table: the instruments, fixed before the first tick.
        plans: one per (strategy, broker).
        seed: of the strategies' random streams.
        sessions: by the name of an instrument's calendar; 24/7 needs none.
        planner: makes the plans of strategies that controls add or put in another's place.
        rows_max: most ticks to look at together, which changes no byte; by default many.

    Raises:
        ConfigError: a calendar without a table, two plans of one (strategy, broker), or a plan that
            fits no instrument.
    """

    def __init__(
        self,
        table: InstrumentTable,
        plans: Sequence[ExecutorPlan],
        *,
        seed: int = 0,
        sessions: Mapping[str, SessionClock] | None = None,
        planner: Planner | None = None,
        rows_max: int | None = None,
    ) -> None:
        self.table = table
        self._rows_max = rows_max
        self.seed = seed
        self.ticks = 0
        self.undelivered = 0
        self.next_signal_no = 1
        self.last_seq = 0
        self._controls: Counter[str] = Counter()
        self._scan = Scan(len(table))
        self._room = Room()
        self._marks: dict[int, Decimal] = {}
        self._traded: set[int] = set()  # tokens: held by anybody now or before
        self._refused: Counter[str] = Counter()  # controls, by verb
        self._roster = Roster(table, plans, seed, planner, sessions or {})

    @property
    def executors(self) -> list[Executor]:
        """The executors, in the order (strategy_id, broker); STOPPED ones stay."""
        return self._roster.executors

    def add(self, plans: Sequence[ExecutorPlan]) -> None:
        """Add executors behind all that was processed; they begin with the next event, cold.

        Raises:
            ConfigError: one of them is there already.
        """
        self._roster.add(plans)

    def process(self, batch: EventBatch) -> list[Effect]:
        """Take events in seq order; return the effects in order (seq, strategy_id, broker).

        Raises:
            ValueError: the batch does not lie behind what was processed before.
        """
        first, last_seq = batch.bounds()
        if last_seq == 0:
            return []
        if first <= self.last_seq:
            raise ValueError(
                f"batch starts at seq {first}, behind {self.last_seq} already processed"
            )
        effects: list[Effect] = []
        most = _OBJECTS_MAX if self._roster.has_histories else _ROWS_MAX
        for part in _cut(batch, self._rows_max or most):
            if isinstance(part, Control):
                effects += self._control(part)
            else:
                count = len(part)
                self.ticks += count
                # Ticks that processors are shown are kept in histories: theirs is no lent room.
                lent = count > _OBJECTS_MAX and not self._roster.has_histories
                if lent:  # to a batch of our own, for this one is somebody's
                    part = part.slice(0, count)
                segment = Segment(part, self._scan, self._room if lent else None)
                self.undelivered += count - segment.count
                effects += self._run_segment(segment)
                segment.release()
        self.last_seq = last_seq
        return effects

    def _control(self, control: Control) -> list[Effect]:
        self._controls[control.verb] += 1
        if control.verb == "fill":
            return self._fill(control)
        asks = control.verb in STRATEGY_VERBS or control.verb == "policy_changed"
        try:
            ns = control.ts_event
        except InputRefused as error:
            if not asks:
                raise
            self._refused[control.verb] += 1  # somebody's mistake ends no run
            return [refused(control, Impossible("malformed", error.message))]
        effects: list[Effect] = []
        if ns is not None:
            # What is said of one strategy moves no other one's clock.
            named = self._named(control) if control.verb in STRATEGY_VERBS else self.executors
            effects = self._advance(named, ns, control.seq, beat=control.verb == HEARTBEAT)
        if control.verb == "policy_changed":
            effects += self._follow(control)
        elif asks:
            effects += carry_out(control, self._roster)
        self._refused.update(e.verb for e in effects if isinstance(e, ControlRefused))
        return sorted(effects, key=_whose)

    def refusal(self, control: Control) -> Impossible | None:
        """Return why a control about a strategy would be refused if it came next, if that shows."""
        return refusal(control, self._roster)

    def _named(self, control: Control) -> list[Executor]:
        strategy_id, broker = control.detail.get("strategy_id"), control.detail.get("broker", "")
        return self._roster.of(strategy_id, broker) if isinstance(strategy_id, str) else []

    def _follow(self, control: Control) -> list[Effect]:
        try:
            self._roster.follow(RiskPolicy.of(control.detail))
        except InputRefused as error:
            return [refused(control, Impossible("malformed", error.message))]
        return []

    def _fill(self, control: Control) -> list[Effect]:
        """Hand a fill from outside to the executor it is of; it moves that one's clock alone."""
        key = (control.detail.get("strategy_id"), control.detail.get("broker"))
        executor = next((e for e in self.executors if e.key == key), None)
        if executor is None:
            self._controls["fill_unknown_strategy"] += 1
            return []
        nothing = Segment(TickBatch.empty(self.table), self._scan)
        effects = executor.take_fill(control.detail, control.seq, nothing)
        self._traded.update(executor.broker.portfolio.positions)
        nothing.release()
        return effects

    def _advance(
        self, executors: Sequence[Executor], ns: int, seq: int, *, beat: bool
    ) -> list[Effect]:
        """Move executors' clocks to an instant that no tick brought; run what is due by then.

        Args:
            executors: whose.
            ns: the instant, ns UTC.
            seq: of the event that brought it.
            beat: it is a heartbeat, which closes bars and lets timers be due.
        """
        nothing = Segment(TickBatch.empty(self.table), self._scan)
        effects: list[Effect] = []
        for executor in executors:
            said = executor.advance(ns, seq, nothing, self.next_signal_no, beat=beat)
            self.next_signal_no += sum(isinstance(e, ApprovedSignal) for e in said)
            effects += said
        nothing.release()
        return effects

    def next_due(self) -> int | None:
        """Return the earliest instant at which something is due, or None."""
        found = [executor.deadlines.next_ns() for executor in self.executors]
        found += [e.feeds.next_ns() for e in self.executors if e.feeds is not None and not e.ended]
        return min((ns for ns in found if ns is not None), default=None)

    def end(self, end_ns: int | None) -> list[Effect]:
        """End a backtest: run what is due by its end, where one was given and there were ticks."""
        if end_ns is None or self.last_seq == 0:
            return []
        return self._advance(self.executors, end_ns, self.last_seq, beat=True)

    def _run_segment(self, segment: Segment) -> list[Effect]:
        if not segment.count:
            return []
        self._roster.feed(segment)
        concerned = self._roster.concerned(segment)
        for executor in concerned:
            executor.detect(segment.view(executor.on))
        effects: list[Effect] = []
        for row, executor in merged(concerned):
            for effect in executor.decide(row, segment, self.next_signal_no):
                if isinstance(effect, ApprovedSignal):
                    self.next_signal_no += 1
                elif isinstance(effect, Fill) and not effect.reason:
                    self._traded.add(effect.instrument_token)
                effects.append(effect)
        for executor in concerned:
            executor.leave_segment(segment.view(executor.on))
        self._mark(segment)
        return effects

    def _mark(self, segment: Segment) -> None:
        # Of all that was ever traded, held now or not: no mark tells where batches ended.
        traded = self._traded
        if traded and segment.count < FEW_ROWS:
            traded = traded.intersection(segment.batch.column("instrument_token").tolist())
        for token in traded:
            price = last_price(segment, self.table.dense_id(token))
            if price is not None:
                self._marks[token] = price

    def report(self) -> RunReport:
        """Return counts and digests so far."""
        executors = tuple(
            ExecutorReport(
                *e.key,
                e.life.state.name,
                e.candidates.count,
                e.signals,
                dict(sorted(e.drops.items())),
                e.fills,
                e.errors,
                str(e.broker.portfolio.profit(self._marks)),
                e.candidates.hex,
                e.decisions.hex,
                _lifecycle(e.life),
                *((e.bars.closed, e.bars.left_out) if e.bars is not None else (0, 0)),
                e.overtaking.count,
            )
            for e in self.executors
        )
        return RunReport(
            self.ticks,
            self.undelivered,
            dict(sorted(self._controls.items())),
            executors,
            run_digest([(e.strategy_id, e.broker, e.candidate_digest) for e in executors]),
            run_digest([(e.strategy_id, e.broker, e.decision_digest) for e in executors]),
            dict(sorted(self._refused.items())),
        )

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state as plain values, bytes, lists and dicts.

        Raises:
            SnapshotUnavailable: a processor's state cannot be stored.
        """
        return {
            "format": SNAPSHOT_FORMAT,
            "counts": [self.ticks, self.undelivered, self.next_signal_no, self.last_seq],
            "controls": dict(self._controls),
            "scan": self._scan.snapshot(),
            "marks": {str(t): str(p) for t, p in self._marks.items()},
            "refused": dict(self._refused),
            **self._roster.snapshot(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave; raises ConfigError where it is of other strategies."""
        if state["format"] != SNAPSHOT_FORMAT:
            raise ConfigError(
                f"checkpoint: format {state['format']}, this version reads {SNAPSHOT_FORMAT}",
                cure="go on with the version of parity that wrote it, or begin anew",
            )
        self.ticks, self.undelivered, self.next_signal_no, self.last_seq = state["counts"]
        self._controls, self._refused = Counter(state["controls"]), Counter(state["refused"])
        self._scan.restore(state["scan"])
        self._marks = {int(t): Decimal(p) for t, p in state["marks"].items()}
        self._roster.restore(state)
        self._traded = {token for e in self.executors for token in e.broker.portfolio.positions}


def _whose(effect: Effect) -> tuple[str, str]:
    inner: Any = getattr(effect, "candidate", effect)
    return inner.strategy_id, inner.broker


def _lifecycle(life: Life) -> LifecycleReport:
    since_ns = None if life.since_ns == NO_TIME else life.since_ns
    return LifecycleReport(
        int(life.state), dict(sorted(life.entered.items())), since_ns, life.reason
    )


def run_digest(parts: Sequence[tuple[str, str, str]]) -> str:
    """Return the digest over (strategy_id, broker, digest), in that order."""
    return hashlib.blake2b(
        canonical([list(p) for p in sorted(parts)]), digest_size=DIGEST_BYTES
    ).hexdigest()


def _cut(batch: EventBatch, rows_max: int) -> Iterable[TickBatch | Control]:
    """Return the batch's ticks cut at its controls: a control is a barrier."""
    if not batch.controls and len(batch.ticks) <= rows_max:
        return (batch.ticks,)  # as nearly always, live
    return _cut_at_controls(batch, rows_max)


def _cut_at_controls(batch: EventBatch, rows_max: int) -> Iterator[TickBatch | Control]:
    seq = batch.ticks.column("seq") if len(batch.ticks) else None
    lo = 0
    for control in batch.controls:
        if control.verb == RAW:
            continue  # how a tick was written says nothing to anybody here
        hi = int(seq.searchsorted(control.seq)) if seq is not None else 0
        yield from _pieces(batch.ticks, lo, hi, rows_max)
        lo = hi
        yield control
    yield from _pieces(batch.ticks, lo, len(batch.ticks), rows_max)


def _pieces(ticks: TickBatch, lo: int, hi: int, rows_max: int) -> Iterator[TickBatch]:
    if (lo, hi) == (0, len(ticks)) and 0 < hi <= rows_max:
        yield ticks
        return
    for start in range(lo, hi, rows_max):
        yield ticks.slice(start, min(hi, start + rows_max))
