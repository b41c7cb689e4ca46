"""Declared parameters: what is accepted, completed and refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.model.errors import ConfigError
from parity.model.parameters import (
    REQUIRED,
    Parameter,
    check_parameters,
    complete_parameters,
    is_plain,
    shown,
)

DECLARED = {
    "lookback": Parameter("int", 20, minimum=2),
    "threshold": Parameter("float", 0.01, exclusive_minimum=0, maximum=1),
    "side": Parameter("str", "auto", choices=("BUY", "SELL", "auto")),
    "daily": Parameter("int", None, minimum=1, maximum=10_000_000),
    "model": Parameter("path"),
}


def test_defaults_complete_in_declared_order() -> None:
    """What is not given is filled in; the order is the declaration's, whatever was given first."""
    completed = check_parameters(DECLARED, {"model": "m.onnx", "lookback": 5})
    assert list(completed) == list(DECLARED)
    assert list(completed.values()) == [5, 0.01, "auto", None, "m.onnx"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("lookback", 1, "expected an integer ≥ 2, was 1"),
        ("lookback", "twenty", 'expected an integer ≥ 2, was "twenty"'),
        ("lookback", 5.0, "expected an integer ≥ 2, was 5.0"),
        ("lookback", True, "expected an integer ≥ 2, was true"),
        ("lookback", None, "expected an integer ≥ 2, was null"),
        ("lookback", [3], "expected an integer ≥ 2, was [3]"),
        ("threshold", 0, "expected a number > 0 and ≤ 1, was 0"),
        ("threshold", float("nan"), "expected a number > 0 and ≤ 1, was nan"),
        ("threshold", float("inf"), "expected a number > 0 and ≤ 1, was inf"),
        ("threshold", 1.5, "expected a number > 0 and ≤ 1, was 1.5"),
        ("threshold", Decimal("0.5"), "expected a number > 0 and ≤ 1, was 0.5"),
        ("side", "buy", 'expected one of BUY, SELL, auto, was "buy"'),
        ("side", 1, "expected one of BUY, SELL, auto, was 1"),
        ("daily", 0, "expected an integer ≥ 1 and ≤ 10000000 or null, was 0"),
        ("model", "", 'expected a file path, was ""'),
        ("modle", "x", "unknown parameter; did you mean 'model'?"),
        ("model", REQUIRED, "expected a file path, was missing; give model a value"),
        ("lookback", "x" * 500, "…"),
    ],
)
def test_what_is_wrong_is_said(name: str, value: Any, said: str) -> None:
    """Each refusal names the parameter, the rule and the value."""
    given_ = {"model": "m", name: value}
    if value is REQUIRED:
        del given_[name]
    with pytest.raises(ConfigError) as caught:
        check_parameters(DECLARED, given_)
    assert str(caught.value).startswith(f"parameters.{name}: ")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 200


def test_every_fault_is_named() -> None:
    """Three faults are three lines."""
    with pytest.raises(ConfigError) as caught:
        check_parameters(DECLARED, {"lookback": 0, "x": 1})
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "parameters.x", "parameters.lookback", "parameters.model",
    ]  # fmt: skip


def test_numpy_scalars_become_plain() -> None:
    """A sweep over numpy values gives the configuration that plain numbers give."""
    given_ = {"lookback": np.int64(5), "threshold": np.float64(0.5), "model": np.str_("m")}
    completed = check_parameters(DECLARED, given_)
    assert completed == check_parameters(DECLARED, {"lookback": 5, "threshold": 0.5, "model": "m"})
    assert {type(v) for v in completed.values()} <= {int, float, str, type(None)}
    assert check_parameters({"b": Parameter("bool", False)}, {"b": np.bool_(True)}) == {"b": True}


@given(
    st.dictionaries(
        st.sampled_from([*DECLARED, "other"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    )
)
def test_checking_twice_changes_nothing(given_: dict[str, Any]) -> None:
    """What one check accepted, a second accepts unchanged; else every fault names a real key."""
    completed, faults = complete_parameters(DECLARED, given_)
    if not faults:
        assert complete_parameters(DECLARED, completed) == (completed, [])
        assert is_plain(completed)
    for fault in faults:
        assert fault.name in given_ or fault.name == "model"


def test_a_declaration_is_checked_itself() -> None:
    """An unknown kind, or a default outside its own range, fails where it is written."""
    with pytest.raises(ConfigError, match="parameter kind 'integer'"):
        Parameter("integer")
    with pytest.raises(ConfigError, match="default 0 is not an integer ≥ 1"):
        Parameter("int", 0, minimum=1)


def test_plain_values() -> None:
    """Plain is what can be written down and compared; objects and other keys are not."""
    assert is_plain({"a": [1, 2.0, None, True, "x", Decimal(1)]})
    assert not is_plain({1: 2})
    assert not is_plain([object()])
    assert [shown(v) for v in (None, True, "a", 1.5)] == ["null", "true", '"a"', "1.5"]
