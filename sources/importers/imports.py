"""`import_ticks`: files of ticks in, one sealed recording out, or nothing at all.

Two passes: the first finds the instruments, their scales and which times there are, so that every
scale is fixed before the first tick; the second converts, merges, numbers and writes. A refusal,
an interrupt or a kill in between leaves no recording behind.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from parity.model import ticks as flag
from parity.model.errors import ConfigError, InputRefused, did_you_mean
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TickBatch
from parity.sources.importers.formats import FORMATS, Match, Options, open_file
from parity.sources.importers.merge import OrderedFile, merge
from parity.sources.importers.sample import Sample
from parity.sources.importers.tables import merge_extensions
from parity.sources.importers.times import check_zone

if TYPE_CHECKING:
    from parity.sources.importers.tables import Found, Records, Survey, TickFile

ORDERS: Final = ("ts_event", "ts_recv")
# What of a folder is taken for ticks; a file that is named outright may have any name.
_SUFFIXES: Final = (".parquet", ".csv", ".txt", ".tsv", ".feather", ".json", ".jsonl", ".ndjson")
_COMPRESSED: Final = (".gz", ".zst", ".bz2")
# What is worth a warning: kept as it is, but the reader should know.
_WORTH: Final = (
    (flag.DUPLICATE, "ticks are flagged duplicate (trade id already seen)"),
    (flag.SKEWED, "ticks are flagged skewed (ts_event far ahead of ts_recv)"),
    (flag.LATE, "ticks are flagged late (ts_event before an earlier tick's)"),
)

Progress = Callable[[int, int], None]


class ImportReport(msgspec.Struct, frozen=True):
    """What an import did.

    Args:
        recording: the new recording's folder.
        order: the time column that decided seq.
        ticks: how many rows came in; every one is in the recording.
        files: the files in order, each with its format and rows.
        warnings: what was kept but looks odd, with counts and the first place.
    """

    recording: str
    order: str
    ticks: int
    files: list[dict[str, Any]]
    instruments: list[dict[str, Any]]
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"format": 1, **msgspec.to_builtins(self)}


def import_ticks(
    sources: Sequence[Path | str] | Path | str,
    to: Path | str,
    *,
    format: str = "auto",
    map: Mapping[str, str] | str | None = None,
    tz: str | None = None,
    order: str | None = None,
    instrument_table: InstrumentTable | Path | str | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Import files of ticks into a new recording, exactly.

    Args:
        sources: files, folders or globs; a folder or glob counts in name order.
        to: folder of the new recording; it must not exist.
        format: "auto", or one of `FORMATS`, for all files.
        map: for texts: our column -> the file's (`{"price": "px"}` or "price=px,…"; `#3` for the
            third column, `=text` for a constant).
        tz: the zone of times that carry none; without it such times are refused.
        order: "ts_event" or "ts_recv"; by default ts_recv where every row has one.
        instrument_table: a table, or a JSON file with one; else it is made from the files.
        progress: called with (rows done, rows in all).

    Raises:
        InputRefused: data that would have to be guessed at or rounded; names file and row.
        ConfigError: the usage is wrong.
    """
    target = Path(to)
    _check_usage(target, format, order)
    check_zone(tz)
    given = _given_table(instrument_table)
    options = Options(columns=parse_map(map), tz=tz, given=given)
    opened = [open_file(Sample(path), format, options) for path in _expand(sources)]
    files = [file for file, _ in opened]
    surveys = [file.survey() for file in files]
    if not any(survey.rows for survey in surveys):
        raise InputRefused(f"{', '.join(str(f.path) for f in files)}: no ticks in there")
    table = _with_extensions(given or _table_of(surveys), surveys)
    chosen = _choose_order(order, files, surveys)
    counts = _Counts()
    lines = _write(target, files, table, chosen, counts, surveys, progress)
    return ImportReport(
        recording=str(target),
        order=chosen,
        ticks=counts.rows,
        files=[_file_of(f, m, s) for (f, m), s in zip(opened, surveys, strict=True)],
        instruments=table.to_json(),
        warnings=lines,
    )


def _file_of(file: TickFile, match: Match, survey: Survey) -> dict[str, Any]:
    return {
        "path": str(file.path),
        "format": file.format,
        "layout": file.layout,
        "known_by": match.why,
        "rows": survey.rows,
    }


def parse_map(text: Mapping[str, str] | str | None) -> dict[str, str]:
    """Return a map from the text of --map ("price=px,quantity=#4"), or from a mapping.

    >>> parse_map("price=px,instrument_token==900001")
    {'price': 'px', 'instrument_token': '=900001'}
    """
    if text is None:
        return {}
    if not isinstance(text, str):
        return dict(text)
    pairs: dict[str, str] = {}
    for item in text.split(","):
        key, equals, value = item.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise ConfigError(
                f"--map: expected column=name, was {item!r}", cure="such as price=px,quantity=qty"
            )
        if key.strip() in pairs:
            raise ConfigError(f"--map: {key.strip()} stands twice")
        pairs[key.strip()] = value.strip()
    return pairs


class _Counts:
    """Counts what is odd, with the first seq of each kind."""

    def __init__(self) -> None:
        self.rows = 0
        self._odd: dict[str, list[int]] = {}

    def take(self, records: Records) -> None:
        self.rows += len(records)
        flags = records["flags"]
        trades = (flags & flag.TRADE) != 0
        self._note("trades have quantity zero", trades & (records["quantity_int"] == 0), records)
        self._note("trades have no trade id", trades & (flags & flag.NO_TRADE_ID != 0), records)
        for bit, words in _WORTH:
            self._note(words, (flags & bit) != 0, records)

    def _note(self, words: str, hit: Any, records: Records) -> None:
        if hit.any():
            seen = self._odd.setdefault(words, [0, int(records["seq"][np.argmax(hit)])])
            seen[0] += int(hit.sum())

    def warnings(self, surveys: Sequence[Survey]) -> list[str]:
        lines = [f"{n} {words}, the first at seq {seq}" for words, (n, seq) in self._odd.items()]
        notes: dict[str, int] = {}
        for survey in surveys:
            for words, n in survey.notes.items():
                notes[words] = notes.get(words, 0) + n
        return lines + [f"{words} ({n} rows)" for words, n in notes.items()]


def _write(
    target: Path,
    files: Sequence[TickFile],
    table: InstrumentTable,
    order: str,
    counts: _Counts,
    surveys: Sequence[Survey],
    progress: Progress | None,
) -> list[str]:
    from parity.recording.sequencer import Sequencer
    from parity.recording.writer import RecordingWriter

    total = sum(survey.rows for survey in surveys)
    sequencer = Sequencer(table)
    ordered = [OrderedFile(f.path, f.batches(table), order) for f in files]
    with RecordingWriter(target, table, order=order, created_by="parity import") as writer:
        for records in merge(ordered):
            sequenced = sequencer.sequence(records)
            writer.append(TickBatch.from_records(sequenced, table))
            counts.take(sequenced)
            if progress is not None:
                progress(counts.rows, total)
        writer.warnings = counts.warnings(surveys)
    return writer.warnings


def _check_usage(target: Path, format: str, order: str | None) -> None:
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise ConfigError(f"{target}: exists already", cure="name a new folder, or remove it first")
    if format not in FORMATS:
        raise ConfigError(f"--format: {format!r} is not known", cure=did_you_mean(format, FORMATS))
    if order is not None and order not in ORDERS:
        raise ConfigError(f"--order: {order!r} is not known", cure=did_you_mean(order, ORDERS))


def _expand(sources: Sequence[Path | str] | Path | str) -> list[Path]:
    given = [sources] if isinstance(sources, Path | str) else list(sources)
    paths: list[Path] = []
    for source in given:
        path = Path(source)
        if path.is_dir():
            inside = [p for p in sorted(path.iterdir()) if p.is_file() and _may_hold_ticks(p)]
        elif path.exists():
            inside = [path]
        else:
            inside = [Path(p) for p in sorted(glob.glob(str(source)))]
        if not inside:
            raise InputRefused(
                f"{source}: no file of ticks there",
                cure=f"give a file, a glob or a folder of {', '.join(_SUFFIXES)} or .zip",
            )
        paths += inside
    if not paths:
        raise ConfigError("import: expected at least one source, was none")
    for n, path in enumerate(paths):
        if path.resolve() in {p.resolve() for p in paths[:n]}:
            raise InputRefused(f"{path}: given twice", cure="name each file once")
    return paths


def _may_hold_ticks(path: Path) -> bool:
    suffixes = [s for s in path.suffixes if s not in _COMPRESSED]
    return bool(suffixes) and suffixes[-1] in (*_SUFFIXES, ".zip")


def _given_table(table: InstrumentTable | Path | str | None) -> InstrumentTable | None:
    if table is None or isinstance(table, InstrumentTable):
        return table
    path = Path(table)
    try:
        rows = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"--instrument-table: {path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"--instrument-table: {path}: expected JSON ({error})") from None
    listed = rows.get("instruments") if isinstance(rows, dict) else rows  # or a whole manifest
    if not isinstance(listed, list):
        raise ConfigError(f"--instrument-table: {path}: expected a list of instruments")
    return InstrumentTable.from_json(rows)


def _table_of(surveys: Sequence[Survey]) -> InstrumentTable:
    merged: dict[int, Found] = {}
    for survey in surveys:
        for token, found in survey.instruments.items():
            seen = merged.get(token)
            if seen is None:
                merged[token] = msgspec.structs.replace(found)
                continue
            if seen.symbol != found.symbol:
                raise InputRefused(
                    f"instrument token {token} is {seen.symbol!r} in one file and "
                    f"{found.symbol!r} in another",
                    cure="give an --instrument-table that says what it is",
                )
            seen.price_scale = max(seen.price_scale, found.price_scale)
            seen.quantity_scale = max(seen.quantity_scale, found.quantity_scale)
            seen.rows += found.rows
            seen.rows_without_venue_time += found.rows_without_venue_time
    return InstrumentTable(
        Instrument(
            token=token,
            symbol=found.symbol,
            venue=found.venue,
            kind=found.kind,
            price_scale=found.price_scale,
            quantity_scale=found.quantity_scale,
            contract_size=found.contract_size,
            # A feed that never carries venue time lives by the arrival clock.
            clock="recv" if found.rows == found.rows_without_venue_time else "venue",
        )
        for token, found in merged.items()
    )


def _with_extensions(table: InstrumentTable, surveys: Sequence[Survey]) -> InstrumentTable:
    found = [tuple(survey.extensions.values()) for survey in surveys]
    extensions = merge_extensions([table.extensions, *found])
    return InstrumentTable(table, extensions) if extensions else table


def _choose_order(order: str | None, files: Sequence[TickFile], surveys: Sequence[Survey]) -> str:
    lacking = [f for f, s in zip(files, surveys, strict=True) if s.rows_without_ts_recv]
    chosen = order or ("ts_event" if lacking else "ts_recv")
    if chosen == "ts_recv" and lacking:
        raise InputRefused(
            f"{lacking[0].path}: has rows without ts_recv", cure="use --order ts_event"
        )
    without = sum(f.rows_without_venue_time for s in surveys for f in s.instruments.values())
    rows = sum(s.rows for s in surveys)
    if chosen == "ts_event" and 0 < without < rows:
        raise InputRefused(
            f"{without} of {rows} rows have no venue time, so they cannot be merged by ts_event",
            cure="import them with files that all have ts_recv, or into recordings of their own",
        )
    return chosen
