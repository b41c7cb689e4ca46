"""Debian's libfaketime, with which a test sets the wall clock of one process as it runs.

It comes from the machine, from the cache of downloads, or once from the package's own archive;
where none of them has it, a test is skipped and says so.
"""

import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from parity.testing.broker.kafka_jars import cache_folder

_LIBRARY = "usr/lib/*/faketime/libfaketimeMT.so.1"
# It refuses absolute sleeps on the monotonic clock, which is how Python sleeps.
PROGRAM = "import threading, time; time.sleep = lambda s: threading.Event().wait(s)"


class FakeTime:
    """The wall clock of the processes that are started with `environment`.

    Args:
        file: says how far it is off; made here.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",  # seconds between looks at the file
        }

    def set(self, seconds: int) -> None:
        """Let the wall clock be that far ahead of the machine's within a second."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}")
        fresh.replace(self._file)


def _library() -> Path:
    cache = cache_folder() / f"faketime-{platform.machine()}"
    for root in (Path("/"), cache):
        if found := sorted(root.glob(_LIBRARY)):
            return found[0]
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        pytest.skip("libfaketime absent, and no apt-get to fetch it: install libfaketime")
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
        fetched = subprocess.run(
            ["apt-get", "download", "libfaketime"], cwd=folder, capture_output=True, text=True
        )
        packages = sorted(Path(folder).glob("*.deb"))
        if fetched.returncode or not packages:
            pytest.skip(f"libfaketime absent, apt-get download failed: {fetched.stderr.strip()}")
        fresh = Path(folder) / "unpacked"
        subprocess.run(["dpkg", "-x", packages[0], fresh], check=True)
        if not cache.exists():  # another process may have been faster
            fresh.rename(cache)
    return min(cache.glob(_LIBRARY))
