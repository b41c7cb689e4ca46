"""Options of `parity paper` that exclude each other."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from parity.cli import app

ROOT = Path(__file__).resolve().parents[3]
RUNNER = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "120"})


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("--topics", "t", "--codec", "kite"), "--topics, --codec"),
        (("--from", "earliest"), "--from"),
        (("--exit-at-end",), "--exit-at-end"),
        (("--no-dead-letters",), "--dead-letters"),
    ],
)
def test_options_of_topics_do_not_go_with_a_recording(
    given: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    """Nothing that was asked for is passed over in silence: exit 2, the options by name."""
    words = ("paper", tmp_path / "run", "--strategies", "momentum")
    words = (*words, "--recording", ROOT / "recordings" / "demo", *given)
    done = RUNNER.invoke(app, list(map(str, words)))

    assert 2 == done.exit_code
    said = " ".join(done.stderr.split())
    assert f"{named}: no topic is read where --recording names the ticks" in said
    assert not (tmp_path / "run").exists()
