"""The error that ends a live command, in the log of the folder it was about."""

import json
from pathlib import Path

import pytest

from parity.cli.logs import kept_in
from parity.live.kept_log import FILE
from parity.model.errors import ConfigError
from parity.recording.holding import FolderHeld, held


def test_an_error_is_the_last_line(tmp_path: Path) -> None:
    """What ended the runner stands in its own log, with the exit code."""
    (tmp_path / "manifest.json").write_text("{}")

    with pytest.raises(ConfigError), kept_in(tmp_path):
        raise ConfigError("no good", cure="mend it")

    last = json.loads((tmp_path / FILE).read_text().splitlines()[-1])
    assert ("ended_with_error", "no good", 2) == (last["event"], last["error"], last["exit_code"])


def test_who_is_kept_out_writes_nothing(tmp_path: Path) -> None:
    """A second runner leaves no line in the log of the one that lives: `status` would show it."""
    (tmp_path / "manifest.json").write_text("{}")

    with held(tmp_path), pytest.raises(FolderHeld), kept_in(tmp_path), held(tmp_path):
        pass

    assert not (tmp_path / FILE).exists()
