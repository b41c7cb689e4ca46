"""A ledger held against its run: every signal once, each of this run, none invented."""

from pathlib import Path

import msgspec
import pytest

from parity.live.ledger import FillLine, Ledger, LedgerCheck, LedgerHead, LedgerLine, read_ledger
from parity.model.errors import RecordingCorrupt

APPROVED = {1: "aa", 2: "bb", 3: "cc"}
LINES = [LedgerLine(n, i, state="delivered") for n, i in APPROVED.items()]


def written(folder: Path, lines: list[LedgerLine], run_id: str = "r") -> Path:
    """Return a ledger of these lines."""
    path = folder / "ledger.jsonl"
    rows = [LedgerHead(run_id, {}), *lines]
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return path


def checked(
    path: Path,
    decided: dict[int, str] = APPROVED,
    kind: type[LedgerLine | FillLine] = LedgerLine,
    *,
    complete: bool = True,
) -> dict[str, int]:
    """Hold a ledger of run "r" against what was decided, at once."""
    return LedgerCheck(path, "r", kind).go_on(decided, complete=complete)


def test_a_whole_ledger_counts_what_was_delivered(tmp_path: Path) -> None:
    """Delivered and recovered lines count; a dead one is told apart."""
    lines = [
        LINES[0],
        LedgerLine(2, "bb", state="recovered"),
        LedgerLine(3, "cc", state="dead", error="no"),
    ]

    assert {"deliveries": 3} == checked(written(tmp_path, LINES))
    assert {"deliveries": 2, "dead": 1} == checked(written(tmp_path, lines))


def test_what_is_appended_is_on_disk_alone(tmp_path: Path) -> None:
    """A run of any length holds the lines that stood there as it began, and no more."""
    ledger = Ledger(written(tmp_path, LINES[:1]))
    for line in LINES[1:]:
        ledger.append(line)
    ledger.close()

    assert {1: LINES[0]} == ledger.lines
    assert LINES == read_ledger(ledger.path)[1]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (LINES[:2], "1 approved signals have no line, the first is number 3"),
        ([*LINES, LINES[1]], "signal 2 stands twice"),
        ([*LINES, LedgerLine(4, "dd", state="delivered")], "signal 4 .* was not approved"),
        ([*LINES[:2], LedgerLine(3, "xx", state="delivered")], "signal 3 .* was not approved"),
    ],
)
def test_what_does_not_fit_is_corrupt(tmp_path: Path, lines: list[LedgerLine], said: str) -> None:
    """A line missing, doubled or invented is named by its number."""
    with pytest.raises(RecordingCorrupt, match=said):
        checked(written(tmp_path, lines))


def test_another_runs_ledger_is_corrupt(tmp_path: Path) -> None:
    """The head says whose ledger it is."""
    with pytest.raises(RecordingCorrupt, match="of run other, not r"):
        checked(written(tmp_path, LINES, "other"))


def test_an_unknown_state_is_corrupt(tmp_path: Path) -> None:
    """A line says one of three things of its signal."""
    path = written(tmp_path, LINES)
    path.write_bytes(path.read_bytes().replace(b"delivered", b"banana"))

    with pytest.raises(RecordingCorrupt, match="banana"):
        checked(path)


def test_an_open_run_may_have_delivered_more(tmp_path: Path) -> None:
    """What was delivered behind the newest part is known to the ledger before the outputs."""
    path = written(tmp_path, LINES)

    assert {"deliveries": 3} == checked(path, {1: "aa"}, complete=False)
    with pytest.raises(RecordingCorrupt, match="not approved"):
        checked(path, {1: "aa"})


def test_a_ledger_of_fills_is_held_against_them(tmp_path: Path) -> None:
    """Fills on paper have lines with names of their own, and the same is asked of them."""
    lines = [FillLine(n, i, state="delivered") for n, i in APPROVED.items()]
    path = written(tmp_path, lines)

    assert {"deliveries": 3} == checked(path, kind=FillLine)
    with pytest.raises(RecordingCorrupt, match="1 simulated fills have no line"):
        checked(path, {**APPROVED, 4: "dd"}, FillLine)
    with pytest.raises(RecordingCorrupt, match="is not a ledger line"):
        checked(path)


@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize("ahead", [0, 1])
def test_a_check_goes_on_where_it_ended(tmp_path: Path, cut: int, ahead: int) -> None:
    """In two calls as in one: lines may come before signals, a torn one is read when whole."""
    lines = [*LINES[:2], LedgerLine(3, "cc", state="dead", error="no")]
    data = written(tmp_path, lines).read_bytes()
    rows = data.splitlines(keepends=True)
    path, some = tmp_path / "ledger.jsonl", dict(list(APPROVED.items())[: cut - ahead])
    rest = {n: i for n, i in APPROVED.items() if n not in some}
    path.write_bytes(b"".join(rows[: 1 + cut]) + b"".join(rows[1 + cut :])[:9])
    check = LedgerCheck(path, "r")
    check.go_on(some, complete=False)
    path.write_bytes(data)

    assert {"deliveries": 2, "dead": 1} == check.go_on(rest, complete=True)
    path.write_bytes(data + b"banana\n")
    with pytest.raises(RecordingCorrupt, match="line 5 is not a ledger line"):
        check.go_on({}, complete=True)
    path.write_bytes(data + rows[2])
    with pytest.raises(RecordingCorrupt, match="signal 2 stands twice"):
        check.go_on({}, complete=True)
    path.write_bytes(data)
    with pytest.raises(RecordingCorrupt, match=r"1 approved signals have no line, .* number 4"):
        check.go_on({4: "dd"}, complete=True)
