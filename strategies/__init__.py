"""Strategies that ship with parity: rules, ML, hybrids, declarative and SqueezeFlow.

The folder's one import name is `parity.strategies`; a second name would make a second registry.
"""

if __name__ != "parity.strategies":
    raise ImportError(
        f"{__name__!r} is not an import name: `import parity.strategies` instead"
        " (and start Python elsewhere, or run `pip install -e .`, if that one is not found)"
    )

from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Final

# strategy_type -> the module that makes it: `create(parameters)` and `PARAMETERS`
_MODULES: Final = {
    "breakout": "parity.strategies.rules.breakout",
    "breakout_kernel": "parity.strategies.rules.breakout_kernel",
    "ema_cross_kernel": "parity.strategies.rules.ema_cross_kernel",
    "hybrid_momentum": "parity.strategies.hybrid.hybrid_momentum",
    "low_frequency_demo": "parity.strategies.rules.low_frequency_demo",
    "mean_reversion": "parity.strategies.rules.mean_reversion",
    "mean_reversion_kernel": "parity.strategies.rules.mean_reversion_kernel",
    "ml_momentum": "parity.strategies.ml.ml_momentum",
    "momentum": "parity.strategies.rules.momentum",
    "momentum_kernel": "parity.strategies.rules.momentum_kernel",
    "rsi_bands_kernel": "parity.strategies.rules.rsi_bands_kernel",
    "sma_cross": "parity.strategies.rules.sma_cross",
    "sma_cross_kernel": "parity.strategies.rules.sma_cross_kernel",
}


class _Registry(Mapping[str, ModuleType]):
    """Strategy modules by strategy_type; a module is imported when it is asked for, not before."""

    def __getitem__(self, strategy_type: str) -> ModuleType:
        return import_module(_MODULES[strategy_type])

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


REGISTRY: Final = _Registry()
