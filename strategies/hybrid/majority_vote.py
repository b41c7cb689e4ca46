"""MajorityVote: rules and a model that agree are one signal; else the surer voice is heard.

| rules | model | said |
|---|---|---|
| none | none | nothing |
| a side | the same side | mean confidence, larger quantity, the model's price |
| any | a side, sure enough | the model's signal |
| any | a side, not sure enough | the rules' signal, which may be none |
"""

from __future__ import annotations

from typing import Any

from parity.model.values import SignalResult


class MajorityVote:
    """The policy; it keeps no state.

    Args:
        min_ml_conf: what the model's confidence has to reach where the two do not agree.
    """

    def __init__(self, min_ml_conf: float = 0.55) -> None:
        self.min_ml_conf = min_ml_conf

    def decide(
        self,
        rules_signal: SignalResult | None,
        ml_signal: SignalResult | None,
        context: dict[str, Any] | None = None,
    ) -> SignalResult | None:
        """Merge two signals into one or none; an agreement keeps both in its metadata."""
        if rules_signal is None and ml_signal is None:
            return None
        if rules_signal and ml_signal and rules_signal.signal_type == ml_signal.signal_type:
            return SignalResult(
                ml_signal.signal_type,
                min(1.0, (rules_signal.confidence + ml_signal.confidence) / 2),
                max(rules_signal.quantity, ml_signal.quantity),
                ml_signal.price,
                f"rules and model agree: {rules_signal.reasoning}; {ml_signal.reasoning}",
                {"rules": _values(rules_signal), "ml": _values(ml_signal)},
            )
        if ml_signal is not None and ml_signal.confidence >= self.min_ml_conf:
            return ml_signal
        return rules_signal


def _values(signal: SignalResult) -> dict[str, Any]:
    """Return what is compared of a signal: its words are not."""
    names = ("signal_type", "confidence", "quantity", "price", "metadata")
    return {name: getattr(signal, name) for name in names}
