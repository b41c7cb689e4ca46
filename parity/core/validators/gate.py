"""The gate of one executor: its validators compiled into a list, and what they see filled in.

Only the stages that its limits ask for stand in the list, and a part of the context is looked up
just before the first stage that reads it, so an unused limit costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, Inexact
from typing import TYPE_CHECKING, Any

import msgspec

from parity.core.market import BarOpens, Halts, Prices
from parity.core.money import EXACT, WIDE
from parity.core.orders import OUTSIDE
from parity.core.validators.checks import STAGES, Validator, room, spared
from parity.core.validators.context import Context, Drop, RiskPolicy
from parity.core.validators.limits import ZERO, Limits
from parity.core.validators.past import Past
from parity.core.validators.trace import Asked, Watch, plain, watched

if TYPE_CHECKING:
    from parity.core.paper_broker import Execution, PaperBroker
    from parity.core.view import Segment, View
    from parity.model.effects import Candidate
    from parity.model.instruments import InstrumentTable
    from parity.model.sessions import SessionClock
    from parity.model.values import Lifecycle, StrategyConfig

Fill = Callable[[Context, "Candidate", int, "Segment"], None]
# A registered validator, with its tick and history bound by the executor.
Own = Callable[["Candidate", Context, int, "Segment"], Drop | None]


class Gate:
    """Judges candidates one by one, and remembers what its limits need.

    Args:
        config: the strategy's configuration.
        table: the instruments.
        tokens: instrument token by dense id, of the executor's instruments.
        broker: where positions and pending orders are.
        own: the registered validator, asked last; None for the standard ones alone.
        clocks: session of an instrument, by token; those that trade round the clock have none.
        timed: candidates come at deadlines too, where the last tick may be of an older segment.
    """

    def __init__(
        self,
        config: StrategyConfig,
        table: InstrumentTable,
        tokens: Mapping[int, int],
        broker: PaperBroker,
        own: Own | None = None,
        *,
        clocks: Mapping[int, SessionClock] | None = None,
        timed: bool = False,
    ) -> None:
        self._clocks = clocks or {}
        self.limits = msgspec.structs.replace(Limits.of(config), sessions=bool(self._clocks))
        self.policy = RiskPolicy()
        self._on = config.on
        self._broker = broker
        self._own = own
        self._own_name = config.validator
        self._watch: Watch | None = None
        self._past = Past(config.strategy_id, self.limits, everything=own is not None)
        self._dense = {token: dense for dense, token in tokens.items()}
        self._instruments = {token: table.by_token(token) for token in tokens.values()}
        every = own is not None
        banded = self.limits.price_band is not None
        priced = timed and (banded or self.limits.slippage_budget is not None)
        asked = every or priced or self.limits.exposure_max is not None
        self._prices = Prices(tokens if timed else ()) if asked else None
        self._bars = BarOpens(self.limits.bar_ns) if every or banded else None
        self._halts = Halts() if timed else None
        self._fills: dict[str, Fill] = {
            "phase": self._fill_phase,
            "flags": self._fill_flags,
            "size": self._fill_size,
            "position": self._fill_position,
            "room": self._fill_room,
            "side_taken": self._fill_side_taken,
            "last_signal": self._fill_last_signal,
            "price": self._fill_price,
            "bar_open": self._fill_bar_open,
            "exposure": self._fill_exposure,
            "busy": self._fill_busy,
            "loss_streak": self._fill_loss_streak,
            "twin": self._fill_twin,
            "rates": self._fill_rates,
        }
        self._steps = self._compiled()

    def _compiled(self) -> list[tuple[tuple[Fill, ...], Validator]]:
        steps: list[tuple[tuple[Fill, ...], Validator]] = []
        filled: set[str] = set()
        for stage in STAGES:
            if stage.asked(self.limits, self.policy):
                missing = [name for name in stage.reads if name not in filled]
                filled.update(missing)
                check = stage.check if self._watch is None else watched(stage.check, self._watch)
                steps.append((tuple(self._fills[name] for name in missing), check))
        unread = [name for name in self._fills if name not in {*filled, "size", "room"}]
        self._rest = [self._fills[name] for name in unread]  # for a registered validator
        return steps

    def watch(self, watch: Watch) -> None:
        """Have every validator tell what it sees from now on."""
        self._watch = watch
        self._steps = self._compiled()

    @property
    def stages(self) -> list[str]:
        """The validators that a candidate has to pass, in order; a registered one is the last."""
        own = [] if self._own is None else [self._own_name]
        return [check.__name__ for _, check in self._steps] + own

    def follow(self, policy: RiskPolicy) -> None:
        """Take a changed policy."""
        self.policy = policy
        self._steps = self._compiled()

    def take_over(self, old: Gate) -> None:
        """Go on with what another one of the same strategy remembers, as far as both ask for it."""
        self.follow(old.policy)
        self._past.restore(old._past.snapshot())
        if self._prices is not None:
            mine = {str(dense) for dense in self._dense.values()}
            known = old._prices.snapshot() if old._prices is not None else {}
            self._prices.restore({d: price for d, price in known.items() if d in mine})
            for token in {*self._broker.engaged()} & {*self._dense}:
                self._prices.watch(self._dense[token])

    def judge(
        self,
        candidate: Candidate,
        state: Lifecycle,
        clock_ns: int,
        row: int,
        segment: Segment,
    ) -> tuple[Drop | None, Decimal]:
        """Return why a candidate is dropped, or None and the quantity to be ordered."""
        context = Context(
            lifecycle=state,
            clock_ns=clock_ns,
            policy=self.policy,
            quantity=candidate.quantity_exact,
        )
        limits = self.limits
        for fills, check in self._steps:
            for fill in fills:
                fill(context, candidate, row, segment)
            drop = check(candidate, limits, context)
            if drop is not None:
                return drop, context.quantity
        quantity = context.quantity  # a registered validator may look, and change nothing
        if self._own is None:
            return None, quantity
        for fill in self._rest:
            fill(context, candidate, row, segment)
        drop = self._own(candidate, context, row, segment)
        if self._watch is not None:
            seen = plain(msgspec.structs.asdict(context))
            self._watch(candidate, Asked(self._own_name, seen, drop.reason if drop else ""))
        return drop, quantity

    # -- what was approved, filled, seen -----------------------------------------------------

    def approved(self, candidate: Candidate, quantity: Decimal, clock_ns: int) -> None:
        """Take an approved signal, before its order is placed."""
        past = self._past
        past.approved(candidate, clock_ns)
        if self._prices is not None:
            self._prices.watch(self._dense[candidate.instrument_token])
        if past.keeps_sides:
            token = candidate.instrument_token
            held = self._broker.projected(token)
            position = WIDE.fma(candidate.side, quantity, held)
            short = candidate.side < 0 and quantity > held
            if not short or self._broker.terms.allow_short:  # else it will be refused
                self._past.took(token, position, clock_ns)

    def filled(self, done: Execution, clock_ns: int) -> None:
        """Take a fill that has changed the position."""
        if self._prices is not None and done.order.kind == OUTSIDE:
            self._prices.watch(done.order.dense, done.price)
        if not self._past.keeps_trades:
            return
        size = Decimal(self._instruments[done.order.token].contract_size)
        rate = None if done.order.kind == OUTSIDE else self._broker.terms.commission
        self._past.filled(done, size, rate, clock_ns)

    def enter_segment(self) -> None:
        """Begin with a new segment."""
        if self._bars is not None:
            self._bars.enter()

    def leave_segment(self, view: View) -> None:
        """Close the segment: carry prices and bars over to the next one."""
        if self._prices is not None:
            self._prices.leave(view.segment)
        if self._halts is not None:
            self._halts.leave(self._dense.values(), view.segment)
        if self._bars is not None:
            self._bars.leave(self._dense.values(), view)

    # -- filling in the context --------------------------------------------------------------

    def day_end(self, token: int, clock_ns: int) -> int | None:
        """Return the end of an instrument's regular session, this one or the next.

        None where it trades round the clock, or its table ends before.
        """
        clock = self._clocks.get(token)
        return None if clock is None else clock.end_of_regular(clock_ns)

    def _fill_phase(self, context: Context, candidate: Candidate, row: int, seg: Segment) -> None:
        clock = self._clocks.get(candidate.instrument_token)
        if clock is not None:
            context.phase = clock.phase(context.clock_ns)

    def _fill_flags(self, context: Context, candidate: Candidate, row: int, seg: Segment) -> None:
        if candidate.ordinal >= 0:
            context.flags = seg.batch.column("flags").item(row)
        elif self._halts is not None:  # at a deadline `row` is whatever tick came before it
            context.flags = self._halts.at(self._dense[candidate.instrument_token], row, seg)

    def _fill_size(self, context: Context, candidate: Candidate, row: int, seg: Segment) -> None:
        try:
            context.quantity = EXACT.multiply(context.quantity, self.limits.multiplier)
        except Inexact:
            context.quantity = ZERO

    def _fill_position(
        self, context: Context, candidate: Candidate, row: int, seg: Segment
    ) -> None:
        context.position = self._broker.projected(candidate.instrument_token)

    def _fill_room(self, context: Context, candidate: Candidate, row: int, seg: Segment) -> None:
        left = room(candidate.side, context.position, self.limits.position_max)
        context.quantity = min(context.quantity, left)

    def _fill_side_taken(
        self, context: Context, candidate: Candidate, row: int, seg: Segment
    ) -> None:
        taken = self._past.sides.get(candidate.instrument_token)
        if taken is not None:
            context.side_taken, context.side_taken_ns = taken

    def _fill_last_signal(
        self, context: Context, candidate: Candidate, row: int, seg: Segment
    ) -> None:
        context.last_signal_ns = self._past.last_signal.get(candidate.instrument_token)
        if spared(candidate, self.limits):  # else nobody asks
            self._fill_position(context, candidate, row, seg)

    def _fill_price(self, context: Context, candidate: Candidate, row: int, seg: Segment) -> None:
        prices = self._prices or Prices()  # at its own tick an instrument has a price
        context.price = prices.at(self._dense[candidate.instrument_token], row, seg)

    def _fill_bar_open(
        self, context: Context, candidate: Candidate, row: int, seg: Segment
    ) -> None:
        if self._bars is not None:
            dense = self._dense[candidate.instrument_token]
            context.bar_open = self._bars.at(dense, row, seg.view(self._on))

    def _fill_exposure(
        self, context: Context, candidate: Candidate, row: int, seg: Segment
    ) -> None:
        if self._prices is None:
            return
        worth = ZERO
        for token, position in self._broker.engaged().items():
            if position:
                worth = WIDE.add(worth, WIDE.multiply(position, self._unit(token, row, seg)))
        unit = self._unit(candidate.instrument_token, row, seg)
        more = WIDE.multiply(WIDE.multiply(candidate.side, context.quantity), unit)
        context.exposure, context.exposure_after = (
            worth.copy_abs(),
            WIDE.add(worth, more).copy_abs(),
        )

    def _unit(self, token: int, row: int, segment: Segment) -> Decimal:
        """Return what one unit of an instrument is worth at a row; an inverse one its size."""
        instrument = self._instruments[token]
        assert self._prices is not None  # asked only where exposure is
        size = Decimal(instrument.contract_size)
        if instrument.kind == "inverse":
            return size
        return WIDE.multiply(self._prices.at(self._dense[token], row, segment) or ZERO, size)

    def _fill_busy(self, context: Context, candidate: Candidate, row: int, seg: Segment) -> None:
        engaged = self._broker.engaged()
        engaged.pop(candidate.instrument_token, None)
        context.busy = sum(bool(position) for position in engaged.values())

    def _fill_loss_streak(
        self, context: Context, candidate: Candidate, row: int, seg: Segment
    ) -> None:
        losses = self._past.losses.get(candidate.instrument_token, (0, 0))
        context.loss_streak, context.last_loss_ns = losses

    def _fill_twin(self, context: Context, candidate: Candidate, row: int, seg: Segment) -> None:
        context.twin_ns = self._past.twin_ns(candidate, context.clock_ns)

    def _fill_rates(self, context: Context, candidate: Candidate, row: int, seg: Segment) -> None:
        context.newest_ns = self._past.newest_ns
        context.minute_ns = self._past.minute_ns()
        context.signals_today = self._past.signals_on(context.clock_ns)

    # -- snapshot ----------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return all that is remembered as plain values."""
        return {
            "policy": msgspec.to_builtins(self.policy),
            "past": self._past.snapshot(),
            "prices": self._prices.snapshot() if self._prices is not None else {},
            "bars": self._bars.snapshot() if self._bars is not None else {},
            **({} if self._halts is None else {"halts": self._halts.snapshot()}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave."""
        self.follow(RiskPolicy.of(state["policy"]))
        self._past.restore(state["past"])
        if self._prices is not None:
            self._prices.restore(state["prices"])
        if self._bars is not None:
            self._bars.restore(state["bars"])
        if self._halts is not None:
            self._halts.restore(state["halts"])
