"""One runner of several: which partition an instrument is on, and what ends such a runner."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from brokerless import Brokerless

from parity.live.start import start
from parity.model.errors import ConfigError, ServiceDown
from parity.recording.manifest import load_manifest
from parity.recording.reader import open_recording
from parity.sources import synthetic
from parity.sources.arrivals import Arrivals
from parity.sources.pinned import PinnedSource, check_partitioner, partition_of

TABLE, TICKS = synthetic.generate(ticks=60)
HERE = partition_of(900001, 6), partition_of(900002, 6)


class Script(Brokerless):
    """A source of two partitions that hands over what a test wrote down, then waits."""

    def __init__(self, *arrivals: Arrivals | Exception, ends: bool = False) -> None:
        super().__init__(*(("t", partition) for partition in HERE))
        self.arrivals = list(arrivals)
        self.stopped = ends

    async def take(self, wait_s: float) -> Arrivals | None:
        """Return the next; behind the last nothing, and the end once it was stopped."""
        if self.arrivals:
            arrived = self.arrivals.pop(0)
            if isinstance(arrived, Exception):
                raise arrived
            return arrived
        if self.stopped:
            return None
        await asyncio.sleep(0)
        return Arrivals(TICKS[:0], [], {})

    def stop(self) -> None:
        """Note the stop."""
        self.stopped = True


def arrived(lo: int, hi: int) -> Arrivals:
    """Return ticks lo..hi-1, each on the partition of its instrument."""
    records = TICKS[lo:hi].copy()
    records["stream"] = records["instrument_token"] - 900001
    records["offset"] = np.arange(lo, hi)
    return Arrivals(records, [], {0: hi, 1: hi})


def recorded(folder: Path, source: PinnedSource) -> int:
    """Record to the end; return how many ticks the sealed recording has."""
    options = {"created_by": "test", "shard": {"partitions": [0]}}
    asyncio.run(start(folder, TABLE, source, stop=asyncio.Event(), **options))  # type: ignore[arg-type] # plain values
    assert "sealed" == load_manifest(folder).state
    with open_recording(folder) as found:
        return found.tick_rows


def pinned(
    script: Script, look: Callable[[], Mapping[str, int]] = lambda: {"t": 6}, **options: object
) -> PinnedSource:
    """Return the source under test, which looks at the topic all the time."""
    return PinnedSource(script, {"t": 6}, look, **{"watch_s": 0.0, **options})  # type: ignore[arg-type] # of one test


def test_keys_have_their_partitions_as_the_clients_say() -> None:
    """CRC-32 as in librdkafka; murmur2 gives the values that Kafka's own tests state."""
    stated = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    from parity.sources.pinned import PARTITIONERS

    for key, value in stated.items():
        assert value & 0x7FFFFFFF == PARTITIONERS["murmur2"](key)
    assert 0xCBF43926 == PARTITIONERS["consistent"](b"123456789")
    assert partition_of(7, 6) == partition_of(7, 6, "consistent")
    with pytest.raises(ConfigError, match=r"librdkafka.partitioner: expected .* was 'random'"):
        check_partitioner("random")


def test_ticks_on_their_own_partitions_pass(tmp_path: Path) -> None:
    """What is where it should be is recorded whole, and the manifest says which shard it is."""
    source = pinned(Script(arrived(0, 30), arrived(30, 60), ends=True))

    assert 60 == recorded(tmp_path / "rec", source)
    assert source.ended is None
    assert {"partitions": [0]} == load_manifest(tmp_path / "rec").shard


def test_instrument_on_another_partition_ends_the_source(tmp_path: Path) -> None:
    """The batch is not recorded, what came before is sealed, and the error names all of it."""
    wrong = arrived(30, 60)
    wrong.records["stream"][7] = 1 - wrong.records["stream"][7]
    token = int(wrong.records["instrument_token"][7])
    source = pinned(Script(arrived(0, 30), wrong, arrived(30, 60)))

    assert 30 == recorded(tmp_path / "rec", source)
    assert isinstance(source.ended, ConfigError)
    there, own = HERE[900002 - token], HERE[token - 900001]
    assert source.ended.message.startswith(f"instrument {token} came on t[{there}]")
    assert f"its ticks are on {own}" in source.ended.message


def test_a_recorder_holds_no_instrument_to_a_partition(tmp_path: Path) -> None:
    """Without a partitioner the same ticks are taken as they come."""
    wrong = arrived(0, 30)
    wrong.records["stream"][7] = 1 - wrong.records["stream"][7]
    source = pinned(Script(wrong, ends=True), partitioner=None)

    assert 30 == recorded(tmp_path / "rec", source)
    assert source.ended is None


@pytest.mark.parametrize(
    ("now", "words"), [(8, "it has 8 partitions, and had 6"), (0, "no longer")]
)
def test_other_partitions_of_the_topic_end_the_source(tmp_path: Path, now: int, words: str) -> None:
    """More partitions, or none: a look that finds them ends the source, and all is sealed."""
    source = pinned(Script(arrived(0, 30), arrived(30, 60)), lambda: {"t": now})

    assert 60 == recorded(tmp_path / "rec", source)
    assert isinstance(source.ended, ServiceDown)
    assert words in source.ended.message


def test_a_look_without_an_answer_ends_nothing(tmp_path: Path) -> None:
    """A broker that is away is waited for; the look after that counts."""
    looks = iter((ServiceDown("away"), {"t": 6}, ServiceDown("away"), {"t": 7}))

    def look() -> Mapping[str, int]:
        found = next(looks)
        if isinstance(found, Exception):
            raise found
        return found

    source = pinned(Script(arrived(0, 30)), look)

    assert 30 == recorded(tmp_path / "rec", source)
    assert "it has 7 partitions" in str(source.ended)


def test_a_partition_that_cannot_be_read_ends_the_source(tmp_path: Path) -> None:
    """An error of the consumer that it cannot come back from seals what was read."""
    source = pinned(Script(arrived(0, 30), ServiceDown("topic t: unknown partition")))

    assert 30 == recorded(tmp_path / "rec", source)
    assert "topic t: unknown partition" == str(source.ended)
