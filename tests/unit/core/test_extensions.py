"""What strategies see of extension columns: equal in both tiers, batchings, after a restart."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity import codegen
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model import ticks as flag
from parity.model.errors import ConfigError, KernelError
from parity.model.events import EventBatch
from parity.model.extensions import Extension
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.kernel import KernelStrategy, out_dtype
from parity.model.ticks import TickBatch
from parity.model.values import SignalResult, StrategyConfig
from parity.testing.generators import START_NS

if TYPE_CHECKING:
    from parity.model.values import MarketTick

TABLE = InstrumentTable(
    [
        Instrument(token=101, symbol="ONE", price_scale=2, quantity_scale=3),
        Instrument(token=202, symbol="TWO", price_scale=1, quantity_scale=0),
    ],
    [
        Extension("unread", "integer"),
        Extension("average_price", "price"),
        Extension("total_buy_quantity", "quantity"),
        Extension("last_trade_time", "integer"),
        Extension("conditions", "text", ("halt", "open")),
    ],
)
READ = ("average_price", "last_trade_time", "conditions")


class Watcher:
    """Says BUY at every tick, and in the metadata what it saw of the extensions."""

    extensions = READ

    def get_required_history_length(self) -> int:
        """Two ticks."""
        return 2

    def supports_instrument(self, token: int) -> bool:
        """Every one."""
        return True

    def get_strategy_name(self) -> str:
        """Return its name."""
        return "watcher"

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult:
        """Speak of this tick."""
        average, conditions = tick.extension("average_price"), tick.extension("conditions")
        before = history.column("average_price_int")[-2]
        seen = {
            "average": 0.0 if average is None else average,
            "average_int": tick.extension_int("average_price") or 0,
            "there": int(average is not None),
            "time": tick.extension("last_trade_time") or 0,
            "open": int(conditions == "open"),
        }
        assert history[-2].extension_int("average_price") in (None, before)
        return SignalResult("BUY", 0.5, 1, 1.0, "", seen)


def step(
    state: Any, params: Any, out: Any, average: float, whole: int, there: bool, at: int, word: int,
    said: bool,
) -> int:  # fmt: skip
    """Say the same, from columns."""
    out.side = 1
    out.confidence = 0.5
    out.quantity = 1.0
    out.price = 1.0
    out.average = average
    out.average_int = whole
    out.there = 1 if there else 0
    out.time = at
    out.open = 1 if said and word == 1 else 0
    return 1


EXTRAS = ("average", "average_int", "there", "time", "open")


def described(candidate: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Give the extras as metadata."""
    return "", {name: candidate[name] for name in EXTRAS}


def kernel(**changed: Any) -> KernelStrategy:
    """Return the watching kernel."""
    given: dict[str, Any] = {
        "columns": (
            "average_price",
            "average_price_int",
            "has_average_price",
            "last_trade_time_int",
            "conditions_int",
            "has_conditions",
        ),
        "extensions": READ,
    }
    return KernelStrategy(
        name="watcher",
        step=step,
        state=np.dtype([("spare", "i8")], align=True),
        params=np.array((0,), np.dtype([("spare", "i8")], align=True)),
        out=out_dtype(*[(n, "f8" if n == "average" else "i8") for n in EXTRAS]),
        history=2,
        describe=described,
        **(given | changed),
    )


def plan(build: Any, driver: Any = None) -> ExecutorPlan:
    """Return a plan; one name for both tiers, so that their digests can be held side by side."""
    config = StrategyConfig(strategy_id="watcher", strategy_type="watcher")
    return ExecutorPlan(config, "paper", build, driver)


@pytest.fixture(scope="module")
def driver() -> Any:
    """The kernel, compiled."""
    return codegen.build(kernel(), boundscheck=True)


@st.composite
def ticks_of(draw: st.DrawFn) -> Any:
    """Records of two instruments, with extensions there or not."""
    count = draw(st.integers(1, 40))
    records = np.zeros(count, TABLE.tick_dtype)
    records["seq"] = np.arange(1, count + 1)
    records["ts_event"] = START_NS + np.arange(count)
    records["flags"] = flag.TRADE | flag.NO_TRADE_ID
    records["price_int"], records["quantity_int"] = 100, 1
    for row in range(count):
        records["instrument_token"][row] = draw(st.sampled_from([101, 202]))
        for name, bit in TABLE.columns.bits.items():
            if draw(st.booleans()):
                records["present"][row] |= np.uint64(bit)
                word = name == "conditions"
                values = st.integers(0, 1) if word else st.integers(-(10**15), 10**15)
                records[name][row] = draw(values)
    return records


def batch_of(records: Any, columns: list[str] | None = None) -> EventBatch:
    """Return a batch, of some columns only where they are named."""
    ticks = TickBatch.from_records(records, TABLE)
    if columns is not None:
        known = TABLE.columns
        names = known.with_present({known.sources.get(n, n) for n in columns})
        held = {n: ticks.column(n).copy() for n in names}
        held["present"] &= np.uint64(known.mask_of(names))
        ticks = TickBatch(held, TABLE)
    return EventBatch(ticks, ())


@given(records=ticks_of(), cut=st.integers(0, 40))
@settings(max_examples=30, deadline=None)
def test_both_tiers_see_the_same(driver: Any, records: Any, cut: int) -> None:
    """One digest: processor, kernel, kernel over a projection, batch by batch, after a restart."""
    digests = set()
    always = ["seq", "ts_event", "instrument_token", "flags", "price_int", "bid_int", "ask_int"]
    for own, columns in (
        (plan(Watcher), None),
        (plan(kernel, driver), None),
        (plan(kernel, driver), [*always, *kernel().columns]),
    ):
        whole = Engine(TABLE, [own])
        whole.process(batch_of(records, columns))
        first = Engine(TABLE, [own])
        first.process(batch_of(records[:cut], columns)) if cut else None
        second = Engine(TABLE, [own])
        second.restore(first.snapshot())
        if cut < len(records):
            second.process(batch_of(records[cut:], columns))
        for engine in (whole, second):
            report = engine.report()
            assert report.executors[0].errors == 0
            digests.add((report.executors[0].candidates, report.candidate_digest))

    assert len(digests) == 1


def test_an_interpreted_kernel_sees_the_same(driver: Any) -> None:
    """The plain Python reference gives the compiled driver's digest."""
    records = np.zeros(3, TABLE.tick_dtype)
    records["seq"], records["ts_event"] = (1, 2, 3), START_NS
    records["instrument_token"], records["flags"] = 101, flag.TRADE
    records["present"] = (0b10, 0, 0b11010)
    records["average_price_int"], records["conditions"] = (-5, 0, 12), (0, 0, 1)

    reports = []
    for one in (driver, codegen.Interpreter(kernel())):
        engine = Engine(TABLE, [plan(kernel, one)])
        engine.process(batch_of(records))
        reports.append(engine.report().candidate_digest)

    assert reports[0] == reports[1]


def test_a_tick_gives_floats_integers_words_and_exact_values() -> None:
    """Each kind in its own type, None where it is absent, exact beside the float."""
    records = np.zeros(2, TABLE.tick_dtype)
    records["instrument_token"], records["flags"] = (101, 202), flag.TRADE
    records["present"] = (0b11110, 0)
    records["average_price_int"], records["total_buy_quantity_int"] = (-105, 0), (1500, 0)
    records["last_trade_time"], records["conditions"] = (2**62 + 1, 0), (1, 0)
    engine_ticks: list[MarketTick] = []

    class Keeper(Watcher):
        def process_tick(self, tick: MarketTick, history: Any) -> Any:
            """Keep it."""
            engine_ticks.append(tick)

    records["seq"], records["ts_event"] = (1, 2), START_NS
    engine = Engine(TABLE, [plan(Keeper)])
    records["instrument_token"] = 101
    engine.process(batch_of(records[:1]))
    records["seq"] = (1, 2)
    engine.process(batch_of(records[1:]))
    (absent,) = engine_ticks  # the history is two ticks long

    assert [absent.extension(n) for n in ("average_price", "last_trade_time", "conditions")] == [
        None,
        None,
        None,
    ]
    assert absent.extension_exact("average_price") is None
    there = TickBatch.from_records(records, TABLE)
    from parity.core.history import market_ticks

    tick = market_ticks(there)[0]
    assert tick.extension("average_price") == -1.05
    assert tick.extension_int("average_price") == -105
    assert tick.extension_exact("average_price") == Decimal("-1.05")
    assert tick.extension_exact("total_buy_quantity") == Decimal("1.500")
    assert tick.extension("last_trade_time") == 2**62 + 1
    assert tick.extension_exact("last_trade_time") == 2**62 + 1
    assert (tick.extension("conditions"), tick.extension_int("conditions")) == ("open", 1)
    with pytest.raises(ConfigError, match="conditions' is text"):
        tick.extension_exact("conditions")
    with pytest.raises(ConfigError, match=r"'avrage_price' .* did you mean 'average_price'"):
        tick.extension("avrage_price")


def test_what_a_strategy_cannot_have_is_refused_at_the_start(driver: Any) -> None:
    """A recording without the column, or a kernel that would round an integer."""
    bare = InstrumentTable(TABLE)
    for own in (plan(Watcher), plan(kernel, driver)):
        with pytest.raises(ConfigError, match="strategy watcher: extension column 'average_price'"):
            Engine(bare, [own])
    near = InstrumentTable(TABLE, [Extension("average_prices", "price")])
    with pytest.raises(ConfigError, match="did you mean 'average_prices'"):
        Engine(near, [plan(Watcher)])

    def rounded() -> KernelStrategy:
        return kernel(columns=("last_trade_time",))

    with pytest.raises(ConfigError, match="declare last_trade_time_int in its columns"):
        Engine(TABLE, [plan(rounded, driver)])
    with pytest.raises(KernelError, match="'turnover' is not a tick column"):
        kernel(columns=("turnover",))
