"""Compiled arithmetic for strategies and core: plain functions on arrays and numbers, no I/O.

Every indicator of docs/indicators.md, and each way to cut bars, is here by name, for columns;
beside `ema` stand `ema_step` and `ema_state` for the steps of kernels. They are loaded when they
are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module 'parity.kernels' has no attribute {name!r}")
    catalogue = import_module("parity.kernels.catalogue")
    value = catalogue.named(name)
    if value is None:
        raise AttributeError(
            f"module 'parity.kernels' has no attribute {name!r}; indicators are"
            f" {', '.join((*catalogue.INDICATORS, *catalogue.BAR_RULES))}"
        )
    globals()[name] = value
    return value
