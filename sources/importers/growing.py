"""`--append`: what a sealed import says about the ticks that may follow it.

Never here: the writing, which is the writer's, all of it or nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from parity.model.errors import ConfigError, InputRefused
from parity.sources.importers.tables import Place

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.instruments import InstrumentTable
    from parity.recording.manifest import Manifest
    from parity.recording.sequencer import Sequencer
    from parity.sources.importers.tables import Records, Survey, TickFile


class Before(NamedTuple):
    """A recording that is appended to, as it is now."""

    folder: Path
    manifest: Manifest

    def check(
        self, table: InstrumentTable, files: Sequence[TickFile], surveys: Sequence[Survey]
    ) -> None:
        """Refuse instruments and columns that the recording has not."""
        known = self.manifest.table
        for file, survey in zip(files, surveys, strict=True):
            for token, found in survey.instruments.items():
                if token not in known:
                    raise InputRefused(
                        f"{file.path}: instrument {token} ({found.symbol}) is not in {self.folder}",
                        cure="import all files anew, or these into a recording of their own",
                    )
        have = {e.name for e in known.extensions}
        more = [e.name for e in table.extensions if e.name not in have]
        if more:
            raise InputRefused(
                f"{self.folder}: has no column {', '.join(more)}, the files to append have",
                cure="import all files anew, or these into a recording of their own",
            )

    def sequencer(self, table: InstrumentTable) -> tuple[Sequencer, int]:
        """Return a sequencer that has seen every tick of the recording, and its last time."""
        from parity.recording.reader import open_recording
        from parity.recording.sequencer import Sequencer

        sequencer, end = Sequencer(table, next_seq=self.manifest.last_seq + 1), -(2**63)
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
                found,
                f"expected a time after {end}, the last of {self.folder}",
                "append later files only; to add these, import all files anew",
            )


@contextmanager
def appending(target: Path, order: str | None, has_table: bool) -> Iterator[Before]:
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
    if has_table:
        raise ConfigError(
            f"{target}: has its instruments and scales, and they stay",
            cure="leave --instrument-table out of an --append",
        )
    descriptor = hold(target)
    try:
        yield Before(target, load_manifest(target))
    finally:
        os.close(descriptor)
