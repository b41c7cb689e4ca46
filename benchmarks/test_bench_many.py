"""Many kernels at once: ten on every tick, and a hundred of which ten want each instrument.

Beside them, in the same run: the same drivers alone over the same columns in memory, one after the
other, which decide nothing. The ticks come from the Arrow cache where the recording has their
instruments, else from memory. Once more where nothing is found: what ticks cost, and no decision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pytest

from benchmarks import generate
from benchmarks.report import Report, beside, middle, rate
from benchmarks.test_bench_replay import bare_loop
from parity.compose.beginning import columns_of
from parity.compose.plans import Prepared
from parity.core.engine import Engine
from parity.model.events import EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TickBatch

if TYPE_CHECKING:
    from parity.core.executor import ExecutorPlan

TEN_BAR: Final = 0.7
HUNDRED_BAR: Final = 0.6
INSTRUMENTS: Final = 10
QUIET: Final = "momentum kernels, no signal"
THRESHOLDS: Final = {"momentum kernels": 0.0105, QUIET: 9.0}


def plans(threshold: float, tokens: Sequence[int] = ()) -> list[ExecutorPlan]:
    """Return ten momentum kernels, thresholds a little apart; ten for each token, if given."""
    found = []
    for n in range(10):
        parameters = generate.MOMENTUM | {"threshold": threshold * (1 + n / 100)}
        made = generate.plan("momentum_kernel", parameters)
        for token in tokens or (None,):
            mine = () if token is None else (token,)
            config = msgspec.structs.replace(
                made.config, strategy_id=f"m-{n}-{token}", instrument_tokens=mine
            )
            found.append(msgspec.structs.replace(made, config=config))
    return found


def ten_instruments() -> list[EventBatch]:
    """Return the recording's ticks, each instrument's blocks of 1 000 dealt out to five tokens."""
    source = generate.recording()
    first = next(iter(source.table))
    named = {"price_scale": first.price_scale, "quantity_scale": first.quantity_scale}
    table = InstrumentTable(
        [Instrument(token=n, symbol=f"T{n}", **named) for n in range(1, INSTRUMENTS + 1)]
    )
    batches, seen = [], 0
    for batch in source.batches():
        columns = {n: batch.ticks.column(n) for n in batch.ticks.names}
        block = (seen + np.arange(len(batch.ticks))) // 1_000 % (INSTRUMENTS // 2)
        columns["instrument_token"] = 1 + batch.ticks.column("inst") * (INSTRUMENTS // 2) + block
        batches.append(EventBatch(TickBatch(columns, table), ()))
        seen += len(batch.ticks)
    return batches


@pytest.mark.parametrize("case", THRESHOLDS)
def test_bench_ten_kernels(benchmark: Any, report: Report, case: str) -> None:
    """Ten kernels on every tick, from the cache, beside their drivers alone."""
    made = plans(THRESHOLDS[case])
    source = generate.recording(cached=True)
    columns = columns_of(Prepared(made, [], [], {}, {}, {}), source.table)
    loops = [bare_loop(source, plan, columns) for plan in made]
    found: list[int] = []

    def replay() -> None:
        engine = Engine(source.table, made)
        for batch in source.batches(columns=columns):
            engine.process(batch)
        found.append(sum(e.candidates for e in engine.report().executors))

    def bare() -> int:
        return sum(loop() for loop in loops)

    _measure(benchmark, report, f"10 {case}, from the cache", replay, bare, TEN_BAR)
    assert {bare()} == set(found)
    assert (case == QUIET) == (bare() == 0)


def test_bench_hundred_kernels(benchmark: Any, report: Report) -> None:
    """A hundred kernels, ten of which want each of ten instruments, beside their drivers alone.

    Nothing is found: prices dealt out to other tokens jump, and would be found all the time.
    """
    case = QUIET
    batches = ten_instruments()
    table = batches[0].ticks.table
    made = plans(THRESHOLDS[case], tokens=table.tokens.tolist())
    inputs = [(b.ticks.column("inst"), (b.ticks.column("price"),)) for b in batches]
    whole = plans(THRESHOLDS[case])
    found: list[int] = []

    def decided(hundred: list[ExecutorPlan], some: list[EventBatch]) -> int:
        engine = Engine(table, hundred)
        for batch in generate.fresh(some):
            engine.process(batch)
        return sum(e.candidates for e in engine.report().executors)

    def looped(ten: list[ExecutorPlan], count: int) -> int:
        # Ten drivers over all instruments do the work of a hundred over one each.
        return sum(sum(map(len, generate.driven(p, inputs[:count], len(table)))) for p in ten)

    def replay() -> None:
        found.append(decided(made, batches))

    def bare() -> int:
        return looped(whole, len(inputs))

    # Where something is found, once and untimed: both find it.
    loud = THRESHOLDS["momentum kernels"]
    heard = decided(plans(loud, tokens=table.tokens.tolist()), batches[:1])
    assert 0 < heard == looped(plans(loud), 1)
    _measure(benchmark, report, f"100 {case}, 10 an instrument", replay, bare, HUNDRED_BAR)
    assert {0} == {bare()} == set(found)


def _measure(
    benchmark: Any,
    report: Report,
    case: str,
    replay: Callable[[], None],
    bare: Callable[[], int],
    bar: float,
) -> None:
    with generate.pinned(1):
        seconds = beside(benchmark, replay, {"loop": bare}, rounds=generate.ROUNDS)
    rounds = zip(seconds["loop"], seconds["subject"], strict=True)
    ratio = middle([loop / own for loop, own in rounds])
    figure = rate(generate.TICKS, seconds["subject"])
    report.at_least(case, figure, ratio, bar, "bare loop")
    report.say(f"{case}: bare loop", rate(generate.TICKS, seconds["loop"]))
