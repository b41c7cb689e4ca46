"""The definition of a merge by heads, one message at a time: what the real one is held against."""

from collections.abc import Mapping, Sequence

Place = tuple[int, int]  # partition and offset


def by_heads(partitions: Mapping[int, Sequence[Place]]) -> list[Place]:
    """Return (partition, offset) in order: of all heads the smallest time goes, always.

    Args:
        partitions: offset and time of each message; of equal times the first partition goes first.

    >>> by_heads({0: [(0, 5), (1, 1)], 1: [(0, 2)]})
    [(1, 0), (0, 0), (0, 1)]
    """
    left = {partition: list(rows) for partition, rows in partitions.items()}
    rank = {partition: n for n, partition in enumerate(left)}
    found = []
    while any(left.values()):
        _, _, first = min((rows[0][1], rank[p], p) for p, rows in left.items() if rows)
        found.append((first, left[first].pop(0)[0]))
    return found
