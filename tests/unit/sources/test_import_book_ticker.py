"""Binance's bookTicker: sorted by update id where halves interleave; spot's, which has no time."""

from pathlib import Path

import numpy as np
import pytest
from vendor_ticks import read_back

from parity.model import ticks as flag
from parity.model.errors import InputRefused
from parity.recording.manifest import load_manifest
from parity.sources.importers import formats, import_ticks, plain

HEADER = (
    "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time"
)
START = 1_748_736_000_000


def _write(path: Path, ids: list[int], *, header: bool = True, timed: bool = True) -> Path:
    rows = [f"{n},{100 + n}.5,2,{101 + n}.5,3" for n in ids]
    if timed:
        rows = [f"{r},{START + n},{START + n + 1}" for r, n in zip(rows, ids, strict=True)]
    head = HEADER if timed else HEADER.rpartition(",trans")[0]
    path.write_text("\n".join([*([head] if header else []), *rows, ""]))
    return path


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("compiled", [True, False])
def test_interleaved_halves_are_sorted_by_update_id(
    header: bool, compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a whole file in order gives it; the ids sort and are no trade ids of the ticks."""
    monkeypatch.setattr(plain, "PLAIN_BYTES_MIN", 0 if compiled else 1 << 40)
    halves = [n for pair in zip(range(20), range(20, 40), strict=True) for n in pair]
    mixed = _write(tmp_path / "BTCUSDT-bookTicker-2025-06-01.csv", halves, header=header)

    with pytest.raises(InputRefused, match="expected rows in ts_event order") as refused:
        import_ticks(mixed, tmp_path / "rec")
    assert "--sort id" in refused.value.cure
    import_ticks(mixed, tmp_path / "rec", sort="id")
    _write(mixed, list(range(40)), header=header)
    import_ticks(mixed, tmp_path / "whole")

    found = read_back(tmp_path / "rec")
    assert [START * 10**6 + n * 10**6 for n in range(40)] == found["ts_event"].tolist()
    assert {-1} == set(found["trade_id"].tolist())
    assert (found["flags"] & np.uint32(flag.NO_TRADE_ID)).all()
    ids = [load_manifest(tmp_path / name).recording_id for name in ("rec", "whole")]
    assert ids[0] == ids[1]


def test_a_bad_row_is_named_by_its_place_in_the_file(tmp_path: Path) -> None:
    """Ids that do not follow time either, after sorting, with the row they had."""
    path = _write(tmp_path / "BTCUSDT-bookTicker-2025-06-01.csv", [1, 2, 3])
    path.write_text(
        path.read_text().replace(f"3,103.5,2,104.5,3,{START + 3}", f"0,9,2,9,3,{START + 3}")
    )

    with pytest.raises(
        InputRefused, match=r"row 1: ts_event \(column transaction_time\): "
    ) as said:
        import_ticks(path, tmp_path / "rec", sort="id")

    assert "its ids do not follow time either" in said.value.cure


@pytest.mark.parametrize("header", [True, False])
def test_a_spot_bookticker_without_time_is_refused_until_its_order_is_declared(
    header: bool, tmp_path: Path
) -> None:
    """With one arrival time for all rows the file's order stands, and none has venue time."""
    path = _write(
        tmp_path / "BTCUSDT-bookTicker-2025-06-01.csv", [3, 1, 2], header=header, timed=False
    )

    with pytest.raises(InputRefused, match="a bookTicker of spot, which has no time") as refused:
        import_ticks(path, tmp_path / "rec")
    assert "--map ts_recv==" in refused.value.cure
    report = import_ticks(path, tmp_path / "rec", map="ts_recv==2025-06-01T00:00:00Z")

    found = read_back(tmp_path / "rec")
    (instrument,) = load_manifest(tmp_path / "rec").table
    assert ("binance-spot", "bookTicker", "ts_recv") == (
        report.files[0]["format"], report.files[0]["layout"], report.order
    )  # fmt: skip
    assert [1035, 1015, 1025] == found["bid_int"].tolist()
    assert {START * 10**6} == set(found["ts_event"].tolist())
    assert (found["flags"] & np.uint32(flag.NO_VENUE_TIME)).all()
    assert ("BINANCE-SPOT", "recv") == (instrument.venue, instrument.clock)
    import_ticks(path, tmp_path / "sorted", map="ts_recv==2025-06-01T00:00:00Z", sort="id")
    assert [1015, 1025, 1035] == read_back(tmp_path / "sorted")["bid_int"].tolist()


def test_a_spot_bookticker_with_times_is_read_where_it_is_called_so(tmp_path: Path) -> None:
    """It looks like that of the futures, which `auto` takes it for."""
    path = _write(tmp_path / "BTCUSDT-bookTicker-2025-06-01.csv", [1, 2])

    import_ticks(path, tmp_path / "auto")
    import_ticks(path, tmp_path / "spot", format="binance-spot")

    venues = [next(iter(load_manifest(tmp_path / n).table)).venue for n in ("auto", "spot")]
    assert ["BINANCE-USDM", "BINANCE-SPOT"] == venues


def test_a_layout_that_is_asked_for_is_never_taken_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no other market's is there to take the file."""
    path = _write(tmp_path / "BTCUSDT-bookTicker-2025-06-01.csv", [1, 2])
    known = formats.registry()
    spot = {name: known[name] for name in ("binance-spot", "csv")}
    monkeypatch.setattr(formats, "registry", lambda: spot)

    with pytest.raises(InputRefused):
        import_ticks(path, tmp_path / "auto")
    assert 2 == import_ticks(path, tmp_path / "spot", format="binance-spot").ticks


def test_a_trade_id_that_the_map_gives_is_kept(tmp_path: Path) -> None:
    """Then it is what `--sort id` sorts by, not the update id."""
    path = _write(tmp_path / "BTCUSDT-bookTicker-2025-06-01.csv", [1, 2])

    import_ticks(path, tmp_path / "rec", map="trade_id==5", sort="id")

    assert [5, 5] == read_back(tmp_path / "rec")["trade_id"].tolist()


def test_five_numbers_are_not_taken_for_quotes(tmp_path: Path) -> None:
    """Without a name or a header that says so, nobody guesses."""
    path = tmp_path / "x.csv"
    path.write_text("1,2.5,3,4.5,5\n2,2.5,3,4.5,5\n")

    with pytest.raises(InputRefused, match="no column for"):
        import_ticks(path, tmp_path / "rec")
