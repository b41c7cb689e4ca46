"""Philox4x64-10, a counter-based random generator, as integer arithmetic.

Random bits are a pure function of (counter, key): no state to save, and the same in Python, in
compiled code and in numpy (whose `Philox` draws block counter + 1 first).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

Block = tuple[int, int, int, int]

_MASK: Final = 2**64 - 1
_MULTIPLIERS: Final = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL: Final = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS: Final = 10

# numba makes float64 of int64 (+) uint64, so every constant of the compiled twin is a uint64.
_M0, _M1 = np.uint64(_MULTIPLIERS[0]), np.uint64(_MULTIPLIERS[1])
_W0, _W1 = np.uint64(_WEYL[0]), np.uint64(_WEYL[1])
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


def philox4x64_py(counter: Block, key: tuple[int, int]) -> Block:
    """Return the four 64-bit words of one block.

    Args:
        counter: four words below 2**64.
        key: two words below 2**64.

    >>> [hex(word) for word in philox4x64_py((0, 0, 0, 0), (0, 0))][:2]
    ['0x16554d9eca36314c', '0xdb20fe9d672d0fdc']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        first, second = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (second >> 64) ^ c1 ^ k0,
            second & _MASK,
            (first >> 64) ^ c3 ^ k1,
            first & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def _multiply(a: Any, b: Any) -> tuple[Any, Any]:
    # high and low word of a 64 x 64 bit product, by 32-bit halves
    a_high, a_low = a >> _HALF, a & _LOW
    b_high, b_low = b >> _HALF, b & _LOW
    low = a_low * b_low
    cross = a_high * b_low + (low >> _HALF)
    middle = a_low * b_high + (cross & _LOW)
    return a_high * b_high + (cross >> _HALF) + (middle >> _HALF), a * b


_multiply_compiled: Final[Any] = njit(_multiply)


def _block(counter: Any, key: Any) -> Any:
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        high_0, low_0 = _multiply_compiled(_M0, c0)
        high_1, low_1 = _multiply_compiled(_M1, c2)
        c0, c1, c2, c3 = high_1 ^ c1 ^ k0, low_1, high_0 ^ c3 ^ k1, low_0
        k0, k1 = k0 + _W0, k1 + _W1
    return c0, c1, c2, c3


philox4x64: Final[Any] = njit(_block)
"""The compiled twin: tuples of four and two uint64 give a tuple of four uint64."""
