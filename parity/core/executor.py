"""An executor: one strategy at one broker, from its ticks to its decisions.

Everything stateful about trading lives here and is a function of the executor's own instruments
only, so its bytes do not depend on who else runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from parity.core.clocks import OwnTimes, Rows
from parity.core.deadlines import Deadlines, Due
from parity.core.detect import (
    DriverCall,
    Failed,
    Found,
    KernelDetector,
    ProcessorDetector,
)
from parity.core.digest import Chain, canonical, pack_head, signal_id, signal_prefix
from parity.core.lifecycle import RESUME, RETRY, Change, ErrorTerms, Life
from parity.core.orders import OUTSIDE
from parity.core.outcomes import outcome, outside_fill
from parity.core.paper_broker import ORDER_EXPIRY, Execution, PaperBroker, Terms
from parity.core.validators.gate import Gate
from parity.core.validators.own import ERROR, OwnCheck
from parity.core.view import FEW_ROWS, NO_TIME
from parity.core.warmth import Warmth
from parity.model import ticks as flag
from parity.model.effects import (
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
from parity.model.protocols import SignalValidator, StrategyProcessor
from parity.model.values import StrategyConfig

if TYPE_CHECKING:
    from parity.core.history import HistoryStore
    from parity.core.view import Segment, View
    from parity.model.instruments import InstrumentTable

_SEEN: Final = msgspec.json.Encoder(decimal_format="string").encode
_FEW_TOKENS: Final = 16  # more are looked for in one pass over the view
# What can be due at one row, in this order; BEGAN, WARMED and COOLED are of the lifecycle.
_BEGAN, _WARMED, _FAILED, _COOLED, _SAID = range(5)

_STEPS: Final = {_BEGAN: Life.began, _WARMED: Life.warmed, _COOLED: Life.cooled}


class ExecutorPlan(msgspec.Struct, frozen=True):
    """What an executor is made of.

    Args:
        build: makes the configured processor or kernel afresh.
        driver: the kernel's driver; None for processors.
        validator: the registered one that the configuration names; None for the standard ones.
        fills: who fills, which the mode chooses: "paper", or "outside", by controls `fill`.
    """

    config: StrategyConfig
    broker: str
    build: Callable[[], StrategyProcessor | KernelStrategy]
    driver: DriverCall | None = None
    validator: SignalValidator | None = None
    fills: str = "paper"


class Executor:
    """One (strategy, broker): detect, then decide row by row."""

    def __init__(
        self,
        plan: ExecutorPlan,
        table: InstrumentTable,
        stores: Callable[[int, int], HistoryStore],
        *,
        seed: int,
    ) -> None:
        self.plan = plan
        self.key = (plan.config.strategy_id, plan.broker)
        self.on = plan.config.on
        self.clock = NO_TIME  # the decide clock
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
        self.tokens = _tokens(plan, table)
        terms = Terms.of(plan.config.parameters)
        if plan.fills == OUTSIDE:  # what may be sold is the venue's business
            terms = msgspec.structs.replace(terms, allow_short=True)
        self.broker = PaperBroker(terms, table)
        self.detector = _detector(plan, self.tokens, stores, table, seed)
        own = None
        if plan.validator is not None:
            own = OwnCheck(plan.config.validator, plan.validator, self.detector, self.on)
        self.gate = Gate(plan.config, table, self.tokens, self.broker, own)
        self._mine = np.zeros(len(table), np.bool_)
        self._mine[list(self.tokens)] = True
        self._takes_all = len(self.tokens) == len(table)
        self._began = False  # whether it had a tick
        self._warmth = Warmth(self.tokens, self.detector.history_length)
        self._prefix = signal_prefix(*self.key)
        self._queue: list[tuple[int, int, Candidate | Failure | None]] = []
        self._at = 0
        self._times: OwnTimes | None = None  # of the segment at hand
        self._decided = -1  # last row of it that was decided

    # -- detect ------------------------------------------------------------------------------

    def detect(self, view: View) -> None:
        """Turn the view's ticks into this segment's queue of candidates."""
        rows = None if self._takes_all else self._own_rows(view)
        found, failed = self.detector.detect(view, rows)
        if found:
            found = _spoken(found, view)
        queue = self._steps(view, rows, failed)
        queue += [(view.position(f.row), _FAILED, self._failure(f, view)) for f in failed]
        queue += [(view.position(f.row), _SAID, self._candidate(f, view)) for f in found]
        if len(queue) > 1:
            queue.sort(key=lambda entry: entry[:2])
        self._queue, self._at = queue, 0
        self._times, self._decided = OwnTimes(view, rows), -1
        self.broker.enter(view.segment)
        self.gate.enter_segment()

    def _own_rows(self, view: View) -> Rows:
        """Return the view's rows of the executor's instruments, each looked up once for all."""
        if len(view) < FEW_ROWS:
            mine = [row for row, dense in enumerate(view.inst_list) if dense in self.tokens]
            return np.array(mine, np.int64)
        if len(self.tokens) > _FEW_TOKENS:
            return np.flatnonzero(self._mine[view.inst])
        found = [view.rows_of(dense) for dense in self.tokens]
        return found[0] if len(found) == 1 else np.sort(np.concatenate(found))

    def _steps(
        self, view: View, rows: Rows | None, failed: list[Failed]
    ) -> list[tuple[int, int, Candidate | Failure | None]]:
        """Return where it had its first tick, where it is warm, and where it is so no longer."""
        steps: list[tuple[int, int]] = []
        if not self._began and len(view) and (rows is None or len(rows)):
            self._began = True
            steps.append((0 if rows is None else int(rows[0]), _BEGAN))
        anew = [f.row for f in failed if f.anew]
        if anew or not self._warmth.warm:
            changes = self._warmth.over(view, anew)
            steps += [(row, _WARMED if warm else _COOLED) for row, warm in changes]
        return [(view.position(row), kind, None) for row, kind in steps]

    def _failure(self, failed: Failed, view: View) -> Failure:
        at = view.position(failed.row)
        token = int(view.batch.column("instrument_token")[failed.row])
        return Failure(int(view.segment.seq[at]), *self.key, token, failed.error)

    def _candidate(self, found: Found, view: View) -> Candidate:
        at = view.position(found.row)
        token = self.tokens[int(view.inst[found.row])]
        ts_event, ordinal = int(view.segment.ts_event[at]), int(view.segment.ordinals[at])
        head = pack_head(
            token, ts_event, ordinal, found.side, found.price, found.quantity, found.confidence
        )
        return Candidate(
            int(view.segment.seq[at]),
            *self.key,
            token,
            ts_event,
            ordinal,
            found.side,
            found.price,
            found.quantity,
            found.confidence,
            found.metadata,
            found.reasoning,
            head + found.metadata_bytes,
            found.quantity_exact,
        )

    # -- decide ------------------------------------------------------------------------------

    def next_row(self) -> int | None:
        """Return the next row of the segment at which something is to be decided."""
        row = self.broker.next_row()
        if self._at < len(self._queue):
            queued = self._queue[self._at][0]
            row = queued if row is None or queued < row else row
        if self.deadlines:
            due = self._due_row()
            row = due if row is None or (due is not None and due < row) else row
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
        effects: list[Effect] = []
        self._decided = row
        fills = self.broker.next_row() == row
        if self.deadlines:
            due = self._run_due(self._clock_at(row, fills), int(segment.seq[row]), row, segment)
            effects += due
            fills = self.broker.next_row() == row  # what was due may have taken an order away
        if fills or (self._at < len(self._queue) and self._queue[self._at][0] == row):
            self.clock = max(self.clock, self._clock_at(row, fills))
        if fills:
            effects += [self._fill(e, row, segment) for e in self.broker.execute(row, segment)]
        while self._at < len(self._queue) and self._queue[self._at][0] == row:
            _, kind, entry = self._queue[self._at]
            self._at += 1
            if isinstance(entry, Candidate):
                effect = self._judge(entry, row, segment, signal_no)
                effects.append(effect)
                if isinstance(effect, DroppedSignal) and effect.reason.endswith(ERROR):
                    effects += self._erred(effect.candidate.seq)
            elif entry is not None:
                effects += [entry, *self._erred(entry.seq)]
            else:
                effects += self.changed(_STEPS[kind](self.life, self.clock), int(segment.seq[row]))
        return effects

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
        """Run every deadline up to an instant, each at its own time."""
        effects: list[Effect] = []
        limit = max(ns, self.clock)
        while (due := self.deadlines.pop(limit)) is not None:
            self.clock = max(self.clock, due[0])
            effects += self.when_due[due[2]](Due(*due, seq, row, segment))
        return effects

    def advance(self, ns: int, seq: int, nothing: Segment) -> list[Effect]:
        """Move the clock to an instant that no tick brought, and run what is due by then.

        Args:
            ns: the instant; one behind the clock moves nothing.
            seq: of the event that brought it.
            nothing: a segment without ticks.
        """
        view = nothing.view(self.on)
        self.detect(view)
        effects = self._run_due(ns, seq, 0, nothing)
        self.clock = max(self.clock, ns)
        self.leave_segment(view)
        return effects

    def _judge(self, candidate: Candidate, row: int, segment: Segment, signal_no: int) -> Effect:
        self.candidates.add(candidate.record)
        drop, quantity = self.gate.judge(candidate, self.life.state, self.clock, row, segment)
        if drop is not None:
            self.drops[drop.reason] += 1
            record = b"D" + candidate.record + canonical(drop.reason)
            self.decisions.add(record)
            return DroppedSignal(candidate, drop.reason, record, _SEEN(drop.seen).decode())
        self.signals += 1
        self.gate.approved(candidate, quantity, self.clock)
        token = candidate.instrument_token
        identity = signal_id(
            self._prefix,
            token,
            candidate.side,
            candidate.price,
            candidate.ts_event,
            self.signals,
        )
        record, sized = b"A" + candidate.record, None
        if quantity != candidate.quantity_exact:
            record, sized = record + canonical(quantity), quantity
        self.decisions.add(record)
        if self.plan.fills != OUTSIDE:
            order = self.broker.order(candidate, quantity, identity, self.clock)
            self.broker.place(order, row, segment)
            self._await_expiry(token)
        return ApprovedSignal(candidate, signal_no, identity, record, sized)

    def _clock_at(self, row: int, fills: bool) -> int:
        """Return the largest time of the executor's own ticks up to a row.

        A fill counts the row's own tick, of whatever kind, beside those of the executor's kind
        before it; or the clock would tell where batches ended.
        """
        if self._times is None:
            return NO_TIME
        own = self._times.at(row)
        return max(own, self._times.of(row)) if fills else own

    def _fill(self, done: Execution, row: int, segment: Segment) -> Fill:
        at = (int(segment.seq[row]), int(segment.ts_event[row]), int(segment.ordinals[row]))
        return self._outcome(done, *at)

    def _outcome(self, done: Execution, seq: int, ts_event: int, ordinal: int) -> Fill:
        """Put what became of an order on record, and count it."""
        fill = outcome(done, self.key, seq, ts_event, ordinal)
        self.decisions.add(fill.record)
        if done.reason:
            self.drops[f"paper_{done.reason}"] += 1
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
            self.errors += 1
            given = detail.get("instrument_token")
            token = given if type(given) is int else 0
            return [Failure(seq, *self.key, token, f"fill from outside: {error}")]
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

        At a barrier, as a control `flattened` at `seq` is one; the orders fill at later ticks.
        """
        ended = self.broker.flatten(f"{self.key[0]}:{seq}")
        return [self._outcome(done, seq, max(self.clock, 0), -1) for done in ended]

    def leave_segment(self, view: View) -> None:
        """Close the segment: advance the clock over the executor's own ticks."""
        if self._times is not None:
            self.clock = max(self.clock, self._times.last())
            self._times = None  # it holds the segment
        self.gate.leave_segment(view)

    # -- snapshot ----------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the executor's state as plain values; raises SnapshotUnavailable."""
        return {
            "key": list(self.key),
            "life": self.life.snapshot(),
            "clock": self.clock,
            "deadlines": self.deadlines.snapshot(),
            "candidates": [self.candidates.value, self.candidates.count],
            "decisions": [self.decisions.value, self.decisions.count],
            "counts": [self.signals, self.fills, self.errors],
            "drops": dict(self.drops),
            "gate": self.gate.snapshot(),
            "began": self._began,
            "warmth": self._warmth.snapshot(),
            "broker": self.broker.snapshot(),
            "detector": self.detector.snapshot(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave; raises ConfigError where it is another executor's."""
        if tuple(state["key"]) != self.key:
            raise ConfigError(f"checkpoint of executor {state['key']}, expected {list(self.key)}")
        self.life.restore(state["life"])
        self.clock = state["clock"]
        self.deadlines.restore(state["deadlines"])
        self.candidates = Chain(*state["candidates"])
        self.decisions = Chain(*state["decisions"])
        self.signals, self.fills, self.errors = state["counts"]
        self.drops = Counter(state["drops"])
        self.gate.restore(state["gate"])
        self._began = state["began"]
        self._warmth.restore(state["warmth"])
        self.broker.restore(state["broker"])
        self.detector.restore(state["detector"])


def _tokens(plan: ExecutorPlan, table: InstrumentTable) -> dict[int, int]:
    """Return token by dense id of the instruments the strategy is configured for and supports."""
    configured = plan.config.instrument_tokens or tuple(int(t) for t in table.tokens)
    made = plan.build()
    if not isinstance(made, KernelStrategy):
        configured = tuple(t for t in configured if made.supports_instrument(t))
    if not configured:
        raise ConfigError(
            f"strategy {plan.config.strategy_id}: it supports no configured instrument"
        )
    return {table.dense_id(t): t for t in sorted(set(configured))}


def _spoken(found: list[Found], view: View) -> list[Found]:
    """Leave out what was said at warm-up ticks: they fill histories, and nobody trades on them."""
    flags = view.batch.column("flags")
    return [f for f in found if not flags[f.row] & flag.WARMUP]


def _detector(
    plan: ExecutorPlan,
    tokens: Mapping[int, int],
    stores: Callable[[int, int], HistoryStore],
    table: InstrumentTable,
    seed: int,
) -> ProcessorDetector | KernelDetector:
    made = plan.build()
    try:
        if isinstance(made, KernelStrategy):
            made.check_extensions(table.columns)
        else:
            for name in getattr(made, "extensions", ()):
                table.columns.extension(name)
    except ConfigError as error:
        where = f"strategy {plan.config.strategy_id}"
        raise ConfigError(f"{where}: {error.message}", cure=error.cure) from None
    if isinstance(made, KernelStrategy):
        if plan.driver is None:
            raise ConfigError(f"strategy {plan.config.strategy_id}: a kernel without its driver")
        return KernelDetector(made, plan.driver, tokens, len(table))
    length = max(1, made.get_required_history_length())
    own = {dense: stores(dense, length) for dense in tokens}
    return ProcessorDetector(
        plan.build,  # type: ignore[arg-type] # build gives processors here, seen above
        tokens,
        own,
        seed=seed,
        strategy_id=plan.config.strategy_id,
    )
