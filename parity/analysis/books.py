"""The books of a run: what its fills made of cash and positions, fill by fill, exact.

The engine's own portfolio keeps them, first in, first out; here is written down what it holds after
each fill, and where a round trip began and ended. Never here: a market price.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from parity.core.money import WIDE
from parity.core.portfolio import Portfolio
from parity.core.terms import Terms

if TYPE_CHECKING:
    from parity.model.instruments import InstrumentTable
    from parity.recording.runs import RunManifest

Key = tuple[str, str]
ZERO = Decimal(0)


class Trade(msgspec.Struct, frozen=True):
    """A round trip in one instrument: from flat to flat, or to the turn of the position.

    Args:
        side: +1 where it began with a BUY.
        quantity: the largest position it had.
        profit: what it brought, commissions taken off; of a fill that turns the position each part
            bears its share by quantity.
    """

    strategy_id: str
    broker: str
    instrument_token: int
    opened_seq: int
    closed_seq: int
    opened_ns: int
    closed_ns: int
    side: int
    quantity: Decimal
    profit: Fraction


class Entry(NamedTuple):
    """What stands in the books after a fill; `realised` has all commissions taken off."""

    seq: int
    ts_event: int
    instrument_token: int
    side: int
    signal_id: str
    price: Decimal
    quantity: Decimal
    commission: Decimal
    position: Decimal
    cost: Decimal  # of what is held: sum of entry price × quantity × size, signed as it is
    entry_price: float | None  # average of what is held
    cash: Decimal
    realised: Decimal


class Book:
    """Cash, positions and trades of one (strategy, broker).

    Args:
        key: whose.
        start: cash at the start.
        table: the instruments, for contract sizes.
    """

    def __init__(self, key: Key, start: Decimal, table: InstrumentTable) -> None:
        self.key = key
        self.start = start
        self.entries: list[Entry] = []
        self.trades: list[Trade] = []
        self.notional = ZERO
        self.portfolio = Portfolio(start, table)
        self._costs: dict[int, Decimal] = {}
        self._open: dict[int, _Open] = {}

    def fill(self, row: Mapping[str, Any]) -> None:
        """Take a row of `decisions/` of kind `fill`."""
        token, side, portfolio = int(row["instrument_token"]), int(row["side"]), self.portfolio
        price, quantity, commission = (
            Decimal(row[f"{name}_exact"]) for name in ("price", "quantity", "commission")
        )
        before, realised = portfolio.held(token), portfolio.realised
        portfolio.take(token, side, quantity, price, commission)
        gained = WIDE.subtract(portfolio.realised, realised)
        held, size = portfolio.held(token), portfolio.size(token)
        notional = WIDE.multiply(WIDE.multiply(price, quantity), size)
        self.notional = WIDE.add(self.notional, notional)
        # What is closed leaves with its own cost: its price now, less what it gained.
        cost = WIDE.fma(side, notional, WIDE.add(self._costs.get(token, ZERO), gained))
        self._costs[token] = cost
        closing = min(abs(before), quantity) if before * side < 0 else ZERO
        self._trade(row, held, closing, gained, Fraction(commission))
        worth = WIDE.multiply(held, size)
        self.entries.append(
            Entry(
                int(row["seq"]),
                int(row["ts_event"]),
                token,
                side,
                row["signal_id"],
                price,
                quantity,
                commission,
                held,
                cost,
                float(Fraction(cost) / Fraction(worth)) if worth else None,
                portfolio.cash,
                WIDE.subtract(portfolio.realised, portfolio.commissions),
            )
        )

    def _trade(
        self,
        row: Mapping[str, Any],
        held: Decimal,
        closing: Decimal,
        gained: Decimal,
        commission: Fraction,
    ) -> None:
        """Carry the instrument's round trip on; it ends where nothing of it is held any more."""
        token, quantity = int(row["instrument_token"]), Fraction(row["quantity_exact"])
        seq, ns = int(row["seq"]), int(row["ts_event"])
        opened = quantity - Fraction(closing)
        trade = self._open.pop(token, None)
        if closing and trade is not None:
            trade.profit += Fraction(gained) - commission * Fraction(closing) / quantity
            if opened or not held:
                self.trades.append(trade.closed(self.key, token, seq, ns))
                trade = None
        if opened:
            trade = trade or _Open(seq, ns, int(row["side"]))
            trade.profit -= commission * opened / quantity
            trade.quantity = max(trade.quantity, abs(held))
        if trade is not None:
            self._open[token] = trade


class _Open(msgspec.Struct):
    """A trade that has begun."""

    seq: int
    ns: int
    side: int
    quantity: Decimal = ZERO
    profit: Fraction = Fraction(0)

    def closed(self, key: Key, token: int, seq: int, ns: int) -> Trade:
        """Return it as it ended."""
        return Trade(*key, token, self.seq, seq, self.ns, ns, self.side, self.quantity, self.profit)


def books_of(
    manifest: RunManifest,
    table: InstrumentTable,
    fills: Iterable[Mapping[str, Any]],
    added: Callable[[Key], Mapping[str, Any] | None],
) -> list[Book]:
    """Return the books of every executor of a run, by (strategy_id, broker).

    Args:
        manifest: of the run: who ran, and with how much cash.
        table: the instruments, for contract sizes.
        fills: the rows of `decisions/` of kind `fill`, in order.
        added: gives the parameters of a strategy that a control brought, None where that is pruned;
            its cash is the default then.
    """
    books: dict[Key, Book] = {}
    for kept in manifest.strategies:
        key = (kept.config["strategy_id"], kept.broker)
        books[key] = Book(key, Terms.of(kept.config["parameters"]).cash, table)
    for row in fills:
        key = (row["strategy_id"], row["broker"])
        if key not in books:  # its strategy came with a control
            books[key] = Book(key, Terms.of(added(key) or {}).cash, table)
        books[key].fill(row)
    return [books[key] for key in sorted(books)]
