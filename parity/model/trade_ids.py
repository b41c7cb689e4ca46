"""Trade ids that are no integers (UUIDs, letters and digits): kept exactly beside a number.

Such an id stands as its UTF-8 bytes in the integer extensions `trade_id_bytes_1`, `_2` and so on:
8 bytes each, the first one most significant, zero bytes behind the end. `trade_id` is then a
number made of it, the same for the same id everywhere, so that duplicates are found as those of
integers are. Two ids that differ share a number once in 2**59 pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from parity.model.extensions import Extension

PREFIX: Final = "trade_id_bytes_"
BYTES_MAX: Final = 64
_WIDTH: Final = 8  # bytes in one integer
_NUMBER_BITS: Final = 59  # 18 digits


def number_of(text: str) -> int:
    """Return the `trade_id` of an id that is no integer: below -1, so that it looks like none.

    >>> number_of("6f9619ff-8b86-d011-b42d-00cf4fc964ff")
    -574889934091815365
    """
    made = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return -2 - (made >> 64 - _NUMBER_BITS)


def is_part(name: str) -> bool:
    """Return whether an extension column holds a part of ids."""
    return name.startswith(PREFIX)


def extensions_for(longest: int) -> list[Extension]:
    """Return the extension columns that hold ids of so many bytes."""
    return [Extension(f"{PREFIX}{n}", "integer") for n in range(1, -(-longest // _WIDTH) + 1)]


def pack(words: Sequence[bytes], columns: int) -> npt.NDArray[np.int64]:
    """Return ids as integers, one row a column.

    >>> pack([b"ab"], 1).tolist()
    [[7017171169396654080]]
    """
    data = b"".join(word.ljust(columns * _WIDTH, b"\0") for word in words)
    rows = np.frombuffer(data, ">i8").reshape(len(words), columns)
    return np.ascontiguousarray(rows.T.astype(np.int64))


def unpack(columns: Mapping[str, npt.NDArray[np.int64]]) -> list[str]:
    """Return the ids of integer columns by their names, "" where all are zero.

    >>> unpack({"trade_id_bytes_1": np.array([7017171169396654080, 0])})
    ['ab', '']
    """
    names = sorted(columns, key=lambda name: int(name.removeprefix(PREFIX)))
    rows = np.stack([columns[name] for name in names], axis=1).astype(">i8")
    width = rows.shape[1] * _WIDTH
    data: Any = np.ascontiguousarray(rows).view(f"S{width}").ravel()  # zeros at the end are cut
    return [word.decode() for word in data.tolist()]
