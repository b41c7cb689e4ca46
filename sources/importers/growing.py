"""`--append`: what a sealed import says about the ticks that may follow it.

Never here: the writing, which is the writer's, all of it or nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from parity.model.errors import ConfigError, InputRefused
from parity.model.instruments import InstrumentTable
from parity.sources.importers.tables import Place

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.instruments import Instrument
    from parity.recording.manifest import Manifest
    from parity.recording.sequencer import Sequencer
    from parity.sources.importers.tables import Records, Survey, TickFile

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
        return self._grown([one for one in given if one.token not in known])

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
            found: the instruments of the files.
            files: to be appended.
            surveys: of the files.

        Raises:
            InputRefused: an instrument or column that the recording's parts cannot take.
        """
        table = self._grown(
            [one for one in (*given, *found) if one.token not in self.manifest.table], given
        )
        for file, survey in zip(files, surveys, strict=True):
            for token, one in survey.instruments.items():
                self._check_clock(table.by_token(token), one.rows_without_venue_time, file)
                self._check_scales(table.by_token(token), file)
        have = {e.name for e in self.manifest.table.extensions}
        more = [e.name for e in table.extensions if e.name not in have]
        more += [n for s in surveys for n in s.extensions if n not in have and n not in more]
        if more:
            raise InputRefused(
                f"{self.folder}: has no column {', '.join(more)}, the files to append have",
                cure=_APART,
            )
        return table

    def _grown(
        self, more: Sequence[Instrument], given: InstrumentTable | None = None
    ) -> InstrumentTable:
        known = self.manifest.table
        added = {one.token: one for one in reversed(more)}
        extensions = known.extensions if given is None else given.extensions
        return InstrumentTable((*known, *added.values()), extensions)

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

    def _check_clock(self, one: Instrument, without: int, file: TickFile) -> None:
        if self.manifest.order != "ts_event":
            return
        recorded = {i.clock for i in self.manifest.table}
        if (without > 0) != ("recv" in recorded) or len(recorded) > 1:
            has, lacks = ("has", "lacks") if without else ("lacks", "has")
            raise InputRefused(
                f"{file.path}: {one.symbol} {lacks} venue times, {self.folder} {has} them, and is "
                "in ts_event order",
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
        from parity.recording.inspect import iso

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
