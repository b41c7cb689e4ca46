"""An import of more files than a process may open: the limit is raised, or it is refused first."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FILES = 300
HEADER = "ts_event,instrument_token,price,quantity\n"
CODE = """
import json, resource, sys
from parity.model.errors import ConfigError
from parity.sources.importers import import_ticks
soft, hard = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
try:
    said = import_ticks(sys.argv[3], sys.argv[4], sort=sys.argv[5] or None).ticks
except ConfigError as error:
    said = [error.message, error.cure]
print(json.dumps([said, resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""


def _import(tmp_path: Path, soft: int, hard: int, sort: str = "") -> Any:
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(FILES):
        rows = [f"{1_748_736_000_000_000 + k * FILES + n},{n + 1},1.5,2\n" for k in range(2)]
        (folder / f"{n:03}.csv").write_text(HEADER + "".join(rows), "utf-8")
    args = [str(soft), str(hard), str(folder), str(tmp_path / "rec"), sort]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *args], capture_output=True, text=True, check=False
    )
    assert "" == done.stderr
    return json.loads(done.stdout)


def test_the_soft_limit_is_raised_for_a_while(tmp_path: Path) -> None:
    """300 files that interleave, where 128 may be open; the limit is what it was afterwards."""
    assert [2 * FILES, [128, 1024]] == _import(tmp_path, 128, 1024)


@pytest.mark.parametrize(("sort", "needed"), [("", 364), ("id", 664)])
def test_above_the_hard_limit_it_is_refused_before_a_file_is_opened(
    sort: str, needed: int, tmp_path: Path
) -> None:
    """With both counts and what to do; sorted, each file has its runs beside it."""
    (message, cure), limits = _import(tmp_path, 128, 363, sort)

    said = f"import: 300 files are merged, which opens {needed} at once; the limit is 363"
    assert said == message
    assert f"ulimit -Hn {needed}" in cure
    assert "--append" in cure
    assert [128, 363] == limits
    assert not (tmp_path / "rec").exists()
