"""Strategies that use what the engine offers, all at once, and events of every kind for them.

Bars, timers, orders of every type with exits and lives, random streams, errors with and without a
snapshot, lifecycles, portfolios, a broker whose fills come from outside. For the general laws; the
rules themselves have references of their own beside `plain_engine.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec
from hypothesis import strategies as st
from markets import markets

from parity.core.executor import ExecutorPlan
from parity.model.bars import Bar, Bars
from parity.model.events import EventBatch
from parity.model.timers import AtClose, AtOpen, Every, Timer
from parity.model.values import SignalResult, StrategyConfig
from parity.testing.generators import ONE, SECOND_NS, TWO

OUTSIDE: Final = "outside"
PARAMETERS: Final[dict[str, Any]] = {
    "risk": {
        "cooldown_sec": 0.5,
        "max_quantity": 4,
        "risk_modes": ["NORMAL", "AGGRESSIVE"],
        "phases": ["regular", "closing"],
    },
    "paper": {"cash": 20_000, "allow_short": True, "order_ttl_sec": 2},
    "errors": {"window_sec": 10, "max": 1, "retry_sec": 1, "retries": 1, "resume_sec": 5},
}


def order_of(number: int, price: Decimal) -> dict[str, Any]:
    """Return the n-th order: types, lives and exits turn at different rates."""
    kind = ("market", "limit", "stop", "stop_limit")[number % 4]
    how: dict[str, Any] = {"order_type": kind, "tif": ("GTC", "DAY", "IOC", "FOK")[number // 2 % 4]}
    if "limit" in kind:
        how["limit_price"] = price + Decimal(number % 7 - 3) / 10
    if "stop" in kind:
        how["stop_price"] = price + Decimal(number % 5 - 2) / 10
    if number % 3:
        how["take_profit_pct"] = Decimal("0.1")
    if number % 5:
        how["stop_loss_pct"] = 0.05
    return how


class Everything:
    """Speaks at ticks, bars and timers, by chance and by state; fails at one price in eleven."""

    def __init__(self, seconds: float = 40, empty: str = "skip") -> None:
        self.bars = Bars(seconds=seconds, empty=empty)
        self.timers = [Every(12), AtOpen(), Every(30, offset_sec=1), AtClose(-1), AtClose()]
        self.calls = 0
        self.last: list[float] = []

    def get_required_history_length(self) -> int:
        """Return 2."""
        return 2

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "everything"

    def process_tick(self, tick: Any, history: Any, rng: Any) -> SignalResult | None:
        """Order at two ticks in three; fail after the state was changed."""
        self.calls += 1
        self.last = [*self.last[-1:], tick.price]
        chance = rng.uniform()
        if tick.price_int % 11 == 0:
            raise ArithmeticError(f"at {self.calls}")
        if self.calls % 3 == 0:
            return None
        side = "BUY" if chance < 0.5 else "SELL"
        how = {**order_of(self.calls, tick.last_price), "n": self.calls, "was": self.last}
        return SignalResult(side, chance, 1 + self.calls % 5, tick.price, "", how)

    def process_bar(self, bar: Bar, history: Any, rng: Any) -> SignalResult | None:
        """Order at every other bar."""
        self.calls += 1
        if self.calls % 2:
            return None
        how = {"low": bar.low, "high": bar.high, "ticks": bar.count, "rows": len(history)}
        return SignalResult("BUY", rng.uniform(), 1, bar.close, "", how)

    def on_timer(self, timer: Timer, history: Any, rng: Any) -> SignalResult | None:
        """Order at every other timer; fail at one in thirteen."""
        self.calls += 1
        if self.calls % 13 == 0:
            raise ArithmeticError(f"timer at {self.calls}")
        if self.calls % 2:
            return None
        how = {**order_of(self.calls, history[-1].last_price), "timer": timer.number}
        return SignalResult("SELL", rng.uniform(), 1, history[-1].price, "", how)

    def snapshot(self) -> dict[str, Any]:
        """Return what it remembers."""
        return {"calls": self.calls, "last": self.last}

    def restore(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.calls, self.last = state["calls"], list(state["last"])


class Forgetful:
    """On ticks alone and without a snapshot, so that an error warms it up anew."""

    def __init__(self) -> None:
        self.calls = 0

    def get_required_history_length(self) -> int:
        """Return 3."""
        return 3

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "forgetful"

    def process_tick(self, tick: Any, history: Any) -> SignalResult | None:
        """Say where its history begins; fail at one price in seven."""
        self.calls += 1
        if tick.price_int % 7 == 0:
            raise ArithmeticError("seven")
        said = {"n": self.calls, "first": history[0].price}
        return SignalResult("SELL" if self.calls % 2 else "BUY", 0.9, 1, tick.price, "", said)


class Holding(Forgetful):
    """Proposes by what it holds: sells it, and orders anew; at bars and timers, too."""

    bars = Bars(seconds=10)
    timers = (Every(15), AtClose(-2), AtOpen())

    def process_tick(  # type: ignore[override] # asks for more
        self, tick: Any, history: Any, portfolio: Any
    ) -> Iterator[SignalResult]:
        """Yield one signal or two; fail now and then behind the first."""
        self.calls += 1
        held = portfolio.position(tick.instrument_token)
        if held > 0:
            yield SignalResult("SELL", 1.0, held, tick.price, "", {"cash": str(portfolio.cash)})
        if tick.price_int % 13 == 0:
            raise ArithmeticError("thirteen")
        yield SignalResult("BUY", 0.8, 1, tick.price, "", order_of(self.calls, tick.last_price))

    def process_bar(self, bar: Bar, history: Any, portfolio: Any) -> SignalResult | None:
        """Buy where little is held."""
        held = portfolio.projected(bar.instrument_token)
        how = {"bar": bar.count, "held": str(held)}
        return SignalResult("BUY", 0.7, 1, bar.close, "", how) if held < 2 else None

    def on_timer(self, timer: Timer, history: Any, portfolio: Any) -> Iterator[SignalResult]:
        """Leave what is held, and fail behind it now and then."""
        self.calls += 1
        held = portfolio.position(timer.instrument_token)
        if held:
            side = "SELL" if held > 0 else "BUY"
            how = {"timer": timer.number, "cash": str(portfolio.cash)}
            yield SignalResult(side, 1.0, abs(held), history[-1].price, "", how)
        if self.calls % 11 == 0:
            raise ArithmeticError("eleven")


MAKERS: Final[tuple[tuple[str, Any, str, tuple[int, ...]], ...]] = (
    ("every_second", lambda: Everything(1), "trades", ()),
    ("every_flat", lambda: Everything(3, "flat"), "trades", (TWO,)),
    ("every_quote", lambda: Everything(2), "quotes", ()),
    ("every_tick", Everything, "trades", (ONE,)),
    ("every_forgets", Forgetful, "trades", ()),
    ("every_forgets_q", Forgetful, "quotes", ()),
    ("every_holds", Holding, "trades", ()),
)


def every_plan() -> tuple[ExecutorPlan, ...]:
    """Return a plan of each, and one whose orders are filled outside."""
    made = []
    for name, make, on, tokens in MAKERS:
        config = StrategyConfig(
            strategy_id=name,
            strategy_type="every",
            parameters=PARAMETERS,
            on=on,
            instrument_tokens=tokens,
        )
        made.append(ExecutorPlan(config, "paper", make))
    outside = StrategyConfig(strategy_id=OUTSIDE, strategy_type="every", parameters=PARAMETERS)
    return (*made, ExecutorPlan(outside, "zerodha", Everything, fills="outside"))


_steps = st.sampled_from((-3 * SECOND_NS, -1, 0, 0, 1, SECOND_NS, 10 * SECOND_NS))
_details = st.one_of(
    st.just(("gap", {})),
    st.just(("heartbeat", {})),
    st.just(("quarantine", {"ts_event": None})),
    st.fixed_dictionaries(
        {
            "risk_mode": st.sampled_from(("DEFENSIVE", "NORMAL", "AGGRESSIVE")),
            "min_confidence": st.sampled_from((0.0, 0.4)),
        }
    ).map(lambda policy: ("policy_changed", policy)),
    st.fixed_dictionaries(
        {
            "side": st.sampled_from(("BUY", "SELL")),
            "quantity": st.integers(1, 5),
            "fill_price": st.sampled_from((99, "100.25", 101.5)),
            "instrument_token": st.sampled_from((ONE, TWO)),
            "strategy_id": st.sampled_from((OUTSIDE, OUTSIDE, "nobody")),
        }
    ).map(lambda fill: ("fill", fill)),
    st.tuples(
        st.sampled_from(
            ("strategy_paused", "strategy_resumed", "strategy_stopped", "strategy_flattened")
        ),
        st.sampled_from(("every_second", "every_holds", "momentum", "nobody")),
        st.sampled_from((None, 1, 5)),  # read of a pause alone
    ).map(lambda asked: (asked[0], {"strategy_id": asked[1], "resume_sec": asked[2]})),
)


@st.composite
def all_events(draw: st.DrawFn, min_ticks: int = 20) -> EventBatch:
    """Draw a stream whose controls are of every kind; a heartbeat may overtake a tick."""
    events = draw(markets(min_ticks=min_ticks))
    controls = []
    for control in events.controls:
        verb, detail = draw(_details)
        detail = dict(detail)
        if verb in ("heartbeat", "fill"):
            detail["ts_event"] = control.ts_recv + draw(_steps)
        if verb == "fill":
            detail |= {"order_id": f"o{control.seq}", "broker": "zerodha", "fees": "0.25"}
        controls.append(msgspec.structs.replace(control, verb=verb, detail=detail))
    return EventBatch(events.ticks, tuple(controls))
