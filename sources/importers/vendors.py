"""What the importers of other programs' files share: typed columns as text, and notes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as typed_pc

from parity.sources.importers import decimals
from parity.sources.importers.times import NS_DIGITS, UNITS

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.instruments import InstrumentTable
    from parity.sources.importers.tables import Place, Records, Survey, Tell, TickFile

pc: Any = typed_pc  # its stubs refuse plain Python scalars, which it takes


class Notes:
    """What the passes over a file noticed and kept quiet about, counted by its words."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, words: str, rows: int) -> None:
        """Count rows."""
        if rows:
            self.counts[words] = self.counts.get(words, 0) + rows


class CountingTickFile:
    """A file of ticks whose reader takes notes; they belong to the survey, which is the first pass.

    Args:
        file: the file.
        notes: what its reader writes to.
    """

    def __init__(self, file: TickFile, notes: Notes) -> None:
        self.path: Path = file.path
        self.format, self.layout, self.names = file.format, file.layout, file.names
        self._file, self._notes = file, notes

    def survey(self, tell: Tell) -> Survey:
        """Survey the file, with the notes taken on the way."""
        self._notes.counts.clear()
        found = self._file.survey(tell)
        for words, rows in self._notes.counts.items():
            found.notes[words] = found.notes.get(words, 0) + rows
        return found

    def batches(self, table: InstrumentTable) -> Iterator[Records]:
        """Yield its records."""
        return self._file.batches(table)


def instants(column: Any, place: Place, unit: str = "ns") -> Any:
    """Return a column of integers or timestamps as text of as many digits as its unit has.

    Args:
        column: integers counting `unit` since 1970, or an Arrow timestamp of any unit.
        place: where it stands, for refusals.
        unit: "s", "ms", "us" or "ns".
    """
    kind = column.type
    if pa.types.is_timestamp(kind):
        if kind.tz is None:
            place.refuse(0, str(kind), "expected a time with a zone", "write it with its zone, UTC")
        unit = kind.unit
    elif not pa.types.is_integer(kind):
        place.refuse(0, str(kind), f"expected integers ({unit}) or timestamps", "mend the column")
    latest = (2**63 - 1) // 10 ** UNITS[unit]
    values = pa.compute.cast(column, pa.int64(), safe=False)
    wrong = pc.or_(pc.less(values, 0), pc.greater(values, latest)).fill_null(False)
    if pc.any(wrong).as_py():
        row = int(np.argmax(wrong.to_numpy(zero_copy_only=False)))
        place.refuse(
            row, column[row].as_py(), "expected a time from 1970 to 2262", "mend or drop that row"
        )
    return decimals.encode(pc.utf8_lpad(values.cast(pa.string()), NS_DIGITS - UNITS[unit], "0"))
