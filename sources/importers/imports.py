"""`import_ticks`: files of ticks in, one sealed recording out, or nothing at all.

Two passes: the first finds the instruments, their scales and which times there are, so that every
scale is fixed before the first tick; the second converts, merges, numbers and writes. A big file of
plain numbers is first taken to be like its start, and the second pass notices where it is not: then
all is done again with both. A refusal, an interrupt or a kill in between leaves no recording
behind, or the one that was there as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import msgspec
import numpy as np

from parity.model.errors import ConfigError, InputRefused, did_you_mean
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TickBatch
from parity.recording.given import given_table
from parity.sources.importers.columns import ColumnRecords
from parity.sources.importers.formats import FORMATS, Match, Options, open_file
from parity.sources.importers.growing import Before, appending
from parity.sources.importers.inputs import expand, open_at_once, parse_map
from parity.sources.importers.merge import OrderedFile, merge, numbered
from parity.sources.importers.odd import Oddities
from parity.sources.importers.plain import PlainTickFile, Unlike
from parity.sources.importers.sample import Sample
from parity.sources.importers.sorting import SortedTickFile
from parity.sources.importers.steps import Steps
from parity.sources.importers.tables import Place, merge_extensions
from parity.sources.importers.times import check_zone
from parity.sources.importers.tokens import check_names, take_names

if TYPE_CHECKING:
    from parity.recording.sequencer import Sequencer
    from parity.sources.importers.shares import Shares
    from parity.sources.importers.steps import Progress
    from parity.sources.importers.tables import Found, Survey, TickFile

ORDERS: Final = ("ts_event", "ts_recv")
SORTS: Final = ("id",)


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
    sort: str | None = None,
    append: bool = False,
    instrument_table: InstrumentTable | Path | str | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Import files of ticks into a new recording, exactly, or append them to one.

    Args:
        sources: files, folders or globs; a folder or glob counts in name order.
        to: folder of the recording; it must not exist, unless appended to.
        format: "auto", or one of `FORMATS`, for all files.
        map: for texts: our column -> the file's (`{"price": "px"}` or "price=px,…"; `#3` for the
            third column, `=text` for a constant).
        tz: the zone of times that carry none; without it such times are refused.
        order: "ts_event" or "ts_recv"; by default ts_recv where every row has one.
        sort: "id" puts the rows of each file in the order of their trade ids first.
        append: add ticks that are later than all of a sealed import, also of new instruments.
        instrument_table: a table, or a JSON file with one; else it is made from the files.
            To an append it adds instruments.
        progress: called with (rows done, rows in all, which pass), in every pass. The rows in all
            may be an estimate until the end, or None.

    Raises:
        InputRefused: data that would have to be guessed at or rounded; names file and row.
        ConfigError: the usage is wrong.
    """
    target = Path(to)
    _check_usage(target, format, order, sort, append)
    check_zone(tz)
    with ExitStack() as stack:
        before = None
        if append:
            before = stack.enter_context(appending(target, order))
        given = None if instrument_table is None else given_table(instrument_table)
        grows = before is not None and given is None
        if before is not None:
            given = before.with_table(given)
        options = Options(columns=parse_map(map), tz=tz, given=given, grows=grows, sort=sort)
        paths = expand(sources)
        stack.enter_context(open_at_once(len(paths)))
        samples = [Sample(path) for path in paths]
        opened = [open_file(sample, format, options) for sample in samples]
        asked = _Asked(target, samples, opened, options, before, order, sort, progress)
        report = None
        if sort is None and any(isinstance(f, PlainTickFile) and f.is_big() for f, _ in opened):
            # Whatever is wrong, the long way says it as for any file.
            with suppress(Unlike, InputRefused):
                report = _import(asked, glance=True)
        return report or _import(asked, glance=False)


class _Asked(NamedTuple):
    """What was asked for."""

    target: Path
    samples: Sequence[Sample]
    opened: Sequence[tuple[TickFile, Match]]
    options: Options
    before: Before | None
    order: str | None
    sort: str | None
    progress: Progress | None


def _import(asked: _Asked, *, glance: bool) -> ImportReport:
    opened, before, order, given = asked.opened, asked.before, asked.order, asked.options.given
    files = [file for file, _ in opened]
    surveys, steps = _surveyed(asked, files, glance=glance)
    if not any(survey.rows for survey in surveys):
        raise InputRefused(f"{', '.join(str(f.path) for f in files)}: no ticks in there")
    table = given
    if before is not None and given is not None:
        found = _table_of(files, surveys) if asked.options.grows else given
        if asked.options.grows:
            before.check_names(files, surveys)
        table = before.grown(given, found, files, surveys)
        order = before.manifest.order
    table = _with_extensions(table or _table_of(files, surveys), surveys)
    chosen = _choose_order(order, files, surveys)
    stopped = Event()
    if asked.sort is not None:
        files = _sorted(files, surveys, asked.target.parent, steps, stopped)
    shares = asked.options.shares
    plan = _Plan(asked.target, files, surveys, table, chosen, before, shares, stopped)
    odd = Oddities([f.path for f in files], [f.layout for f in files], table, chosen)
    lines = _write(plan, odd, steps)
    return ImportReport(
        recording=str(asked.target),
        order=chosen,
        ticks=odd.rows,
        files=[_file_of(f, m, s) for (f, m), s in zip(opened, surveys, strict=True)],
        instruments=table.to_json(),
        warnings=lines,
    )


def _surveyed(
    asked: _Asked, files: Sequence[TickFile], *, glance: bool
) -> tuple[list[Survey], Steps]:
    """Survey each file, a big one of plain numbers by a glance at it if so asked."""
    glanced = [glance and isinstance(f, PlainTickFile) and f.is_big() for f in files]
    read = [s for s, quick in zip(asked.samples, glanced, strict=True) if not quick]
    steps = Steps(asked.progress, read, sorts=asked.sort is not None)
    surveys = []
    for file, sample, quick in zip(files, asked.samples, glanced, strict=True):
        if quick and isinstance(file, PlainTickFile):
            surveys.append(file.glance())
            continue
        steps.surveying(sample, 0)
        surveys.append(file.survey(partial(steps.surveying, sample)))
        steps.surveyed(sample, surveys[-1].rows)
    if read:
        steps.next_pass()
    return surveys, steps


def _sorted(
    files: Sequence[TickFile],
    surveys: Sequence[Survey],
    folder: Path,
    steps: Steps,
    stopped: Event,
) -> list[TickFile]:
    """Return the files in the order of their trade ids; they are sorted before any is written."""
    total = sum(survey.rows for survey in surveys)
    done = [0] * len(files)

    def tell(number: int, rows: int) -> None:
        if stopped.is_set():  # nothing is given on yet, by which the thread could see it
            raise _Stopped
        done[number] = rows
        steps.writing(sum(done), total)
        if sum(done) == total:
            steps.next_pass()

    return [SortedTickFile(f, n, folder, partial(tell, n)) for n, f in enumerate(files)]


def _file_of(file: TickFile, match: Match, survey: Survey) -> dict[str, Any]:
    return {
        "path": str(file.path),
        "format": file.format,
        "layout": file.layout,
        "known_by": match.why,
        "rows": survey.rows,
    }


class _Plan(NamedTuple):
    """What is to be written where."""

    target: Path
    files: Sequence[TickFile]
    surveys: Sequence[Survey]
    table: InstrumentTable
    order: str
    before: Before | None
    shares: Shares
    stopped: Event  # set where nobody waits for rows any more


class _Stopped(Exception):
    """Ends a thread whose rows nobody waits for any more."""


def _write(plan: _Plan, odd: Oddities, steps: Steps) -> list[str]:
    from parity.recording.scan import read_ahead
    from parity.recording.sequencer import Sequencer
    from parity.recording.writer import RecordingWriter

    total = sum(survey.rows for survey in plan.surveys)
    sequencer, end = Sequencer(plan.table), -(2**63)
    if plan.before is not None:
        sequencer, end = plan.before.sequencer(plan.table)
    with RecordingWriter(
        plan.target,
        plan.table,
        order=plan.order,
        created_by="parity import",
        append=plan.before is not None,
    ) as writer:
        steps.writing(0, total)
        # Rows are parsed, judged and written by three threads: all leave Python for most of it.
        sequenced = _sequenced(plan, sequencer, end, odd)
        with closing(read_ahead(sequenced, plan.stopped)) as batches:
            for batch in batches:
                writer.append(batch)
                steps.writing(writer.tick_rows, max(total, writer.tick_rows))
        for file, survey in zip(plan.files, plan.surveys, strict=True):
            if isinstance(file, PlainTickFile) and file.glanced:
                survey.rows = file.rows  # it was an estimate
        total = sum(survey.rows for survey in plan.surveys)
        steps.writing(writer.tick_rows, total)
        if writer.tick_rows != total:
            raise AssertionError(f"{total} rows were surveyed, {writer.tick_rows} written")
        writer.warnings = odd.warnings(plan.surveys)
        writer.resume = (sequencer.snapshot(), odd.end_ns)
    return writer.warnings


def _sequenced(plan: _Plan, sequencer: Sequencer, end: int, odd: Oddities) -> Iterator[TickBatch]:
    from parity.recording.scan import read_ahead

    merged = merge([_ordered(plan, n) for n in range(len(plan.files))], plan.shares)
    with closing(read_ahead(merged)) as ahead:
        for records in ahead:
            apart = isinstance(records, ColumnRecords)
            rows, files = records["seq"], records["sub"]
            if not apart:  # they are overwritten in place
                rows, files = rows.copy(), files.astype(np.int64)
            if plan.before is not None and not odd.rows:
                plan.before.check_later(records, end, plan.files[int(files[0])])
            records["sub"] = 0
            if apart:
                sequencer.sequence_columns(records)
                odd.take(records, files, rows)
                yield TickBatch(records.columns, plan.table)
                continue
            sequenced = sequencer.sequence(records)
            odd.take(sequenced, files, rows)
            yield TickBatch.from_records(sequenced, plan.table)


def _ordered(plan: _Plan, number: int) -> OrderedFile:
    file = plan.files[number]
    batches = file.batches(plan.table)
    by_id = isinstance(file, SortedTickFile)
    if not by_id:
        batches = numbered(batches, number)
    return OrderedFile(file, batches, plan.order, by_id=by_id)


def _check_usage(
    target: Path, format: str, order: str | None, sort: str | None, append: bool
) -> None:
    free = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not append and not free:
        raise ConfigError(
            f"{target}: exists already",
            cure="name a new folder, remove it first, or --append later ticks to it",
        )
    for option, value, known in (
        ("--format", format, FORMATS),
        ("--order", order, ORDERS),
        ("--sort", sort, SORTS),
    ):
        if value is not None and value not in known:
            raise ConfigError(f"{option}: {value!r} is not known", cure=did_you_mean(value, known))


def _table_of(files: Sequence[TickFile], surveys: Sequence[Survey]) -> InstrumentTable:
    check_names(files, surveys)
    merged: dict[int, Found] = {}
    for survey in surveys:
        for token, found in survey.instruments.items():
            seen = merged.get(token)
            if seen is None:
                merged[token] = msgspec.structs.replace(found)
                continue
            take_names(seen, found)
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
        _refuse_without("ts_recv", files, surveys, "expected a time", "use --order ts_event")
    without = sum(f.rows_without_venue_time for s in surveys for f in s.instruments.values())
    rows = sum(s.rows for s in surveys)
    if chosen == "ts_event" and 0 < without < rows:
        _refuse_without(
            "ts_event",
            files,
            surveys,
            f"expected a venue time to merge by, {without} of {rows} rows have none",
            "give every row its ts_recv, which then decides, or import the files with and those "
            "without venue time into recordings of their own",
        )
    return chosen


def _refuse_without(
    name: str, files: Sequence[TickFile], surveys: Sequence[Survey], problem: str, cure: str
) -> NoReturn:
    """Refuse the first row that lacks a time."""
    for file, survey in zip(files, surveys, strict=True):
        if name in survey.first_without:
            place = Place(file.path, name, survey.first_without[name] - 1, file.names)
            place.refuse(0, "", problem, cure)
    raise AssertionError(f"no row lacks {name}")
