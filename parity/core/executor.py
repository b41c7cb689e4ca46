"""An executor: one strategy at one broker, from its ticks to its decisions.

Everything stateful about trading lives here and is a function of the executor's own instruments
only, so its bytes do not depend on who else runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from parity.core.aware import AwareDetector
from parity.core.clocks import Overtaking, OwnTimes, Rows
from parity.core.deadlines import Deadlines, Due
from parity.core.detect import DriverCall, KernelDetector
from parity.core.digest import Chain, canonical, signal_id, signal_prefix
from parity.core.entries import BEGAN, COOLED, WARMED, Entry, Namer, place_of
from parity.core.found import NOT_DUE, Failed, Found
from parity.core.lifecycle import RESUME, RETRY, Change, ErrorTerms, Life
from parity.core.orders import OUTSIDE
from parity.core.outcomes import outcome, outside_fill
from parity.core.paper_broker import ORDER_EXPIRY, Execution, PaperBroker
from parity.core.parts import clocks_of, detector_of, feeds_of, own_rows, spoken, tokens_of
from parity.core.portfolio import PortfolioView
from parity.core.terms import Terms
from parity.core.validators.gate import Gate
from parity.core.validators.own import ERROR, OwnCheck
from parity.core.view import NO_TIME
from parity.core.warmth import Warmth
from parity.model.effects import (
    PAPER,
    ApprovedSignal,
    Candidate,
    DroppedSignal,
    Effect,
    Failure,
    Fill,
    Transition,
)
from parity.model.errors import ConfigError
from parity.model.kernel import KernelStrategy
from parity.model.protocols import Model, SignalValidator, StrategyProcessor
from parity.model.values import Lifecycle, StrategyConfig

if TYPE_CHECKING:
    from parity.core.history import HistoryStore
    from parity.core.told import Told
    from parity.core.view import Segment, View
    from parity.model.instruments import InstrumentTable
    from parity.model.sessions import SessionClock

_SEEN: Final = msgspec.json.Encoder(decimal_format="string").encode
TOLD: Final = "bar"  # kind of a deadline at which the processor is told of a bar or a timer
_LAST: Final = 1 << 63  # above every token
_STEPS: Final = {BEGAN: Life.began, WARMED: Life.warmed, COOLED: Life.cooled}


class ExecutorPlan(msgspec.Struct, frozen=True):
    """What an executor is made of.

    Args:
        build: makes the configured processor or kernel afresh.
        driver: the kernel's driver; None for processors.
        validator: the registered one that the configuration names; None for the standard ones.
        fills: who fills, which the mode chooses: "paper", or "outside", by controls `fill`.
        model: what the processor asks, for who looks on; None where it asks none that was given.
    """

    config: StrategyConfig
    broker: str
    build: Callable[[], StrategyProcessor | KernelStrategy]
    driver: DriverCall | None = None
    validator: SignalValidator | None = None
    fills: str = "paper"
    model: Model | None = None


class Executor:
    """One (strategy, broker): detect, then decide row by row."""

    def __init__(
        self,
        plan: ExecutorPlan,
        table: InstrumentTable,
        stores: Callable[[int, int], HistoryStore],
        *,
        seed: int,
        sessions: Mapping[str, SessionClock],
    ) -> None:
        self.plan = plan
        self.origin: Mapping[str, Any] | None = None  # the strategy as a control carried it
        self.key = (plan.config.strategy_id, plan.broker)
        self.on = plan.config.on
        self.clock = NO_TIME  # the decide clock
        self.overtaking = Overtaking()
        self.deadlines = Deadlines()  # in the decide clock
        self.life = Life(ErrorTerms.of(plan.config), self.deadlines)
        self.when_due: dict[str, Callable[[Due], list[Effect]]] = {  # handler by kind
            ORDER_EXPIRY: self._expire,
            RETRY: lambda due: self.changed(self.life.retry(due.ns), due.seq),
            RESUME: lambda due: self.changed(self.life.resume_by_itself(due.ns), due.seq),
        }
        self.candidates = Chain()
        self.decisions = Chain()
        self.signals = 0
        self.fills = 0
        self.errors = 0
        self.drops: Counter[str] = Counter()
        self.tokens = tokens_of(plan, table)
        self._dense = {token: dense for dense, token in self.tokens.items()}
        terms = Terms.of(plan.config.parameters)
        if plan.fills == OUTSIDE:  # what may be sold is the venue's business
            terms = msgspec.structs.replace(terms, allow_short=True)
        self.broker = PaperBroker(terms, table)
        shown = PortfolioView(self.broker.portfolio, self.broker.projected)
        self.detector = detector_of(plan, self.tokens, stores, table, seed, shown)
        self._aware = self.detector if isinstance(self.detector, AwareDetector) else None
        self._namer = Namer(self.key, self.tokens, proposed=self._aware is not None)
        own = None
        if plan.validator is not None:
            name, dense = plan.config.validator, self._dense
            own = OwnCheck(name, plan.validator, self.detector, self.on, dense)
        clocks = clocks_of(self.tokens.values(), table, sessions)
        self.feeds = feeds_of(self.detector, self.tokens, table, self.on, clocks)
        self.bars = None if self.feeds is None else self.feeds.bars
        timed = self.feeds is not None
        self._has_due = timed or self._aware is not None  # in its queue, beside what is at a tick
        self._has_sessions = bool(clocks)
        self.gate = Gate(
            plan.config, table, self.tokens, self.broker, own, clocks=clocks, timed=timed
        )
        self._mine = np.zeros(len(table), np.bool_)
        self._mine[list(self.tokens)] = True
        self._takes_all = len(self.tokens) == len(table)
        self._began = False  # whether it had a tick
        self._warmth = Warmth(self.tokens, self.detector.history_length)
        self._prefix = signal_prefix(*self.key)
        self._queue: list[Entry] = []
        self._at = 0
        self._times: OwnTimes | None = None  # of the segment at hand
        self._decided = -1  # last row of it that was decided
        self._signal_no = 0  # that the run's next approved signal gets
        self._seq = 0  # of the event behind a deadline that no tick made due

    @property
    def ended(self) -> bool:
        """Whether it is STOPPED: it is fed no more, and what it ordered is still filled."""
        return self.life.state is Lifecycle.STOPPED

    @property
    def histories(self) -> dict[int, int]:
        """By dense id of its instruments, how many ticks it has to be shown."""
        if self.ended or isinstance(self.detector, KernelDetector):
            return {}
        return dict.fromkeys(self.tokens, self.detector.history_length)

    def begin(self, reason: str, seq: int) -> list[Effect]:
        """Begin at a barrier, cold, without a tick."""
        self._began = True
        return self.changed(self.life.began(self.clock, reason), seq)

    # -- detect ------------------------------------------------------------------------------

    def detect(self, view: View) -> None:
        """Turn the view's ticks into this segment's queue of candidates."""
        rows = None if self._takes_all else own_rows(view, self.tokens, self._mine)
        self._times = OwnTimes(view.segment, self.tokens, self._takes_all)
        feeds = None if self.ended else self.feeds
        self._detect(view, rows, () if feeds is None else feeds.feed(self._times, view, rows))

    def _detect(self, view: View, rows: Rows | None, told: Sequence[Told]) -> None:
        self._queue, self._at, self._decided = [], 0, -1
        self.broker.enter(view.segment)
        if not self.ended:
            found, failed = self.detector.detect(view, rows, told)
            steps = self._steps(view, rows, failed)
            if steps or found or failed:
                self._put(view, steps, found, failed)
            self.gate.enter_segment()

    def _put(
        self, view: View, queue: list[Entry], found: list[Found], failed: list[Failed]
    ) -> None:
        """Put steps, and what was found, into the queue behind what has been carried out."""
        if found and len(view.segment):
            found = spoken(found, view)
        queue += self._queue[self._at :]
        if found or failed:
            queue += self._namer.entries(view, found, failed, self._seq)
        if len(queue) > 1 and (self._has_due or len(queue) != len(found)):
            queue.sort(key=place_of)  # else it is all one detector's words, row by row
        self._queue, self._at = queue, 0

    def _steps(self, view: View, rows: Rows | None, failed: list[Failed]) -> list[Entry]:
        """Return where it had its first tick, where it is warm, and where it is so no longer."""
        steps: list[Entry] = []
        if self._began and not failed and self._warmth.warm:
            return steps  # nearly always
        if not self._began and len(view) and (rows is None or len(rows)):
            self._began = True
            first = view.position(0 if rows is None else int(rows[0]))
            steps.append(Entry(first, NOT_DUE, 0, 0, BEGAN, None))
        anew = [f for f in failed if f.anew]
        if anew or not self._warmth.warm:
            behind = [f.row if f.due_ns == NOT_DUE else view.row_at(f.row) - 1 for f in anew]
            cooled = iter(anew)
            for row, warm in self._warmth.over(view, behind):
                if warm:
                    steps.append(Entry(view.position(row), NOT_DUE, 0, 0, WARMED, None))
                else:
                    steps.append(Entry(*self._namer.place(next(cooled), view), COOLED, None))
        return steps

    # -- decide ------------------------------------------------------------------------------

    def next_row(self) -> int | None:
        """Return the next row of the segment at which something is to be decided."""
        row = self.broker.next_row()
        if self._at < len(self._queue):
            queued = self._queue[self._at].row
            row = queued if row is None or queued < row else row
        if self.deadlines.pending:
            due = self._due_row()
            row = due if row is None or (due is not None and due < row) else row
        if self._aware is not None:
            own = self._aware.next_row()
            row = own if row is None or (own is not None and own < row) else row
        return row

    def _due_row(self) -> int | None:
        """Return the first own row behind the decided ones that brings a deadline's instant."""
        due_ns = self.deadlines.next_ns()
        if due_ns is None or self._times is None:
            return None
        return self._times.reaching(NO_TIME if due_ns <= self.clock else due_ns, self._decided)

    def decide(self, row: int, segment: Segment, signal_no: int) -> list[Effect]:
        """Decide what is due at a row: deadlines, then fills, then what was found there.

        `signal_no` is the number that the run's next approved signal gets.
        """
        self._decided, self._signal_no = row, signal_no
        effects: list[Effect] = []
        if self.deadlines.pending or (self._has_due and self._turn(row) is not None):
            effects += self._run_due(self._clock_at(row), segment.seq_at(row), row, segment)
        fills = self.broker.next_row() == row
        shows = self._aware is not None and self._aware.next_row() == row
        queued = self._queued(row)
        if (fills or shows or queued) and (ns := self._clock_at(row)) > self.clock:
            self.clock = ns
        if fills:
            at = segment.seq_at(row), segment.ts_event.item(row), segment.ordinal(row)
            for done in self.broker.execute(row, segment):
                effects.append(self._outcome(done, *at))
        while queued:
            self._carry_out(effects, segment.seq_at(row), row, segment)
            queued = self._queued(row)
        if shows:
            self._show(segment)
            while self._queued(row):
                self._carry_out(effects, segment.seq_at(row), row, segment)
        return effects

    def _show(self, segment: Segment) -> None:
        """Let a processor that sees its portfolio take its next step."""
        assert self._aware is not None  # nobody else's turn comes here
        view, (found, failed) = segment.view(self.on), self._aware.step()
        self._put(view, self._steps(view, None, failed) if failed else [], found, failed)

    def _turn(self, row: int) -> tuple[int, int] | None:
        """Return deadline and token of what is next to be said, or told, before a row; or None."""
        if self._queued(row, due=True):
            return self._queue[self._at].due_ns, self._queue[self._at].token
        return None if self._aware is None else self._aware.due(row)

    def _queued(self, row: int, *, due: bool = False) -> bool:
        """Say whether the next of the queue stands at a row, or is due before it."""
        at, queue = self._at, self._queue
        if at == len(queue) or queue[at].row != row:
            return False
        return not due or queue[at].due_ns != NOT_DUE

    def _carry_out(self, effects: list[Effect], seq: int, row: int, segment: Segment) -> None:
        """Carry out the next of the queue, `row` being the last that has happened."""
        entry = self._queue[self._at]
        self._at += 1
        what = entry.what
        if isinstance(what, Candidate):
            effects.append(effect := self._judge(what, row, segment))
            if isinstance(effect, DroppedSignal) and effect.reason.endswith(ERROR):
                effects += self._erred(seq)
        elif what is not None:
            effects += [what, *self._erred(seq)]
        else:
            effects += self.changed(_STEPS[entry.kind](self.life, self.clock), seq)

    def _erred(self, seq: int) -> list[Effect]:
        self.errors += 1
        return self.changed(self.life.failed(self.clock), seq)

    def changed(self, changes: list[Change], seq: int) -> list[Effect]:
        """Return changes of the lifecycle as effects of an event."""
        ns = None if self.clock == NO_TIME else self.clock
        return [
            Transition(seq, *self.key, change.was.name, change.now.name, ns, change.reason)
            for change in changes
        ]

    def _run_due(self, ns: int, seq: int, row: int, segment: Segment) -> list[Effect]:
        """Run every deadline up to an instant, and what was found at one, each at its own time."""
        effects: list[Effect] = []
        limit = max(ns, self.clock)
        while True:
            turn = self._turn(row)
            before = (limit, _LAST, "") if turn is None else (*turn, TOLD)
            if (due := self.deadlines.pop(before)) is not None:
                self.clock = max(self.clock, due[0])
                effects += self.when_due[due[2]](Due(*due, seq, row, segment))
            elif turn is not None:
                self.clock = max(self.clock, turn[0])
                if self._queued(row, due=True):
                    self._carry_out(effects, seq, row - 1, segment)
                else:
                    self._show(segment)
            else:
                return effects

    def advance(
        self, ns: int, seq: int, nothing: Segment, signal_no: int = 0, *, beat: bool = False
    ) -> list[Effect]:
        """Move the decide clock to an instant that no tick brought; run what is due by then.

        Args:
            ns: the instant; one behind the clock moves nothing.
            seq: of the event that brought it.
            nothing: a segment without ticks.
            signal_no: as for decide(), where it is a heartbeat.
            beat: it is a heartbeat, which moves the detect clock too: bars close, timers are due.
        """
        view = nothing.view(self.on)
        self._times = OwnTimes(nothing, self.tokens, self._takes_all)
        self._seq, self._signal_no = seq, signal_no
        feeds = self.feeds if beat and not self.ended else None
        self._detect(view, None, () if feeds is None else feeds.advance(ns))
        effects = self._run_due(ns, seq, 0, nothing)
        self.clock = max(self.clock, ns)
        if beat:
            self.overtaking.beat(ns)
        self.leave_segment(view)
        return effects

    def _judge(self, candidate: Candidate, row: int, segment: Segment) -> Effect:
        said = candidate.record
        if not candidate.proposed:
            self.candidates.add(said)
        drop, quantity = self.gate.judge(candidate, self.life.state, self.clock, row, segment)
        if drop is not None:
            self.drops[drop.reason] += 1
            record = b"D" + said + canonical(drop.reason)
            self.decisions.add(record)
            return DroppedSignal(candidate, drop.reason, record, _SEEN(drop.seen).decode())
        self.signals += 1
        self.gate.approved(candidate, quantity, self.clock)
        token, side = candidate.instrument_token, candidate.side
        identity = signal_id(
            self._prefix, token, side, candidate.price, candidate.ts_event, self.signals
        )
        record, sized = b"A" + said, None
        if quantity is not candidate.quantity_exact and quantity != candidate.quantity_exact:
            record, sized = record + canonical(quantity), quantity
        self.decisions.add(record)
        if self.plan.fills != OUTSIDE:
            day_end_ns = self.gate.day_end(token, self.clock) if self._has_sessions else None
            order = self.broker.order(candidate, quantity, identity, self.clock, day_end_ns)
            self.broker.place(order, row, segment)
            if order.due_ns is not None:
                self._await_expiry(token)
        self._signal_no += 1
        return ApprovedSignal(candidate, self._signal_no - 1, identity, record, sized)

    def _clock_at(self, row: int) -> int:
        """Return the largest time of the executor's own ticks up to an own row."""
        return NO_TIME if self._times is None else self._times.at(row)

    def _outcome(self, done: Execution, seq: int, ts_event: int, ordinal: int) -> Fill:
        """Put what became of an order on record, and count it."""
        fill = outcome(done, self.key, seq, ts_event, ordinal)
        self.decisions.add(fill.record)
        if done.reason:
            self.drops[PAPER + done.reason] += 1
        else:
            self.fills += 1
            self.gate.filled(done, self.clock)
        return fill

    def take_fill(self, detail: Mapping[str, Any], seq: int, nothing: Segment) -> list[Effect]:
        """Take a fill from outside at a barrier; one that cannot be taken is a Failure.

        Args:
            detail: of the control `fill` at `seq`.
            seq: of the control.
            nothing: a segment without ticks.
        """
        try:
            done, ns = outside_fill(detail, nothing.batch.table)
            token = done.order.token
            if self.plan.fills != OUTSIDE:
                raise ValueError("its orders are filled on paper")
            if done.order.dense not in self.tokens:
                raise ValueError(f"instrument_token: {token} is none of its instruments")
            if nothing.batch.table.by_token(token).kind == "inverse":
                raise ValueError(f"instrument_token: {token} is an inverse contract")
        except ValueError as error:
            given = detail.get("instrument_token")
            token = given if type(given) is int else 0
            failed = Failure(seq, *self.key, token, f"fill from outside: {error}")
            return [failed, *self._erred(seq)]
        effects = self.advance(ns, seq, nothing)
        money = (done.quantity, done.price, done.commission)
        self.broker.portfolio.take(token, done.order.side, *money)
        return [*effects, self._outcome(done, seq, ns, -1)]

    def _await_expiry(self, token: int) -> None:
        """Let the token's waiting order that expires first be due at its instant."""
        due_ns = self.broker.next_expiry(token)
        if due_ns is not None:
            self.deadlines.set(due_ns, token, ORDER_EXPIRY)

    def _expire(self, due: Due) -> list[Effect]:
        ended = self.broker.expire(due.token, due.ns)
        self._await_expiry(due.token)
        return [self._outcome(done, due.seq, due.ns, -1) for done in ended]

    def flatten(self, seq: int) -> list[Effect]:
        """Cancel the waiting paper orders and order every position to be closed at the market.

        At a barrier, as a control `strategy_flattened` at `seq` is one; the orders fill at later
        ticks. Where fills come from outside, closing orders are a matter of the outside, too.
        """
        if self.plan.fills == OUTSIDE:
            return []
        ended = self.broker.flatten(f"{self.key[0]}:{seq}")
        return [self._outcome(done, seq, max(self.clock, 0), -1) for done in ended]

    def leave_segment(self, view: View) -> None:
        """Close the segment: advance the clock over the executor's own ticks."""
        if self._times is not None:
            self.clock = max(self.clock, self._times.last())
            self.overtaking.leave(self._times)
            self._times = None  # it holds the segment
        if not self.ended:
            self.gate.leave_segment(view)

    # -- snapshot ----------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the executor's state as plain values; raises SnapshotUnavailable."""
        return {
            "key": list(self.key),
            "life": self.life.snapshot(),
            "clock": self.clock,
            "overtaking": self.overtaking.snapshot(),
            "deadlines": self.deadlines.snapshot(),
            "candidates": [self.candidates.value, self.candidates.count],
            "decisions": [self.decisions.value, self.decisions.count],
            "counts": [self.signals, self.fills, self.errors],
            "drops": dict(self.drops),
            "gate": self.gate.snapshot(),
            "began": self._began,
            "warmth": self._warmth.snapshot(),
            "broker": self.broker.snapshot(),
            "detector": None if self.ended else self.detector.snapshot(),
            "origin": self.origin,
            **({"bars": None} if self.feeds is None else self.feeds.snapshot()),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave; raises ConfigError where it is another executor's."""
        if tuple(state["key"]) != self.key:
            raise ConfigError(f"checkpoint of executor {state['key']}, expected {list(self.key)}")
        self.life.restore(state["life"])
        self.clock = state["clock"]
        self.overtaking.restore(state["overtaking"])
        self.deadlines.restore(state["deadlines"])
        self.candidates = Chain(*state["candidates"])
        self.decisions = Chain(*state["decisions"])
        self.signals, self.fills, self.errors = state["counts"]
        self.drops = Counter(state["drops"])
        self.gate.restore(state["gate"])
        self._began = state["began"]
        self._warmth.restore(state["warmth"])
        self.broker.restore(state["broker"])
        if not self.ended:
            self.detector.restore(state["detector"])
        if self.feeds is not None:
            self.feeds.restore(state)
