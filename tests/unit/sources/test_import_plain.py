"""The fast pass over plain numbers: it gives what the reader of texts gives, or leaves it."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from readers import by_every_way, outcome, the_one

from parity.model.errors import InputRefused
from parity.model.instruments import Instrument, InstrumentTable
from parity.recording.reader import open_recording
from parity.sources.importers import import_ticks, plain
from parity.sources.importers.plain import PlainTickFile

START = 1_748_736_000_000_000
PLAIN = st.from_regex(r"[0-9]{1,9}(\.[0-9]{0,9})?", fullmatch=True)
ODD = st.sampled_from(
    ["", "-1", "+1", "1e2", '"1.5"', " 2", "nan", ".5", "0", "1.2.3", "12345678901234567890", "x"]
)


@pytest.fixture(autouse=True)
def everything_is_big(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the fast pass take files of any size."""
    monkeypatch.setattr(plain, "PLAIN_BYTES_MIN", 0)


@pytest.mark.slow
@settings(max_examples=max(120, settings().max_examples // 8))  # each is four imports
@given(
    rows=st.lists(
        st.tuples(
            st.one_of(PLAIN, PLAIN, PLAIN, ODD),
            st.one_of(PLAIN, PLAIN, PLAIN, ODD),
            st.sampled_from(["True", "false", "TRUE", "true", "truE", "True", "trues", "1"]),
            st.sampled_from([0, 0, 0, 1, -1]),
        ),
        min_size=1,
        max_size=12,
    ),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    header=st.booleans(),
)
@example(rows=[("1.50", "2", "True", 0)], end="\r\n", last=False, header=False)
def test_it_gives_what_the_texts_give(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str, int]],
    end: str,
    last: bool,
    header: bool,
) -> None:
    """Law: the same ticks, scales and warnings, or the same refusal, whatever stands in a cell."""
    folder = tmp_path_factory.mktemp("plain")
    lines = ["id,price,qty,quote_qty,time,is_buyer_maker"] if header else []
    lines += [
        f"{n},{price},{quantity},9.5,{(START + n) // (1000 if step > 0 else 1)},{maker}"
        for n, (price, quantity, maker, step) in enumerate(rows)
    ]
    path = folder / "BTCUSDT-trades-2025-06.csv"
    path.write_bytes((end.join(lines) + (end if last else "")).encode())

    the_one(by_every_way(path, folder, format="binance-um"))


LATE = {
    "finer": "40,41.255,0.5,9,{time},True,True",
    "quoted": '40,"41.25",0.5,9,{time},True,True',
    "refused": "40,oops,0.5,9,{time},True,True",
    "earlier": "40,41.25,0.5,9,1748735999999999,True,True",
    "another unit": "40,41.25,0.5,9,1748736000001,True,True",
    "like the start": "40,41.25,0.5,9,{time},True,True",
}


@pytest.mark.parametrize("packed", [False, True], ids=["csv", "zip"])
@pytest.mark.parametrize("row", LATE.values(), ids=LATE)
def test_a_file_that_is_not_like_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str, packed: bool
) -> None:
    """What a glance at the start misses is noticed, and all comes out as without a glance."""
    lines = [f"{n},{n + 1}.25,0.5,9,{START + n},True,True" for n in range(50)]
    lines[40] = row.format(time=START + 40)
    path = tmp_path / "BTCUSDT-trades-2025-06.csv"
    path.write_text("\n".join(lines) + "\n")
    if packed:
        with zipfile.ZipFile(tmp_path / "BTCUSDT-trades-2025-06.zip", "w") as file:
            file.write(path, path.name)
        path = tmp_path / "BTCUSDT-trades-2025-06.zip"
    whole = outcome(path, tmp_path / "whole")
    glances: list[Path] = []
    glance = PlainTickFile.glance

    def noted(self: PlainTickFile) -> Any:
        glances.append(self.path)
        return glance(self)

    monkeypatch.setattr(PlainTickFile, "glance", noted)
    monkeypatch.setattr(plain, "BLOCK_BYTES", 200)
    done: list[tuple[int, int | None, str]] = []

    again = outcome(path, tmp_path / "rec", progress=lambda *now: done.append(now))

    assert again == whole
    assert glances == [path]
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) in (["rec", "whole"], [])
    if "ticks" in whole:
        assert done[-1][:2] == (50, 50)


SIDE = st.sampled_from(["buy", "SELL", "Buy", "b", "-1", "", "sell", " buy", "bought", '"buy"'])
TIMES = st.integers(START, START + 3)
TARDIS = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"


@settings(max_examples=max(60, settings().max_examples // 8))  # each is four imports
@given(
    rows=st.lists(
        st.tuples(SIDE, st.sampled_from(["AB", "AB", "AB", "AB ", "ab", "CD", ""]), PLAIN, TIMES),
        min_size=1,
        max_size=9,
    ),
    same=st.booleans(),
    venue=st.sampled_from(["X", ""]),
    end=st.sampled_from(["\n", "\r\n"]),
)
@example(
    [("buy", "AB", "1.5", START), ("", "AB", "2", START), ("sell", "AB", "1", START)],
    True,
    "X",
    "\n",
)
@example([("", "AB", "1.5", START), ("buy", "AB", "2", START)], True, "", "\n")
@example([("", "", "1.5", START)], True, "X", "\r\n")
def test_sides_and_names_are_read_as_the_texts_read_them(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str, int]],
    same: bool,
    venue: str,
    end: str,
) -> None:
    """Law: words of sides in any case, the symbol of one instrument or of several, or none."""
    folder = tmp_path_factory.mktemp("words")
    lines = [
        f"{time},{venue},{side},{price},0.5,{rows[0][1] if same else symbol}"
        for side, symbol, price, time in rows
    ]
    path = folder / "ticks.csv"
    header = "ts_event,venue,side,price,quantity,symbol"
    path.write_bytes("".join(line + end for line in [header, *lines]).encode())

    the_one(by_every_way(path, folder))


ONE_OF_SCALES = InstrumentTable([Instrument(token=7, symbol="A", price_scale=2, quantity_scale=3)])


@pytest.mark.parametrize(
    ("lines", "more"),
    [
        (["1748736000000,1.5,7"], {"map": "ts_event=#1,price=#2,quantity=#2"}),
        (["1748736000000,1.5", "1748736000001,1.5,7"], {"map": "ts_event=#1,price=#2,quantity=#3"}),
        (["0001748736000,1.5,7"], {"map": "ts_event=#1,price=#2,quantity=#3"}),
        (["1748736000000,1.5,7"], {"map": "ts_event=#1,price=#2,quantity=#3,open_interest=#3"}),
        (["9223372036,1.5,7", "9223372037,1.5,7"], {"map": "ts_event=#1,price=#2,quantity=#3"}),
    ],
    ids=[
        "one column for two",
        "a short first row",
        "zeros before a time",
        "of two kinds",
        "beyond 2262",
    ],
)
def test_what_is_odd_is_read_as_the_texts_read_it(
    tmp_path: Path, lines: list[str], more: dict[str, str]
) -> None:
    """A file's ticks and refusals do not change with its size."""
    path = tmp_path / "ticks.csv"
    path.write_text("\n".join(lines) + "\n")

    the_one(by_every_way(path, tmp_path, instrument_table=ONE_OF_SCALES, **more))


@settings(max_examples=max(60, settings().max_examples // 8))  # each is four imports
@given(rows=st.lists(st.tuples(SIDE, TIMES, TIMES, PLAIN), min_size=1, max_size=9))
@example([("buy", START, START, "1"), ("unknown", START, START, "1")])
@example([("buy", START, START, "1"), ("unknown", START, START + 1, "1")])
@example([("buy", START // 1000, START, "1")])
def test_tardis_is_read_as_the_texts_read_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int, str]]
) -> None:
    """Law: two equal times say that the venue gave none; what is no microsecond is refused."""
    folder = tmp_path_factory.mktemp("tardis")
    lines = [
        f"binance-futures,BTCUSDT,{event},{recv},{n},{side},{price},0.5"
        for n, (side, event, recv, price) in enumerate(sorted(rows, key=lambda row: row[2]))
    ]
    path = folder / "binance-futures_trades_2025-06-01_BTCUSDT.csv"
    path.write_text("\n".join([TARDIS, *lines]) + "\n")

    the_one(by_every_way(path, folder))
    the_one(by_every_way(path, folder / "by_event", order="ts_event"))


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("ticks.csv", ["ts_event,symbol,side,price,quantity", f"{START},AB,Sell,1.5,2"]),
        ("ticks.csv", ["ts_event,side,price,quantity,symbol\r", f"{START},Sell,1.5,2,AB\r"]),
        ("trades.csv", [TARDIS, f"deribit,BTC-PERPETUAL,{START},{START},7,buy,1.5,2"]),
    ],
)
def test_sides_and_names_go_the_fast_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, lines: list[str]
) -> None:
    """The reader of texts is asked for no row of a file with words."""
    (tmp_path / name).write_text("\n".join(lines) + "\n")

    def never(*_: Any) -> Any:
        raise AssertionError("read as texts")

    monkeypatch.setattr("parity.sources.importers.texts.TextTickFile.batches", never)

    assert import_ticks(tmp_path / name, tmp_path / "rec").ticks == 1


def _outcome_of(paths: list[Path], to: Path, **more: Any) -> Any:
    try:
        import_ticks(paths[:1], to, **more)
        import_ticks(paths[1:], to, append=True)
    except InputRefused as error:
        return str(error).replace(to.name, "REC"), error.cure
    with open_recording(to) as recording:
        return recording.manifest.recording_id, recording.manifest.warnings


@settings(max_examples=max(15, settings().max_examples // 8))
@given(
    files=st.lists(
        st.lists(st.integers(0, 40), min_size=1, max_size=30).map(sorted), min_size=2, max_size=3
    ),
    block=st.sampled_from([60, 200, 1 << 20]),
    batch=st.integers(1, 9),
    follow=st.booleans(),
)
def test_several_files_are_merged_as_the_texts_are(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[list[int]],
    block: int,
    batch: int,
    follow: bool,
) -> None:
    """Law: interleaved or one after the other, sorted by id or appended: the same recording."""
    folder = tmp_path_factory.mktemp("several")
    paths = []
    for number, times in enumerate(files):
        late = number * 50 if follow else 0
        path = folder / f"BTCUSDT-trades-2025-06-0{number + 1}.csv"
        rows = enumerate(time + late for time in times)
        path.write_text(
            "".join(f"{1000 * number + n},{t}.5,0.5,9,{START + t},True,True\n" for n, t in rows)
        )
        paths.append(path)
    found = []
    for name, least in (("quick", 0), ("slow", 1 << 60)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plain, "PLAIN_BYTES_MIN", least)
            patch.setattr(plain, "BLOCK_BYTES", block)
            patch.setattr(plain, "BLOCK_ROWS", batch)
            import_ticks(paths, folder / name)
            import_ticks(paths, folder / f"{name}-sorted", sort="id")
            recordings = [open_recording(folder / n) for n in (name, f"{name}-sorted")]
            found.append(
                [(r.manifest.recording_id, r.manifest.warnings) for r in recordings]
                + [_outcome_of(paths, folder / f"{name}-grown")]
            )
            for recording in recordings:
                recording.close()

    assert found[0] == found[1]


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Where a block of bytes or of rows ends changes no tick; a bad row far in is still named."""
    lines = [f"{n},{n + 1}.25,0.5,9,{START + n},True,True" for n in range(50)]
    path = tmp_path / "BTCUSDT-trades-2025-06.csv"
    path.write_text("\n".join(lines) + "\n")
    whole = outcome(path, tmp_path / "whole")
    monkeypatch.setattr(plain, "BLOCK_ROWS", rows)
    monkeypatch.setattr(plain, "BLOCK_BYTES", rows * 60)

    assert outcome(path, tmp_path / "rec") == whole
    path.write_text("\n".join(lines).replace("41.25", "oops") + "\n")
    with pytest.raises(InputRefused, match=r"row 41: price \(column #2\): .* was 'oops'"):
        import_ticks(path, tmp_path / "other")


def test_a_cell_that_is_not_plain_costs_no_pass_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of one instrument: what one pass stopped at, the other would stop at, too."""
    path = tmp_path / "BTCUSDT-trades-2025-06.csv"
    path.write_text(f"1,1e2,0.5,9,{START},True,True\n")
    passes: list[int] = []
    lines = PlainTickFile._lines

    def counted(self: PlainTickFile, held: int) -> Any:
        passes.append(held)
        return lines(self, held)

    monkeypatch.setattr(PlainTickFile, "_lines", counted)
    import_ticks(path, tmp_path / "rec")

    assert 1 == len(passes)


def test_a_row_that_is_lost_between_the_passes_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first pass counted is what must be written; nothing is left where it is not."""
    path = tmp_path / "BTCUSDT-trades-2025-06.csv"
    path.write_text("".join(f"{n},1.25,0.5,9,{START + n},True,True\n" for n in range(9)))
    survey = PlainTickFile.survey

    def one_more(self: PlainTickFile, tell: Any) -> Any:
        found = survey(self, tell)
        found.rows += 1
        return found

    monkeypatch.setattr(PlainTickFile, "survey", one_more)

    with pytest.raises(AssertionError, match="10 rows were surveyed, 9 written"):
        import_ticks(path, tmp_path / "rec")
    assert not (tmp_path / "rec").exists()


def test_a_price_finer_than_the_table_is_refused_by_its_row(tmp_path: Path) -> None:
    """The scale of a given table stands; the fast pass stops and the texts name the row."""
    lines = [f"{n},{n + 1}.25,0.5,9,{START + n},True,True" for n in range(20)]
    lines[13] = f"13,14.255,0.5,9,{START + 13},True,True"
    path = tmp_path / "BTCUSDT-trades-2025-06.csv"
    path.write_text("\n".join(lines) + "\n")
    table = InstrumentTable(
        [Instrument(token=7, symbol="BTCUSDT", price_scale=2, quantity_scale=1)]
    )

    with pytest.raises(InputRefused, match=r"row 14: price \(column #2\): .* was '14\.255'"):
        import_ticks(path, tmp_path / "rec", instrument_table=table)


def test_big_archives_are_read_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Binance layout goes this way; the reader of texts is never asked for its rows."""
    lines = [f"{n},1.25,0.5,9,{START + n},True,True" for n in range(20)]
    path = tmp_path / "BTCUSDT-trades-2025-06.csv"
    path.write_text("\n".join(lines) + "\n")
    asked: list[int] = []
    records = PlainTickFile._records

    def counted(self: PlainTickFile, *more: Any) -> Any:
        asked.append(1)
        return records(self, *more)

    monkeypatch.setattr(PlainTickFile, "_records", counted)
    import_ticks(path, tmp_path / "rec")

    assert asked == [1]
