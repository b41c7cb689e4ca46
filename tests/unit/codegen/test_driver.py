"""The contract of a driver: when it stops, what it leaves behind, what it refuses."""

from typing import Any

import numpy as np
import pytest

from parity.codegen import RAISED, Interpreter, build
from parity.model.errors import KernelError

from .conftest import Run, kernel_of

ZERO = np.zeros(4, np.int32)


def counting(state: Any, params: Any, out: Any, price: float) -> int:
    """Say something at every price above the limit; fail at negative ones."""
    state.count += 1
    if price < 0.0:
        return int(price)
    if price > params.limit:
        out.value = price
        return 300
    return 0


def untidy(state: Any, params: Any, out: Any, price: float) -> int:
    """Write without saying anything, then say something without writing."""
    state.count += 1
    if state.count % 2 == 1:
        out.value = price
        out.side = 1
        return 0
    return 1


def dividing(state: Any, params: Any, out: Any, price: float) -> int:
    """Raise where the price is zero."""
    state.count += 1
    out.value = 1.0 / price
    return 1


def overflowing(state: Any, params: Any, out: Any, price: float) -> int:
    """Index outside the ring."""
    state.ring[int(price)] = 1.0
    return 0


@pytest.fixture(params=["driver", "interpreter"])
def runner(request: pytest.FixtureRequest) -> Any:
    """Both ways to run a kernel keep one contract."""
    return build if request.param == "driver" else Interpreter


def call(run: Run, prices: list[float], lo: int = 0) -> tuple[int, int]:
    """Call the driver once over rows lo.. of one instrument."""
    column = np.array(prices)
    inst = np.zeros(len(prices), np.int32)
    return run.driver(
        run.states, run.params, run.lut, inst, (column,), lo, len(prices), run.out, run.rows,
        run.codes,
    )  # fmt: skip


@pytest.mark.slow
def test_it_stops_where_out_is_full_and_goes_on_from_there(runner: Any) -> None:
    """A full `out` ends the call before the next tick is taken."""
    kernel = kernel_of(counting)
    run = Run(kernel, runner(kernel), 1, room=2)
    prices = [2.0, 0.5, 3.0, 4.0, 0.5]

    assert (2, 3) == call(run, prices)
    assert [0, 2] == run.rows.tolist()
    assert 3 == run.states["count"][0]
    assert (1, 5) == call(run, prices, lo=3)
    assert (4.0, 5) == (run.out["value"][0], run.states["count"][0])


def test_it_stops_behind_a_tick_whose_step_fails(runner: Any) -> None:
    """A negative code is the last one of the call, and the next row is the one behind it."""
    kernel = kernel_of(counting)
    run = Run(kernel, runner(kernel), 1)

    assert (2, 3) == call(run, [2.0, 0.5, -3.0, 4.0])
    assert [0, 2] == run.rows[:2].tolist()
    assert [127, -3] == run.codes[:2].tolist()  # codes end at +-127: int8 would wrap


def test_a_code_far_below_zero_stays_an_error(runner: Any) -> None:
    """-256 as int8 would be 0, which is no error at all."""
    kernel = kernel_of(counting)
    run = Run(kernel, runner(kernel), 1)

    assert (1, 1) == call(run, [-256.0, 2.0])
    assert -127 == run.codes[0]


@pytest.mark.slow
def test_a_step_that_raises_is_an_error_at_its_tick(runner: Any) -> None:
    """A division by zero stops there with the code RAISED, and the driver goes on behind it."""
    kernel = kernel_of(dividing)
    run = Run(kernel, runner(kernel), 1)
    run.codes[:] = 9  # leftovers of an earlier call must not hide the row
    run.rows[:] = 77

    assert (2, 2) == call(run, [2.0, 0.0, 4.0])
    assert ([0, 1], [1, RAISED]) == (run.rows[:2].tolist(), run.codes[:2].tolist())
    assert (1, 3) == call(run, [2.0, 0.0, 4.0], lo=2)


def test_what_a_silent_tick_wrote_never_shows(runner: Any) -> None:
    """`out` is blank at every tick, else its bytes would depend on where batches end."""
    kernel = kernel_of(untidy)
    run = Run(kernel, runner(kernel), 1)
    run.out["value"] = 55.0

    assert (2, 4) == call(run, [1.0, 2.0, 3.0, 4.0])
    assert [0.0, 0.0] == run.out["value"][:2].tolist()
    assert [0, 0] == run.out["side"][:2].tolist()


@pytest.mark.slow
def test_bounds_checks_find_a_bad_index() -> None:
    """With boundscheck on, an index outside the ring is an error and not someone's memory."""
    kernel = kernel_of(overflowing)
    run = Run(kernel, build(kernel, boundscheck=True), 1)

    with pytest.raises(KernelError, match="probe: index is out of bounds"):
        call(run, [7.0])


def test_wrong_dtypes_are_refused() -> None:
    """A float32 column never reaches compiled code that expects float64."""
    kernel = kernel_of(counting)
    driver = build(kernel)
    run = Run(kernel, driver, 1)
    with pytest.raises(KernelError, match="kernel probe"):
        driver(
            run.states, run.params, run.lut, ZERO, (np.zeros(4, np.float32),), 0, 4, run.out,
            run.rows, run.codes,
        )  # fmt: skip


def test_one_tick_is_entered_by_a_shorter_way() -> None:
    """Tick by tick it says what a batch says: candidates, codes, steps that raise, states."""
    kernel = kernel_of(dividing)
    driver = build(kernel)
    whole, single = Run(kernel, driver, 1), Run(kernel, driver, 1)
    prices = [4.0, 0.0, 2.0]
    enter = driver.for_one_tick(
        single.states, single.params, single.lut, single.out, single.rows, single.codes
    )
    found = []
    for price in prices:
        count, row = enter(ZERO[:1], (np.array([price]),))
        found.append((count, row, single.codes[0].item(), single.out["value"][0].item()))

    assert (2, 2) == call(whole, prices)
    assert [(1, 1, 1, 0.25), (1, 1, RAISED, 0.0), (1, 1, 1, 0.5)] == found
    assert [1, RAISED] == whole.codes[:2].tolist()


def test_the_shorter_way_refuses_what_the_driver_refuses() -> None:
    """Neither a column of another dtype nor arrays of another layout reach the machine code."""
    kernel = kernel_of(counting)
    driver = build(kernel)
    run = Run(kernel, driver, 1)
    enter = driver.for_one_tick(run.states, run.params, run.lut, run.out, run.rows, run.codes)

    with pytest.raises(KernelError, match="kernel probe"):
        enter(ZERO[:1], (np.zeros(1, np.float32),))
    with pytest.raises(KernelError, match="its driver takes"):
        driver.for_one_tick(
            run.states, run.params, run.lut.astype(np.int64), run.out, run.rows, run.codes
        )
