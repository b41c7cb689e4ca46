"""One step, five ways to run it, one answer: the reason drivers exist."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from parity.codegen import PORTABLE, Driver, Interpreter, build
from parity.model.kernel import KernelStrategy
from parity.strategies.rules import (
    breakout_kernel,
    ema_cross_kernel,
    mean_reversion_kernel,
    momentum_kernel,
    rsi_bands_kernel,
    sma_cross_kernel,
)

from .conftest import Run, walk

KERNELS: Mapping[str, tuple[ModuleType, dict[str, Any]]] = {
    "breakout": (breakout_kernel, {"lookback_periods": 9, "threshold": 0.0005}),
    "ema_cross": (ema_cross_kernel, {"fast_periods": 3, "slow_periods": 11}),
    "mean_reversion": (mean_reversion_kernel, {"lookback_periods": 12, "z_entry": 2.0}),
    "momentum": (momentum_kernel, {"lookback_periods": 7, "threshold": 0.002}),
    "rsi_bands": (rsi_bands_kernel, {"lookback_periods": 5, "lower": 35, "upper": 65}),
    "sma_cross": (sma_cross_kernel, {"fast_periods": 3, "slow_periods": 11}),
}
ROWS, INSTRUMENTS = 1_500, 3


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[KernelStrategy, Driver]]:
    """Each kernel, and its driver built with bounds checks."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARITY_CACHE_DIR", str(tmp_path_factory.mktemp("drivers")))
        for name, (module, parameters) in KERNELS.items():
            kernel = module.create(parameters)
            made[name] = (kernel, build(kernel, boundscheck=True))
    return made


def columns_of(kernel: KernelStrategy, price_int: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the columns a kernel declares."""
    named = {"price_int": price_int, "price": price_int / 100.0}
    return tuple(named[name] for name in kernel.columns)


@pytest.mark.parametrize("name", KERNELS)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, ROWS - 1), unique=True))
@hypothesis_settings(max_examples=max(15, hypothesis_settings().max_examples // 8))
def test_batches_change_nothing(
    drivers: dict[str, tuple[KernelStrategy, Driver]], name: str, seed: int, cuts: list[int]
) -> None:
    """One batch and any micro-batches give the same rows, codes, fields and states."""
    kernel, driver = drivers[name]
    inst, price_int = walk(ROWS, INSTRUMENTS, seed)
    columns = columns_of(kernel, price_int)
    whole = Run(kernel, driver, INSTRUMENTS, room=ROWS).over(inst, columns, [])
    parts = Run(kernel, driver, INSTRUMENTS, room=5).over(inst, columns, sorted(cuts))

    assert whole.digest() == parts.digest()


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_one_tick_a_call_and_plain_python_agree_with_the_batch(
    drivers: dict[str, tuple[KernelStrategy, Driver]], name: str
) -> None:
    """The live shape, and the step run by CPython on plain numbers, are the replay's bits."""
    kernel, driver = drivers[name]
    inst, price_int = walk(ROWS, INSTRUMENTS, seed=7)
    columns = columns_of(kernel, price_int)
    whole = Run(kernel, driver, INSTRUMENTS).over(inst, columns, [])
    ticks = Run(kernel, driver, INSTRUMENTS).over(inst, columns, range(1, ROWS))
    python = Run(kernel, Interpreter(kernel), INSTRUMENTS).over(inst, columns, [])
    unchecked = Run(kernel, build(kernel), INSTRUMENTS).over(inst, columns, [])

    assert len(whole.said) > 10
    assert whole.digest() == ticks.digest() == python.digest() == unchecked.digest()
    assert PORTABLE == driver.certificate


def test_read_only_columns_and_foreign_instruments(
    drivers: dict[str, tuple[KernelStrategy, Driver]],
) -> None:
    """Arrow's read-only columns are taken, and ticks of others leave no trace."""
    kernel, driver = drivers["momentum"]
    inst, price_int = walk(ROWS, INSTRUMENTS, seed=3)
    columns = columns_of(kernel, price_int)
    for column in (inst, *columns):
        column.flags.writeable = False
    alone = Run(kernel, driver, 1)
    alone.lut = np.array([-1, 0, -1], np.int32)
    alone.over(inst, columns, [])
    own = inst == 1
    only = Run(kernel, driver, 1)
    only.over(np.zeros(own.sum(), np.int32), tuple(c[own] for c in columns), [])

    assert [said[2] for said in only.said] == [said[2] for said in alone.said]
    assert np.flatnonzero(own)[[said[0] for said in only.said]].tolist() == [
        said[0] for said in alone.said
    ]
