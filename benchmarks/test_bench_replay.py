"""Replay: Parquet through DuckDB to digests, for one kernel.

Beside it, in the same run and on the same data: the bare DuckDB scan of the same columns, and the
bare step loop, which is the same compiled driver over the same batches in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pytest

from benchmarks import generate
from benchmarks.report import Report, beside, middle, rate
from parity.compose.beginning import columns_of
from parity.compose.plans import Prepared
from parity.core.engine import Engine, RunReport
from parity.model.ticks import SCALED
from parity.recording.reader import BATCH_ROWS, Recording

if TYPE_CHECKING:
    from parity.core.executor import ExecutorPlan

# Where nothing is found, a replay costs what it adds to scan and loop, and no decision.
CASES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "momentum_kernel": ("momentum_kernel", generate.MOMENTUM),
    "momentum_kernel, no signal": ("momentum_kernel", generate.MOMENTUM | {"threshold": 9.0}),
    "sma_cross_kernel": ("sma_cross_kernel", generate.SMA_CROSS),
}
ONE_CORE_BAR = 0.9  # of the harmonic sum of scan and loop
TWO_CORES_BAR = 0.8  # of the slower of the two


def bare_scan(
    recording: Recording, columns: list[str], kept: duckdb.DuckDBPyConnection | None = None
) -> Callable[[], int]:
    """Return a scan of the same columns by DuckDB alone, no work done on what it gives.

    Args:
        recording: what is read.
        columns: in-memory names.
        kept: a connection to use; without it every scan makes one.
    """
    files = [str(recording.path / p.file) for p in recording.manifest.of_kind("ticks")]
    names = ", ".join(f'"{SCALED[c][0] if c in SCALED else c}"' for c in columns)
    query = f"SELECT {names} FROM read_parquet({files})"

    def count(connection: duckdb.DuckDBPyConnection) -> int:
        batches = connection.sql(query).to_arrow_reader(BATCH_ROWS)
        return sum(batch.num_rows for batch in batches)

    def scan() -> int:
        if kept is not None:
            return count(kept)
        with duckdb.connect(":memory:", config={"threads": 1}) as connection:
            connection.execute("SET arrow_output_version='1.5'")
            return count(connection)

    return scan


def bare_loop(recording: Recording, plan: ExecutorPlan, columns: list[str]) -> Callable[[], int]:
    """Return the driver alone over the batches in memory; it counts candidates."""
    kernel: Any = plan.build()
    batches = [b.ticks for b in recording.batches(columns=columns)]
    inputs = [(b.column("inst"), tuple(b.column(c) for c in kernel.columns)) for b in batches]

    def loop() -> int:
        return sum(map(len, generate.driven(plan, inputs, len(recording.table))))

    return loop


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_bench_replay(benchmark: Any, report: Report, case: str, cores: int) -> None:
    """Parquet to digest, beside the scan and the loop it is made of."""
    if len(generate.cpus()) < cores:
        pytest.skip(f"{cores} CPUs are not here")
    plan = generate.plan(*CASES[case])
    source = generate.recording()
    columns = columns_of(Prepared([plan], [], [], {}, {}, {}), source.table)
    loop = bare_loop(source, plan, columns)
    said: list[RunReport] = []

    def replay() -> None:
        engine = Engine(source.table, [plan])
        for batch in source.batches(columns=columns):
            engine.process(batch)
        said.append(engine.report())

    with generate.pinned(cores):
        seconds = beside(
            benchmark,
            replay,
            {"scan": bare_scan(source, columns), "loop": loop},
            rounds=generate.ROUNDS,
        )
    assert {loop()} == {r.executors[0].candidates for r in said}
    _tell(report, f"replay {case}, {cores} CPU", seconds, source.tick_rows, cores)
    if cores == 1:
        share = said[-1].executors[0].candidates / source.tick_rows
        report.say(f"replay {case}: candidates a thousand ticks", f"{share * 1000:.2f}")


def _tell(
    report: Report, case: str, seconds: dict[str, list[float]], ticks: int, cores: int
) -> None:
    report.say(f"{case}: bare scan", rate(ticks, seconds["scan"]))
    report.say(f"{case}: bare loop", rate(ticks, seconds["loop"]))
    figure = rate(ticks, seconds["subject"])
    rounds = list(zip(seconds["scan"], seconds["loop"], seconds["subject"], strict=True))
    in_turn = middle([(scan + loop) / whole for scan, loop, whole in rounds])
    slower = middle([max(scan, loop) / whole for scan, loop, whole in rounds])
    if cores == 1:
        report.at_least(case, figure, in_turn, ONE_CORE_BAR, "harmonic(scan, loop)")
    else:
        report.at_least(case, figure, slower, TWO_CORES_BAR, "min(scan, loop)")


@pytest.mark.parametrize("case", ["many in a batch", "few"])
def test_bench_candidate(benchmark: Any, report: Report, case: str) -> None:
    """What one candidate costs from the kernel's word to its decision, its fill and its digests.

    Fastest of the rounds, on both sides: a neighbour can only make one longer, and a difference of
    two has the noise of both.
    """
    many = case != "few"
    usual = generate.MOMENTUM | ({"threshold": 0.004} if many else {})
    often = generate.plan("momentum_kernel", usual)
    never = generate.plan("momentum_kernel", generate.MOMENTUM | {"threshold": 1e9})
    source = generate.recording(max(20_000, generate.TICKS // 20) if many else generate.TICKS)
    batches = list(source.batches())
    said: list[RunReport] = []

    def run(plan: ExecutorPlan) -> None:
        engine = Engine(source.table, [plan])
        for batch in generate.fresh(batches):
            engine.process(batch)
        said.append(engine.report())

    seconds = beside(
        benchmark,
        lambda: run(often),
        {"quiet": lambda: run(never)},
        rounds=generate.ROUNDS,
    )
    spent = min(seconds["subject"]) - min(seconds["quiet"])
    heard = said[-1].executors[0]
    report.say(
        f"a candidate, decided and filled: {case}",
        f"{spent / heard.candidates * 1e6:.1f} µs"
        f" ({heard.signals} signals and {heard.fills} fills of {heard.candidates})",
    )
