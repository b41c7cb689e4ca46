"""A live source behind a past: where its streams begin, new or gone on."""

import asyncio
from pathlib import Path

import pytest

from parity.model.ticks import TickBatch
from parity.recording.reader import open_recording
from parity.recording.writer import RecordingWriter
from parity.sources import synthetic
from parity.sources.arrivals import Stream
from parity.sources.codecs.fills import FillDecoder
from parity.sources.codecs.registry import decoder_of
from parity.sources.redpanda import RedpandaSource
from parity.sources.warmed import NAME, WarmedSource

TABLE, TICKS = synthetic.generate(ticks=10)
TICK, NEW, FILLS = ("t", 0), ("t", 1), ("zerodha.orders.filled", 0)


class Placed(RedpandaSource):
    """The real source without its broker: it is told which streams there are."""

    async def connect(self) -> None:
        """Place the streams, each of offsets 0 to 9 000."""
        for stream in (TICK, NEW, FILLS):
            self._place(stream, 0, 9_000)


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (None, [700, 0, 5_000]),
        ({TICK: 800, FILLS: 5_100, (NAME, 0): 3}, [800, 0, 5_100]),
        ({TICK: 800, (NAME, 0): 3}, [800, 0, 5_000]),
    ],
)
def test_recorded_positions_go_before_where_the_past_ends(
    tmp_path: Path, recorded: dict[Stream, int] | None, expected: list[int]
) -> None:
    """A stream that has none begins behind the past; one that the past has not, at its start."""
    with RecordingWriter(tmp_path / "past", TABLE, order="arrival", created_by="test") as writer:
        writer.append(TickBatch.from_records(TICKS, TABLE))
    fills = {FILLS[0]: FillDecoder("zerodha", TABLE, [])}
    inner = Placed("n:1", ["t"], decoder_of("native", TABLE), events=fills, start="latest")
    with open_recording(tmp_path / "past") as past:
        source = WarmedSource(past, inner, begin={TICK: 700, FILLS: 5_000})
        if recorded is not None:
            source.start_at(recorded)
        asyncio.run(source.connect())

    assert [TICK, NEW, FILLS, (NAME, 0)] == source.streams
    assert expected == list(inner.positions().values())
