"""`parity status`: of a living run, of one that ended, was killed or failed; and its kept log."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from parity.live.calling import lives
from parity.live.kept_log import FILE, OLDER, KeptLog, last_error
from parity.sources.synthetic import make_recording

ROOT = Path(__file__).resolve().parents[2]
Cli = Callable[..., subprocess.CompletedProcess[str]]
RULES = ("-s", "momentum", "--set", "threshold=0.0003")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic recording."""
    folder = tmp_path_factory.mktemp("status") / "rec"
    make_recording(folder, ticks=30_000)
    return folder


def start(recording: Path, run: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a paper run at a pace, and wait for its door."""
    command = (*(sys.executable, "-m", "parity", "paper", run, *RULES),
               *("--recording", recording, "--pace", "300", "--metrics", "0"))  # fmt: skip
    process = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=os.environ | environment,
    )  # fmt: skip

    def there() -> bool:
        assert process.poll() is None, process.communicate()[1]
        return run.is_dir() and lives(run)

    until(there)
    return process


def shown(cli: Cli, run: Path) -> dict[str, Any]:
    """Return what status says as JSON."""
    done = cli("status", run, "--json")
    assert 0 == done.returncode, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def take(manager: socket.socket, told: list[bytes]) -> None:
    """Take what a service manager is told, until the socket is shut down."""
    while one := manager.recv(4096):
        told.append(one)


@pytest.mark.slow
def test_a_run_is_seen_alive_stopped_and_proved(cli: Cli, recording: Path, tmp_path: Path) -> None:
    """The service manager is told of it; the states at the end are those of its report."""
    run = tmp_path / "run"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        told: list[bytes] = []
        taker = threading.Thread(target=take, args=(manager, told))
        taker.start()
        living = start(recording, run, NOTIFY_SOCKET=str(tmp_path / "n"), WATCHDOG_USEC="400000")
        try:
            cli("control", run, "pause", "momentum", "--reason", "looking")
            now = shown(cli, run)
            text = cli("status", run).stdout
            watching = subprocess.Popen(
                [sys.executable, "-m", "parity", "status", str(run), "--watch", "--every-s", "0.2"],
                stdout=subprocess.PIPE, text=True, cwd=ROOT,
            )  # fmt: skip
            living.send_signal(signal.SIGTERM)
            _, said = living.communicate(timeout=180)
            assert watching.communicate(timeout=180)[0]
            assert 0 == watching.returncode
        finally:
            living.kill()
            manager.shutdown(socket.SHUT_RDWR)
            taker.join()
    assert 0 == living.returncode, said
    ready = next(n for n, one in enumerate(told) if one.startswith(b"READY=1"))
    assert any(b"WATCHDOG=1\nSTATUS=running: " in one for one in told[ready:])
    assert b"STOPPING=1" in told[ready:]
    ended = shown(cli, run)
    cli("verify", run)
    proved = shown(cli, run)

    assert now["alive"]
    assert ("running", living.pid) == (now["now"]["phase"], now["now"]["pid"])
    assert ("PAUSED", "looking") == (now["strategies"][0]["state"], now["strategies"][0]["reason"])
    assert now["now"]["ticks"] > 0
    assert {"strategy_paused": 1} == now["now"]["events"]
    for words in ("running", "PAUSED", "looking", "disk left", "last verify", "process_tick"):
        assert words in text
    assert (False, "complete", None) == (ended["alive"], ended["state"], ended["now"])
    assert "PAUSED" == ended["strategies"][0]["state"]
    assert ended["last_seq"] > now["last_seq"]
    assert (None, "identical") == (ended["last_verify"], proved["last_verify"]["verdict"])
    assert "metrics_at" in (run / FILE).read_text()


@pytest.mark.slow
def test_a_killed_run_and_one_that_failed_tell_from_their_folder(
    cli: Cli, recording: Path, tmp_path: Path
) -> None:
    """SIGKILL leaves it open, a failed start its error; a recording has no strategies."""
    run = tmp_path / "run"
    living = start(recording, run)
    until(lambda: bool(shown(cli, run)["last_seq"]))
    living.kill()
    living.communicate()
    killed = shown(cli, run)
    failed = cli("paper", run, *RULES, "--set", "threshold=0.5", "--recording", recording)
    found = shown(cli, run)
    plain = shown(cli, recording)
    text = cli("status", run).stdout

    assert (False, "open", "INIT") == (
        killed["alive"], killed["state"], killed["strategies"][0]["state"]
    )  # fmt: skip
    assert "no runner lives in it" in killed["said"]
    assert killed["last_seq"] > killed["decided_seq"] == 0
    assert 2 == failed.returncode
    assert ("ended_with_error", 2) == (
        found["last_error"]["event"], found["last_error"]["exit_code"]
    )  # fmt: skip
    assert "another configuration" in found["last_error"]["error"]
    assert "ended_with_error" in text
    assert ("recording", "sealed", [], 30_000) == (
        plain["kind"], plain["state"], plain["strategies"], plain["last_seq"]
    )  # fmt: skip
    assert 3 == cli("status", tmp_path / "absent").returncode
    assert 3 == cli("status", tmp_path).returncode
    assert 2 == cli("status", run, "--watch", "--json").returncode


def test_the_log_waits_for_its_folder_and_stays_small(tmp_path: Path) -> None:
    """Lines from before the manifest come first; a full file is put aside, one older is kept."""
    folder = tmp_path / "run"
    kept = KeptLog(folder, bytes_max=300)
    kept.add({"event": "early", "level": "info"})
    assert not folder.exists()
    folder.mkdir()
    (folder / "manifest.json").touch()
    for n in range(20):
        kept.add({"event": "later", "level": "warning" if n == 13 else "info", "n": n})
    sizes = [(folder / name).stat().st_size for name in (FILE, OLDER)]

    assert max(sizes) <= 300
    lines = [json.loads(line) for line in (folder / FILE).read_text().splitlines()]
    assert 19 == lines[-1]["n"]
    assert last_error(tmp_path) is None


def test_the_last_error_is_the_last_alarm(tmp_path: Path) -> None:
    """Behind it there may be calmer lines, and a torn one; before it others."""
    (tmp_path / "manifest.json").touch()
    kept = KeptLog(tmp_path)
    for level, event in (("error", "one"), ("warning", "two"), ("info", "three")):
        kept.add({"event": event, "level": level})
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"event": "torn", "level": "err')

    assert {"event": "two", "level": "warning"} == last_error(tmp_path)


def test_a_disk_that_refuses_costs_lines_alone(tmp_path: Path) -> None:
    """A folder in the log's place: nothing is raised, and nothing is said."""
    (tmp_path / "manifest.json").touch()
    (tmp_path / FILE).mkdir()
    KeptLog(tmp_path).add({"event": "one", "level": "error"})

    assert last_error(tmp_path) is None
