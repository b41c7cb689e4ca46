"""The SMA cross: exact on real trades, equal to fractions at every prefix, equal in both tiers."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
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
from parity.strategies.rules import sma_cross, sma_cross_kernel

Said = list[tuple[int, int]]  # (row, side)
SMALL = {"fast_periods": 2, "slow_periods": 5}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A driver cache of these tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARITY_CACHE_DIR", str(tmp_path_factory.mktemp("drivers")))
        yield


def by_fractions(prices: Sequence[int], fast: int, slow: int) -> Said:
    """Say what the definition says: means as fractions, ties keep the side."""
    said, before = [], 0
    for row in range(slow - 1, len(prices)):
        quick = Fraction(sum(prices[row - fast + 1 : row + 1]), fast)
        calm = Fraction(sum(prices[row - slow + 1 : row + 1]), slow)
        side = (quick > calm) - (quick < calm)
        if side in (0, before):
            continue
        if before:
            said.append((row, side))
        before = side
    return said


def by_kernel(
    kernel: KernelStrategy, driver: Driver, prices: np.ndarray, edges: Sequence[int] = ()
) -> Said:
    """Drive the kernel over one instrument, one call per batch."""
    states, out = np.zeros(1, kernel.state), np.zeros(16, kernel.out)
    inst, rows, codes = np.zeros(len(prices), np.int32), np.zeros(16, np.int64), np.zeros(16, "i1")
    columns = (prices, prices / 100.0)
    said: Said = []
    for lo, hi in zip((0, *edges), (*edges, len(prices)), strict=True):
        row = lo
        while row < hi:
            count, row = driver(
                states, kernel.params.reshape(1), inst[:1], inst, columns, row, hi, out, rows, codes
            )
            said += zip(rows[:count].tolist(), out["side"][:count].tolist(), strict=True)
            assert (out["price"][:count] == columns[1][rows[:count]]).all()
    return said


def by_processor(processor: Any, prices: Sequence[int]) -> Said:
    """Feed the processor as an executor does: histories of exactly the required length."""
    said: Said = []
    length = processor.get_required_history_length()
    for row in range(length - 1, len(prices)):
        window = np.array(prices[row - length + 1 : row + 1], np.int64)
        tick = SimpleNamespace(instrument_token=7, price=prices[row] / 100.0)
        signal = processor.process_tick(tick, SimpleNamespace(price_int=window))
        if signal is not None:
            said.append((row, 1 if signal.signal_type == "BUY" else -1))
            assert (1.0, prices[row] / 100.0) == (signal.confidence, signal.price)
    return said


@pytest.fixture(scope="module")
def small(cache: None) -> tuple[KernelStrategy, Driver]:
    """Return a kernel of small windows and its driver, bounds checked."""
    kernel = sma_cross_kernel.create(SMALL)
    return kernel, build(kernel, boundscheck=True)


@given(st.lists(st.integers(1, 6), max_size=60), st.data())
@hypothesis_settings(max_examples=30)
def test_both_tiers_equal_fractions_at_every_prefix(
    small: tuple[KernelStrategy, Driver], prices: list[int], data: st.DataObject
) -> None:
    """Kernel (in any batches), processor and definition say the same; so does every prefix."""
    whole = by_fractions(prices, 2, 5)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(prices)))))

    assert whole == by_processor(sma_cross.create(SMALL), prices)
    assert whole == by_kernel(*small, np.array(prices, np.int64), cuts)
    for end in cuts:
        prefix = by_kernel(*small, np.array(prices[:end], np.int64))
        assert [one for one in whole if one[0] < end] == prefix


@pytest.mark.data
def test_real_trades_cross_126_times_each_way(shared_data: Path) -> None:
    """Exact sums find 126 BUY and 126 SELL on the BTCUSDT trades; float sums find others."""
    path = shared_data / "binance_usdm_BTCUSDT_20240808_trades.parquet"
    if not path.exists():
        pytest.skip(f"market data absent: {path}")
    polars = pytest.importorskip("polars")
    prices = polars.read_parquet(path, columns=["price_i"])["price_i"].to_numpy()
    kernel = sma_cross_kernel.create({})
    driver = build(kernel, boundscheck=True)
    whole = by_kernel(kernel, driver, prices)
    edges = sorted(set(np.random.default_rng(1).integers(1, len(prices), 300).tolist()))

    assert (126, 126) == tuple(sum(side == one for _, side in whole) for one in (1, -1))
    assert whole == by_kernel(kernel, driver, prices, edges)
    assert whole == by_processor(sma_cross.create({}), prices.tolist())
    assert whole == by_fractions(prices.tolist(), 20, 50)


def test_sums_near_the_end_of_int64_stay_exact(small: tuple[KernelStrategy, Driver]) -> None:
    """The largest price a window may hold is compared in 128 bits, not wrapped."""
    top = sma_cross.price_int_max(5)
    prices = [top, top - 1, top, top - 1, top, top, top - 1, top - 1, top - 1, top, top, top]

    assert by_fractions(prices, 2, 5) == by_kernel(*small, np.array(prices))
    assert by_fractions(prices, 2, 5) == by_processor(sma_cross.create(SMALL), prices)
    assert by_fractions(prices, 2, 5)


def test_a_price_whose_sum_could_wrap_is_an_error_in_both_tiers(
    small: tuple[KernelStrategy, Driver],
) -> None:
    """The kernel returns an error code where the processor raises."""
    prices = [1, 1, 1, 1, sma_cross.price_int_max(5) + 1]
    kernel, driver = small
    states, out = np.zeros(1, kernel.state), np.zeros(1, kernel.out)
    inst, rows, codes = np.zeros(5, np.int32), np.zeros(1, np.int64), np.zeros(1, np.int8)
    columns = (np.array(prices), np.ones(5))
    stopped = driver(
        states, kernel.params.reshape(1), inst[:1], inst, columns, 0, 5, out, rows, codes
    )

    assert (1, 5) == stopped
    assert -1 == codes[0]
    with pytest.raises(OverflowError, match="pass int64"):
        by_processor(sma_cross.create(SMALL), prices)


@pytest.mark.parametrize("module", [sma_cross, sma_cross_kernel])
def test_wrong_parameters_are_named(module: Any) -> None:
    """A fast window that is not the shorter one, and a typo, are refused."""
    with pytest.raises(ConfigError, match=r"fast_periods: expected below slow_periods \(50\)"):
        module.create({"fast_periods": 50})
    with pytest.raises(ConfigError, match="did you mean 'slow_periods'"):
        module.create({"slow_period": 60})


def test_the_side_survives_a_snapshot() -> None:
    """A restored processor gives no second first side."""
    prices = [1, 1, 1, 1, 2, 3, 4, 1, 1, 1]
    whole, first, second = (sma_cross.create(SMALL) for _ in range(3))
    said = by_processor(first, prices[:7])
    second.restore(first.snapshot())
    later = [(row + 3, side) for row, side in by_processor(second, prices[3:])]

    assert by_processor(whole, prices) == said + [one for one in later if one[0] > 6]
    assert later


def test_describe_says_it_in_words() -> None:
    """Reasoning is for people, and equal in both tiers."""
    kernel = sma_cross_kernel.create({})

    assert ("SMA 20 crossed below SMA 50", {}) == kernel.describe({"side": -1})
