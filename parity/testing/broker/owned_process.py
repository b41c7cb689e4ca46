"""The owner's side: a child process that cannot outlive the process that started it.

The child has its own process group (a Ctrl-C in the terminal does not reach it), a temporary folder
that both sides remove, and a pipe whose end it watches. `stop` asks, waits, then kills the group.

No knowledge of Kafka, of the mock or of confluent_kafka belongs here.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parity.testing.broker.errors import BrokerError
from parity.testing.broker.limits import ANSWER_LIMIT_S, STOP_LIMIT_S

LOG_TAIL_LINES = 15


class OwnedProcess:
    """A Python module of ours that runs as a child and answers one JSON line to each line.

    Args:
        module: what ``python -m`` runs; its first argument is the temporary folder.
        arguments: its other arguments.
        name: what people call it, in messages and in the name of the folder.
        hello_limit_s: how long its first answer may take.

    Attributes:
        hello: its first answer.
        folder: its temporary folder; gone after `stop`.

    Raises:
        BrokerError: it ended, answered an error or said nothing in time; nothing is left of it.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], *, name: str, hello_limit_s: float
    ) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"parity-{name}-"))
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._received = b""
        self._stopped = False
        with open(self.folder / "child.log", "ab") as log:
            self._process = subprocess.Popen(
                # -P: a file of the user's folder must not stand in for a module of ours.
                [sys.executable, "-P", "-m", module, str(self.folder), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(),
                start_new_session=True,
                bufsize=0,
            )
        atexit.register(self.stop)
        try:
            self.hello = self._answer(hello_limit_s)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The child's process id, which is also its process group."""
        return self._process.pid

    def request(self, line: str, *, limit_s: float = ANSWER_LIMIT_S) -> dict[str, Any]:
        """Send one command and return its answer.

        Args:
            line: the command and its arguments, separated by spaces.
            limit_s: how long the answer may take.

        Returns:
            The fields of the answer.

        Raises:
            BrokerError: the process was stopped, has died, refused or said nothing in time.
        """
        with self._lock:
            if self._stopped:
                raise BrokerError(f"{self.name}: was stopped, cannot do {line!r}")
            assert self._process.stdin is not None
            # A dead child is told by the missing answer, with the tail of its log.
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line.encode() + b"\n")
            return self._answer(limit_s)

    def freeze(self) -> None:
        """Stop it and its children where they stand; nothing answers until `thaw`."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGCONT)

    def log_tail(self) -> str:
        """Return the last lines of every log in the folder, for an error message."""
        tails = [
            "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
            for log in sorted(self.folder.glob("*.log"))
        ]
        return "\n".join(tail for tail in tails if tail)

    def stop(self) -> None:
        """End the process and remove its folder; a second call does nothing."""
        if os.getpid() != self._owner:
            return  # a fork of the owner leaves: the broker is not its to end
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            process = self._process
            assert process.stdin is not None
            assert process.stdout is not None
            self.thaw()
            process.terminate()  # reaches a child that is still starting; the closed pipe any other
            with contextlib.suppress(OSError):
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_LIMIT_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also whatever the child left behind
            process.wait()
            process.stdout.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            atexit.unregister(self.stop)

    def _answer(self, limit_s: float) -> dict[str, Any]:
        line = self._read_line(time.monotonic() + limit_s, limit_s)
        fields: dict[str, Any] = json.loads(line)
        if not fields.pop("ok"):
            raise self._error(str(fields.get("error")))
        return fields

    def _read_line(self, deadline: float, limit_s: float) -> bytes:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._received:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise self._error(f"said nothing for {limit_s:g} s")
                received = os.read(self._process.stdout.fileno(), 4096)
                if not received:
                    raise self._error(f"ended with code {self._process.wait(STOP_LIMIT_S)}")
                self._received += received
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _error(self, what: str) -> BrokerError:
        tail = self.log_tail()
        return BrokerError(f"{self.name}: {what}" + (f"\n{tail}" if tail else ""))


def _environment() -> dict[str, str]:
    # The child must find this same parity, installed or not, from whatever folder we run in.
    root = str(Path(__file__).resolve().parents[3])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
