"""The child's side of the talk between a broker process and its owner.

One text command a line comes in on stdin, one JSON object a line goes out on stdout. The loop
ends, and with it the broker, when the owner says ``stop``, closes the pipe or dies: the end of
stdin and a changed parent are both watched, because a fork of the owner may keep the pipe open.

No knowledge of Kafka, of the mock or of confluent_kafka belongs here.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from parity.model.errors import ParityError

if TYPE_CHECKING:
    from types import FrameType

Answer = dict[str, object]
Command = Callable[..., Answer]

_PARENT_CHECK_S = 1.0
_LINE_BYTES_MAX = 65_536


def serve(
    folder: str,
    start: Callable[[], Answer],
    commands: Mapping[str, Command],
    close: Callable[[], None],
) -> None:
    """Start something, answer commands until the owner says ``stop`` or is gone, then close it.

    Args:
        folder: the temporary folder; removed at the end.
        start: called first; what it returns is the first answer. When it raises, that is the first
            answer, and the owner decides when to stop: it still wants the logs in the folder.
        commands: what to call for each word; the other words of the line are its arguments. An
            exception of a command is answered as ``{"ok": false, "error": ...}`` and ends nothing.
        close: called at the end, also after a failed start and on SIGTERM.
    """
    parent = os.getppid()
    signal.signal(signal.SIGTERM, _leave)
    try:
        _answer(start)
        for line in _lines_of_owner(parent):
            word, *arguments = line.split() or [""]
            if word == "stop":
                break
            _answer(partial(_run, commands, word, arguments))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is on its way: let it tidy up
        close()
        shutil.rmtree(folder, ignore_errors=True)


def _run(commands: Mapping[str, Command], word: str, arguments: list[str]) -> Answer:
    if word not in commands:
        raise ValueError(f"unknown command {word!r}; known: {', '.join(sorted(commands))}")
    return commands[word](*arguments)


def _answer(work: Callable[[], Answer]) -> None:
    try:
        fields = {"ok": True, **work()}
    except Exception as error:  # whatever it is, the owner must hear of it
        name = "" if isinstance(error, ParityError) else f"{type(error).__name__}: "
        fields = {"ok": False, "error": f"{name}{error}"}
    try:
        print(json.dumps(fields), flush=True)
    except BrokenPipeError:
        # The reading side notices that the owner is gone. Python flushes stdout once more on its
        # way out, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)  # so that `finally` closes the broker and tidies up


def _lines_of_owner(parent: int) -> Iterator[str]:
    pending = b""
    while os.getppid() == parent:
        readable, _, _ = select.select([0], [], [], _PARENT_CHECK_S)
        if not readable:
            continue
        received = os.read(0, 4096)
        pending += received
        if not received or len(pending) > _LINE_BYTES_MAX:
            return
        *whole, pending = pending.split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
