"""Format 1 as it was checked in: every value of recordings/format-1, read by this version.

The folder is frozen. A version that reads it otherwise is wrong; one that cannot read what a later
version writes says so by name.
"""

from __future__ import annotations

import json
import shutil
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

import parity as pt
from parity.compose.proofs import verify
from parity.model.errors import RecordingCorrupt
from parity.model.extensions import Extension
from parity.model.instruments import Instrument, InstrumentTable
from parity.recording.manifest import MANIFEST, SealedSegment, Stream, load_manifest, save_manifest
from parity.recording.reader import open_recording
from parity.recording.sealing import seal

FROZEN = Path(__file__).resolve().parents[2] / "recordings" / "format-1"
T0 = 1_736_154_000_000_000_000
TABLE = InstrumentTable(
    [
        Instrument(
            token=101,
            symbol="ONE",
            venue="FROZEN",
            kind="perp",
            price_scale=2,
            quantity_scale=3,
            contract_size="0.5",
            calendar="24/7",
            clock="venue",
        ),
        Instrument(
            token=202,
            symbol="TWO",
            venue="",
            kind="future",
            price_scale=4,
            quantity_scale=0,
            contract_size="1",
            calendar="24/7",
            clock="recv",
        ),
    ],
    [
        Extension("average_price", "price"),
        Extension("bid_quantity_2", "quantity"),
        Extension("bid_orders_2", "integer"),
        Extension("conditions", "text", ("@", "@ F I", "größer")),
    ],
)
NAMES = [
    *("seq", "ts_event", "ts_recv", "instrument_token", "price_int", "quantity_int", "side"),
    *("bid_int", "ask_int", "bid_quantity_int", "ask_quantity_int", "volume_int"),
    *("open_interest", "trade_id", "flags", "stream", "offset", "sub", "present"),
    *("average_price_int", "bid_quantity_2_int", "bid_orders_2", "conditions"),
]
# fmt: off
TICKS: list[tuple[int, ...]] = [
    (1, T0, T0 + 250_000, 101, 10000, 1500, 1, 0, 0, 0, 0, 0, 0, 7, 4033, 0, 40, 0,
     15, 9995, 2001, 3, 2),
    (2, T0, T0 + 250_001, 101, 9999, 1, -1, 0, 0, 0, 0, 0, 0, 8, 4033, 0, 41, 0,
     0, 0, 0, 0, 0),
    (4, T0 + 1, T0 + 9, 101, 0, 0, 0, 9998, 10001, 12000, 7, 0, 0, -1, 7218, 1, 5, 0,
     2, 0, -1, 0, 0),
    (5, T0 + 2, T0 + 9, 202, 0, 0, 0, -12345, 0, 4, 0, 0, 0, -1, 7858, 1, 5, 1,
     4, 0, 0, -2**63, 0),
    (6, T0 + 10, T0 + 10, 202, 10001, 3, 0, 10000, 10002, 1, 2, 90, 12, -1, 20488, 1, 6, 0,
     1, -5, 0, 0, 0),
    (8, T0 + 3, T0 + 20, 101, 10100, 2000, 1, 0, 0, 0, 0, 0, 0, 7, 69569, 0, 43, 0,
     8, 0, 0, 0, 0),
    (9, T0 + 4, T0 + 30, 101, 10250, 10, 1, 0, 0, 0, 0, 0, 0, 9, 528321, 0, 44, 0,
     9, 10200, 0, 0, 1),
    (11, T0 + 3, T0 + 31, 101, 10300, 20, -1, 0, 0, 0, 0, 0, 0, 10, 266177, 0, 45, 0,
     1, 10225, 0, 0, 0),
    (12, T0 + 40, T0 + 40, 101, 999999999999999, 0, 0, 0, 0, 0, 0, 0, 0, -1, 8164, 0, 46, 0,
     4, 0, 0, 2**63 - 1, 0),
    (13, T0 + 50, 0, 101, 10400, 30, 0, 0, 0, 0, 0, 0, 0, -1, 16321, -1, -1, 0,
     3, 0, 0, 0, 0),
]
# what any tool reads: seq, price, bid, quantity, and the extensions, null where absent
SHOWN: list[tuple[Any, ...]] = [
    (1, "100.0000", "0.0000", "1.500", "99.9500", "2.001", 3, "größer"),
    (2, "99.9900", "0.0000", "0.001", None, None, None, None),
    (4, "0.0000", "99.9800", "0.000", None, "-0.001", None, None),
    (5, "0.0000", "-1.2345", "0.000", None, None, -2**63, None),
    (6, "1.0001", "1.0000", "3.000", "-0.0005", None, None, None),
    (8, "101.0000", "0.0000", "2.000", None, None, None, "@"),
    (9, "102.5000", "0.0000", "0.010", "102.0000", None, None, "@ F I"),
    (11, "103.0000", "0.0000", "0.020", "102.2500", None, None, None),
    (12, "9999999999999.9900", "0.0000", "0.000", None, None, 2**63 - 1, None),
    (13, "104.0000", "0.0000", "0.030", "0.0000", "0.000", None, None),
]
# fmt: on
CONTROLS: list[tuple[int, int, str, dict[str, Any]]] = [
    (3, T0 + 5, "gap", {"stream": 1, "offset": 3, "next_offset": 5, "reason": "retention"}),
    (
        *(7, T0 + 15, "quarantine"),
        {"stream": 0, "offset": 42, "reason": "price: too fine", "payload": b"\x00{\xff"},
    ),
    (10, T0 + 30, "resumed", {"last_seq": 9, "torn_bytes": 0, "checkpoint": 0}),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the frozen folder, to be changed."""
    shutil.copytree(FROZEN, tmp_path / "format-1")
    return tmp_path / "format-1"


def values_of(folder: Path) -> tuple[list[Any], list[Any]]:
    """Every tick and control of a recording, as plain values."""
    ticks: list[Any] = []
    controls: list[Any] = []
    for batch in open_recording(folder).batches():
        assert batch.ticks.to_records().dtype == TABLE.tick_dtype
        ticks += batch.ticks.to_records().tolist()
        controls += [(c.seq, c.ts_recv, c.verb, c.detail) for c in batch.controls]
    return ticks, controls


def test_nothing_in_the_frozen_folder_is_without_a_test() -> None:
    """Sealed, open and run, and the strategy of the run."""
    assert sorted(p.name for p in FROZEN.iterdir()) == ["above.py", "open", "run", "sealed"]
    assert list(TABLE.columns.names) == NAMES


def test_a_sealed_recording_reads_to_these_values() -> None:
    """Every column of every tick, every control, and the manifest."""
    recording = open_recording(FROZEN / "sealed")
    recording.check_files(always=True)
    manifest = recording.manifest

    assert values_of(FROZEN / "sealed") == (TICKS, CONTROLS)
    assert recording.table == TABLE
    assert (manifest.format, manifest.state, manifest.order) == (1, "sealed", "arrival")
    assert (manifest.scales, manifest.durability) == ({"price": 4, "quantity": 3}, "fdatasync")
    assert manifest.streams == [Stream(0, "ticks", 0), Stream(1, "ticks", 1)]
    assert [(p.file, p.kind, p.rows, p.first_seq, p.last_seq) for p in manifest.parts] == [
        ("ticks/000000000001.parquet", "ticks", 3, 1, 4),
        ("events/000000000003.parquet", "events", 1, 3, 3),
        ("ticks/000000000005.parquet", "ticks", 7, 5, 13),
        ("events/000000000007.parquet", "events", 2, 7, 10),
    ]
    assert [(s.number, s.last_seq, s.positions) for s in manifest.segments] == [
        (1, 4, [(0, 42), (1, 5)]),
        (2, 13, [(1, 7)]),
    ]
    assert all(isinstance(s, SealedSegment) and len(s.id) == 32 for s in manifest.segments)
    assert recording.next_positions() == {("ticks", 0): 42, ("ticks", 1): 7}
    assert (
        recording.content_hash()
        == "9c1dd9d164f600d1719b572c69d8ee764aa9ad78aff63e63da6eeef7742299b4"
    )


def test_any_tool_reads_these_decimals_and_words() -> None:
    """SQL and polars show prices exactly and absent extensions as null."""
    wanted = ["seq", "price", "bid", "quantity", *(e.name for e in TABLE.extensions)]
    expected = [
        tuple(Decimal(v) if isinstance(v, str) and v[-1].isdigit() else v for v in row)
        for row in SHOWN
    ]
    recording = open_recording(FROZEN / "sealed")

    assert recording.sql(f"SELECT {', '.join(wanted)} FROM ticks ORDER BY seq").fetchall() == (
        expected
    )
    assert recording.ticks().select(wanted).collect().rows() == expected
    assert recording.sql("SELECT seq, verb, detail_json FROM events ORDER BY seq").fetchall()[
        1
    ] == (
        7,
        "quarantine",
        '{"stream":0,"offset":42,"reason":"price: too fine","payload":"AHv/"}',
    )


def test_derived_columns_have_these_values() -> None:
    """The floats a strategy sees, by division at each instrument's own scale."""
    (one, two) = [b.ticks for b in open_recording(FROZEN / "sealed").batches(batch_rows=5)]

    assert one.column("price").tolist() == [100.0, 99.99, 0.0, 0.0, 1.0001]
    assert one.column("bid").tolist() == [0.0, 0.0, 99.98, -1.2345, 1.0]
    assert one.column("bid_quantity").tolist() == [0.0, 0.0, 12.0, 4.0, 1.0]
    assert one.column("volume").tolist() == [0.0, 0.0, 0.0, 0.0, 90.0]
    assert one.column("average_price").tolist() == [99.95, 0.0, 0.0, 0.0, -0.0005]
    assert one.column("has_average_price").tolist() == [True, False, False, False, True]
    assert two.column("average_price").tolist() == [0.0, 102.0, 102.25, 0.0, 0.0]
    assert two.column("conditions").tolist() == [0, 1, 0, 0, 0]


def test_an_open_recording_reads_to_its_last_whole_frame(copy: Path) -> None:
    """A part, two frames of a journal and six torn bytes; sealed, it holds the same."""
    recording = open_recording(FROZEN / "open")

    assert values_of(FROZEN / "open") == (TICKS[:5], CONTROLS[:1])
    assert (recording.tick_rows, recording.last_seq, recording.torn_bytes) == (5, 6, 6)
    assert recording.next_positions() == {("ticks", 0): 42, ("ticks", 1): 7}
    assert (
        recording.content_hash()
        == "872d4ec30435f5333d7d1b85b8a0899fe2d74f4503c5e3d293c5e7f9027abe14"
    )
    assert seal(copy / "open").state == "sealed"
    assert values_of(copy / "open") == (TICKS[:5], CONTROLS[:1])


def test_a_run_reads_to_these_values() -> None:
    """Candidates, approved signals, a refusal, a failure, a fill, and the report."""
    run = pt.open(FROZEN / "run")
    report = run.folder.manifest.report

    assert [
        (r["seq"], r["instrument_token"], r["side"], r["price"], r["confidence"], r["metadata"])
        for r in run.signals.iter_rows(named=True)
    ] == [
        (1, 101, "BUY", 100.0, 0.75, '{"average":"99.95","conditions":"größer"}'),
        (6, 202, "BUY", 1.0001, 0.75, '{"average":"-0.0005","conditions":null}'),
        (11, 101, "BUY", 103.0, 0.75, '{"average":"102.25","conditions":null}'),
        (13, 101, "BUY", 104.0, 0.75, '{"average":"0.00","conditions":null}'),
    ]
    assert run.candidates["seq"].to_list() == [1, 6, 11, 13]
    assert run.drops.select("seq", "reason").rows() == [(12, "paper_insufficient_cash")]
    money = ["seq", "price_exact", "quantity_exact", "commission_exact"]
    exact = (Decimal("100.039995"), Decimal(1), Decimal("0.0500199975"))
    assert run.fills.select(money).rows() == [(2, *exact)]
    assert report is not None
    assert (report.ticks, report.undelivered, report.controls) == (10, 1, {"gap": 1})
    assert [(e.signals, e.fills, e.errors, e.pnl) for e in report.executors] == [
        (4, 1, 1, "1.9299825025")
    ]
    assert report.candidate_digest == (
        "87f0c6615158441ef92e6b351668bcd7931f78f5e537f2bb06e57b0fd4031dd3"
    )
    assert report.decision_digest == (
        "7b034a9ce401c41feadf99b08915892ef0931d70c896a4b2b0be25d9ffcac946"
    )


def test_the_run_is_proved_by_this_version(copy: Path) -> None:
    """The kept strategy over the frozen recording says the same, byte for byte."""
    proof = verify(copy / "run")

    assert (proof.verdict, proof.first_divergence) == ("identical", None)


def test_format_2_is_refused_by_name(copy: Path) -> None:
    """A recording, a journal and a run of a later format say so, and which one is read."""
    manifest = load_manifest(copy / "sealed")
    save_manifest(copy / "sealed", type(manifest)(**_fields(manifest), format=2))
    with pytest.raises(RecordingCorrupt, match="format 2, this version reads up to 1"):
        open_recording(copy / "sealed")

    (journal,) = (copy / "open" / "journal").glob("*.wal")
    data = bytearray(journal.read_bytes())
    data[8:12] = struct.pack("<I", 2)
    head = struct.calcsize("<8sI16sQq16s")
    data[head : head + 4] = struct.pack("<I", crc32(data[:head]))
    journal.write_bytes(data)
    with pytest.raises(RecordingCorrupt, match="journal format 2, this version reads 1"):
        list(open_recording(copy / "open").batches())

    run = json.loads((copy / "run" / MANIFEST).read_text())
    (copy / "run" / MANIFEST).write_text(json.dumps(run | {"format": 2}))
    with pytest.raises(RecordingCorrupt, match="format 2"):
        pt.open(copy / "run")


def _fields(manifest: Any) -> dict[str, Any]:
    return {n: getattr(manifest, n) for n in manifest.__struct_fields__ if n != "format"}


def test_prices_come_back_as_integers_without_a_float() -> None:
    """999 999 999 999 999 at scale 2 has no float64 that keeps its digits at scale 4."""
    (batch,) = list(open_recording(FROZEN / "sealed").batches(columns=["price_int"]))

    assert batch.ticks.column("price_int").dtype == np.int64
    assert batch.ticks.column("price_int")[-2] == 999_999_999_999_999
