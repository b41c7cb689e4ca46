"""The fast pass over several instruments and absent values: what the reader of texts gives."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from readers import by_every_way, the_one

from parity.model.instruments import Instrument, InstrumentTable
from parity.sources.importers import import_ticks, naming, plain
from parity.sources.importers.texts import TextTickFile

START = 1_748_736_000_000_000
VALUE = st.from_regex(r"[0-9]{1,7}(\.[0-9]{0,5})?", fullmatch=True)
CELL = st.one_of(VALUE, VALUE, VALUE, st.just(""), st.sampled_from(["0", "-1.5", '"1"', "x", "-"]))
SYMBOL = st.sampled_from(["A", "A", "B", "B", "CC", "a", "", "B ", '"A"', "ABCDEFGHIJKLMNOPQ", "é"])
PLAIN_SYMBOL = st.sampled_from(["A", "B", "CC", "a", "é"])


TABLE = InstrumentTable(
    [
        Instrument(token=7, symbol="A", price_scale=2, quantity_scale=5),
        Instrument(token=9, symbol="B", price_scale=5, quantity_scale=0),
        Instrument(token=11, symbol="CC", price_scale=5, quantity_scale=5, kind="future"),
    ]
)


@pytest.mark.slow
@settings(max_examples=max(120, settings().max_examples // 8))  # each is four imports
@given(
    rows=st.lists(
        st.tuples(st.one_of(PLAIN_SYMBOL, PLAIN_SYMBOL, SYMBOL), VALUE, VALUE, st.integers(0, 2)),
        min_size=1,
        max_size=14,
    ),
    table=st.sampled_from([None, None, TABLE]),
    most=st.sampled_from([2, 64]),
    venue=st.booleans(),
    header_first=st.booleans(),
)
@example(
    [("A", "1.25", "1", 0), ("B", "1.255", "2", 0), ("A", "3.5", "1", 1)], None, 64, True, True
)
@example([("A", "1.255", "1", 0), ("B", "1.255", "2", 0)], TABLE, 64, False, True)
@example([("A", "1", "1", 0), ("A", "1", "1", 0), ("A", "1", "0", 0)], None, 2, False, False)
@example([("a", "1.2", "1", 0), ("A", "1.255", "2", 0), ("B", "1", "1", 0)], TABLE, 64, False, True)
def test_several_instruments_are_read_as_the_texts_read_them(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str, int]],
    table: InstrumentTable | None,
    most: int,
    venue: bool,
    header_first: bool,
) -> None:
    """Law: the same recording or refusal; scales are each instrument's own, many names or few."""
    folder = tmp_path_factory.mktemp("several")
    venues = ("X", "Y") if venue else ("X", "X")
    time, lines = START, []
    for symbol, price, quantity, step in rows:
        time += step
        cells = [f"{time}", symbol, venues[time % 2], price, quantity]
        lines.append(",".join(cells if header_first else reversed(cells)))
    header = ["ts_event", "symbol", "venue", "price", "quantity"]
    path = folder / "ticks.csv"
    path.write_text(
        "\n".join([",".join(header if header_first else reversed(header)), *lines]) + "\n"
    )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(naming, "WORDS_MAX", most)
        the_one(by_every_way(path, folder, instrument_table=table))


def test_gaps_of_several_instruments_are_listed_by_their_rows(tmp_path: Path) -> None:
    """Missing ids are warned of in the order of the rows, whatever the batches were."""
    ids = [("A", 1), ("B", 1), ("B", 3), ("A", 4), ("B", 9), ("A", 9), ("A", 10), ("B", 12)]
    lines = [f"{START + n},{one},binance,{n + 1}.5,1,{id_}" for n, (one, id_) in enumerate(ids)]
    path = tmp_path / "ticks.csv"
    path.write_text("\n".join(["ts_event,symbol,venue,price,quantity,trade_id", *lines]) + "\n")

    found = the_one(by_every_way(path, tmp_path))

    gaps = "missing trade ids, gaps before: 14 (ticks.csv row 3, 4, 5, 6, 8)"
    assert [gaps] == found["kept"]


@pytest.mark.parametrize("symbols", ["A", "AB"])
@pytest.mark.parametrize("digits", [12, 13, 14, 16])
def test_digits_that_the_recording_has_no_room_for(
    tmp_path: Path, symbols: str, digits: int
) -> None:
    """Another instrument's finer scale takes digits away; the refusal names file and row."""
    path = tmp_path / "ticks.csv"
    lines = [f"{START + n},{one},1.5,1" for n, one in enumerate(symbols)]
    lines.append(f"{START + 9},A,{'9' * digits}.5,1")
    path.write_text("\n".join(["ts_event,symbol,price,quantity", *lines]) + "\n")

    found = the_one(by_every_way(path, tmp_path, instrument_table=TABLE))

    refused = found.get("refused", "")
    assert (digits > 13) == (f"row {len(lines)}: price" in refused)


@settings(max_examples=max(60, settings().max_examples // 8))  # each is four imports
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["7", "9", "07", "9.0", "8", "x"]), PLAIN_SYMBOL, VALUE),
        min_size=1,
        max_size=8,
    ),
    table=st.sampled_from([None, TABLE]),
)
@example([("7", "A", "1"), ("9", "B", "1"), ("07", "B", "1.5"), ("7", "A", "1")], None)
@example([("8", "A", "1"), ("8", "A", "1")], TABLE)
@example([("7", "A", "1"), ("8", "A", "1")], TABLE)
def test_tokens_and_symbols_side_by_side(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    table: InstrumentTable | None,
) -> None:
    """Law: a token is an integer however written, in the table, and bears its first symbol."""
    folder = tmp_path_factory.mktemp("tokens")
    lines = [f"{START + n},{token},{s},{price},1" for n, (token, s, price) in enumerate(rows)]
    path = folder / "ticks.csv"
    path.write_text("\n".join(["ts_event,instrument_token,symbol,price,quantity", *lines]) + "\n")

    the_one(by_every_way(path, folder, instrument_table=table))


@pytest.mark.slow
@settings(max_examples=max(120, settings().max_examples // 8))  # each is four imports
@given(
    rows=st.lists(st.tuples(PLAIN_SYMBOL, CELL, CELL, CELL, CELL), min_size=1, max_size=9),
    one=st.booleans(),
    layout=st.sampled_from(["quotes", "both", "tardis"]),
)
@example([("A", "", "2", "", "3"), ("B", "1.5", "1", "2.25", "1")], False, "tardis")
@example([("A", "", "", "", ""), ("A", "1", "1", "2", "1")], True, "tardis")
@example([("A", "1", "1", "2", "1"), ("A", "", "", "", "")], True, "quotes")
def test_absent_values_are_read_as_the_texts_read_them(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str, str, str]],
    one: bool,
    layout: str,
) -> None:
    """Law: an empty cell is a value that is not there; a row that then says nothing is refused."""
    folder = tmp_path_factory.mktemp("absent")
    header = {
        "quotes": "exchange,symbol,ts_event,ts_recv,ask_quantity,ask,bid,bid_quantity",
        "both": "exchange,symbol,ts_event,ts_recv,price,quantity,bid,ask",
        "tardis": "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,"
        "bid_amount",
    }[layout]
    lines = [
        f"X,{'A' if one else symbol},{START + n},{START + n + n % 2},{','.join(values)}"
        for n, (symbol, *values) in enumerate(rows)
    ]
    path = folder / "X_quotes_2025-06-01.csv"
    path.write_text("\n".join([header, *lines]) + "\n")

    the_one(by_every_way(path, folder))


@pytest.mark.parametrize(
    ("header", "lines"),
    [
        (
            "ts_event,symbol,price,quantity",
            [f"{START + n},S{n % 40},{n + 1}.{n % 7},1" for n in range(400)],
        ),
        (
            "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount",
            [f"X,{'AB'[n % 2]},{START + n},{START + n},1,2.5,,{n % 3 or ''}" for n in range(1, 9)],
        ),
    ],
    ids=["several", "tardis quotes"],
)
@pytest.mark.parametrize("block", [200, 1 << 21])
def test_they_go_the_fast_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str, lines: list[str], block: int
) -> None:
    """The reader of texts is asked for no row, also where names come up later."""
    path = tmp_path / "X_quotes_2025-06-01.csv"
    path.write_text("\n".join([header, *lines]) + "\n")

    def never(*_: Any) -> Any:
        raise AssertionError("read as texts")

    monkeypatch.setattr(TextTickFile, "batches", never)
    monkeypatch.setattr(TextTickFile, "survey", never)
    monkeypatch.setattr(plain, "PLAIN_BYTES_MIN", 0)
    monkeypatch.setattr(plain, "BLOCK_BYTES", block)

    assert len(lines) == import_ticks(path, tmp_path / "rec").ticks
