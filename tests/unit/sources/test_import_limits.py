"""An import of more files than a process may open: the limit is raised, or it is refused first."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parity.sources.importers.inputs import open_at_once

FILES = 300
HEADER = "ts_event,instrument_token,trade_id,price,quantity\n"
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
        rows = [f"{1_748_736_000_000_000 + k * FILES + n},{n + 1},{k},1.5,2\n" for k in range(2)]
        (folder / f"{n:03}.csv").write_text(HEADER + "".join(rows), "utf-8")
    args = [str(soft), str(hard), str(folder), str(tmp_path / "rec"), sort]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *args], capture_output=True, text=True, check=False
    )
    assert "" == done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("sort", ["", "id"])
def test_the_soft_limit_is_raised_for_a_while(sort: str, tmp_path: Path) -> None:
    """300 files that interleave, where 128 may be open, sorted or not; it comes back afterwards."""
    assert [2 * FILES, [128, FILES + 64]] == _import(tmp_path, 128, FILES + 64, sort)


@pytest.mark.parametrize("sort", ["", "id"])
def test_above_the_hard_limit_it_is_refused_before_a_file_is_opened(
    sort: str, tmp_path: Path
) -> None:
    """With both counts and what to do; sorted or not, one is open of each file."""
    (message, cure), limits = _import(tmp_path, 128, 363, sort)

    said = "import: 300 files are merged, which opens 364 at once; the limit is 363"
    assert said == message
    assert "ulimit -Hn 364" in cure
    assert "--append" in cure
    assert [128, 363] == limits
    assert not (tmp_path / "rec").exists()


@pytest.mark.parametrize(
    ("soft", "files", "during"), [(128, 64, 128), (128, 65, 129), (1024, 65, 1024)]
)
def test_a_limit_is_raised_only_as_far_as_needed(soft: int, files: int, during: int) -> None:
    """64 others may be open beside the files; it comes back after a failure, too."""
    kind = resource.RLIMIT_NOFILE
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    found = []

    def fails() -> None:
        with open_at_once(files):
            found.append(resource.getrlimit(kind))
            raise KeyError

    try:
        with pytest.raises(KeyError):
            fails()
        found.append(resource.getrlimit(kind))
    finally:
        resource.setrlimit(kind, before)

    assert [(during, before[1]), (soft, before[1])] == found
