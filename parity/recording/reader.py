"""All reading of recordings: the parts in file order, then any unsealed journal.

A part comes through DuckDB, or from its file in the Arrow cache where there is one.

Order is checked, never trusted: seq must rise strictly in every batch, and without a filter leave
no gap over ticks and events.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import hashlib
import itertools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from parity.model.errors import ConfigError, RecordingCorrupt, did_you_mean
from parity.model.events import Control, EventBatch
from parity.model.extensions import PRESENT
from parity.model.ticks import TickBatch
from parity.recording.gone import pruned_meanwhile
from parity.recording.manifest import load_manifest, repair_cure
from parity.recording.order import Order, damaged
from parity.recording.payloads import without_payload
from parity.recording.segments import last_of
from parity.recording.selection import Selection
from parity.recording.snapshot import JournalSnapshot, snapshot

if TYPE_CHECKING:
    import duckdb
    import polars as pl
    import pyarrow as pa

    from parity.model.instruments import InstrumentTable
    from parity.recording.manifest import Manifest, Part

Columns = dict[str, Any]  # arrays; a `seq` that rises by one may be a range

BATCH_ROWS: Final = 65536
_checked: dict[str, tuple[tuple[int, int, int], str]] = {}  # path -> (size, mtime, inode), sha256


def open_recording(path: Path | str, *, cached: bool = True) -> Recording:
    """Open a recording for reading; it is never changed by it.

    Args:
        path: its folder.
        cached: whether ticks may come from its Arrow cache; proofs read the parts themselves.

    Raises:
        RecordingMissing: nothing there, or not a recording.
        RecordingCorrupt: the manifest was edited, or a part is missing or has another size.
    """
    folder = Path(path)
    manifest, journal = snapshot(folder)
    for part in manifest.parts:
        try:
            size = (folder / part.file).stat().st_size
        except OSError:
            if load_manifest(folder).gone != manifest.gone:  # pruned behind our back
                return open_recording(path, cached=cached)
            raise damaged(folder, part, "is missing") from None
        if size != part.bytes:
            raise damaged(folder, part, f"has {size} bytes, expected {part.bytes}")
    return Recording(folder, manifest, journal, cached=cached)


class _Tail(NamedTuple):
    tick_rows: int
    controls: list[Control]
    last_seq: int
    positions: dict[int, int]
    torn_bytes: int


class Recording:
    """A recording on disk: a TickSource, and what analysis asks of it.

    Args:
        path: its folder.
        manifest: as `snapshot` gives it.
        journal: of the same moment; None where it is sealed.
        cached: whether ticks may come from its Arrow cache.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        journal: JournalSnapshot | None = None,
        *,
        cached: bool = True,
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.journal = journal
        self.cached = cached
        self.table: InstrumentTable = manifest.table
        self._connection: Any = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Recording({str(self.path)!r}, {self.tick_rows} ticks, {self.manifest.state})"

    def _repr_html_(self) -> str:
        from parity.recording.cards import recording_card

        held = self.manifest
        shown = {"ticks": self.tick_rows, "order": held.order, "state": held.state}
        return recording_card(shown | {"instruments": held.instruments}, title=self.path.name)

    @property
    def tick_rows(self) -> int:
        """How many ticks it holds, those of an unsealed journal included."""
        return sum(p.rows for p in self.manifest.of_kind("ticks")) + self._tail.tick_rows

    @property
    def last_seq(self) -> int:
        """The last seq it holds."""
        return max(self.manifest.last_seq, self._tail.last_seq)

    @property
    def torn_bytes(self) -> int:
        """Bytes at the end of an unsealed journal that are no whole frame; they are not read."""
        return self._tail.torn_bytes

    def batches(
        self,
        *,
        columns: Sequence[str] | None = None,
        instruments: Sequence[int] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        batch_rows: int = BATCH_ROWS,
    ) -> Iterator[EventBatch]:
        """Yield ticks and controls in seq order.

        Args:
            columns: tick columns wanted, by in-memory or derived name; None means all. `seq`
                always comes along, and what the wanted ones need.
            instruments: tokens; None means all.
            start_ns: first ts_event wanted.
            end_ns: first ts_event not wanted any more.
            batch_rows: most ticks in a batch.

        Raises:
            RecordingCorrupt: seq does not rise, or (without a filter) has a gap.
            ConfigError: an unknown column or token.
        """
        for token in instruments or ():
            self.table.by_token(token)
        names = self._names(columns)
        tokens = None if instruments is None else tuple(instruments)
        chosen = Selection(tokens, start_ns, end_ns)
        return self._checked(names, chosen, batch_rows)

    def controls(self) -> list[Control]:
        """Return all controls in seq order."""
        from parity.recording.layout import read_events

        found: list[Control] = []
        with pruned_meanwhile(self.path, self.manifest):
            for part in self.manifest.of_kind("events"):
                found.extend(read_events(self.path / part.file))
        if self.manifest.gone:  # the event of a gap lies apart, maybe amid the events of a part
            found.sort(key=lambda control: control.seq)
        return found + self._tail.controls

    def check_files(self, *, always: bool = False) -> None:
        """Hash every part; once per path, size, mtime and inode unless `always`.

        Raises:
            RecordingCorrupt: naming the part, its seq range, and both hashes.
        """
        with pruned_meanwhile(self.path, self.manifest):
            for part in self.manifest.parts:
                self._check(part, always=always)

    def build_cache(self) -> int:
        """Write the Arrow cache of the sealed ticks, where it is not there already.

        Returns:
            Its bytes.

        Raises:
            RecordingCorrupt: a part is not what was written.
            DiskRefused: it cannot be written; nothing half is left.
        """
        from parity.recording import cache

        names, everything = self._names(None), Selection(None, None, None)

        def read(part: Part) -> Iterator[Columns]:
            self._check(part)
            for columns in self._scanned([part], names, everything, cache.BATCH_ROWS):
                yield {name: columns[name] for name in names}

        return cache.build(self.path, self.manifest, read)

    def remove_cache(self) -> None:
        """Remove the Arrow cache; the recording stays as it is."""
        from parity.recording import cache

        cache.remove(self.path)

    def content_hash(self) -> str:
        """Return a hash over instruments, parts and any unsealed journal."""
        parts = [(p.kind, p.first_seq, p.last_seq, p.sha256) for p in self.manifest.parts]
        held: list[Any] = [self.manifest.instruments, parts]
        if self.manifest.extensions:
            held.append(self.manifest.extensions)
        body = hashlib.sha256(msgspec.json.encode(held))
        if self._tail.last_seq:
            for frame in self.journal or ():
                body.update(frame.records.tobytes())
                body.update(msgspec.msgpack.encode(frame.controls))
        return body.hexdigest()

    def next_positions(self) -> dict[tuple[str, int], int]:
        """Return (topic, partition) -> the offset to read next."""
        found = self.manifest.positions()
        found.update(self._tail.positions)
        return {(s.topic, s.partition): found[s.id] for s in self.manifest.streams if s.id in found}

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """Run a query over the views `ticks`, `events` and `instruments`, prices as decimals.

        Any thread may ask. A relation reads when it is fetched from, and may outlive the recording;
        the views are of the journal as it was when the first query came.
        """
        from parity.recording.scan import another

        with self._lock:
            if self._connection is None:
                self._connection = self._views()
            return another(self._connection).sql(query)

    def ticks(self) -> pl.LazyFrame:
        """Return all ticks as a polars LazyFrame, prices as decimals."""
        import polars
        import pyarrow

        files = [self.path / p.file for p in self.manifest.of_kind("ticks")]
        frames = [polars.scan_parquet(files)] if files else []
        if self._tail.tick_rows or not frames:
            tail = self._tail_table()
            wide = [
                f.with_type(pyarrow.decimal128(f.type.precision, f.type.scale))
                if pyarrow.types.is_decimal(f.type)
                else f
                for f in tail.schema
            ]
            frame = polars.from_arrow(tail.cast(pyarrow.schema(wide)))
            assert isinstance(frame, polars.DataFrame)  # a table never gives a series
            frames.append(frame.lazy())
        return polars.concat(frames)

    def close(self) -> None:
        """Let go of the connection that `sql` opened; it ends with the last of its relations."""
        self._connection = None

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- columns

    def _names(self, wanted: Sequence[str] | None) -> tuple[str, ...]:
        known = self.table.columns
        if wanted is None:
            return known.names
        found = {"seq"}
        for name in wanted:
            own = "instrument_token" if name == "inst" else known.sources.get(name, name)
            if own not in known.known:
                raise ConfigError(
                    f"tick column {name!r} is not known",
                    cure=did_you_mean(name, [*known.names, *known.sources, "inst"]),
                )
            found.add(own)
        found = known.with_present(found)
        if found & known.scaled.keys() and not self._one_scale:
            found.add("instrument_token")
        return tuple(n for n in known.names if n in found)

    @functools.cached_property
    def _one_scale(self) -> bool:
        scales = (self.table.price_scales, self.table.quantity_scales)
        return all(bool((s == s[0]).all()) for s in scales)

    def _part_columns(
        self, names: Sequence[str], chosen: Selection, batch_rows: int
    ) -> Iterator[Columns]:
        waiting: list[Part] = []  # parts without a cache, read by one query: one each costs more
        for part in self.manifest.of_kind("ticks"):
            if not self._is_cached(part):
                waiting.append(part)
                continue
            yield from self._scanned(waiting, names, chosen, batch_rows)
            yield from self._mapped(part, names, chosen, batch_rows)
            waiting = []
        yield from self._scanned(waiting, names, chosen, batch_rows)

    def _is_cached(self, part: Part) -> bool:
        if not self.cached or not (self.path / "cache").is_dir():
            return False
        from parity.recording import cache

        return cache.path_of(self.path, self.manifest, part).is_file()

    def _mapped(
        self, part: Part, names: Sequence[str], chosen: Selection, batch_rows: int
    ) -> Iterator[Columns]:
        from parity.recording import cache

        self._check(part)  # a cache never hides that its part was edited
        path = cache.path_of(self.path, self.manifest, part)
        asked = np.uint64(self.table.columns.mask_of(names))
        last_seq = 0
        try:
            dtype = self.table.tick_dtype
            for columns in cache.read_part(path, part, dtype, names, chosen, batch_rows):
                if PRESENT in columns:  # of what is read, as it is of parts
                    columns[PRESENT] = columns[PRESENT] & asked
                last_seq = int(columns["seq"][-1])
                yield columns
        except cache.CacheDamaged:
            with contextlib.suppress(OSError):  # where the folder is read-only it stays
                path.unlink()
            yield from self._scanned([part], names, chosen, batch_rows, behind=last_seq)

    def _scanned(
        self,
        parts: Sequence[Part],
        names: Sequence[str],
        chosen: Selection,
        batch_rows: int,
        *,
        behind: int = 0,
    ) -> Iterator[Columns]:
        if not parts:
            return
        from parity.recording import layout, scan

        files = [self.path / p.file for p in parts]
        known = self.table.columns.stored
        stored = [known[n] for n in names if n in known]
        where = chosen.where() + ([f"seq > {behind}"] if behind else [])
        batches = scan.scan(files, stored, where, batch_rows)
        decode = layout.Decoder(names, self.table, self.manifest.scales, str(self.path / "ticks"))
        try:
            for batch in batches:
                if batch.num_rows:
                    yield decode(batch)
        finally:
            batches.close()  # type: ignore[attr-defined]  # both are generators

    def _check(self, part: Part, *, always: bool = False) -> None:
        from parity.recording.layout import file_sha256

        path = self.path / part.file
        try:
            stat = path.stat()
        except OSError:
            raise damaged(self.path, part, "is missing") from None
        key = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        known = _checked.get(str(path.resolve()))
        if always or known is None or known[0] != key:
            known = (key, file_sha256(path))
            _checked[str(path.resolve())] = known
        if known[1] != part.sha256:
            raise damaged(self.path, part, f"has sha256 {known[1]}, expected {part.sha256}")

    # -- the journal

    @functools.cached_property
    def _tail(self) -> _Tail:
        rows, last_seq = 0, 0
        controls: list[Control] = []
        positions: dict[int, int] = {}
        if self.journal is None:
            return _Tail(0, [], 0, {}, 0)
        for frame in self.journal:
            rows += len(frame.records)
            controls.extend(without_payload(control) for control in frame.controls)
            positions.update(frame.positions)
            last_seq = max(last_seq, last_of(frame))
        return _Tail(rows, controls, last_seq, positions, self.journal.torn_bytes)

    def _tail_columns(
        self, names: Sequence[str], chosen: Selection, batch_rows: int
    ) -> Iterator[Columns]:
        for records in self._tail_records(batch_rows):
            kept = chosen.of(records)
            if len(kept):
                columns = {n: np.ascontiguousarray(kept[n]) for n in names}
                if PRESENT in columns:  # of what is read, as it is of parts
                    columns[PRESENT] &= np.uint64(self.table.columns.mask_of(names))
                yield columns

    def _tail_records(self, batch_rows: int) -> Iterator[npt.NDArray[Any]]:
        if not self._tail.tick_rows:
            return
        waiting: list[npt.NDArray[Any]] = []
        rows = 0
        for frame in self.journal or ():
            if frame.records["seq"].size and frame.records["seq"][0] <= self.manifest.last_seq:
                raise RecordingCorrupt(
                    f"{self.path}: journal and parts both hold seq {frame.records['seq'][0]}",
                    cure=repair_cure(self.path),
                )
            waiting.append(frame.records)
            rows += len(frame.records)
            while rows >= batch_rows:
                whole = np.concatenate(waiting)
                yield whole[:batch_rows]
                waiting, rows = [whole[batch_rows:]], rows - batch_rows
        if rows:
            yield np.concatenate(waiting)

    def _tail_table(self) -> pa.Table:
        from parity.recording.layout import tick_table

        pieces = list(self._tail_records(BATCH_ROWS))
        records = np.concatenate(pieces) if pieces else np.zeros(0, self.table.tick_dtype)
        columns = {n: np.ascontiguousarray(records[n]) for n in self.table.columns.names}
        return tick_table(columns, self.table, self.manifest.scales)

    # -- order

    def _checked(
        self, names: Sequence[str], chosen: Selection, batch_rows: int
    ) -> Iterator[EventBatch]:
        parts = self._part_columns(names, chosen, batch_rows)
        tail = self._tail_columns(names, chosen, batch_rows)
        with pruned_meanwhile(self.path, self.manifest):
            yield from self._merged(itertools.chain(parts, tail), names, chosen)

    def _merged(
        self, pieces: Iterator[Columns], names: Sequence[str], chosen: Selection
    ) -> Iterator[EventBatch]:
        controls = self.controls()
        seqs = [c.seq for c in controls]
        promised = self.last_seq if chosen.everything else None
        order = Order(self.path, self.manifest, promised)
        at, first, last = 0, 0, 0
        try:
            for columns in pieces:
                seq = columns["seq"]
                upto = bisect.bisect_left(seqs, int(seq[-1]), at)
                order.check(seq, seqs[at:upto])
                first = first or int(seq[0])
                mine = chosen.controls(controls[at:upto], first, int(seq[-1]))
                at, last = upto, int(seq[-1])
                yield EventBatch(TickBatch(columns, self.table), tuple(mine))
        finally:
            pieces_close = getattr(pieces, "close", None)
            if pieces_close is not None:
                pieces_close()
        order.check(np.zeros(0, np.int64), seqs[at:])
        order.finish()
        rest = chosen.controls(controls[at:], first, last)
        if rest:
            empty = {n: np.zeros(0, self.table.tick_dtype[n]) for n in names}
            yield EventBatch(TickBatch(empty, self.table), tuple(rest))

    def _views(self) -> Any:
        import pyarrow

        from parity.recording import layout, scan

        connection = scan.connect()
        # Tables, not registered Arrow: every query has a cursor of its own, which sees only tables.
        tables = {
            "instruments": pyarrow.Table.from_pylist(self.manifest.instruments),
            "ticks_tail": self._tail_table(),
            "events_tail": layout.event_table(self._tail.controls),
        }
        for name, rows in tables.items():
            connection.register("arrow", rows)
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM arrow")
            connection.unregister("arrow")
        for kind in ("ticks", "events"):
            files = [self.path / p.file for p in self.manifest.of_kind(kind)]
            union = f"SELECT * FROM {kind}_tail"
            if files:
                union = f"SELECT * FROM read_parquet({scan.file_list(files)}) UNION ALL " + union
            connection.execute(f"CREATE VIEW {kind} AS {union}")
        return connection
