"""StrategyRunnerService and StrategyExecutor: the engine for callers with a loop of their own."""

import datetime as dt
import importlib.util
import shutil
import warnings
from collections import deque
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import parity as pt
from parity.live.inference import shipped_models
from parity.model.effects import DroppedSignal
from parity.model.errors import ConfigError, InputRefused, StrategyWarning, ZoneMissingWarning

DESK = Path(__file__).parents[2] / "lib" / "desk"
AT = dt.datetime(2025, 1, 6, 9, 15, tzinfo=dt.UTC)
TOKEN = 123
MOMENTUM = {
    "id": "momo",
    "strategy_type": "momentum",
    "parameters": {"lookback_periods": 3, "threshold": 0.01, "position_size": 10},
    "brokers": ["paper"],
    "instruments": [TOKEN],
    "enabled": True,
}


def tick(n: int, price: Any, token: int = TOKEN) -> pt.MarketTick:
    """Tick number n, a second each."""
    return pt.MarketTick(
        instrument_token=token, last_price=Decimal(str(price)), timestamp=AT + dt.timedelta(0, n)
    )


def row(name: str, **keys: Any) -> dict[str, Any]:
    """A momentum row of another id."""
    return {**MOMENTUM, "id": name, **keys}


def spoken(service: pt.StrategyRunnerService, prices: list[Any]) -> list[list[Any]]:
    """What each tick's signals are, as a caller prints them."""
    return [
        [(s.signal_type, s.quantity, str(s.price)) for s in service.on_market_tick(tick(n, price))]
        for n, price in enumerate(prices)
    ]


def test_three_kinds_run_through_one_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules, a model and a desk's hybrid in one harness; its naive times are read as UTC, once."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    shutil.copy(shipped_models() / "momentum.onnx", tmp_path / "models")
    for file in DESK.glob("*.py"):
        shutil.copy(file, tmp_path)
    service = pt.StrategyRunnerService(["both.py"])
    service.register_from_config(row("rules"))
    model = {"model_path": "models/momentum.onnx", "position_size": 10, "min_conf": 0.0}
    service.register_from_config(row("model", strategy_type="ml_momentum", parameters=model))
    hybrid = {"lookback_periods": 3, "threshold": 0.01, "position_size": 7, "min_conf": 0.1}
    service.register_from_config(row("hybrid", strategy_type="both", parameters=hybrid))

    begin = dt.datetime(2025, 1, 6, 9, 15)  # noqa: DTZ001 # naive, as datetime.utcnow() gives it
    found: list[Any] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for n in range(40):
            price = Decimal(100) + Decimal(n * n) / 10
            at = begin + dt.timedelta(seconds=n)
            one = pt.MarketTick(instrument_token=TOKEN, last_price=price, timestamp=at)
            found += [(n, s) for s in service.on_market_tick(one)]

    assert {} == service.skipped
    assert {TOKEN: ("rules", "model", "hybrid")} == service.instrument_to_strategies
    assert {"rules", "model", "hybrid"} == {
        one.strategy_id for one in service.report().executors if one.signals
    }
    assert any(s.reasoning == "both agree" and s.metadata["ml"]["quantity"] == 7 for _, s in found)
    assert {ZoneMissingWarning} == {one.category for one in caught}
    assert {__file__} == {one.filename for one in caught}


def test_signals_are_as_a_processor_writes_them() -> None:
    """Strict threshold over the window, Decimal price without padding, an integer quantity."""
    service = pt.StrategyRunnerService()
    service.register_from_config(MOMENTUM)

    assert [
        [],
        [],
        [("BUY", 10, "101.2")],
        [],
        [("BUY", 10, "103.5")],
        [],
        [("SELL", 10, "99.0")],
    ] == (spoken(service, [100, "100.5", "101.2", "100.9", "103.5", 101, 99]))


@settings(max_examples=25)
@given(st.lists(st.integers(90, 110), min_size=1, max_size=60))
def test_it_is_the_engine_of_a_backtest(prices: list[int]) -> None:
    """The same ticks give the signals of the formula, whoever else is registered."""
    alone, crowded = pt.StrategyRunnerService(), pt.StrategyRunnerService()
    alone.register_from_config(MOMENTUM)
    for n in range(5):
        crowded.register_from_config(row(f"other{n}", instruments=[TOKEN, 7], parameters={
            "lookback_periods": n + 2, "threshold": 0.0, "position_size": 1}))  # fmt: skip
    crowded.register_from_config(MOMENTUM)
    window: deque[int] = deque(maxlen=3)
    for n, price in enumerate(prices):
        window.append(price)
        one = alone.on_market_tick(tick(n, price))
        crowded.on_market_tick(tick(n, price))
        change = (price - window[0]) / window[0] if len(window) == 3 else 0.0
        side = "BUY" if change > 0.01 else "SELL" if change < -0.01 else None
        assert [side] * (side is not None) == [s.signal_type for s in one]
    mine = next(e for e in crowded.report().executors if e.strategy_id == "momo")
    assert alone.report().executors[0] == mine


def test_a_tick_reaches_those_that_want_it() -> None:
    """A thousand ticks over a hundred strategies: no error, no cross-talk, nobody else's ticks."""
    service, lonely = pt.StrategyRunnerService(), pt.StrategyRunnerService()
    for n in range(100):
        parameters = {"lookback_periods": 2 + n % 7, "threshold": 0.0, "position_size": n + 1}
        one = row(f"s{n:02}", instruments=[1 + n % 10], parameters=parameters)
        service.register_from_config(one)
        if n == 37:
            lonely.register_from_config(one)
    for n in range(1_000):
        one = tick(n, 100 + (n * n) % 17, token=1 + n % 10)
        said = service.on_market_tick(one)
        assert {s.quantity % 10 for s in said} <= {(one.instrument_token) % 10}
        lonely.on_market_tick(one)

    assert all(10 == len(ids) for ids in service.instrument_to_strategies.values())
    reports = {e.strategy_id: e for e in service.report().executors}
    assert reports["s37"] == lonely.report().executors[0]
    assert all(e.errors == 0 and e.signals > 10 for e in reports.values())
    assert 100 == lonely.report().ticks  # the other instruments' never entered its engine


def test_a_strategy_may_come_later() -> None:
    """Registered between two ticks it begins cold; the others' bytes do not change."""
    early, both = pt.StrategyRunnerService(), pt.StrategyRunnerService()
    for one in (early, both):
        one.register_from_config(MOMENTUM)
    prices = [100, 102, 104, 106, 108, 110]
    for n, price in enumerate(prices):
        if n == 2:
            both.register_from_config(row("late"))
        early.on_market_tick(tick(n, price))
        said = both.on_market_tick(tick(n, price))
        assert (n >= 4) + (n >= 2) == len(said)

    assert early.report().executors[0] == both.report().executors[1]
    with pytest.raises(ConfigError, match="instrument 9 is not in the table"):
        both.register_from_config(row("later", instruments=[9]))
    with pytest.raises(ConfigError, match="registered already"):
        both.register_from_config(row("late"))
    assert {TOKEN: ("momo", "late")} == both.instrument_to_strategies


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"strategy_type": "momentun"}, "did you mean 'momentum'"),
        ({"instruments": []}, "row bad: instruments: expected a list"),
        ({"instruments": "all"}, "all of which"),
        ({"parameters": {"threshold": "1%"}}, "parameters.threshold: expected a number"),
        ({"brokers": ["nyse"]}, "brokers"),
    ],
)
def test_a_wrong_row_registers_nothing(keys: dict[str, Any], words: str) -> None:
    """It is refused by key and value, and the service is as it was."""
    service = pt.StrategyRunnerService()
    with pytest.raises(ConfigError, match=words):
        service.register_from_config(row("bad", **keys))

    assert {} == service.instrument_to_strategies
    assert [] == service.on_market_tick(tick(0, 1))


def test_what_is_left_out_is_said() -> None:
    """A disabled row is silent, a model that is not there warns; both stand in `skipped`."""
    service = pt.StrategyRunnerService()
    service.register_from_config(row("off", enabled=False))
    with pytest.warns(StrategyWarning, match="strategy blind is skipped: .*nowhere.onnx"):
        service.register_from_config(
            row("blind", strategy_type="ml_momentum", parameters={"model_path": "nowhere.onnx"})
        )

    assert ["off", "blind"] == list(service.skipped)
    assert {} == service.instrument_to_strategies


def test_limits_act_and_their_drops_are_there() -> None:
    """A cooldown drops the next signal; `effects` has it with its reason."""
    service = pt.StrategyRunnerService()
    given = {**MOMENTUM["parameters"], "risk": {"cooldown_sec": 60}}  # type: ignore[dict-item] # a mapping of plain values
    service.register_from_config(row("calm", parameters=given))
    found = spoken(service, [100, 102, 104, 106])

    assert [0, 0, 1, 0] == [len(said) for said in found]
    (drop,) = [e for e in service.effects if isinstance(e, DroppedSignal)]
    assert "cooldown" == drop.reason


def test_one_file_may_be_named_alone() -> None:
    """A path that is no list is one file, not its letters; one that is not there is named whole."""
    service = pt.StrategyRunnerService("nosuch.py")

    with pytest.raises(ConfigError, match=r"^nosuch\.py: no such file"):
        service.register_from_config({"id": "a", "strategy_type": "momentum", "instruments": [1]})


def test_what_does_not_fit_is_refused() -> None:
    """More decimals than the instrument has, or no tick at all; nothing enters the engine."""
    service = pt.StrategyRunnerService()
    service.register_from_config(MOMENTUM)
    with pytest.raises(InputRefused, match=r"last_price of 123: 1\.0+1 is finer than 8"):
        service.on_market_tick(tick(0, "1.000000001"))
    with pytest.raises(ConfigError, match="no tick came yet"):
        pt.StrategyRunnerService().report()

    assert 0 == service.report().ticks


class Counting:
    """Signals at every third tick; raises at a price of 13."""

    def __init__(self) -> None:
        self.count = 0

    def get_required_history_length(self) -> int:
        """Two."""
        return 2

    def supports_instrument(self, token: int) -> bool:
        """Not 666."""
        return token != 666

    def get_strategy_name(self) -> str:
        """Its name."""
        return "counting"

    def process_tick(self, tick: pt.MarketTick, history: Any) -> pt.SignalResult | None:
        """Count."""
        if tick.last_price == 13:
            raise ValueError("thirteen")
        self.count += 1
        if self.count % 3:
            return None
        return pt.SignalResult("BUY", 0.5, self.count, tick.last_price, "third", {"n": self.count})


class Strict:
    """A validator as older code has it."""

    def validate(self, signal: Any, tick: Any, history: Any) -> Any:
        """Refuse every second one."""
        assert isinstance(history, list)
        assert signal.price == tick.last_price == history[-1].last_price
        return None if signal.quantity % 2 == 0 else signal


def config(**keys: Any) -> pt.StrategyConfig:
    """A configuration in the order and with the types of older code."""
    given = {"parameters": {}, "active_brokers": ["paper"], "instrument_tokens": [TOKEN],
             "max_position_size": Decimal(0), "risk_multiplier": Decimal(1), **keys}  # fmt: skip
    return pt.StrategyConfig("s", "counting", *given.values())


CONTEXT = pt.ExecutionContext("paper", {}, "regular", {})


def test_an_executor_hosts_one_processor() -> None:
    """It is the processor itself that is asked, once its history is full; the validator decides."""
    own = Counting()
    executor = pt.StrategyExecutor(
        processor=own, validator=Strict(), config=config(), context=CONTEXT
    )
    said = [executor.on_tick(tick(n, 100 + n)) for n in range(13)]

    assert own is executor.processor
    assert 12 == own.count
    assert {3: 3, 9: 9} == {n: s.quantity for n, s in enumerate(said) if s is not None}
    assert Decimal(103) == said[3].price  # type: ignore[union-attr] # seen above
    assert executor.on_tick(tick(20, 1, token=9)) is None
    assert pt.StrategyExecutor(Counting()).on_tick(tick(0, 1, token=666)) is None


def test_an_executor_goes_on_after_an_exception() -> None:
    """The tick is skipped, with a warning, and the processor begins anew, as in any run."""
    executor = pt.StrategyExecutor(Counting(), config=config())
    with pytest.warns(StrategyWarning, match="strategy s failed at tick 5: ValueError: thirteen"):
        said = [executor.on_tick(tick(n, 13 if n == 4 else 100)) for n in range(10)]

    assert [3, 8] == [n for n, s in enumerate(said) if s is not None]


def test_limits_of_an_executor_act() -> None:
    """From the configuration, beside the parameters or in `risk`, and from the context."""

    def signals(**keys: Any) -> int:
        context = keys.pop("context", CONTEXT)
        executor = pt.StrategyExecutor(Counting(), config=config(**keys), context=context)
        return sum(executor.on_tick(tick(n, 100)) is not None for n in range(13))

    assert 4 == signals()
    assert 0 == signals(parameters={"min_confidence": 0.6})
    assert 2 == signals(parameters={"max_quantity": 6})
    assert 1 == signals(context=pt.ExecutionContext(risk_limits={"cooldown_sec": 60}))
    assert 4 == signals(risk_multiplier=Decimal(3))
    off = pt.StrategyExecutor(
        Counting(), config=pt.StrategyConfig("s", "c", enabled=False), context=CONTEXT
    )
    assert [None] * 9 == [off.on_tick(tick(n, 100)) for n in range(9)]
    with pytest.raises(ConfigError, match=r"context\.market_session: 'closed'"):
        pt.StrategyExecutor(Counting(), context=pt.ExecutionContext(market_session="closed"))


def test_a_processor_of_a_file_runs_the_same_by_hand(tmp_path: Path) -> None:
    """A desk's class in an executor says what the formula says at each tick."""
    spec = importlib.util.spec_from_file_location("rising", DESK / "rising.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    executor = pt.StrategyExecutor(module.RisingProcessor(2, 0.01, 5))
    said = [executor.on_tick(tick(n, p)) for n, p in enumerate([100, 102, 102, 99])]

    assert [None, "BUY", None, "SELL"] == [s and s.signal_type for s in said]


def test_a_decorated_function_is_hosted_too() -> None:
    """With its parameters; what has none of a processor's methods is refused by their names."""

    @pt.strategy("dip", history=2)
    def dip(tick: Any, history: Any, *, drop: float = 0.5) -> pt.SignalResult | None:
        fell = 1 - tick.price / history.price[0] > drop
        return pt.SignalResult("BUY", 0.5, 1, tick.price) if fell else None

    executor = pt.StrategyExecutor(dip(drop=0.01))
    said = [executor.on_tick(tick(n, p)) for n, p in enumerate([100, 98, 97.9])]

    assert [None, "BUY", None] == [s and s.signal_type for s in said]
    with pytest.raises(ConfigError, match="a dict without process_tick"):
        pt.StrategyExecutor({})


def test_a_decision_says_long_or_short() -> None:
    """BUY becomes LONG in one place; what is no decision is refused by its field."""
    given = {"symbol": "BTC", "size_usd": 10.0, "confidence": 0.5, "strategy_id": "s",
             "entry_price": 1.0, "timestamp": AT}  # fmt: skip

    assert "LONG" == pt.TradeDecision(side="BUY", **given).side
    assert "SHORT" == pt.TradeDecision(side="SHORT", **given).side
    for wrong in ({"side": "up"}, {"confidence": 2}, {"size_usd": 0}, {"entry_price": -1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            pt.TradeDecision(**{"side": "LONG", **given, **wrong})
