"""Payloads that were kept are decoded anew into a recording of their own, in the same order."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from parity.cli import app
from parity.compose.modes import backtest
from parity.model.errors import ConfigError, ParityError
from parity.model.events import RAW, Control
from parity.model.instruments import Instrument, InstrumentTable
from parity.recording.journal import JournalWriter
from parity.recording.payloads import payloads_of
from parity.recording.reader import open_recording
from parity.recording.sealing import seal
from parity.recording.sequencer import Sequencer
from parity.recording.writer import create_recording
from parity.settings.strategies import load_strategies
from parity.sources.arrivals import Note
from parity.sources.codecs.registry import decoder_of
from parity.sources.decoding import Messages, decode_messages
from parity.sources.redecode import redecode

KNOWN = [Instrument(token=7, symbol="A", kind="equity", price_scale=2)]
LATER = [*KNOWN, Instrument(token=8, symbol="B", kind="equity", price_scale=2)]
TABLE, WIDER = InstrumentTable(KNOWN), InstrumentTable(LATER)
COLUMNS = ("seq", "ts_event", "ts_recv", "instrument_token", "price_int", "offset", "sub", "flags")


def tick(token: int, price: float, second: int) -> dict[str, Any]:
    """Return a tick dict of Kite."""
    time = f"2025-01-06T14:30:{second:02d}+05:30"
    return {"instrument_token": token, "last_price": price, "exchange_timestamp": time}


def record(
    folder: Path,
    batches: Sequence[Sequence[bytes]],
    *,
    codec: str = "kite",
    keep_raw: bool = True,
    between: Sequence[Note] = (),
    table: InstrumentTable = TABLE,
) -> None:
    """Record batches of messages as a runner does, with a journal cut after each."""
    create_recording(folder, table, created_by="test", streams=[("t", 0)])
    decoder, sequencer = decoder_of(codec, table), Sequencer(table)
    kept = {"codec": codec, "tz": None} if keep_raw else None
    offset = 0
    with JournalWriter(folder, segment_bytes_max=1) as journal:
        for number, payloads in enumerate(batches, start=1):
            count = len(payloads)
            offsets = [*range(offset, offset + count)]
            messages = Messages([*payloads], [0] * count, offsets, [number] * count, [])
            records, notes, positions = decode_messages(decoder, messages, keep_raw=kept)
            offset += count
            records["ts_recv"] = number
            pieces, controls, at = [], [], 0
            for note in [*notes, *(one._replace(row=len(records)) for one in between)]:
                pieces.append(sequencer.sequence(records[at : note.row]))
                at = note.row
                seq = sequencer.take_seq()
                controls.append(
                    Control(seq=seq, ts_recv=number, verb=note.verb, detail=note.detail)
                )
            pieces.append(sequencer.sequence(records[at:]))
            journal.append(np.concatenate(pieces), controls, positions)


def rows(folder: Path) -> list[tuple[Any, ...]]:
    """Return every event of a recording: a tick's columns, or a control's verb."""
    found: list[tuple[Any, ...]] = []
    with open_recording(folder) as recording:
        for batch in recording.batches(batch_rows=2):
            if len(batch.ticks):
                records = batch.ticks.to_records()
                found += [tuple(r[n].item() for n in COLUMNS) for r in records]
            found += [(c.seq, c.ts_recv, c.verb) for c in batch.controls]
    return sorted(found)


def line(*ticks: dict[str, Any]) -> bytes:
    """Return a message of one tick, or of a list."""
    return json.dumps(ticks[0] if len(ticks) == 1 else ticks).encode()


BATCHES = [
    [line(tick(7, 1.5, 1)), line(tick(8, 2.5, 2)), line(tick(7, 1.75, 3))],
    [b"poison"],
    [line(tick(8, 3.5, 4)), line(tick(7, 1.25, 5)), b"[]"],
]


def test_the_same_codec_makes_the_same_events(tmp_path: Path) -> None:
    """With nothing mended every tick, event, seq and arrival time is as it was, payloads too."""
    gap = Note(0, "gap", {"stream": 0, "offset": 9, "next_offset": 9, "reason": "skipped"})
    record(tmp_path / "old", BATCHES, between=[gap])
    made = redecode(tmp_path / "old", tmp_path / "new", created_by="test")

    assert rows(tmp_path / "old") == rows(tmp_path / "new")
    assert (7, 3, 3, True, 0) == (
        made.messages, made.ticks, made.quarantined, made.same_seq, made.copied)  # fmt: skip
    payloads = [c.detail["payloads"] for c in payloads_of(tmp_path / "new")]
    assert BATCHES == payloads
    with open_recording(tmp_path / "new") as new, open_recording(tmp_path / "old") as old:
        assert old.next_positions() == new.next_positions() == {("t", 0): 7}
        assert old.manifest.recording_id == new.manifest.origin["recording_id"]
        assert "sealed" == new.manifest.state


def test_what_a_defect_refused_comes_to_its_place(tmp_path: Path) -> None:
    """Messages that a narrower table refused are ticks, at the seqs where they stood as refused."""
    record(tmp_path / "old", BATCHES)
    before = (tmp_path / "old" / "manifest.json").read_bytes()
    made = redecode(tmp_path / "old", tmp_path / "new", created_by="test", table=WIDER)
    record(tmp_path / "right", BATCHES, table=WIDER)

    assert rows(tmp_path / "right") == rows(tmp_path / "new")
    assert (3, 5, 3, 1, True) == (
        made.ticks_before, made.ticks, made.quarantined_before, made.quarantined, made.same_seq,
    )  # fmt: skip
    assert before == (tmp_path / "old" / "manifest.json").read_bytes()


def test_a_message_that_gives_more_moves_the_rest_in_order(tmp_path: Path) -> None:
    """A list that was refused as one gives two ticks now; what is behind keeps its order."""
    batches = [[line(tick(8, 1.5, 1), tick(8, 2.5, 1)), line(tick(7, 1.75, 2))], *BATCHES]
    record(tmp_path / "old", batches)
    made = redecode(tmp_path / "old", tmp_path / "new", created_by="test", table=WIDER)
    record(tmp_path / "right", batches, table=WIDER)

    assert rows(tmp_path / "right") == rows(tmp_path / "new")
    assert (False, 8) == (made.same_seq, made.ticks)


def test_another_codec_reads_what_the_first_could_not(tmp_path: Path) -> None:
    """Recorded under a wrong name, all quarantined, and whole under the right one."""
    record(tmp_path / "old", BATCHES, codec="binance")
    redecode(tmp_path / "old", tmp_path / "new", created_by="test", codec="kite")
    ticks = [row for row in rows(tmp_path / "new") if len(row) == len(COLUMNS)]

    assert [150, 175, 125] == [row[COLUMNS.index("price_int")] for row in ticks]


def test_what_has_no_payload_is_copied_or_refused(tmp_path: Path) -> None:
    """Without any it is no use; where a part has none that part is as it was, its table too."""
    record(tmp_path / "none", BATCHES, keep_raw=False)
    with pytest.raises(ConfigError, match="it kept no payloads"):
        redecode(tmp_path / "none", tmp_path / "new", created_by="test")
    assert [tmp_path / "none"] == [*tmp_path.iterdir()]

    record(tmp_path / "old", BATCHES)
    decoder, sequencer = decoder_of("kite", TABLE), Sequencer(TABLE)
    with open_recording(tmp_path / "old") as recording:
        for batch in recording.batches():
            sequencer.observe(batch)
    with JournalWriter(tmp_path / "old") as journal:
        late = Messages([line(tick(7, 9.5, 9))], [0], [7], [4], [])
        records, _, positions = decode_messages(decoder, late)
        journal.append(sequencer.sequence(records), (), positions)
    made = redecode(tmp_path / "old", tmp_path / "new", created_by="test")

    assert (1, True) == (made.copied, made.same_seq)
    assert rows(tmp_path / "old") == rows(tmp_path / "new")
    with pytest.raises(ConfigError, match="offset 7 was recorded without its payload"):
        redecode(tmp_path / "old", tmp_path / "wide", created_by="test", table=WIDER)


def test_payloads_are_read_by_nobody_else(tmp_path: Path) -> None:
    """Readers meet the event and not what it holds, sealed or open; SQL shows how much it is."""
    record(tmp_path / "rec", BATCHES)
    for _ in ("open", "sealed"):
        with open_recording(tmp_path / "rec") as recording:
            raw = [c for c in recording.controls() if c.verb == RAW]
            assert [{}, {}, {}] == [c.detail for c in raw]
            assert 3 == len([c for c in recording.controls() if c.verb == "quarantine"])
        assert BATCHES == [c.detail["payloads"] for c in payloads_of(tmp_path / "rec")]
        seal(tmp_path / "rec")
    query = "SELECT detail_json FROM events WHERE verb = 'raw' ORDER BY seq LIMIT 1"
    with open_recording(tmp_path / "rec") as recording:
        ((shown,),) = recording.sql(query).fetchall()
    size = sum(map(len, BATCHES[0]))
    assert {"codec": "kite", "tz": None, "messages": 3, "bytes": size} == json.loads(shown)


def test_a_run_is_proved_by_what_it_read(tmp_path: Path) -> None:
    """The old recording still proves its run; the new one in its place is refused by its hash."""
    record(tmp_path / "rec", [[line(tick(7, round(1 + n / 100, 2), n)) for n in range(50)]])
    seal(tmp_path / "rec")
    (tmp_path / "rows.yaml").write_text(
        "- {id: m, strategy_type: momentum, instruments: [7], parameters: {lookback_periods: 3}}"
    )
    backtest(tmp_path / "rec", load_strategies([tmp_path / "rows.yaml"]), out=tmp_path / "run")
    command = CliRunner(env={"NO_COLOR": "1"})
    done = command.invoke(app, ["repair", str(tmp_path / "rec"), "--redecode",
                                str(tmp_path / "new"), "--instrument-table",
                                str(wide(tmp_path))])  # fmt: skip
    assert 0 == done.exit_code, done.output
    assert 0 == command.invoke(app, ["verify", str(tmp_path / "run")]).exit_code

    (tmp_path / "rec").rename(tmp_path / "aside")
    (tmp_path / "new").rename(tmp_path / "rec")
    refused = command.invoke(app, ["verify", str(tmp_path / "run")])
    assert isinstance(refused.exception, ParityError) or refused.exit_code == 3
    assert "50 messages decoded anew: 50 ticks" in done.output


def wide(folder: Path) -> Path:
    """Write the wider table as a file."""
    path = folder / "wide.json"
    path.write_text(json.dumps(WIDER.to_json()))
    return path
