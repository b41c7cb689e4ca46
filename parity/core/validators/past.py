"""What an executor's validators remember of its signals and trades; all in its decide clock.

Only what an active limit asks for is kept, and never more than the limit needs.
"""

from __future__ import annotations

import math
from collections import deque
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from parity.core.digest import canonical, suppression_key
from parity.core.money import WIDE
from parity.core.validators.limits import ZERO, Limits

if TYPE_CHECKING:
    from parity.core.paper_broker import Execution
    from parity.model.effects import Candidate

DAY_NS: Final = 86_400 * 1_000_000_000


class Past:
    """Approved signals and closed trades, as far as the limits ask.

    Args:
        everything: keep also what no limit asks for, for a registered validator's eyes.
    """

    def __init__(self, strategy_id: str, limits: Limits, *, everything: bool = False) -> None:
        self._limits = limits
        self._prefix = canonical(strategy_id)
        self._everything = everything
        rated = limits.signals_per_minute_max or limits.signal_interval_ns
        self._keeps_rates = bool(rated or limits.signals_per_day_max or everything)
        # Whether took() wants to hear of positions, and filled() of fills.
        self.keeps_sides = bool(limits.position_guard_ns or everything)
        self.keeps_trades = bool(limits.loss_streak_max or everything)
        self.last_signal: dict[int, int] = {}  # by token
        self.newest_ns: int | None = None
        self._minute: deque[int] = deque(maxlen=limits.signals_per_minute_max)
        self._day = [0, 0]  # number of the UTC day, approved signals in it
        self._twins: dict[str, int] = {}  # suppression key -> clock, oldest first
        self.sides: dict[int, tuple[int, int]] = {}  # by token: side taken, clock
        # by token: what is held, and the cash that the open trade has brought
        self._trades: dict[int, tuple[Decimal, Decimal]] = {}
        self.losses: dict[int, tuple[int, int]] = {}  # by token: losing trades in a row, last one

    def approved(self, candidate: Candidate, clock_ns: int) -> None:
        """Take an approved signal."""
        self.last_signal[candidate.instrument_token] = clock_ns
        if self._keeps_rates:
            self.newest_ns = clock_ns
            self._minute.append(clock_ns)
            today = clock_ns // DAY_NS
            self._day = [today, self.signals_on(clock_ns) + 1]
        if self._limits.duplicate_ns:
            key, _ = self._keys(candidate, clock_ns)
            self._twins.pop(key, None)
            self._twins[key] = clock_ns
            self._forget_twins(clock_ns)

    def took(self, token: int, position: Decimal, clock_ns: int) -> None:
        """Take the position that an approved signal aims at: a new side counts from here."""
        side = (position > 0) - (position < 0)
        if side and self.sides.get(token, (0, 0))[0] != side:
            self.sides[token] = (side, clock_ns)

    def minute_ns(self) -> int | None:
        """Return the clock at the signal that is the whole minute's number back, if there is."""
        full = len(self._minute) == self._minute.maxlen
        return self._minute[0] if full and self._minute else None

    def signals_on(self, clock_ns: int) -> int:
        """Return how many signals were approved on the clock's UTC day."""
        return self._day[1] if self._day[0] == clock_ns // DAY_NS else 0

    def twin_ns(self, candidate: Candidate, clock_ns: int) -> int | None:
        """Return the clock at the last signal with an equal key, now or one time bucket ago."""
        if not self._limits.duplicate_ns:
            return None
        found = [self._twins.get(key) for key in self._keys(candidate, clock_ns)]
        return max((at for at in found if at is not None), default=None)

    def _keys(self, candidate: Candidate, clock_ns: int) -> tuple[str, str]:
        # Looked up in two buckets, so that no pair inside the window slips over a bucket's edge.
        step, price = self._limits.duplicate_price_step, repr(candidate.price)
        level = str(math.floor(Fraction(price) / Fraction(step))) if step else price
        bucket = clock_ns // self._limits.duplicate_ns
        token, side = candidate.instrument_token, candidate.side
        now = suppression_key(self._prefix, token, side, level, bucket)
        return now, suppression_key(self._prefix, token, side, level, bucket - 1)

    def _forget_twins(self, clock_ns: int) -> None:
        while self._twins:
            oldest = next(iter(self._twins))
            if clock_ns - self._twins[oldest] < self._limits.duplicate_ns:
                return
            del self._twins[oldest]

    def filled(self, done: Execution, size: Decimal, rate: Decimal | None, clock_ns: int) -> None:
        """Take a fill: a trade is closed where the position comes to zero or turns.

        Args:
            done: the fill.
            size: contract size of the instrument.
            rate: commission as a fraction of the notional; None where it is no such fraction: then
                the trade that is closed bears it, if there is one.
            clock_ns: decide clock.
        """
        token, side = done.order.token, done.order.side
        held, cash = self._trades.pop(token, (ZERO, ZERO))
        unit = WIDE.multiply(done.price, size)
        against = bool(held) and (held > 0) != (side > 0)
        closing = min(held.copy_abs(), done.quantity) if against else ZERO
        borne = (
            done.commission if rate is None else WIDE.multiply(WIDE.multiply(closing, unit), rate)
        )
        unit = WIDE.multiply(-side, unit)
        if closing:
            cash = WIDE.subtract(WIDE.fma(closing, unit, cash), borne)
            if closing == held.copy_abs():
                self._closed(token, cash, clock_ns)
                cash = ZERO
        else:
            borne = ZERO
        cash = WIDE.fma(WIDE.subtract(done.quantity, closing), unit, cash)
        cash = WIDE.subtract(cash, WIDE.subtract(done.commission, borne))
        held = WIDE.fma(side, done.quantity, held)
        if held:
            self._trades[token] = (held, cash)

    def _closed(self, token: int, profit: Decimal, clock_ns: int) -> None:
        if profit > 0:
            self.losses.pop(token, None)
        elif profit < 0:
            streak, last = self.losses.get(token, (0, 0))
            pause = self._limits.loss_pause_ns
            rested = pause and streak >= self._limits.loss_streak_max and clock_ns - last >= pause
            self.losses[token] = (1 if rested else streak + 1, clock_ns)

    def snapshot(self) -> dict[str, Any]:
        """Return everything remembered as plain values."""
        return {
            "last_signal": {str(t): ns for t, ns in self.last_signal.items()},
            "newest": self.newest_ns,
            "minute": list(self._minute),
            "day": list(self._day),
            "twins": [[key, ns] for key, ns in self._twins.items()],
            "sides": {str(t): list(taken) for t, taken in self.sides.items()},
            "trades": {str(t): [str(h), str(cash)] for t, (h, cash) in self._trades.items()},
            "losses": {str(t): list(streak) for t, streak in self.losses.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what snapshot() gave."""
        self.last_signal = {int(t): ns for t, ns in state["last_signal"].items()}
        self.newest_ns = state["newest"]
        self._minute = deque(state["minute"], maxlen=self._limits.signals_per_minute_max)
        self._day = list(state["day"])
        self._twins = dict(state["twins"])
        self.sides = {int(t): (side, ns) for t, (side, ns) in state["sides"].items()}
        trades = state["trades"].items()
        self._trades = {int(t): (Decimal(held), Decimal(cash)) for t, (held, cash) in trades}
        self.losses = {int(t): (n, ns) for t, (n, ns) in state["losses"].items()}
