"""The watchdog's looks, one by one, at a strategy that does not come back."""

import contextlib
import itertools
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parity.live import watchdog
from parity.live.watchdog import ALARMS, BEAT_S, Guard, Watchdog


def test_a_machine_that_stood_still_ends_no_stall(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One call that goes on is one alarm, and the time that nobody had is not counted."""
    frames: list[Any] = [SimpleNamespace(f_code=watchdog._PROCESS)]
    at = SimpleNamespace(executor=None, call=frames[0], file="odd.py", line=1, stack=["x"])
    said: list[str] = []
    monkeypatch.setattr(watchdog, "_frames_of", lambda _: frames)
    monkeypatch.setattr(watchdog, "_at_work", lambda _: at)
    monkeypatch.setattr(watchdog, "_name", lambda _: "odd@paper")
    monkeypatch.setattr(
        watchdog,
        "_log",
        SimpleNamespace(
            error=lambda event, **_: said.append(event),
            warning=lambda event, held_s: said.append(f"{event} {held_s}"),
        ),
    )
    dog = Watchdog(Guard(), tmp_path, list, lambda: None)

    for beat in range(12):
        dog._look(100 + beat * BEAT_S)
    dog._stood_still(50)
    for beat in range(12, 24):
        dog._look(150 + beat * BEAT_S)
    assert ["strategy_stalls"] == said
    frames.clear()
    dog._look(150 + 24 * BEAT_S)

    assert ["strategy_stalls", "strategy_went_on 2.4"] == said
    alarms = [json.loads(line) for line in (tmp_path / ALARMS).read_text().splitlines()]
    assert ["strategy_stalls"] == [alarm["alarm"] for alarm in alarms]


# A turn of the engine that stalls, on a terminal; behind it the run goes on for more processor time
# than the timer allows, which a watchdog that is alive puts back with each look.
_ON_A_TERMINAL = """
import sys, time
from pathlib import Path
from parity.cli.logs import kept_in, log_to_stderr
from parity.live import watchdog

folder = Path(sys.argv[1])
(folder / "manifest.json").write_text("{}")
log_to_stderr("INFO")
assert sys.stderr.isatty()
names = {}
exec(compile("def process(): time.sleep(1.2)", "slow.py", "exec"), {"time": time}, names)
watchdog._PROCESS = names["process"].__code__
with kept_in(folder), watchdog.Watchdog(watchdog.Guard(1.0), folder, list, lambda: None):
    names["process"]()
    spent_s = time.process_time()
    while time.process_time() - spent_s < 1.5:
        pass
print("went on")
"""


def test_a_stall_on_a_terminal_ends_no_healthy_run(tmp_path: Path) -> None:
    """The stack is shown to who looks on, kept with the alarm, and the watchdog lives on."""
    shown, terminal = pty.openpty()
    said = bytearray()

    def look_on() -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while some := os.read(shown, 4096):
                said.extend(some)

    reader = threading.Thread(target=look_on)
    reader.start()
    command = [sys.executable, "-c", _ON_A_TERMINAL, str(tmp_path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, timeout=60)
    os.close(terminal)
    reader.join()
    os.close(shown)

    assert (0, b"went on\n") == (done.returncode, done.stdout), said.decode()
    assert b"strategy_stalls" in said
    assert b"slow.py:1 process" in said
    assert b"strategy_went_on" in said
    assert b"Traceback" not in said
    [alarm] = [json.loads(line) for line in (tmp_path / ALARMS).read_text().splitlines()]
    assert "slow.py:1 process" in alarm["stack"]


def _log_of(said: list[str]) -> SimpleNamespace:
    def say(event: str, **_: Any) -> None:
        said.append(event)

    return SimpleNamespace(warning=say, error=say, critical=say)


def test_an_alarm_that_the_disk_refuses_stops_the_run_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Too much memory is a reason, and is said, also where its line cannot be written."""
    (tmp_path / ALARMS).mkdir()
    said: list[str] = []
    monkeypatch.setattr(watchdog, "_log", _log_of(said))
    dog = Watchdog(Guard(), tmp_path, list, lambda: said.append("stop"))

    dog._weigh(100.0, 1)

    assert ["stop", "alarm_not_kept", "memory_limit"] == said
    assert "MB are allowed" in dog.reason


def test_the_reason_stands_before_it_is_known_who_holds_the_memory(tmp_path: Path) -> None:
    """A run that is stopped for its memory says so whatever fails behind it."""

    def odd() -> list[Any]:
        raise RuntimeError("odd")

    dog = Watchdog(Guard(), tmp_path, odd, lambda: None)

    with pytest.raises(RuntimeError, match="odd"):
        dog._weigh(100.0, 1)

    assert "MB are allowed" in dog.reason


def test_a_watchdog_that_fails_takes_its_timers_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run whose watchdog failed is not watched any more, and not ended either."""

    def fail(now_s: float) -> None:
        raise ValueError("odd look")

    said: list[str] = []
    monkeypatch.setattr(watchdog, "_log", _log_of(said))
    dog = Watchdog(Guard(), tmp_path, list, lambda: None)
    monkeypatch.setattr(dog, "_look", fail)

    with dog:
        dog._thread.join(10)
        assert not dog._thread.is_alive()
        assert (0.0, 0.0) == signal.getitimer(signal.ITIMER_PROF)
        assert (0.0, 0.0) == signal.getitimer(signal.ITIMER_VIRTUAL)

    assert ["watchdog_stopped"] == said


@pytest.mark.parametrize("broken", ["log", "alarm"])
def test_the_end_comes_also_where_it_cannot_be_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: str
) -> None:
    """A strategy that blocks ends the process, whatever becomes of the last words."""

    def fail(*_: Any, **__: Any) -> Any:
        raise ValueError(broken)

    frames: list[Any] = [SimpleNamespace(f_code=watchdog._PROCESS)]
    at = SimpleNamespace(executor=None, call=frames[0], file="odd.py", line=1, stack=["x"])
    monkeypatch.setattr(watchdog, "_frames_of", lambda _: frames)
    monkeypatch.setattr(watchdog, "_at_work", lambda _: at)
    monkeypatch.setattr(watchdog, "_log", SimpleNamespace(critical=fail))
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    dog = Watchdog(Guard(0.2), tmp_path, list, lambda: None)
    if broken == "alarm":
        monkeypatch.setattr(dog, "_alarm", fail)

    dog._look(100.0)
    try:
        with pytest.raises(ValueError, match=broken):  # a real exit does not come back
            dog._look(100.5)
    finally:
        watchdog._disarm()

    assert [watchdog.EXIT_CODE] == ended


_BUSY = """
import sys, time
from pathlib import Path
from parity.live import watchdog

with watchdog.Watchdog(watchdog.Guard(), Path(sys.argv[1]), list, lambda: None):
    print("ready", flush=True)
    spent_s = time.process_time()
    while time.process_time() - spent_s < 1.0:
        pass
print("went on")
"""


def test_a_process_that_was_frozen_wakes_up_without_a_dump(tmp_path: Path) -> None:
    """No stack is read without Python's lock as it wakes: its threads run, and it could end it."""
    with subprocess.Popen(
        [sys.executable, "-c", _BUSY, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        for _ in range(2):
            time.sleep(0.2)  # some looks, which set the timers
            process.send_signal(signal.SIGSTOP)
            time.sleep(1.5)
            process.send_signal(signal.SIGCONT)
        shown, said = process.communicate(timeout=180)

    assert (0, "went on\n") == (process.returncode, shown)
    assert "hread 0x" not in said


@pytest.mark.parametrize(("computes", "ended"), [(1.0, 5), (0.0, 0)])
def test_late_beats_count_as_far_as_this_process_computed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, computes: float, ended: int
) -> None:
    """Of looks two seconds apart: all of it where somebody computed, nothing where all stood."""
    frames: list[Any] = [SimpleNamespace(f_code=watchdog._PROCESS)]
    at = SimpleNamespace(executor=None, call=frames[0], file="odd.py", line=1, stack=["x"])
    now_s, looks, ends = 100.0, 0, []

    def wait(beat_s: float) -> bool:
        nonlocal now_s, looks
        now_s += 2
        looks += 1
        return looks > 5

    monkeypatch.setattr(watchdog, "_frames_of", lambda _: frames)
    monkeypatch.setattr(watchdog, "_at_work", lambda _: at)
    monkeypatch.setattr(watchdog, "_log", _log_of([]))
    clocks = {"monotonic": lambda: now_s, "process_time": lambda: now_s * computes}
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(time_ns=time.time_ns, **clocks))
    dog = Watchdog(Guard(7.0), tmp_path, list, lambda: None)
    monkeypatch.setattr(dog, "_left", SimpleNamespace(wait=wait))
    monkeypatch.setattr(dog, "_end", lambda *_: ends.append(looks))

    try:
        dog._look_on()
    finally:
        watchdog._disarm()

    assert ended == max(ends, default=0)


def test_what_a_look_writes_is_no_hold_of_the_lock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file may cost several waits for the lock: the timer has room for them until it is done."""
    frames: list[Any] = [SimpleNamespace(f_code=watchdog._PROCESS)]
    at = SimpleNamespace(executor=None, call=frames[0], file="odd.py", line=1, stack=["x"])
    armed_s: list[float] = []
    waiting_s: list[float] = []
    working_s: list[float] = []

    def arm(which: int, seconds: float) -> None:
        if which == signal.ITIMER_PROF:
            armed_s.append(seconds)

    def wait(beat_s: float) -> bool:
        waiting_s.extend(armed_s[-1:])
        return len(waiting_s) == 12  # more than a second: there was an alarm

    monkeypatch.setattr(watchdog, "_frames_of", lambda _: frames)
    monkeypatch.setattr(watchdog, "_at_work", lambda _: at)
    monkeypatch.setattr(watchdog, "_log", _log_of([]))
    beats = itertools.count(100.0, BEAT_S)
    clocks = {"monotonic": lambda: next(beats), "process_time": lambda: 0.0}
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(time_ns=time.time_ns, **clocks))
    monkeypatch.setattr(signal, "setitimer", arm)
    dog = Watchdog(Guard(3.0, 1 << 60), tmp_path, list, lambda: None)
    monkeypatch.setattr(dog, "_left", SimpleNamespace(wait=wait))
    monkeypatch.setattr(dog, "_write", lambda *_: working_s.append(armed_s[-1]))
    monkeypatch.setattr(dog, "_weigh", lambda *_: working_s.append(armed_s[-1]))

    dog._look_on()

    assert {3.0} == set(waiting_s)
    assert len(waiting_s) < len(working_s)  # an alarm beside the weighings
    assert min(working_s) >= 3.0 + watchdog._LAST_WORDS_S


# One call of a strategy that lets go of Python's lock about once a second only, between calls into
# C: the watchdog's beats come that late.
_IN_PIECES = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from parity.live import watchdog

rows, used_s = 10_000_000, 0.0
while not 0.75 < used_s < 0.95:
    began_s = time.process_time()
    sum(range(rows))
    used_s = time.process_time() - began_s
    rows = int(rows * 0.85 / used_s)

names = {}
body = "def process(limit_s):\\n while time.process_time() < limit_s:\\n  sum(range(rows))"
exec(compile(body, "slow.py", "exec"), {"time": time, "rows": rows}, names)
watchdog._PROCESS = names["process"].__code__
executor = SimpleNamespace(key=("odd", "paper"))
watchdog._at_work = lambda frames: watchdog._AtWork(
    executor, next((f for f in frames if f.f_code is watchdog._PROCESS), None), "slow.py", 1, ["x"]
)
with watchdog.Watchdog(watchdog.Guard(2.0), Path(sys.argv[1]), list, lambda: None):
    names["process"](time.process_time() + 60)
print("went on")
"""


@pytest.mark.slow
def test_a_call_that_holds_the_lock_in_pieces_comes_to_its_end(tmp_path: Path) -> None:
    """Late beats are no machine that stood still, and pieces of a second no hold of two."""
    command = [sys.executable, "-c", _IN_PIECES, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)

    assert watchdog.EXIT_CODE == done.returncode, done.stdout + done.stderr
    alarms = [json.loads(line) for line in (tmp_path / ALARMS).read_text().splitlines()]
    assert ["strategy_stalls", "strategy_blocks"] == [alarm["alarm"] for alarm in alarms]
    assert "odd" == alarms[-1]["strategy_id"]
