"""The paper broker of one executor: orders filled by later ticks, positions left at their levels.

What each order type waits for stands in `matching`, what it is in `orders`, what it does to money
in `portfolio`. A whole order fills at once. Paper fills are outputs: every replay computes them
again. Never here: a clock, or a look at more than the next tick that something waits for.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence
from decimal import Decimal, Inexact, Rounded
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.core.matching import (
    ANY,
    NONE,
    Levels,
    both,
    bracket_levels,
    first_row,
    marketable,
    order_levels,
    price_at,
    stopped_out,
    touches,
    triggered,
)
from parity.core.money import EXACT, NOTHING, SAME, WIDE
from parity.core.orders import (
    AT_ONCE,
    FLATTEN,
    LIMIT,
    NEW,
    ORDER,
    PLAIN,
    STOP,
    STOP_LOSS,
    TAKE_PROFIT,
    Bracket,
    Order,
    bracket_of,
    instructions,
)
from parity.core.portfolio import Portfolio
from parity.core.view import NO_TIME

if TYPE_CHECKING:
    from parity.core.terms import Terms
    from parity.core.view import Segment
    from parity.model.effects import Candidate
    from parity.model.instruments import InstrumentTable

DAY_NS: Final = 86_400 * 1_000_000_000
# What waits for a tick, beside orders that are NEW: those at their levels, a position at its exits.
RESTING: Final = "resting"
EXIT: Final = "exit"
ORDER_EXPIRY: Final = "order_expiry"  # deadline of an instrument's waiting orders
# Why an order ends without a fill, with what that means; the run counts them as `paper_<reason>`.
ENDS: Final[dict[str, str]] = {
    "short_not_allowed": "a sale of what is not held",
    "insufficient_cash": "a purchase that would leave cash below zero",
    "inverse_contract": "an inverse contract: its profit is in the base coin",
    "lot_size": "a quantity that is no multiple of the instrument's lot",
    "not_exact": "money of more digits than it is kept with (200)",
    "not_at_once": "IOC or FOK, and the first tick that could fill it did not",
    "expired": "DAY at the day's end, or older than `order_ttl_sec`",
    "cancelled": "open when its executor was flattened",
    "nothing_held": "an order to flatten what another order had closed before",
}


class Execution(msgspec.Struct, frozen=True, gc=False):
    """The outcome of an order: a fill, or its end with a reason and no quantity."""

    order: Order
    price: Decimal
    quantity: Decimal
    commission: Decimal
    reason: str


class PaperBroker:
    """Waiting orders, exits and the portfolio of one executor.

    Args:
        terms: what trading costs.
        table: the instruments.
    """

    __slots__ = (
        "_against",
        "_due",
        "_fit",
        "_levels",
        "_new",
        "_table",
        "_touch",
        "brackets",
        "number",
        "orders",
        "portfolio",
        "terms",
    )

    def __init__(self, terms: Terms, table: InstrumentTable) -> None:
        self.terms = terms
        self._against = {side: WIDE.fma(side, terms.slippage, 1) for side in (1, -1)}
        self.portfolio = Portfolio(terms.cash, table)
        self.orders: list[Order] = []  # waiting, oldest first
        self.brackets: dict[int, Bracket] = {}  # exits of open positions, by token
        self.number = 0  # of the newest order
        self._table = table
        # By dense id: those of which any quantity can be ordered.
        self._fit = frozenset(
            dense for dense, one in enumerate(table) if one.kind != "inverse" and not one.lot_size
        )
        self._new: dict[int, list[Order]] = {}  # by dense id: those that wait for any tick
        self._levels: dict[int, Levels] = {}  # what each of the others waits for, by its number
        # By dense id and side: what any of the others waits for. One scan for all of them, so that
        # a quiet tick costs the same however many wait.
        self._touch: dict[int, dict[int, Levels]] = {}
        # The next row of each instrument at which something may happen, rising: (row, dense id,
        # what its tick brings something to, and on which side).
        self._due: list[tuple[int, int, list[tuple[str, int]]]] = []

    def enter(self, segment: Segment) -> None:
        """Learn where in a new segment something happens to what waits."""
        self._due = []
        if self.orders or self.brackets:
            for dense in segment.instruments:
                self._look_ahead(dense, -1, segment)

    def order(
        self,
        candidate: Candidate,
        quantity: Decimal,
        signal_id: str,
        clock_ns: int,
        day_end_ns: int | None = None,
    ) -> Order:
        """Return the order of an approved signal, to be placed.

        Args:
            candidate: what was approved, with its instructions in the metadata.
            quantity: to be ordered.
            signal_id: of the signal.
            clock_ns: decide clock, from which DAY and `order_ttl_sec` count.
            day_end_ns: end of the instrument's session; None is midnight UTC.
        """
        token, how = candidate.instrument_token, instructions(candidate.side, candidate.metadata)
        order = self._made(token, candidate.side, quantity, signal_id, ORDER)
        if how is PLAIN and not self.terms.order_ttl_ns:
            return order
        order.how = how
        ends = []
        if how.tif == "DAY":
            midnight = (clock_ns // DAY_NS + 1) * DAY_NS
            ends.append(midnight if day_end_ns is None else day_end_ns)
        if self.terms.order_ttl_ns:
            ends.append(clock_ns + self.terms.order_ttl_ns)
        if ends and clock_ns != NO_TIME:  # before any time is known nothing can be over
            order.due_ns = min(ends)
        return order

    def place(self, order: Order, row: int, segment: Segment) -> None:
        """Take an order at a row; it waits for a tick behind it."""
        self._add(order)
        dense, hit = order.dense, (NEW, order.side)
        at = first_row(dense, order.side, ANY, row, segment)
        if at < 0:
            return
        if not self._due:
            self._due.append((at, dense, [hit]))
            return
        for number, (known, whose, hits) in enumerate(self._due):
            if whose != dense:
                continue
            if known < at or (known == at and hit in hits):
                return  # what else waits there is looked for already, and comes first
            del self._due[number]
            insort(self._due, (at, dense, [*hits, hit] if known == at else [hit]))
            return
        insort(self._due, (at, dense, [hit]))

    def _add(self, order: Order) -> None:
        self.orders.append(order)
        self._wait(order)

    def _wait(self, order: Order) -> None:
        """Note what an order waits for."""
        if order.phase == NEW:
            self._new.setdefault(order.dense, []).append(order)
            return
        levels = order_levels(order, self._table.by_dense(order.dense).price_scale)
        self._levels[order.number] = levels
        sides = self._touch.setdefault(order.dense, {})
        sides[order.side] = both(sides.get(order.side, NONE), levels)

    def _regroup(self, dense: int) -> None:
        """Learn anew what the orders of an instrument wait for, after some have ended."""
        sides: dict[int, Levels] = {}
        self._new[dense] = []
        for order in self.orders:
            if order.dense == dense and order.phase == NEW:
                self._new[dense].append(order)
            elif order.dense == dense:
                levels = self._levels[order.number]
                sides[order.side] = both(sides.get(order.side, NONE), levels)
        self._touch[dense] = sides

    def _made(self, token: int, side: int, quantity: Decimal, name: str, kind: str) -> Order:
        self.number += 1
        dense = self._table.dense_id(token)
        return Order(self.number, dense, token, side, quantity, name, kind=kind)

    def _look_ahead(self, dense: int, row: int, segment: Segment) -> None:
        """Find the instrument's next row, behind a row, at which something may happen."""
        if self._due:
            self._due = [due for due in self._due if due[1] != dense]
        nearest = -1
        hits: list[tuple[str, int]] = []
        for what, side, levels in self._waits(dense):
            at = first_row(dense, side, levels, row, segment)
            if at < 0 or 0 <= nearest < at:
                continue
            if at != nearest:
                nearest, hits = at, []
            hits.append((what, side))
        if hits:
            insort(self._due, (nearest, dense, hits))

    def _waits(self, dense: int) -> list[tuple[str, int, Levels]]:
        """Return what is looked for in an instrument: for what, for which side, at which levels."""
        waits: list[tuple[str, int, Levels]] = []
        if new := self._new.get(dense):
            waits += [(NEW, side, ANY) for side in {order.side for order in new}]
        if touch := self._touch.get(dense):
            waits += [(RESTING, side, levels) for side, levels in touch.items()]
        if (bracket := self._bracket(dense)) is not None:
            waits.append((EXIT, bracket.side, self._exit_levels(bracket)))
        return waits

    def _bracket(self, dense: int) -> Bracket | None:
        return self.brackets.get(self._table.by_dense(dense).token) if self.brackets else None

    def _exit_levels(self, bracket: Bracket) -> Levels:
        return bracket_levels(bracket, self._table.by_dense(bracket.dense).price_scale)

    def projected(self, token: int) -> Decimal:
        """Return a position as the waiting orders will leave it, refusals foreseen where sure."""
        held = self.portfolio.held(token)
        for order in self.orders:
            if order.token != token:
                continue
            if order.kind == FLATTEN:
                held = NOTHING
            elif not self._is_short(order, held):
                try:
                    held = EXACT.fma(order.side, order.quantity, held)
                except Inexact:
                    continue  # it will be refused as not exact
        return held

    def engaged(self) -> dict[int, Decimal]:
        """Return the projected position of every token that has one, or a waiting order."""
        held = self.portfolio.positions
        tokens = dict.fromkeys([*held, *(order.token for order in self.orders)])
        return {token: self.projected(token) for token in sorted(tokens)}

    def tokens_in_use(self) -> set[int]:
        """Return the tokens of which something is held, or for which an order or exit waits."""
        held = {token for token, quantity in self.portfolio.positions.items() if quantity}
        return held | {order.token for order in self.orders} | {*self.brackets}

    def _is_short(self, order: Order, held: Decimal) -> bool:
        return order.side < 0 and not self.terms.allow_short and order.quantity > held

    def next_row(self) -> int | None:
        """Return the first row of the segment at which something may happen, or None."""
        return self._due[0][0] if self._due else None

    def execute(self, row: int, segment: Segment) -> list[Execution]:
        """Let happen what the tick at `row` brings: orders, oldest first, then the exit."""
        _, dense, hits = self._due.pop(0)
        bracket, rested = self._bracket(dense), False
        done: list[Execution] = []
        for order in self._touched(dense, row, segment, hits):
            rested = rested or order.phase != NEW
            ended = self._advance(order, price_at(dense, order.side, row, segment))
            self._levels.pop(order.number, None)
            if ended is None:
                self._wait(order)
                continue
            self.orders.remove(order)
            done.append(ended)
            if not ended.reason:
                self._follow(order, ended.price)
        still = bracket is not None and bracket is self._bracket(dense)
        if bracket is not None and still and (EXIT, bracket.side) in hits:
            done.append(self._leave(bracket, price_at(dense, bracket.side, row, segment)))
        if rested:
            self._regroup(dense)
        if self.orders or self.brackets:
            self._look_ahead(dense, row, segment)
        return done

    def _touched(
        self, dense: int, row: int, segment: Segment, hits: Sequence[tuple[str, int]]
    ) -> list[Order]:
        """Return the orders to which the tick at a row brings something, oldest first."""
        found: list[Order] = []
        if new := self._new.get(dense):
            found = [order for order in new if (NEW, order.side) in hits]
            self._new[dense] = [order for order in new if (NEW, order.side) not in hits]
        if self._levels and (hit := {side for what, side in hits if what == RESTING}):
            mine = (o for o in self.orders if o.dense == dense and o.phase != NEW)
            found += [
                order
                for order in mine
                if order.side in hit
                and touches(self._levels[order.number], order.side, row, segment)
            ]
            found.sort(key=_number_of)
        return found

    def _advance(self, order: Order, price: Decimal) -> Execution | None:
        """Take a waiting order through a tick; None where it goes on waiting."""
        how, phase, side = order.how, order.phase, order.side
        if phase == NEW and order.dense not in self._fit and (reason := self._unfit(order)):
            return _ended(order, price, reason)
        if how.type == "market":
            return self._settle(order, WIDE.multiply(price, self._against[side]), price)
        if phase == LIMIT and how.limit is not None:
            return self._settle(order, how.limit, price)
        if how.type in ("stop", "stop_limit"):
            if not triggered(order, price):
                return self._rest(order, STOP, price)
            if how.type == "stop":
                return self._settle(order, WIDE.multiply(price, self._against[side]), price)
        if not marketable(order, price):
            return self._rest(order, LIMIT, price)
        return self._settle(order, price, price)

    def _rest(self, order: Order, phase: str, price: Decimal) -> Execution | None:
        if order.how.tif in AT_ONCE:
            return _ended(order, price, "not_at_once")
        order.phase = phase
        return None

    def _unfit(self, order: Order) -> str:
        instrument = self._table.by_dense(order.dense)
        if instrument.kind == "inverse":
            return "inverse_contract"  # its profit is in the base coin; said, not guessed
        lot = instrument.lot_size
        if lot and order.kind == ORDER and EXACT.remainder(order.quantity, Decimal(lot)):
            return "lot_size"
        return ""

    def _settle(self, order: Order, price: Decimal, seen: Decimal, exact: Any = SAME) -> Execution:
        """Fill an order at a price, or refuse it; a refusal names the tick's own price."""
        if order.kind == FLATTEN:
            return self._close(order, price, seen)
        portfolio, terms, quantity = self.portfolio, self.terms, order.quantity
        held = portfolio.held(order.token)
        try:
            notional = portfolio.notional(order.token, price, quantity, exact)
            commission = exact.multiply(notional, terms.commission)
            spent = exact.fma(order.side, notional, commission)
            cash = exact.subtract(portfolio.cash, spent)
            position = exact.fma(order.side, quantity, held)
        except Inexact:  # a quantity of 1e-300, say
            return _ended(order, seen, "not_exact")
        except Rounded:  # of more zeros than are kept with: nothing is lost
            return self._settle(order, price, seen, EXACT)
        if order.side > 0:
            if cash < 0:
                return _ended(order, seen, "insufficient_cash")
        elif self._is_short(order, held):
            return _ended(order, seen, "short_not_allowed")
        if exact is SAME:  # so what the portfolio would find is known
            fill = (order.token, order.side, quantity, price, commission)
            portfolio.book(*fill, cash, position)
            return Execution(order, price, quantity, commission, "")
        return self._take(order, price, quantity, commission)

    def _take(
        self, order: Order, price: Decimal, quantity: Decimal, commission: Decimal
    ) -> Execution:
        self.portfolio.take(order.token, order.side, quantity, price, commission)
        return Execution(order, price, quantity, commission, "")

    # -- leaving positions -------------------------------------------------------------------

    def _follow(self, order: Order, price: Decimal) -> None:
        """After a fill: the exits that it brings, or that have ended with the position."""
        held, old = self.portfolio.held(order.token), self.brackets.get(order.token)
        brought = bracket_of(order, price)
        if brought is not None and held and (held > 0) == (order.side > 0):
            self.brackets[order.token] = brought
        elif old is not None and (not held or (held > 0) == (old.side > 0)):
            del self.brackets[order.token]

    def _leave(self, bracket: Bracket, price: Decimal) -> Execution:
        """Leave a whole position at the level that was hit; nothing can refuse it."""
        del self.brackets[bracket.token]
        kind, level = TAKE_PROFIT, bracket.take_profit
        if stopped_out(bracket, price):
            kind, level = STOP_LOSS, bracket.stop_loss
        assert level is not None  # the scan found it
        identity = f"{bracket.signal_id}:{kind}"
        order = self._made(bracket.token, bracket.side, NOTHING, identity, kind)
        return self._close(order, level, price)

    def _close(self, order: Order, price: Decimal, seen: Decimal) -> Execution:
        held = self.portfolio.held(order.token)
        if not held or (held > 0) == (order.side > 0):
            return _ended(order, seen, "nothing_held")
        quantity = held.copy_abs()
        notional = self.portfolio.notional(order.token, price, quantity, WIDE)
        commission = WIDE.multiply(notional, self.terms.commission)
        return self._take(order, price, quantity, commission)

    def flatten(self, identity: str) -> list[Execution]:
        """Cancel what waits, and order every position to be closed at the market.

        To be called between segments; the orders wait for their instruments' next ticks.

        Args:
            identity: what the ids of the closing orders begin with.
        """
        cancelled = [_ended(order, NOTHING, "cancelled") for order in self.orders]
        self.orders, self._new, self._levels, self._touch = [], {}, {}, {}
        for token, held in sorted(self.portfolio.positions.items()):
            if held:
                side, name = -1 if held > 0 else 1, f"{identity}:{FLATTEN}:{token}"
                self._add(self._made(token, side, held.copy_abs(), name, FLATTEN))
        return cancelled

    def next_expiry(self, token: int) -> int | None:
        """Return when the first of a token's waiting orders expires, or None."""
        dues = [o.due_ns for o in self.orders if o.token == token and o.due_ns is not None]
        return min(dues, default=None)

    def expire(self, token: int, ns: int) -> list[Execution]:
        """End a token's waiting orders that expire at an instant or before, oldest first."""
        mine = (order for order in self.orders if order.token == token)
        over = [order for order in mine if order.due_ns is not None and order.due_ns <= ns]
        self.orders = [order for order in self.orders if order not in over]
        for order in over:
            self._levels.pop(order.number, None)
        if over:
            self._regroup(over[0].dense)
        return [_ended(order, NOTHING, "expired") for order in over]

    # -- snapshot ----------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the portfolio, waiting orders and exits as plain values."""
        return {
            "number": self.number,
            "portfolio": self.portfolio.snapshot(),
            "orders": [msgspec.to_builtins(order) for order in self.orders],
            "brackets": [msgspec.to_builtins(self.brackets[t]) for t in sorted(self.brackets)],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave."""
        self.number = state["number"]
        self.portfolio.restore(state["portfolio"])
        self.orders = msgspec.convert(state["orders"], list[Order])
        brackets = msgspec.convert(state["brackets"], list[Bracket])
        self.brackets = {bracket.token: bracket for bracket in brackets}
        self._new, self._levels, self._touch, self._due = {}, {}, {}, []
        for order in self.orders:
            self._wait(order)


def _ended(order: Order, price: Decimal, reason: str) -> Execution:
    return Execution(order, price, NOTHING, NOTHING, reason)


def _number_of(order: Order) -> int:
    return order.number
