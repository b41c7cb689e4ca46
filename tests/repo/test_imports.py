"""Imports point one way: the contracts of .importlinter hold, and each sees what it must see."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the tree in `folder`."""
    command = [LINT_IMPORTS, "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, symlinks kept, in which violations can be planted."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("parity", "strategies", "sources"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    shutil.copy(ROOT / ".importlinter", folder)
    return folder


def test_imports_point_one_way() -> None:
    """The tree keeps every contract."""
    done = lint_imports(ROOT)

    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken." in done.stdout


@pytest.mark.parametrize(
    ("path", "line", "named"),
    [
        ("parity/core/planted.py", "import parity.live", "parity.core.planted -> parity.live"),
        ("parity/core/planted.py", "import time", "parity.core.planted -> time"),
        ("parity/core/planted.py", "import numba", "parity.core.planted -> numba"),
        ("parity/model/planted.py", "from parity import open", "parity.model.planted -> parity"),
        ("parity/live/planted.py", "import duckdb", "parity.live.planted -> duckdb"),
        ("parity/proof/planted.py", "import onnxruntime", "parity.proof.planted -> onnxruntime"),
        ("sources/planted.py", "import confluent_kafka", "parity.sources.planted -> confluent"),
        ("strategies/planted.py", "import parity.core", "parity.strategies.planted -> parity.core"),
        ("strategies/planted.py", "import random", "parity.strategies.planted -> random"),
        ("parity/planted.py", "", "- parity.planted"),
    ],
)
def test_a_planted_violation_is_named(copy: Path, path: str, line: str, named: str) -> None:
    """Each contract fails on an import it forbids and names it; a new room needs a place."""
    planted = copy / path
    planted.write_text(f'"""Planted."""\n{line}\n')
    done = lint_imports(copy)
    planted.unlink()

    assert done.returncode == 1
    assert named in done.stdout


@pytest.mark.parametrize("name", ["strategies", "sources"])
def test_folders_have_one_import_name(name: str) -> None:
    """`import strategies` is refused and names the cure, since it would make a second registry."""
    command = [sys.executable, "-c", f"import {name}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert f"`import parity.{name}` instead" in done.stderr
