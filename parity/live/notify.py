"""What a service manager is told: ready, alive, stopping; datagrams of sd_notify(3).

Alive is said from the loop, so a loop that is held up says nothing, and its manager acts. Nothing
that goes wrong here ends a run. Never here: where the socket is named (an environment).
"""

from __future__ import annotations

import socket
from typing import Final

import structlog

_log = structlog.get_logger("parity.live.notify")

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"


class Notifier:
    """Tells one service manager.

    Args:
        address: of its socket, `@` first where it is an abstract one; "" is nobody.
        watchdog_s: after how long a silence it acts; 0 is never.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._failed = False
        # Half of it, so that one that comes late is no silence.
        self.every_s = watchdog_s / 2

    def tell(self, *words: str, status: str = "") -> None:
        """Tell it; `status` is one line for people."""
        if not self._address:
            return
        lines = [*words, *([f"STATUS={status}"] if status else [])]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.setblocking(False)
                line.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._failed:
                _log.warning("notify_failed", reason=str(error))
            self._failed = True
