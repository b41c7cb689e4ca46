"""Catching up: given start and end offsets, how partitions come in changes no order of theirs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from heads import Place, by_heads
from hypothesis import given
from hypothesis import strategies as st

from parity.sources import synthetic
from parity.sources.arrivals import Note
from parity.sources.backlog import FRESH_MS, Backlog
from parity.sources.catch_up import CatchUp
from parity.sources.codecs.native import NativeDecoder
from parity.sources.decoding import Messages, decode_messages, read_ahead
from parity.sources.portions import pieces

NOW_MS = 1_000_000
OLD_MS = NOW_MS - FRESH_MS - 1
HOUR_NS = 3600 * 10**9
TOKEN = int(synthetic.TABLE.tokens[0])
TICK = b'{"instrument_token":%d,"price":"1.25","ts_event":%d}'
Log = dict[int, list[tuple[int, int]]]  # by stream: offset and time of each message


@dataclass
class Topic:
    """Partitions with holes, and where a reader begins and ends; a hole may lie at the end."""

    log: Log
    starts: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)

    def unread(self, position: Mapping[int, int]) -> Log:
        """Return what is left to read, by stream."""
        return {s: [m for m in self.log[s] if m[0] >= at] for s, at in position.items()}


@st.composite
def topics(draw: st.DrawFn) -> Topic:
    """Draw up to four partitions, in an order of streams that is not that of their numbers."""
    found = Topic({})
    for stream in draw(st.permutations(range(draw(st.integers(1, 4))))):
        steps = draw(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 6)), max_size=12))
        offset, rows = -1, []
        for step, time in steps:
            offset += step
            rows.append((offset, time))
        high = offset + 1 + draw(st.integers(0, 2))
        found.log[stream] = rows
        found.starts[stream] = draw(st.integers(0, high))
        found.ends[stream] = draw(st.integers(0, high))
    return found


def in_order(topic: Topic, starts: Mapping[int, int]) -> list[Place]:
    """Return what stands between starts and ends, as the heads' definition has it."""
    unread = topic.unread(starts)
    return by_heads({s: [m for m in rows if m[0] < topic.ends[s]] for s, rows in unread.items()})


def message(
    rows: Sequence[tuple[int, int]], gaps: Sequence[Note] = (), ms: int = OLD_MS
) -> Messages:
    """Return messages of (stream, offset)."""
    streams, offsets = [s for s, _ in rows], [o for _, o in rows]
    return Messages([b"%d" % o for o in offsets], streams, offsets, [ms] * len(rows), list(gaps))


def places(messages: Messages) -> list[Place]:
    """Return the (stream, offset) of messages."""
    assert messages.payloads == [b"%d" % o for o in messages.offsets]
    return list(zip(messages.streams, messages.offsets, strict=True))


def read(
    topic: Topic,
    starts: Mapping[int, int],
    data: st.DataObject,
    limit: int,
    ahead: Callable[[Sequence[Place]], tuple[Sequence[int], Messages]] | None = None,
) -> Iterator[Messages]:
    """Yield what a reader hands on, whose broker answers in any order; it keeps within `limit`.

    `ahead` makes times and messages of places; without it they are those of the log.
    """
    merge = CatchUp(starts, topic.ends, NOW_MS - FRESH_MS, messages_max=limit)
    left = topic.unread(starts)
    kept = {stream: 0 for stream in left}
    rows: list[Place] = []
    while not merge.over:
        # A broker answers with one partition's chunk or another's, and says where one is read out.
        able = sorted({*left} - merge.full)
        assert able, "every partition is held, and the merge waits for one"
        stream = data.draw(st.sampled_from(able))
        chunk = left[stream][: data.draw(st.integers(1, limit))]
        del left[stream][: len(chunk)]
        rows = [(stream, offset) for offset, _ in chunk]
        times = dict(topic.log[stream])
        came = [times[offset] for _, offset in rows], message(rows)
        by, messages = came if ahead is None else ahead(rows)
        merge.add(messages, by)
        if not left[stream]:
            merge.reach(stream, topic.ends[stream])
            del left[stream]
        kept[stream] += len(rows)
        found = merge.take()
        for one in found.streams:
            kept[one] -= 1
        assert max(kept.values()) < 2 * limit
        yield found
    yield merge.rest()


@given(topics(), st.data(), st.integers(1, 5))
def test_any_interleaving_gives_the_order_of_the_heads(
    topic: Topic, data: st.DataObject, limit: int
) -> None:
    """However chunks of partitions come, with little room for any: one order, the definition's."""
    *merged, rest = list(read(topic, topic.starts, data, limit)) or [message([])]

    found = [place for one in merged for place in places(one)]
    assert in_order(topic, topic.starts) == found
    assert all(one.catch_up for one in merged)
    assert not rest.catch_up
    assert all(offset >= topic.ends[stream] for stream, offset in places(rest))


@given(topics(), st.data(), st.integers(1, 5))
def test_a_skewed_tick_holds_nothing_back(topic: Topic, data: st.DataObject, limit: int) -> None:
    """Merged by its message's time at the broker, and what was decoded for it is what is taken."""
    kinds = st.sampled_from(["tick", "tick", "skewed", "poison"])
    kind = {(s, o): data.draw(kinds) for s, rows in topic.log.items() for o, _ in rows}
    times = {(s, o): time for s, rows in topic.log.items() for o, time in rows}

    def messages_of(rows: Sequence[Place]) -> Messages:
        payloads = [
            b"poison" if kind[row] == "poison"
            else TICK % (TOKEN, times[row] * 1_000_000 + (kind[row] == "skewed") * HOUR_NS)
            for row in rows
        ]  # fmt: skip
        # It is at the broker 3 ms after its time.
        ms = [times[row] + 3 for row in rows]
        return Messages(payloads, [s for s, _ in rows], [o for _, o in rows], ms, [])

    decoder = NativeDecoder(synthetic.TABLE)
    stands = Topic(
        {
            s: [(o, t + 3 * (kind[s, o] != "tick")) for o, t in rows]
            for s, rows in topic.log.items()
        },
        topic.starts,
        topic.ends,
    )
    found, came, whole = [], [], []
    for one in read(
        topic, topic.starts, data, limit, lambda r: read_ahead(decoder, messages_of(r))
    ):
        rows = [*zip(one.streams, one.offsets, strict=True)]
        came += rows
        found += rows if one.catch_up else []
        for piece in pieces(one, data.draw(st.integers(1, 4))):
            once, twice = (
                decode_messages(decoder, kept) for kept in (piece, piece._replace(decoded=None))
            )
            assert once.records.tobytes() == twice.records.tobytes()
            assert (once.notes, once.positions) == (twice.notes, twice.positions)
            whole += [int(seen) for seen in once.records["offset"]]

    assert in_order(stands, topic.starts) == found
    assert [offset for s, offset in came if kind[s, offset] != "poison"] == whole


@given(topics(), st.data(), st.integers(1, 5))
def test_a_kill_amid_it_changes_nothing(topic: Topic, data: st.DataObject, limit: int) -> None:
    """What was kept, and what a new start behind its last offsets reads, are the one order."""
    whole = in_order(topic, topic.starts)
    kept = whole[: data.draw(st.integers(0, len(whole)))]
    positions = topic.starts | {stream: offset + 1 for stream, offset in kept}
    *merged, _ = list(read(topic, positions, data, limit)) or [message([])]

    assert whole == kept + [place for one in merged for place in places(one)]


@given(topics(), st.data())
def test_fresh_messages_keep_their_arrival(topic: Topic, data: st.DataObject) -> None:
    """Where no first message is older than a second nothing is merged, and nothing is flagged."""
    merge = CatchUp(topic.starts, topic.ends, OLD_MS)
    left = topic.unread(topic.starts)
    came = []
    while not merge.over:
        stream = data.draw(st.sampled_from(sorted(left)))
        chunk, left[stream] = left[stream][:2], left[stream][2:]
        came += [(stream, offset) for offset, _ in chunk]
        merge.add(message([(stream, offset) for offset, _ in chunk]), [9] * len(chunk))
        if not left[stream]:
            merge.reach(stream, topic.ends[stream])
            del left[stream]
        assert [] == merge.take().payloads
    rest = merge.rest()

    assert not merge.behind
    assert (came, False) == (places(rest), rest.catch_up)


@given(topics(), st.data())
def test_gaps_stand_before_their_next_message(topic: Topic, data: st.DataObject) -> None:
    """Each skipped offset range comes before the message it was found at, or at the end."""
    merge = CatchUp(topic.starts, topic.ends, NOW_MS - FRESH_MS)
    unread = {s: rows for s, rows in topic.unread(topic.starts).items() if rows}
    expected, found = [], []
    for stream, rows in unread.items():
        at = topic.starts[stream]
        gaps = []
        for n, (offset, _) in enumerate(rows):
            if offset > at:
                detail = {"stream": stream, "offset": at, "next_offset": offset, "reason": "x"}
                gaps.append(Note(n, "gap", detail))
                expected.append((stream, offset))
            at = offset + 1
        messages = message([(stream, offset) for offset, _ in rows], gaps)
        merge.add(messages, [time for _, time in rows])
    for stream, end in topic.ends.items():
        merge.reach(stream, end)
    for one in [*pieces(merge.take(), data.draw(st.integers(1, 3))), merge.rest()]:
        stands = places(one)
        for gap in one.gaps:
            found.append((gap.detail["stream"], gap.detail["next_offset"]))
            assert found[-1] == stands[gap.row]

    assert sorted(expected) == sorted(found)


@given(topics(), topics(), st.data())
def test_rounds_lose_and_double_nothing(first: Topic, more: Topic, data: st.DataObject) -> None:
    """What is produced meanwhile is merged by the next round, and the head comes without flags."""
    log: Log = {s: list(rows) for s, rows in first.log.items()}
    old = {s: len(rows) for s, rows in log.items()}
    for stream, rows in more.log.items():
        if stream in log:
            high = max(first.ends[stream], (log[stream] or [(-1, 0)])[-1][0] + 1)
            log[stream] += [(high + offset, time) for offset, time in rows]
    highs = dict(first.ends)
    held: set[int] = set()

    def hold(streams: Sequence[int], again: Sequence[int]) -> None:
        assert not held & {*streams}
        assert held >= {*again}
        held.update(streams)
        held.difference_update(again)

    def times(messages: Messages) -> tuple[list[int], Messages]:
        return [dict(log[s])[o] for s, o in places(messages)], messages

    def ends() -> dict[int, int]:
        answered = {s: end for s, end in highs.items() if data.draw(st.booleans(), label="answers")}
        highs.update({s: max(highs[s], rows[-1][0] + 1) for s, rows in log.items() if rows})
        return answered

    backlog = Backlog(times, ends, hold, lambda: NOW_MS / 1000, messages_max=3)
    positions = dict.fromkeys(log, 0)
    left = {s: list(rows) for s, rows in log.items()}
    found: list[Messages] = []
    backlog.look(positions)
    while any(left.values()):
        able = sorted(s for s in left if left[s] and s not in held)
        assert able, "all that is left is held"
        stream = data.draw(st.sampled_from(able))
        chunk, left[stream] = left[stream][:2], left[stream][2:]
        for offset, _ in chunk:
            positions[stream] = offset + 1
        positions.update((s, max(positions[s], highs[s])) for s in left if not left[s])
        fresh = len(log[stream]) - len(left[stream]) > old[stream]
        ms = NOW_MS if fresh else OLD_MS
        rows = [(stream, offset) for offset, _ in chunk]
        found += backlog.pass_on(message(rows, ms=ms), positions)
    for _ in range(4):  # what waits for the end of a round that waits for an end
        found += backlog.pass_on(message([]), dict.fromkeys(log, 10**6))

    assert not held
    for stream, rows in log.items():
        came = [o for one in found for s, o in places(one) if s == stream]
        assert [offset for offset, _ in rows] == came
    (last,) = backlog.pass_on(message([(0, 10**7)]), {})
    assert not last.catch_up


def test_a_later_round_knows_what_was_read_out_before_it() -> None:
    """Partitions read to ends that only the next round asks for: it waits for nothing of them."""
    looks = iter([{0: 2, 1: 2, 2: 2}, *[{0: 6, 1: 6, 2: 2}] * 2])

    def times(messages: Messages) -> tuple[list[int], Messages]:
        return [10 * offset + stream for stream, offset in places(messages)], messages

    backlog = Backlog(times, lambda: next(looks), lambda more, less: None, lambda: NOW_MS / 1000)
    backlog.look({0: 0, 1: 0, 2: 0})
    found: list[Messages] = []
    # Behind their first ends 0 and 1 got three more and a commit mark, and both are read out.
    for stream, count, positions in (
        (0, 5, {0: 6, 1: 0, 2: 0}),
        (1, 5, {0: 6, 1: 6, 2: 0}),
        (2, 2, {0: 6, 1: 6, 2: 2}),
    ):
        rows = [(stream, offset) for offset in range(count)]
        found += backlog.pass_on(message(rows), positions)

    order = sorted((10 * o, s, o) for s, count in ((0, 5), (1, 5), (2, 2)) for o in range(count))
    assert [(s, o) for _, s, o in order] == [place for one in found for place in places(one)]
