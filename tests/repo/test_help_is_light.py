"""`parity --help` answers at once: heavy libraries are loaded inside the commands only."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"duckdb", "pyarrow", "polars", "numba", "onnxruntime", "confluent_kafka", "pydantic"}


def test_help_loads_no_heavy_library() -> None:
    """`python -m parity --help` loads none of the heavy libraries."""
    command = [sys.executable, "-X", "importtime", "-m", "parity", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(re.findall(r"^import time:.*\|\s+([\w.]+)$", done.stderr, flags=re.MULTILINE))

    assert "parity.cli" in loaded, "the list of loaded modules could not be read"
    assert HEAVY & {name.partition(".")[0] for name in loaded} == set()
