"""The progress line of a terminal: how many, how fast, how long still, in which step."""

import io
import re
import sys

import pytest

from parity.cli.console import told


class Terminal(io.StringIO):
    """A terminal that keeps what it was shown."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


def test_an_estimate_that_changes_keeps_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rate and time left stand there though the rows in all are another number each time."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")

    with told("import") as tell:
        assert tell is not None
        for n in range(20):
            tell(n, 5000 + n, "pass 1 of 2")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())

    assert re.search(r"import, pass 1 of 2 .* 19 ticks, [0-9 ]+/s, [0-9]+:[0-9]{2} left", shown)
