"""The portfolio of one executor: positions, cash, and profit, exact to the last digit.

Fed by paper fills or by fills from outside, never by both. What is held lies in lots, first in,
first out: so realised profit is a finite decimal, where an average cost would be a third.
Never here: prices of the market, or a decision.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from parity.core.money import NOTHING, WIDE

if TYPE_CHECKING:
    from parity.model.instruments import InstrumentTable


class Portfolio:
    """What an executor holds, and what that has cost and brought.

    Args:
        start: cash at the beginning.
        table: the instruments, for their contract sizes.

    Attributes:
        cash: in the quote currency.
        positions: signed quantity by token, of all that was ever traded; 0 where flat.
        realised: profit of what was closed, commissions left out.
        commissions: paid so far.
    """

    __slots__ = (
        "_lots",
        "_ones",
        "_sizes",
        "cash",
        "commissions",
        "positions",
        "realised",
        "start",
    )

    def __init__(self, start: Decimal, table: InstrumentTable) -> None:
        self.start = start
        self.cash = start
        self.positions: dict[int, Decimal] = {}
        self.realised = NOTHING
        self.commissions = NOTHING
        self._sizes = {i.token: Decimal(i.contract_size) for i in table}
        # A product with "1" has the digits that it had; one with "1.0" has not.
        self._ones = frozenset(t for t, size in self._sizes.items() if str(size) == "1")
        self._lots: dict[int, deque[tuple[Decimal, Decimal]]] = {}  # quantity > 0, price

    def take(
        self, token: int, side: int, quantity: Decimal, price: Decimal, commission: Decimal
    ) -> None:
        """Take a fill; nothing about it is rounded."""
        notional = self.notional(token, price, quantity, WIDE)
        cash = WIDE.subtract(self.cash, WIDE.fma(side, notional, commission))
        position = WIDE.fma(side, quantity, self.positions.get(token, NOTHING))
        self.book(token, side, quantity, price, commission, cash, position)

    def book(
        self,
        token: int,
        side: int,
        quantity: Decimal,
        price: Decimal,
        commission: Decimal,
        cash: Decimal,
        position: Decimal,
    ) -> None:
        """Take a fill of which it is known what cash and position it leaves."""
        size, held = self._sizes[token], self.positions.get(token, NOTHING)
        self.cash = cash
        self.commissions = WIDE.add(self.commissions, commission)
        self.positions[token] = position
        lots = self._lots.setdefault(token, deque())
        left = quantity
        if held and (held > 0) != (side > 0):
            left, gained = _close(lots, quantity, price)
            self.realised = WIDE.fma(WIDE.multiply(-side, gained), size, self.realised)
        if not left:
            return
        if lots and lots[-1][1] == price:
            left = WIDE.add(left, lots.pop()[0])
        lots.append((left, price))

    def notional(self, token: int, price: Decimal, quantity: Decimal, exact: Any) -> Decimal:
        """Return price × quantity × contract size, in a decimal context."""
        if token not in self._ones:
            quantity = exact.multiply(quantity, self._sizes[token])
        return exact.multiply(price, quantity)  # type: ignore[no-any-return] # a decimal context is Any here

    def size(self, token: int) -> Decimal:
        """Return a token's contract size."""
        return self._sizes[token]

    def held(self, token: int) -> Decimal:
        """Return the signed position of a token."""
        return self.positions.get(token, NOTHING)

    def average_price(self, token: int) -> Fraction | None:
        """Return the exact average entry price of what is held of a token; None where flat."""
        lots = self._lots.get(token)
        if not lots:
            return None
        cost = sum((Fraction(q) * Fraction(p) for q, p in lots), Fraction(0))
        return cost / Fraction(self.positions[token].copy_abs())

    def unrealised(self, marks: Mapping[int, Decimal]) -> Decimal:
        """Return what the open positions would gain at the marks; one without a mark counts 0."""
        total = NOTHING
        for token, lots in self._lots.items():
            mark, side = marks.get(token), 1 if self.positions[token] > 0 else -1
            if mark is None:
                continue
            for quantity, price in lots:
                gained = WIDE.multiply(quantity, WIDE.subtract(mark, price))
                total = WIDE.fma(WIDE.multiply(side, gained), self._sizes[token], total)
        return total

    def profit(self, marks: Mapping[int, Decimal]) -> Decimal:
        """Return realised and unrealised profit less commissions, exact.

        It equals cash plus positions at their marks minus the cash at the start: a law of the
        tests.
        """
        gained = WIDE.add(self.realised, self.unrealised(marks))
        return WIDE.subtract(gained, self.commissions)

    def snapshot(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "start": str(self.start),
            "cash": str(self.cash),
            "positions": {str(t): str(q) for t, q in self.positions.items()},
            "realised": str(self.realised),
            "commissions": str(self.commissions),
            "lots": {str(t): [[str(q), str(p)] for q, p in lots] for t, lots in self._lots.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave."""
        self.start = Decimal(state["start"])  # a strategy that is replaced keeps its portfolio
        self.cash = Decimal(state["cash"])
        self.positions = {int(t): Decimal(q) for t, q in state["positions"].items()}
        self.realised = Decimal(state["realised"])
        self.commissions = Decimal(state["commissions"])
        self._lots = {
            int(t): deque((Decimal(q), Decimal(p)) for q, p in lots)
            for t, lots in state["lots"].items()
        }


class PortfolioView:
    """A portfolio as a strategy may look at it: nothing in it can be changed.

    Args:
        portfolio: the executor's.
        projected: gives a token's position as the waiting orders will leave it.
    """

    __slots__ = ("_portfolio", "_projected")

    def __init__(self, portfolio: Portfolio, projected: Callable[[int], Decimal]) -> None:
        self._portfolio = portfolio
        self._projected = projected

    @property
    def cash(self) -> Decimal:
        """Cash, in the quote currency."""
        return self._portfolio.cash

    @property
    def positions(self) -> Mapping[int, Decimal]:
        """Signed quantity by token, of what is held now, in the order of tokens."""
        held = sorted(self._portfolio.positions.items())  # else a restart would show
        return MappingProxyType({t: q for t, q in held if q})

    def position(self, token: int) -> Decimal:
        """Return the signed position of a token; 0 where flat."""
        return self._portfolio.held(token)

    def projected(self, token: int) -> Decimal:
        """Return the position of a token as the orders that wait will leave it."""
        return self._projected(token)

    def average_price(self, token: int) -> Fraction | None:
        """Return the exact average entry price of what is held of a token; None where flat."""
        return self._portfolio.average_price(token)

    @property
    def realised(self) -> Decimal:
        """Profit of what was closed, commissions left out."""
        return self._portfolio.realised

    @property
    def commissions(self) -> Decimal:
        """Commissions paid so far."""
        return self._portfolio.commissions


def _close(
    lots: deque[tuple[Decimal, Decimal]], quantity: Decimal, price: Decimal
) -> tuple[Decimal, Decimal]:
    """Take a quantity from the oldest lots; return what is left of it, and Σ closed × gain."""
    gained = NOTHING
    while quantity and lots:
        open_quantity, entry = lots.popleft()
        closed = min(open_quantity, quantity)
        gained = WIDE.fma(closed, WIDE.subtract(price, entry), gained)
        quantity = WIDE.subtract(quantity, closed)
        if closed < open_quantity:
            lots.appendleft((WIDE.subtract(open_quantity, closed), entry))
    return quantity, gained
