"""One law over every indicator: stream, column, kernel and reference are the same bits.

At every prefix, warm-up included, around gaps, and through a restart at any cut.
"""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.kernels.catalogue import INDICATORS
from parity.kernels.indicator import Indicator
from parity.kernels.record import Record

pytestmark = pytest.mark.slow  # each indicator is compiled once
EVERY = pytest.mark.parametrize("one", INDICATORS.values(), ids=list(INDICATORS))


def bits(rows: Any) -> list[bytes]:
    """Give rows of floats as their bits, so that NaN equals NaN and 0.0 is not -0.0."""
    listed = (row if isinstance(row, tuple | list | np.ndarray) else (row,) for row in rows)
    return [struct.pack(f"<{len(row)}d", *row) for row in listed]


@st.composite
def parameters_of(draw: Any, one: Indicator) -> dict[str, Any]:
    """Draw parameters of every kind: windows of a few values, units of some scales."""
    drawn = {}
    for name, default in one.parameters.items():
        if name.endswith("unit"):
            drawn[name] = draw(st.sampled_from([1, 100, 10**6]))
        elif isinstance(default, float):
            drawn[name] = draw(st.floats(0, 4))
        else:
            drawn[name] = draw(st.integers(1, 6))
    if "slow" in drawn:
        drawn["slow"] += drawn["fast"]
    return one.completed(drawn)


@st.composite
def rows_of(draw: Any, one: Indicator, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Draw rows of inputs: ties and jumps, up to the largest there may be; bars are bars."""
    if one.largest is None:
        numbers: Any = st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float)
    else:
        most = one.largest(parameters)
        numbers = st.integers(-3, 3) | st.integers(9000, 9100) | st.integers(-most, most)
    # 40 of the largest quantities stay within every limit on running sums
    size = parameters.get("contract_size", 1) * parameters.get("unit", 1)
    bound = 2**46 if one.largest is None else min(2**46, one.largest(parameters))
    quantities = st.integers(0, 9) | st.integers(0, bound // size)
    special = {"side": st.integers(-1, 1), "quantity": quantities}
    if one.name == "cvd_inverse":
        special["price"] = numbers.map(abs).filter(bool)
    kinds = [special.get(name, numbers) for name in one.inputs]
    rows = draw(st.lists(st.tuples(*kinds), max_size=40))
    if "low" not in one.inputs:
        return list(rows)
    return [(max(row), min(row), sorted(row)[len(row) // 2])[: len(row)] for row in rows]


def columns_of(one: Indicator, rows: list[tuple[Any, ...]]) -> list[np.ndarray[Any, Any]]:
    """Give rows as numpy columns of the type the step takes."""
    dtype = np.float64 if one.largest is None else np.int64
    return [np.array([row[n] for row in rows], dtype) for n in range(len(one.inputs))]


@EVERY
@settings(deadline=None)
@given(st.data())
def test_stream_column_and_reference_are_one(one: Indicator, data: Any) -> None:
    """One tick at a time, the whole column and the definition agree at every prefix."""
    parameters = data.draw(parameters_of(one))
    rows = data.draw(rows_of(one, parameters))
    stream = one.stream(**parameters)

    streamed = [stream.push(*row) for row in rows]
    column = one.advance(one.zeros(parameters), columns_of(one, rows), parameters)

    assert bits(streamed) == bits(column)
    for end in range(len(rows) + 1):
        lists = [[row[n] for row in rows[:end]] for n in range(len(one.inputs))]
        assert bits(one.reference(*lists, *parameters.values())) == bits(streamed[:end])


@EVERY
@settings(deadline=None)
@given(st.data())
def test_a_restart_at_any_cut_changes_nothing(one: Indicator, data: Any) -> None:
    """From a copy of the state array, or of a stream's plain values, it goes on alike."""
    parameters = data.draw(parameters_of(one))
    rows = data.draw(rows_of(one, parameters))
    cut = data.draw(st.integers(0, len(rows)))
    whole = one.advance(one.zeros(parameters), columns_of(one, rows), parameters)
    states, stream, later = (
        one.zeros(parameters),
        one.stream(**parameters),
        one.stream(**parameters),
    )

    one.advance(states, columns_of(one, rows[:cut]), parameters)
    kept = np.frombuffer(states.tobytes(), states.dtype).copy()
    for row in rows[:cut]:
        stream.push(*row)
    later.restore(json.loads(json.dumps(stream.snapshot())))

    assert Record(states[0], states.dtype.names or ()).plain() == stream.snapshot()["state"]
    assert bits(whole[cut:]) == bits(one.advance(kept, columns_of(one, rows[cut:]), parameters))
    assert bits(whole[cut:]) == bits([later.push(*row) for row in rows[cut:]])


@EVERY
@settings(deadline=None)
@given(st.data())
def test_a_gap_has_no_value_and_changes_none(one: Indicator, data: Any) -> None:
    """Rows with a missing input are NaN, and the others as if they stood alone."""
    parameters = data.draw(parameters_of(one))
    rows = data.draw(rows_of(one, parameters))
    where = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)), reverse=True)
    gapped: list[Any] = list(rows)
    for place in where:
        missing = data.draw(st.integers(0, len(one.inputs) - 1))
        gapped.insert(place, [None if n == missing else 1 for n in range(len(one.inputs))])
    columns = [np.array([row[n] for row in gapped], object) for n in range(len(one.inputs))]

    found = one(*columns, **parameters)
    listed = list(zip(*found, strict=True)) if len(one.outputs) > 1 else found.tolist()

    kept = [row for row, inputs in zip(listed, gapped, strict=True) if None not in inputs]
    alone = one.advance(one.zeros(parameters), columns_of(one, rows), parameters)
    assert bits(alone) == bits(kept)
    assert all(
        np.isnan(row).all() for row, inputs in zip(listed, gapped, strict=True) if None in inputs
    )


@EVERY
@settings(deadline=None)
@given(st.data())
def test_the_first_value_comes_with_the_warm_up(one: Indicator, data: Any) -> None:
    """NaN before the declared row and a value at it, in all outputs at once."""
    parameters = data.draw(parameters_of(one))
    count = one.warm_up(parameters)
    stream = one.stream(**parameters)
    rows = [tuple(100 + n + row for n in range(len(one.inputs))) for row in range(count + 3)]

    values = np.array([stream.push(*row) for row in rows])

    assert np.isnan(values[: count - 1]).all()
    assert not np.isnan(values[count - 1 :]).any()


@pytest.mark.parametrize(
    "one", [one for one in INDICATORS.values() if one.largest], ids=lambda one: one.name
)
def test_an_integer_too_large_is_refused_by_name_before_anything(one: Indicator) -> None:
    """The indicator, the input and the value are named, and the state is as it was."""
    assert one.largest is not None
    most = one.largest(one.parameters)
    stream, states = one.stream(), one.zeros()
    before = stream.snapshot(), states.tobytes()
    rows = [[most + 1] * 3 for _ in one.inputs]

    with pytest.raises(OverflowError, match=rf"{one.name}: {one.inputs[0]}: .*was {most + 1}"):
        one(*rows)
    with pytest.raises(OverflowError, match=f"{one.name}: {one.inputs[0]}"):
        one.advance(states, [np.array(row) for row in rows], {})
    with pytest.raises(OverflowError, match=f"{one.name}: {one.inputs[0]}"):
        stream.push(*(most + 1 for _ in one.inputs))

    assert before == (stream.snapshot(), states.tobytes())
