"""Runs: the folder that keeps what one engine life decided, and what it was made of.

`manifest.json`, `candidates/`, `decisions/` (Parquet parts), `deliveries/`, `checkpoints/`,
`models/` by sha256, `source/` as it ran, and `recording/` where the run has its own.
Never here: deciding anything, or reading a clock.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from parity.core.digest import Chain
from parity.core.engine import RunReport
from parity.model.effects import ApprovedSignal, DroppedSignal, Effect
from parity.model.errors import ConfigError, RecordingCorrupt, RecordingMissing
from parity.model.sessions import SessionClock
from parity.recording.holding import is_bare
from parity.recording.rows import candidate_row, decision_row

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
STREAMS: Final = ("candidates", "decisions")
SESSIONS: Final = "sessions"  # in a manifest's settings
_CHECKPOINTS_KEPT: Final = 2
_FLUSH_ROWS: Final = 20_000  # a row waits as a dict of a kilobyte or two

_IDENTITY: Final[dict[str, pa.DataType]] = {
    "seq": pa.int64(),
    "strategy_id": pa.string(),
    "broker": pa.string(),
    "instrument_token": pa.int64(),
    "ts_event": pa.int64(),
    "ordinal": pa.int64(),
}
CANDIDATES: Final = pa.schema(
    {
        **_IDENTITY,
        "side": pa.int8(),
        "price": pa.float64(),
        "quantity": pa.float64(),
        "confidence": pa.float64(),
        "metadata": pa.string(),
        "reasoning": pa.string(),
        "record": pa.binary(),
    }
)
DECISIONS: Final = pa.schema(
    {
        **_IDENTITY,
        # approved, dropped, fill, refused; without a record failure, transition, control_refused
        "kind": pa.string(),
        "side": pa.int8(),
        "price": pa.float64(),
        "quantity": pa.float64(),
        "price_exact": pa.string(),
        "quantity_exact": pa.string(),
        "commission_exact": pa.string(),
        "reason": pa.string(),
        "signal_no": pa.int64(),
        "signal_id": pa.string(),
        "seen": pa.string(),  # JSON: the values that decided a drop; absent in older runs
        "record": pa.binary(),
    }
)
SCHEMAS: Final = {"candidates": CANDIDATES, "decisions": DECISIONS}


class KeptStrategy(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy as the run's manifest keeps it.

    Args:
        config: the StrategyConfig as plain values.
        kind: builtin, function, class or create.
        type_name: what the configuration calls it; for files, the name inside the file.
        source: file below `source/`, relative.
        source_sha256: hash of all source texts it was made of.
        validator_source: of the registered validator it names, as `source`; "" without one.
        validator_factory: the name of its factory inside that file.
        certificate: "portable" or "host-libm" for kernels, "" for processors.
    """

    config: dict[str, Any]
    broker: str
    kind: str
    type_name: str
    source: str
    source_sha256: str
    driver: str = ""
    certificate: str = ""
    model: str = ""
    model_sha256: str = ""
    validator_source: str = ""
    validator_factory: str = ""
    validator_sha256: str = ""


class RecordingReference(msgspec.Struct, frozen=True, kw_only=True):
    """Which recording a run is about: its own (`recording`), or one it read."""

    path: str
    content_hash: str = ""
    instruments: tuple[int, ...] | None = None
    start_ns: int | None = None
    end_ns: int | None = None


class RunManifest(msgspec.Struct, kw_only=True):
    """What a run was made of, and, once it is complete, what came out."""

    format: int = FORMAT
    run_id: str
    mode: str
    state: str = "open"
    created_by: str
    started: str
    seed: int
    strategies: list[KeptStrategy]
    skipped: list[dict[str, str]]
    recording: RecordingReference
    fingerprint: dict[str, str]
    settings: dict[str, Any] = {}
    last_seq: int = 0
    report: RunReport | None = None
    files: dict[str, str] = {}  # of a complete run: sha256 by path below its folder


def is_run(path: Path) -> bool:
    """Return whether a folder holds a run, as its manifest says."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False  # the reader of recordings says what is wrong with it
    return isinstance(manifest, dict) and "run_id" in manifest


class RunFolder:
    """A run on disk, read only.

    Raises:
        RecordingMissing: there is no run.
        RecordingCorrupt: its manifest cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        file = self.path / MANIFEST
        if not file.is_file():
            there = "a folder without manifest.json" if self.path.is_dir() else "nothing there"
            inside = sorted(self.path.glob("*/decisions"))  # of a sweep, say
            cure = f"it holds runs: name one, {inside[0].parent} say" if inside else ""
            raise RecordingMissing(
                f"{self.path}: no run: {there}",
                cure=cure or "name a run folder, as backtest prints it",
            )
        try:
            self.manifest = msgspec.json.decode(file.read_bytes(), type=RunManifest)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            if b'"recording_id"' in file.read_bytes():
                raise RecordingMissing(
                    f"{self.path}: a recording, not a run",
                    cure=f"make a run from it: parity backtest {self.path} --strategies FILE",
                ) from None
            raise RecordingCorrupt(
                f"{file}: {error}", cure="restore the file; parity never edits a finished one"
            ) from None
        if self.manifest.format != FORMAT:
            raise RecordingCorrupt(
                f"{file}: format {self.manifest.format}, this parity reads {FORMAT}",
                cure="use a newer parity",
            )

    @property
    def recording_path(self) -> Path:
        """Where the run's recording lies."""
        return (self.path / self.manifest.recording.path).resolve()

    def sessions(self) -> dict[str, SessionClock]:
        """Return the sessions that the run decided with, by calendar; none is 24/7.

        Raises:
            RecordingCorrupt: they are not what a run keeps.
        """
        kept = self.manifest.settings.get(SESSIONS, [])
        try:
            if not isinstance(kept, list):
                raise ConfigError(f"no list: {kept!r}")
            clocks = [SessionClock.from_json(one) for one in kept]
        except ConfigError as error:
            raise RecordingCorrupt(
                f"{self.path / MANIFEST}: settings.{SESSIONS}: {error.message}",
                cure="restore the file; parity never edits a finished one",
            ) from None
        return {clock.calendar: clock for clock in clocks}

    def parts(self, stream: str) -> list[Path]:
        """Return the Parquet parts of a stream, in order."""
        return sorted((self.path / stream).glob("*.parquet"))

    def rows(
        self, stream: str, *, around: int | None = None, behind: int = 0
    ) -> Iterator[dict[str, Any]]:
        """Yield rows in order; a damaged part is corrupt.

        Args:
            stream: candidates or decisions.
            around: only those of the part around a seq.
            behind: only those of parts that go on behind a seq.
        """
        parts = [part for part in self.parts(stream) if not behind or _part_seq(part) > behind]
        if around is not None:
            parts = [part for part in parts if _part_seq(part) >= around][:1]
        for part in parts:
            try:
                with pq.ParquetFile(part) as file:
                    for batch in file.iter_batches(batch_size=16_384):
                        yield from batch.to_pylist()
            except (pa.ArrowException, OSError) as error:
                raise RecordingCorrupt(
                    f"{part}: {error}", cure="restore it, or run again: replay RUN"
                ) from None

    def decided_at(self, seq: int) -> dict[str, Any]:
        """Return the candidates and decisions of one seq as plain values."""
        said = [r for r in self.rows("candidates", around=seq) if r["seq"] == seq]
        decided = [r for r in self.rows("decisions", around=seq) if r["seq"] == seq]
        return {
            "candidates": [
                {k: v for k, v in row.items() if k != "record"}
                | {"metadata": msgspec.json.decode(row["metadata"])}
                for row in said
            ],
            "decisions": [
                {k: v for k, v in row.items() if k != "record" and v is not None} for row in decided
            ],
        }

    def flushed_seq(self) -> int:
        """Return the seq up to which the outputs are on disk."""
        parts = self.parts("decisions")
        return _part_seq(parts[-1]) if parts else 0

    def checkpoints(self) -> list[tuple[int, dict[str, Any]]]:
        """Return the kept checkpoints, oldest first; a damaged one raises RecordingCorrupt."""
        found = []
        for file in sorted((self.path / "checkpoints").glob("*.ckpt")):
            with contextlib.suppress(FileNotFoundError):  # a newer one took its place meanwhile
                found.append(_read_checkpoint(file))
        return found

    def check_outputs(self) -> None:
        """Hold a complete run's files against its manifest.

        Raises:
            RecordingCorrupt: a file is missing or edited, or the records do not give the digests.
        """
        report = self.manifest.report
        if self.manifest.state != "complete":
            return
        if report is None or not self.manifest.recording.content_hash:
            raise RecordingCorrupt(
                f"{self.path / MANIFEST}: a complete run without its report or its recording's "
                "hash",
                cure="restore the file; parity never edits a finished one",
            )
        found = kept_files(self.path)
        for name in sorted({*self.manifest.files, *found}):
            if found.get(name) != self.manifest.files.get(name):
                what = "is missing" if name not in found else "is not what the run wrote"
                raise RecordingCorrupt(
                    f"{self.path / name}: it {what}",
                    cure="restore the run's files; replay RUN tells what they should hold",
                )
        for stream in STREAMS:
            chains: dict[tuple[str, str], Chain] = {}
            for row in self.rows(stream):
                if row["record"]:
                    key = (row["strategy_id"], row["broker"])
                    chains.setdefault(key, Chain()).add(row["record"])
            for executor in report.executors:
                key = (executor.strategy_id, executor.broker)
                noted = executor.candidate_digest
                if stream == "decisions":
                    noted = executor.decision_digest
                if chains.get(key, Chain()).hex != noted:
                    raise RecordingCorrupt(
                        f"{self.path / stream}: the records of {key[0]} at {key[1]} do not give "
                        "the digest in manifest.json",
                        cure="restore the run's files; replay RUN tells what they should hold",
                    )


class RunWriter:
    """Writes a run: outputs in parts, checkpoints, and the manifest at start and end.

    Args:
        folder: must not hold a run yet, or be the open run that is resumed.
        resume: go on with an open run of the same strategies.

    Raises:
        ConfigError: the folder holds another run, or something that is none.
    """

    def __init__(self, folder: Path, manifest: RunManifest, *, resume: bool = False) -> None:
        self.folder = folder
        self.manifest = manifest
        self._rows: dict[str, list[dict[str, Any]]] = {s: [] for s in STREAMS}
        self._flushed = -1
        if resume:
            return
        made = (*STREAMS, "checkpoints")
        if not is_bare(folder, made):
            raise ConfigError(f"{folder}: it is not empty", cure="name a new folder for the run")
        for name in made:
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.save_manifest()

    def save_manifest(self) -> None:
        """Write manifest.json whole, or not at all."""
        text = json.dumps(msgspec.to_builtins(self.manifest), indent=1, default=str)
        write_durably(self.folder / MANIFEST, (text + "\n").encode())

    def keep_source(self, name: str, text: str) -> None:
        """Keep a strategy's source text under `source/`."""
        path = self.folder / "source" / name
        _keep_once(path, text.encode())

    def keep_model(self, sha256: str, data: bytes) -> None:
        """Keep a model under `models/`, by its hash."""
        path = self.folder / "models" / f"{sha256}.onnx"
        _keep_once(path, data)

    def write(self, effects: Iterable[Effect]) -> None:
        """Take effects; they are on disk after the next flush()."""
        candidates, decisions = self._rows["candidates"], self._rows["decisions"]
        for effect in effects:
            if isinstance(effect, ApprovedSignal | DroppedSignal):
                candidates.append(candidate_row(effect.candidate))
            decisions.append(decision_row(effect))

    @property
    def pending_rows(self) -> int:
        """Rows taken and not flushed."""
        return len(self._rows["decisions"])

    @property
    def is_large(self) -> bool:
        """Whether so many rows wait that they are to be flushed."""
        return self.pending_rows >= _FLUSH_ROWS

    def flush_if_large(self, seq: int) -> None:
        """Flush once many rows wait, so a long backtest keeps its memory."""
        if self.is_large:
            self.flush(seq)

    def flush(self, seq: int) -> None:
        """Make everything up to `seq` durable as one part of each stream.

        The decisions part is written last: where it stands, the candidates part stands too.
        """
        if self._flushed == seq:
            return  # a part is written once: a second, empty one would take its place
        self._flushed = seq
        for stream in STREAMS:
            rows, self._rows[stream] = self._rows[stream], []
            table = pa.Table.from_pylist(rows, schema=SCHEMAS[stream])
            temporary = self.folder / stream / ".part.tmp"
            pq.write_table(table, temporary, compression="zstd")
            _move_durably(temporary, self.folder / stream / f"{seq:020d}.parquet")

    def drop_behind(self, seq: int) -> None:
        """Remove parts and checkpoints behind `seq`: a resumed run computes them again."""
        # Newest first, and decisions before the candidates they rest on: a kill in between
        # leaves a shorter run, never one with a hole.
        for pattern in ("checkpoints/*.ckpt", "decisions/*.parquet", "candidates/*.parquet"):
            for path in sorted(self.folder.glob(pattern), reverse=True):
                if _part_seq(path) > seq:
                    path.unlink()

    def save_checkpoint(self, seq: int, state: dict[str, Any]) -> None:
        """Keep a checkpoint; the caller has synced the journal to `seq` and flushed to it."""
        body = msgspec.msgpack.encode({"format": FORMAT, "seq": seq, "state": state})
        head = hashlib.blake2b(body, digest_size=32).digest()
        write_durably(self.folder / "checkpoints" / f"{seq:020d}.ckpt", head + body)
        for old in sorted((self.folder / "checkpoints").glob("*.ckpt"))[:-_CHECKPOINTS_KEPT]:
            old.unlink()

    def close(self, report: RunReport | None, last_seq: int, *, content_hash: str = "") -> None:
        """Flush what waits and mark the run complete.

        Args:
            report: counts and digests.
            last_seq: the last seq the run saw.
            content_hash: of the run's own recording, sealed; one that it read is noted already.
        """
        if self.pending_rows or not any((self.folder / "decisions").glob("*.parquet")):
            self.flush(last_seq)
        self.manifest.report = report
        self.manifest.last_seq = last_seq
        if content_hash:
            self.manifest.recording = RecordingReference(
                path=self.manifest.recording.path, content_hash=content_hash
            )
        self.manifest.state = "complete"
        self.manifest.files = kept_files(self.folder)
        self.save_manifest()


def kept_files(folder: Path) -> dict[str, str]:
    """Return the sha256 of every output, checkpoint, source and model, by path."""
    names = (*STREAMS, "checkpoints", "source", "models")
    files = sorted(
        file
        for name in names
        for file in (folder / name).rglob("*")
        if file.is_file() and not file.name.startswith(".") and file.suffix != ".pyc"
    )
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def write_durably(path: Path, data: bytes) -> None:
    """Write a file whole and synced, or leave the old one."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    _move_durably(temporary, path)


def _keep_once(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != data:
        write_durably(path, data)


def _move_durably(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _part_seq(path: Path) -> int:
    return int(path.stem)


def _read_checkpoint(path: Path) -> tuple[int, dict[str, Any]]:
    data = path.read_bytes()
    head, body = data[:32], data[32:]
    if hashlib.blake2b(body, digest_size=32).digest() != head:
        raise RecordingCorrupt(
            f"{path}: the checkpoint is damaged",
            cure="remove it: a restart replays from the one before, or from the start",
        )
    kept = msgspec.msgpack.decode(body)
    return kept["seq"], kept["state"]
