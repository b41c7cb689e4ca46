"""Order, appending and oddities: what an import sorts, refuses, keeps and warns of, by row."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.model.errors import ConfigError, InputRefused
from parity.recording.holding import hold
from parity.recording.manifest import load_manifest
from parity.recording.reader import open_recording
from parity.sources.importers import import_ticks, plain, sorting
from parity.sources.importers.merge import merge, numbered

LIB = Path(__file__).resolve().parents[2] / "lib"
START = 1_748_736_000_000  # ms
Row = tuple[int, int, str, str, bool]  # id, ms after the start, price, quantity, buyer is maker


def _row(n: int, ms: int | None = None, price: str = "1.5", quantity: str = "2") -> Row:
    return (n, n if ms is None else ms, price, quantity, n % 2 == 0)


def _write(path: Path, rows: Sequence[Row]) -> Path:
    lines = [
        f"{n},{price},{quantity},9,{START + ms},{maker},True"
        for n, ms, price, quantity, maker in rows
    ]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def _day(folder: Path, day: int, rows: Sequence[Row]) -> Path:
    return _write(folder / f"BTCUSDT-trades-2025-06-{day:02d}.csv", rows)


def _columns(folder: Path) -> dict[str, list[Any]]:
    batches = [b.ticks for b in open_recording(folder).batches()]
    names = ("seq", "ts_event", "price_int", "quantity_int", "trade_id", "flags", "sub", "side")
    return {n: np.concatenate([b.column(n) for b in batches]).tolist() for n in names}


# -- sorting


def test_interleaved_halves_are_sorted_by_id_and_refused_without(tmp_path: Path) -> None:
    """Two halves of a month, row by row: refused with the cure, and put right by --sort id."""
    rows = [_row(n) for pair in zip(range(50), range(50, 100), strict=True) for n in pair]
    path = _day(tmp_path, 1, rows)

    with pytest.raises(
        InputRefused, match=r"row 3: ts_event \(column #5\): expected rows in ts_ev"
    ) as caught:
        import_ticks(path, tmp_path / "rec")
    assert "--sort id" in caught.value.cure
    report = import_ticks(path, tmp_path / "rec", sort="id")

    found = _columns(tmp_path / "rec")
    assert found["trade_id"] == list(range(100))
    assert found["seq"] == list(range(1, 101))
    assert set(found["sub"]) == {0}
    assert report.warnings == []
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, "rec"]


@settings(max_examples=30, deadline=None)
@given(ids=st.lists(st.integers(0, 30), min_size=1, max_size=60), rows=st.integers(1, 20))
def test_runs_on_disk_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int], rows: int
) -> None:
    """However small the sorted runs are, the rows come by (id, row)."""
    folder = tmp_path_factory.mktemp("runs")
    path = _day(folder, 1, [_row(n, ms=0, price=f"{at + 1}") for at, n in enumerate(ids)])
    before = sorting.RUN_ROWS, sorting.MERGE_ROWS
    try:
        sorting.RUN_ROWS, sorting.MERGE_ROWS = rows, 2  # type: ignore[misc]  # small runs
        import_ticks(path, folder / "rec", sort="id")
    finally:
        sorting.RUN_ROWS, sorting.MERGE_ROWS = before  # type: ignore[misc]  # as it was

    found = _columns(folder / "rec")
    expected = sorted((n, at + 1) for at, n in enumerate(ids))
    assert list(zip(found["trade_id"], found["price_int"], strict=True)) == expected


def test_ids_that_do_not_follow_time_are_refused_with_the_row_of_the_file(tmp_path: Path) -> None:
    """Sorting by id invents no order: where time disagrees, the row as it stood is named."""
    path = _day(tmp_path, 1, [_row(3, ms=5), _row(1, ms=1), _row(2, ms=9)])

    with pytest.raises(
        InputRefused, match=r"06-01\.csv: row 1: ts_event \(column #5\): exp"
    ) as caught:
        import_ticks(path, tmp_path / "rec", sort="id")

    assert "its ids do not follow time" in caught.value.cure
    assert not (tmp_path / "rec").exists()


@pytest.mark.parametrize("wakes", [True, False])
def test_an_interrupt_ends_a_sort_before_its_runs_are_made(
    wakes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing comes out of a sort before its last run; an interrupt does not wait for it.

    Nor does one that wakes nobody: another thread took it, or it came just before the wait.
    """
    path = _day(tmp_path, 1, [_row(n) for n in range(1, 401)])
    for name, value in (("PLAIN_BYTES_MIN", 0), ("BLOCK_ROWS", 4), ("BLOCK_ROWS_MIN", 4)):
        monkeypatch.setattr(plain, name, value)
    monkeypatch.setattr(sorting, "RUN_ROWS", 4)
    write_run, written = sorting._write_run, []

    def interrupted(file: Any, records: Any) -> tuple[int, int]:
        written.append(len(records))
        if len(written) == 3:
            if not wakes:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            to = threading.main_thread() if wakes else threading.current_thread()
            signal.pthread_kill(to.ident or 0, signal.SIGINT)
        time.sleep(0.02)  # as long as a run of real size takes to write
        return write_run(file, records)

    monkeypatch.setattr(sorting, "_write_run", interrupted)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [] if wakes else [signal.SIGINT])
    try:
        with pytest.raises(KeyboardInterrupt):
            import_ticks(path, tmp_path / "rec", sort="id")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    assert 3 <= len(written) < 100
    assert [path.name] == sorted(p.name for p in tmp_path.iterdir())


def test_sorting_needs_ids_and_one_instrument(tmp_path: Path) -> None:
    """Without an id in every row, or with several instruments in a file, --sort id is refused."""
    bare = tmp_path / "bare.csv"
    bare.write_text("ts_event,instrument_token,price,quantity\n1736154000001,7,1,1\n")
    two = tmp_path / "two.csv"
    two.write_text(
        "ts_event,instrument_token,price,quantity,trade_id\n"
        "1736154000001,7,1,1,1\n1736154000001,8,1,1,1\n"
    )

    with pytest.raises(InputRefused, match="row 1: trade_id: expected an id in every row"):
        import_ticks(bare, tmp_path / "rec", sort="id")
    with pytest.raises(InputRefused, match="row 2: instrument_token: expected one instrument"):
        import_ticks(two, tmp_path / "rec", sort="id")
    two.write_text(two.read_text().replace("instrument_token", "t"))
    with pytest.raises(InputRefused, match=r"row 2: instrument_token \(column t\): expected one"):
        import_ticks(two, tmp_path / "rec", sort="id", map="instrument_token=t")
    with pytest.raises(ConfigError, match="--sort: 'time' is not known"):
        import_ticks(two, tmp_path / "rec", sort="time")


# -- appending


def test_days_appended_are_the_days_imported_at_once(tmp_path: Path) -> None:
    """Ticks, seq and flags are the same whether a day came at once or later; ids go on."""
    first = _day(tmp_path, 1, [_row(n) for n in range(40)])
    second = _day(tmp_path, 2, [_row(n, ms=n + 1) for n in range(39, 80)])
    import_ticks([first, second], tmp_path / "whole")

    import_ticks(first, tmp_path / "rec")
    before = load_manifest(tmp_path / "rec")
    report = import_ticks(second, tmp_path / "rec", append=True)

    after = load_manifest(tmp_path / "rec")
    assert _columns(tmp_path / "rec") == _columns(tmp_path / "whole")
    assert after.recording_id != before.recording_id
    assert after.parts[: len(before.parts)] == before.parts
    assert (after.scales, after.instruments) == (before.scales, before.instruments)
    assert any("flagged duplicate: 1 (BTCUSDT-trades-2025-06-02.csv" in w for w in report.warnings)
    open_recording(tmp_path / "rec").check_files(always=True)


@pytest.mark.parametrize(
    ("name", "rows", "more", "message"),
    [
        (
            "BTCUSDT-trades-2.csv",
            [_row(3, ms=2)],
            {},
            r"row 1: ts_event \(column #5\): expected a time after",
        ),
        ("BTCUSDT-trades-2.csv", [_row(9, price="1.55")], {}, "expected at most 1 decimals"),
        ("BTCUSDT-trades-2.csv", [_row(9)], {"order": "ts_recv"}, "is in ts_event order"),
    ],
)
def test_what_does_not_follow_is_not_appended(
    tmp_path: Path, name: str, rows: list[Row], more: dict[str, str], message: str
) -> None:
    """Earlier ticks, other instruments and finer prices leave the recording as it was."""
    import_ticks(_day(tmp_path, 1, [_row(n) for n in range(3)]), tmp_path / "rec")
    before = _tree(tmp_path / "rec")
    path = _write(tmp_path / name, rows)

    with pytest.raises((InputRefused, ConfigError), match=message):
        import_ticks(path, tmp_path / "rec", append=True, **more)  # type: ignore[arg-type]  # any option

    assert _tree(tmp_path / "rec") == before


def test_an_append_waits_for_nobody(tmp_path: Path) -> None:
    """A recording that another import holds is refused at once."""
    import_ticks(_day(tmp_path, 1, [_row(1)]), tmp_path / "rec")
    path = _day(tmp_path, 2, [_row(2)])
    held = hold(tmp_path / "rec")

    try:
        with pytest.raises(ConfigError, match="another"):
            import_ticks(path, tmp_path / "rec", append=True)
    finally:
        os.close(held)


# One process loads everything once and forks for each step, which ends at its n-th call.
_KILLED = textwrap.dedent("""
    import os, sys
    from forked import forked
    from parity.sources.importers import import_ticks
    first, path, to, *steps = sys.argv[1:]
    def work():
        left = step
        def counting(call):
            def counted(*args, **more):
                nonlocal left
                left -= 1
                if left < 0:
                    os._exit(9)
                return call(*args, **more)
            return counted
        for name in ("replace", "fsync", "write", "mkdir", "rename"):
            setattr(os, name, counting(getattr(os, name)))
        import_ticks(path, to.format(step), append=bool(first))
    for step in range(*map(int, steps)):
        if first and forked(lambda: import_ticks(first, to.format(step))):
            sys.exit("the first import failed")
        code = forked(work)
        print(code)
        if code == 0:
            break
""")


def _killed(first: Path | str, path: Path, to: Path, *steps: int) -> list[int]:
    """Import into a place for each step, behind a first file where given; return the exit codes."""
    command = [sys.executable, "-c", _KILLED, str(first), str(path), str(to), *map(str, steps)]
    environment = {**os.environ, "PYTHONPATH": str(LIB)}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=300, env=environment
    )
    return [int(code) for code in done.stdout.split()]


@pytest.mark.slow
def test_a_kill_at_any_step_of_an_append_leaves_one_or_the_other(tmp_path: Path) -> None:
    """Killed before each write, sync and rename: the old recording, or the new one, and no third.

    The next append then succeeds and removes what the killed one left.
    """
    first = _day(tmp_path, 1, [_row(n) for n in range(5)])
    second = _day(tmp_path, 2, [_row(n) for n in range(5, 9)])
    codes = _killed(first, second, tmp_path / "rec{}", 0, 200)
    seen = []
    for step in range(len(codes)):
        to = tmp_path / f"rec{step}"
        with open_recording(to) as recording:
            seen.append(recording.tick_rows)
            recording.check_files(always=True)
        if seen[-1] == 5:
            import_ticks(second, to, append=True)
        assert _columns(to)["trade_id"] == list(range(9))
        assert len(list((to / "ticks").iterdir())) == 2

    assert len(codes) > 6
    assert [9] * (len(codes) - 1) + [0] == codes
    assert [5, 9] == sorted({*seen})
    assert 9 == seen[-1]


@pytest.mark.slow
def test_what_a_killed_import_left_goes_with_the_next(tmp_path: Path) -> None:
    """A killed import shows nothing; the next one into the same place cleans up behind it."""
    path = _day(tmp_path, 1, [_row(n) for n in range(5)])
    other = tmp_path / ".rec2.0123abcd.partial"
    other.mkdir()

    assert [9] == _killed("", path, tmp_path / "rec", 8, 9)
    assert not (tmp_path / "rec").exists()
    left = list(tmp_path.glob(".rec.*.partial"))
    assert left
    living = hold(tmp_path / ".rec.0123abcd.partial")
    import_ticks(path, tmp_path / "rec")
    os.close(living)

    assert sorted(tmp_path.glob(".*")) == [tmp_path / ".rec.0123abcd.partial", other]
    assert open_recording(tmp_path / "rec").tick_rows == 5


# -- what is odd


def test_oddities_are_kept_counted_and_named_by_row(tmp_path: Path) -> None:
    """Zero quantities, repeated and missing ids are warned of by file and row, and kept."""
    a = _day(tmp_path, 1, [_row(1), _row(2, quantity="0"), _row(5), _row(5), _row(6)])
    b = _day(tmp_path, 2, [_row(7), _row(9), _row(10, quantity="0.0")])

    report = import_ticks([a, b], tmp_path / "rec")

    one, two = a.name, b.name
    assert report.warnings == [
        f"trades with quantity zero: 2 ({one} row 2; {two} row 3)",
        f"ticks with a trade id that was there before, flagged duplicate: 1 ({one} row 4)",
        f"missing trade ids, gaps before: 3 ({one} row 3; {two} row 2)",
    ]
    assert report.ticks == 8
    assert open_recording(tmp_path / "rec").manifest.warnings == report.warnings


def test_absent_ids_are_counted_and_only_the_first_rows_shown(tmp_path: Path) -> None:
    """A warning names five rows and says that there are more."""
    path = tmp_path / "a.csv"
    rows = "".join(f"{START + n},7,1,1,\n" for n in range(8))
    path.write_text(f"ts_event,instrument_token,price,quantity,trade_id\n{rows}")

    report = import_ticks(path, tmp_path / "rec")

    assert report.warnings == ["trades without a trade id: 8 (a.csv row 1, 2, 3, 4, 5, …)"]


def test_a_month_of_one_side_is_warned_of(tmp_path: Path) -> None:
    """A file whose every trade has the buyer as maker is imported and named."""
    rows = [(n, n, "1", "1", True) for n in range(120)]
    whole = [(n, n, "1", "1", n % 7 == 0) for n in range(120, 240)]

    report = import_ticks([_day(tmp_path, 1, rows), _day(tmp_path, 2, whole)], tmp_path / "rec")

    assert report.warnings == [
        "trades of one side only: 120, the seller always the aggressor "
        "(BTCUSDT-trades-2025-06-01.csv)"
    ]


def test_numbers_of_rows_are_those_of_the_file() -> None:
    """Rows count from 1 over batches; nothing of it survives a merge of nothing."""
    batches = [np.zeros(n, [("seq", "<i8"), ("sub", "<i4")]) for n in (3, 2)]

    found = [b["seq"].tolist() for b in numbered(iter(batches), 4)]

    assert found == [[1, 2, 3], [4, 5]]
    assert list(merge([])) == []


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
