"""Bars of columns: worked out by hand, in units, inside a kernel, and what is refused."""

import datetime as dt
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from parity import kernels
from parity.codegen import PORTABLE, Interpreter, build
from parity.model.kernel import KernelStrategy, out_dtype

pytestmark = pytest.mark.slow  # numba
S = 10**9
INSTANTS = [1 * S, 2 * S, 2 * S, 11 * S, 3 * S, 45 * S]
PRICES = [1.5, 2.25, 0.5, 4.0, 9.0, 5.0]
QUANTITIES = [1, 2, 3, 4, 5, 6]
SIDES = [1, -1, 0, 1, 1, 1]


def test_bars_of_time_by_hand() -> None:
    """The first is partial and opens with its trade; the late tick is left out; silence is flat."""
    given = (INSTANTS, PRICES, QUANTITIES, SIDES)
    bars = kernels.time_bars(*given, seconds=10, empty="flat")
    skipped = kernels.time_bars(*given, seconds=10)

    assert [0, 10 * S, 20 * S, 30 * S] == bars.start.tolist()
    assert [10 * S, 20 * S, 30 * S, 40 * S] == bars.end.tolist()
    assert [1.5, 4.0, 4.0, 4.0] == bars.open.tolist()
    assert [2.25, 4.0, 4.0, 4.0] == bars.high.tolist()
    assert [0.5, 4.0, 4.0, 4.0] == bars.low.tolist()
    assert [0.5, 4.0, 4.0, 4.0] == bars.close.tolist()
    assert [3, 1, 0, 0] == bars.count.tolist()
    assert [6.0, 4.0, 0.0, 0.0] == bars.volume.tolist()
    assert [7.5, 16.0, 0.0, 0.0] == bars.notional.tolist()
    np.testing.assert_array_equal([1.25, 4.0, np.nan, np.nan], bars.vwap)
    assert ([1.0, 4.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]) == (bars.buy.tolist(), bars.sell.tolist())
    assert [True, False, False, False] == bars.partial.tolist()
    assert 1 == bars.left_out == skipped.left_out
    assert [3, 1] == skipped.count.tolist()


def test_bars_of_ticks_and_volume_by_hand() -> None:
    """They close with the tick that fills them; one older than a closed bar's newest is late."""
    given = (INSTANTS, PRICES, QUANTITIES, SIDES)
    ticks = kernels.tick_bars(*given, ticks=2)
    volume = kernels.volume_bars(*given, volume=5.5)

    assert [1 * S, 2 * S] == ticks.start.tolist()
    assert [2 * S, 11 * S] == ticks.end.tolist()
    assert [(1.5, 2.25), (0.5, 4.0)] == list(zip(ticks.open, ticks.close, strict=True))
    assert 1 == ticks.left_out
    assert [6.0, 9.0, 6.0] == volume.volume.tolist()
    assert [1 * S, 11 * S, 45 * S] == volume.start.tolist()
    assert [2 * S, 11 * S, 45 * S] == volume.end.tolist()
    assert 0 == volume.left_out
    assert not ticks.partial.any()


def test_an_interval_that_begins_with_its_first_tick_is_whole() -> None:
    """Partial is what had begun before; and no more than 1 000 flat bars come in a row."""
    bars = kernels.time_bars([0, 5_000 * S], [1, 2], [1, 1], seconds=1, empty="flat")

    assert not bars.partial.any()
    assert 1_001 == len(bars.count)
    assert 1_001 * S == bars.end[-1]


def test_columns_of_any_frame_are_the_same_ticks() -> None:
    """Integers with units, floats, Decimals, instants with a zone; a row that lacks one is none."""
    zone = pl.Datetime("us", "Asia/Kolkata")
    instants = pl.Series(INSTANTS).cast(pl.Datetime("ns", "UTC"))
    exact = [Decimal(str(price)) for price in PRICES]
    expected = kernels.tick_bars(INSTANTS, PRICES, QUANTITIES, SIDES, ticks=2).columns()
    given = (
        (INSTANTS, [150, 225, 50, 400, 900, 500], QUANTITIES, SIDES, {"unit": 100}),
        (instants, pl.Series(PRICES), pl.Series(QUANTITIES), pl.Series(SIDES), {}),
        (instants.cast(zone), pl.Series(exact), pl.Series(QUANTITIES), pl.Series(SIDES), {}),
        (instants.to_pandas(), pd.Series(PRICES), pd.Series(QUANTITIES), SIDES, {}),
        (np.array(INSTANTS, "datetime64[ns]"), PRICES, QUANTITIES, SIDES, {}),
        ([*INSTANTS[:1], 1 * S, *INSTANTS[1:]], [1.5, None, *PRICES[1:]],
         [1, 1, *QUANTITIES[1:]], [1, 1, *SIDES[1:]], {}),
        (np.ma.MaskedArray(np.array([5, *INSTANTS], "datetime64[ns]"), [1, *[0] * 6]),
         [1, *PRICES], [1, *QUANTITIES], [1, *SIDES], {}),
    )  # fmt: skip
    for *columns, units in given:
        found = kernels.tick_bars(*columns, ticks=2, **units).columns()
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(values, found[name])


def test_an_unknown_side_leaves_its_tick_where_it_is() -> None:
    """Only instant, price and quantity are asked of a tick: without a side it is on none."""
    expected = kernels.tick_bars(INSTANTS, PRICES, QUANTITIES, SIDES, ticks=2).columns()
    lacking = [None if side == 0 else side for side in SIDES]
    for sides in (lacking, pl.Series(lacking), pd.Series(lacking)):
        found = kernels.tick_bars(INSTANTS, PRICES, QUANTITIES, sides, ticks=2).columns()
        for name, values in expected.items():
            np.testing.assert_array_equal(values, found[name])


def test_numbers_of_numpy_are_parameters() -> None:
    """As a sweep has them from an array."""
    for kind, wide in ((np.int64, 2), (np.float32, 0.1)):
        for name, parameter in (("time_bars", "seconds"), ("volume_bars", "volume")):
            rule = getattr(kernels, name)
            assert rule.integers({parameter: wide}, 10) == rule.integers(
                {parameter: kind(wide)}, 10
            )


OTHER = kernels.tick_bars.stream(ticks=2).snapshot()
NAIVE = pl.Series(INSTANTS).cast(pl.Datetime("ns"))
FAR = [dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2300, 1, 1, tzinfo=dt.UTC)]
FAR_NUMPY = np.array([at.replace(tzinfo=None) for at in FAR], "datetime64[us]")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: kernels.tick_bars([1], [1], [1], ticks=0), "tick_bars: ticks: expected 1 or more"),
        (lambda: kernels.tick_bars([1], [1], [1], ticks=2**63), "ticks: expected 1 or more, was 9"),
        (lambda: kernels.tick_bars([1], [1], [1], tick=2), "tick_bars: tick: no such parameter"),
        (lambda: kernels.time_bars([1], [1], [1], seconds=0), "time_bars: seconds: expected whole"),
        (lambda: kernels.time_bars([1], [1], [1], seconds=1e-10), "seconds: expected whole nano"),
        (lambda: kernels.time_bars([1], [1], [1], seconds="1"), "seconds: expected a number"),
        (lambda: kernels.time_bars([1], [1], [1], empty="none"), "empty: expected one of skip"),
        (lambda: kernels.volume_bars([1], [1], [1], volume=0), "volume: expected a number above 0"),
        (lambda: kernels.volume_bars([1], [1], [1], volume=2**54), "volume: .* at most 2"),
        (lambda: kernels.tick_bars([1, 2], [1], [1]), "tick_bars: columns of unequal length"),
        (lambda: kernels.tick_bars([1], [1], [-1]), "tick_bars: quantity: expected 0 or more, at"),
        (lambda: kernels.tick_bars([1, 2], [1, 1], [2**53, 1]), "volume of a bar would pass 2.*53"),
        (lambda: kernels.tick_bars([1], [2**53 + 1], [1]), "price: expected at most 2"),
        (lambda: kernels.tick_bars(NAIVE, PRICES, QUANTITIES), "have no time zone"),
        (lambda: kernels.tick_bars(NAIVE.to_pandas(), PRICES, QUANTITIES), "have no time zone"),
        (lambda: kernels.tick_bars(pd.DatetimeIndex(NAIVE), PRICES, QUANTITIES), "no time zone"),
        (lambda: kernels.tick_bars(pl.Series([dt.timedelta(1)]), [1], [1]), "ts_event: .* timedel"),
        (lambda: kernels.tick_bars(pl.Series(FAR), [1, 1], [1, 1]), "ts_event: row 1 .* not fit"),
        (lambda: kernels.tick_bars(FAR_NUMPY, [1, 1], [1, 1]), "ts_event: row 1 .* not fit"),
        (lambda: kernels.tick_bars([0.5], [1], [1]), "tick_bars: ts_event: expected integers"),
        (lambda: kernels.tick_bars([1], [0.5], [1], unit=10), "price: expected integers"),
        (lambda: kernels.tick_bars([1], [1], [1], unit=2**57, quantity_unit=2), "at most 2"),
        (lambda: kernels.tick_bars([1], [1], [1], unit=0), "tick_bars: unit: expected 1 or more"),
        (lambda: kernels.tick_bars([1], [1], [1], unit=2.5), "unit: expected 1 or more, was 2.5"),
        (lambda: kernels.volume_bars.stream(quantity_unit=0), "quantity_unit: expected 1 or more"),
        (lambda: kernels.volume_bars([1], [1], [1], volume=Decimal("nan")), "volume: expected a n"),
        (lambda: kernels.time_bars([1], [1], [1], seconds=Decimal("nan")), "seconds: expected a n"),
        (lambda: kernels.tick_bars.stream().push(2**63, 1, 1), "ts_event: expected 64 bits, was"),
        (lambda: kernels.tick_bars.stream().push(1, 1, 1, -(2**64)), "side: expected 64 bits, was"),
        (lambda: kernels.tick_bars.stream().push(1, 1.5, 1), "price: expected an integer, was 1.5"),
        (lambda: kernels.tick_bars.stream().push(1, 2**54, 1), "price: expected at most 2"),
        (lambda: kernels.time_bars.stream().push(1, 1, -1), "time_bars: quantity: expected 0 or"),
        (lambda: kernels.tick_bars.stream().restore({}), "restore: expected rule, integers, stat"),
        (
            lambda: kernels.tick_bars.stream().restore(OTHER),
            r"tick_bars: restore: integers: expected \[100\], was \[2\]",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name(call: Any, said: str) -> None:
    """The message names the kind of bars, the input and what was expected."""
    with pytest.raises((ValueError, TypeError, OverflowError), match=said):
        call()


def test_a_refused_tick_changes_nothing() -> None:
    """Whether it would have closed a bar or not."""
    for rule, tick in (
        (kernels.time_bars.stream(seconds=1), (5 * S, 1, -1)),
        (kernels.volume_bars.stream(volume=2**53), (5 * S, 1, 2**53)),
    ):
        rule.push(1 * S, 1, 1)
        before = rule.snapshot()

        with pytest.raises((ValueError, OverflowError)):
            rule.push(*tick)
        assert before == rule.snapshot()


STEP = """\
from parity.kernels import {name}_step


def step(state, params, out, ts_event, price_int, quantity_int, side):
    closed = {name}_step(state.bars, {integers}, ts_event, price_int, quantity_int, side)
    if closed == 0:
        return 0
    bar = state.bars.closed
    out.start = bar.start
    out.close = bar.close
    out.volume = bar.volume
    out.closed = closed
    return 1
"""


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("time_bars", {"seconds": 2, "empty": "flat"}),
        ("tick_bars", {"ticks": 7}),
        ("volume_bars", {"volume": 9_000}),
    ],
)
def test_a_kernel_gets_the_bars_of_the_column(
    name: str, parameters: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled, portable, in any batches, and in plain Python."""
    monkeypatch.setenv("PARITY_CACHE_DIR", str(tmp_path / "drivers"))
    monkeypatch.syspath_prepend(tmp_path)
    rule, rows = getattr(kernels, name), 400
    integers = ", ".join(map(str, rule.integers(parameters)))
    (tmp_path / f"kernel_of_{name}.py").write_text(STEP.format(name=name, integers=integers))
    module = __import__(f"kernel_of_{name}")
    random = np.random.default_rng(6)
    ticks = {
        "ts_event": np.cumsum(random.integers(-S // 2, 2 * S, rows)),
        "price_int": random.integers(9_000, 9_100, rows),
        "quantity_int": random.integers(0, 5_000, rows),
        "side": random.integers(-1, 2, rows).astype(np.int8),
    }
    kernel = KernelStrategy(
        name=name,
        step=module.step,
        state=np.dtype([("bars", kernels.bars_state())], align=True),
        params=np.zeros((), np.dtype([("none", "i8")])),
        out=out_dtype(*((one, "i8") for one in ("start", "close", "volume", "closed"))),
        columns=tuple(ticks),
        history=1,
        describe=lambda candidate: ("", {}),
    )
    driver = build(kernel, boundscheck=True)
    stream, expected = rule.stream(**parameters), []
    for tick in zip(*(column.tolist() for column in ticks.values()), strict=True):
        bars = stream.push(*tick)
        expected += [(bars[0].start, bars[0].close, bars[0].volume, len(bars))] if bars else []

    assert PORTABLE == driver.certificate
    assert expected == said(kernel, driver, ticks, [1, 7, 150])
    assert expected == said(kernel, Interpreter(kernel), ticks, [33])
    assert len(expected) > 20
    del sys.modules[f"kernel_of_{name}"]


def said(kernel: KernelStrategy, runner: Any, ticks: dict[str, Any], edges: list[int]) -> list[Any]:
    """Run a kernel over the ticks and return what it said of each bar."""
    rows = len(ticks["side"])
    out, places = np.zeros(rows, kernel.out), np.zeros(rows, np.int64)
    codes, zeros = np.zeros(rows, np.int8), np.zeros(rows, np.int32)
    states, params, found = np.zeros(1, kernel.state), kernel.params.reshape(1), []
    for lo, hi in zip([0, *edges], [*edges, rows], strict=True):
        columns = tuple(ticks.values())
        count, row = runner(states, params, zeros[:1], zeros, columns, lo, hi, out, places, codes)
        assert row == hi
        names = ["start", "close", "volume", "closed"]
        found += [tuple(int(one[name]) for name in names) for one in out[:count]]
    return found
