"""The books of a run: what its fills made of cash and positions, fill by fill, exact.

A sale closes what was bought first (FIFO), and the other way round, so that what is realised is a
sum of what stands in the records, without a division. Never here: a market price.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from parity.core.money import WIDE
from parity.core.paper_broker import Terms

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
    """What stands in the books after a fill."""

    seq: int
    ts_event: int
    instrument_token: int
    side: int
    signal_id: str
    price: Decimal
    quantity: Decimal
    commission: Decimal
    position: Decimal
    cost: Decimal  # of what is held: sum of price × quantity, signed as the position is
    cash: Decimal
    realised: Decimal


class Book:
    """Cash, positions and trades of one (strategy, broker).

    Args:
        key: whose.
        start: cash at the start.
        sizes: contract size by token.
    """

    def __init__(self, key: Key, start: Decimal, sizes: Mapping[int, Decimal]) -> None:
        self.key = key
        self.start = start
        self.sizes = sizes
        self.entries: list[Entry] = []
        self.trades: list[Trade] = []
        self.cash = start
        self.realised = ZERO
        self.commission = ZERO
        self.notional = ZERO
        self._positions: dict[int, _Position] = {}

    def fill(self, row: Mapping[str, Any]) -> None:
        """Take a row of `decisions/` of kind `fill`."""
        token, side = int(row["instrument_token"]), int(row["side"])
        price, quantity, commission = (
            Decimal(row[f"{name}_exact"]) for name in ("price", "quantity", "commission")
        )
        size = self.sizes[token]
        position = self._positions.setdefault(token, _Position())
        before = position.held
        closing = min(abs(before), quantity) if before * side < 0 else ZERO
        gained = WIDE.multiply(position.close(price, closing), size)
        position.add(price, WIDE.multiply(side, WIDE.subtract(quantity, closing)))
        notional = WIDE.multiply(WIDE.multiply(price, quantity), size)
        self.cash = WIDE.subtract(WIDE.fma(-side, notional, self.cash), commission)
        self.realised = WIDE.subtract(WIDE.add(self.realised, gained), commission)
        self.commission = WIDE.add(self.commission, commission)
        self.notional = WIDE.add(self.notional, notional)
        self._trade(row, position, closing, gained, Fraction(commission))
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
                position.held,
                position.cost,
                self.cash,
                self.realised,
            )
        )

    def _trade(
        self,
        row: Mapping[str, Any],
        position: _Position,
        closing: Decimal,
        gained: Decimal,
        commission: Fraction,
    ) -> None:
        """Carry the instrument's round trip on; it ends where nothing of it is held any more."""
        quantity, seq, ns = Fraction(row["quantity_exact"]), int(row["seq"]), int(row["ts_event"])
        opened = quantity - Fraction(closing)
        trade = position.trade
        if closing and trade is not None:
            trade.profit += Fraction(gained) - commission * Fraction(closing) / quantity
            if opened or not position.held:
                self.trades.append(trade.closed(self.key, int(row["instrument_token"]), seq, ns))
                trade = None
        if opened:
            trade = trade or _Open(seq, ns, int(row["side"]))
            trade.profit -= commission * opened / quantity
            trade.quantity = max(trade.quantity, abs(position.held))
        position.trade = trade


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


class _Position:
    """What is held of one instrument: signed lots, oldest first, their sums, and the open trade."""

    __slots__ = ("cost", "held", "lots", "trade")

    def __init__(self) -> None:
        self.held = ZERO
        self.cost = ZERO
        self.lots: deque[tuple[Decimal, Decimal]] = deque()  # price, quantity
        self.trade: _Open | None = None

    def add(self, price: Decimal, quantity: Decimal) -> None:
        """Take a new lot."""
        if quantity:
            self.lots.append((price, quantity))
            self.held = WIDE.add(self.held, quantity)
            self.cost = WIDE.fma(price, quantity, self.cost)

    def close(self, price: Decimal, quantity: Decimal) -> Decimal:
        """Take a quantity off the oldest lots; return what one of each contract gained."""
        gained = ZERO
        while quantity:
            entry, lot = self.lots.popleft()
            part = min(abs(lot), quantity)
            signed = part.copy_sign(lot)
            quantity = WIDE.subtract(quantity, part)
            gained = WIDE.fma(WIDE.subtract(price, entry), signed, gained)
            self.held = WIDE.subtract(self.held, signed)
            self.cost = WIDE.subtract(self.cost, WIDE.multiply(entry, signed))
            left = WIDE.subtract(lot, signed)
            if left:
                self.lots.appendleft((entry, left))
        return gained


def books_of(
    manifest: RunManifest, table: InstrumentTable, fills: Iterable[Mapping[str, Any]]
) -> list[Book]:
    """Return the books of every executor of a run, by (strategy_id, broker).

    Args:
        manifest: of the run: who ran, and with how much cash.
        table: the instruments, for contract sizes.
        fills: the rows of `decisions/` of kind `fill`, in order.
    """
    sizes = {one.token: Decimal(one.contract_size) for one in table}
    books: dict[Key, Book] = {}
    for kept in manifest.strategies:
        key = (kept.config["strategy_id"], kept.broker)
        books[key] = Book(key, Terms.of(kept.config["parameters"]).cash, sizes)
    for row in fills:
        key = (row["strategy_id"], row["broker"])
        if key not in books:  # its strategy came and went with a control
            books[key] = Book(key, Terms().cash, sizes)
        books[key].fill(row)
    return [books[key] for key in sorted(books)]
