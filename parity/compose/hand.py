"""Ticks by hand into an engine, and its signals back as processors write them.

The caller's order is the order: every tick gets the next seq. Never here: a clock, or a decision.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from parity.core.calendars import known_sessions
from parity.core.engine import Engine
from parity.model import ticks as flag
from parity.model.effects import ApprovedSignal, Candidate, Effect, Failure
from parity.model.errors import InputRefused, StrategyWarning
from parity.model.events import EventBatch
from parity.model.given import exact, ns_of, record_of
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TickBatch
from parity.model.values import SIDE_NAMES, BatchTick, SignalResult

if TYPE_CHECKING:
    from parity.core.executor import ExecutorPlan

SCALE: Final = 8  # decimals of an instrument nobody described; 90 thousand million fit 64 bits


def table_of(tokens: Iterable[int]) -> InstrumentTable:
    """Return a table of instruments that are known by their tokens alone."""
    return InstrumentTable(
        Instrument(token=token, symbol=str(token), price_scale=SCALE, quantity_scale=SCALE)
        for token in sorted(set(tokens))
    )


class HandFeed:
    """An engine, and the number of its next tick.

    Args:
        table: the instruments.
        plans: what runs.
        seed: of the random streams.
    """

    def __init__(
        self, table: InstrumentTable, plans: Sequence[ExecutorPlan], seed: int = 0
    ) -> None:
        self.table = table
        self.engine = Engine(table, plans, seed=seed, sessions=known_sessions(table))
        self._seq = 0
        self._newest: dict[int, int] = {}
        for plan in plans:
            getattr(plan.build, "taken", _nothing)()

    def push(self, tick: Any) -> list[Effect]:
        """Process one tick; return its effects, and warn of a strategy that failed at it.

        Raises:
            InputRefused: it has no price or no time, or does not fit its instrument.
        """
        row = self._record(tick)
        self._seq += 1
        row["seq"] = self._seq
        effects = self.engine.process(EventBatch(TickBatch.from_records(row, self.table)))
        for effect in effects:
            if isinstance(effect, Failure):
                said = f"strategy {effect.strategy_id} failed at tick {effect.seq}: {effect.error}"
                warnings.warn(said, StrategyWarning, stacklevel=3)
        return effects

    def warm(self, ticks: TickBatch) -> None:
        """Process the ticks of a warm-up before any other; nothing is said at them."""
        if not len(ticks):
            return
        self.engine.process(EventBatch(ticks))
        self._seq = int(ticks.column("seq")[-1])
        tokens, times = ticks.column("instrument_token"), ticks.column("ts_event")
        for token in set(tokens.tolist()):
            self._newest[token] = int(times[tokens == token].max())

    def _record(self, tick: Any) -> Any:
        try:
            token, price = tick.instrument_token, exact("last_price", tick.last_price)
        except AttributeError:
            raise InputRefused(
                f"no tick: {tick!r}",
                cure="MarketTick(instrument_token=…, last_price=…, timestamp=…)",
            ) from None
        quantity, side = Decimal(0), 0
        if isinstance(tick, BatchTick):
            instant, side = tick.ts_event, tick.side
            quantity = exact("quantity", tick.quantity)
        else:
            instant = ns_of(tick.timestamp, stacklevel=5)
        row = record_of(self.table, token, instant, price, quantity, side)
        if instant < self._newest.get(token, instant):
            row["flags"] |= flag.LATE
        self._newest[token] = max(instant, self._newest.get(token, instant))
        return row


def _nothing() -> None:
    return None


def result_of(effect: Effect | Candidate, quantity: Decimal | None = None) -> SignalResult | None:
    """Return an approved signal, or a candidate, as a processor writes it; None for the others.

    Args:
        effect: the effect.
        quantity: of a candidate, where limits made it another than was said.
    """
    if isinstance(effect, ApprovedSignal):
        candidate, quantity = effect.candidate, effect.quantity_exact
    elif isinstance(effect, Candidate):
        candidate = effect
    else:
        return None
    size = candidate.quantity_exact if quantity is None else quantity
    return SignalResult(
        SIDE_NAMES[candidate.side],
        candidate.confidence,
        int(size) if size == size.to_integral_value() else size,
        Decimal(repr(candidate.price)),
        candidate.reasoning,
        candidate.metadata or None,
    )
