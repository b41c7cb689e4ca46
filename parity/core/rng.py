"""Random numbers that belong to a tick: Philox counters, so a draw depends on nothing before it.

The key is blake2b(seed, strategy_id, token), the counter (ts_event, ordinal, block): the same
tick gives the same numbers in any batch, process or order.
"""

from __future__ import annotations

import hashlib
from typing import Final

from parity.core.digest import canonical
from parity.kernels.philox import philox4x64_py

_MASK: Final = (1 << 64) - 1
_WORDS: Final = 4  # 64-bit words in a Philox block


class TickStream:
    """The random stream of one (strategy, instrument, tick)."""

    __slots__ = ("_block", "_counter", "_drawn", "_key")

    def __init__(self, key: tuple[int, int], ts_event: int, ordinal: int) -> None:
        self._key = key
        self._counter = (ts_event & _MASK, ordinal & _MASK)
        self._drawn = 0
        self._block: tuple[int, int, int, int] = (0, 0, 0, 0)

    def raw(self) -> int:
        """Return the next 64 random bits."""
        block, word = divmod(self._drawn, _WORDS)
        if word == 0:
            self._block = philox4x64_py((*self._counter, block, 0), self._key)
        self._drawn += 1
        return self._block[word]

    def uniform(self) -> float:
        """Return a float64 in [0, 1) with 53 random bits."""
        return (self.raw() >> 11) * 2.0**-53

    def below(self, bound: int) -> int:
        """Return an integer in [0, bound); raises ValueError where bound is not in 1..2**32."""
        if not 1 <= bound <= 1 << 32:
            raise ValueError(f"bound: expected 1..2**32, was {bound}")
        return (self.raw() * bound) >> 64


def stream_key(seed: int, strategy_id: str, token: int) -> tuple[int, int]:
    """Return the Philox key of a strategy's stream on one instrument."""
    digest = hashlib.blake2b(canonical([seed, strategy_id, token]), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
