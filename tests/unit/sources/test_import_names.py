"""Two names under one token are two instruments: refused by the first row that disagrees."""

from pathlib import Path
from typing import Any

import pytest

from parity.model.errors import InputRefused
from parity.model.instruments import Instrument, InstrumentTable
from parity.recording.reader import open_recording
from parity.sources.importers import import_ticks, plain
from parity.sources.importers.tokens import made_token

START = 1_748_736_000_000_000
HEADER = "ts_event,instrument_token,symbol,venue,price,quantity"
BY_MAP = "ts_event=when,symbol=who,price=px,quantity=qty,instrument_token==7"
ENOUGH = plain.PLAIN_BYTES_MIN // 40  # rows
SIZES = {"small": 0, "big": ENOUGH}
TABLE = InstrumentTable([Instrument(token=7, symbol="A", price_scale=1, quantity_scale=0)])


def _csv(path: Path, names: list[tuple[Any, str, str]], start: int = START) -> Path:
    lines = [
        f"{start + n},{token},{symbol},{venue},1.5,2"
        for n, (token, symbol, venue) in enumerate(names)
    ]
    path.write_text("\n".join([HEADER, *lines, ""]), "utf-8")
    return path


def _refused(sources: Any, to: Path, **more: Any) -> InputRefused:
    with pytest.raises(InputRefused) as refused:
        import_ticks(sources, to, **more)
    assert "--instrument-table" in refused.value.cure
    assert more.get("append") or not to.exists()
    return refused.value


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("other", "said"),
    [
        ((7, "B", "X"), "symbol: expected 'A', as token 7 is in row 1, was 'B'"),
        ((7, "A", "Y"), "venue: expected 'X', as token 7 is in row 1, was 'Y'"),
    ],
)
def test_a_file_names_a_token_once(
    size: str, other: tuple[int, str, str], said: str, tmp_path: Path
) -> None:
    """The row that disagrees, in small files and by the fast pass."""
    names = [(7, "A", "X"), (9, "C", "X"), (7, "A", "X")] * (1 + SIZES[size] // 3)
    path = _csv(tmp_path / "a.csv", [*names, other, (7, "A", "X")])

    assert f"{path}: row {len(names) + 1}: {said}" == _refused(path, tmp_path / "rec").message
    assert len(names) + 2 == import_ticks(
        path, tmp_path / "rec", instrument_table=InstrumentTable(
            [*TABLE, Instrument(token=9, symbol="C", price_scale=1, quantity_scale=0)]
        )
    ).ticks  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_known_names_in_a_new_pair_are_refused(size: str, tmp_path: Path) -> None:
    """A glance at the start has seen both words, and not that they meet."""
    names = [(7, "A", "X"), (9, "B", "X")] * (1 + SIZES[size] // 2)
    path = _csv(tmp_path / "a.csv", [*names, (9, "A", "X")])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "BIG_BLOCKS", 0)
        patch.setattr(plain, "BLOCK_BYTES", 4096)
        said = _refused(path, tmp_path / "rec").message

    assert (
        f"{path}: row {len(names) + 1}: symbol: expected 'B', as token 9 is in row 2, was 'A'"
        == said
    )


@pytest.mark.parametrize("size", SIZES)
def test_a_token_that_map_gives_is_held_to_its_names_too(size: str, tmp_path: Path) -> None:
    """One token for every row, and a column of two symbols."""
    path = tmp_path / "a.csv"
    rows = [f"{START + n},A,1.5,2" for n in range(3 + SIZES[size] * 2)]
    path.write_text("\n".join(["when,who,px,qty", *rows, f"{START * 2},B,1,1", ""]), "utf-8")

    said = _refused(path, tmp_path / "rec", map=BY_MAP).message

    assert (
        f"{path}: row {len(rows) + 1}: symbol (column who): expected 'A', as token 7 is in row 1, "
        "was 'B'" == said
    )


def test_an_empty_name_says_nothing(tmp_path: Path) -> None:
    """A row that gives the token alone is of the instrument that the others name."""
    names = [(7, "A", "X"), (7, "", "X"), (7, "A", ""), (7, "", "")]
    path = _csv(tmp_path / "a.csv", names)

    assert 4 == import_ticks(path, tmp_path / "rec").ticks
    assert ["A"] == [i.symbol for i in open_recording(tmp_path / "rec").table]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("other", "said"),
    [
        ((7, "B", "X"), "symbol: expected 'A', as token 7 is in row 2 of {}, was 'B'"),
        ((7, "A", "Y"), "venue: expected 'X', as token 7 is in row 2 of {}, was 'Y'"),
    ],
)
def test_files_agree_about_a_token(
    size: str, other: tuple[int, str, str], said: str, tmp_path: Path
) -> None:
    """The first row of the second file that has it, and that of the first one."""
    more = SIZES[size]
    one = _csv(tmp_path / "a.csv", [(9, "C", "X"), (7, "A", "X")] * (1 + more // 2))
    two = _csv(tmp_path / "b.csv", [(9, "C", "X"), (9, "C", "X"), other] + [other] * more)

    assert f"{two}: row 3: {said.format(one)}" == _refused([one, two], tmp_path / "rec").message


def test_a_file_that_is_appended_agrees_with_the_recording(tmp_path: Path) -> None:
    """As if both had come at once; a table that says what the token is takes the ticks."""
    one = _csv(tmp_path / "a.csv", [(9, "C", "X"), (7, "A", "X")])
    two = _csv(tmp_path / "b.csv", [(9, "C", "X"), (7, "B", "X")], START + 10)
    import_ticks(one, tmp_path / "rec")

    said = _refused(two, tmp_path / "rec", append=True).message

    assert (
        f"{two}: row 2: symbol: expected 'A', as token 7 is in {tmp_path / 'rec'}, was 'B'" == said
    )
    known = open_recording(tmp_path / "rec").table
    import_ticks(two, tmp_path / "rec", append=True, instrument_table=known)
    assert 4 == open_recording(tmp_path / "rec").tick_rows


@pytest.mark.parametrize("size", SIZES)
def test_a_venue_that_a_later_row_says_is_kept(size: str, tmp_path: Path) -> None:
    """So is a symbol: the first word of each, whatever its row, in small and in big files."""
    names = [(7, "", ""), (7, "", "X"), (7, "A", "")] * (1 + SIZES[size] // 3)
    path = _csv(tmp_path / "a.csv", names)

    import_ticks(path, tmp_path / "rec")

    (one,) = open_recording(tmp_path / "rec").table
    assert ("A", "X") == (one.symbol, one.venue)


def test_a_venue_that_a_later_file_says_is_kept_and_held_to(tmp_path: Path) -> None:
    """Three files: none, X, and Y, which is another instrument's."""
    venues = ("", "X", "Y")
    one, two, three = (
        _csv(tmp_path / f"{n}.csv", [(7, "A", venue)], START + n) for n, venue in enumerate(venues)
    )

    import_ticks([one, two], tmp_path / "rec")
    said = _refused([one, two, three], tmp_path / "no").message

    assert ["X"] == [i.venue for i in open_recording(tmp_path / "rec").table]
    assert f"{three}: row 1: venue: expected 'X', as token 7 is in row 1 of {two}, was 'Y'" == said


@pytest.mark.parametrize("tokens_first", [False, True])
def test_a_file_of_tokens_only_says_no_symbol(tokens_first: bool, tmp_path: Path) -> None:
    """The symbol is what the other one says, together as one after another."""
    named = _csv(tmp_path / "a.csv", [(7, "A", "X")])
    bare = tmp_path / "b.csv"
    at = START - 1 if tokens_first else START + 1
    bare.write_text(f"ts_event,instrument_token,price,quantity\n{at},7,1.5,2\n", "utf-8")
    files = [bare, named] if tokens_first else [named, bare]

    import_ticks(files, tmp_path / "rec")

    (one,) = open_recording(tmp_path / "rec").table
    assert ("A", "X") == (one.symbol, one.venue)
    if not tokens_first:
        import_ticks(named, tmp_path / "apart")
        import_ticks(bare, tmp_path / "apart", append=True)
        assert [one] == [*open_recording(tmp_path / "apart").table]


@pytest.mark.parametrize("append", [False, True])
def test_a_symbol_of_the_files_name_is_held_to_a_mapped_token(append: bool, tmp_path: Path) -> None:
    """Two Binance archives under one token are two instruments."""
    paths = [tmp_path / f"{s}-trades-2025-06-01.csv" for s in ("BTCUSDT", "ETHUSDT")]
    for n, path in enumerate(paths):
        path.write_text(f"{n + 1},1.5,2.0,3.0,{START + n},True,True\n", "utf-8")
    if append:
        import_ticks(paths[0], tmp_path / "rec", map="instrument_token==7")
    sources = paths[1] if append else paths

    said = _refused(sources, tmp_path / "rec", map="instrument_token==7", append=append).message

    assert f"{paths[1]}: row 1: symbol: expected 'BTCUSDT'" in said


def test_a_token_made_of_other_names_is_refused(tmp_path: Path) -> None:
    """A file that gives the token of another one's symbol, in either order."""
    token = made_token("", "A")
    one = tmp_path / "a.csv"
    one.write_text(f"ts_event,symbol,price,quantity\n{START},A,1.5,2\n", "utf-8")
    two = _csv(tmp_path / "b.csv", [(token, "B", "")], START + 1)

    for files in ([one, two], [two, one]):
        assert f"as token {token} is in row 1" in _refused(files, tmp_path / "rec").message


def test_the_table_of_a_recording_needs_none_of_its_parts(tmp_path: Path) -> None:
    """Its manifest alone says what the instruments are; nothing of it is opened."""
    import_ticks(_csv(tmp_path / "a.csv", [(7, "A", "X")]), tmp_path / "rec")
    known = open_recording(tmp_path / "rec").table
    for part in (tmp_path / "rec").rglob("*.parquet"):
        part.unlink()

    two = _csv(tmp_path / "b.csv", [(7, "", "")])
    import_ticks(two, tmp_path / "two", instrument_table=tmp_path / "rec")

    assert [*known] == [*open_recording(tmp_path / "two").table]
