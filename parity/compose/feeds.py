"""Where the ticks of a live mode come from, where its signals go, and how it is kept.

What all live modes share; in what they differ stands in `modes`. Never here: a strategy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from parity.compose.beginning import created_by
from parity.recording.reader import open_recording
from parity.sources.pinned import PinnedSource

if TYPE_CHECKING:
    from pathlib import Path

    from parity.compose.sessions import Overlays
    from parity.compose.shards import Shard
    from parity.compose.warming import WarmUp
    from parity.live.dead_letters import DeadLetters
    from parity.live.operator import Operating
    from parity.live.runner import Limits, Outcome, Strategies
    from parity.live.watchdog import Guard
    from parity.model.instruments import InstrumentTable
    from parity.publishers import Publisher
    from parity.recording.pruning import Retention
    from parity.recording.rotation import Rotation
    from parity.sources.arrivals import LiveSource
    from parity.sources.codecs.fills import FillDecoder


class Feed(NamedTuple):
    """Where live ticks come from: topics of a broker, or a recording at a pace.

    Signals go to the same broker, or, where there is none, into the run's folder `published/`.

    Args:
        topics: tick topics.
        bootstrap: the broker.
        start_from: "earliest" or "latest", for what is new.
        exit_at_end: stop at the topics' ends as they are at the start.
        librdkafka: settings, passed through.
        recording: read this instead of topics.
        pace: of the recording, ticks a second; None is as fast as the loop takes them.
        sessions: days of calendars that are otherwise than their rules say.
        codec: what the messages on the topics are, a name of `sources.codecs.registry`.
        tz: the zone of times in them that name none.
        keep_raw: keep the payloads in the recording.
        dead_letters: send what cannot be decoded to `<topic>.dlq`.
        fenced: signals go in transactions, so that one runner at a time can send those of a run.
        paper_fills: publish what the paper broker filled.
        fills: topics of fills from outside, which a live mode adds, and who reads each.
        partitions: of each tick topic, rising, where this is one runner of several; None is all.
        shard: what follows from these, known once the broker was asked.
        warm_up: what a new run is warmed from, before its first live tick.
        past: the run's recording of that, where it has one.
    """

    topics: Sequence[str] = ()
    bootstrap: str = ""
    start_from: str = "latest"
    exit_at_end: bool = False
    librdkafka: Mapping[str, Any] | None = None
    recording: Path | None = None
    pace: float | None = None
    sessions: Overlays | None = None
    codec: str = "native"
    tz: str | None = None
    dead_letters: bool = True
    keep_raw: bool = False
    fenced: bool = False
    paper_fills: bool = True
    fills: Mapping[str, FillDecoder] = MappingProxyType({})
    partitions: tuple[int, ...] | None = None
    shard: Shard | None = None
    warm_up: WarmUp | None = None
    past: Path | None = None

    @property
    def reading(self) -> dict[str, str]:
        """How messages are read, as a manifest says it; nothing where that is as ever."""
        named = {} if self.codec == "native" else {"codec": self.codec}
        return named if self.tz is None else {**named, "codec_tz": self.tz}

    @property
    def fencing(self) -> str:
        """What a run's manifest says of a second runner elsewhere."""
        return "transactional" if self.fenced else "unfenced"

    @property
    def names(self) -> list[str]:
        """What a run's manifest calls it."""
        return list(self.topics) if self.recording is None else [self.recording.name]


class Keeping(NamedTuple):
    """How a live recording is kept: synced or not, when it is sealed, how much of it is held."""

    durability: str
    rotation: Rotation | None
    retention: Retention | None


def run_live(
    folder: Path,
    table: InstrumentTable,
    feed: Feed,
    keeping: Keeping,
    operating: Operating | None,
    strategies: Strategies | None,
    limits: Limits | None,
    progress: Callable[[dict[str, int]], None] | None,
    guard: Guard | None = None,
) -> Outcome:
    """Run a live mode from its feed to its end, or until SIGINT or SIGTERM; `None` records only.

    Raises:
        ParityError: a shard's partitions are no longer what they were; all is sealed.
    """
    from parity.compose.warming import behind_past
    from parity.live.start import start
    from parity.live.supervisor import stop_on_signals

    source = source_of(feed, table)
    whole = behind_past(feed, source)

    async def main() -> Outcome:
        stop = asyncio.Event()
        with stop_on_signals(stop), _watched(folder.parent, guard, strategies, stop):
            return await start(
                folder,
                table,
                whole,
                created_by=created_by(),
                stop=stop,
                strategies=strategies,
                operating=operating,
                limits=limits,
                durability=keeping.durability,
                rotation=keeping.rotation,
                retention=keeping.retention,
                letters=letters_of(feed),
                shard=None if feed.shard is None else feed.shard.kept,
                progress=progress,
            )

    outcome = asyncio.run(main())
    if isinstance(source, PinnedSource) and source.ended is not None:
        raise source.ended
    return outcome


@contextmanager
def _watched(
    run: Path, guard: Guard | None, strategies: Strategies | None, stop: asyncio.Event
) -> Iterator[None]:
    """Have the loop watched; raises StrategyTooMuch where that ended the run."""
    if guard is None or strategies is None:
        yield
        return
    from parity.live.watchdog import StrategyTooMuch, Watchdog

    loop, engine = asyncio.get_running_loop(), strategies.engine

    def ask() -> None:
        loop.call_soon_threadsafe(stop.set)

    with Watchdog(guard, run, lambda: engine.executors, ask) as watchdog:
        yield
    if watchdog.reason:
        raise StrategyTooMuch(
            watchdog.reason, cure="mend it, or allow more with the setting memory_mb; start again"
        )


def source_of(feed: Feed, table: InstrumentTable) -> LiveSource:
    """Return the source of a feed, not connected yet."""
    if feed.recording is not None:
        from parity.sources.paced import PacedSource

        read = open_recording(feed.recording)
        read.check_files()
        from parity.recording.retention import pruned_ticks

        rows = pruned_ticks(read.manifest)
        return PacedSource(read, feed.recording.name, pace=feed.pace, first_row=rows)
    from parity.sources.codecs.registry import ZONED, decoder_of
    from parity.sources.redpanda import RedpandaSource

    # The file that a run is warmed from may need a zone for which its codec has no use.
    zone = feed.tz if feed.warm_up is None or feed.codec in ZONED else None
    source = RedpandaSource(
        feed.bootstrap,
        feed.topics,
        decoder_of(feed.codec, table, zone),
        events=feed.fills,
        start=feed.start_from,
        partitions=feed.partitions,
        exit_at_end=feed.exit_at_end,
        settings=feed.librdkafka,
        keep_raw={"codec": feed.codec, "tz": feed.tz} if feed.keep_raw else None,
    )
    if feed.shard is None:
        return source
    partitioner = feed.shard.partitioner if feed.shard.placed else None
    return PinnedSource(source, feed.shard.counts, feed.shard.look, partitioner=partitioner)


def publisher_of(feed: Feed, run: Path, run_id: str) -> Publisher:
    """Return where a run's signals go: the feed's broker, or files where it has none."""
    if feed.recording is not None:
        from parity.publishers.file import FilePublisher

        return FilePublisher(run / "published", run_id)
    from parity.publishers.redpanda import FencedPublisher, RedpandaPublisher

    kind = FencedPublisher if feed.fenced else RedpandaPublisher
    return kind(feed.bootstrap, run_id, settings=feed.librdkafka)


def letters_of(feed: Feed) -> DeadLetters | None:
    """Return where undecodable messages of a feed go, not connected yet."""
    if feed.recording is not None or not feed.dead_letters:
        return None
    from parity.live.dead_letters import DeadLetters
    from parity.publishers.redpanda.letters import LetterBox

    return DeadLetters(lambda name: LetterBox(feed.bootstrap, name, settings=feed.librdkafka))
