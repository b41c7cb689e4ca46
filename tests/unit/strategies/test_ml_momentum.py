"""parity.strategies.ml.ml_momentum: features, confidence, and what it does without a model."""

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.live.inference import load_model, shipped_models
from parity.model.errors import ConfigError
from parity.model.protocols import MLCapable
from parity.model.values import MarketTick, SignalResult
from parity.strategies.ml.ml_momentum import MLMomentum, create

MAKER = shipped_models() / "make_momentum.py"


class Window:
    """The last prices of one instrument, as a history shows them."""

    def __init__(self, prices: Sequence[float]) -> None:
        self.price = np.array(prices, np.float64)

    def __len__(self) -> int:
        return len(self.price)


class Odds:
    """A model that answers what it was told, or raises it."""

    sha256 = "0" * 64

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def predict(self, features: Sequence[float]) -> npt.NDArray[np.float32]:
        """Return the next answer; the last one for ever."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return np.array(answer, np.float32)


def tick(price: float) -> MarketTick:
    """Return a trade of instrument 1 at a price."""
    return MarketTick(1, round(price, 4), datetime.fromtimestamp(0, UTC))


def ask(processor: MLMomentum, prices: Sequence[float]) -> SignalResult | None:
    """Return what the processor says at the last of the prices."""
    return processor.process_tick(tick(prices[-1]), Window(prices))


def shipped(**parameters: Any) -> MLMomentum:
    """Return a processor with the shipped model in place."""
    processor = create(parameters)
    processor.use_model(load_model(processor.model_path, root=shipped_models()))
    return processor


def walk(count: int, seed: int, sd: float = 0.001) -> npt.NDArray[np.float64]:
    """Return a seeded random walk around 100, on the instrument's grid of prices."""
    steps = np.random.default_rng(seed).normal(0, sd, count)
    return np.round(100 * np.cumprod(1 + steps), 4)


def test_it_is_a_processor_that_can_ask_models() -> None:
    """It is recognised by the methods of MLCapable, and needs 20 ticks unless told otherwise."""
    processor = create({})

    assert isinstance(processor, MLCapable)
    assert ("ml_momentum", 20) == (
        processor.get_strategy_name(),
        processor.get_required_history_length(),
    )
    assert 5 == create({"lookback_periods": 5}).get_required_history_length()


def test_without_a_model_it_never_signals() -> None:
    """A processor nobody gave a model says nothing, and says that it has none."""
    processor = create({})

    assert not processor.load_model()
    assert ask(processor, np.linspace(100, 110, 20)) is None
    assert 0 == processor.inference_errors


def test_a_rise_is_bought_and_a_fall_sold() -> None:
    """A drift of one percent inside the window gives a signal at the tick's own price."""
    rise, fall = np.linspace(100, 101.3333, 20), np.linspace(101.3333, 100, 20)
    bought, sold = ask(shipped(), rise), ask(shipped(), fall)

    assert bought is not None
    assert sold is not None
    assert ("BUY", "SELL") == (bought.signal_type, sold.signal_type)
    assert (101.3333, 100, 100) == (bought.price, bought.quantity, sold.quantity)
    assert min(bought.confidence, sold.confidence) > 0.9


def test_a_flat_window_is_silent() -> None:
    """The model calls a flat window flat."""
    assert ask(shipped(), [100.0] * 20) is None


def test_features_are_first_last_and_return_in_float32() -> None:
    """The window is the last `lookback_periods` prices, however long the history is."""
    features = create({"lookback_periods": 3}).extract_features(
        tick(101.0), Window([7.0, 100.0, 100.5, 101.0])
    )

    assert np.float32 == features.dtype
    assert [100.0, 101.0, float(np.float32(0.01))] == features.tolist()


def test_a_window_that_starts_at_zero_does_not_divide_by_it() -> None:
    """The denominator of the return is at least 1e-9."""
    features = create({"lookback_periods": 2}).extract_features(tick(1.0), Window([0.0, 1.0]))

    assert float(np.float32(1.0 / 1e-9)) == float(features[2])


@given(st.lists(st.floats(1e-6, 1e6), min_size=20, max_size=30))
@settings(max_examples=25)
def test_extract_features_is_pure(prices: list[float]) -> None:
    """Asking twice, and between other windows, gives the same bytes and changes no price."""
    processor, window = create({}), Window(prices)
    first = processor.extract_features(tick(1.0), window).tobytes()
    processor.extract_features(tick(1.0), Window(prices[::-1]))

    assert first == processor.extract_features(tick(1.0), window).tobytes()
    assert prices == window.price.tolist()


def test_metadata_holds_the_float32_values_as_floats() -> None:
    """What parity compares is the return and the odds exactly as the model saw and gave them."""
    processor = create({"lookback_periods": 2})
    processor.use_model(Odds([0.1, 0.3, 0.6]))
    signal = ask(processor, [100.0, 100.1])

    assert signal is not None
    assert signal.metadata == {
        "ret": float(np.float32((100.1 - 100.0) / 100.0)),
        "p_up": float(np.float32(0.6)),
        "p_down": float(np.float32(0.1)),
    }
    assert {float} == {type(value) for value in signal.metadata.values()}
    assert float(np.float32(0.6)) == signal.confidence


@pytest.mark.parametrize(
    ("odds", "expected"),
    [
        ([0.25, 0.25, 0.5], "BUY"),  # the threshold itself passes
        ([0.5, 0.25, 0.25], "SELL"),
        ([0.25, 0.26, 0.49], None),
        ([0.5, 0.5], None),  # a tie has no direction
        ([0.4, 0.6], "BUY"),
    ],
)
def test_the_threshold_is_inclusive(odds: list[float], expected: str | None) -> None:
    """Odds below min_conf are dropped, equal ones pass."""
    processor = create({"lookback_periods": 2, "min_conf": 0.5})
    processor.use_model(Odds(odds))
    signal = ask(processor, [100.0, 100.1])

    assert expected == (signal.signal_type if signal else None)


@pytest.mark.parametrize(
    "failure", [RuntimeError("boom"), [np.nan, 0.1, 0.9], [0.1, 0.1, np.inf], [-0.2, 0, 1.2], []]
)
def test_a_failing_inference_yields_nothing_and_is_counted(failure: Any) -> None:
    """No exception crosses; the next tick is served again."""
    processor = create({"lookback_periods": 2})
    processor.use_model(Odds([0.1, 0.1, 0.8], failure, [0.1, 0.1, 0.8]))

    assert ask(processor, [100.0, 100.1]) is None
    assert 1 == processor.inference_errors
    assert processor.last_inference_error
    assert ask(processor, [100.0, 100.1]) is not None


def test_the_error_count_survives_a_checkpoint() -> None:
    """A snapshot carries the count to another processor."""
    processor, other = create({"lookback_periods": 2}), create({"lookback_periods": 2})
    processor.use_model(Odds([0.1, 0.9], RuntimeError("boom")))
    ask(processor, [1.0, 1.0])
    other.restore(processor.snapshot())

    assert (1, "RuntimeError: boom") == (other.inference_errors, other.last_inference_error)


@pytest.mark.parametrize("answer", [RuntimeError("boom"), [0.5], [0.2] * 5, [np.nan, 0.5]])
def test_a_model_of_another_kind_is_refused_at_the_door(answer: Any) -> None:
    """The dry run names the model and what it gave; no model is in place afterwards."""
    processor = create({"model_path": "odd.onnx"})

    with pytest.raises(ConfigError, match=r"odd\.onnx"):
        processor.use_model(Odds(answer))
    assert not processor.load_model()


def test_a_model_with_other_features_is_refused(tmp_path: Path) -> None:
    """A real model with another width fails the dry run by name."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Softmax", ["x"], ["y"])],
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    (tmp_path / "two.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(ConfigError, match="expected 2 features, was 3"):
        create({}).use_model(load_model("two.onnx", root=tmp_path))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lookback_perids": 3}, "did you mean 'lookback_periods'"),
        ({"lookback_periods": 0}, "lookback_periods: expected an integer ≥ 2, was 0"),
        ({"lookback_periods": "twenty"}, "lookback_periods"),
        ({"position_size": -1}, "position_size"),
        ({"min_conf": 1.5}, "min_conf: expected a number ≥ 0 and ≤ 1, was 1.5"),
        ({"min_conf": float("nan")}, "min_conf"),
        ({"model_path": ""}, "model_path"),
    ],
)
def test_a_wrong_parameter_is_named(parameters: dict[str, Any], message: str) -> None:
    """A configuration error names the parameter, its value and the cure."""
    with pytest.raises(ConfigError, match="parameters") as caught:
        create(parameters)

    assert message in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(("sd", "least", "most"), [(0.0003, 1, 400), (0.001, 500, 9_000)])
def test_a_random_walk_gives_some_signals(sd: float, least: int, most: int) -> None:
    """Ticks of ordinary noise lead to some signals on both sides, and not on every tick."""
    processor, prices = shipped(), walk(10_000, seed=1, sd=sd)
    found = [
        signal
        for end in range(20, len(prices) + 1)
        if (signal := ask(processor, prices[end - 20 : end])) is not None
    ]

    assert least <= len(found) <= most
    assert {"BUY", "SELL"} == {signal.signal_type for signal in found}
    assert 0 == processor.inference_errors


def test_the_price_level_does_not_matter() -> None:
    """The same returns at a million times the price give the same odds."""
    model = load_model("momentum.onnx", root=shipped_models())
    for ret in (-0.01, -0.004, 0.0, 0.004, 0.01):
        low = model.predict([1e-3, 1e-3 * (1 + ret), ret])
        high = model.predict([1e6, 1e6 * (1 + ret), ret])

        assert low.tobytes() == high.tobytes()


def test_odds_grow_with_the_return() -> None:
    """A larger return never moves the odds from up towards down."""
    model = load_model("momentum.onnx", root=shipped_models())
    odds = [model.predict([100.0, 100.0, ret]) for ret in np.linspace(-0.02, 0.02, 401)]

    assert (np.diff([o[2] - o[0] for o in odds]) >= 0).all()
    assert min(odds[0][0], odds[-1][2]) > 0.99


@pytest.mark.slow
def test_the_checked_in_model_is_what_the_script_makes(tmp_path: Path) -> None:
    """Rebuilding the model gives the bytes that are checked in."""
    out = tmp_path / "rebuilt.onnx"
    subprocess.run([sys.executable, MAKER, out], check=True, capture_output=True)
    sha256 = hashlib.sha256((shipped_models() / "momentum.onnx").read_bytes()).hexdigest()

    assert sha256 == hashlib.sha256(out.read_bytes()).hexdigest()
