"""The paper broker of one executor: orders filled by later ticks, positions left at their levels.

What each order type waits for stands in `matching`, what it is in `orders`, what it does to money
in `portfolio`. A whole order fills at once. Paper fills are outputs: every replay computes them
again. Never here: a clock, or a look at more than the next tick that something waits for.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from decimal import Decimal, Inexact
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.core.matching import (
    bracket_row,
    marketable,
    order_row,
    price_at,
    stopped_out,
    triggered,
)
from parity.core.money import EXACT, NOTHING, WIDE
from parity.core.orders import (
    AT_ONCE,
    FLATTEN,
    LIMIT,
    NEW,
    ORDER,
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
    from parity.core.view import Segment
    from parity.model.effects import Candidate
    from parity.model.instruments import InstrumentTable

CASH: Final = Decimal(1_000_000)
DAY_NS: Final = 86_400 * 1_000_000_000
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
_LAST: Final = 1 << 62  # behind every order of a row


class Terms(msgspec.Struct, frozen=True):
    """What trading costs on paper; fractions, not percent.

    Args:
        order_ttl_ns: age at which an order that waits expires; 0 never.
    """

    cash: Decimal = CASH
    slippage: Decimal = Decimal("0.0005")
    commission: Decimal = Decimal("0.001")
    allow_short: bool = False
    order_ttl_ns: int = 0

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Terms:
        """Read the block `paper` of a strategy's parameters."""
        paper = dict(parameters.get("paper") or {})
        allow_short = bool(paper.pop("allow_short", False))
        ttl_ns = round(float(paper.pop("order_ttl_sec", 0)) * 1_000_000_000)
        money = {name: Decimal(str(value)) for name, value in paper.items()}
        return cls(**money, allow_short=allow_short, order_ttl_ns=ttl_ns)


class Execution(msgspec.Struct, frozen=True):
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

    __slots__ = ("_due", "_table", "brackets", "number", "orders", "portfolio", "terms")

    def __init__(self, terms: Terms, table: InstrumentTable) -> None:
        self.terms = terms
        self.portfolio = Portfolio(terms.cash, table)
        self.orders: list[Order] = []  # waiting, oldest first
        self.brackets: dict[int, Bracket] = {}  # exits of open positions, by token
        self.number = 0  # of the newest order
        self._table = table
        # What happens in this segment, by row, and within a row by the order's number.
        self._due: list[tuple[int, int, Order | Bracket]] = []

    def enter(self, segment: Segment) -> None:
        """Learn where in a new segment something happens to what waits."""
        self._due = []
        for order in self.orders:
            self._look_ahead(order, -1, segment)
        for bracket in self.brackets.values():
            self._watch(bracket, -1, segment)

    def order(
        self, candidate: Candidate, quantity: Decimal, signal_id: str, clock_ns: int
    ) -> Order:
        """Return the order of an approved signal, to be placed.

        Args:
            candidate: what was approved, with its instructions in the metadata.
            quantity: to be ordered.
            signal_id: of the signal.
            clock_ns: decide clock, from which DAY and `order_ttl_sec` count.
        """
        token, how = candidate.instrument_token, instructions(candidate.side, candidate.metadata)
        order = self._made(token, candidate.side, quantity, signal_id, ORDER)
        order.how = how
        ends = []
        if how.tif == "DAY":
            ends.append((clock_ns // DAY_NS + 1) * DAY_NS)
        if self.terms.order_ttl_ns:
            ends.append(clock_ns + self.terms.order_ttl_ns)
        if ends and clock_ns != NO_TIME:  # before any time is known nothing can be over
            order.due_ns = min(ends)
        return order

    def place(self, order: Order, row: int, segment: Segment) -> None:
        """Take an order at a row; it waits for a tick behind it."""
        self.orders.append(order)
        self._look_ahead(order, row, segment)

    def _made(self, token: int, side: int, quantity: Decimal, name: str, kind: str) -> Order:
        self.number += 1
        dense = self._table.dense_id(token)
        return Order(self.number, dense, token, side, quantity, name, kind=kind)

    def _look_ahead(self, order: Order, row: int, segment: Segment) -> None:
        found = order_row(order, row, segment)
        if found is not None:
            insort(self._due, (found, order.number, order), key=_place_of)

    def _watch(self, bracket: Bracket, row: int, segment: Segment) -> None:
        found = bracket_row(bracket, row, segment)
        if found is not None:
            insort(self._due, (found, _LAST, bracket), key=_place_of)

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
        """Return the first row of the segment at which something happens, or None."""
        return self._due[0][0] if self._due else None

    def execute(self, row: int, segment: Segment) -> list[Execution]:
        """Let happen what the tick at `row` brings: orders, oldest first, then exits."""
        done = []
        while self._due and self._due[0][0] == row:
            waiting = self._due.pop(0)[2]
            if isinstance(waiting, Bracket):
                done.append(
                    self._leave(waiting, price_at(waiting.dense, waiting.side, row, segment))
                )
                continue
            ended = self._advance(waiting, price_at(waiting.dense, waiting.side, row, segment))
            if ended is None:
                self._look_ahead(waiting, row, segment)
                continue
            self.orders.remove(waiting)
            done.append(ended)
            if not ended.reason:
                self._follow(waiting, ended.price, row, segment)
        return done

    def _advance(self, order: Order, price: Decimal) -> Execution | None:
        """Take a waiting order through a tick; None where it goes on waiting."""
        how, phase = order.how, order.phase
        if phase == NEW and (reason := self._unfit(order)):
            return _ended(order, price, reason)
        if how.type == "market":
            return self._settle(order, self._slipped(order.side, price), price)
        if phase == LIMIT and how.limit is not None:
            return self._settle(order, how.limit, price)
        if how.type in ("stop", "stop_limit"):
            if not triggered(order, price):
                return self._rest(order, STOP, price)
            if how.type == "stop":
                return self._settle(order, self._slipped(order.side, price), price)
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

    def _slipped(self, side: int, price: Decimal) -> Decimal:
        against = WIDE.fma(side, self.terms.slippage, 1)
        return WIDE.multiply(price, against)

    def _settle(self, order: Order, price: Decimal, seen: Decimal) -> Execution:
        """Fill an order at a price, or refuse it; a refusal names the tick's own price."""
        if order.kind == FLATTEN:
            return self._close(order, price, seen)
        held = self.portfolio.held(order.token)
        try:
            notional = self._notional(order, price, order.quantity, EXACT)
            commission = EXACT.multiply(notional, self.terms.commission)
            spent = EXACT.fma(order.side, notional, commission)
            cash = EXACT.subtract(self.portfolio.cash, spent)
            EXACT.fma(order.side, order.quantity, held)
        except Inexact:  # a quantity of 1e-300, say
            return _ended(order, seen, "not_exact")
        if self._is_short(order, held):
            return _ended(order, seen, "short_not_allowed")
        if order.side > 0 and cash < 0:
            return _ended(order, seen, "insufficient_cash")
        return self._take(order, price, order.quantity, commission)

    def _take(
        self, order: Order, price: Decimal, quantity: Decimal, commission: Decimal
    ) -> Execution:
        self.portfolio.take(order.token, order.side, quantity, price, commission)
        return Execution(order, price, quantity, commission, "")

    def _notional(self, order: Order, price: Decimal, quantity: Decimal, exact: Any) -> Decimal:
        size = self.portfolio.size(order.token)
        return exact.multiply(price, exact.multiply(quantity, size))  # type: ignore[no-any-return] # a decimal context is Any here

    # -- leaving positions -------------------------------------------------------------------

    def _follow(self, order: Order, price: Decimal, row: int, segment: Segment) -> None:
        """After a fill: the exits that it brings, or that have ended with the position."""
        held, old = self.portfolio.held(order.token), self.brackets.get(order.token)
        brought = bracket_of(order, price)
        if brought is not None and held and (held > 0) == (order.side > 0):
            self._forget(order.token)
            self.brackets[order.token] = brought
            self._watch(brought, row, segment)
        elif old is not None and (not held or (held > 0) == (old.side > 0)):
            self._forget(order.token)

    def _forget(self, token: int) -> None:
        old = self.brackets.pop(token, None)
        self._due = [due for due in self._due if due[2] is not old]

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
        quantity = abs(held)
        notional = self._notional(order, price, quantity, WIDE)
        commission = WIDE.multiply(notional, self.terms.commission)
        return self._take(order, price, quantity, commission)

    def flatten(self, identity: str) -> list[Execution]:
        """Cancel what waits, and order every position to be closed at the market.

        To be called between segments; the orders wait for their instruments' next ticks.

        Args:
            identity: what the ids of the closing orders begin with.
        """
        cancelled = [_ended(order, NOTHING, "cancelled") for order in self.orders]
        self.orders = []
        for token, held in sorted(self.portfolio.positions.items()):
            if held:
                side, name = -1 if held > 0 else 1, f"{identity}:{FLATTEN}:{token}"
                self.orders.append(self._made(token, side, abs(held), name, FLATTEN))
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
        self._due = [due for due in self._due if due[2] not in over]
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
        self._due = []


def _ended(order: Order, price: Decimal, reason: str) -> Execution:
    return Execution(order, price, NOTHING, NOTHING, reason)


def _place_of(due: tuple[int, int, Order | Bracket]) -> tuple[int, int]:
    return due[:2]
