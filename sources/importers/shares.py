"""How much of a file is read at a time: its share of one block, where many files interleave.

Every file of a merge holds a block of rows. So that all of them hold no more than one alone would,
blocks are divided by the files that take turns. What a block holds never changes a tick.
"""

from __future__ import annotations

from typing import Final

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
