"""A second paper broker, to hold the real one against: tick by tick, in fractions, nothing clever.

It shares no code with parity.core. Rules as on docs/paper-broker.md.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

from parity.model import ticks as flag

DAY_NS = 86_400 * 10**9


class Said(NamedTuple):
    """What became of an order at a tick, or at an instant (ordinal -1)."""

    ts_event: int
    at_tick: bool
    token: int
    side: int
    price: Fraction
    quantity: Fraction
    commission: Fraction
    what: str  # a kind of fill, or the reason of an end


class PlainBroker:
    """Orders as dicts, positions as lists of lots."""

    def __init__(self, cash: int, short: bool, ttl_ns: int) -> None:
        self.cash = Fraction(cash)
        self.short = short
        self.ttl_ns = ttl_ns
        self.orders: list[dict[str, Any]] = []
        self.exits: dict[int, dict[str, Any]] = {}
        self.lots: dict[int, list[list[Fraction]]] = {}  # signed quantity, price
        self.realised = Fraction(0)
        self.commissions = Fraction(0)
        self.clock: int | None = None
        self.said: list[Said] = []

    def held(self, token: int) -> Fraction:
        """Return the signed position."""
        return sum((q for q, _ in self.lots.get(token, [])), Fraction(0))

    # -- one tick ------------------------------------------------------------------------------

    def tick(self, row: Any, scale: int) -> None:
        """Take one delivered tick, of whatever kind."""
        offers = {side: _offer(row, side, scale) for side in (1, -1)}
        timed = not int(row["flags"]) & flag.NO_VENUE_TIME
        ts, token = int(row["ts_event"]), int(row["instrument_token"])
        if timed:
            self._pass(ts)
        for order in [o for o in self.orders if o["token"] == token]:
            if self._acting(order, offers, row):
                self._act(order, offers[order["side"]], ts)
        bracket = self.exits.get(token)
        if bracket is not None and not bracket.pop("fresh", False):
            self._exit(token, bracket, offers[bracket["side"]], ts)

    def _pass(self, ts: int) -> None:
        if self.clock is not None and ts <= self.clock:
            return
        over = [o for o in self.orders if o["due"] is not None and o["due"] <= ts]
        for order in sorted(over, key=lambda o: (o["due"], o["token"])):
            self.orders.remove(order)
            self._say(order["due"], False, order, Fraction(0), Fraction(0), "expired")
        self.clock = ts

    def _acting(self, order: dict[str, Any], offers: dict[int, Fraction | None], row: Any) -> bool:
        price, side = offers[order["side"]], order["side"]
        if price is None:
            return False
        if order["phase"] == "stop":
            return side * price >= side * order["stop"]
        if order["phase"] == "limit":
            better = side * (order["limit"] - price)
            return better >= 0 if int(row["flags"]) & flag.QUOTE else better > 0
        return True

    def _act(self, order: dict[str, Any], price: Fraction | None, ts: int) -> None:
        assert price is not None
        side, kind = order["side"], order["type"]
        slipped = price * (1 + side * Fraction(5, 10_000))
        if order["phase"] == "limit":
            self._fill(order, order["limit"], price, ts)
        elif kind == "market":
            self._fill(order, slipped, price, ts)
        elif kind in ("stop", "stop_limit") and side * price < side * order["stop"]:
            self._rest(order, "stop", price, ts)
        elif kind == "stop":
            self._fill(order, slipped, price, ts)
        elif side * price <= side * order["limit"]:
            self._fill(order, price, price, ts)
        else:
            self._rest(order, "limit", price, ts)

    def _rest(self, order: dict[str, Any], phase: str, price: Fraction, ts: int) -> None:
        order["phase"] = phase
        if order["tif"] in ("IOC", "FOK"):
            self.orders.remove(order)
            self._say(ts, True, order, price, Fraction(0), "not_at_once")

    def _fill(self, order: dict[str, Any], price: Fraction, seen: Fraction, ts: int) -> None:
        self.orders.remove(order)
        token, side, quantity = order["token"], order["side"], order["quantity"]
        before = self.held(token)
        if side < 0 and not self.short and quantity > before:
            self._say(ts, True, order, seen, Fraction(0), "short_not_allowed")
            return
        if side > 0 and self.cash < price * quantity * (1 + Fraction(1, 1000)):
            self._say(ts, True, order, seen, Fraction(0), "insufficient_cash")
            return
        self._book(order, price, quantity, "order", ts)
        after = self.held(token)
        if (order["tp"] or order["sl"]) and after * side > 0:
            self.exits[token] = {
                "side": -side,
                "tp": order["tp"] and price * (1 + side * order["tp"] / 100),
                "sl": order["sl"] and price * (1 - side * order["sl"] / 100),
                "fresh": True,
            }
        elif token in self.exits and after * self.exits[token]["side"] >= 0:
            del self.exits[token]

    def _exit(self, token: int, bracket: dict[str, Any], price: Fraction | None, ts: int) -> None:
        what = _hit(bracket, price)
        if what is not None:
            del self.exits[token]
            order = {"token": token, "side": bracket["side"]}
            level = bracket["sl" if what == "stop_loss" else "tp"]
            self._book(order, level, abs(self.held(token)), what, ts)

    def _book(
        self, order: dict[str, Any], price: Fraction, quantity: Fraction, what: str, ts: int
    ) -> None:
        side, commission = order["side"], price * quantity / 1000
        self.cash -= side * price * quantity + commission
        self.commissions += commission
        lots, left = self.lots.setdefault(order["token"], []), side * quantity
        while left and lots and lots[0][0] * left < 0:
            closed = min(abs(lots[0][0]), abs(left))
            sign = 1 if lots[0][0] > 0 else -1
            self.realised += sign * closed * (price - lots[0][1])
            lots[0][0] -= sign * closed
            left += sign * closed
            if not lots[0][0]:
                lots.pop(0)
        if left:
            lots.append([left, price])
        self._say(ts, True, order, price, quantity, what)

    def _say(
        self, ts: int, at_tick: bool, order: Any, price: Fraction, quantity: Fraction, what: str
    ) -> None:
        paid = price * quantity / 1000
        self.said.append(
            Said(ts, at_tick, order["token"], order["side"], price, quantity, paid, what)
        )

    # -- a signal --------------------------------------------------------------------------------

    def order(self, token: int, side: int, quantity: Fraction, metadata: dict[str, Any]) -> None:
        """Take an approved signal."""
        tif, ends = metadata.get("tif", "GTC"), []
        if self.clock is not None and tif == "DAY":
            ends.append((self.clock // DAY_NS + 1) * DAY_NS)
        if self.clock is not None and self.ttl_ns:
            ends.append(self.clock + self.ttl_ns)

        def number(key: str) -> Fraction | None:
            return Fraction(str(metadata[key])) if key in metadata else None

        self.orders.append(
            {
                "token": token, "side": side, "quantity": quantity, "tif": tif, "phase": "new",
                "type": metadata.get("order_type", "market"), "due": min(ends, default=None),
                "limit": number("limit_price"), "stop": number("stop_price"),
                "tp": number("take_profit_pct"), "sl": number("stop_loss_pct"),
            }
        )  # fmt: skip


def _hit(bracket: dict[str, Any], price: Fraction | None) -> str | None:
    side = bracket["side"]  # -1 leaves a long position: it is stopped below, and takes above
    if price is None:
        return None
    if bracket["sl"] is not None and side * price >= side * bracket["sl"]:
        return "stop_loss"
    if bracket["tp"] is not None and side * price <= side * bracket["tp"]:
        return "take_profit"
    return None


def _offer(row: Any, side: int, scale: int) -> Fraction | None:
    bits = int(row["flags"])
    if bits & flag.WARMUP:
        return None
    if bits & flag.QUOTE:
        if bits & (flag.NO_ASK if side > 0 else flag.NO_BID):
            return None
        return Fraction(int(row["ask_int" if side > 0 else "bid_int"]), 10**scale)
    if bits & flag.NO_PRICE:
        return None
    return Fraction(int(row["price_int"]), 10**scale)
