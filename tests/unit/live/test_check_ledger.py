"""A ledger held against its run: every signal once, each of this run, none invented."""

from pathlib import Path

import msgspec
import pytest

from parity.live.ledger import FillLine, Ledger, LedgerHead, LedgerLine, check_ledger, read_ledger
from parity.model.errors import RecordingCorrupt

APPROVED = {1: "aa", 2: "bb", 3: "cc"}
LINES = [LedgerLine(n, i, state="delivered") for n, i in APPROVED.items()]


def written(folder: Path, lines: list[LedgerLine], run_id: str = "r") -> Path:
    """Return a ledger of these lines."""
    path = folder / "ledger.jsonl"
    rows = [LedgerHead(run_id, {}), *lines]
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return path


def test_a_whole_ledger_counts_what_was_delivered(tmp_path: Path) -> None:
    """Delivered and recovered lines count; a dead one is told apart."""
    lines = [
        LINES[0],
        LedgerLine(2, "bb", state="recovered"),
        LedgerLine(3, "cc", state="dead", error="no"),
    ]

    assert {"deliveries": 3} == check_ledger(written(tmp_path, LINES), "r", APPROVED, complete=True)
    assert {"deliveries": 2, "dead": 1} == check_ledger(
        written(tmp_path, lines), "r", APPROVED, complete=True
    )


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
        check_ledger(written(tmp_path, lines), "r", APPROVED, complete=True)


def test_another_runs_ledger_is_corrupt(tmp_path: Path) -> None:
    """The head says whose ledger it is."""
    with pytest.raises(RecordingCorrupt, match="of run other, not r"):
        check_ledger(written(tmp_path, LINES, "other"), "r", APPROVED, complete=True)


def test_an_unknown_state_is_corrupt(tmp_path: Path) -> None:
    """A line says one of three things of its signal."""
    path = written(tmp_path, LINES)
    path.write_bytes(path.read_bytes().replace(b"delivered", b"banana"))

    with pytest.raises(RecordingCorrupt, match="banana"):
        check_ledger(path, "r", APPROVED, complete=True)


def test_an_open_run_may_have_delivered_more(tmp_path: Path) -> None:
    """What was delivered behind the newest part is known to the ledger before the outputs."""
    path = written(tmp_path, LINES)

    assert {"deliveries": 3} == check_ledger(path, "r", {1: "aa"}, complete=False)
    with pytest.raises(RecordingCorrupt, match="not approved"):
        check_ledger(path, "r", {1: "aa"}, complete=True)


def test_a_ledger_of_fills_is_held_against_them(tmp_path: Path) -> None:
    """Fills on paper have lines with names of their own, and the same is asked of them."""
    lines = [FillLine(n, i, state="delivered") for n, i in APPROVED.items()]
    path = written(tmp_path, lines)

    assert {"deliveries": 3} == check_ledger(path, "r", APPROVED, FillLine, complete=True)
    with pytest.raises(RecordingCorrupt, match="1 simulated fills have no line"):
        check_ledger(path, "r", {**APPROVED, 4: "dd"}, FillLine, complete=True)
    with pytest.raises(RecordingCorrupt, match="is not a ledger line"):
        check_ledger(path, "r", APPROVED, complete=True)
