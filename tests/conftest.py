"""What every test may ask for: Hypothesis profiles, the shared market data, the command line.

The Kafka broker comes from `parity.testing.pytest_plugin`, which users get too.
"""

import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

import parity

pytest_plugins = ["parity.testing.pytest_plugin"]

ROOT = Path(__file__).resolve().parents[1]

# For tests that import onnxruntime themselves; parity.live.inference does the same for users.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# A stop of a command seals all there is, however slow this machine is; tests/simulation/test_drain
# runs one with what is shipped.
os.environ.setdefault("PARITY_STOP_S", "600")

# No deadlines: a shared machine stalls, and timing is measured in benchmarks/ only.
settings.register_profile(
    "dev", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.register_profile("night", deadline=None, max_examples=2_000, print_blob=True)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev")
settings.load_profile(PROFILE)


def pytest_collection_finish() -> None:
    """Under "ci", keep examples from depending on which tests ran before in this process.

    Hypothesis also draws constants it finds in local modules loaded so far: here it knows all of
    ours and the collected tests from the start, and learns of no others. So examples are the same
    where the same files are collected; a run of some files alone may draw others.
    """
    if PROFILE != "ci":
        return
    for module in pkgutil.walk_packages(parity.__path__, "parity."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = providers._get_local_constants()
    providers._get_local_constants = lambda: found


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared market data; a test that asks for it is skipped where it is absent."""
    folder = Path(os.environ.get("PARITY_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"market data absent: {folder} is no folder; set PARITY_SHARED_DATA to it")
    return folder


@pytest.fixture
def cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m parity …` in its own process: `.returncode`, `.stdout`, `.stderr`."""

    def run(
        *arguments: str | Path,
        cwd: Path = ROOT,
        env: dict[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "parity", *map(str, arguments)],
            cwd=cwd,
            env=os.environ | {"NO_COLOR": "1"} | (env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
