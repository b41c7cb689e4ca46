"""Errors at any tick: what fails is that tick, in both tiers, and nothing before or behind it.

Which ticks fail is drawn. What a strategy says then is what the same strategy says that was never
asked at those ticks; one without a snapshot is held against a reference that begins anew.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import numpy as np
from hypothesis import find, given
from hypothesis import strategies as st
from reaching import GENERATED

from parity import codegen
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model import ticks as flag
from parity.model.effects import ApprovedSignal, DroppedSignal, Failure
from parity.model.events import EventBatch
from parity.model.kernel import KernelStrategy, out_dtype
from parity.model.values import SignalResult, StrategyConfig
from parity.proof.replayer import state_bytes
from parity.testing.generators import TABLE, TWO, between, cut, event_streams, partitions

LENGTH = 2
SEVENTEEN = 17
# More errors than there are ticks, so that only the tick is lost.
PARAMETERS = {"errors": {"max": 1000}, "paper": {"allow_short": True}, "risk": {"cooldown_sec": 1}}
bad_ticks = st.integers(0, 2**SEVENTEEN - 1)  # a bit for each remainder of the price


def is_bad(bits: int, price_int: int) -> bool:
    """Return whether ticks of this price are among the drawn ones."""
    return bool(bits >> price_int % SEVENTEEN & 1)


class Counting:
    """Says how many ticks it took; at drawn ticks it fails behind the change of its state."""

    fails = True
    length = LENGTH

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.taken: dict[str, int] = {}

    def get_required_history_length(self) -> int:
        """Return its window."""
        return self.length

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "counting"

    def process_tick(self, tick: Any, history: Any) -> SignalResult | None:
        """Count, then fail or speak."""
        bad = is_bad(self.bits, tick.price_int)
        if bad and not self.fails:
            return None
        name = str(tick.instrument_token)
        self.taken[name] = self.taken.get(name, 0) + 1
        if bad:
            raise ArithmeticError("drawn")
        side = "BUY" if tick.price_int % 2 else "SELL"
        return SignalResult(side, 0.5, 1.0, tick.price, "", {"taken": self.taken[name]})


class Kept(Counting):
    """With a snapshot, which hands out its living state; shown every tick, as a kernel is."""

    length = 1

    def snapshot(self) -> dict[str, Any]:
        """Return the state itself: it must not be kept by reference."""
        return self.taken

    def restore(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.taken = state


class Unasked(Kept):
    """Leaves the drawn ticks out by itself."""

    fails = False


def counting_step(state: Any, params: Any, out: Any, price: float, price_int: int) -> int:
    """Count, then return an error at a drawn tick."""
    state.taken += 1
    if (params.bits >> (price_int % 17)) & 1:
        return -1
    out.side = 1 if price_int % 2 else -1
    out.confidence = 0.5
    out.quantity = 1.0
    out.price = price
    out.taken = state.taken
    return 1


def told(candidate: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Say what the processor says."""
    return "", {"taken": candidate["taken"]}


def kernel(bits: int) -> KernelStrategy:
    """Return the same as a kernel."""
    return KernelStrategy(
        name="counting",
        step=counting_step,
        state=np.dtype([("taken", "i8")], align=True),
        params=np.array((bits,), np.dtype([("bits", "i8")])),
        out=out_dtype(("taken", "i8")),
        columns=("price", "price_int"),
        history=1,
        describe=told,
    )


@cache
def driver() -> Any:
    """Return the compiled kernel; its parameters are given at each run."""
    return codegen.build(kernel(0))


def plan(name: str, build: Any, on: str = "trades", compiled: Any = None) -> ExecutorPlan:
    """Return a plan."""
    config = StrategyConfig(strategy_id=name, strategy_type="c", parameters=PARAMETERS, on=on)
    return ExecutorPlan(config, "paper", build, compiled)


def both_tiers(bits: int, on: str) -> list[ExecutorPlan]:
    """Return the failing processor, the failing kernel, and the one that is never asked."""
    return [
        plan("kernel", lambda: kernel(bits), on, driver()),
        plan("kept", lambda: Kept(bits), on),
        plan("unasked", lambda: Unasked(bits), on),
    ]


def run(batches: Sequence[EventBatch], plans: Sequence[ExecutorPlan]) -> tuple[Any, ...]:
    """Return effects, reports by name, and the state."""
    engine = Engine(TABLE, plans)
    effects = [effect for batch in batches for effect in engine.process(batch)]
    reports = {e.strategy_id: e for e in engine.report().executors}
    return effects, reports, state_bytes(engine.snapshot())


def failed(effects: Sequence[Any], name: str) -> list[int]:
    """Return the seqs at which a strategy failed."""
    return [e.seq for e in effects if isinstance(e, Failure) and e.strategy_id == name]


def shown(events: EventBatch) -> list[Any]:
    """Return the ticks that a strategy on trades sees."""
    return [
        row
        for row in events.ticks.to_records()
        if not int(row["flags"]) & (flag.UNDELIVERED | flag.NO_PRICE)
        and int(row["flags"]) & flag.TRADE_LIKE
    ]


@given(event_streams(), bad_ticks, st.sampled_from(("trades", "quotes")), partitions())
def test_only_the_tick_is_lost_in_both_tiers(
    events: EventBatch, bits: int, on: str, sizes: list[int]
) -> None:
    """Digests and fills are those of one that leaves the ticks out, wherever batches end."""
    effects, reports, state = run([events], both_tiers(bits, on))
    kept, compiled, unasked = (reports[name] for name in ("kept", "kernel", "unasked"))

    assert unasked.errors == 0
    assert failed(effects, "kept") == failed(effects, "kernel")
    for one in (kept, compiled):
        assert one.candidate_digest == unasked.candidate_digest
        assert one.decision_digest == unasked.decision_digest
        assert (one.candidates, one.signals, one.fills, one.drops, one.pnl) == (
            unasked.candidates, unasked.signals, unasked.fills, unasked.drops, unasked.pnl,
        )  # fmt: skip
    assert (effects, reports, state) == run(list(cut(events, sizes)), both_tiers(bits, on))


@given(event_streams(max_ticks=120, min_ticks=60), bad_ticks, partitions())
def test_a_kernel_of_few_rows_says_what_the_processor_says(
    events: EventBatch, bits: int, sizes: list[int]
) -> None:
    """Whether its driver is handed its own rows of a batch, or passes over the others'."""
    plans = [
        msgspec.structs.replace(
            plan, config=msgspec.structs.replace(plan.config, instrument_tokens=(TWO,))
        )
        for plan in both_tiers(bits, "trades")
    ]
    effects, reports, state = run([events], plans)

    assert failed(effects, "kept") == failed(effects, "kernel")
    for digest in ("candidate_digest", "decision_digest"):
        assert getattr(reports["kept"], digest) == getattr(reports["kernel"], digest)
    assert (effects, reports, state) == run(list(cut(events, [1] * 40 + sizes)), plans)


@given(event_streams(), bad_ticks)
def test_the_failures_are_the_drawn_ticks(events: EventBatch, bits: int) -> None:
    """Each drawn tick that a strategy is shown fails, once, and no other."""
    bad = [row for row in shown(events) if is_bad(bits, int(row["price_int"]))]
    expected = [int(row["seq"]) for row in bad]

    assert expected == failed(run([events], both_tiers(bits, "trades"))[0], "kept")


@given(event_streams(), bad_ticks, partitions())
def test_without_a_snapshot_it_begins_anew(events: EventBatch, bits: int, sizes: list[int]) -> None:
    """Behind an error it counts from nothing and is silent until its history is full again."""
    effects, *_ = run(list(cut(events, sizes)), [plan("bare", lambda: Counting(bits))])
    counted: dict[int, int] = {}
    histories: dict[int, deque[int]] = {}
    expected = []
    for row in shown(events):
        token, price = int(row["instrument_token"]), int(row["price_int"])
        history = histories.setdefault(token, deque(maxlen=LENGTH))
        history.append(price)
        if len(history) < LENGTH:
            continue
        if is_bad(bits, price):
            counted, histories = {}, {}
            continue
        counted[token] = counted.get(token, 0) + 1
        expected.append((int(row["seq"]), counted[token]))
    said = [e.candidate for e in effects if isinstance(e, ApprovedSignal | DroppedSignal)]

    assert expected == [(one.seq, one.metadata["taken"]) for one in said]


@given(event_streams(), bad_ticks, st.data())
def test_a_restart_between_errors_changes_nothing(events: EventBatch, bits: int, data: Any) -> None:
    """In both tiers, with and without a snapshot of its own."""
    plans = [*both_tiers(bits, "trades"), plan("bare", lambda: Counting(bits))]
    until = data.draw(st.integers(1, events.last_seq))
    first, second = Engine(TABLE, plans), Engine(TABLE, plans)
    effects = first.process(between(events, 1, until))
    second.restore(msgspec.msgpack.decode(state_bytes(first.snapshot())))
    effects += second.process(between(events, until + 1, events.last_seq))
    whole = run([events], plans)

    assert whole[0] == effects
    assert whole[2] == state_bytes(second.snapshot())


def test_the_streams_are_worth_it() -> None:
    """Errors happen between candidates, and fills behind them."""

    def mixed(drawn: tuple[EventBatch, int]) -> bool:
        report = run([drawn[0]], both_tiers(drawn[1], "trades"))[1]["kernel"]
        return report.errors > 5 and report.candidates > 5 and report.fills > 3

    assert find(st.tuples(event_streams(min_ticks=40), bad_ticks), mixed, settings=GENERATED)
