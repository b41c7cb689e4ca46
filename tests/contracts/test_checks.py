"""The checks themselves: each finds the fault that it is for, and names tick and values."""

import re
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

import parity as pt
from parity.core.executor import ExecutorPlan
from parity.model.bars import Bars
from parity.model.kernel import KernelStrategy, out_dtype
from parity.model.values import StrategyConfig
from parity.testing.checks import CHECKS, CheckFailed, broken, check_strategy, synthetic_market

LOUD = 7  # every so many ticks a processor here speaks


class Honest:
    """Speaks at every seventh tick; its faults are planted in subclasses."""

    length: Any = 5

    def __init__(self, size: float = 1.0) -> None:
        self.size = size
        self.count = 0

    def get_required_history_length(self) -> Any:
        """Its window."""
        return self.length

    def supports_instrument(self, token: int) -> Any:
        """Any."""
        return True

    def get_strategy_name(self) -> str:
        """Its name."""
        return "honest"

    def process_tick(self, tick: Any, history: Any) -> pt.SignalResult | None:
        """Count and speak."""
        self.count += 1
        if self.count % LOUD:
            return None
        return pt.SignalResult("BUY", 0.5, self.size, tick.price + self.more(tick, history), "said")

    def more(self, tick: Any, history: Any) -> float:
        """What a faulty one adds to the price."""
        return 0.0


class Raises(Honest):
    """Looks further back than it said."""

    def more(self, tick: Any, history: Any) -> float:
        """Reach."""
        return float(history[-6].price)


class Grows(Honest):
    """Wants more and more."""

    def get_required_history_length(self) -> int:
        """More."""
        return 5 + self.count // 100


class Empty(Honest):
    """Wants nothing."""

    length = 0


class Fickle(Honest):
    """Supports by mood."""

    def supports_instrument(self, token: int) -> bool:
        """By its count."""
        return self.count < 100


class Leaks(Honest):
    """Keeps a number in the class, which outlives a run."""

    calls: ClassVar = [0]

    def more(self, tick: Any, history: Any) -> float:
        """Count all there ever were."""
        self.calls[0] += 1
        return float(self.calls[0])


class Peeks(Honest):
    """Reads the batch that its tick came in."""

    def more(self, tick: Any, history: Any) -> float:
        """The last price of it."""
        return float(tick._batch.column("price")[-1])


class Mutates(Honest):
    """Writes into the ticks."""

    def more(self, tick: Any, history: Any) -> float:
        """One more."""
        tick._batch.column("quantity_int")[tick._row] += 1
        return 0.0


class Forgets(Honest):
    """Leaves its count out of the snapshot."""

    def snapshot(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: Any) -> None:
        """Nothing."""


class Tampers(Honest):
    """Makes its own history shorter."""

    def more(self, tick: Any, history: Any) -> float:
        """Shorten it."""
        history._length -= 1
        return 0.0


class OnBars(Honest):
    """Speaks when a bar rose, and counts its ticks."""

    bars = Bars(seconds=30)

    def process_tick(self, tick: Any, history: Any) -> None:
        """Only count."""
        self.count += 1

    def process_bar(self, bar: Any, history: Any) -> pt.SignalResult | None:
        """The close above the open."""
        if bar.close <= bar.open:
            return None
        return pt.SignalResult("BUY", 0.5, self.size, bar.close, "rose", {"ticks": self.count})


class Aware(Honest):
    """Buys one, waits until it has it, and sells it again; two signals a tick now and then."""

    def process_tick(self, tick: Any, history: Any, portfolio: Any, rng: Any) -> Any:
        """Ask for more than a tick and a history."""
        if rng.below(5):
            return None
        side = "SELL" if portfolio.position(tick.instrument_token) > 0 else "BUY"
        yield pt.SignalResult(side, 0.5, self.size, tick.price, "turn")


class LeaksOnBars(OnBars):
    """Keeps a number in the class."""

    calls: ClassVar = [0]

    def process_bar(self, bar: Any, history: Any) -> pt.SignalResult:
        """Count all bars there ever were."""
        self.calls[0] += 1
        return pt.SignalResult("BUY", 0.5, self.size, bar.close + self.calls[0], "counted")


def step(state: Any, params: Any, out: Any, price_int: int, price: float) -> int:
    """Speak at each tick from the first on."""
    state.count += 1
    out.side, out.confidence, out.quantity, out.price = 1, 0.5, 1.0, price
    return 1


def hasty(history: int = 50) -> KernelStrategy:
    """A kernel that claims to need 50 ticks."""
    return KernelStrategy(
        name="hasty",
        step=step,
        state=np.dtype([("count", "i8")], align=True),
        params=np.array((0,), np.dtype([("unused", "i8")], align=True)),
        out=out_dtype(),
        columns=("price_int", "price"),
        history=history,
        describe=lambda candidate: ("hasty", {}),
    )


def beyond(state: Any, params: Any, out: Any, price_int: int, price: float) -> int:
    """Write past a ring of four places, into the next instrument's state."""
    state.ring[state.count] = price
    state.count += 1
    return 0


def spilling() -> KernelStrategy:
    """A kernel that would run, and ruin its neighbour."""
    state = np.dtype([("count", "i8"), ("ring", "f8", (4,))], align=True)
    return msgspec.structs.replace(hasty(1), name="spilling", step=beyond, state=state)


class Always(Honest):
    """Says what `hasty` says, at each tick."""

    length = 1

    def process_tick(self, tick: Any, history: Any) -> pt.SignalResult:
        """Speak."""
        return pt.SignalResult("BUY", 0.5, 1.0, tick.price + self.more(tick, history), "hasty")


class AlmostAlways(Always):
    """Is a cent off for one price in eight."""

    def more(self, tick: Any, history: Any) -> float:
        """Now and then."""
        return 0.01 if tick.price_int % 8 == 0 else 0.0


def beside(reference: type[Honest]) -> KernelStrategy:
    """A kernel that names a reference."""
    return msgspec.structs.replace(hasty(1), reference=reference)


def failure(create: Callable[..., Any], **given: Any) -> str:
    """What check_strategy says."""
    with pytest.raises(CheckFailed) as caught:
        check_strategy(create, **given)
    return str(caught.value)


def test_an_honest_one_passes() -> None:
    """On trades of one or two instruments, on quotes, with parameters, as a kernel."""
    check_strategy(Honest)
    check_strategy(Honest, tokens=[256265], size=3.0)
    check_strategy(Honest, on="quotes")
    check_strategy(hasty, history=1)
    check_strategy(beside, reference=Always)


@pytest.mark.parametrize(
    ("create", "words"),
    [
        (Raises, r"Raises: raises: tick \d+ \(\d+ at 2025-.*Z\): IndexError.*sees exactly 5"),
        (Grows, r"Grows: history_length: get_required_history_length\(\) gave 5 before .* and \d+"),
        (Empty, r"Empty: history_length: .*expected an integer ≥ 1, was 0"),
        (Fickle, r"Fickle: supports_instrument: .*gave \[True, True\] before .*\[False, False\]"),
        (Leaks, r"Leaks: deterministic: tick \d+ \(.*\): BUY 1.0 at [\d.]+ .*when it runs again"),
        (Peeks, r"Peeks: look_ahead: tick \d+ .*where the ticks behind it are not there yet"),
        (Mutates, r"Mutates: never_mutates: tick of \d+ at ts_event \d+: quantity_int was"),
        (Forgets, r"Forgets: snapshot: tick \d+ .*taken up from a snapshot at tick \d+"),
        (Tampers, r"Tampers: history_length: tick of \d+ at ts_event \d+: 4 ticks, expected 5"),
        (
            lambda: beside(AlmostAlways),
            r"reference: tick \d+ .*BUY 1.0 at .*, and BUY 1.0 at .* by its reference",
        ),
        (
            lambda: beside(Raises),
            r"reference: tick \d+ .*: its reference: .*IndexError",
        ),
        (spilling, r"spilling: raises: kernel spilling: index is out of bounds"),
        (hasty, r"hasty: silent_before_warm_up: tick 1 .*tick 1 of its instrument, of 50"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found(create: Any, words: str) -> None:
    """The check that is for it names the strategy, the tick and the values."""
    Leaks.calls[0] = 0
    found = failure(create)

    assert any(re.search(words, line) for line in found.splitlines()), found


@pytest.mark.parametrize("create", [OnBars, Aware])
def test_what_asks_for_more_passes(create: Any) -> None:
    """Bars, a random stream and a portfolio are shown to it as in any run, and compared."""
    found = broken(ExecutorPlan(StrategyConfig("s", "s"), "paper", create))

    assert [] == found


def test_a_fault_at_a_bar_is_found() -> None:
    """What a bar says is compared like what a tick says."""
    assert "LeaksOnBars: deterministic: tick " in failure(LeaksOnBars)


def test_what_cannot_be_stored_is_a_warning() -> None:
    """A processor without a snapshot may run; that it has no checkpoints is said."""

    class Odd(Honest):
        def __init__(self) -> None:
            super().__init__()
            self.kept = {1, 2}

    found = broken(ExecutorPlan(StrategyConfig("odd", "odd"), "paper", Odd))

    assert [("snapshot", "warning")] == [(one.check, one.severity) for one in found]
    assert "kept" in found[0].message


def test_silence_is_said() -> None:
    """A strategy that never speaks passes, with a warning that little was compared."""

    class Mute(Honest):
        def process_tick(self, tick: Any, history: Any) -> None:
            return None

    (found,) = broken(ExecutorPlan(StrategyConfig("mute", "mute"), "paper", Mute))

    assert ("speaks", "warning") == (found.check, found.severity)


class Orders(Honest):
    """Asks for an order that there is not."""

    def __init__(self, every: int = 1, side: str = "BUY", **said: Any) -> None:
        super().__init__()
        self.every, self.side = every, side
        self.said = {"metadata": {"tif": "day"}} | said

    def process_tick(self, tick: Any, history: Any) -> pt.SignalResult | None:
        """Speak; every so many times what no order can be."""
        self.count += 1
        if self.count % LOUD:
            return None
        wrong = self.count // LOUD % self.every == 0
        given = {"confidence": 0.5, "quantity": 1, "price": tick.price, "metadata": {}}
        side = "BUY" if wrong else self.side  # the others'
        return pt.SignalResult(side, reasoning="said", **(given | self.said if wrong else given))


@pytest.mark.parametrize(
    ("every", "said", "severity", "words"),
    [
        (
            1,
            {},
            "error",
            r"as sanity_order, .*tif.* \(and \d+ more\); nothing that it says",
        ),
        (3, {}, "warning", r"dropped as sanity_order, .*day"),
        (3, {"side": "HOLD"}, "error", r"sanity_order, .*; nothing that it says passes"),
        (1, {"confidence": 7.0, "metadata": {}}, "error", r"sanity_confidence, .*7\.0"),
        (1, {"quantity": 0, "metadata": {}}, "error", r"sanity_quantity, .*0\.0"),
    ],
)
def test_what_can_be_no_order_is_said(
    every: int, said: dict[str, Any], severity: str, words: str
) -> None:
    """The reason of the drop and the value; an error where nothing that it says passes."""
    plan = ExecutorPlan(StrategyConfig("odd", "odd"), "paper", lambda: Orders(every, **said))
    (found,) = broken(plan)

    assert ("sanity", severity) == (found.check, found.severity)
    assert re.search(words, found.message), found.message


def test_the_market_is_what_was_asked_for() -> None:
    """The strategy's own tokens, two-sided quotes where it wants them, and ticks enough."""
    market = synthetic_market([7, 9], on="quotes", history=1_000)

    assert {7, 9} == {*market.records["instrument_token"].tolist()}
    assert 8_000 == len(market.records)
    assert (market.records["ask_int"] - market.records["bid_int"] == 2).all()
    assert (market.records["bid_int"] >= 0).all()
    assert 9 == len(CHECKS)
