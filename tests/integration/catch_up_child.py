"""A recorder in a process of its own that kills itself amid a catch-up.

Usage: catch_up_child.py FOLDER BOOTSTRAP TOPIC TICKS
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from parity.live.start import start
from parity.sources import synthetic
from parity.sources.codecs.native import NativeDecoder
from parity.sources.redpanda import RedpandaSource


def killed(counts: dict[str, int]) -> None:
    """End this process where enough is recorded; nothing of it gets to say goodbye."""
    if counts["ticks"] >= int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    folder, servers, topic = sys.argv[1:4]
    table = synthetic.TABLE
    source = RedpandaSource(servers, [topic], NativeDecoder(table), messages_max=100)
    asyncio.run(
        start(Path(folder), table, source, created_by="test", stop=asyncio.Event(), progress=killed)
    )
