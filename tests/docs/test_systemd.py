"""The service units that ship: real commands, real exit codes, and what systemd itself says."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from parity.cli import app
from parity.cli.group import DEFECT, INTERRUPTED, NOT_SERVED
from parity.live.watchdog import EXIT_CODE
from parity.model.errors import ConfigError, NothingCompared, RecordingCorrupt, ServiceDown
from parity.settings.settings import Settings

UNITS = sorted((Path(__file__).resolve().parents[2] / "contrib" / "systemd").glob("*.service"))
GROUP: Any = typer.main.get_command(app)


def values(unit: Path) -> dict[str, str]:
    """Return the settings of a unit by name; none stands twice."""
    found: dict[str, str] = {}
    for line in unit.read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            assert name not in found
            found[name] = value
    return found


def test_each_live_mode_ships() -> None:
    """A live run, a paper run and a recorder have their units, and a metrics port each."""
    names = ["live", "paper", "record"]
    assert [f"parity-{name}@.service" for name in names] == [unit.name for unit in UNITS]
    ports = {re.search(r"--metrics (\d+)", unit.read_text())[1] for unit in UNITS}
    assert len(names) == len(ports)


def test_a_live_unit_is_what_confirms() -> None:
    """Only the unit of a live run has the word without which nothing would be sent."""
    assert ["live"] == [
        shlex.split(values(unit)["ExecStart"])[2]
        for unit in UNITS
        if "--confirm" in shlex.split(values(unit)["ExecStart"])
    ]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_a_command_that_exists(unit: Path) -> None:
    """ExecStart is a line that the command line accepts, and asks for metrics on a port."""
    env, parity, name, *rest = shlex.split(values(unit)["ExecStart"])

    assert ("/usr/bin/env", "parity") == (env, parity)
    GROUP.commands[name].make_context(name, [one.replace("%i", "today") for one in rest])
    assert re.fullmatch(r"\d+", rest[rest.index("--metrics") + 1])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_again_what_starting_again_may_mend(unit: Path) -> None:
    """Exit codes of ours: 1, 2, 3 and 5 are not tried again; 4 and 70 are; 130 is a stop."""
    found = values(unit)
    said = found["RestartPreventExitStatus"].split()
    never = {int(code) for code in said if code.isdecimal()}

    assert "on-failure" == found["Restart"]
    codes = {NothingCompared.exit_code, ConfigError.exit_code, RecordingCorrupt.exit_code}
    assert {*codes, EXIT_CODE} == never
    # An endless kernel ends by this signal, and would again; a recorder runs no kernels.
    assert ([] if "record" in unit.stem else ["SIGPROF"]) == [c for c in said if not c.isdecimal()]
    assert not never & {ServiceDown.exit_code, NOT_SERVED, DEFECT}
    assert str(INTERRUPTED) == found["SuccessExitStatus"]
    assert ("notify", "main") == (found["Type"], found["NotifyAccess"])
    assert int(found["TimeoutStopSec"]) > 5
    # The run's own watchdog names who blocks before systemd ends it without a name.
    assert int(found["WatchdogSec"]) > Settings().stall_exit_s


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_takes_a_unit_as_it_is(unit: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on this machine")
    named = tmp_path / unit.name.replace("@", "@today")
    shutil.copy(unit, named)
    done = subprocess.run(
        [analyze, "verify", str(named)], capture_output=True, text=True, check=False, timeout=60
    )

    said = [line for line in done.stderr.splitlines() if unit.stem.split("@")[0] in line]
    assert (0, []) == (done.returncode, said), done.stderr
