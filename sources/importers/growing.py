"""`--append`: what a sealed import says about the ticks that may follow it.

Never here: the writing, which is the writer's, all of it or nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from parity.model.errors import ConfigError, InputRefused
from parity.model.instruments import InstrumentTable
from parity.model.ticks import NO_VENUE_TIME
from parity.recording.inspect import iso
from parity.sources.importers.tables import Place, merge_extensions
from parity.sources.importers.tokens import refuse_other

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.instruments import Instrument
    from parity.recording.manifest import Manifest
    from parity.recording.sequencer import Sequencer
    from parity.sources.importers.tables import Found, Records, Survey, TickFile

_APART = "import all files anew, or these into a recording of their own"


class Before(NamedTuple):
    """A recording that is appended to, as it is now."""

    folder: Path
    manifest: Manifest

    def with_table(self, given: InstrumentTable | None) -> InstrumentTable:
        """Return the recording's instruments with those that an --instrument-table adds."""
        known = self.manifest.table
        if given is None:
            return known
        for one in given:
            if one.token in known and known.by_token(one.token) != one:
                raise ConfigError(
                    f"{self.folder}: has instrument {one.token} ({one.symbol}) otherwise, and it "
                    "stays as it is",
                    cure="leave it out of the --instrument-table, or say the same of it",
                )
        self._check_columns([e.name for e in given.extensions], "the --instrument-table has")
        extensions = merge_extensions([known.extensions, given.extensions])
        return InstrumentTable((*known, *(i for i in given if i.token not in known)), extensions)

    def grown(
        self,
        given: InstrumentTable,
        found: InstrumentTable,
        files: Sequence[TickFile],
        surveys: Sequence[Survey],
    ) -> InstrumentTable:
        """Return the table with what the files add.

        Args:
            given: from `with_table`.
            found: the instruments that the files may add.
            files: to be appended.
            surveys: of the files.

        Raises:
            InputRefused: an instrument or column that the recording's parts cannot take.
        """
        table = InstrumentTable(
            (*given, *(one for one in found if one.token not in given)), given.extensions
        )
        by_event = self.manifest.order == "ts_event"
        timed = by_event and self._has_venue_times()
        for file, survey in zip(files, surveys, strict=True):
            for token, one in survey.instruments.items():
                if token not in table:
                    continue  # refused where it is read, by its row
                if by_event:
                    self._check_clock(table.by_token(token), one, file, timed=timed)
                self._check_scales(table.by_token(token), file)
            self._check_columns(survey.extensions, f"{file.path} has")
        return table

    def check_names(self, files: Sequence[TickFile], surveys: Sequence[Survey]) -> None:
        """Refuse a file that gives a token of the recording's another name."""
        table = self.manifest.table
        for file, survey in zip(files, surveys, strict=True):
            for token, one in survey.instruments.items():
                if token in table:
                    refuse_other(file, token, one, table.by_token(token), str(self.folder))

    def _check_columns(self, names: Iterable[str], who_has: str) -> None:
        have = {e.name for e in self.manifest.extensions}
        more = [name for name in names if name not in have]
        if more:
            raise InputRefused(
                f"{self.folder}: has no column {', '.join(more)}, {who_has}", cure=_APART
            )

    def _check_scales(self, one: Instrument, file: TickFile) -> None:
        # The parts that are there have the recording's scales in their DECIMAL columns.
        for which in ("price", "quantity"):
            own, most = getattr(one, f"{which}_scale"), self.manifest.scales[which]
            if own > most:
                raise InputRefused(
                    f"{file.path}: instrument {one.token} ({one.symbol}) has {own} decimals of "
                    f"{which}, {self.folder} keeps {most}",
                    cure=_APART + f"; or fix a {which}_scale of at most {most} for it with "
                    "--instrument-table, if no value needs more",
                )

    def _has_venue_times(self) -> bool:
        # In ts_event order every tick has one, or none has: the clocks of a table do not say it.
        from parity.recording.reader import open_recording

        with open_recording(self.folder) as recording:
            first = recording.sql("SELECT flags FROM ticks LIMIT 1").fetchall()
        return not any(flags & NO_VENUE_TIME for (flags,) in first)

    def _check_clock(self, one: Instrument, found: Found, file: TickFile, *, timed: bool) -> None:
        if (found.rows_without_venue_time == 0) == timed:
            return
        has, lacks = ("lacks", "has") if timed else ("has", "lacks")
        raise InputRefused(
            f"{file.path}: {one.symbol} {has} venue times, {self.folder} {lacks} them, and is in "
            "ts_event order",
            cure="import it into a recording of its own",
        )

    def sequencer(self, table: InstrumentTable) -> tuple[Sequencer, int]:
        """Return a sequencer that has seen every tick of the recording, and its last time.

        Where the parts look as the last import left them, its state is taken; else they are hashed
        and read.
        """
        from parity.recording.reader import open_recording
        from parity.recording.resume import load_resume
        from parity.recording.sequencer import Sequencer

        sequencer, end = Sequencer(table, next_seq=self.manifest.last_seq + 1), -(2**63)
        left = load_resume(self.folder, self.manifest)
        if left is not None:
            sequencer.restore(left.sequencer)
            return sequencer, left.end_ns
        with open_recording(self.folder) as recording:
            recording.check_files(always=True)
            for batch in recording.batches():
                sequencer.observe(batch)
                end = max(end, int(batch.ticks.column(self.manifest.order).max(initial=end)))
        return sequencer, end

    def check_later(self, records: Records, end: int, file: TickFile) -> None:
        """Refuse a first tick that is not later than the recording's last."""
        order = self.manifest.order
        found = int(records[order][0])
        if found <= end:
            Place(file.path, order, int(records["seq"][0]) - 1, file.names).refuse(
                0,
                iso(found),
                f"expected a time after {iso(end)}, the last of {self.folder}",
                "append later files only; to add these, import all files anew",
            )


@contextmanager
def appending(target: Path, order: str | None) -> Iterator[Before]:
    """Hold a recording while it is appended to.

    Raises:
        RecordingMissing: there is none.
        ConfigError: another import holds it, or it cannot be appended to.
    """
    from parity.recording.holding import hold
    from parity.recording.manifest import load_manifest

    manifest = load_manifest(target)
    if manifest.state != "sealed" or manifest.order not in ("ts_event", "ts_recv"):
        raise ConfigError(
            f"{target}: is {manifest.state}, in {manifest.order} order; only a sealed import can "
            "be appended to",
            cure="import the files into a recording of their own",
        )
    if order is not None and order != manifest.order:
        raise ConfigError(
            f"{target}: is in {manifest.order} order", cure=f"leave --order {order} out"
        )
    descriptor = hold(target)
    try:
        yield Before(target, load_manifest(target))
    finally:
        os.close(descriptor)
