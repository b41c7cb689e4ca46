"""parity: run trading strategies on market ticks and prove that they behave the same everywhere.

The names are loaded when they are first used, so `import parity` costs next to nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, Final

__version__: Final = "0.1.0"

# numba reads these when it is first imported, by whichever room of ours is first. Code for any CPU
# of the family costs nothing (measured) and makes cache files portable; SVML would replace libm
# calls by others with other bits.
os.environ.setdefault("NUMBA_CPU_NAME", "generic")
os.environ.setdefault("NUMBA_CPU_FEATURES", "")
os.environ.setdefault("NUMBA_DISABLE_INTEL_SVML", "1")

_NAMES: Final[dict[str, str]] = {
    # verbs
    "backtest": "parity.face",
    "check": "parity.face",
    "diff": "parity.face",
    "import_ticks": "parity.face",
    "open": "parity.face",
    "replay": "parity.face",
    "strategy": "parity.strategies.functional",
    "sweep": "parity.face",
    "verify": "parity.face",
    # what they give back
    "Divergence": "parity.proof.diff",
    "Recording": "parity.recording.reader",
    "Run": "parity.face",
    "Verdict": "parity.proof.replayer",
    # what a strategy is written with
    "DecisionPolicy": "parity.model.protocols",
    "ExecutionContext": "parity.model.values",
    "HistoryProvider": "parity.model.protocols",
    "Instrument": "parity.model.instruments",
    "InstrumentTable": "parity.model.instruments",
    "KernelStrategy": "parity.model.kernel",
    "MLCapable": "parity.model.protocols",
    "MarketTick": "parity.model.values",
    "SessionClock": "parity.model.sessions",
    "SignalPublisher": "parity.model.protocols",
    "SignalResult": "parity.model.values",
    "StrategyConfig": "parity.model.values",
    "StrategyExecutor": "parity.compose.service",
    "StrategyProcessor": "parity.model.protocols",
    "StrategyRunnerService": "parity.compose.service",
    "TickSource": "parity.model.protocols",
    "TradeDecision": "parity.model.decision",
    # errors
    "ConfigError": "parity.model.errors",
    "InputRefused": "parity.model.errors",
    "NothingCompared": "parity.model.errors",
    "ParityError": "parity.model.errors",
    "RecordingCorrupt": "parity.model.errors",
    "RecordingMissing": "parity.model.errors",
    "ServiceDown": "parity.model.errors",
}
__all__ = [*sorted(_NAMES), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'parity' has no attribute {name!r}")
    value = getattr(import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
