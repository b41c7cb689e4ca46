"""A desk's own "model": it loads nothing, says so, and keeps silent until it was asked to load."""

from decimal import Decimal
from typing import Any

from parity import MarketTick, MLCapable, SignalResult, StrategyProcessor


class GuessingProcessor(StrategyProcessor, MLCapable):
    """Guesses by the return of its window."""

    def __init__(self, model_path: str, size: int, min_conf: float) -> None:
        self.model_path = model_path
        self.size = int(size)
        self.min_conf = float(min_conf)
        self.model: Any = None

    def get_required_history_length(self) -> int:
        """The window."""
        return 20

    def supports_instrument(self, token: int) -> bool:
        """Any."""
        return True

    def get_strategy_name(self) -> str:
        """Its name."""
        return "guessing"

    def load_model(self) -> bool:
        """Pretend to load."""
        self.model = None if self.model_path == "missing" else "loaded"
        return self.model is not None

    def extract_features(self, tick: MarketTick, history: Any) -> dict[str, float]:
        """The return over the window."""
        prices = [float(one.last_price) for one in list(history)[-20:]]
        return {"last": prices[-1], "ret": (prices[-1] - prices[0]) / max(1e-9, prices[0])}

    def predict_signal(self, features: dict[str, float]) -> SignalResult | None:
        """BUY above a per mille, SELL below."""
        ret = features["ret"]
        if abs(ret) <= 0.001:
            return None
        price = Decimal(str(features["last"]))
        return SignalResult(
            "BUY" if ret > 0 else "SELL", min(1.0, abs(ret) * 300), self.size, price, "guessed"
        )

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """The model's word, where it is sure enough."""
        if self.model is None:
            return None
        said = self.predict_signal(self.extract_features(tick, history))
        return said if said and said.confidence >= self.min_conf else None


def create_guessing_processor(config: dict[str, Any]) -> GuessingProcessor:
    """Make it of a configuration's parameters."""
    return GuessingProcessor(
        model_path=config.get("model_path", "models/guess.onnx"),
        size=config.get("position_size", 100),
        min_conf=config.get("min_conf", 0.5),
    )
