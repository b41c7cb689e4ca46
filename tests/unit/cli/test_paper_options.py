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
        (("--bootstrap-servers", "nowhere:1"), "--bootstrap-servers"),
        (("--partitions", "0"), "--partitions"),
        (("--tz", "UTC"), "--tz"),
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


def test_a_file_without_a_zone_warms_a_run_of_a_recording(tmp_path: Path) -> None:
    """`--tz` is of the file then, and no option of a topic."""
    lines = (f"2024-01-02 09:15:{n:02}.000,9000{n % 2 + 1:02},100,1" for n in range(40))
    past = tmp_path / "past.csv"
    past.write_text("\n".join(["ts_event,instrument_token,price,quantity", *lines, ""]))
    words = ("paper", tmp_path / "run", "-s", "momentum", "--recording",
             ROOT / "recordings" / "demo", "--warm-up", past)  # fmt: skip
    without = RUNNER.invoke(app, list(map(str, words)))
    given = RUNNER.invoke(app, [*map(str, words), "--tz", "UTC", "--json"])

    assert 2 == without.exit_code
    assert "--tz ZONE" in without.stderr
    assert 0 == given.exit_code, given.stderr
