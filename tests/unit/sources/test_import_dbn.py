"""Databento's binary files: every version, plain or packed, gives the ticks their CSV gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor_files import DBN_SCHEMAS, databento, dbn, dbn_header
from vendor_ticks import ONE, TABLE, TWO, quotes, read_back, same, trades

from parity.model import ticks as flag
from parity.model.errors import ConfigError, InputRefused
from parity.model.instruments import Instrument, InstrumentTable
from parity.recording.manifest import load_manifest
from parity.sources.importers import dbn as dbn_module
from parity.sources.importers import import_ticks

ROUND_TRIP = settings(max_examples=20)
versions = st.sampled_from((1, 2, 3))
suffixes = st.sampled_from((".dbn", ".dbn.zst", ".dbn.gz"))
EARLY, LATE = 1_700_000_000_000_000_000, 1_700_100_000_000_000_000  # 2023-11-14 and -16


def small(records: Any) -> Any:
    """Return trades whose sizes are whole and fit 32 bits, prices 64, without ids."""
    records["price_int"] = records["price_int"] % 10**9 + 1
    records["quantity_int"] = records["quantity_int"] % 10**6 // 1000 * 1000
    records["trade_id"] = -1
    records["flags"] |= flag.NO_TRADE_ID
    return records


@ROUND_TRIP
@given(
    records=trades(sides=(1, -1, 0), whole=True).map(small),
    version=versions,
    suffix=suffixes,
    by_id=st.booleans(),
    sent=st.booleans(),
)
def test_trades_come_back_tick_for_tick(
    records: Any,
    version: int,
    suffix: str,
    by_id: bool,
    sent: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whatever the version and the way the symbols were asked for; as from their CSV."""
    folder = tmp_path_factory.mktemp("dbn")
    path = dbn(folder / f"t{suffix}", records, TABLE, version=version, by_id=by_id, sent=sent)
    csv = databento(folder / "t.csv", records, TABLE)

    report = import_ticks(path, folder / "rec")
    import_ticks(csv, folder / "csv")

    same(records, folder / "rec", TABLE)
    assert ("databento", "trades", f"DBN version {version}", "ts_recv") == (
        report.files[0]["format"],
        report.files[0]["layout"],
        report.files[0]["known_by"],
        report.order,
    )
    ids = [load_manifest(folder / name).recording_id for name in ("rec", "csv")]
    assert ids[0] == ids[1]


@ROUND_TRIP
@given(records=quotes(empty=True, whole=True), version=versions, traded=st.booleans())
def test_the_book_comes_back_with_its_trades(
    records: Any, version: int, traded: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """UNDEF_PRICE is an absent side; an action T is a trade beside the book; as from their CSV."""
    folder = tmp_path_factory.mktemp("dbn")
    for side in ("bid", "ask"):  # a size is written even where the price is none
        records["flags"] &= ~np.uint32(flag.FLAG_NAMES[f"no_{side}_quantity"])
        sizes = records[f"{side}_quantity_int"]
        records[f"{side}_quantity_int"] = sizes % 10**6 // 1000 * 1000
        there = (records["flags"] & flag.FLAG_NAMES[f"no_{side}"]) == 0
        records[f"{side}_int"] = np.where(there, records[f"{side}_int"] % 10**9 + 1, 0)
    if traded:
        gone = np.uint32(flag.NO_PRICE | flag.NO_QUANTITY | flag.QUOTE)
        rows = slice(0, None, 2)
        records["flags"][rows] = (records["flags"][rows] & ~gone) | flag.TRADE
        records["price_int"][rows], records["quantity_int"][rows] = 4_500_25, 3_000
        records["side"][rows] = -1
    path = dbn(folder / "m.dbn", records, TABLE, book=True, version=version)
    csv = databento(folder / "m.csv", records, TABLE, book=True)

    report = import_ticks(path, folder / "rec")
    import_ticks(csv, folder / "csv")

    same(records, folder / "rec", TABLE)
    assert "mbp-1" == report.files[0]["layout"]
    ids = [load_manifest(folder / name).recording_id for name in ("rec", "csv")]
    assert ids[0] == ids[1]


def _trades(*changes: dict[str, int], count: int = 2) -> Any:
    records = np.zeros(count, TABLE.tick_dtype)
    records["stream"] = records["offset"] = records["trade_id"] = -1
    records["instrument_token"] = ONE
    records["price_int"], records["quantity_int"], records["side"] = 10_050, 3_000, 1
    records["ts_recv"] = EARLY + np.arange(count)
    records["ts_event"] = records["ts_recv"] - 5
    book = flag.NO_BID | flag.NO_ASK | flag.NO_BID_QUANTITY | flag.NO_ASK_QUANTITY
    records["flags"] = flag.TRADE | flag.NO_TRADE_ID | book
    for row, change in enumerate(changes):
        for name, value in change.items():
            records[name][row] = value
    return records


def _patched(path: Path, at: int, data: bytes) -> Path:
    """Write bytes into the second record of a file of two trades, at a place in it."""
    whole = bytearray(path.read_bytes())
    begin = len(whole) - 48 + at
    whole[begin : begin + len(data)] = data
    path.write_bytes(bytes(whole))
    return path


@pytest.mark.parametrize(
    ("at", "data", "words"),
    [
        (28, b"A", "row 2: action: expected T, was 'A'"),
        (29, b"X", "row 2: side: expected B, A or N, was 'X'"),
        (16, (2**63 - 1).to_bytes(8, "little"), "row 2: price: expected a price, was ''"),
        (16, (-5).to_bytes(8, "little", signed=True), "row 2: price: expected a price above zero"),
        (8, (2**63).to_bytes(8, "little"), "row 2: ts_event: expected a time up to 2262"),
        (32, (2**63).to_bytes(8, "little"), "row 2: ts_recv: expected a time up to 2262"),
        (32, (EARLY - 9).to_bytes(8, "little"), "row 2: ts_recv: expected rows in ts_recv"),
        (4, (77).to_bytes(4, "little"),
         "row 2: symbol (column instrument_id): expected one symbol for it on 2023-11-14, the "
         "header has no symbol, was 77"),
        (1, b"\x16", "row 2: rtype: expected records of type 0 with 48 bytes"),
        (0, b"\x0e", "row 2: rtype: expected records of type 0 with 48 bytes"),
    ],
)  # fmt: skip
def test_wrong_records_are_refused_by_name(
    at: int, data: bytes, words: str, tmp_path: Path
) -> None:
    """File, row, column and value are named, and nothing is left behind."""
    path = _patched(dbn(tmp_path / "t.dbn", _trades(), TABLE), at, data)

    with pytest.raises(InputRefused) as refused:
        import_ticks(path, tmp_path / "rec")

    assert f"{path}: {words}" in str(refused.value)
    assert refused.value.cure
    assert ["t.dbn"] == [p.name for p in tmp_path.iterdir()]


def test_a_row_without_any_time_is_refused_as_that(tmp_path: Path) -> None:
    """Not as one whose symbol has no day."""
    path = dbn(tmp_path / "t.dbn", _trades(), TABLE)
    for at in (8, 32):
        _patched(path, at, b"\xff" * 8)

    with pytest.raises(InputRefused, match="row 2: ts_event: expected a time, was ''"):
        import_ticks(path, tmp_path / "rec")


def test_the_lowest_price_of_64_bits_has_too_many_digits(tmp_path: Path) -> None:
    """Its magnitude is no integer of 64 bits, and of a future it may be below zero."""
    lowest = (-(2**63)).to_bytes(8, "little", signed=True)
    path = _patched(dbn(tmp_path / "t.dbn", _trades(), TABLE), 16, lowest)
    fine = Instrument(token=ONE, symbol="BTCUSDT", kind="future", price_scale=9)

    with pytest.raises(InputRefused, match="row 2: price: expected at most 18 digits at scale 9"):
        import_ticks(path, tmp_path / "rec", instrument_table=InstrumentTable([fine]))


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    """A file cut in its header, at any byte of a record, or in its packing is refused."""
    whole = dbn(tmp_path / "t.dbn", _trades(), TABLE).read_bytes()
    header = len(whole) - 96
    for size in (*range(1, 30), *range(30, header, 7), *range(header + 1, len(whole), 5)):
        if size == header + 48:
            continue
        (tmp_path / "cut.dbn").write_bytes(whole[:size])
        words = "header is cut after" if 3 <= size < 26 else None
        with pytest.raises(InputRefused, match=words):
            import_ticks(tmp_path / "cut.dbn", tmp_path / "rec", format="databento")
        assert not (tmp_path / "rec").exists()
    packed = dbn(tmp_path / "t.dbn.zst", _trades(count=5_000), TABLE)
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(InputRefused, match="whole"):
        import_ticks(packed, tmp_path / "rec")


def test_an_id_is_good_for_its_days_only(tmp_path: Path) -> None:
    """The same number is another symbol on another day, and both are ticks of their own."""
    records = _trades({}, {"ts_recv": LATE, "ts_event": LATE})
    path = dbn(tmp_path / "t.dbn", records, InstrumentTable([TABLE.by_token(ONE)]))
    body = path.read_bytes()[-96:]
    days = {"ESZ3": [(20231101, 20231115, 1000)], "ESH4": [(20231115, 20231231, 1000)]}
    path.write_bytes(dbn_header(days, schema=DBN_SCHEMAS["trades"]) + body)

    import_ticks(path, tmp_path / "rec")

    table = load_manifest(tmp_path / "rec").table
    found = read_back(tmp_path / "rec")["instrument_token"].tolist()
    assert ["ESZ3", "ESH4"] == [table.by_token(token).symbol for token in found]


def test_what_no_header_says_a_map_or_a_table_does(tmp_path: Path) -> None:
    """Two symbols for one id are refused; --map or a table of one instrument decides."""
    path = dbn(tmp_path / "t.dbn", _trades(), TABLE)
    body = path.read_bytes()[-96:]
    both = {"ESZ3": [(20231101, 20231130, 1000)], "ES.c.0": [(20231101, 20231130, 1000)]}
    path.write_bytes(dbn_header(both, schema=DBN_SCHEMAS["trades"]) + body)

    with pytest.raises(InputRefused, match=r"header has symbols ES\.c\.0, ESZ3") as refused:
        import_ticks(path, tmp_path / "rec")
    assert "--map symbol==" in refused.value.cure
    with pytest.raises(ConfigError, match="binary DBN has its columns already"):
        import_ticks(path, tmp_path / "rec", map="price=px")
    import_ticks(path, tmp_path / "mapped", map="symbol==ESZ3,venue==cme")
    path.write_bytes(dbn_header({}, schema=DBN_SCHEMAS["trades"]) + body)
    one = InstrumentTable([TABLE.by_token(TWO)])
    import_ticks(path, tmp_path / "given", instrument_table=one)

    (mapped,) = load_manifest(tmp_path / "mapped").table
    assert ("ESZ3", "cme", 1) == (mapped.symbol, mapped.venue, mapped.price_scale)
    assert [TWO, TWO] == read_back(tmp_path / "given")["instrument_token"].tolist()


def test_a_price_finer_than_the_table_is_refused_never_rounded(tmp_path: Path) -> None:
    """The decimal that the file means is shown, with the row and both names of the column."""
    path = dbn(tmp_path / "t.dbn", _trades({}, {"price_int": 10_055}), TABLE)
    coarse = InstrumentTable([TABLE.by_token(TWO), TABLE.by_token(ONE).__class__(
        token=ONE, symbol="BTCUSDT", price_scale=1)])  # fmt: skip

    with pytest.raises(InputRefused, match=r"row 2: price: more decimals .* was '100\.5500'"):
        import_ticks(path, tmp_path / "rec", instrument_table=coarse)


def test_what_the_vendor_marks_is_told(tmp_path: Path) -> None:
    """Flags that say an arrival time or the book may be wrong are counted, ticks kept."""
    path = _patched(dbn(tmp_path / "t.dbn", _trades(), TABLE), 30, bytes([128 | 8 | 4]))

    report = import_ticks(path, tmp_path / "rec")

    assert 2 == report.ticks
    assert any("F_BAD_TS_RECV): 1 rows" in line for line in report.warnings)
    assert any("F_MAYBE_BAD_BOOK): 1 rows" in line for line in report.warnings)


@pytest.mark.parametrize(
    ("version", "schema", "words"),
    [
        (3, "ohlcv-1m", "ohlcv-1m: these are bars, and bars are not ticks"),
        (3, "mbo", "schema mbo is not imported"),
        (2, "mbp-10", "schema mbp-10 is not imported"),
    ],
)
def test_other_schemas_are_refused_by_name(
    version: int, schema: str, words: str, tmp_path: Path
) -> None:
    """What holds no trades and no top of the book says what it is."""
    path = tmp_path / "t.dbn"
    path.write_bytes(dbn_header({}, schema=DBN_SCHEMAS[schema], version=version))

    with pytest.raises(InputRefused, match=words):
        import_ticks(path, tmp_path / "rec")


def test_later_versions_and_live_sessions_say_what_to_do(tmp_path: Path) -> None:
    """A version that is not read, and records of several kinds, are refused with the way to CSV."""
    path = tmp_path / "t.dbn"
    path.write_bytes(b"DBN\x04" + bytes(200))
    with pytest.raises(InputRefused, match=r"DBN version 4 .*--csv"):
        import_ticks(path, tmp_path / "rec")
    path.write_bytes(dbn_header({}, schema=0xFFFF))
    with pytest.raises(InputRefused, match=r"live session.*--csv"):
        import_ticks(path, tmp_path / "rec")
    path.write_bytes(dbn_header({}, schema=DBN_SCHEMAS["trades"]))
    with pytest.raises(InputRefused, match="no ticks in there"):
        import_ticks(path, tmp_path / "rec")


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_blocks_change_nothing(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many records are read at a time, the recording is the same; so memory is bounded."""
    path = dbn(tmp_path / "t.dbn", _trades(count=40), TABLE)
    import_ticks(path, tmp_path / "whole")
    monkeypatch.setattr(dbn_module, "BATCH_ROWS", rows)

    import_ticks(path, tmp_path / "cut")

    ids = [load_manifest(tmp_path / name).recording_id for name in ("whole", "cut")]
    assert ids[0] == ids[1]


def test_a_folder_takes_dbn_files_in_name_order(tmp_path: Path) -> None:
    """Days beside each other become one recording."""
    folder = tmp_path / "days"
    folder.mkdir()
    for name in ("manifest", "metadata", "condition", "symbology"):  # as a batch download has it
        (folder / f"{name}.json").write_text("{}")
    dbn(folder / "b.dbn", _trades({"ts_recv": LATE}, {"ts_recv": LATE + 1}), TABLE)
    dbn(folder / "a.dbn.zst", _trades(), TABLE)

    report = import_ticks(folder, tmp_path / "rec")

    assert ["a.dbn.zst", "b.dbn"] == [Path(f["path"]).name for f in report.files]
    assert 4 == report.ticks


def test_a_mapped_token_is_held_to_the_symbol_of_the_map(tmp_path: Path) -> None:
    """Another symbol under a token that the recording has is refused, as in any format."""
    one = dbn(tmp_path / "a.dbn", _trades(), TABLE)
    late = _trades()
    late["ts_recv"] += LATE - EARLY
    late["ts_event"] += LATE - EARLY
    two = dbn(tmp_path / "b.dbn", late, TABLE)
    import_ticks(one, tmp_path / "rec", map="instrument_token==7,symbol==A")

    with pytest.raises(InputRefused, match=r"expected 'A', as token 7 is in .*'B'"):
        import_ticks(two, tmp_path / "rec", map="instrument_token==7,symbol==B", append=True)

    import_ticks(two, tmp_path / "rec", map="instrument_token==7", append=True)
    assert 4 == load_manifest(tmp_path / "rec").last_seq
