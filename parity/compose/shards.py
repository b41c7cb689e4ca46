"""One runner of several on the same topics: its partitions, and the strategies that fit on them.

Which partition an instrument is on follows from its token and from how many partitions a topic has.
Never here: a decision, or a tick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from parity.core.parts import tokens_of
from parity.model.errors import ConfigError
from parity.recording.manifest import MANIFEST, load_manifest
from parity.sources.pinned import DEFAULT, check_partitioner, partition_of

if TYPE_CHECKING:
    from pathlib import Path

    from parity.compose.feeds import Feed
    from parity.core.executor import ExecutorPlan
    from parity.model.instruments import InstrumentTable

CONNECT_LIMIT_S = 10.0
LOOK_LIMIT_S = 1.0  # of each later look: it must not hold back a stop
Admit = Callable[[Sequence["ExecutorPlan"]], None]


class Shard(NamedTuple):
    """What one runner of several reads.

    Args:
        partitions: of every topic of ticks, in order.
        counts: how many partitions each of them has.
        partitioner: that gives an instrument its partition, as librdkafka calls it.
        look: returns the counts as they are now.
        placed: whether each tick has to be on the partition of its instrument.
    """

    partitions: tuple[int, ...]
    counts: dict[str, int]
    partitioner: str
    look: Callable[[], Mapping[str, int]]
    placed: bool = True

    @property
    def kept(self) -> dict[str, Any]:
        """As the manifest of a recording says it."""
        return {
            "partitions": list(self.partitions),
            "of": self.counts,
            "partitioner": self.partitioner,
        }

    def partitions_of(self, token: int) -> list[int]:
        """Return the partitions an instrument is on: one, where all topics have as many."""
        counts = set(self.counts.values())
        return sorted({partition_of(token, count, self.partitioner) for count in counts})


def pinned(feed: Feed, recording: Path, *, placed: bool = True) -> Feed:
    """Return a feed that knows its shard, where it is one.

    Args:
        feed: where ticks come from.
        recording: where they are recorded; one that is there has to be of the same shard.
        placed: whether each tick has to be on the partition of its instrument.

    Raises:
        ConfigError: a topic or a partition is not there, or the recording is of another shard.
        ServiceDown: the broker does not answer.
    """
    shard = None if feed.partitions is None else _shard_of(feed, feed.partitions, placed)
    if (recording / MANIFEST).exists():
        then, now = load_manifest(recording).shard, {} if shard is None else shard.kept
        if then != now:
            raise ConfigError(
                f"{recording}: it is a recording of {_said(then)}, and was to go on with "
                f"{_said(now)}",
                cure="give it the --partitions of then, or begin a new one in another folder",
            )
    return feed._replace(shard=shard)


def _shard_of(feed: Feed, partitions: tuple[int, ...], placed: bool) -> Shard:
    if feed.recording is not None:
        raise ConfigError(
            "--partitions: it goes with topics, not with --recording", cure="leave one of them out"
        )
    from parity.publishers.redpanda.topics import TopicLook

    settings = feed.librdkafka or {}
    partitioner = check_partitioner(settings.get("partitioner", DEFAULT))
    look = TopicLook(feed.bootstrap, feed.topics, settings)
    counts = look(CONNECT_LIMIT_S)
    for topic, count in counts.items():
        if not count:
            raise ConfigError(f"topic {topic!r} is not at {feed.bootstrap}", cure="create it")
        if partitions[-1] >= count:
            raise ConfigError(
                f"--partitions: topic {topic!r} has {count}, {partitions[-1]} is not among them",
                cure=f"name some of 0 to {count - 1}",
            )
    return Shard(partitions, counts, partitioner, lambda: look(LOOK_LIMIT_S), placed)


def admitting(shard: Shard | None, table: InstrumentTable) -> Admit:
    """Return what refuses strategies that have an instrument outside of a shard.

    It raises ConfigError, which names for each the partitions it needs.
    """

    def admit(plans: Sequence[ExecutorPlan]) -> None:
        if shard is None:
            return
        wrong = {}
        for plan in plans:
            if found := _outside(shard, plan, table):
                wrong[plan.config.strategy_id] = found
        if wrong:
            here = _listed(shard.partitions)
            needs = "; ".join(f"{name} needs {what}" for name, what in wrong.items())
            raise ConfigError(
                f"this runner has --partitions {here} of {_topics(shard.counts)}, and {needs}",
                cure="a strategy runs whole in one runner: pin all of its partitions there, or "
                "give it to the runner that has them",
            )

    return admit


def _outside(shard: Shard, plan: ExecutorPlan, table: InstrumentTable) -> str:
    """Return which partitions a strategy needs, where the shard has not all of them."""
    at = {token: shard.partitions_of(token) for token in tokens_of(plan, table).values()}
    needed = sorted({p for partitions in at.values() for p in partitions})
    away = [t for t, partitions in at.items() if not {*partitions} <= {*shard.partitions}]
    if not away:
        return ""
    shown = ", ".join(f"{table.by_token(t).symbol} ({t}) on {_listed(at[t])}" for t in away[:4])
    more = f" and {len(away) - 4} more" if len(away) > 4 else ""
    return f"{_listed(needed)}: {shown}{more}"


def _said(kept: Mapping[str, Any]) -> str:
    if not kept:
        return "all partitions"
    return (
        f"the partitions {_listed(kept['partitions'])} of {_topics(kept['of'])} "
        f"(partitioner {kept['partitioner']})"
    )


def _listed(partitions: Sequence[int]) -> str:
    return ",".join(map(str, partitions))


def _topics(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{topic} ({count})" for topic, count in counts.items())
