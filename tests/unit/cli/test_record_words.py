"""What `parity record` says at its end."""

from pathlib import Path
from typing import Any

import pytest

from parity.cli.record import _show

COUNTS = ("gaps", "dead_letters", "dead_letters_open", "pruned_segments", "pruning_failures")
FOUND: dict[str, Any] = dict.fromkeys(COUNTS, 0)


@pytest.mark.parametrize(
    ("ticks", "quarantined", "warned"), [(0, 9, True), (1, 9, False), (0, 0, False)]
)
def test_a_codec_that_reads_nothing_is_named(
    ticks: int, quarantined: int, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where every message was refused, the setting is the first suspect."""
    _show(Path("rec"), FOUND | {"ticks": ticks, "quarantined": quarantined})

    assert warned == ("--codec" in capsys.readouterr().err)
