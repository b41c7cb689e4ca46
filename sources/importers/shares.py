"""How much of a file is read at a time: its share of one block, where many files interleave.

Every file of a merge holds a block of rows. So that all of them together hold about as many as one,
blocks are divided by the files that take turns. What a block holds never changes a tick.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

MERGED: Final = 4  # merged rows lie in memory as records, several times on their way


class Shares:
    """Among how many files a block is divided.

    Attributes:
        files: whose rows take turns at present; 1 while files are read one after another.
    """

    def __init__(self) -> None:
        self.files = 1

    def of(self, whole: int, least: int) -> int:
        """Return a file's share of a whole block, and at least so much of it."""
        parts = 1 if self.files == 1 else MERGED * self.files
        return max(min(whole, least), whole // parts)

    def slices(self, batch: Any, whole: int, least: int) -> Iterator[tuple[int, Any]]:
        """Yield (rows before, rows) of an Arrow batch, a share of a whole one at a time."""
        at = 0
        while at < len(batch):
            rows = self.of(whole, least)
            yield at, batch.slice(at, rows)
            at += rows
