"""What a live run is warmed from, kept in its folder before its first tick.

A recording, files that an import reads, the broker's own past, or whatever a caller's own provider
gives becomes the recording `RUN/warm_up`, with the offsets at which live ticks join. A run that has
its own recording goes on from there and is not warmed again. Never here: what a tick means.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import structlog

from parity.compose import exports
from parity.compose.beginning import created_by
from parity.model import ticks as flag
from parity.model.errors import ConfigError
from parity.recording.past import keep_given, keep_past, trade_ids
from parity.recording.reader import open_recording
from parity.recording.runs import MANIFEST, RunFolder, is_run
from parity.recording.slices import needs_of

if TYPE_CHECKING:
    from parity.compose.feeds import Feed
    from parity.core.executor import ExecutorPlan
    from parity.model.instruments import InstrumentTable
    from parity.model.protocols import HistoryProvider
    from parity.recording.past import Ints
    from parity.recording.reader import Recording
    from parity.recording.slices import Needs
    from parity.sources.arrivals import LiveSource, Stream
    from parity.sources.redpanda import RedpandaSource

FOLDER: Final = "warm_up"  # in a run's
BROKER: Final = "broker"
AUTO: Final = exports.AUTO
ALL: Final = "all"
_AMOUNT: Final = re.compile(rf"{BROKER}:(\d{{1,12}})([smhd]?)", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_log = structlog.get_logger("parity.compose.warming")


class WarmUp(NamedTuple):
    """What a new run is warmed from.

    Args:
        source: the folder of a recording or run, a file or folder that `parity import` reads,
            `broker:2h` (that much of the topics' own past, in s, m, h or d), `broker:5000` (so many
            messages of each partition), or a HistoryProvider.
        ticks: of each instrument and kind the last so many, "auto" for what the strategies'
            histories take, "all"; None is "all" of a broker's past and "auto" of others.
    """

    source: str | Path | HistoryProvider
    ticks: int | str | None = None

    @property
    def words(self) -> str:
        """The source as a manifest says it."""
        given = self.source
        return str(given) if isinstance(given, str | Path) else type(given).__name__

    @property
    def past(self) -> tuple[int, str] | None:
        """How much of a broker's past, and its unit ("" is messages); None is another source.

        Raises:
            ConfigError: it does not say how much.
        """
        if self.words.partition(":")[0] != BROKER or not isinstance(self.source, str):
            return None
        match = _AMOUNT.fullmatch(self.source)
        if match is None or not int(match[1]):
            raise ConfigError(
                f"--warm-up: how much of the broker's past is {self.source!r}?",
                cure="say a time or a number of messages: broker:2h, broker:5000",
            )
        return int(match[1]), match[2]

    @property
    def wanted(self) -> int | str:
        """How many ticks."""
        if self.ticks is None:
            return AUTO if self.past is None else ALL
        return self.ticks


def with_past(run: Path, feed: Feed, plans: Sequence[ExecutorPlan], table: InstrumentTable) -> Feed:
    """Return the feed behind the run's past, which is kept now where the run is new.

    Args:
        run: the run's folder, held.
        feed: with what it is to be warmed from.
        plans: of its strategies, which say how much they need.
        table: the run's instruments.

    Raises:
        ConfigError: the source is none, or does not fit the run.
        ServiceDown: the broker does not answer.
    """
    kept = run / FOLDER
    if feed.warm_up is not None and not (kept / MANIFEST).exists():
        if (run / "recording" / MANIFEST).exists():
            _log.info("warm_up_left_out", run=str(run), reason="the run goes on from its recording")
            return feed
        _keep(kept, feed, feed.warm_up, plans, table)
    return feed._replace(past=kept) if (kept / MANIFEST).exists() else feed


def name_source(run: Path, feed: Feed, settings: dict[str, Any]) -> None:
    """Let a run's settings name what it is warmed from, until it has that past, or ticks."""
    if any((run / folder / MANIFEST).exists() for folder in (FOLDER, "recording")):
        return
    settings.pop("warm_up", None)
    if feed.warm_up is not None:
        settings["warm_up"] = feed.warm_up.words


def behind_past(feed: Feed, inner: LiveSource) -> LiveSource:
    """Return a feed's live source, which hands over the run's past first where it has one."""
    from parity.sources.warmed import WarmedSource

    if feed.past is None:
        return inner
    read = open_recording(feed.past)
    read.check_files()
    begin = {(topic, part): (at, there) for topic, part, at, there in read.manifest.origin["begin"]}
    joined = frozenset(stream for stream, (_, there) in begin.items() if there)
    apart = [s for s in begin if s not in joined and s[0] not in feed.fills]
    waiting = _waiting(read, feed.past.parent / "recording") if apart else {}
    places = {stream: at for stream, (at, _) in begin.items()}
    return WarmedSource(read, inner, begin=places, joined=joined, waiting=waiting)


def _waiting(past: Recording, recording: Path) -> dict[int, Ints]:
    """Return the trade ids of instruments of which a run's recording holds no live tick.

    Where retention took the first ones, the next may have a gap before it: better than none where
    none has come yet.
    """
    ids = trade_ids(past)
    if not (recording / MANIFEST).exists():
        return ids
    with open_recording(recording) as recorded:
        for batch in recorded.batches(columns=("instrument_token", "flags")):
            live = (batch.ticks.column("flags") & np.uint32(flag.WARMUP)) == 0
            for token in np.unique(batch.ticks.column("instrument_token")[live]).tolist():
                ids.pop(token, None)
            if not ids:
                break
    return ids


def _keep(
    kept: Path, feed: Feed, asked: WarmUp, plans: Sequence[ExecutorPlan], table: InstrumentTable
) -> None:
    begin = _places(feed, table)  # before the past is read: what comes meanwhile is not lost
    tokens = [int(token) for token in table.tokens if _is_read(feed, int(token))]
    wanted = asked.wanted
    needs = exports.strategy_needs(plans, tokens) if wanted == AUTO else None
    if isinstance(wanted, int):
        needs = needs_of(wanted, tokens)
    made: dict[str, Any] = {"created_by": created_by()}
    origin: dict[str, Any] = {"source": asked.words, "warm_up": wanted}
    if not isinstance(asked.source, str | Path):
        if needs is None:
            raise ConfigError(
                "warm-up: all ticks of a HistoryProvider are not to be had",
                cure="say how many, or leave it to the strategies: ticks='auto'",
            )
        origin["begin"] = [[*stream, at, False] for stream, at in begin.items()]
        keep_given(asked.source, kept, table, needs, origin=origin, **made)
    else:
        with _opened(asked, feed, table, kept.with_name(FOLDER + ".part")) as past:
            # Fills since its end are of the orders of whoever ran then, and of nobody's here.
            ends = {s: at for s, at in past.next_positions().items() if s[0] not in feed.fills}
            origin["begin"] = [
                [*stream, ends.get(stream, at), stream in ends] for stream, at in begin.items()
            ]
            keep_past(past, kept, table, needs, tokens, origin=origin, **made)
    _say_kept(kept, asked, needs if wanted == AUTO else None)


def _is_read(feed: Feed, token: int) -> bool:
    """Return whether an instrument is on a partition that the feed reads."""
    shard = feed.shard
    return shard is None or not {*shard.partitions}.isdisjoint(shard.partitions_of(token))


def _say_kept(kept: Path, asked: WarmUp, needs: Needs | None) -> None:
    with open_recording(kept) as past:
        there = trade_ids(past) if needs else {}
        rows = past.tick_rows
    _log.info("warm_up_kept", source=asked.words, ticks=rows, path=str(kept))
    short = sorted({token for _, token in needs or {}} - there.keys())
    if short or not rows:
        _log.warning("warm_up_short", source=asked.words, ticks=rows, without=short)


@contextmanager
def _opened(asked: WarmUp, feed: Feed, table: InstrumentTable, part: Path) -> Iterator[Recording]:
    """Open the recording that a source is, or make one of it for the moment."""
    shutil.rmtree(part, ignore_errors=True)
    try:
        path = Path(asked.words)
        if asked.past is not None:
            _record(feed, table, part, *asked.past)
            path = part
        elif is_run(path):
            path = RunFolder(path).recording_path
        elif not path.exists():
            raise ConfigError(
                f"--warm-up: {path} does not exist",
                cure="name a recording, a run, a file of ticks, or broker:2h",
            )
        elif not (path / MANIFEST).is_file():
            from parity.sources.importers import import_ticks

            import_ticks([path], part, instrument_table=table, tz=feed.tz)
            path = part
        with open_recording(path) as found:
            found.check_files()
            yield found
    finally:
        shutil.rmtree(part, ignore_errors=True)


# -- the broker's own past


def _places(feed: Feed, table: InstrumentTable) -> dict[Stream, int]:
    """Return where the feed's streams would begin now."""
    from parity.compose.feeds import source_of

    async def look() -> dict[Stream, int]:
        return await _begin_of(source_of(feed._replace(shard=None), table))

    return asyncio.run(look())


async def _begin_of(source: LiveSource) -> dict[Stream, int]:
    try:
        await source.connect()
        places = source.positions()
        return {stream: places[n] for n, stream in enumerate(source.streams)}
    finally:
        await source.close()


def _record(feed: Feed, table: InstrumentTable, folder: Path, amount: int, unit: str) -> None:
    """Record the topics' past up to their ends as they are now."""
    from parity.compose.feeds import source_of
    from parity.live.runner import Interrupted
    from parity.live.start import start
    from parity.live.supervisor import stop_on_signals

    if feed.recording is not None:
        raise ConfigError(
            "--warm-up broker: a run that reads a recording has no broker",
            cure="name a recording, or read topics",
        )
    alone = feed._replace(fills={}, exit_at_end=True, keep_raw=False, shard=None)

    async def record() -> None:
        stop = asyncio.Event()
        with stop_on_signals(stop):
            low = await _begin_of(source_of(alone._replace(start_from="earliest"), table))
            latest = source_of(alone._replace(start_from="latest"), table)
            at = await _past_of(latest, amount, unit)  # type: ignore[arg-type] # not paced: above
            source = source_of(alone, table)
            source.start_at({stream: max(at[stream], first) for stream, first in low.items()})
            await start(folder, table, source, created_by=created_by(), stop=stop, durability="os")
        if stop.is_set():
            raise Interrupted(f"{folder}: stopped during the warm-up", cure="start it again")

    asyncio.run(record())


async def _past_of(source: RedpandaSource, amount: int, unit: str) -> Mapping[Stream, int]:
    """Return where the past begins in each partition."""
    try:
        await source.connect()
        if unit:
            since_ms = time.time_ns() // 1_000_000 - amount * _SECONDS[unit] * 1000
            return await source.offsets_at(since_ms)
        ends = source.positions()
        return {stream: ends[n] - amount for n, stream in enumerate(source.streams)}
    finally:
        await source.close()
