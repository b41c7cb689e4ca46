"""The same digests from another process, whatever its hash seed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, sys, tempfile
from pathlib import Path
import parity as pt
out = Path(tempfile.mkdtemp()) / "run"
run = pt.backtest("recordings/demo", "strategies/configs/demo.yaml", out=out)
shown = run.summary()
verdict = pt.verify(run).verdict
print(json.dumps([hash("x"), verdict, shown["digests"], shown["strategies"]]))
"""


def other_process(hash_seed: str, folder: Path) -> list[Any]:
    """Return hash("x"), the verdict, and the digests that a process with a hash seed found."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_digests_do_not_depend_on_the_process(tmp_path: Path) -> None:
    """Processes with hash seeds 1, 2 and a random one give the checked-in digests and verify."""
    golden = json.loads((ROOT / "recordings" / "demo-golden" / "digests.json").read_text())
    hashes = set()
    for hash_seed in ("1", "2", "random"):
        hashed, verdict, digests, strategies = other_process(hash_seed, tmp_path)
        hashes.add(hashed)

        assert "identical" == verdict
        assert golden["digests"] == digests
        for name, expected in golden["executors"].items():
            assert expected["digests"] == strategies[name]["digests"], name
    assert len(hashes) > 1  # the seeds did reach the processes
