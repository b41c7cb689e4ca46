"""Where the time of the Python tier goes: python -m benchmarks.profile, into benchmarks/profiles/.

Two cases, each under cProfile after a warm round: one processor and few candidates (what a tick
costs), and a low threshold (what a candidate costs, from its SignalResult to its fill). A profile
stretches small functions; it says where to look, the benchmarks say how much.
"""

from __future__ import annotations

import cProfile
import io
import pstats
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import generate
from parity.core.engine import Engine

if TYPE_CHECKING:
    from parity.model.events import EventBatch

TICKS: Final = 200_000
ROWS: Final = 30
HERE: Final = Path(__file__).resolve().parent
CASES: Final = {"tick": 0.0105, "candidate": 0.006}  # threshold of momentum


def _round(batches: Sequence[EventBatch], threshold: float) -> Callable[[], int]:
    plan = generate.plan("momentum", generate.MOMENTUM | {"threshold": threshold})
    fresh = generate.fresh(batches)

    def run() -> int:
        engine = Engine(fresh[0].ticks.table, [plan])
        for batch in fresh:
            engine.process(batch)
        return engine.report().executors[0].candidates

    return run


def profile(threshold: float) -> str:
    """Return the profile of one case as text, places without the machine's folders."""
    batches = list(generate.recording(TICKS).batches())
    _round(batches, threshold)()
    run = _round(batches, threshold)
    profiler = cProfile.Profile()
    candidates = profiler.runcall(run)
    text = io.StringIO()
    stats = pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime")
    stats.print_stats(ROWS)
    lines = [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]
    head = f"momentum, threshold {threshold}: {TICKS} ticks, {candidates} candidates"
    return "\n".join([head, *lines]) + "\n"


def main() -> None:
    """Write one file a case."""
    folder = HERE / "profiles"
    folder.mkdir(exist_ok=True)
    for name, threshold in CASES.items():
        (folder / f"python-tier-{name}.txt").write_text(profile(threshold))
        print(folder / f"python-tier-{name}.txt")


if __name__ == "__main__":
    main()
