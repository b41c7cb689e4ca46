"""Where the time of both tiers goes: python -m benchmarks.profile, into benchmarks/profiles/.

Each case under cProfile after a warm round. Python tier: few candidates (what a tick costs), and a
low threshold (what a candidate costs, from its SignalResult to its fill). Kernel tier, over batches
in memory: nothing found (what a quiet tick costs), momentum at its usual threshold, ten kernels
where nothing is found, and one tick a batch, as live. A profile stretches small functions; it says
where to look, the benchmarks say how much.
"""

from __future__ import annotations

import cProfile
import io
import pstats
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks import generate
from parity.core.engine import Engine
from parity.model.events import EventBatch

if TYPE_CHECKING:
    from parity.core.executor import ExecutorPlan

ROWS: Final = 30
HERE: Final = Path(__file__).resolve().parent


class Case(NamedTuple):
    """What is profiled."""

    strategy: str
    threshold: float  # of momentum; 9.0 finds nothing
    ticks: int
    kernels: int = 1
    batch: int = 0  # ticks; 0: as the recording is read


CASES: Final = {
    "python-tier-tick": Case("momentum", 0.0105, 200_000),
    "python-tier-candidate": Case("momentum", 0.006, 200_000),
    "kernel-tier-quiet": Case("momentum_kernel", 9.0, 2_000_000),
    "kernel-tier-usual": Case("momentum_kernel", 0.0105, 2_000_000),
    "kernel-tier-ten-quiet": Case("momentum_kernel", 9.0, 2_000_000, kernels=10),
    "kernel-tier-one-a-batch": Case("momentum_kernel", 0.0105, 20_000, batch=1),
}


def _plans(case: Case) -> list[ExecutorPlan]:
    parameters = generate.MOMENTUM | {"threshold": case.threshold}
    return [generate.plan(case.strategy, parameters, f"bench{n}") for n in range(case.kernels)]


def _cut(case: Case) -> list[EventBatch]:
    # Twenty thousand ticks one by one come from the larger recording: no cache is kept for them.
    batches = list(generate.recording(max(case.ticks, 200_000)).batches())
    if not case.batch:
        return batches
    ticks = batches[0].ticks
    starts = range(0, min(case.ticks, len(ticks)), case.batch)
    return [EventBatch(ticks.slice(at, at + case.batch), ()) for at in starts]


def _round(batches: Sequence[EventBatch], plans: list[ExecutorPlan]) -> Callable[[], int]:
    fresh = generate.fresh(batches)

    def run() -> int:
        engine = Engine(fresh[0].ticks.table, plans)
        for batch in fresh:
            engine.process(batch)
        return sum(executor.candidates for executor in engine.report().executors)

    return run


def profile(case: Case) -> str:
    """Return the profile of one case as text, places without the machine's folders."""
    batches, plans = _cut(case), _plans(case)
    _round(batches, plans)()
    run = _round(batches, plans)
    profiler = cProfile.Profile()
    candidates = profiler.runcall(run)
    text = io.StringIO()
    stats = pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime")
    stats.print_stats(ROWS)
    lines = [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]
    ticks = sum(len(batch.ticks) for batch in batches)
    head = (
        f"{case.kernels} x {case.strategy}, threshold {case.threshold}, {len(batches)} batches:"
        f" {ticks} ticks, {candidates} candidates"
    )
    return "\n".join([head, *lines]) + "\n"


def main() -> None:
    """Write one file a case."""
    folder = HERE / "profiles"
    folder.mkdir(exist_ok=True)
    for name, case in CASES.items():
        (folder / f"{name}.txt").write_text(profile(case))
        print(folder / f"{name}.txt")


if __name__ == "__main__":
    main()
