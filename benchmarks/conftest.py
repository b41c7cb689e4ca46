"""The report that the benchmarks fill, printed at the end."""

from __future__ import annotations

import platform

import pytest

from benchmarks.generate import ROUNDS, TICKS, cpus
from benchmarks.report import Report

_REPORT = Report()


@pytest.fixture
def report() -> Report:
    """The table of this run."""
    return _REPORT


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if not _REPORT.rows:
        return
    terminalreporter.section("parity benchmarks")
    terminalreporter.write_line(
        f"{TICKS} ticks, {ROUNDS} rounds, medians; {len(cpus())} CPUs,"
        f" Python {platform.python_version()}, {platform.machine()}"
    )
    for line in _REPORT.lines():
        terminalreporter.write_line(line.rstrip())
