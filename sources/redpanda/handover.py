"""From the reader's thread to the loop: a bounded deque, an eventfd that wakes, waiting for room.

Never here: a broker, or what messages say.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parity.sources.decoding import Messages


class Handover:
    """What was read and not taken yet.

    Args:
        batches_max: beyond, there is no room.

    Attributes:
        queue: batches, the oldest first.
        ended: whether nothing will be put any more.
    """

    def __init__(self, batches_max: int) -> None:
        self.queue: deque[Messages] = deque()
        self.ended = False
        self._batches_max = batches_max
        self._space = threading.Event()
        self._wake_fd = -1
        self._waiter: asyncio.Future[None] | None = None

    # -- the loop's side

    def open(self) -> None:
        """Let the running loop be woken."""
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        asyncio.get_running_loop().add_reader(self._wake_fd, self._woken)

    async def wait(self, wait_s: float) -> None:
        """Wait until there is something, or the end, or for so long."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(wait_s, self._wake_waiter)
        try:
            if not self.queue and not self.ended:
                await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def took(self) -> None:
        """Let the reader know that there may be room."""
        self._space.set()

    def close(self) -> None:
        """Let go of the loop; a second call does nothing."""
        if self._wake_fd >= 0:
            asyncio.get_running_loop().remove_reader(self._wake_fd)
            os.close(self._wake_fd)
            self._wake_fd = -1

    def _woken(self) -> None:
        os.eventfd_read(self._wake_fd)
        self._wake_waiter()

    def _wake_waiter(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- the reader thread's side

    @property
    def full(self) -> bool:
        """Whether there is no room."""
        return len(self.queue) >= self._batches_max

    def put(self, messages: Messages) -> None:
        """Hand over a batch; whoever reads looked for room before."""
        if messages.payloads or messages.gaps:
            self.queue.append(messages)
            os.eventfd_write(self._wake_fd, 1)

    def wait_for_room(self, stopping: threading.Event, wait_s: float) -> None:
        """Wait for room, or a stop, or for so long."""
        self._space.clear()
        # Looked at again after the clear, else a take in between is missed.
        if self.full and not stopping.is_set():
            self._space.wait(wait_s)

    def end(self) -> None:
        """Say that nothing will be put any more."""
        self.ended = True
        os.eventfd_write(self._wake_fd, 1)
