"""The driver against a bare numba loop around the same step, in batches of one tick and of many.

The bare loop knows its instruments, keeps no rows and never blanks a record: what is left is the
price of the contract (foreign ticks passed over, a full `out`, errors found, no leftovers).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from numba import njit

from benchmarks.generate import ROUNDS, TICKS
from benchmarks.report import Report, beside, middle
from parity import codegen
from parity.strategies.rules import momentum_kernel

if TYPE_CHECKING:
    from parity.model.kernel import KernelStrategy

INSTRUMENTS: Final = 200
CALLS_MAX: Final = 100_000
DRIVERS: Final = 10
# A process that builds ten drivers, says what it took, in seconds, and sings their canaries again.
STARTING: Final = """
import json, sys, time
began = time.perf_counter()
sys.path[:0] = {paths!r}
from kernels import kernels
from parity import codegen
ready = time.perf_counter()
drivers = [codegen.build(kernel) for kernel in kernels]
built, spent = time.perf_counter(), time.process_time()
from parity.codegen.canary import sing
for kernel, driver in zip(kernels, drivers):
    sing(kernel, driver, exact=True, folder=driver.path.parent)
sung = time.perf_counter()
print(json.dumps({{
    "cpu": spent, "imports": ready - began, "drivers": built - ready, "canaries": sung - built,
    "cached": sum(driver.cached for driver in drivers),
    "compared": min(driver.canary.ticks for driver in drivers),
}}))
"""
TEN: Final = """
import numpy as np
from parity.model.kernel import KernelStrategy, out_dtype
STATE = np.dtype([("mean", "f8"), ("count", "i8"), ("ring", "f8", (64,))], align=True)
PARAMS = np.dtype([("threshold", "f8")])
kernels = []
"""
ONE: Final = """
def step_{n}(state, params, out, price):
    state.mean += (price - state.mean) / {n}.0
    state.ring[state.count % 64] = price
    state.count += 1
    if price < state.mean + params.threshold:
        return 0
    out.side, out.confidence, out.quantity, out.price = 1, 0.5, 1.0, price
    return 1
kernels.append(KernelStrategy(
    name="step_{n}", step=step_{n}, state=STATE, params=np.zeros((), PARAMS), out=out_dtype(),
    columns=("price",), history=20, describe=lambda said: ("", {{}})))
"""
KERNEL: Final = momentum_kernel.create({"lookback_periods": 50, "threshold": 0.0025})


def ticks() -> tuple[np.ndarray, np.ndarray]:
    """Return instruments interleaved at random, and prices of a random walk."""
    random = np.random.default_rng(11)
    inst = random.integers(0, INSTRUMENTS, TICKS).astype(np.int32)
    return inst, 100.0 + np.cumsum(random.integers(-1, 2, TICKS)) * 0.001


def driver_loop(
    kernel: KernelStrategy, inst: np.ndarray, price: np.ndarray, batch: int
) -> Callable[[], int]:
    """Return the driver over batches of that many ticks; it counts candidates."""
    driver, count_of_ticks = codegen.build(kernel), min(TICKS, CALLS_MAX * batch)
    lut, params = np.arange(INSTRUMENTS, dtype=np.int32), kernel.params.reshape(1)
    buffers = (np.zeros(4096, kernel.out), np.zeros(4096, np.int64), np.zeros(4096, np.int8))

    def loop() -> int:
        states, found = np.zeros(INSTRUMENTS, kernel.state), 0
        for lo in range(0, count_of_ticks, batch):
            row, end = lo, min(lo + batch, count_of_ticks)
            while row < end:
                count, row = driver(states, params, lut, inst, (price,), row, end, *buffers)
                found += count
        return found

    return loop


def bare_loop(kernel: KernelStrategy, inst: np.ndarray, price: np.ndarray) -> Callable[[], int]:
    """Return the step in a loop as anybody would write it by hand."""
    step: Any = njit(kernel.step)

    @njit
    def over(states: Any, params: Any, inst: Any, price: Any, out: Any) -> int:
        found = 0
        for row in range(len(inst)):
            found += step(states[inst[row]], params[0], out[0], price[row])
        return found

    def loop() -> int:
        states, out = np.zeros(INSTRUMENTS, kernel.state), np.zeros(1, kernel.out)
        found: int = over(states, kernel.params.reshape(1), inst, price, out)
        return found

    return loop


@pytest.mark.parametrize("batch", [1, 1_000, TICKS])
def test_bench_driver(benchmark: Any, report: Report, batch: int) -> None:
    """The driver in batches, beside the bare loop over all ticks at once."""
    inst, price = ticks()
    driven, bare = driver_loop(KERNEL, inst, price, batch), bare_loop(KERNEL, inst, price)
    if batch > 1:
        assert driven() == bare() > 0
    seconds = beside(benchmark, driven, {"bare": bare}, rounds=ROUNDS)
    each = middle(seconds["subject"]) / min(TICKS, CALLS_MAX * batch)
    alone = middle(seconds["bare"]) / TICKS
    figure = f"{each * 1e9:.1f} ns/tick"
    if batch > 1:
        report.at_least(f"driver, batches of {batch}", figure, alone / each, 0.75, "bare loop")
    else:
        report.say("driver, one tick a call", figure)


def test_bench_ten_drivers(benchmark: Any, report: Report, tmp_path: Path) -> None:
    """Ten drivers in a new process: found in the cache, and their canaries sung."""
    texts = [TEN, *(ONE.format(n=n) for n in range(2, 2 + DRIVERS))]
    (tmp_path / "kernels.py").write_text("".join(texts))
    code = STARTING.format(paths=[str(tmp_path), str(Path(__file__).resolve().parents[1])])
    said: list[dict[str, float]] = []

    def start() -> None:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PARITY_CACHE_DIR": str(tmp_path / "cache")},
            check=True,
            stdout=subprocess.PIPE,
        )
        said.append(json.loads(done.stdout))

    benchmark.pedantic(start, rounds=ROUNDS, warmup_rounds=1)  # the first one compiles
    cold, warm = said[0], said[1:]
    assert (0, DRIVERS) == (cold["cached"], min(one["cached"] for one in warm))
    assert min(one["compared"] for one in said) > 200
    cpu = min(one["cpu"] for one in warm)
    report.say("ten drivers, cold", f"{cold['cpu']:.2f} s of CPU")
    report.within("ten drivers, warm, with Python's start, CPU, best", cpu, "s", most=1)
    for part in ("imports", "drivers", "canaries"):
        report.say(f"… {part}, wall, best", f"{min(one[part] for one in warm) * 1e3:.0f} ms")
