"""Makes momentum.onnx, the small model that ml_momentum asks.

Run it as `python strategies/models/make_momentum.py`; nothing imports it.

Twenty ticks of a random walk either drift up, drift down or stay; the model learns, from the
return of the window alone, how likely each of the three is. Every run writes the same bytes: the
draws and the walk use `random()`, `+` and `*` only, and the weights are rounded far above an ulp.
It forecasts no market.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, checker, helper

SEED = 20_260_101
WINDOW_TICKS = 20
WINDOWS_PER_CLASS = 1_000
TICK_SD = 0.0006  # noise of one tick, as a fraction of the price
WINDOW_DRIFT = 0.008  # what a drifting window gains or loses, as a fraction
EPOCHS = 3_000
LEARNING_RATE = 0.5
DECIMALS = 3
CLASSES = (-1, 0, 1)  # down, flat, up: the order of the outputs
IR_VERSION, OPSET = 8, 17


def window_return(draw: random.Random, direction: int) -> float:
    """Return (last - first) / first of one walk of WINDOW_TICKS prices that drifts or not."""
    steps = WINDOW_TICKS - 1
    price = 1.0
    for _ in range(steps):
        noise = (draw.random() - 0.5) * 12**0.5 * TICK_SD  # uniform with that standard deviation
        price *= 1.0 + direction * WINDOW_DRIFT / steps + noise
    return price - 1.0


def hidden(returns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return what the first layer gives: rise and fall in percent, each cut off at zero."""
    percent = returns * 100.0
    return np.column_stack([np.maximum(percent, 0.0), np.maximum(-percent, 0.0)])


def train() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return weights [2, 3] and bias [3] of the second layer, by softmax regression."""
    draw = random.Random(SEED)
    labels = np.repeat(np.arange(3), WINDOWS_PER_CLASS)
    rows = hidden(np.array([window_return(draw, CLASSES[label]) for label in labels]))
    wanted = np.eye(3)[labels]
    weights, bias = np.zeros((2, 3)), np.zeros(3)
    for _ in range(EPOCHS):
        scores = rows @ weights + bias
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = (odds / odds.sum(axis=1, keepdims=True) - wanted) / len(rows)
        weights -= LEARNING_RATE * (rows.T @ error)
        bias -= LEARNING_RATE * error.sum(axis=0)
    return (
        np.round(weights, DECIMALS).astype(np.float32),
        np.round(bias, DECIMALS).astype(np.float32),
    )


def build() -> ModelProto:
    """Return features [1, 3] (p0, pN, ret) → probabilities [1, 3] (down, flat, up)."""
    weights, bias = train()
    # Only ret is read: what a price level is worth must not depend on the instrument.
    split = np.array([[0.0, 0.0], [0.0, 0.0], [100.0, -100.0]], np.float32)
    tensors = {"split": split, "split_bias": np.zeros(2, np.float32), "weights": weights}
    tensors["bias"] = bias
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["features", "split", "split_bias"], ["percent"]),
            helper.make_node("Relu", ["percent"], ["rise_and_fall"]),
            helper.make_node("Gemm", ["rise_and_fall", "weights", "bias"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=-1),
        ],
        "momentum",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 3])],
        [
            helper.make_tensor(name, TensorProto.FLOAT, value.shape, value.tobytes(), raw=True)
            for name, value in tensors.items()
        ],
    )
    model: ModelProto = helper.make_model(
        graph,
        producer_name="parity",
        producer_version="1",
        doc_string="features p0, pN, ret of the last 20 prices; probabilities down, flat, up",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    checker.check_model(model, full_check=True)
    return model


def main(out: Path) -> None:
    """Write the model to a file."""
    out.write_bytes(build().SerializeToString(deterministic=True))
    print(f"{out}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("momentum.onnx"))
