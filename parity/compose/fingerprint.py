"""What a run's bytes may depend on besides its inputs: code, Python, libraries, machine family.

Equal fingerprints and unequal bytes are a defect (`different`); an unequal one is named
(`changed`).
"""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

LIBRARIES: Final = (
    "numpy",
    "numba",
    "llvmlite",
    "msgspec",
    "duckdb",
    "pyarrow",
    "onnxruntime",
)
# Rooms whose code can change what a run decides. Strategies are kept, and hashed, one by one.
_ROOMS: Final = ("codegen", "compose", "core", "kernels", "model", "recording")
# Files outside these rooms that a kept strategy still takes from today's parity.
SHARED: Final = (
    "live/inference.py",
    "strategies/functional.py",
    "strategies/hybrid/majority_vote.py",
    "strategies/ml/ml_momentum.py",
    "strategies/rules/breakout.py",
    "strategies/rules/mean_reversion.py",
    "strategies/rules/momentum.py",
    "strategies/rules/sma_cross.py",
)


@cache
def fingerprint(*, models: bool = False) -> dict[str, str]:
    """Return names and versions; no clock, no path, no host name.

    Args:
        models: add what an inference's bits depend on besides the model.
    """
    found = {
        "parity": metadata.version("parity"),
        "parity_code": _code_digest(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
    }
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "absent"
    if models:
        from parity.live.inference import model_fingerprint

        session = json.dumps(model_fingerprint(), sort_keys=True)
        found["model_session"] = hashlib.sha256(session.encode()).hexdigest()
    return found


def changes(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return what differs, one line each: ``numba: 0.61.0 -> 0.62.1``."""
    names = sorted({*then, *now})
    return [
        f"{name}: {_short(then.get(name, 'absent'))} -> {_short(now.get(name, 'absent'))}"
        for name in names
        if then.get(name) != now.get(name)
    ]


def _short(value: str) -> str:
    return value[:12] if len(value) == 64 else value


def _code_digest() -> str:
    root = Path(__file__).resolve().parents[1]
    whole = hashlib.sha256()
    rooms = [path for room in _ROOMS for path in sorted((root / room).rglob("*.py"))]
    for path in (*rooms, *(root / name for name in SHARED)):
        whole.update(f"{path.relative_to(root).as_posix()}\0".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()
