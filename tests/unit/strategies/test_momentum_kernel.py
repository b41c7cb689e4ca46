"""Momentum in both tiers: the same candidates, bit for bit."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from parity.codegen import Driver, build
from parity.model.errors import ConfigError
from parity.model.kernel import KernelStrategy
from parity.strategies.rules import momentum, momentum_kernel

PARAMETERS = {"lookback_periods": 3, "threshold": 0.05, "position_size": 7}


class Window:
    """A history of exactly the required length, as the processor sees one."""

    def __init__(self, prices: list[float]) -> None:
        self.price = np.array(prices)

    def __getitem__(self, index: int) -> Any:
        return SimpleNamespace(price=float(self.price[index]))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[KernelStrategy, Driver]:
    """Return the kernel and its driver, bounds checked."""
    kernel = momentum_kernel.create(PARAMETERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARITY_CACHE_DIR", str(tmp_path_factory.mktemp("drivers")))
        return kernel, build(kernel, boundscheck=True)


PRICES = st.lists(
    st.sampled_from([-1.0, 0.0, 0.1, 1.0, 1.05, 1.1, 100.0, 105.0, 95.0]), max_size=40
)


@given(PRICES)
@hypothesis_settings(max_examples=40)
def test_kernel_and_processor_say_the_same(
    compiled: tuple[KernelStrategy, Driver], prices: list[float]
) -> None:
    """Side, confidence, quantity, price, metadata and words are equal at every tick."""
    kernel, driver = compiled
    processor = momentum.create(PARAMETERS)
    expected = []
    for row in range(2, len(prices)):
        tick = SimpleNamespace(price=prices[row])
        said = processor.process_tick(tick, Window(prices[row - 2 : row + 1]))  # type: ignore[arg-type] # stands in for a tick and its history
        if said is not None:
            side = 1 if said.signal_type == "BUY" else -1
            expected.append(
                (row, side, said.confidence, float(said.quantity), said.price, said.metadata,
                 said.reasoning)
            )  # fmt: skip

    states, out = np.zeros(1, kernel.state), np.zeros(64, kernel.out)
    zero, rows, codes = np.zeros(64, np.int32), np.zeros(64, np.int64), np.zeros(64, np.int8)
    count, _ = driver(
        states, kernel.params.reshape(1), zero[:1], zero, (np.array(prices, np.float64),), 0,
        len(prices), out, rows, codes,
    )  # fmt: skip
    found = []
    for row, record in zip(rows[:count].tolist(), out[:count].tolist(), strict=True):
        named = dict(zip(out.dtype.names or (), record, strict=True))
        words, metadata = kernel.describe(named)
        found.append((row, *record[:4], metadata, words))

    assert repr(expected) == repr(found)  # repr: floats to the last bit, NaN and -0.0 included


def test_windows_of_a_sweep_share_a_driver() -> None:
    """The ring is a power of two, so many lookbacks have one state dtype."""
    states = {momentum_kernel.create({"lookback_periods": n}).state for n in range(2, 33)}

    assert 1 == len(states)
    assert 33 <= momentum_kernel.create({"lookback_periods": 33}).state["ring"].shape[0]


def test_both_tiers_declare_the_same_parameters() -> None:
    """One set of parameters serves both, as their configuration expects."""
    assert momentum.PARAMETERS is momentum_kernel.PARAMETERS


def test_a_typo_is_refused() -> None:
    """An unknown parameter never passes in silence."""
    with pytest.raises(ConfigError, match="did you mean 'threshold'"):
        momentum_kernel.create({"treshold": 0.1})
