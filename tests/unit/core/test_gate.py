"""The gate in the engine: what validators remember, per instrument and in the decide clock."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model.effects import ApprovedSignal, DroppedSignal, Fill
from parity.model.events import Control
from parity.model.values import SignalResult, StrategyConfig
from parity.publishers.envelope import encode_signal
from parity.testing.generators import ONE, SECOND_NS, START_NS, TABLE, TWO, cut, dummy_batch

D = Decimal


class Script:
    """Says what stands in a list, tick by tick: a side, or (side, quantity, more)."""

    def __init__(self, says: Sequence[Any]) -> None:
        self._says = [[say, 1] if isinstance(say, str) else list(say) for say in says]
        self.at = 0

    def get_required_history_length(self) -> int:
        """Return 1."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "script"

    def process_tick(self, tick: Any, history: Any) -> SignalResult | None:
        """Say the next line."""
        side, quantity, *more = self._says[self.at]
        self.at += 1
        return SignalResult(side, 0.5, quantity, tick.price, "", *more) if side else None

    def snapshot(self) -> dict[str, int]:
        """Return the place in the list."""
        return {"at": self.at}

    def restore(self, state: dict[str, int]) -> None:
        """Take it back."""
        self.at = state["at"]


def told(
    says: Sequence[Any],
    risk: dict[str, Any] | None = None,
    *,
    size: int = 100,
    at_s: Sequence[int] | None = None,
    controls: Sequence[Control] = (),
    paper: dict[str, Any] | None = None,
    row: dict[str, Any] | None = None,
    **columns: Any,
) -> tuple[list[Any], Engine]:
    """Run a script with limits; return effects and engine, cut and restored at every `size`."""
    config = StrategyConfig(
        strategy_id="script",
        strategy_type="script",
        parameters={"risk": risk or {}, "paper": paper or {"allow_short": True}},
        **(row or {}),
    )
    plans = [ExecutorPlan(config, "paper", lambda: Script(says))]
    if at_s is not None:
        columns["ts_event"] = [START_NS + s * SECOND_NS for s in at_s]
    events = dummy_batch(len(says), controls=controls, **columns)
    engine = Engine(TABLE, plans)
    effects: list[Any] = []
    for batch in cut(events, [size] * len(says)):
        effects += engine.process(batch)
        fresh = Engine(TABLE, plans)  # a checkpoint at every cut
        fresh.restore(engine.snapshot())
        assert fresh.snapshot() == engine.snapshot()
        engine = fresh
    return effects, engine


def verdicts(effects: Sequence[Any]) -> list[str]:
    """Return a word for each candidate: ok, or the reason."""
    kinds = ApprovedSignal | DroppedSignal
    return [getattr(e, "reason", "ok") for e in effects if isinstance(e, kinds)]


SIZES = pytest.mark.parametrize("size", [1, 3, 100])


@SIZES
def test_cooldowns_are_per_instrument_and_by_the_decide_clock(size: int) -> None:
    """Each token has its own; a late tick is judged at the time the executor has reached."""
    at = [0, 1, 4, 5, 9, 10, 7, 14, 15]
    token = [ONE, TWO, ONE, ONE, TWO, ONE, TWO, TWO, ONE]
    effects, _ = told(["BUY"] * 9, {"cooldown_sec": 5}, size=size, at_s=at, instrument_token=token)
    approved = [e.candidate.seq for e in effects if isinstance(e, ApprovedSignal)]
    dropped = [
        (e.candidate.seq, e.reason, json.loads(e.seen))
        for e in effects
        if isinstance(e, DroppedSignal)
    ]

    assert [1, 2, 4, 5, 6, 8, 9] == approved  # the late tick 7 is judged at 10 s, not at 7 s
    assert dropped == [
        (3, "cooldown", {"age_ns": 4 * SECOND_NS, "cooldown_ns": 5 * SECOND_NS}),
        (7, "cooldown", {"age_ns": SECOND_NS, "cooldown_ns": 5 * SECOND_NS}),
    ]


@SIZES
def test_a_close_waits_for_no_cooldown(size: int) -> None:
    """A strategy that says CLOSE, and any one with the limit, leaves; opening waits."""
    leave = ("SELL", 1, {"action": "CLOSE"})
    says = ["BUY", None, leave, leave, "SELL"]
    risk = {"cooldown_sec": 60}
    by_word, _ = told([s or ("", 0) for s in says], risk, size=size)
    plain, _ = told(
        ["BUY", ("", 0), "SELL", "SELL"], {**risk, "cooldown_opens_only": True}, size=size
    )

    assert ["ok", "ok", "cooldown", "cooldown"] == verdicts(by_word)  # the second one would open
    assert ["ok", "ok", "cooldown"] == verdicts(plain)


@SIZES
def test_quantities_are_scaled_and_cut_exactly(size: int) -> None:
    """The candidate stays what was said; the order is its multiple, cut to the position's room."""
    row = {"risk_multiplier": D("0.3"), "max_position_size": D("1")}
    effects, engine = told(
        [("BUY", 1), ("BUY", 1.1), ("BUY", 2), ("BUY", 1), ("SELL", 10)], row=row, size=size
    )
    approved = [e for e in effects if isinstance(e, ApprovedSignal)]
    filled = [e.quantity for e in effects if isinstance(e, Fill)]

    assert ["ok", "ok", "ok", "max_position_size", "ok"] == verdicts(effects)
    assert [D("0.3"), D("0.33"), D("0.37"), D(2)] == [e.quantity_exact for e in approved]
    assert [1.0, 1.1, 2.0, 10.0] == [e.candidate.quantity for e in approved]
    assert filled == [D("0.3"), D("0.33"), D("0.37")]  # the last one waits for a tick
    assert engine.executors[0].broker.projected(ONE) == D(-1)
    assert b'"quantity":2' in encode_signal(approved[-1], "run")


def test_only_another_quantity_enters_the_record() -> None:
    """Where no limit acts, records are the bytes they always were."""
    plain, _ = told([("BUY", 2), ("BUY", 2)])
    capped, _ = told([("BUY", 2), ("BUY", 2)], row={"max_position_size": D(3)})
    a = [e.record for e in plain if isinstance(e, ApprovedSignal)]
    b = [e.record for e in capped if isinstance(e, ApprovedSignal)]

    assert a[0] == b[0]
    assert a[1] != b[1]
    assert b[1].startswith(a[1])


def test_what_cannot_be_exact_is_dropped() -> None:
    """A quantity of more digits than money has is no order, and no error."""
    effects, _ = told([("BUY", D("0." + "3" * 300))], row={"risk_multiplier": D("0.5")})
    scaled, _ = told([("BUY", 1e9)], row={"risk_multiplier": D("1.1")})

    assert ["not_exact"] == verdicts(effects)
    assert ["max_quantity"] == verdicts(scaled)


@SIZES
def test_positions_turn_only_after_the_guard(size: int) -> None:
    """From long to short in one step or in two; leaving passes."""
    says = ["BUY", ("SELL", 2), "SELL", "SELL", ("SELL", 1), "BUY"]
    effects, _ = told(says, {"position_guard_sec": 10}, at_s=[0, 1, 2, 3, 10, 11], size=size)

    assert ["ok", "position_guard", "ok", "position_guard", "ok", "ok"] == verdicts(effects)


@SIZES
@pytest.mark.parametrize(("short", "last"), [(False, "ok"), (True, "position_guard")])
def test_a_short_sale_that_is_sure_to_be_refused_starts_no_guard(
    size: int, short: bool, last: str
) -> None:
    """From flat and past what is held; where selling short is allowed it takes the side."""
    paper, risk = {"allow_short": short}, {"position_guard_sec": 10}
    flat, _ = told(["SELL", ("BUY", 2)], risk, at_s=[0, 1], paper=paper, size=size)
    says = ["BUY", ("SELL", 2), ("BUY", 2)]
    turned, _ = told(says, risk, at_s=[0, 10, 11], paper=paper, size=size)

    assert ["ok", last] == verdicts(flat)
    assert ["ok", "ok", last] == verdicts(turned)


@SIZES
def test_a_bar_begins_with_its_first_tick(size: int) -> None:
    """The move counts from the bar's open; a late tick opens none; the next bar begins anew."""
    prices = [100_00, 101_00, 101_01, 99_00, 98_99, 150_00, 97_00, 151_50, 151_51]
    at = [0, 1, 2, 3, 59, 60, 58, 61, 119]
    effects, _ = told(["BUY"] * 9, {"price_band": 0.01}, at_s=at, price_int=prices, size=size)
    band = "price_band"

    assert verdicts(effects) == ["ok", "ok", band, "ok", band, "ok", band, "ok", band]
    assert next(json.loads(e.seen) for e in effects if isinstance(e, DroppedSignal)) == {
        "price": "101.01",
        "bar_open": "100.00",
        "price_band": "0.01",
    }


@SIZES
def test_exposure_is_that_of_all_instruments(size: int) -> None:
    """Positions and pending orders count at the last prices; what lessens it passes."""
    token = [ONE, TWO, ONE, TWO, TWO, ONE]
    says = ["BUY", "BUY", "BUY", ("SELL", 2), "BUY", ("BUY", 3)]
    prices = [100_00, 50_0, 100_00, 50_0, 50_0, 100_00]
    effects, _ = told(
        says, {"max_exposure": 200}, instrument_token=token, price_int=prices, size=size
    )

    # 100; 150; 250 is too much; 150 - 100 = 50; 100; 100 + 300 is too much
    assert ["ok", "ok", "max_exposure", "ok", "ok", "max_exposure"] == verdicts(effects)


@SIZES
def test_so_many_instruments_at_once(size: int) -> None:
    """A second instrument waits until the first one is left."""
    token = [ONE, TWO, ONE, ONE, TWO, TWO]
    says = ["BUY", "BUY", "BUY", ("SELL", 2), "BUY", "SELL"]
    effects, _ = told(says, {"max_concurrent_signals": 1}, instrument_token=token, size=size)

    assert ["ok", "max_concurrent_signals", "ok", "ok", "ok", "ok"] == verdicts(effects)


@SIZES
@pytest.mark.parametrize("pause", [False, True])
def test_losses_in_a_row_stop_what_opens(size: int, pause: bool) -> None:
    """Trades are counted from flat to flat, with their costs; a win, or the pause, begins anew."""
    price = [100_00, 100_00, 99_00, 99_00, 98_00, 98_00, 98_00, 98_00, 98_00, 98_00]
    says = ["BUY", "SELL", "BUY", ("SELL", 1), "BUY", "BUY", "SELL", "BUY", "SELL", "BUY"]
    # fills at the next tick: +100 -99, +99 -98, then two trades lost in a row at 4 s
    at = [0, 1, 2, 3, 4, 13, 14, 15, 16, 17]
    risk: dict[str, Any] = {"loss_streak_max": 2}
    if pause:
        risk["loss_streak_pause_sec"] = 9
    effects, _ = told(says, risk, price_int=price, at_s=at, size=size)
    stop = "circuit_breaker"

    if pause:  # at 13 s it begins anew: one loss at 15 s, one at 17 s stop it again
        assert verdicts(effects) == ["ok"] * 4 + [stop] + ["ok"] * 4 + [stop]
    else:
        assert verdicts(effects) == ["ok"] * 4 + [stop] * 6


@SIZES
def test_a_win_ends_a_streak(size: int) -> None:
    """Only losses in a row count."""
    price = [100_00, 100_00, 90_00, 90_00, 95_00, 95_00, 80_00, 80_00, 80_00]
    says = ["BUY", "SELL", "BUY", "SELL", "BUY", "SELL", "BUY", ("SELL", 2), "BUY"]
    effects, engine = told(says, {"loss_streak_max": 2}, price_int=price, size=size)

    assert ["ok"] * 9 == verdicts(effects)
    streaks = engine.snapshot()["executors"][0]["gate"]["past"]["losses"]
    assert 2 == streaks[str(ONE)][0]  # 95 -> 80, and 80 -> 80 less its costs


@SIZES
def test_what_says_the_same_is_one(size: int) -> None:
    """Side, price level and time make the key; no pair slips over the edge of a time bucket."""
    at = [4, 6, 8, 9, 9, 9, 14]
    price = [100_00, 100_04, 100_00, 100_00, 100_05, 100_00, 100_00]
    says = ["BUY", "BUY", "SELL", "BUY", "BUY", "BUY", "BUY"]
    effects, _ = told(
        says,
        {"duplicate_sec": 5, "duplicate_price_step": 0.05},
        at_s=at,
        price_int=price,
        size=size,
    )
    exact, _ = told(says[:2], {"duplicate_sec": 5}, at_s=at[:2], price_int=price[:2], size=size)

    # 6 s: bucket 1, 100.04 is on the level of 100.00, said at 4 s in bucket 0
    assert ["ok", "duplicate", "ok", "ok", "ok", "duplicate", "ok"] == verdicts(effects)
    assert ["ok", "ok"] == verdicts(exact)


@SIZES
def test_rates_are_the_executors(size: int) -> None:
    """Over all instruments, in the decide clock, counting approved signals only."""
    at = [0, 10, 20, 30, 60, 69, 70]
    token = [ONE, TWO, ONE, TWO, ONE, TWO, ONE]
    columns = {"at_s": at, "instrument_token": token, "size": size}
    minute, _ = told(["BUY"] * 7, {"max_signals_per_minute": 2}, **columns)
    apart, _ = told(["BUY"] * 7, {"min_signal_interval_ms": 20_000}, **columns)
    per_minute, interval = "max_signals_per_minute", "min_signal_interval"

    assert verdicts(minute) == ["ok", "ok", per_minute, per_minute, "ok", per_minute, "ok"]
    assert verdicts(apart) == ["ok", interval, "ok", interval, "ok", interval, interval]


@SIZES
def test_a_day_ends_at_midnight_utc(size: int) -> None:
    """The count of the day begins anew there."""
    midnight = 15 * 3600  # START_NS is 09:00
    at = [0, 1, 2, midnight - 1, midnight, midnight + 1, midnight + 2]
    effects, _ = told(["BUY"] * 7, {"max_signals_per_day": 2}, at_s=at, size=size)
    full = "max_signals_per_day"

    assert ["ok", "ok", full, full, "ok", "ok", full] == verdicts(effects)


@SIZES
def test_the_policy_comes_as_a_control(size: int) -> None:
    """It acts from its place in the order of events, on every executor, and comes back."""

    def changed(seq: int, **detail: Any) -> Control:
        return Control(seq=seq, ts_recv=START_NS, verb="policy_changed", detail=detail)

    controls = [
        changed(2, min_confidence=0.51),
        changed(4, allowed_strategies=["other"]),
        changed(6, risk_mode="DEFENSIVE"),
        changed(8),
    ]
    effects, engine = told(
        ["BUY"] * 5,
        {"risk_modes": ["NORMAL"]},
        size=size,
        controls=controls,
        seq=[1, 3, 5, 7, 9],
    )

    assert ["ok", "min_confidence", "not_allowed", "risk_mode", "ok"] == verdicts(effects)
    assert {"policy_changed": 4} == engine.report().controls
