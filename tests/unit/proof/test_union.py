"""Shards held against one big run: what is the same, what is named, and what is refused."""

from typing import Any

import msgspec
import pytest
from candidate_rows import said

from parity.core.digest import Chain
from parity.core.engine import ExecutorReport
from parity.model.errors import ConfigError, NothingCompared
from parity.proof.diff import Row
from parity.proof.union import Side, union
from parity.testing.generators import SECOND_NS, START_NS


def row(name: str, seq: int, at: int, **changed: Any) -> dict[str, Any]:
    """Return a candidate at a time, under the seq that its run gave it."""
    return said(seq, strategy_id=name, ts_event=START_NS + at * SECOND_NS, **changed)


def side(name: str, ends: dict[int, int], told: list[Row], *, pinned: bool = True) -> Side:
    """Return a run of the strategies that said something, on partitions read up to their ends."""
    rows: dict[tuple[str, str], list[Row]] = {}
    for one in told:
        rows.setdefault((one["strategy_id"], one["broker"]), []).append(one)
    executors = []
    for key, mine in rows.items():
        chain = Chain()
        for one in mine:
            chain.add(one["record"])
        counts = (len(mine), 0, {}, 0, 0, "0")
        executors.append(ExecutorReport(*key, "ACTIVE", *counts, chain.hex, Chain().hex))
    places = {("t", partition): end for partition, end in ends.items()}
    streams = {"candidates": rows, "decisions": {}}
    return Side(name, executors, streams, places, sum(ends.values()), pinned)


WHOLE = side("all", {0: 4, 1: 6}, [row("a", 2, 1), row("b", 5, 2), row("a", 9, 7)], pinned=False)
A, B = side("s0", {0: 4}, [row("a", 1, 1), row("a", 3, 7)]), side("s1", {1: 6}, [row("b", 4, 2)])


def test_shards_are_the_whole_whatever_their_seqs_are() -> None:
    """Records and digests are those of the big run, and what was covered is counted."""
    found = union(WHOLE, [A, B])

    assert found.same
    assert found.first_divergence is None
    assert {
        "shards": 2,
        "partitions": 2,
        "ticks": 10,
        "strategies": 2,
        "candidates": 3,
        "signals": 0,
        "fills": 0,
    } == found.covered


def test_a_record_that_differs_is_named() -> None:
    """The first in time, by strategy and field, under the seq of the big run."""
    other = side("s0", {0: 4}, [row("a", 1, 1, price=101.0), row("a", 3, 7)])
    first = union(WHOLE, [other, B]).first_divergence

    assert first is not None
    assert ("candidates", "a", "price", 2) == (
        first.stream, first.strategy_id, first.field, first.seq
    )  # fmt: skip
    assert ("100.0", "101.0") == (first.a, first.b)


def test_a_record_that_is_missing_is_named_by_its_time() -> None:
    """Seqs of two runs say nothing about which of two records came first; times do."""
    other = side("s0", {0: 4}, [row("a", 1, 7)])
    first = union(WHOLE, [other, B]).first_divergence

    assert first is not None
    assert (START_NS + SECOND_NS, "none") == (first.ts_event, first.b)


def test_other_ticks_are_named_by_their_partition() -> None:
    """A shard that stopped elsewhere, or is not there, read other ticks, whatever was said."""
    found = union(WHOLE, [side("s0", {0: 3}, [row("a", 1, 1), row("a", 3, 7)]), B])
    alone = union(WHOLE, [A])

    assert not found.same
    assert ["end of t[0]: 4 -> 3", "ticks: 10 -> 9"] == found.changed
    assert not alone.same
    assert "end of t[1]: 6 -> none" in alone.changed


def test_topics_of_fills_are_nobodys_partitions() -> None:
    """A live run has read them too, to wherever they ended then; no shard is held to that."""
    beside = WHOLE._replace(ends={**WHOLE.ends, ("zerodha.orders.filled", 0): 12})

    assert union(beside, [A, B]).same


def test_an_executor_more_or_less_is_a_difference() -> None:
    """One that said nothing leaves no record to compare, and is missed all the same."""
    silent = msgspec.structs.replace(B.executors[0], strategy_id="c", candidate_digest=Chain().hex)
    more = B._replace(executors=[*B.executors, silent])
    first = union(WHOLE, [A, more]).first_divergence

    assert first is not None
    assert ("executor", "none", "c at paper") == (first.field, first.a, first.b)


def test_a_digest_that_its_records_do_not_give_is_a_difference() -> None:
    """The digests themselves are compared, not only the records."""
    wrong = msgspec.structs.replace(B.executors[0], decision_digest="00")
    first = union(WHOLE, [A, B._replace(executors=[wrong])]).first_divergence

    assert first is not None
    assert ("decisions", "digest") == (first.stream, first.field)


@pytest.mark.parametrize(
    ("shards", "words"),
    [
        ([A, A._replace(name="s9")], r"s0 and s9 both read t\[0\]"),
        ([A, B._replace(executors=A.executors)], "s0 and s1 both ran a at paper"),
        ([A, B._replace(pinned=False)], "s1: it is no shard"),
    ],
)
def test_what_is_no_set_of_shards_is_refused(shards: list[Side], words: str) -> None:
    """A partition or a strategy in two runners, or a runner of all partitions."""
    with pytest.raises(ConfigError, match=words):
        union(WHOLE, shards)


def test_nothing_compared_is_no_success() -> None:
    """Shards without ticks prove nothing."""
    with pytest.raises(NothingCompared):
        union(WHOLE, [side("s0", {0: 0}, [])])
