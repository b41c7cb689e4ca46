"""Runs on partitions of the same topics, held together against one run that read all of them.

An executor's bytes depend on the ticks of its own instruments alone, so it may run anywhere: the
digests of its records are the same in a shard and in the whole. A seq is not: each run counts its
own events, so records are held against each other by what they say, in their order.

Never here: which partition an instrument is on, or running anything again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from parity.core.engine import run_digest
from parity.model.errors import ConfigError, NothingCompared
from parity.proof.diff import Comparison, Divergence, Key, Streams, compare, streams_of

if TYPE_CHECKING:
    from parity.core.engine import ExecutorReport
    from parity.recording.reader import Recording
    from parity.recording.runs import RunFolder

Ends = Mapping[tuple[str, int], int]  # (topic, partition) -> the offset behind the last one read
_NONE: Final = "none"


class Side(NamedTuple):
    """A complete run, as far as it is held against others.

    Args:
        name: what it is called in messages.
        executors: as it reported them.
        streams: its records.
        ends: where it stopped reading each partition; of a shard, of topics of ticks alone.
        ticks: that it gave to its executors.
        pinned: whether it is a shard.
    """

    name: str
    executors: Sequence[ExecutorReport]
    streams: Streams
    ends: Ends
    ticks: int
    pinned: bool


def side_of(run: RunFolder, recording: Recording) -> Side:
    """Return a run with its recording; each file of the run is held against its manifest.

    Raises:
        NothingCompared: the run has not come to its end.
        RecordingCorrupt: a file is not what was written.
    """
    run.check_outputs()
    report = run.manifest.report
    if report is None or run.manifest.state != "complete":
        raise NothingCompared(
            f"{run.path}: it has not come to its end, so it has no digests yet",
            cure="let it end, or start it again with --exit-at-end",
        )
    shard = recording.manifest.shard
    ends = recording.next_positions()
    return Side(
        str(run.path),
        report.executors,
        streams_of(run),
        {s: end for s, end in ends.items() if not shard or s[0] in shard["of"]},
        report.ticks - report.undelivered,
        bool(shard),
    )


def union(whole: Side, shards: Sequence[Side]) -> Comparison:
    """Hold the executors of all shards together against those of one run.

    Raises:
        ConfigError: a side is no shard, or two of them share a partition or an executor.
        NothingCompared: no ticks, or no executors.
    """
    _check_apart(shards)
    mine = [e for shard in shards for e in shard.executors]
    joined = {
        stream: {key: rows for shard in shards for key, rows in shard.streams[stream].items()}
        for stream in whole.streams
    }
    ran, ran_here = {_key(e) for e in whole.executors}, {_key(e) for e in mine}
    ticks = min(whole.ticks, sum(shard.ticks for shard in shards))
    keys = sorted(ran | ran_here)
    found = compare(whole.streams, joined, keys=keys, ticks=ticks, numbered_alike=False)
    inputs = _inputs(whole, shards)
    first = found.first_divergence or next(iter(inputs), None)
    first = first or _executors(ran, ran_here) or _digests(whole.executors, mine)
    covered = {"shards": len(shards), "partitions": sum(len(s.ends) for s in shards)}
    return Comparison(
        same=first is None,
        first_divergence=first,
        covered=covered | found.covered,
        changed=[f"{one.field}: {one.a} -> {one.b}" for one in inputs],
    )


def _check_apart(shards: Sequence[Side]) -> None:
    partitions: dict[tuple[str, int], str] = {}
    executors: dict[Key, str] = {}
    for shard in shards:
        if not shard.pinned:
            raise ConfigError(
                f"{shard.name}: it is no shard: it read all partitions",
                cure="name runs that were started with --partitions",
            )
        for stream in shard.ends:
            if stream in partitions:
                raise ConfigError(
                    f"{partitions[stream]} and {shard.name} both read {stream[0]}[{stream[1]}]",
                    cure="give each runner partitions of its own",
                )
            partitions[stream] = shard.name
        for key in map(_key, shard.executors):
            if key in executors:
                raise ConfigError(
                    f"{executors[key]} and {shard.name} both ran {key[0]} at {key[1]}",
                    cure="give each runner strategies of its own: signals came twice",
                )
            executors[key] = shard.name


def _inputs(whole: Side, shards: Sequence[Side]) -> list[Divergence]:
    ends = {stream: end for shard in shards for stream, end in shard.ends.items()}
    topics = {topic for topic, _ in ends}  # a live run has read others beside them: of fills
    found = [
        _of("ticks", f"end of {topic}[{partition}]", a, b)
        for topic, partition in sorted({*(s for s in whole.ends if s[0] in topics), *ends})
        if (a := whole.ends.get((topic, partition))) != (b := ends.get((topic, partition)))
    ]
    ticks = sum(shard.ticks for shard in shards)
    return found if whole.ticks == ticks else [*found, _of("ticks", "ticks", whole.ticks, ticks)]


def _executors(ran: set[Key], ran_here: set[Key]) -> Divergence | None:
    for key in sorted(ran ^ ran_here):
        name = f"{key[0]} at {key[1]}"
        found = _of("decisions", "executor", *((name, None) if key in ran else (None, name)))
        return msgspec.structs.replace(found, strategy_id=key[0], broker=key[1])
    return None


def _digests(whole: Sequence[ExecutorReport], mine: Sequence[ExecutorReport]) -> Divergence | None:
    """Return the divergence of digests whose records are the same: of a report that is wrong."""
    for stream, name in (("candidates", "candidate_digest"), ("decisions", "decision_digest")):
        a, b = (
            run_digest([(e.strategy_id, e.broker, getattr(e, name)) for e in executors])
            for executors in (whole, mine)
        )
        if a != b:
            return _of(stream, "digest", a, b)
    return None


def _key(executor: ExecutorReport) -> Key:
    return executor.strategy_id, executor.broker


def _of(stream: str, field: str, a: object, b: object) -> Divergence:
    said = [_NONE if value is None else str(value) for value in (a, b)]
    return Divergence(
        stream=stream,
        strategy_id="",
        broker="",
        instrument_token=0,
        ts_event=0,
        seq=0,
        field=field,
        a=said[0],
        b=said[1],
    )
