"""Reading: the checked reader beside the bare DuckDB scan, and replay from the Arrow cache.

The bare scan is what anybody would write: a connection, a query, batches that nobody looks at. The
reader also decodes to the instrument's scale and checks every seq. Beside the cache stands the bare
step loop over the very batches that the cache gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from benchmarks import generate
from benchmarks.report import Report, beside, middle, rate
from benchmarks.test_bench_replay import CASES, bare_loop, bare_scan
from parity.compose.beginning import columns_of
from parity.compose.plans import Prepared
from parity.core.engine import Engine
from parity.model.ticks import COLUMNS

if TYPE_CHECKING:
    from parity.recording.reader import Recording

NARROW = ["seq", "ts_event", "instrument_token", "price_int", "quantity_int", "side"]
SCAN_BAR = 0.95
CACHE_BAR = 0.75


def read(recording: Recording, columns: list[str]) -> int:
    """Read a recording through the reader; count its ticks."""
    return sum(len(batch.ticks) for batch in recording.batches(columns=columns))


@pytest.mark.parametrize("columns", [NARROW, list(COLUMNS)], ids=["6 columns", "all columns"])
def test_bench_scan(benchmark: Any, report: Report, columns: list[str]) -> None:
    """The reader, order checked and scales applied, beside DuckDB alone; one CPU."""
    source = generate.recording()
    with generate.pinned(1), duckdb.connect(":memory:", config={"threads": 1}) as kept:
        kept.execute("SET arrow_output_version='1.5'")
        seconds = beside(
            benchmark,
            lambda: read(source, columns),
            {
                "bare": bare_scan(source, columns),
                "kept": bare_scan(source, columns, kept),
            },
            rounds=generate.ROUNDS,
        )
    case = f"scan, {len(columns)} columns"
    figure = rate(source.tick_rows, seconds["subject"])
    rounds = list(zip(seconds["bare"], seconds["kept"], seconds["subject"], strict=True))
    ratio = middle([bare / own for bare, _, own in rounds])
    report.at_least(case, figure, ratio, SCAN_BAR, "bare DuckDB")
    beside_kept = middle([kept / own for _, kept, own in rounds])
    report.say(f"{case}: beside a connection kept open", f"{beside_kept:.2f} × bare DuckDB")


@pytest.mark.parametrize("case", CASES)
def test_bench_cache(benchmark: Any, report: Report, case: str) -> None:
    """Cache to digest, one kernel, beside the driver alone over the same mapped batches."""
    plan = generate.plan(*CASES[case])
    source = generate.recording(cached=True)
    columns = columns_of(Prepared([plan], [], [], {}, {}, {}), source.table)
    assert columns is not None

    def replay() -> None:
        engine = Engine(source.table, [plan])
        for batch in source.batches(columns=columns):
            engine.process(batch)
        engine.report()

    with generate.pinned(1):
        seconds = beside(
            benchmark,
            replay,
            {
                "loop": bare_loop(source, plan, columns),
                "read": lambda: read(source, columns),
            },
            rounds=generate.ROUNDS,
        )
    case = f"replay {case}, from the cache"
    figure = rate(source.tick_rows, seconds["subject"])
    rounds = zip(seconds["loop"], seconds["subject"], strict=True)
    ratio = middle([loop / own for loop, own in rounds])
    report.at_least(case, figure, ratio, CACHE_BAR, "bare loop")
    report.say(f"{case}: reading alone", rate(source.tick_rows, seconds["read"]))
    report.say(f"{case}: bare loop", rate(source.tick_rows, seconds["loop"]))
