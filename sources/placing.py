"""Which partitions there are to read and from where, held against what was asked for.

Never here: a connection; a broker's answer is taken as it came.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from parity.model.errors import ConfigError, ServiceDown, did_you_mean
from parity.sources.arrivals import Note

if TYPE_CHECKING:
    from parity.sources.arrivals import Stream


def partitions_of(
    known: Mapping[str, Any],
    topics: Sequence[str],
    partitions: Sequence[int] | None,
    servers: str,
    whole: Container[str] = (),
) -> list[Stream]:
    """Return the partitions to read.

    Args:
        known: a broker's metadata by topic: `error`, and `partitions` by number.
        topics: what to read.
        partitions: which of each topic; None is all.
        servers: where they are, for errors.
        whole: topics of which all partitions are read, whatever `partitions` says.

    Raises:
        ConfigError: a topic or partition is not there.
    """
    found: list[Stream] = []
    for topic in topics:
        if topic not in known or known[topic].error is not None:
            raise ConfigError(
                f"topic {topic!r} is not at {servers}",
                cure=f"create it; {did_you_mean(topic, known)}" if known else "create it",
            )
        there = sorted(known[topic].partitions)
        wanted = there if partitions is None or topic in whole else sorted(partitions)
        absent = sorted({*wanted} - {*there})
        if absent:
            raise ConfigError(
                f"partitions: topic {topic!r} has {len(there)}, {absent[0]} is not among them"
            )
        found += [(topic, partition) for partition in wanted]
    return found


def start_of(
    start: str | Mapping[Stream, int], stream: Stream, low: int, high: int, *, ours: bool
) -> int:
    """Return where a partition is read from; below `low` is what was recorded and is gone.

    Args:
        start: "earliest", "latest", or positions.
        stream: which partition.
        low: where it begins.
        high: where it ends.
        ours: whether "earliest" holds for it; else it starts at its end.

    Raises:
        ConfigError: a recorded position lies behind its end.
    """
    if isinstance(start, str):
        return low if start == "earliest" and ours else high
    at = start.get(stream, low)
    if at > high:
        raise ConfigError(
            f"topic {stream[0]}[{stream[1]}] ends at offset {high}, before the recorded "
            f"position {at}: it was created anew",
            cure="start a new recording, or read another topic",
        )
    return at


def check_still_there(stream: Stream, at: int, low: int, high: int) -> None:
    """Refuse to go on at a position that a broker does not have, unless retention took it.

    Raises:
        ServiceDown: the partition does not begin behind it.
    """
    if low <= at:
        raise ServiceDown(
            f"topic {stream[0]}[{stream[1]}] ends at offset {high}, before the position {at}: it "
            "was truncated or created anew",
            cure="start a new recording",
        )


def made_anew(
    streams: Sequence[tuple[int, str]], were: Mapping[str, str], are: Mapping[str, str]
) -> list[Note]:
    """Return a note for each (stream, topic) of which the id is another one."""
    return [
        Note(0, "topic_made_anew", {"stream": n, "topic": t, "topic_id": are[t], "was": were[t]})
        for n, t in streams
    ]


def was_made_anew(were: Mapping[str, str], are: Mapping[str, str]) -> ServiceDown:
    """Return the error of topics of which the id is another one."""
    topic = min(are)
    return ServiceDown(
        f"topic {topic}: it was created anew: its id is {are[topic]}, and was {were[topic]}; what "
        "was recorded of it is kept",
        cure="start a new recording",
    )


def gap_of(row: int, stream: int, at: int, to: int, reason: str) -> Note:
    """Return the note of offsets that are not there: from `at`, up to `to`."""
    return Note(row, "gap", {"stream": stream, "offset": at, "next_offset": to, "reason": reason})
