"""Momentum by a model: the first and last price of a window and its return go in, odds come out.

The processor names the model it wants (`model_path`) and receives it through `use_model` before the
first tick. Never here: files, onnxruntime, a guess where the model is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model.errors import ConfigError
from parity.model.parameters import Parameter, check_parameters
from parity.model.values import MarketTick, SignalResult

if TYPE_CHECKING:
    from parity.model.protocols import Model

NAME: Final = "ml_momentum"
PRICE_MIN: Final = 1e-9  # a window that starts at zero has a return, if a silly one


PARAMETERS: Final = {
    "model_path": Parameter("path", "momentum.onnx", doc="the model, under the model folder"),
    "position_size": Parameter("float", 100, exclusive_minimum=0, doc="quantity of a signal"),
    "min_conf": Parameter("float", 0.5, minimum=0, maximum=1, doc="least odds that signal"),
    "lookback_periods": Parameter("int", 20, minimum=2, doc="ticks of the window"),
}


class MLMomentum:
    """Signals in the likelier direction when the model is at least `min_conf` sure of it.

    The model gives the odds (down, flat, up), or (down, up). Without a model, or where an
    inference fails or gives something that is not finite, it says nothing; failures are counted.
    """

    def __init__(
        self, *, model_path: str, position_size: float, min_conf: float, lookback_periods: int
    ) -> None:
        self.model_path = model_path
        self.position_size = position_size
        self.min_conf = min_conf
        self.lookback_periods = lookback_periods
        self.inference_errors = 0
        self.last_inference_error = ""
        self._model: Model | None = None

    def use_model(self, model: Model) -> None:
        """Take a model, after one dry run; raises ConfigError where it is not of our kind."""
        try:
            odds = model.predict(np.array([1.0, 1.0, 0.0], np.float32))
        except Exception as error:
            raise ConfigError(
                f"{NAME}: model {self.model_path}: dry run failed: {error}"
            ) from error
        if odds.shape not in {(2,), (3,)} or not np.isfinite(odds).all():
            raise ConfigError(
                f"{NAME}: model {self.model_path}: expected 2 or 3 odds, was {odds.tolist()}",
                cure="features are (p0, pN, ret), outputs (down, flat, up) or (down, up)",
            )
        self._model = model

    def load_model(self) -> bool:
        """Return whether a model is in place."""
        return self._model is not None

    def extract_features(self, tick: MarketTick, history: Any) -> npt.NDArray[np.float32]:
        """Return (p0, pN, ret) of the last `lookback_periods` prices as float32; pure."""
        prices = history.price
        first = float(prices[-self.lookback_periods])
        last = float(prices[-1])
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and then no signal
            return np.array([first, last, (last - first) / max(PRICE_MIN, first)], np.float32)

    def predict_signal(self, features: Any) -> SignalResult | None:
        """Return the model's signal at the features' last price, or None."""
        if self._model is None:
            return None
        try:
            odds = self._model.predict(features)
            p_down, p_up = float(odds[0]), float(odds[-1])
            if not (0.0 <= p_down <= 1.0 and 0.0 <= p_up <= 1.0):
                raise ValueError(f"odds are not within 0..1: {odds.tolist()}")
        except Exception as error:  # whatever a model does, the strategy stays alive
            self.inference_errors += 1
            self.last_inference_error = f"{type(error).__name__}: {error}"
            return None
        return self._signal(p_up, p_down, features)

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Return a signal at the tick's price, or None."""
        if self._model is None:
            return None
        signal = self.predict_signal(self.extract_features(tick, history))
        # The features are float32; a signal's price is the tick's own.
        return None if signal is None else msgspec.structs.replace(signal, price=tick.price)

    def get_required_history_length(self) -> int:
        """Return the length of the window."""
        return self.lookback_periods

    def supports_instrument(self, token: int) -> bool:
        """Return True: the model sees returns only."""
        return True

    def get_strategy_name(self) -> str:
        """Return "ml_momentum"."""
        return NAME

    def snapshot(self) -> dict[str, Any]:
        """Return own state: the count of failed inferences."""
        return {
            "inference_errors": self.inference_errors,
            "last_inference_error": self.last_inference_error,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what snapshot() returned."""
        self.inference_errors = int(state["inference_errors"])
        self.last_inference_error = str(state["last_inference_error"])

    def _signal(self, p_up: float, p_down: float, features: Any) -> SignalResult | None:
        confidence = max(p_up, p_down)
        if p_up == p_down or confidence < self.min_conf:
            return None
        side, word = ("BUY", "up") if p_up > p_down else ("SELL", "down")
        ret = float(features[2])
        return SignalResult(
            side,
            confidence,
            self.position_size,
            float(features[1]),
            f"{word} {confidence:.1%} after {ret:+.3%} in {self.lookback_periods} ticks",
            {"ret": ret, "p_up": p_up, "p_down": p_down},
        )


def create(parameters: Mapping[str, Any]) -> MLMomentum:
    """Build the processor; raises ConfigError naming the parameter that is wrong."""
    return MLMomentum(**check_parameters(PARAMETERS, parameters))
