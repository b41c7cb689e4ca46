"""The log in a run's folder: each line once, from whatever thread it comes."""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from parity.live.kept_log import FILE, OLDER, KeptLog

THREADS, LINES = 4, 500


def folder_of_a_run(tmp_path: Path) -> Path:
    """Return a folder that holds a run."""
    (tmp_path / "manifest.json").write_text("{}")
    return tmp_path


def test_threads_that_speak_at_once_lose_no_line_and_double_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The loop, the watchdog and librdkafka's threads log into one file."""
    kept = KeptLog(folder_of_a_run(tmp_path))
    failed: list[BaseException] = []
    monkeypatch.setattr(threading, "excepthook", lambda said: failed.append(said.exc_value))
    before = sys.getswitchinterval()

    def say(thread: int) -> None:
        for n in range(LINES):
            kept.add({"thread": thread, "n": n})

    threads = [threading.Thread(target=say, args=(thread,)) for thread in range(THREADS)]
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)

    said = [json.loads(line) for line in (tmp_path / FILE).read_bytes().splitlines()]
    assert [] == failed
    assert THREADS * LINES == len(said)
    for thread in range(THREADS):
        assert [*range(LINES)] == [one["n"] for one in said if one["thread"] == thread]


def test_a_file_that_is_full_costs_no_second_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each write opens once and closes once: a number closed twice is somebody else's file."""
    opened: list[int] = []
    closed: list[int] = []
    real_open, real_close = os.open, os.close

    def open_one(*arguments: Any) -> int:
        opened.append(real_open(*arguments))
        return opened[-1]

    def close_one(file: int) -> None:
        closed.append(file)
        real_close(file)

    kept = KeptLog(folder_of_a_run(tmp_path), bytes_max=30)
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", open_one)
        patched.setattr(os, "close", close_one)
        for n in range(3):
            kept.add({"event": "said", "n": n})

    assert 3 == len(opened)
    assert opened == closed
    assert {"event": "said", "n": 1} == json.loads((tmp_path / OLDER).read_bytes())
    assert {"event": "said", "n": 2} == json.loads((tmp_path / FILE).read_bytes())


def test_a_disk_that_refuses_costs_lines_alone(tmp_path: Path) -> None:
    """What could not be written waits for the next line."""
    folder = folder_of_a_run(tmp_path)
    kept = KeptLog(folder)
    (folder / FILE).mkdir()

    kept.add({"n": 1})
    (folder / FILE).rmdir()
    kept.add({"n": 2})

    said = (folder / FILE).read_bytes().splitlines()
    assert [{"n": 1}, {"n": 2}] == [json.loads(line) for line in said]


@pytest.mark.parametrize("refused", [False, True])
def test_a_line_from_within_does_not_hang_and_none_is_doubled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: bool
) -> None:
    """A finalizer, or a signal's handler, may speak while its own thread writes."""
    kept = KeptLog(folder_of_a_run(tmp_path))
    real, within = os.open, [{"n": 2}, {"n": 3}]

    def open_one(*arguments: Any) -> int:
        assert kept._lock.acquire(blocking=False), "it would wait for itself"
        kept._lock.release()
        if not within:
            return real(*arguments)
        kept.add(within.pop())
        if refused:
            raise OSError("full")
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", open_one)
        kept.add({"n": 1})
    kept.add({"n": 4})

    said = [json.loads(line)["n"] for line in (tmp_path / FILE).read_bytes().splitlines()]
    assert [1, 2, 3, 4] == sorted(said)
