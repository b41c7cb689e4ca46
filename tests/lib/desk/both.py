"""A desk's own hybrid: it wraps the two others, imports them late, and votes."""

from typing import Any

from parity import DecisionPolicy, MarketTick, SignalResult, StrategyProcessor


class VotePolicy:
    """Agreement counts most, then a model that is sure, then the rules."""

    def __init__(self, min_conf: float) -> None:
        self.min_conf = float(min_conf)

    def decide(
        self,
        rules_signal: SignalResult | None,
        ml_signal: SignalResult | None,
        context: dict[str, Any] | None = None,
    ) -> SignalResult | None:
        """Merge two signals into one."""
        if not rules_signal and not ml_signal:
            return None
        if rules_signal and ml_signal and rules_signal.signal_type == ml_signal.signal_type:
            return SignalResult(
                rules_signal.signal_type,
                min(1.0, (rules_signal.confidence + ml_signal.confidence) / 2),
                max(rules_signal.quantity, ml_signal.quantity),
                ml_signal.price,
                "both agree",
                metadata={"rules": rules_signal, "ml": ml_signal},
            )
        if ml_signal and ml_signal.confidence >= self.min_conf:
            return ml_signal
        return rules_signal


class BothProcessor(StrategyProcessor):
    """Asks both and a policy."""

    def __init__(
        self, rules: StrategyProcessor, ml: StrategyProcessor, policy: DecisionPolicy
    ) -> None:
        self.rules = rules
        self.ml = ml
        self.policy = policy

    def get_required_history_length(self) -> int:
        """The longer one."""
        return max(self.rules.get_required_history_length(), self.ml.get_required_history_length())

    def supports_instrument(self, token: int) -> bool:
        """What both support."""
        return self.rules.supports_instrument(token) and self.ml.supports_instrument(token)

    def get_strategy_name(self) -> str:
        """Both names."""
        return f"hybrid:{self.rules.get_strategy_name()}+{self.ml.get_strategy_name()}"

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """What the policy makes of both."""
        one = self.rules.process_tick(tick, history)
        other = self.ml.process_tick(tick, history)
        return self.policy.decide(one, other, context={"tick": tick})


def create_both_processor(config: dict[str, Any]) -> BothProcessor:
    """Make it of one configuration for both."""
    from guessing import create_guessing_processor
    from rising import create_rising_processor

    rules = create_rising_processor(config)
    ml = create_guessing_processor(config)
    return BothProcessor(rules, ml, VotePolicy(config.get("min_conf", 0.55)))
