"""The modes, in one table and one file: what a backtest, a paper run and a recorder are made of.

A diff between two modes is a diff between two functions here, or between two rows of a function of
`brokers`, which says for each mode who fills and where signals go.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from parity.compose.again import made_before
from parity.compose.beginning import (
    columns_of,
    keep_sources,
    manifest_of,
    new_run_id,
    other_configuration,
)
from parity.compose.brokers import (
    LIVE,
    PAPER,
    fill_decoders,
    fill_topics,
    fills_on_paper,
    outlets_of,
)
from parity.compose.engines import AUTO, rows_max_of
from parity.compose.feeds import Keeping, publisher_of, run_live
from parity.compose.kept import KeptPlanner
from parity.compose.models import Models
from parity.compose.operating import Beside, operating_of
from parity.compose.plans import Prepared, prepare
from parity.compose.sessions import kept_sessions, live_sessions, recorded_sessions
from parity.compose.shards import admitting, pinned
from parity.compose.warming import name_source, with_past
from parity.core.engine import Engine
from parity.model.errors import ConfigError, ServiceDown
from parity.proof.replayer import backtest_events
from parity.recording.gone import not_covered
from parity.recording.holding import DiskRefused, held
from parity.recording.reader import open_recording
from parity.recording.runs import (
    MANIFEST,
    RecordingReference,
    RunFolder,
    RunWriter,
)

if TYPE_CHECKING:
    from parity.compose.feeds import Feed
    from parity.compose.sessions import Overlays
    from parity.live.runner import Outcome
    from parity.live.watchdog import Guard
    from parity.model.instruments import InstrumentTable
    from parity.recording.pruning import Retention
    from parity.recording.reader import Recording
    from parity.recording.rotation import Rotation
    from parity.settings.drafts import StrategySpec


class Mode(NamedTuple):
    """Where events come from, who fills, where signals go, and what is journaled."""

    source: str
    fills: str
    publishers: str
    journal: str


MODES: Final[dict[str, Mode]] = {
    "backtest": Mode("recording", "paper broker", "run folder", "none: names what it read"),
    "verify": Mode("recording of the run", "paper broker, recomputed", "none", "none"),
    "paper": Mode(
        "Redpanda, or a recording at a pace",
        "paper broker",
        "paper.signals.raw and paper.orders.filled, or files",
        "full",
    ),
    "live": Mode(
        "Redpanda",
        "{broker}.orders.filled; of paper executors the paper broker",
        "{broker}.signals.raw; paper.orders.filled",
        "full",
    ),
    "record": Mode("Redpanda", "none", "none", "full, no strategies"),
}


class Finished(NamedTuple):
    """A run that ended, the time it took, the strategies it was started without, and warnings."""

    run: RunFolder
    seconds: float
    skipped: list[dict[str, str]]
    warnings: tuple[str, ...] = ()


def backtest(
    recording: Path,
    specs: Sequence[StrategySpec],
    *,
    out: Path | None = None,
    seed: int = 0,
    start_ns: int | None = None,
    end_ns: int | None = None,
    instruments: Sequence[int] | None = None,
    runs_dir: Path = Path("runs"),
    cache: str = "use",
    sessions: Overlays | None = None,
    engine: str = AUTO,
    progress: Callable[[int, int], None] | None = None,
) -> Finished:
    """Run strategies over a recording.

    Args:
        recording: its folder.
        specs: checked strategies.
        out: the run's folder; default `runs_dir/<run_id>`. A complete run of the same
            configuration that is there is returned as it is.
        seed: of the strategies' random streams.
        start_ns: first ts_event wanted.
        end_ns: first ts_event not wanted any more.
        instruments: tokens; None means all.
        runs_dir: where runs without `out` go.
        cache: "use" the recording's Arrow cache where there is one, "build" it first, or "off".
        sessions: days of calendars that are otherwise than their rules say.
        engine: how it goes over the ticks, one of `engines.ENGINES`.
        progress: called with (ticks done, ticks of the recording).

    Raises:
        ParityError: the recording is missing or damaged, or a strategy is wrong. Nothing of the
            run is left then, nor after an interruption.
    """
    run_id = new_run_id()
    reading = Reading(recording, seed, start_ns, end_ns, instruments, cache, sessions, engine)
    (finished,) = backtests(reading, [(specs, out or runs_dir / run_id, run_id)], progress)
    return finished


class Reading(NamedTuple):
    """What backtests read: the arguments of backtest() that several of them share."""

    recording: Path
    seed: int = 0
    start_ns: int | None = None
    end_ns: int | None = None
    instruments: Sequence[int] | None = None
    cache: str = "use"
    sessions: Overlays | None = None
    engine: str = AUTO


def backtests(
    reading: Reading,
    variants: Sequence[tuple[Sequence[StrategySpec], Path, str]],
    progress: Callable[[int, int], None] | None = None,
) -> list[Finished]:
    """Run several backtests side by side over one reading; each is as if it had run alone.

    Every one has an engine of its own: random streams, signal ids and digests know nothing of it.

    Args:
        reading: of which recording, and which part of it.
        variants: strategies, the run's folder, and its id.
        progress: called with (ticks done, ticks of the recording).

    Raises:
        ParityError: as backtest() does; nothing is left of any of them then.
    """
    with open_recording(reading.recording, cached=reading.cache != "off") as source:
        source.check_files()
        warnings = _build_cache(source) if reading.cache == "build" else ()
        warnings += not_covered(reading.recording, source.manifest)
        clocks = recorded_sessions(source, reading.sessions or {})
        begun, models = [], Models()
        with _left_whole([folder for _, folder, _ in variants]):
            for specs, folder, run_id in variants:
                prepared = prepare(specs, read=models, table=source.table)
                seed, plans = reading.seed, prepared.plans
                most = rows_max_of(reading.engine, prepared)
                engine = Engine(source.table, plans, seed=seed, sessions=clocks, rows_max=most)
                reference = _reference(reading, source, folder)
                manifest = manifest_of(run_id, "backtest", seed, prepared, reference)
                manifest.settings = kept_sessions(clocks)
                there = made_before(folder, manifest) if len(variants) == 1 else None
                if there is not None:
                    said = f"{folder}: it holds this run already; nothing was run"
                    return [
                        Finished(
                            there, 0.0, prepared.skipped, (*warnings, *prepared.warnings, said)
                        )
                    ]
                begun.append((prepared, engine, RunWriter(folder, manifest)))
                keep_sources(begun[-1][2], prepared)
            began = time.perf_counter()
            columns = {n for prepared, *_ in begun for n in columns_of(prepared, source.table)}
            batches = source.batches(
                columns=sorted(columns),
                instruments=reading.instruments,
                start_ns=reading.start_ns,
                end_ns=reading.end_ns,
            )
            for batch in backtest_events(batches):
                for _, engine, writer in begun:
                    writer.write(engine.process(batch))
                    writer.flush_if_large(engine.last_seq)
                if progress is not None:
                    progress(engine.ticks, source.tick_rows)
            seconds = time.perf_counter() - began
            for _, engine, writer in begun:
                writer.write(engine.end(reading.end_ns))
                writer.close(engine.report(), engine.last_seq)
    return [
        Finished(RunFolder(writer.folder), seconds, prepared.skipped, warnings + prepared.warnings)
        for prepared, _, writer in begun
    ]


def _reference(reading: Reading, source: Recording, folder: Path) -> RecordingReference:
    tokens = reading.instruments
    return RecordingReference(
        path=os.path.relpath(reading.recording, folder),
        content_hash=source.content_hash(),
        instruments=None if tokens is None else tuple(tokens),
        start_ns=reading.start_ns,
        end_ns=reading.end_ns,
    )


@contextmanager
def _left_whole(folders: Sequence[Path]) -> Iterator[None]:
    """Leave nothing in the folders of runs that do not come to their end."""
    existed = {folder: folder.exists() for folder in folders}
    # A folder in use is refused, and kept.
    mine = [f for f, was in existed.items() if not was or not any(f.iterdir())]
    try:
        yield
    except BaseException:
        for folder in mine:
            if folder.exists():
                _empty(folder) if existed[folder] else shutil.rmtree(folder)
        raise


def _empty(folder: Path) -> None:
    for child in folder.iterdir():
        shutil.rmtree(child) if child.is_dir() else child.unlink()


def _build_cache(recording: Recording) -> tuple[str, ...]:
    # A cache only saves time: where there is no room for it, the parts are read.
    try:
        recording.build_cache()
    except DiskRefused as error:
        return (str(error),)
    return ()


def paper(
    run: Path,
    specs: Sequence[StrategySpec],
    feed: Feed,
    *,
    table: InstrumentTable,
    seed: int = 0,
    checkpoint_ticks: int = 100_000,
    durability: str = "fdatasync",
    rotation: Rotation | None = None,
    retention: Retention | None = None,
    guard: Guard | None = None,
    metrics_port: int | None = None,
    progress: Callable[[dict[str, int]], None] | None = None,
) -> Finished:
    """Run strategies on live ticks, record everything, publish approved signals.

    An open run of the same configuration goes on where its recording ends. SIGINT and SIGTERM end
    it with its recording sealed.

    Args:
        run: the run's folder.
        specs: checked strategies.
        feed: where ticks come from and signals go.
        table: instruments; a run that goes on keeps its own.
        seed: of the strategies' random streams.
        checkpoint_ticks: ticks between checkpoints.
        durability: "fdatasync" or "os".
        rotation: when a segment of the journal ends and is sealed.
        retention: how much of the recording is held; None is all.
        guard: what is put up with of a strategy that blocks the loop or takes the memory; None
            watches nothing.
        metrics_port: of a Prometheus endpoint on the loopback; 0 is any that is free.
        progress: called with counts after each turn of the loop.

    Raises:
        StrategyTooMuch: a strategy took more memory than the guard allows.
        ConfigError: the folder holds a run of another configuration, or another runner holds it.
        ServiceDown: the broker does not answer, or did not confirm the last signals.
    """
    keeping = Keeping(durability, rotation, retention)
    beside = Beside(metrics_port, guard, progress)
    return _trade(PAPER, run, specs, feed, table, seed, checkpoint_ticks, keeping, beside)


def live(
    run: Path,
    specs: Sequence[StrategySpec],
    feed: Feed,
    *,
    table: InstrumentTable,
    seed: int = 0,
    checkpoint_ticks: int = 100_000,
    durability: str = "fdatasync",
    rotation: Rotation | None = None,
    retention: Retention | None = None,
    guard: Guard | None = None,
    metrics_port: int | None = None,
    progress: Callable[[dict[str, int]], None] | None = None,
) -> Finished:
    """Run strategies on live ticks and send the signals of each to its own broker's topic.

    Orders of executors that are not at the paper broker are filled outside: what
    `{broker}.orders.filled` says is journaled as controls, in the order it came among the ticks.

    Arguments and errors as for paper(); also
        ConfigError: the feed is a recording, or no strategy trades outside paper.
    """
    if feed.recording is not None:
        raise ConfigError(
            f"{feed.recording}: a live run takes no ticks from a recording", cure="use paper"
        )
    keeping = Keeping(durability, rotation, retention)
    beside = Beside(metrics_port, guard, progress)
    return _trade(LIVE, run, specs, feed, table, seed, checkpoint_ticks, keeping, beside)


def _trade(
    mode: str,
    run: Path,
    specs: Sequence[StrategySpec],
    feed: Feed,
    table: InstrumentTable,
    seed: int,
    checkpoint_ticks: int,
    keeping: Keeping,
    beside: Beside,
) -> Finished:
    with held(run):
        table = _table_of(run, table)
        feed = pinned(feed, run / "recording")
        prepared = prepare(specs, table=table, mode=mode)
        admitting(feed.shard, table)(prepared.plans)
        prepared.warn()
        topics = fill_topics(mode, prepared.plans)
        if mode == LIVE and not topics:  # of those that are not skipped
            raise ConfigError(
                "no strategy trades at a broker other than paper, so nothing would be live",
                cure="use paper, or give a row `zerodha_trading_enabled: true`",
            )
        decoders = fill_decoders(topics, table, run / "recording")
        on_paper = feed.paper_fills and fills_on_paper(mode, prepared.plans)
        feed = feed._replace(fills=decoders, paper_fills=on_paper)
        began = time.perf_counter()
        outcome = _decide(mode, run, prepared, feed, table, seed, checkpoint_ticks, keeping, beside)
    if not outcome.settled:
        raise ServiceDown(
            f"{run}: the fate of the last signals is not known: they were not confirmed",
            cure="start the run again: it reads its output back and sends what is missing",
        )
    seconds = time.perf_counter() - began
    return Finished(RunFolder(run), seconds, prepared.skipped, prepared.warnings)


def _decide(
    mode: str,
    run: Path,
    prepared: Prepared,
    feed: Feed,
    table: InstrumentTable,
    seed: int,
    checkpoint_ticks: int,
    keeping: Keeping,
    beside: Beside,
) -> Outcome:
    from parity.live.delivery import Delivery
    from parity.live.heart import Heart
    from parity.live.runner import Limits, Strategies
    from parity.live.watchdog import signed, signing

    with _left_whole([run]):  # a new run whose strategies the engine refuses is none
        writer = _paper_writer(mode, run, seed, prepared, keeping.durability, feed, table)
        kept = RunFolder(run)
        planner, sessions = signing(KeptPlanner(kept)), kept.sessions()
        plans = [signed(plan) for plan in prepared.plans]
        engine = Engine(table, plans, seed=seed, sessions=sessions, planner=planner)
        feed = with_past(run, feed, prepared.plans, table)
    outlets = outlets_of(mode, prepared.plans)
    ledgers, run_id = run / "deliveries", writer.manifest.run_id
    fills = ledgers / "fills.jsonl" if feed.paper_fills else None
    publisher = publisher_of(feed, run, run_id)
    delivery = Delivery(publisher, ledgers / "ledger.jsonl", run_id, outlets, fills=fills)
    heart = Heart(table) if feed.recording is None else None  # a pace has another time
    strategies = Strategies(engine, writer, delivery, heart)
    limits = Limits(checkpoint_ticks=checkpoint_ticks)
    admit = admitting(feed.shard, table)
    operating = operating_of(run, writer, beside.metrics_port, admit)
    folder, seen = run / "recording", (beside.progress, beside.guard)
    return run_live(folder, table, feed, keeping, operating, strategies, limits, *seen)


def _table_of(run: Path, given: InstrumentTable) -> InstrumentTable:
    """Return the instruments of a run: its recording's where that was begun."""
    if not (run / "recording" / MANIFEST).exists():
        return given
    with open_recording(run / "recording") as kept:
        return kept.table


def record(
    folder: Path,
    feed: Feed,
    *,
    table: InstrumentTable,
    durability: str = "fdatasync",
    rotation: Rotation | None = None,
    retention: Retention | None = None,
    metrics_port: int | None = None,
    progress: Callable[[dict[str, int]], None] | None = None,
) -> dict[str, Any]:
    """Record live ticks, without strategies; returns counts.

    Arguments and errors as for paper().
    """
    with held(folder):
        feed = pinned(feed, folder, placed=False)  # without strategies nothing hangs on it
        keeping = Keeping(durability, rotation, retention)
        operating = operating_of(folder, None, metrics_port)
        outcome = run_live(folder, table, feed, keeping, operating, None, None, progress)
    return {
        "recording": str(folder),
        "ticks": outcome.ticks,
        "last_seq": outcome.last_seq,
        "quarantined": outcome.quarantined,
        "gaps": outcome.gaps,
        "pruned_segments": outcome.pruned_segments,
        "pruned_bytes": outcome.pruned_bytes,
        "pruning_failures": outcome.pruning_failures,
        "dead_letters": outcome.dead_letters,
        "dead_letters_open": outcome.dead_letters_open,
    }


def _paper_writer(
    mode: str,
    run: Path,
    seed: int,
    prepared: Prepared,
    durability: str,
    feed: Feed,
    table: InstrumentTable,
) -> RunWriter:
    reference = RecordingReference(path="recording")
    fresh = manifest_of(new_run_id(), mode, seed, prepared, reference)
    fresh.settings = {"durability": durability, "topics": feed.names, "fencing": feed.fencing}
    fresh.settings |= feed.reading
    fresh.settings |= {"fills": sorted(feed.fills)} if feed.fills else {}
    fresh.settings |= {"paper_fills": True} if feed.paper_fills else {}
    fresh.settings |= {"overlays": feed.sessions} if feed.sessions else {}
    name_source(run, feed, fresh.settings)
    if not (run / MANIFEST).exists():
        fresh.settings |= kept_sessions(live_sessions(table, feed.recording, feed.sessions or {}))
        writer = RunWriter(run, fresh)
        keep_sources(writer, prepared)
        return writer
    manifest = RunFolder(run).manifest
    other = other_configuration(manifest, fresh)
    if other:
        raise ConfigError(
            f"{run}: it holds a run of another configuration ({'; '.join(other)})",
            cure="name a new folder, or give it the configuration, code and libraries of then",
        )
    manifest.state = "open"
    name_source(run, feed, manifest.settings)  # a kill may have come before it was kept
    if not feed.fenced:  # one life that was open to a second runner is enough
        manifest.settings["fencing"] = feed.fencing
    if durability == "os":  # likewise one that a power loss could have cut short
        manifest.settings["durability"] = durability
    # What was said of the end no longer holds; it is said anew at the next one.
    manifest.recording = RecordingReference(path="recording")
    manifest.report, manifest.last_seq, manifest.files = None, 0, {}
    writer = RunWriter(run, manifest, resume=True)
    keep_sources(writer, prepared)  # the same bytes; a kill may have come before they were kept
    writer.save_manifest()
    return writer
