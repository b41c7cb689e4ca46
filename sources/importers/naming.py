"""Which instrument each row of plain numbers is of: words of its naming columns, as small numbers.

Words are learned as they come, byte by byte as they stand. What they mean is for the reader of
texts to say, and so is a word that is empty, long, quoted or one of too many.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from parity.sources.importers.decimals import DIGITS_MAX, encode
from parity.sources.importers.tables import divided

if TYPE_CHECKING:
    from parity.model.instruments import InstrumentTable
    from parity.sources.importers.layouts import Columns
    from parity.sources.importers.sample import Sample
    from parity.sources.importers.tables import Ints

WORDS_MAX: Final = 64  # of a column: the kernel looks at them one after the other
COLUMNS: Final = ("instrument_token", "symbol", "venue")


class Naming:
    """The words that the naming columns of a file say.

    A row's code is made of the places of its words; it is 0 where nothing is said.

    Args:
        sample: the file; its start gives the first words.
        columns: our column -> its place in a row.
    """

    def __init__(self, sample: Sample, columns: Mapping[str, int]) -> None:
        self._columns = {name: columns[name] for name in COLUMNS if name in columns}
        self._words: dict[str, list[str]] = {name: [] for name in self._columns}
        for row in sample.data:
            for name, at in self._columns.items():
                if at < len(row):
                    self._add(name, row[at])

    @property
    def several(self) -> bool:
        """Whether rows may differ in their instrument, as far as is known."""
        return any(len(words) > 1 for words in self._words.values())

    def words(self) -> dict[int, dict[str, int]]:
        """Return the words of each column by its place, with their numbers."""
        return {at: _numbered(self._words[name]) for name, at in self._columns.items()}

    def learn(self, line: bytes) -> bool:
        """Take in the words of a row; return whether one of them is new."""
        cells = line.rstrip(b"\r\n").split(b",")
        found = [
            self._add(name, cells[at].decode(errors="replace"))
            for name, at in self._columns.items()
            if at < len(cells)
        ]
        return any(found)

    def _add(self, name: str, word: str) -> bool:
        from parity.kernels.cells import WORD_BYTES_MAX  # loaded for files that are worth it

        words = self._words[name]
        plain = 0 < len(word.encode()) <= WORD_BYTES_MAX and word == word.strip()
        odd = not plain or '"' in word or "\ufffd" in word
        if odd or word in words or len(words) == WORDS_MAX:
            return False
        words.append(word)
        return True

    def codes(self, values: Ints) -> Ints:
        """Return the code of each row from the numbers of its words, a row of values a column."""
        codes = np.zeros(values.shape[1], np.int64)
        for at in self._columns.values():
            codes = codes * WORDS_MAX + values[at]
        return codes

    def row(self, code: int) -> Columns:
        """Return the words of a code, one row of columns."""
        found = {}
        for name in reversed(self._columns):
            code, at = divmod(code, WORDS_MAX)
            found[name] = encode(pa.array([self._words[name][at]]))
        return found


class Who:
    """Which instrument of a table each row is of; all rows are of one where one is known.

    Args:
        table: of the recording.
        tokens: of the codes that naming gives.
        naming: what the file says.
    """

    def __init__(self, table: InstrumentTable, tokens: Mapping[int, int], naming: Naming) -> None:
        self.table, self._naming = table, naming
        self._of = np.full(max(tokens) + 1, -1, np.int64)
        for code, token in tokens.items():
            self._of[code] = table.dense_id(token)
        self._one = None if naming.several else np.int64(self._of[0])

    def scales(self, which: str) -> Ints:
        """Return the scales that may occur, one for each instrument, or the only one."""
        scales = self.table.scales(which)
        return scales if self._one is None else scales[self._one : self._one + 1]

    def dense(self, values: Ints) -> Any:
        """Return dense ids of rows, or the one of all; None where a row is of none."""
        if self._one is not None:
            return self._one
        codes = self._naming.codes(values)
        dense = self._of[np.minimum(codes, len(self._of) - 1)]
        known = int(codes.max()) < len(self._of) and int(dense.min()) >= 0
        return dense if known else None

    def fit(self, values: Ints, which: str, dense: Any) -> Ints | None:
        """Bring values at the largest of `scales` to their instruments' own.

        None where one is finer, or has more digits than the recording's own scale leaves room for.
        """
        scales = self.scales(which)
        largest = int(scales.max())
        room = DIGITS_MAX - (int(self.table.scales(which).max()) - largest)
        if room < DIGITS_MAX and int(np.abs(values).max()) >= 10**room:
            return None
        if int(scales.min()) == largest:
            return values
        quotients, inexact = divided(values, scales, dense)
        return None if inexact.any() else quotients


def _numbered(words: list[str]) -> dict[str, int]:
    return {word: n for n, word in enumerate(words)}
