"""A second engine, to hold the real one against: tick by tick, no batches, no merge, no columns.

It shares no code with parity.core. It knows the rules that every strategy meets: histories, timers
at equal steps, the lifecycle up to ACTIVE, roll-back, sanity, least confidence, largest quantity,
cooldown, and orders through the plain broker.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

from plain_broker import PlainBroker, Said

from parity.model import ticks as flag


class PlainTick(NamedTuple):
    """What a processor is shown."""

    instrument_token: int
    ts_event: int
    price: float
    quantity: float
    side: int


class PlainTimer(NamedTuple):
    """What a processor is told when a timer is due."""

    instrument_token: int
    due_ns: int
    number: int


class PlainStrategy(NamedTuple):
    """A strategy as configured; limits of 0 do not limit."""

    strategy_id: str
    make: Callable[[], Any]
    on: str = "trades"
    tokens: tuple[int, ...] = ()
    min_confidence: float = 0.0
    quantity_max: float = 1e9
    cooldown_ns: int = 0
    cash: int = 1_000_000
    allow_short: bool = False


class _Hosted:
    def __init__(self, strategy: PlainStrategy) -> None:
        self.strategy = strategy
        self.processor = strategy.make()
        self.length = max(1, self.processor.get_required_history_length())
        self.histories: dict[int, deque[PlainTick]] = {}
        self.broker = PlainBroker(strategy.cash, strategy.allow_short, 0)
        self.active = False
        self.approved: dict[int, int] = {}  # clock at the last approved signal, by instrument


class PlainEngine:
    """Says, as plain tuples, what each strategy's candidates became, its fills and its errors."""

    def __init__(self, scales: dict[int, tuple[int, int]], strategies: list[PlainStrategy]) -> None:
        self.scales = scales
        self.hosted = [_Hosted(s) for s in sorted(strategies)]
        self.runs: dict[int, tuple[int, int]] = {}  # ts_event of the newest tick, and its ordinal
        self.said: list[tuple[Any, ...]] = []

    def tick(self, row: Any) -> None:
        """Take one tick, as a record."""
        if int(row["flags"]) & flag.UNDELIVERED:
            return
        token, ts = int(row["instrument_token"]), int(row["ts_event"])
        before = self.runs.get(token)
        ordinal = before[1] + 1 if before is not None and before[0] == ts else 0
        self.runs[token] = (ts, ordinal)
        for hosted in self.hosted:
            if not hosted.strategy.tokens or token in hosted.strategy.tokens:
                self._show(hosted, row, ordinal)

    def _show(self, hosted: _Hosted, row: Any, ordinal: int) -> None:
        token, seq = int(row["instrument_token"]), int(row["seq"])
        tick = self._seen(row, hosted.strategy.on)
        if not int(row["flags"]) & flag.NO_VENUE_TIME:
            self._pass_time(hosted, int(row["ts_event"]), seq)
        done = len(hosted.broker.said)
        hosted.broker.tick(row, self.scales[token][0])
        for fill in hosted.broker.said[done:]:
            self.said.append((seq, hosted.strategy.strategy_id, "fill", *fill_words(fill)))
        if tick is None:
            return
        history = hosted.histories.setdefault(token, deque(maxlen=hosted.length))
        history.append(tick)
        if len(history) < hosted.length:
            return
        hosted.active = True
        kept = copy.deepcopy(hosted.processor)
        try:
            signal = hosted.processor.process_tick(tick, list(history))
        except ArithmeticError:
            hosted.processor = kept
            self.said.append((seq, hosted.strategy.strategy_id, "error", token))
            return
        if signal is not None:
            self._judge(hosted, signal, (seq, token, tick.ts_event, ordinal))

    def _pass_time(self, hosted: _Hosted, ns: int, seq: int) -> None:
        before = hosted.broker.clock
        if before is None:
            return
        due = []
        for number, timer in enumerate(getattr(hosted.processor, "timers", ())):
            step, offset = round(timer.seconds * 10**9), round(timer.offset_sec * 10**9)
            first = before - (before - offset) % step + step
            due += [(at, t, number) for at in range(first, ns + 1, step) for t in self.scales]
        for at, token, number in sorted(due):
            history = hosted.histories.get(token, ())
            if len(history) < hosted.length:  # of an instrument that is not its own there is none
                continue
            hosted.broker.clock = at  # orders here live for ever: none is due
            kept = copy.deepcopy(hosted.processor)
            try:
                signal = hosted.processor.on_timer(PlainTimer(token, at, number), list(history))
            except ArithmeticError:
                hosted.processor = kept
                self.said.append((seq, hosted.strategy.strategy_id, "error", token))
                continue
            if signal is not None:
                self._judge(hosted, signal, (seq, token, at, -1))

    def _seen(self, row: Any, on: str) -> PlainTick | None:
        bits, token = int(row["flags"]), int(row["instrument_token"])
        price_scale, quantity_scale = self.scales[token]
        if on == "trades":
            if not bits & flag.TRADE_LIKE or bits & flag.NO_PRICE:
                return None
            price = int(row["price_int"]) / 10**price_scale
        elif not bits & flag.QUOTE or bits & (flag.NO_BID | flag.NO_ASK):
            return None
        else:
            price = (int(row["bid_int"]) + int(row["ask_int"])) * 5 / 10 ** (price_scale + 1)
        quantity = int(row["quantity_int"]) / 10**quantity_scale
        return PlainTick(token, int(row["ts_event"]), price, quantity, int(row["side"]))

    def _judge(self, hosted: _Hosted, signal: Any, moment: tuple[int, int, int, int]) -> None:
        seq, token, ts, ordinal = moment
        reason = self._reason(hosted, signal, token)
        numbers = (float(signal.price), float(signal.quantity), float(signal.confidence))
        key = (seq, hosted.strategy.strategy_id, "signal", token)
        self.said.append((*key, ts, ordinal, signal.signal_type, *numbers, reason))
        if reason:
            return
        clock = hosted.broker.clock
        if clock is not None:
            hosted.approved[token] = clock
        side = 1 if signal.signal_type == "BUY" else -1
        hosted.broker.order(token, side, Fraction(str(signal.quantity)), {})

    def _reason(self, hosted: _Hosted, signal: Any, token: int) -> str:
        limits, clock = hosted.strategy, hosted.broker.clock
        if not hosted.active:
            return "lifecycle"
        if signal.signal_type == "HOLD":
            return "hold"
        if not (signal.price > 0 and math.isfinite(signal.price)):
            return "sanity_price"
        if not 0 < signal.quantity <= 1e9:
            return "sanity_quantity"
        if not 0 <= signal.confidence <= 1:
            return "sanity_confidence"
        if signal.confidence < limits.min_confidence:
            return "min_confidence"
        if signal.quantity > limits.quantity_max:
            return "max_quantity"
        last = hosted.approved.get(token)
        if limits.cooldown_ns and last is not None and clock - last < limits.cooldown_ns:
            return "cooldown"
        return ""


def fill_words(fill: Said) -> tuple[Any, ...]:
    """Return a fill as it is compared."""
    return (fill.token, fill.side, fill.price, fill.quantity, fill.commission, fill.what)
