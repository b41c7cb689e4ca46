"""Appending: new instruments where the parts can take them, and nothing read twice for nothing."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vendor_files import TARDIS_TRADES, write_rows

from parity.model.errors import ConfigError, InputRefused, RecordingCorrupt
from parity.model.extensions import Extension
from parity.model.instruments import Instrument, InstrumentTable
from parity.recording import reader, resume
from parity.recording.manifest import load_manifest
from parity.recording.reader import Recording, open_recording
from parity.sources.importers import import_ticks

START_US = 1_700_000_000_000_000


def _tardis(
    path: Path, first: int, count: int, *, exchange: str = "bitmex", symbol: str = "XBTUSD",
    price: str = "100.5", amount: str = "3",
) -> Path:  # fmt: skip
    rows = [
        [exchange, symbol, START_US + n, START_US + n + 9, n, "buy", price, amount]
        for n in range(first, first + count)
    ]
    return write_rows(path, TARDIS_TRADES, rows)


def _rows(folder: Path) -> list[tuple[Any, ...]]:
    recording = open_recording(folder)
    names = ("seq", "ts_event", "instrument_token", "price_int", "quantity_int", "flags")
    return [
        row
        for batch in recording.batches()
        for row in zip(*(batch.ticks.column(n).tolist() for n in names), strict=True)
    ]


def test_a_new_instrument_is_appended_as_if_it_had_come_at_once(tmp_path: Path) -> None:
    """The table grows, the parts that are there stay, and ticks are those of one import."""
    a = _tardis(tmp_path / "a.csv", 0, 5)
    b = _tardis(tmp_path / "b.csv", 50, 5, symbol="ETHUSD", price="7")
    import_ticks([a, b], tmp_path / "whole")
    import_ticks(a, tmp_path / "rec")
    before = load_manifest(tmp_path / "rec")

    report = import_ticks(b, tmp_path / "rec", append=True)

    after = load_manifest(tmp_path / "rec")
    assert {"XBTUSD", "ETHUSD"} == {i["symbol"] for i in report.instruments}
    assert before.parts == after.parts[:1]
    assert before.scales == after.scales
    # The coarse one keeps its own scale; together its prices have no more decimals either.
    assert _rows(tmp_path / "whole") == _rows(tmp_path / "rec")
    assert load_manifest(tmp_path / "whole").table == after.table
    open_recording(tmp_path / "rec").check_files(always=True)


def test_the_symbol_of_another_venue_is_another_instrument(tmp_path: Path) -> None:
    """BTCUSDT of the perpetuals never falls among the ticks of spot's BTCUSDT."""
    spot = tmp_path / "BTCUSDT-trades-2025-06-01.csv"
    spot.write_text("1,1.5,2,3,1748736000000000,True,True\n")
    perp = tmp_path / "BTCUSDT-trades-2025-06-02.csv"
    perp.write_text("id,price,qty,quote_qty,time,is_buyer_maker\n1,1.5,2,3,1748822400000,true\n")
    import_ticks(spot, tmp_path / "rec", format="binance-spot")

    import_ticks(perp, tmp_path / "rec", format="binance-um", append=True)

    table = load_manifest(tmp_path / "rec").table
    assert {"BINANCE-SPOT", "BINANCE-USDM"} == {i.venue for i in table}
    tokens = [row[2] for row in _rows(tmp_path / "rec")]
    assert ["BINANCE-SPOT", "BINANCE-USDM"] == [table.by_token(t).venue for t in tokens]


def test_a_file_of_two_venues_needs_a_table_that_tells_them_apart(tmp_path: Path) -> None:
    """One symbol at two exchanges: by venue, or refused by its row, never lumped together."""
    a = _tardis(tmp_path / "a.csv", 0, 1, exchange="x", symbol="BTCUSDT")
    b = _tardis(tmp_path / "b.csv", 1, 1, exchange="y", symbol="BTCUSDT")

    def table(*venues: str) -> InstrumentTable:
        return InstrumentTable(
            Instrument(token=n, symbol="BTCUSDT", venue=venue, price_scale=2)
            for n, venue in enumerate(venues, start=1)
        )

    import_ticks([a, b], tmp_path / "rec", instrument_table=table("x", "y"))
    assert [1, 2] == [row[2] for row in _rows(tmp_path / "rec")]
    with pytest.raises(InputRefused, match=r"a\.csv: row 1: symbol: .* not 2 times") as refused:
        import_ticks([a, b], tmp_path / "other", instrument_table=table("p", "q"))
    assert "venue 'x'" in refused.value.cure


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"price": "7.25"}, "has 2 decimals of price, .* keeps 1"),
        ({"amount": "0.5"}, "has 1 decimals of quantity, .* keeps 0"),
    ],
)
def test_an_instrument_finer_than_the_parts_is_refused_with_the_cure(
    more: dict[str, str], words: str, tmp_path: Path
) -> None:
    """The recording's decimals are those of its largest scale; nothing is rewritten or rounded."""
    import_ticks(_tardis(tmp_path / "a.csv", 0, 5), tmp_path / "rec")
    fine = _tardis(tmp_path / "b.csv", 50, 5, symbol="ETHUSD", **more)  # type: ignore[arg-type]  # texts
    before = load_manifest(tmp_path / "rec")

    with pytest.raises(InputRefused, match=words) as refused:
        import_ticks(fine, tmp_path / "rec", append=True)

    assert "import all files anew" in refused.value.cure
    assert before == load_manifest(tmp_path / "rec")


def test_a_table_may_add_instruments_and_change_none(tmp_path: Path) -> None:
    """`--instrument-table` with --append says what new ones are."""
    import_ticks(_tardis(tmp_path / "a.csv", 0, 5), tmp_path / "rec")
    (known,) = load_manifest(tmp_path / "rec").table
    later = _tardis(tmp_path / "b.csv", 50, 5, symbol="ETHUSD", price="7")
    new = Instrument(token=7, symbol="ETHUSD", venue="bitmex", kind="inverse", price_scale=1)
    other = Instrument(token=known.token, symbol="XBTUSD", price_scale=0)

    with pytest.raises(ConfigError, match="otherwise, and it stays as it is"):
        import_ticks(
            later, tmp_path / "rec", append=True, instrument_table=InstrumentTable([other])
        )
    import_ticks(later, tmp_path / "rec", append=True, instrument_table=InstrumentTable([new]))

    assert [new, known] == list(load_manifest(tmp_path / "rec").table)


def test_event_time_takes_no_feed_without_it(tmp_path: Path) -> None:
    """In ts_event order a new instrument that never has venue time has no place."""
    columns = "price=px,quantity=qty,instrument_token=t"
    (tmp_path / "a.csv").write_text("at,px,qty,t\n1748856900000000000,1,1,7\n")
    (tmp_path / "b.csv").write_text("at,px,qty,t\n1748856900000000009,1,1,8\n")
    import_ticks(tmp_path / "a.csv", tmp_path / "rec", map=f"ts_event=at,{columns}")

    with pytest.raises(InputRefused, match=r"8 lacks venue times, .* has them"):
        import_ticks(tmp_path / "b.csv", tmp_path / "rec", map=f"ts_recv=at,{columns}", append=True)


# -- what need not be read again


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which recordings are hashed or read."""
    seen: list[str] = []
    hashed, batches = Recording.check_files, Recording.batches

    def check_files(self: Recording, **more: Any) -> None:
        seen.append("hashed")
        hashed(self, **more)

    def read(self: Recording, **more: Any) -> Any:
        seen.append("read")
        return batches(self, **more)

    monkeypatch.setattr(reader.Recording, "check_files", check_files)
    monkeypatch.setattr(reader.Recording, "batches", read)
    return seen


def test_parts_that_look_the_same_are_not_read(tmp_path: Path, reads: list[str]) -> None:
    """Duplicates and late ticks are judged all the same, over any number of appends."""
    a, b = _tardis(tmp_path / "a.csv", 0, 9), _tardis(tmp_path / "b.csv", 20, 9)
    c = _tardis(tmp_path / "c.csv", 40, 3)
    text = c.read_text().replace(f",{40},buy", ",5,buy").replace(f",{41},buy", ",21,buy")
    c.write_text(text)  # two ids that were there before, one in each of the others
    import_ticks(a, tmp_path / "rec")

    import_ticks(b, tmp_path / "rec", append=True)
    report = import_ticks(c, tmp_path / "rec", append=True)

    assert [] == reads
    assert any("flagged duplicate: 2 (c.csv row 1, 2)" in line for line in report.warnings)
    import_ticks([a, b, c], tmp_path / "whole")
    assert _rows(tmp_path / "whole") == _rows(tmp_path / "rec")


@pytest.mark.parametrize("change", ["touched", "gone", "damaged", "of another"])
def test_what_looks_otherwise_is_hashed_and_read(
    change: str, tmp_path: Path, reads: list[str]
) -> None:
    """A touched part, and a state that is missing, damaged or of another recording."""
    import_ticks(_tardis(tmp_path / "a.csv", 0, 9), tmp_path / "rec")
    state, (part,) = tmp_path / "rec" / resume.FILE, (tmp_path / "rec" / "ticks").iterdir()
    if change == "touched":
        os.utime(part, ns=(1, 1))
    elif change == "gone":
        state.unlink()
    elif change == "damaged":
        whole = bytearray(state.read_bytes())
        whole[len(whole) // 2] ^= 1
        state.write_bytes(whole)
    else:
        import_ticks(_tardis(tmp_path / "o.csv", 0, 4), tmp_path / "other")
        state.write_bytes((tmp_path / "other" / resume.FILE).read_bytes())

    import_ticks(_tardis(tmp_path / "b.csv", 20, 9), tmp_path / "rec", append=True)

    assert ["hashed", "read"] == reads
    assert 18 == len(_rows(tmp_path / "rec"))


def test_a_changed_part_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """An edit changes how the file looks, so that its hash is asked."""
    import_ticks(_tardis(tmp_path / "a.csv", 0, 9), tmp_path / "rec")
    (part,) = (tmp_path / "rec" / "ticks").iterdir()
    data = bytearray(part.read_bytes())
    data[40] ^= 1
    part.write_bytes(data)

    with pytest.raises(RecordingCorrupt, match="sha256"):
        import_ticks(_tardis(tmp_path / "b.csv", 20, 9), tmp_path / "rec", append=True)

    assert [part] == list((tmp_path / "rec" / "ticks").iterdir())


# -- as if all had come at once


def _ticks(
    path: Path, *rows: str, header: str = "ts_event,instrument_token,price,quantity"
) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


NAMES = st.tuples(st.sampled_from(["X", "Y", "x", ""]), st.sampled_from(["AB", "ab", "CD"]))


@settings(max_examples=max(40, settings().max_examples // 8))
@given(names=st.lists(NAMES, min_size=2, max_size=3))
@example(names=[("X", "AB"), ("", "AB")])
@example(names=[("X", "AB"), ("X", "ab")])
def test_names_mean_the_same_instruments_however_files_come(
    names: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Law: files of any venues and symbols, appended or imported together."""
    folder = tmp_path_factory.mktemp("names")
    header = "ts_event,venue,symbol,price,quantity"
    files = [
        _ticks(folder / f"{n}.csv", f"{START_US + n},{venue},{symbol},1,1", header=header)
        for n, (venue, symbol) in enumerate(names)
    ]
    import_ticks(files, folder / "whole")
    import_ticks(files[0], folder / "rec")
    for file in files[1:]:
        import_ticks(file, folder / "rec", append=True)

    assert _rows(folder / "whole") == _rows(folder / "rec")
    assert load_manifest(folder / "whole").table == load_manifest(folder / "rec").table


def test_an_instrument_that_a_table_named_stays_the_files_own(tmp_path: Path) -> None:
    """What a table calls otherwise, without a venue say, is found again by its symbol."""
    one = InstrumentTable([Instrument(token=7, symbol="xbtusd", price_scale=1)])
    import_ticks(_tardis(tmp_path / "a.csv", 0, 2), tmp_path / "rec", instrument_table=one)

    import_ticks(_tardis(tmp_path / "b.csv", 50, 2), tmp_path / "rec", append=True)

    assert [7] * 4 == [row[2] for row in _rows(tmp_path / "rec")]


def test_a_calendar_that_is_not_known_is_refused_before_anything(tmp_path: Path) -> None:
    """With --append, too, and whether or not a file has the instrument."""
    import_ticks(_tardis(tmp_path / "a.csv", 0, 2), tmp_path / "rec")
    before = load_manifest(tmp_path / "rec")
    table = InstrumentTable([Instrument(token=7, symbol="ETHUSD", price_scale=1, calendar="MARS")])

    with pytest.raises(ConfigError, match=r"instrument 7 \(ETHUSD\): .*MARS"):
        import_ticks(
            _tardis(tmp_path / "b.csv", 50, 2), tmp_path / "rec", append=True,
            instrument_table=table,
        )  # fmt: skip

    assert before == load_manifest(tmp_path / "rec")


CONDITION = Extension("condition", "text", ("a",))


def test_columns_of_the_recording_go_on_with_more_words(tmp_path: Path) -> None:
    """A word that comes later, in the files or the table, is kept as if it had come at once."""
    header = "ts_event,instrument_token,price,quantity,condition"
    one = Instrument(token=7, symbol="A", price_scale=0)
    a = _ticks(tmp_path / "a.csv", f"{START_US},7,1,1,a", header=header)
    b = _ticks(tmp_path / "b.csv", f"{START_US + 1},7,1,1,c", header=header)
    wider = Extension("condition", "text", ("a", "b"))
    import_ticks(a, tmp_path / "rec", instrument_table=InstrumentTable([one], [CONDITION]))

    import_ticks(b, tmp_path / "rec", append=True, instrument_table=InstrumentTable([one], [wider]))

    recording = open_recording(tmp_path / "rec")
    assert ("a", "b", "c") == recording.table.extensions[0].words
    said = recording.sql("SELECT condition FROM ticks ORDER BY seq").fetchall()
    assert [("a",), ("c",)] == said


@pytest.mark.parametrize(
    ("extension", "words"),
    [
        (Extension("lots", "quantity"), "has no column lots, the --instrument-table"),
        (Extension("condition", "integer"), "condition is text .* integer"),
    ],
)
def test_a_column_that_the_recording_lacks_is_refused(
    extension: Extension, words: str, tmp_path: Path
) -> None:
    """Its parts have no such column, and one that would be left out silently is no help."""
    one = Instrument(token=7, symbol="A", price_scale=0)
    header = "ts_event,instrument_token,price,quantity,condition,lots"
    a = _ticks(tmp_path / "a.csv", f"{START_US},7,1,1,a,5", header=header)
    b = _ticks(tmp_path / "b.csv", f"{START_US + 1},7,1,1,a,5", header=header)
    import_ticks(a, tmp_path / "rec", instrument_table=InstrumentTable([one], [CONDITION]))

    with pytest.raises(InputRefused, match=words):
        import_ticks(
            b, tmp_path / "rec", append=True, instrument_table=InstrumentTable([one], [extension])
        )


def test_a_token_that_no_table_has_is_refused_by_file_and_row(tmp_path: Path) -> None:
    """An append with a table takes its instruments only, and says where another stands."""
    import_ticks(_ticks(tmp_path / "a.csv", f"{START_US},7,1,1"), tmp_path / "rec")
    b = _ticks(tmp_path / "b.csv", f"{START_US + 1},8,1,1", f"{START_US + 2},9,1,1")
    table = InstrumentTable([Instrument(token=8, symbol="8", price_scale=0)])

    with pytest.raises(InputRefused, match=r"b\.csv: row 2: instrument_token: .* was 9"):
        import_ticks(b, tmp_path / "rec", append=True, instrument_table=table)


@pytest.mark.parametrize("clocks", [("venue", "recv"), ("recv", "recv"), ("venue", "venue")])
def test_venue_times_are_those_of_the_ticks_not_of_the_table(
    clocks: tuple[str, str], tmp_path: Path
) -> None:
    """Whatever clocks a table declares: ticks with venue times follow such, others do not."""
    table = InstrumentTable(
        Instrument(token=n, symbol=str(n), price_scale=0, clock=clock)
        for n, clock in enumerate(clocks, start=7)
    )
    rows = [f"{START_US},7,1,1", f"{START_US + 1},8,1,1"]
    import_ticks(_ticks(tmp_path / "a.csv", *rows), tmp_path / "rec", instrument_table=table)
    header = "ts_recv,instrument_token,price,quantity"
    without = _ticks(tmp_path / "w.csv", f"{START_US + 2},8,1,1", header=header)

    import_ticks(_ticks(tmp_path / "b.csv", f"{START_US + 2},8,1,1"), tmp_path / "rec", append=True)

    assert 3 == len(_rows(tmp_path / "rec"))
    with pytest.raises(InputRefused, match=r"8 lacks venue times, .* has them"):
        import_ticks(without, tmp_path / "rec", append=True)
