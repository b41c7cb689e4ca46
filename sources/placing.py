"""Which partitions there are to read and from where, held against what was asked for.

Never here: a connection; a broker's answer is taken as it came.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from parity.model.errors import ConfigError, did_you_mean
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


def check_position(stream: Stream, at: int, high: int) -> None:
    """Refuse a recorded position behind a partition's end.

    Raises:
        ConfigError: it lies there.
    """
    if at > high:
        raise ConfigError(
            f"topic {stream[0]}[{stream[1]}] ends at offset {high}, before the recorded "
            f"position {at}: it was created anew",
            cure="start a new recording, or read another topic",
        )


def gap_of(row: int, stream: int, at: int, to: int, reason: str) -> Note:
    """Return the note of offsets that are not there: from `at`, up to `to`."""
    return Note(row, "gap", {"stream": stream, "offset": at, "next_offset": to, "reason": reason})
