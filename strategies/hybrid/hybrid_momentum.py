"""Momentum by rules and by a model, merged by a majority vote.

Both see the same ticks, each the last of them that it asks for; the model is loaded as for
`ml_momentum`, and where it cannot be, the strategy is skipped: it never runs on its rules alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from parity.model.parameters import Parameter, check_parameters
from parity.strategies.hybrid.majority_vote import MajorityVote
from parity.strategies.ml.ml_momentum import MLMomentum
from parity.strategies.rules.momentum import Momentum

if TYPE_CHECKING:
    from parity.model.protocols import DecisionPolicy, StrategyProcessor
    from parity.model.values import MarketTick, SignalResult

MIN_CONF: Final = 0.5  # of the model's own signals
MIN_CONF_ALONE: Final = 0.55  # of those that the rules do not share

PARAMETERS: Final = {
    "lookback_periods": Parameter("int", 20, minimum=2, doc="ticks of the rules' window"),
    "threshold": Parameter("float", 0.01, minimum=0, doc="least change of the rules, a fraction"),
    "position_size": Parameter("float", 100, exclusive_minimum=0, doc="quantity of a signal"),
    "model_path": Parameter("path", "momentum.onnx", doc="the model, under the model folder"),
    "min_conf": Parameter(
        "float", None, minimum=0, maximum=1, doc="least odds: 0.5 with the rules, 0.55 without"
    ),
    "ml_lookback_periods": Parameter("int", 20, minimum=2, doc="ticks of the model's window"),
}


class Hybrid:
    """Asks a processor of rules, a processor with a model, and a policy."""

    def __init__(
        self, rules: StrategyProcessor, ml: StrategyProcessor, policy: DecisionPolicy
    ) -> None:
        self.rules = rules
        self.ml = ml
        self.policy = policy

    def get_required_history_length(self) -> int:
        """Return the longer of the two windows."""
        return max(self.rules.get_required_history_length(), self.ml.get_required_history_length())

    def supports_instrument(self, token: int) -> bool:
        """Say whether both support it."""
        return self.rules.supports_instrument(token) and self.ml.supports_instrument(token)

    def get_strategy_name(self) -> str:
        """Return ``hybrid:<rules>+<ml>``."""
        return f"hybrid:{self.rules.get_strategy_name()}+{self.ml.get_strategy_name()}"

    def snapshot(self) -> dict[str, Any]:
        """Return the own state of both."""
        parts: dict[str, Any] = {"rules": self.rules, "ml": self.ml}
        return {name: part.snapshot() for name, part in parts.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what snapshot() gave."""
        parts: dict[str, Any] = {"rules": self.rules, "ml": self.ml}
        for name, part in parts.items():
            part.restore(state[name])

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Return what the policy makes of both."""
        rules = self.rules.process_tick(tick, history)
        ml = self.ml.process_tick(tick, history)
        return self.policy.decide(rules, ml, {"tick": tick})


def create(parameters: Mapping[str, Any]) -> Hybrid:
    """Make the processor; raises ConfigError naming a wrong parameter."""
    given = check_parameters(PARAMETERS, parameters)
    min_conf = given["min_conf"]
    return Hybrid(
        Momentum(given["lookback_periods"], given["threshold"], given["position_size"]),
        MLMomentum(
            model_path=given["model_path"],
            position_size=given["position_size"],
            min_conf=MIN_CONF if min_conf is None else min_conf,
            lookback_periods=given["ml_lookback_periods"],
        ),
        MajorityVote(MIN_CONF_ALONE if min_conf is None else min_conf),
    )
