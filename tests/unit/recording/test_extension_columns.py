"""Extension columns through journal, tail, sealing and reading: the same ticks everywhere."""

from __future__ import annotations

import shutil
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.model import ticks as flag
from parity.model.errors import ConfigError, InputRefused, ParityError, RecordingCorrupt
from parity.model.extensions import Extension, tick_columns
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.ticks import TICK_DTYPE, TickBatch
from parity.recording.journal import JournalWriter, read_journal, recover
from parity.recording.manifest import load_manifest
from parity.recording.reader import open_recording
from parity.recording.sealing import seal
from parity.recording.sequencer import SMALL, Sequencer
from parity.recording.writer import RecordingWriter, create_recording
from parity.testing.generators import START_NS

if TYPE_CHECKING:
    from pathlib import Path

EXTENSIONS = (
    Extension("average_price", "price"),
    Extension("bid_quantity_2", "quantity"),
    Extension("bid_orders_2", "integer"),
    Extension("conditions", "text", ("", "@ F I", "@", "größer")),
)
TABLE = InstrumentTable(
    [
        Instrument(token=101, symbol="ONE", price_scale=2, quantity_scale=3),
        Instrument(token=202, symbol="TWO", price_scale=4, quantity_scale=0),
    ],
    EXTENSIONS,
)
Records = npt.NDArray[Any]
_VALUES = st.integers(-(10**12), 10**12)


@st.composite
def rows_of(draw: st.DrawFn, most: int = 40) -> Records:
    """Ticks of two scales whose extensions are there, half there, or not at all."""
    count = draw(st.integers(1, most))
    records = np.zeros(count, TABLE.tick_dtype)
    records["seq"] = np.arange(1, count + 1)
    records["ts_event"] = START_NS + np.arange(count)
    records["instrument_token"] = draw(
        st.lists(st.sampled_from([101, 202]), min_size=count, max_size=count)
    )
    records["price_int"] = 100_00
    records["flags"] = flag.SNAPSHOT | flag.NO_TS_RECV | flag.NO_TRADE_ID
    records["stream"] = records["offset"] = records["trade_id"] = -1
    never = draw(st.integers(0, 15))  # columns that are absent in every row
    for row in range(count):
        present = draw(st.integers(0, 15)) & ~never
        records["present"][row] = present
        for extension, bit in zip(EXTENSIONS, (1, 2, 4, 8), strict=True):
            if present & bit:
                values = st.integers(0, 3) if extension.kind == "text" else _VALUES
                records[extension.field][row] = draw(values)
    return records


def read_back(folder: Path, **wanted: Any) -> Records:
    """All ticks of a recording as records."""
    batches = [b.ticks.to_records() for b in open_recording(folder).batches(**wanted)]
    return np.concatenate(batches) if batches else np.zeros(0, TABLE.tick_dtype)


@given(records=rows_of(), cut=st.integers(0, 40), split=st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_what_was_journaled_is_read_from_tail_and_parts(
    tmp_path_factory: pytest.TempPathFactory, records: Records, cut: int, split: int
) -> None:
    """Records come back identical from the open journal, and again when it is sealed."""
    folder = tmp_path_factory.mktemp("extensions") / "REC"
    create_recording(folder, TABLE, created_by="test")
    with JournalWriter(folder, durability="os") as journal:
        for piece in (records[:cut], records[cut:]):
            journal.append(piece)

    tail, lazy_tail = read_back(folder), open_recording(folder).ticks().collect()
    open_hash = open_recording(folder).content_hash()
    seal(folder)
    sealed = read_back(folder, batch_rows=split + 1)
    recording = open_recording(folder)
    lazy_sealed = recording.ticks().collect()

    assert tail.dtype == sealed.dtype == TABLE.tick_dtype
    assert tail.tobytes() == records.tobytes()
    assert sealed.tobytes() == records.tobytes()
    assert lazy_tail.rows() == lazy_sealed.rows()
    assert open_hash != recording.content_hash()  # other bytes, as without extensions
    assert load_manifest(folder).table == TABLE


@given(records=rows_of())
@settings(max_examples=20, deadline=None)
def test_an_import_and_a_projection_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, records: Records
) -> None:
    """A projection gives the column and its own bit of `present`, from parts, tail and cache."""
    folder = tmp_path_factory.mktemp("extensions")
    with RecordingWriter(folder / "S", TABLE, order="arrival", created_by="test") as writer:
        writer.append(TickBatch.from_records(records, TABLE))
    create_recording(folder / "T", TABLE, created_by="test")
    with JournalWriter(folder / "T", durability="os") as journal:
        journal.append(records)

    shutil.copytree(folder / "S", folder / "C")
    open_recording(folder / "C").build_cache()

    for place in (folder / "S", folder / "T", folder / "C"):
        ticks = [b.ticks for b in open_recording(place).batches(columns=["conditions"])]
        codes = np.concatenate([t.column("conditions") for t in ticks])
        present = np.concatenate([t.column("present") for t in ticks])
        assert codes.tolist() == records["conditions"].tolist()
        assert present.tolist() == (records["present"] & np.uint64(8)).tolist()
        assert set(ticks[0].names) == {"seq", "present", "conditions"}

        every = [b.ticks for b in open_recording(place).batches(columns=["present"])]
        assert np.concatenate([t.column("present") for t in every]).tolist() == (
            records["present"].tolist()
        )


def ticks_of(**values: Any) -> Records:
    """Two ticks, of scale 2 and of scale 4, with the given extensions there."""
    records = np.zeros(2, TABLE.tick_dtype)
    records["seq"] = (1, 2)
    records["ts_event"] = START_NS
    records["instrument_token"] = (101, 202)
    records["flags"] = flag.SNAPSHOT | flag.NO_TS_RECV | flag.NO_TRADE_ID | flag.NO_PRICE
    for name, value in values.items():
        records["present"] |= np.uint64(TABLE.columns.bits[name])
        records[name] = value
    return records


def test_any_tool_sees_decimals_words_and_nulls(tmp_path: Path) -> None:
    """Parquet holds a negative price as a decimal, a word as text, an absent value as null."""
    folder = tmp_path / "REC"
    with RecordingWriter(folder, TABLE, order="arrival", created_by="test") as writer:
        records = ticks_of(average_price_int=(-1, -5), conditions=(3, 1))
        writer.append(TickBatch.from_records(records, TABLE))

    wanted = "average_price, bid_quantity_2, bid_orders_2, conditions"
    found = duckdb.sql(f"SELECT {wanted} FROM '{folder}/ticks/*.parquet' ORDER BY seq").fetchall()

    assert found == [
        (Decimal("-0.0100"), None, None, "größer"),
        (Decimal("-0.0005"), None, None, "@ F I"),
    ]
    assert open_recording(folder).sql(f"SELECT {wanted} FROM ticks").fetchall() == found
    assert open_recording(folder).ticks().select(wanted.split(", ")).collect().rows() == found


def test_derived_columns_are_divided_at_the_instruments_scale() -> None:
    """`average_price` is the float that parsing its text gives, 0.0 where it is absent."""
    batch = TickBatch.from_records(ticks_of(average_price_int=(-1, 12345)), TABLE)

    assert batch.column("average_price").tolist() == [-0.01, 1.2345]
    assert batch.column("bid_quantity_2").tolist() == [0.0, 0.0]
    assert batch.column("bid_orders_2").dtype == np.int64
    assert "average_price" in batch
    assert "turnover" not in batch
    with pytest.raises(KeyError, match="turnover"):
        batch.column("turnover")
    both = batch.slice(0, 1).column("average_price_int"), batch.take(np.array([1])).names
    assert (both[0].tolist(), both[1]) == ([-1], TABLE.columns.names)


def test_a_value_of_more_than_18_digits_is_refused_by_name(tmp_path: Path) -> None:
    """At the recording's scale an extension has 18 digits, like every price."""
    writer = RecordingWriter(tmp_path / "R", TABLE, order="arrival", created_by="test")
    writer.append(TickBatch.from_records(ticks_of(average_price_int=(10**16, 0)), TABLE))

    with pytest.raises(InputRefused, match="average_price of instrument 101 at seq 1"):
        writer.close()
    writer.abort()


def test_a_journal_takes_records_of_its_own_dtype_only(tmp_path: Path) -> None:
    """Records without the extensions are refused, and the other way round."""
    create_recording(tmp_path / "R", TABLE, created_by="test")
    with JournalWriter(tmp_path / "R") as journal:
        with pytest.raises(ParityError, match="records of another dtype"):
            journal.append(np.zeros(1, TICK_DTYPE))
        journal.append(ticks_of(bid_orders_2=7))

    assert recover(tmp_path / "R").last_seq == 2
    assert [f.records["bid_orders_2"].tolist() for f in read_journal(tmp_path / "R")] == [[7, 7]]


@pytest.mark.parametrize("count", [3, SMALL - 1, SMALL + 1])
def test_the_sequencer_leaves_extensions_alone(count: int) -> None:
    """Verdicts and seq as without extensions, and not a byte behind them changed."""
    records = np.zeros(count, TABLE.tick_dtype)
    records["instrument_token"] = 101
    records["ts_event"] = START_NS - np.arange(count)  # late, all but the first
    records["flags"] = flag.SNAPSHOT | flag.NO_TS_RECV | flag.NO_TRADE_ID
    records["stream"] = records["offset"] = -1
    records["present"] = 2**64 - 1
    records["conditions"] = -1
    bare = np.zeros(count, TICK_DTYPE)
    for name in bare.dtype.names or ():
        bare[name] = records[name]

    judged = Sequencer(TABLE).sequence(records.copy())
    plain = Sequencer(InstrumentTable(TABLE)).sequence(bare)

    assert judged["seq"].tolist() == plain["seq"].tolist()
    assert judged["flags"].tolist() == plain["flags"].tolist()
    assert (judged["present"] == 2**64 - 1).all()
    assert (judged["conditions"] == -1).all()


def test_a_word_that_the_manifest_does_not_know_is_corruption(tmp_path: Path) -> None:
    """A part is read with the words of its own manifest, or not at all."""
    folder = tmp_path / "REC"
    with RecordingWriter(folder, TABLE, order="arrival", created_by="test") as writer:
        writer.append(TickBatch.from_records(ticks_of(conditions=(3, 1)), TABLE))
    recording = open_recording(folder)
    recording.table = InstrumentTable(TABLE, [Extension("conditions", "text", ("@",))])

    with pytest.raises(RecordingCorrupt, match="conditions: 'größer' is not among the words"):
        list(recording.batches(columns=["conditions"]))


def test_the_extensions_are_part_of_what_a_recording_is(tmp_path: Path) -> None:
    """The same bytes under other words are another recording."""
    ids = []
    for name, words in (("A", ("x", "y")), ("B", ("y", "x"))):
        table = InstrumentTable(TABLE, [Extension("conditions", "text", words)])
        create_recording(tmp_path / name, table, created_by="test")
        with JournalWriter(tmp_path / name, durability="os") as journal:
            records = np.zeros(1, table.tick_dtype)
            records["seq"], records["instrument_token"] = 1, 101
            records["flags"] = flag.SNAPSHOT
            journal.append(records)
        ids.append(open_recording(tmp_path / name).content_hash())

    assert ids[0] != ids[1]


@pytest.mark.parametrize(
    ("name", "kind", "words", "problem"),
    [
        ("Average", "price", (), "expected small letters"),
        ("price_int", "price", (), "no _int at the end"),
        ("bid", "price", (), "every tick has a column of that name"),
        ("present", "integer", (), "every tick has a column of that name"),
        ("average_price", "prise", (), "did you mean 'price'"),
        ("orders", "integer", ("a",), "only a text column has words"),
        ("orders", "text", ("a", "a"), "a word stands twice"),
        ("orders", "text", tuple(map(str, range(65_537))), "has 65537 different words"),
    ],
)
def test_a_wrong_extension_is_refused(
    name: str, kind: str, words: tuple[str, ...], problem: str
) -> None:
    """Each refusal names the extension and what is wrong with it."""
    with pytest.raises(ConfigError, match=problem) as refused:
        Extension(name, kind, words)

    assert repr(name) in str(refused.value)


def test_more_than_64_extensions_or_one_twice_are_refused() -> None:
    """`present` has 64 bits, and a name stands for one column."""
    many = [Extension(f"x{n}", "integer") for n in range(64)]

    assert len(tick_columns(many).bits) == 64
    with pytest.raises(ConfigError, match="at most 64, were 65"):
        tick_columns([*many, Extension("y", "integer")])
    with pytest.raises(ConfigError, match="'x3' stands twice"):
        tick_columns([*many[:8], Extension("x3", "price")])


def test_a_manifest_without_extensions_reads_as_it_always_did(tmp_path: Path) -> None:
    """Nothing is added to its text, and its table's ticks are plain ones."""
    create_recording(tmp_path / "R", InstrumentTable(TABLE), created_by="test")

    assert "extensions" not in (tmp_path / "R" / "manifest.json").read_text()
    assert load_manifest(tmp_path / "R").table.tick_dtype is TICK_DTYPE
