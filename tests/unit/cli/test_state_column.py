"""What the table of a run says about states: only what is not the usual."""

import pytest

from parity.cli.runs import report_table, totals
from parity.core.engine import ExecutorReport, LifecycleReport, RunReport


def report(state: str, entered: dict[str, int] | None, refused: dict[str, int]) -> RunReport:
    """Return the report of one strategy."""
    life = None if entered is None else LifecycleReport(2, entered, 1, "warm")
    one = ExecutorReport("a", "paper", state, 0, 0, {}, 0, 0, "0", "", "", life)
    return RunReport(5, 0, {}, (one,), "", "", refused)


def shown(given: RunReport) -> tuple[list[str], str]:
    """Return the table's columns and its state cell."""
    table = report_table(given)[1]
    columns = {str(c.header): [*c.cells] for c in table.columns}  # type: ignore[union-attr] # the second part is a rich table
    return list(columns), str(columns.get("state", [""])[0])


@pytest.mark.parametrize(
    ("state", "entered", "cell"),
    [
        ("ACTIVE", {"INIT": 1, "WARMUP": 1, "ACTIVE": 1}, ""),
        ("ACTIVE", None, ""),
        ("WARMUP", {"INIT": 1, "WARMUP": 1}, "WARMUP"),
        ("PAUSED", {"PAUSED": 1, "ERROR": 2}, "PAUSED (2 × ERROR before)"),
        ("ACTIVE", {"PAUSED": 5, "ERROR": 12}, "ACTIVE (12 × ERROR, 5 × PAUSED before)"),
        ("ERROR", {"ERROR": 3}, "ERROR (2 × ERROR before)"),
    ],
)
def test_the_state_column_tells_what_went_wrong_on_the_way(
    state: str, entered: dict[str, int] | None, cell: str
) -> None:
    """A strategy that ended ACTIVE and never was anything else needs no column."""
    columns, found = shown(report(state, entered, {}))

    assert cell == found
    assert ("state" in columns) == bool(cell)


def test_refused_controls_are_counted_below_the_table() -> None:
    """One line, where there were any."""
    assert "3 controls refused" == totals(report("ACTIVE", {}, {"strategy_added": 3}))[0]
    assert not totals(report("ACTIVE", {}, {}))[0].endswith("refused")


@pytest.mark.parametrize(("candidates", "signals", "cell"), [(0, 0, "0"), (0, 2, "–"), (3, 2, "3")])
def test_candidates_that_are_not_counted_are_no_zero(
    candidates: int, signals: int, cell: str
) -> None:
    """What depends on fills is no candidate of the digest; none beside signals would mislead."""
    one = ExecutorReport("a", "paper", "ACTIVE", candidates, signals, {}, 0, 0, "0", "", "")
    table = report_table(RunReport(5, 0, {}, (one,), "", ""))[1]
    (column,) = [c for c in table.columns if c.header == "candidates"]  # type: ignore[union-attr] # the second part is a rich table

    assert [cell] == [str(found) for found in column.cells]
