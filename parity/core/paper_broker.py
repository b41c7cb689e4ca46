"""The paper broker of one executor: market orders filled by later ticks, money exact.

A market order fills at the next tick of its instrument that can fill it: at a trade's price, or at
a quote's ask (BUY) or bid (SELL); slippage against the side, commission on the notional. Paper
fills are outputs: every replay computes them again.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from decimal import Context as DecimalContext
from decimal import Decimal, Inexact, InvalidOperation, Overflow
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.model import ticks as flag

if TYPE_CHECKING:
    from parity.core.view import Segment

# Wide enough for any product formed here; a result that would be rounded raises instead.
EXACT: Final = DecimalContext(prec=200, traps=[Inexact, InvalidOperation, Overflow])
# A sum of what was exact one by one always fits.
WIDE: Final = DecimalContext(prec=2_000, traps=[Inexact, InvalidOperation, Overflow])
CASH: Final = Decimal(1_000_000)
_NONE: Final = Decimal(0)


class Terms(msgspec.Struct, frozen=True):
    """What trading costs on paper; fractions, not percent."""

    cash: Decimal = CASH
    slippage: Decimal = Decimal("0.0005")
    commission: Decimal = Decimal("0.001")
    allow_short: bool = False

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Terms:
        """Read the block `paper` of a strategy's parameters; absent keys have defaults."""
        paper = dict(parameters.get("paper") or {})
        allow_short = bool(paper.pop("allow_short", False))
        return cls(**{f: Decimal(str(v)) for f, v in paper.items()}, allow_short=allow_short)


class Order(msgspec.Struct, frozen=True):
    """A market order that waits for a later tick of its instrument."""

    dense: int
    token: int
    side: int
    quantity: Decimal
    signal_id: str


class Execution(msgspec.Struct, frozen=True):
    """The outcome of an order at a tick: a fill, or a refusal with its reason and no quantity."""

    order: Order
    price: Decimal
    quantity: Decimal
    commission: Decimal
    reason: str


class PaperBroker:
    """Pending orders, cash and positions of one executor."""

    __slots__ = ("_due", "cash", "orders", "positions", "terms")

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.cash = terms.cash
        self.positions: dict[int, Decimal] = {}
        self.orders: list[Order] = []  # pending, oldest first
        self._due: list[tuple[int, Order]] = []  # those that fill in this segment, by row

    def enter(self, segment: Segment) -> None:
        """Learn where in a new segment the pending orders fill."""
        self._due = []
        for order in self.orders:
            self._look_ahead(order, -1, segment)

    def place(self, order: Order, row: int, segment: Segment) -> None:
        """Take an order at a row; it waits for a tick behind it."""
        self.orders.append(order)
        self._look_ahead(order, row, segment)

    def _look_ahead(self, order: Order, row: int, segment: Segment) -> None:
        found = _fill_row(order, row, segment)
        if found is not None:
            insort(self._due, (found, order), key=_row_of)  # right: equal rows, oldest first

    def projected(self, token: int) -> Decimal:
        """Return a position as the pending orders will leave it, refusals foreseen where sure."""
        held = self.positions.get(token, _NONE)
        for order in self.orders:
            if order.token != token or self._is_short(order, held):
                continue
            try:
                held = EXACT.fma(order.side, order.quantity, held)
            except Inexact:
                continue  # it will be refused as not exact
        return held

    def engaged(self) -> dict[int, Decimal]:
        """Return the projected position of every token that has one, or a pending order."""
        tokens = dict.fromkeys([*self.positions, *(order.token for order in self.orders)])
        return {token: self.projected(token) for token in sorted(tokens)}

    def _is_short(self, order: Order, held: Decimal) -> bool:
        return order.side < 0 and not self.terms.allow_short and order.quantity > held

    def next_row(self) -> int | None:
        """Return the first row of the segment at which a pending order fills, or None."""
        return self._due[0][0] if self._due else None

    def execute(self, row: int, segment: Segment) -> list[Execution]:
        """Fill or refuse every order that the tick at `row` can fill, oldest first."""
        done = []
        while self._due and self._due[0][0] == row:
            _, order = self._due.pop(0)
            self.orders.remove(order)
            done.append(self._settle(order, _fill_price(order.side, row, segment), segment))
        return done

    def _settle(self, order: Order, price: Decimal, segment: Segment) -> Execution:
        instrument = segment.batch.table.by_dense(order.dense)
        side, held = Decimal(order.side), self.positions.get(order.token, Decimal(0))
        try:
            slip = EXACT.add(1, EXACT.multiply(side, self.terms.slippage))
            slipped = EXACT.multiply(price, slip)
            size = EXACT.multiply(order.quantity, Decimal(instrument.contract_size))
            notional = EXACT.multiply(slipped, size)
            commission = EXACT.multiply(notional, self.terms.commission)
            cash = EXACT.subtract(self.cash, EXACT.fma(side, notional, commission))
            position = EXACT.fma(side, order.quantity, held)
        except Inexact:  # a quantity of 1e-300, say
            return Execution(order, price, Decimal(0), Decimal(0), "not_exact")
        reason = self._refusal(order, held, cash, instrument.kind)
        if reason:
            return Execution(order, price, Decimal(0), Decimal(0), reason)
        self.cash, self.positions[order.token] = cash, position
        return Execution(order, slipped, order.quantity, commission, "")

    def _refusal(self, order: Order, held: Decimal, cash: Decimal, kind: str) -> str:
        if kind == "inverse":
            return "inverse_contract"  # its profit is in the base coin; said, not guessed
        if self._is_short(order, held):
            return "short_not_allowed"
        if order.side > 0 and cash < 0:
            return "insufficient_cash"
        return ""

    def profit(self, marks: dict[int, Decimal], sizes: dict[int, Decimal]) -> Decimal:
        """Return cash plus marked positions minus the cash at the start, exact.

        Args:
            marks: last price by token.
            sizes: contract size by token.
        """
        worth = self.cash
        for token, held in self.positions.items():
            if held:
                value = WIDE.multiply(WIDE.multiply(held, sizes[token]), marks[token])
                worth = WIDE.add(worth, value)
        return WIDE.subtract(worth, self.terms.cash)

    def snapshot(self) -> dict[str, Any]:
        """Return cash, positions and pending orders as plain values."""
        return {
            "cash": str(self.cash),
            "positions": {str(t): str(q) for t, q in self.positions.items()},
            "orders": [
                [o.dense, o.token, o.side, str(o.quantity), o.signal_id] for o in self.orders
            ],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what snapshot() gave."""
        self.cash = Decimal(state["cash"])
        self.positions = {int(t): Decimal(q) for t, q in state["positions"].items()}
        self.orders = [
            Order(dense, token, side, Decimal(quantity), signal_id)
            for dense, token, side, quantity, signal_id in state["orders"]
        ]
        self._due = []


def _row_of(due: tuple[int, Order]) -> int:
    return due[0]


def _fill_row(order: Order, behind: int, segment: Segment) -> int | None:
    rows = segment.rows_of(order.dense)
    flags = segment.batch.column("flags")
    for row in rows[rows.searchsorted(behind, side="right") :]:
        if _can_fill(order.side, int(flags[row])):
            return int(row)
    return None


def _can_fill(side: int, flags: int) -> bool:
    if flags & flag.WARMUP:
        return False  # of a time before the order could have been there
    if flags & flag.QUOTE:
        return not flags & (flag.NO_ASK if side > 0 else flag.NO_BID)
    return bool(flags & flag.TRADE_LIKE) and not flags & flag.NO_PRICE


def _fill_price(side: int, row: int, segment: Segment) -> Decimal:
    batch = segment.batch
    quoted = int(batch.column("flags")[row]) & flag.QUOTE
    name = ("ask_int" if side > 0 else "bid_int") if quoted else "price_int"
    scale = int(batch.table.price_scales[int(batch.column("inst")[row])])
    return Decimal(int(batch.column(name)[row])).scaleb(-scale, EXACT)
