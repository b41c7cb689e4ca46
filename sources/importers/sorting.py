"""`--sort id`: a file whose rows interleave, put in the order of their trade ids.

Bounded memory: sorted runs go to disk, then are merged. Rows of one id keep the file's order. It
sorts by the venue's own numbers and never by time, so it invents no order.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from parity.model import ticks as flag
from parity.model.extensions import PRESENT
from parity.model.trade_ids import extensions_for, is_part, unpack
from parity.sources.importers.merge import OrderedFile, merge, numbered
from parity.sources.importers.tables import Place

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.instruments import InstrumentTable
    from parity.sources.importers.tables import Records, Survey, Tell, TickFile

RUN_ROWS: Final = 250_000  # 31 MB of records
MERGE_ROWS: Final = 300_000  # held by a merge, over all its runs


class NumberedTickFile:
    """A file whose rows have numbers that are no trade ids: sorted by, and not kept.

    Args:
        file: the file, which gives the numbers as trade ids.
    """

    def __init__(self, file: TickFile) -> None:
        self.path, self.format, self.layout = file.path, file.format, file.layout
        self.names = file.names
        self._file = file

    def survey(self, tell: Tell) -> Survey:
        """Survey the file."""
        return self._file.survey(tell)

    def batches(self, table: InstrumentTable) -> Iterator[Records]:
        """Yield its records, the numbers in trade_id."""
        return self._file.batches(table)


class SortedTickFile:
    """A file of ticks in the order of its trade ids, or of its rows' own numbers.

    Args:
        file: the file; its ticks must have ids, of one instrument.
        place: of the file among all.
        folder: where the runs go, 125 bytes a row; they are gone at the end.
        tell: takes how many rows were put into runs.
    """

    def __init__(self, file: TickFile, place: int, folder: Path, tell: Tell) -> None:
        self.path, self.format, self.layout = file.path, file.format, file.layout
        self.names = file.names
        self._file, self._place, self._folder, self._tell = file, place, folder, tell

    def survey(self, tell: Tell) -> Survey:
        """Survey the file."""
        return self._file.survey(tell)

    def batches(self, table: InstrumentTable) -> Iterator[Records]:
        """Yield its records by trade id, with the row of each in `seq`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # Without a name from the start: nothing is left of it, however this ends.
        with tempfile.TemporaryFile(dir=self._folder) as file:
            runs = [_write_run(file, some) for some in self._runs(table)]
            rows = max(512, MERGE_ROWS // max(1, len(runs)))
            kind = table.tick_dtype
            ordered = [
                OrderedFile(self, _read_run(file, run, kind, rows), "trade_id") for run in runs
            ]
            for records in merge(ordered):
                if isinstance(self._file, NumberedTickFile):
                    records["trade_id"] = -1
                    records["flags"] |= flag.NO_TRADE_ID
                yield records

    def _runs(self, table: InstrumentTable) -> Iterator[Records]:
        waiting: list[Records] = []
        count = token = done = 0
        for records in numbered(self._file.batches(table), self._place):
            token = self._check(records, table, token)
            waiting.append(records)
            count += len(records)
            done += len(records)
            self._tell(done)
            if count >= RUN_ROWS:
                yield np.concatenate(waiting)
                waiting, count = [], 0
        if waiting:
            yield np.concatenate(waiting)

    def _check(self, records: Records, table: InstrumentTable, token: int) -> int:
        without = (records["flags"] & flag.NO_TRADE_ID) != 0
        if without.any():
            at = int(np.argmax(without))
            Place(self.path, "trade_id", int(records["seq"][at]) - 1, self.names).refuse(
                0, "", "expected an id in every row to sort by", "import it without --sort"
            )
        _refuse_texts(records, table, Place(self.path, "trade_id", 0, self.names))
        token = token or int(records["instrument_token"][0])
        others = records["instrument_token"] != token
        if others.any():
            at = int(np.argmax(others))
            place = Place(self.path, "instrument_token", int(records["seq"][at]) - 1, self.names)
            place.refuse(
                0,
                int(records["instrument_token"][at]),
                f"expected one instrument ({token}) in a file to sort by id",
                "split the file by instrument, or import it without --sort",
            )
        return token


def _refuse_texts(records: Records, table: InstrumentTable, place: Place) -> None:
    first = extensions_for(1)[0]
    if first not in table.extensions:
        return
    texts = (records[PRESENT] & np.uint64(table.columns.bits[first.name])) != 0
    if texts.any():
        at = int(np.argmax(texts))
        held = {e.name: records[e.name][at : at + 1] for e in table.extensions if is_part(e.name)}
        place.refuse(
            int(records["seq"][at]) - 1,
            unpack(held)[0],
            "expected an integer, as ids that follow each other are",
            "import it without --sort",
        )


def _write_run(file: IO[bytes], records: Records) -> tuple[int, int]:
    """Write sorted records; return (first byte, rows)."""
    begin = file.seek(0, os.SEEK_END)
    ordered = records[np.argsort(records["trade_id"], kind="stable")]
    file.write(ordered.tobytes())
    file.flush()  # it is read past the buffer
    return begin, len(records)


def _read_run(file: IO[bytes], run: tuple[int, int], kind: Any, rows: int) -> Iterator[Records]:
    begin, count = run
    for done in range(0, count, rows):
        some = min(rows, count - done)
        wanted = some * kind.itemsize
        data = os.pread(file.fileno(), wanted, begin + done * kind.itemsize)
        if len(data) != wanted:
            raise AssertionError(f"a sorted run: expected {wanted} bytes, read {len(data)}")
        yield np.frombuffer(data, kind).copy()
