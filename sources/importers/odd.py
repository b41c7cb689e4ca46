"""What an import kept as it is although it looks odd: counted, with the first rows of each kind.

Nothing here changes or refuses a tick.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from parity.model import ticks as flag

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.instruments import InstrumentTable
    from parity.sources.importers.tables import Ints, Mask, Records, Survey

ROWS_SHOWN: Final = 5
ONE_SIDED_MIN: Final = 100  # so many trades of one side only are no chance
_VERDICTS: Final = (
    (flag.DUPLICATE, "ticks with a trade id that was there before, flagged duplicate"),
    (flag.SKEWED, "ticks with a ts_event far ahead of ts_recv, flagged skewed"),
    (flag.LATE, "ticks with a ts_event before an earlier tick's, flagged late"),
)
_ZERO: Final = "trades with quantity zero"
_WITHOUT_ID: Final = "trades without a trade id"
_MISSING: Final = "missing trade ids, gaps before"
# As they are listed, wherever batches ended.
_WORDS: Final = (_ZERO, _WITHOUT_ID, *(words for _, words in _VERDICTS), _MISSING)


class _Kind(msgspec.Struct):
    count: int = 0
    rows: int = 0  # where; a gap of many ids is one
    first: list[tuple[int, int]] = []  # (file, row from 1)


class Oddities:
    """Counts what is odd in an import.

    Args:
        files: the files in their order; ticks say which by its place.
        layouts: of the files; ids of trades and of aggregates are counted apart.
        table: venues, because ids are consecutive at Binance only.
        order: the time that the ticks follow.

    Attributes:
        rows: how many ticks it took.
        end_ns: the last one's time.
    """

    def __init__(
        self, files: Sequence[Path], layouts: Sequence[str], table: InstrumentTable, order: str
    ) -> None:
        self.rows, self.end_ns = 0, -(2**63)
        self._order = order
        self._files = files
        self._kinds = {words: _Kind(first=[]) for words in _WORDS}
        self._sides = np.zeros((len(files), 3), np.int64)  # sold, unknown, bought
        self._consecutive = {i.token for i in table if i.venue.lower().startswith("binance")}
        self._last_ids: dict[tuple[int, int], int] = {}  # (layout, token) -> last trade id
        known = list(dict.fromkeys(layouts))
        self._layouts = np.array([known.index(layout) for layout in layouts])

    def take(self, records: Records, files: Ints, rows: Ints) -> None:
        """Take ticks with their verdicts, and where each stood: file's place and row from 1."""
        self.rows += len(records)
        self.end_ns = int(records[self._order][-1])
        flags = np.ascontiguousarray(records["flags"])
        some, every = int(np.bitwise_or.reduce(flags)), int(np.bitwise_and.reduce(flags))
        trades = (flags & flag.TRADE) != 0
        place = (files, rows)
        zero = records["quantity_int"] == 0
        if some & flag.TRADE and zero.any():
            self._note(_ZERO, trades & zero, place)
        if some & flag.NO_TRADE_ID:
            without = (flags & flag.NO_TRADE_ID) != 0
            self._note(_WITHOUT_ID, trades & without, place)
        for bit, words in _VERDICTS:
            if some & bit:
                self._note(words, (flags & bit) != 0, place)
        bit = flag.TRADE | flag.NO_TRADE_ID | flag.DUPLICATE
        self._gaps(records, (flags & bit) == flag.TRADE, place)
        alone = int(files[0]) if _one(files) else None
        if alone is not None and every & flag.TRADE:
            sold, bought = (int(np.count_nonzero(records["side"] == side)) for side in (-1, 1))
            self._sides[alone] += (sold, len(records) - sold - bought, bought)
        else:
            sides = records["side"][trades].astype(np.int64) + 1
            np.add.at(self._sides, (files[trades], sides), 1)

    def warnings(self, surveys: Sequence[Survey]) -> list[str]:
        """Return what was odd, a line each, with what the surveys of the files noted."""
        lines = [
            f"{words}: {kind.count} ({self._where(kind)})"
            for words, kind in self._kinds.items()
            if kind.count
        ]
        for path, (sold, unknown, bought) in zip(self._files, self._sides.tolist(), strict=True):
            if not unknown and min(sold, bought) == 0 and sold + bought >= ONE_SIDED_MIN:
                word = "seller" if sold else "buyer"
                lines.append(
                    f"trades of one side only: {sold + bought}, the {word} always the aggressor "
                    f"({path.name})"
                )
        left_out: dict[str, list[str]] = {}
        for path, survey in zip(self._files, surveys, strict=True):
            if survey.left_out:
                left_out.setdefault(", ".join(survey.left_out), []).append(path.name)
        lines += [
            f"columns left out: {names} ({', '.join(files[:3])}{', …' if files[3:] else ''}); an "
            "--instrument-table keeps them, declared as extensions"
            for names, files in left_out.items()
        ]
        notes: dict[str, int] = {}
        for survey in surveys:
            for words, n in survey.notes.items():
                notes[words] = notes.get(words, 0) + n
        return lines + [f"{words}: {n} rows" for words, n in notes.items()]

    def _gaps(self, records: Records, having: Mask, place: tuple[Ints, Ints]) -> None:
        if not self._consecutive or not having.any():
            return
        tokens, ids = records["instrument_token"], records["trade_id"]
        at = np.arange(len(ids)) if having.all() else np.flatnonzero(having)
        if len(at) < len(ids):
            tokens, ids = tokens[at], ids[at]
        one = _one(place[0])
        layouts = self._layouts[place[0][:1] if one else place[0][at]]
        missed, gaps = 0, []
        for layout in _different(layouts):
            for token in _different(tokens):
                mine: Any = slice(None)
                if not (one and _one(tokens)):
                    mine = (tokens == token) & (layouts == layout)
                if token not in self._consecutive or not len(ids[mine]):
                    continue
                own = ids[mine]
                before = self._last_ids.get((layout, token), int(own[0]) - 1)
                steps = np.diff(own, prepend=before)
                self._last_ids[layout, token] = int(own[-1])
                missing = steps > 1
                if missing.any():
                    missed += int((steps[missing] - 1).sum())
                    gaps.append(at[mine][missing])
        if gaps:
            where = np.sort(np.concatenate(gaps))
            self._add(_MISSING, missed, len(where), (place[0][where], place[1][where]))

    def _note(self, words: str, hit: Mask, place: tuple[Ints, Ints]) -> None:
        if hit.any():
            at = np.flatnonzero(hit)
            self._add(
                words, len(at), len(at), (place[0][at[:ROWS_SHOWN]], place[1][at[:ROWS_SHOWN]])
            )

    def _add(self, words: str, count: int, rows: int, place: tuple[Ints, Ints]) -> None:
        kind = self._kinds[words]
        kind.count += count
        kind.rows += rows
        room = ROWS_SHOWN - len(kind.first)
        places: Any = zip(place[0][:room].tolist(), place[1][:room].tolist(), strict=True)
        kind.first.extend(places)

    def _where(self, kind: _Kind) -> str:
        shown: dict[int, list[str]] = {}
        for file, row in kind.first:
            shown.setdefault(file, []).append(str(row))
        lists = [f"{self._files[f].name} row {', '.join(rows)}" for f, rows in shown.items()]
        return "; ".join(lists) + (", …" if kind.rows > len(kind.first) else "")


def _one(values: Ints) -> bool:
    return values.strides == (0,) or bool((values == values[0]).all())


def _different(values: Ints) -> list[int]:
    # Mostly there is one, and that is seen without a sort.
    if _one(values):
        return [int(values[0])]
    found: list[int] = np.unique(values).tolist()
    return found
