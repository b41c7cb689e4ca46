"""A strategy that goes wrong at tick k: k is skipped and counted, nothing else changes.

Nor do the others' bytes, or the place where a batch ends.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal, getcontext, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity import codegen
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.core.own_state import SnapshotUnavailable
from parity.model.effects import Effect, Failure, Fill
from parity.model.events import Control, EventBatch
from parity.model.kernel import KernelStrategy, out_dtype
from parity.model.values import MarketTick, SignalResult, StrategyConfig
from parity.proof.replayer import state_bytes
from parity.recording.rows import candidate_row, decision_row
from parity.testing.generators import TABLE, cut, dummy_batch, event_streams, partitions


class Fragile:
    """Counts the ticks it took, and raises where the price is a multiple of 7; no snapshot."""

    def __init__(self) -> None:
        self.taken = 0

    def get_required_history_length(self) -> int:
        """Return 3."""
        return 3

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "fragile"

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Say how many ticks were taken; break after counting, so that a roll-back is needed."""
        self.taken += 1
        if tick.price_int % 7 == 0:
            raise RuntimeError("seven")
        said = {"taken": self.taken, "first": history[0].price}
        return SignalResult("BUY", 0.5, 1, tick.price, "", said)


class Restorable(Fragile):
    """The same with a snapshot, which hands out its living state."""

    def __init__(self) -> None:
        super().__init__()
        self.state = {"taken": [0]}

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Count in the state, then break."""
        self.state["taken"][0] += 1
        if tick.price_int % 7 == 0:
            raise RuntimeError("seven")
        return SignalResult("BUY", 0.5, 1, tick.price, "", {"taken": self.state["taken"][0]})

    def snapshot(self) -> dict[str, Any]:
        """Return the state itself: the engine must not keep it by reference."""
        return self.state

    def restore(self, state: dict[str, Any]) -> None:
        """Take it."""
        self.state = state


def fragile_step(state: Any, params: Any, out: Any, price_int: int) -> int:
    """Count, then return an error where the price is a multiple of 7."""
    state.taken += 1
    if price_int % 7 == 0:
        return -3
    out.side = 1
    out.confidence = 0.5
    out.quantity = 1.0
    out.price = 1.0
    out.taken = state.taken
    return 1


def described(candidate: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Fail where the count is a multiple of 4, say something that is no plain value at 5."""
    taken = candidate["taken"]
    if taken % 4 == 0:
        raise ValueError("four")
    return "", {"taken": object() if taken % 5 == 0 else taken}


def kernel() -> KernelStrategy:
    """Return the fragile kernel."""
    return KernelStrategy(
        name="fragile",
        step=fragile_step,
        state=np.dtype([("taken", "i8")], align=True),
        params=np.array((0,), np.dtype([("unused", "i8")])),
        out=out_dtype(("taken", "i8")),
        columns=("price_int",),
        history=1,
        describe=described,
    )


def plan(name: str, build: Callable[[], Any], driver: Any = None) -> ExecutorPlan:
    """Return a plan of a processor or kernel."""
    return ExecutorPlan(
        StrategyConfig(strategy_id=name, strategy_type=name), "paper", build, driver
    )


@pytest.fixture(scope="module")
def plans() -> list[ExecutorPlan]:
    """Return plans of a processor without snapshot, one with, and a kernel."""
    return [
        plan("bare", Fragile),
        plan("kept", Restorable),
        plan("kernel", kernel, codegen.build(kernel())),
    ]


def run(batches: Any, plans: list[ExecutorPlan]) -> tuple[list[Effect], Engine]:
    """Return the effects and the engine after the batches."""
    engine = Engine(TABLE, plans)
    return [effect for batch in batches for effect in engine.process(batch)], engine


def failures(effects: list[Effect], name: str) -> list[int]:
    """Return the seqs at which a strategy failed."""
    return [e.seq for e in effects if isinstance(e, Failure) and e.strategy_id == name]


def taken(effects: list[Effect], name: str) -> list[tuple[int, int]]:
    """Return (seq, ticks taken) of a strategy's candidates."""
    found = [e.candidate for e in effects if hasattr(e, "candidate")]
    return [(c.seq, c.metadata["taken"]) for c in found if c.strategy_id == name]


def test_with_a_snapshot_only_the_tick_is_lost(plans: list[ExecutorPlan]) -> None:
    """The processor goes on from before the tick it failed at."""
    effects, engine = run([dummy_batch(8, price_int=[1, 2, 3, 4, 7, 5, 14, 6])], plans[1:2])

    assert [5, 7] == failures(effects, "kept")
    assert [(3, 1), (4, 2), (6, 3), (8, 4)] == taken(effects, "kept")
    assert 2 == engine.report().executors[0].errors


def test_without_a_snapshot_it_warms_up_anew(plans: list[ExecutorPlan]) -> None:
    """A processor that cannot be rolled back starts again with an empty history."""
    prices = [1, 2, 3, 4, 7, 5, 6, 8, 9]
    effects, _ = run([dummy_batch(9, price_int=prices)], plans[:1])
    said = [e.candidate for e in effects if hasattr(e, "candidate")]

    assert [5] == failures(effects, "bare")
    assert [(3, 1), (4, 2), (8, 1), (9, 2)] == taken(effects, "bare")
    assert 0.05 == said[2].metadata["first"]  # tick 6: nothing from before the error is seen


def test_a_kernel_that_fails_loses_the_tick_only(plans: list[ExecutorPlan]) -> None:
    """A negative code rolls that instrument back; a describe that fails loses its candidate."""
    effects, _ = run([dummy_batch(9, price_int=[1, 2, 7, 3, 14, 4, 5, 6, 8])], plans[2:])

    # steps:      1 2 - 3 - 4 5 6 7; describe fails at 4 and gives no plain value at 5
    assert [(1, 1), (2, 2), (4, 3), (8, 6), (9, 7)] == taken(effects, "kernel")
    assert [3, 5, 6, 7] == failures(effects, "kernel")


@pytest.mark.slow
@given(event_streams(), partitions())
def test_errors_are_the_same_for_every_batching(
    plans: list[ExecutorPlan], events: EventBatch, sizes: list[int]
) -> None:
    """Effects, report and state after errors do not depend on where batches end."""
    one, whole = run([events], plans)
    other, pieces = run(cut(events, sizes), plans)

    assert one == other
    assert whole.report() == pieces.report()
    assert state_bytes(whole.snapshot()) == state_bytes(pieces.snapshot())


@pytest.mark.slow
@given(event_streams())
def test_errors_of_one_change_nothing_of_another(
    plans: list[ExecutorPlan], events: EventBatch
) -> None:
    """A strategy's digests are the same beside failing ones."""
    alone = {p.config.strategy_id: run([events], [p])[1].report().executors[0] for p in plans}
    among = run([events], plans)[1].report().executors

    assert alone == {e.strategy_id: e for e in among}


class Saying(Fragile):
    """Says what it is told to."""

    said: Any = None

    def process_tick(self, tick: MarketTick, history: Any) -> Any:
        """Say it."""
        return type(self).said


@pytest.mark.parametrize(
    "said",
    [
        SignalResult("BUY", 0.5, 1, 1.0, "", {"set": {1}}),
        SignalResult("BUY", 0.5, 1, 1.0, "", {"array": np.zeros(2)}),
        SignalResult("BUY", 0.5, 1, 1.0, "", {1: "key"}),  # type: ignore[dict-item] # on purpose
        SignalResult("BUY", 0.5, 1, 1.0, "\ud800"),
        SignalResult("BUY", 0.5, 1, 1.0, None),  # type: ignore[arg-type] # on purpose
        SignalResult("BUY", 0.5, 1, 1.0, "", {"text": "\ud800"}),
        SignalResult("LONG", 0.5, 1, 1.0),
        SignalResult("BUY", None, 1, 1.0),  # type: ignore[arg-type] # on purpose
        SignalResult("BUY", 0.5, 10**400, 1.0),
        SignalResult("BUY", 0.5, "many", 1.0),  # type: ignore[arg-type] # on purpose
        SignalResult("BUY", "0.5", 1, 1.0),  # type: ignore[arg-type] # on purpose
        SignalResult("BUY", 0.5, 1, Decimal("sNaN")),
        "BUY",
    ],
)
def test_what_cannot_be_recorded_is_a_failure_at_its_tick(said: Any) -> None:
    """A result that is no signal fails at its tick; the run goes on and can be written."""
    Saying.said = said
    effects, engine = run([dummy_batch(4)], [plan("saying", Saying)])
    for effect in effects:
        decision_row(effect)

    assert 1 == engine.report().executors[0].errors  # tick 3, the first one it was asked about
    assert 0 == engine.report().executors[0].candidates


class Clumsy(Fragile):
    """Raises an exception whose own text raises."""

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Raise it."""

        class Rude(Exception):
            def __str__(self) -> str:
                raise ValueError("no text")

        raise Rude


def test_an_exception_without_a_text_is_named() -> None:
    """Not even the text of an exception can stop the others."""
    effects, _ = run([dummy_batch(3)], [plan("clumsy", Clumsy)])

    assert ["Rude"] == [e.error for e in effects if isinstance(e, Failure)]


class Leaving(Fragile):
    """Asks to end the process."""

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Ask."""
        raise SystemExit(3)


def test_a_strategy_cannot_end_the_process() -> None:
    """sys.exit in a strategy is its failure at that tick, and nobody else's."""
    effects, _ = run([dummy_batch(3)], [plan("leaving", Leaving)])

    assert ["SystemExit: 3"] == [e.error for e in effects if isinstance(e, Failure)]


class Quitting(Fragile):
    """Fails at its second tick and asks to end the process when it is to be put back."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Count, and fail once."""
        self.count += 1
        if self.count == 2:
            raise ValueError("second")
        return None

    def snapshot(self) -> dict[str, int]:
        """Return the count."""
        return {"count": self.count}

    def restore(self, state: Mapping[str, int]) -> None:
        """Ask."""
        raise SystemExit(4)


def test_a_strategy_that_quits_when_put_back_ends_nothing() -> None:
    """It begins anew, as one whose restore raises anything else."""
    effects, engine = run([dummy_batch(5)], [plan("quitting", Quitting)])

    assert ["ValueError: second"] == [e.error for e in effects if isinstance(e, Failure)]
    assert 1 == engine.executors[0].errors


class Odd(Fragile):
    """Says plain values in unusual types, and one dict again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[str, Any] = {"pair": (1, 2), "big": 1 << 80, "exact": Decimal("1.50")}

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Change the dict and say it."""
        self.said["change"] = history.price[-1] / history.price[0]  # a numpy float64
        self.said["price"] = tick.price
        return SignalResult("BUY", np.float64(0.5), np.float64(1), history.price[-1], "", self.said)


def test_metadata_is_kept_as_it_was_when_it_was_said() -> None:
    """Floats of numpy can be written, and a dict that is used again keeps what was said."""
    effects, _ = run([dummy_batch(5, price_int=[100, 100, 100, 200, 300])], [plan("odd", Odd)])
    said = [e.candidate for e in effects if hasattr(e, "candidate")]
    rows = [candidate_row(c) for c in said]

    assert [1.0, 2.0, 3.0] == [c.metadata["price"] for c in said]
    assert '"change":2.0' in rows[1]["metadata"]


class Rounding(Fragile):
    """Leaves the thread's decimal context at a few digits."""

    def __init__(self, digits: int) -> None:
        super().__init__()
        self.digits = digits

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Say nothing that depends on the context."""
        getcontext().prec = self.digits
        quantity = Decimal("1.23456789")
        return SignalResult("BUY", 0.5, quantity, tick.last_price, "", {"q": quantity})


def test_a_strategys_decimal_context_reaches_nobody() -> None:
    """Money, records and instants are formed in contexts of our own."""
    said = []
    who = {"strategy_id": "rounding"}
    controls = (
        Control(seq=7, ts_recv=1, verb="strategy_flattened", detail=who),
        Control(seq=8, ts_recv=1, verb="strategy_paused", detail={**who, "resume_sec": 1234.5678}),
    )
    for digits in (3, 28):
        with localcontext():
            events = dummy_batch(
                7, price_int=12_345_678, seq=[1, 2, 3, 4, 5, 6, 9], controls=controls
            )
            effects, engine = run([events], [plan("rounding", lambda n=digits: Rounding(n))])
            said.append((effects, engine.report(), engine.executors[0].deadlines.snapshot()))
    filled = [e.quantity for e in said[0][0] if isinstance(e, Fill) and not e.reason]

    assert said[0] == said[1]
    assert [Decimal("1.23456789")] * 3 + [Decimal("3.70370367")] == filled


class Holding(Fragile):
    """Keeps an attribute that msgpack would give back as another type."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


@pytest.mark.parametrize("value", [Decimal(1), (1, 2), {1: 2}, 1 << 70, {1}, [Decimal(1)]])
def test_state_that_would_come_back_otherwise_is_refused(value: Any) -> None:
    """A checkpoint never turns a Decimal into text or a tuple into a list behind one's back."""
    _, engine = run([dummy_batch(2)], [plan("holding", lambda: Holding(value))])

    with pytest.raises(SnapshotUnavailable, match=r"attributes value.*give it snapshot"):
        engine.snapshot()


def test_one_list_under_two_names_is_refused() -> None:
    """It would come back as two lists, and the next append would reach only one."""
    shared: list[int] = [1]
    _, engine = run([dummy_batch(2)], [plan("holding", lambda: Holding([shared, shared]))])

    with pytest.raises(SnapshotUnavailable, match="attributes value"):
        engine.snapshot()


class Broken(Restorable):
    """Its snapshot raises."""

    def snapshot(self) -> dict[str, Any]:
        """Raise."""
        raise OSError("no")


def test_a_snapshot_that_raises_stops_nothing() -> None:
    """It counts as having none: the processor warms up anew, a checkpoint is refused."""
    effects, engine = run([dummy_batch(9, price_int=7)], [plan("broken", Broken)])

    assert [3, 6, 9] == failures(effects, "broken")
    with pytest.raises(SnapshotUnavailable, match="nothing storable"):
        engine.snapshot()


@given(st.integers(1, 6))
def test_a_snapshot_is_not_a_reference(until: int) -> None:
    """State taken at a tick stays that of the tick while the engine goes on."""
    events = list(cut(dummy_batch(8, price_int=range(1, 9)), [until]))
    engine = Engine(TABLE, [plan("kept", Restorable), plan("bare", Fragile)])
    engine.process(events[0])
    state = engine.snapshot()
    before = state_bytes(state)
    engine.process(events[1])

    assert before == state_bytes(state)
