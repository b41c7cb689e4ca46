"""Indicators on values worked out by hand, and how they refuse what makes no sense."""

import math
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from parity import kernels
from parity.kernels import extremes, flows, returns, smoothing, windows
from parity.kernels.catalogue import INDICATORS
from parity.kernels.record import Record

NAN = math.nan
NANS = (NAN, NAN, NAN)
DAYS = np.array(["2025-06-01", "2025-06-02"], "datetime64[D]")
BARS = ([10, 12, 13, 20], [8, 9, 12, 12], [9, 11, 12, 15])
EIGHT = [2, 4, 4, 4, 5, 5, 7, 9]  # mean 5, population deviation 2

# (indicator, columns, parameters, rows): each row can be followed with pencil and paper
BY_HAND: list[tuple[str, tuple[list[int], ...], dict[str, Any], list[Any]]] = [
    ("sma", ([10, 20, 60],), {"window": 2, "unit": 10}, [NAN, 1.5, 4.0]),
    ("rolling_mean", ([1, 2, 4],), {"window": 2}, [NAN, 1.5, 3.0]),
    ("rolling_std", (EIGHT,), {"window": 8, "unit": 10}, [NAN] * 7 + [0.2]),
    ("zscore", (EIGHT,), {"window": 8}, [NAN] * 7 + [2.0]),
    ("zscore", ([3, 3, 5, 4],), {"window": 2}, [NAN, 0.0, 1.0, -1.0]),
    ("bollinger", (EIGHT,), {"window": 8, "width": 1.5}, [NANS] * 7 + [(5.0, 8.0, 2.0)]),
    ("ema", ([1, 2, 3, 4, 8],), {"window": 3}, [NAN, NAN, 2.0, 3.0, 5.5]),
    ("rsi", ([1, 2, 3, 2, 5, 3],), {"window": 2}, [NAN, NAN, 100.0, 50.0, 87.5, 43.75]),
    ("rsi", ([5, 5, 5],), {"window": 2}, [NAN, NAN, 50.0]),
    (
        "macd",
        ([1, 2, 3, 6, 4, 8],),
        {"fast": 1, "slow": 3, "signal": 3},
        [NANS] * 4 + [(0.0, 1.0, -1.0), (2.0, 1.5, 0.5)],
    ),
    ("atr", BARS, {"window": 2, "unit": 1}, [NAN, NAN, 2.5, 5.25]),
    ("rolling_min", ([3, 1, 2, 5, 4],), {"window": 2, "unit": 10}, [NAN, 0.1, 0.1, 0.2, 0.4]),
    ("rolling_max", ([3, 1, 2, 5, 4],), {"window": 2, "unit": 10}, [NAN, 0.3, 0.2, 0.5, 0.5]),
    ("donchian", BARS[:2], {"window": 2}, [NANS, (12, 10, 8), (13, 11, 9), (20, 16, 12)]),
    ("roc", ([4, 5, 6, 0, 3],), {"window": 2}, [NAN, NAN, 0.5, -1.0, -0.5]),
    ("roc", ([0, 1, 2],), {"window": 1}, [NAN, NAN, 1.0]),
    (
        "stochastic",
        BARS,
        {"window": 2, "smooth": 1, "signal": 2},
        [NANS[:2]] * 2 + [(75.0, 75.0), (37.5, 56.25)],
    ),
    ("volatility", ([4, 5, 5, 10],), {"window": 2}, [NAN, NAN, 0.25, 1.0]),
    (
        "adx",  # true ranges 3 2 8 5, moves up 2 1 7 0, moves down 0 0 0 2
        ([10, 12, 13, 20, 15], [8, 9, 12, 12, 10], [9, 11, 12, 15, 11]),
        {"window": 2},
        [NANS] * 3 + [(100.0, 800 / 9.75, 0.0), (200 / 3, 400 / 9.875, 200 / 9.875)],
    ),
    ("vwap", ([9, 10, 20, 40], [0, 1, 3, 0]), {"unit": 10}, [NAN, 1.0, 1.75, 1.75]),
    ("obv", ([5, 6, 6, 4], [10, 20, 30, 40]), {"quantity_unit": 10}, [0.0, 2.0, 2.0, -2.0]),
    (
        "cvd",
        ([1, -1, 0, 1], [5, 2, 9, 1]),
        {"contract_size": 100, "quantity_unit": 10},
        [50.0, 30.0, 30.0, 40.0],
    ),
    (
        "cvd_quote",
        ([1, -1], [200, 300], [5, 2]),
        {"unit": 10, "quantity_unit": 10},
        [10.0, 4.0],
    ),
    (
        "cvd_inverse",
        ([1, -1], [200, 400], [5, 2]),
        {"contract_size": 100, "unit": 10},
        [25.0, 20.0],
    ),
]


@pytest.mark.parametrize(
    ("name", "columns", "parameters", "rows"), BY_HAND, ids=[case[0] for case in BY_HAND]
)
def test_values_by_hand(
    name: str, columns: tuple[list[int], ...], parameters: dict[str, Any], rows: list[Any]
) -> None:
    """The streaming form gives what pencil and paper give."""
    stream = INDICATORS[name].stream(**parameters)

    found = [stream.push(*inputs) for inputs in zip(*columns, strict=True)]

    np.testing.assert_allclose(np.array(found), np.array(rows), rtol=1e-15, atol=0)


def test_every_indicator_was_worked_out() -> None:
    """None is left out of the table above."""
    assert set(INDICATORS) == {case[0] for case in BY_HAND}


@pytest.mark.slow
def test_a_column_of_a_frame_says_its_unit_itself() -> None:
    """Floats, Decimals and integers with their unit are the same numbers."""
    texts = ["0.1", "0.2", "0.4", "123456.7"]
    floats = pl.Series("price", [float(text) for text in texts])
    decimals = pl.Series("price", [Decimal(text) for text in texts])
    stored = decimals.cast(pl.Decimal(18, 2))
    finer = decimals.cast(pl.Decimal(38, 18))
    gapped = pl.Series("price", [*decimals, None], dtype=pl.Decimal(18, 2))
    integers = pl.Series("price", [1, 2, 4, 1234567])

    expected = [0.15, 0.3, 61728.55]

    assert expected == kernels.sma(floats, 2)[1:].tolist()
    assert expected == kernels.sma(decimals, 2)[1:].tolist()
    assert expected == kernels.sma(stored, 2)[1:].tolist()
    assert expected == kernels.sma(finer, 2)[1:].tolist()
    assert expected == kernels.sma(gapped, 2)[1:-1].tolist()
    assert expected == kernels.sma(integers, 2, unit=10)[1:].tolist()
    assert expected == kernels.sma(floats.to_list(), window=2)[1:].tolist()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: kernels.sma([1], 0), "sma: window: expected 1 or more, was 0"),
        (lambda: kernels.sma([1], 2.0), "sma: window: expected 1 or more, was 2.0"),
        (lambda: kernels.sma([1], windw=2), "sma: windw: no such parameter; it takes window, unit"),
        (lambda: kernels.sma([0.5], 2, unit=10), "sma: value: expected integers of the unit"),
        (lambda: kernels.sma([math.inf], 2), "sma: value: expected finite values, row 0 is inf"),
        (lambda: kernels.ema(["1"], 2), "ema: value: expected numbers, was <U1"),
        (lambda: kernels.sma(["a"], 2), "sma: value: expected numbers, was <U1"),
        (lambda: kernels.ema(pl.Series(["1"]), 2), "ema: value: expected numbers, was <U1"),
        (lambda: kernels.ema(DAYS, 2), "ema: value: expected numbers, was datetime64"),
        (lambda: kernels.ema(pl.Series(DAYS), 2), "ema: value: expected numbers, was datetime64"),
        (lambda: kernels.sma(pd.Series(DAYS), 2), "sma: value: expected numbers, was datetime64"),
        (lambda: kernels.ema(np.array([1j]), 2), "ema: value: expected numbers, was complex"),
        (lambda: kernels.sma([1.0, 1e300], 2), "sma: value: a value does not fit int64"),
        (lambda: kernels.sma([2**53, 1], 2), "sma: value: the sums are exact for integers up to"),
        (lambda: kernels.sma([1], 2, unit=2**53), r"sma: window \* unit: expected at most 2\*\*53"),
        (lambda: kernels.bollinger([1], 2, -1.0), "bollinger: width: expected 0 or more"),
        (lambda: kernels.macd([1], 3, 3), "macd: fast: expected below slow"),
        (lambda: kernels.atr([1], [1]), "expected atr"),
        (lambda: kernels.atr([1], [1], [1, 2]), "atr: columns of unequal length"),
        (lambda: kernels.vwap([1], [-1]), "vwap: quantity: expected 0 or more, at .*-1"),
        (lambda: kernels.vwap([1] * 9, [2**53] * 9, unit=2**3), "vwap: .* would pass"),
        (lambda: kernels.obv([1, 2, 3], [9, 2**53, 1]), "obv: quantity: the sum would pass"),
        (lambda: kernels.cvd([1, 1], [2**52, 2**53]), "cvd: quantity: the sum would pass"),
        (lambda: kernels.cvd_inverse([1], [0], [1]), "cvd_inverse: price: expected above 0, at"),
        (lambda: kernels.vwap([1], [1], unit=2**54), "vwap: unit .* expected at most"),
        (lambda: kernels.rolling_max([1], unit=2**53), "rolling_max: unit: expected at most"),
        (lambda: kernels.sma(20, [1]), "sma: value: expected a column of one dimension, was 0"),
        (lambda: kernels.sma([1], 2, 100), "expected sma.*units by name"),
        (lambda: kernels.sma([1], 2, window=3), "sma: window: given twice, as 2 and as 3"),
        (lambda: kernels.macd.dtype(3, 5, slow=5), "macd: slow: given twice, as 5 and as 5"),
        (lambda: kernels.rsi.stream().push(1.5), "rsi: value: expected an integer, as price_int"),
        (lambda: kernels.ema.stream().push(NAN), "ema: value: expected a finite number, was nan"),
        (lambda: kernels.atr.stream().push(1), "atr: expected high, low, close, was"),
        (lambda: kernels.smaa([1]), "no attribute 'smaa'; indicators are ema, rsi"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(call: Any, said: str) -> None:
    """Before anything is computed, and the message names the indicator, the input and the cure."""
    with pytest.raises((ValueError, TypeError, OverflowError, AttributeError), match=said):
        call()


@pytest.mark.parametrize("one", [kernels.sma, kernels.ema], ids=["integers", "floats"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.inf, "expected finite values, row 2 is inf"),
        (Decimal("-Infinity"), "expected finite values, row 2 is -Infinity"),
        ("7", "expected numbers, row 2 is '7'"),
        (pd.NA, "expected numbers, row 2 is <NA>"),
        (Fraction(1, 3), r"expected numbers, row 2 is Fraction\(1, 3\)"),
    ],
)
def test_a_value_that_is_no_number_is_named_with_its_row(one: Any, value: Any, said: str) -> None:
    """In a column of objects, too, and rows are counted with the gaps."""
    with pytest.raises(ValueError, match=f"{one.name}: value: {said}"):
        one(np.array([1, None, value, 3], object), 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sma", "ema"])
@pytest.mark.parametrize("large", [3, 2**51 + 1])
def test_a_gap_is_a_gap_in_every_kind_of_column(name: str, large: int) -> None:
    """Masks of numpy, nulls of polars, NA of pandas; integers beside one are not rounded."""
    numbers = [large, None, large + 2]
    columns = [
        numbers,
        np.ma.MaskedArray([large, 999, large + 2], [False, True, False]),
        np.ma.MaskedArray([large, math.inf, large + 2], [False, True, False]),
        pl.Series(numbers),
        pl.Series(numbers, dtype=pl.UInt64),
        pl.Series([float(large), math.nan, large + 2.0]),
        pd.Series(numbers, dtype="Int64"),
        pd.Series(numbers, dtype="Float64"),
        pd.Series([large, pd.NA, large + 2], dtype=object),
        pa.array(numbers),
        pa.chunked_array([numbers[:2], numbers[2:]]),
        np.array([large, Decimal("sNaN"), large + 2], object),
    ]
    for column in columns:
        assert INDICATORS[name](column, 2).tolist() == pytest.approx(
            [NAN, NAN, large + 1.0], nan_ok=True, rel=0, abs=0
        )


@pytest.mark.slow
def test_an_integer_that_no_float_holds_is_not_rounded_beside_a_gap() -> None:
    """It is refused as it is in a column without gaps."""
    for column in (pl.Series([2**53 + 1, None]), pd.Series([2**53 + 1, None], dtype="Int64")):
        with pytest.raises(OverflowError, match=f"vwap: price: .*was {2**53 + 1}"):
            kernels.vwap(column, [1, 1], unit=1)


@pytest.mark.parametrize(
    ("name", "ticks"),
    [
        ("vwap", [(1, 2**53)] * 17),
        ("vwap", [(5, 3), (5, -1)]),
        ("obv", [(1, 1), (2, 2**53), (3, 1)]),
        ("cvd", [(1, 2**53), (1, 1)]),
        ("cvd_inverse", [(1, 5, 1), (1, 0, 1)]),
    ],
)
def test_a_running_sum_is_refused_before_it_leaves_what_is_exact(
    name: str, ticks: list[tuple[int, ...]]
) -> None:
    """The last tick is refused by the indicator's name, and is not taken in."""
    stream = INDICATORS[name].stream()
    for tick in ticks[:-1]:
        stream.push(*tick)
    before = stream.snapshot()

    with pytest.raises((ValueError, OverflowError), match=f"{name}: "):
        stream.push(*ticks[-1])

    assert before == stream.snapshot()


MOST = 2**53
SIZED = MOST // 100
# (indicator, parameters, rows): each sum comes up to its limit, and the last row is beyond it
SUMS: list[tuple[str, dict[str, int], list[tuple[int, ...]]]] = [
    ("vwap", {"unit": 100}, [(7, 2**57 // 5_000)] * 50 + [(7, 2**57 // 100 % 50 + 1)]),
    ("obv", {}, [(0, 9), *[(1, MOST), (0, MOST)] * 20, (1, MOST), (2, 1)]),
    ("cvd", {"contract_size": 100}, [*[(1, SIZED), (-1, SIZED)] * 20, (1, SIZED), (1, 1)]),
    ("cvd_quote", {}, [(1, MOST, MOST)] * 2**13),
    ("cvd_inverse", {"unit": 10}, [*[(1, 5, 9)] * 40, (1, 0, 9)]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parameters", "rows"), SUMS, ids=[case[0] for case in SUMS])
def test_which_sum_is_refused_does_not_depend_on_cuts(
    name: str, parameters: dict[str, int], rows: list[tuple[int, ...]]
) -> None:
    """The last row alone is, wherever a column was cut, and what was not taken changed nothing."""
    one = INDICATORS[name]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    stream = one.stream(**parameters)
    for row in rows[:-1]:
        stream.push(*row)

    for cut in (0, 1, 20, len(rows) - 1):
        states = one.zeros(parameters)
        one.advance(states, [column[:cut] for column in columns], parameters)
        before = states.tobytes()
        with pytest.raises((OverflowError, ValueError), match=f"{name}: .*{rows[-1][-1]}}}$"):
            one.advance(states, [column[cut:] for column in columns], parameters)

        assert before == states.tobytes()
        one.advance(states, [column[cut:-1] for column in columns], parameters)
        assert stream.snapshot()["state"] == Record(states[0], states.dtype.names or ()).plain()


def changed(state: Any, **fields: Any) -> dict[str, Any]:
    """Return a stream's snapshot with some fields of its record changed, or left out (None)."""
    record = {name: one for name, one in {**state["state"], **fields}.items() if one is not None}
    return {**state, "state": record}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            lambda s: kernels.rsi.stream(window=2).snapshot(),
            "sma: restore: indicator: expected sma, was rsi",
        ),
        (
            lambda s: kernels.sma.stream(window=4).snapshot(),
            "sma: restore: parameters: expected .*3.*, was .*4",
        ),
        (
            lambda s: kernels.sma.stream(window=3, unit=10).snapshot(),
            "parameters: expected .*, was .*10",
        ),
        (lambda s: {}, "sma: restore: expected indicator, parameters, state, was"),
        (lambda s: None, "sma: restore: expected indicator, parameters, state, was None"),
        (lambda s: s["state"], "sma: restore: expected indicator, parameters, state, was"),
        (lambda s: {**s, "state": 3}, "sma: restore: state: expected at, count, ring, total"),
        (lambda s: changed(s, total=None), "sma: restore: state: expected at, count, ring, total"),
        (lambda s: changed(s, more=1), "sma: restore: state: expected at, count, ring, total"),
        (lambda s: changed(s, ring=[1, 2]), "sma: restore: state.ring: expected 32 int64, was"),
        (lambda s: changed(s, total="7"), "sma: restore: state.total: expected int64, was '7'"),
        (lambda s: changed(s, total=1.5), "sma: restore: state.total: expected int64, was 1.5"),
        (lambda s: changed(s, total=2**63), "sma: restore: state.total: expected int64, was"),
    ],
)
def test_a_stream_takes_back_only_its_own(wrong: Any, said: str) -> None:
    """Another's snapshot, of other parameters or damaged, is refused and changes nothing."""
    stream = kernels.sma.stream(window=3)
    for value in (1, 2, 6):
        stream.push(value)
    before = stream.snapshot()

    with pytest.raises(ValueError, match=said):
        stream.restore(wrong(stream.snapshot()))

    assert before == stream.snapshot()
    assert 4.0 == stream.push(4)


def test_a_state_is_one_thing_under_one_name() -> None:
    """What the module of an indicator gives as its state is what `parity.kernels` gives."""
    held = []
    for family in (smoothing, windows, extremes, returns, flows):
        for one in family.INDICATORS:
            made = vars(family).get(f"{one.name}_state")
            if made is None:
                continue
            wanted = {"window": 200, "smooth": 70, "signal": 90}
            named = {name: wanted[name] for name in signature(made).parameters}
            assert made(**named) == getattr(kernels, f"{one.name}_state")(**named)
            held.append(one.name)

    assert {"sma", "roc", "volatility", "donchian", "stochastic", "ema", "vwap"} <= {*held}


def test_nothing_is_a_column_too() -> None:
    """No rows give no values, of any type of column."""
    assert kernels.sma([], 3).tolist() == []
    assert kernels.ema(pl.Series([], dtype=pl.Float64), 3).tolist() == []
    assert [[], [], []] == [column.tolist() for column in kernels.donchian([], [], 3)]
    assert kernels.cvd([None, None], [1, None]).tolist() == pytest.approx([NAN, NAN], nan_ok=True)


def test_importing_the_room_loads_no_numba() -> None:
    """Neither the room, nor a step, nor a stream waits for the compiler."""
    code = (
        "import sys, parity.kernels as k; k.rsi.stream(window=2).push(1); k.ema_step;"
        " print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False"]
