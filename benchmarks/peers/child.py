"""What each turn's script begins and ends with. Standard library alone: peers' Pythons run it, too.

Never here: what a turn does.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def asked() -> dict[str, Any]:
    """Return what the turn is asked for: its form, its data, its rule."""
    said: dict[str, Any] = json.loads(sys.argv[1])
    return said


def tell(seconds: float, buy: int, sell: int) -> None:
    """Say how many CPU seconds it took, and how many signals of each side it kept."""
    print(json.dumps({"seconds": seconds, "buy": int(buy), "sell": int(sell)}))
