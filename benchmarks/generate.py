"""What every benchmark works on: seeded synthetic ticks, and plans of shipped strategies.

The recording is written once per size and layout into `benchmarks/.cache` (or PARITY_BENCH_CACHE).
PARITY_BENCH_TICKS sets its size, PARITY_BENCH_ROUNDS how often each case runs. Never market data.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from parity import codegen
from parity.core.executor import ExecutorPlan
from parity.model.events import EventBatch
from parity.model.kernel import KernelStrategy
from parity.model.ticks import TickBatch
from parity.model.values import StrategyConfig
from parity.recording import layout
from parity.recording.reader import Recording, open_recording
from parity.sources import synthetic
from parity.strategies import REGISTRY

if TYPE_CHECKING:
    import numpy.typing as npt

TICKS: Final = int(os.environ.get("PARITY_BENCH_TICKS", "2000000"))
ROUNDS: Final = int(os.environ.get("PARITY_BENCH_ROUNDS", "5"))
SEED: Final = 11
# About one candidate in a thousand ticks of these data, as rules on ticks have it.
MOMENTUM: Final[dict[str, Any]] = {"lookback_periods": 50, "threshold": 0.0105}
SMA_CROSS: Final[dict[str, Any]] = {"fast_periods": 200, "slow_periods": 1000}
_HERE: Final = Path(__file__).resolve().parent


def recording(ticks: int = TICKS, *, cached: bool = False) -> Recording:
    """Return the kept recording of that many ticks, written first where it is not there.

    With `cached` it is read from its Arrow cache, built first; else from its parts.
    """
    made_by = (Path(synthetic.__file__), Path(layout.__file__))
    version = hashlib.sha256(b"".join(p.read_bytes() for p in made_by)).hexdigest()[:12]
    cache = Path(os.environ.get("PARITY_BENCH_CACHE", _HERE / ".cache"))
    folder = cache / f"synthetic-{SEED}-{ticks}-{version}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob(f"synthetic-{SEED}-{ticks}-*"):
            shutil.rmtree(old)
        synthetic.make_recording(folder, seed=SEED, ticks=ticks)
    made = open_recording(folder, cached=cached)
    if cached:
        made.build_cache()
    return made


def plan(strategy_type: str, parameters: dict[str, Any], name: str = "bench") -> ExecutorPlan:
    """Return the plan of a shipped strategy; a kernel is compiled or taken from the cache."""
    create = REGISTRY[strategy_type].create
    made = create(parameters)
    driver = codegen.build(made) if isinstance(made, KernelStrategy) else None
    config = StrategyConfig(
        strategy_id=name, strategy_type=strategy_type, parameters=dict(parameters)
    )
    return ExecutorPlan(config, "paper", lambda: create(parameters), driver)


def driven(
    plan: ExecutorPlan, inputs: Iterable[tuple[Any, tuple[Any, ...]]], instruments: int
) -> list[npt.NDArray[Any]]:
    """Run a plan's compiled driver alone, nothing decided; return the candidates it wrote.

    Args:
        plan: of a kernel.
        inputs: of each batch the dense instrument ids and the kernel's columns.
        instruments: how many there are.
    """
    kernel: Any = plan.build()
    driver = plan.driver
    assert driver is not None
    lut = np.arange(instruments, dtype=np.int32)
    out, params = np.zeros(4096, kernel.out), kernel.params.reshape(1)
    rows, codes = np.zeros(4096, np.int64), np.zeros(4096, np.int8)
    states, kept = np.zeros(instruments, kernel.state), []
    for inst, values in inputs:
        row, end = 0, len(inst)
        while row < end:
            count, row = driver(states, params, lut, inst, values, row, end, out, rows, codes)
            kept.append(out[:count].copy())
    return kept


def fresh(batches: Sequence[EventBatch]) -> list[EventBatch]:
    """Return the same batches without the columns that an earlier round derived."""
    return [
        EventBatch(
            TickBatch({n: b.ticks.column(n) for n in b.ticks.names}, b.ticks.table), b.controls
        )
        for b in batches
    ]


def cpus() -> list[int]:
    """Return the CPUs this process may use; one number where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


@contextlib.contextmanager
def pinned(count: int) -> Iterator[None]:
    """Let this thread, and those it starts, use only so many CPUs."""
    before = cpus()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, before[-count:])
    try:
        yield
    finally:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, before)
