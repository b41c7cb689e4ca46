"""`python -m benchmarks.guard` on a copy of the tree: what it counts, and how it refuses.

Counts are exact, so a change is planted and must be named. What is timed is never asserted here:
`--aa` and `--plant` measure that (benchmarks/README.md).
"""

import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.guard.hook import Allocations
from benchmarks.guard.sides import CODE

ROOT = Path(__file__).resolve().parents[3]
DETECT = "parity/core/detect.py"
TICK_LOOP = "                history._end = end\n"
BATCH = "        todo: Sequence[int] = range(len(view)) if rows is None else rows.tolist()\n"
WHO = ["-c", "user.name=guard", "-c", "user.email=guard@example.invalid"]

Guard = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow


def git(folder: Path, *words: str) -> str:
    """What git says in a folder."""
    said = subprocess.run(
        ["git", *WHO, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return said.stdout


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of its own with the code and the guard, all of it committed."""
    folder = tmp_path_factory.mktemp("copied")
    listed = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]
    for name in git(ROOT, *listed, *CODE, "benchmarks", "requirements").split("\0"):
        if name and (ROOT / name).is_symlink() | (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    git(folder, "init", "--quiet", "--initial-branch=trunk")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=base")
    return folder


@pytest.fixture
def tree(copied: Path) -> Iterator[Path]:
    """The copy, put back at the end."""
    yield copied
    git(copied, "reset", "--quiet", "--hard")


@pytest.fixture
def guard(tree: Path) -> Guard:
    """Run the real command in the copy, on the cheapest work."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        asked = [sys.executable, "-m", "benchmarks.guard", *words]
        return subprocess.run(asked, cwd=tree, capture_output=True, text=True, check=False)

    return run


def plant(tree: Path, path: str, old: str, new: str) -> None:
    """Put something else in the place of the only piece of a file that says so."""
    text = (tree / path).read_text()
    assert 1 == text.count(old), f"{path} has changed: plant it elsewhere"
    (tree / path).write_text(text.replace(old, new))


def named(said: subprocess.CompletedProcess[str]) -> list[str]:
    """What alarmed, by name."""
    lines = [line for line in said.stdout.splitlines() if line.endswith("  MORE")]
    return [line.split()[1] for line in lines]


@pytest.mark.parametrize(
    ("where", "planted", "expected"),
    [
        pytest.param(TICK_LOOP, "spare = end", [], id="nothing"),
        pytest.param(TICK_LOOP, "spare = [end]", ["allocations"], id="an allocation a tick"),
        pytest.param(
            TICK_LOOP,
            "self.__dict__.setdefault('spare', []).append([end])",
            ["allocations", "blocks"],
            id="blocks kept",
        ),
        pytest.param(
            BATCH,
            "len(view) % 4096 and __import__('numba').njit(lambda: 1)()",  # the last batch
            ["allocations", "blocks", "compiles"],
            id="a compile a pass",
        ),
    ],
)
def test_what_is_planted_in_the_tick_path_is_named(
    tree: Path, guard: Guard, where: str, planted: str, expected: list[str]
) -> None:
    """An allocation a tick, blocks kept and compiles each alarm by name; nothing else does."""
    indent = " " * (len(where) - len(where.lstrip()))
    plant(tree, DETECT, where, f"{where}{indent}{planted}\n")

    said = guard("--base", "HEAD", "--counts", "--work", "python-1")

    assert expected == named(said), said.stdout + said.stderr
    assert said.returncode == (1 if expected else 0)
    assert 1 == git(tree, "worktree", "list").count("\n")


def test_the_code_beside_itself_counts_the_same(guard: Guard) -> None:
    """Every work counts alike on both sides where the code is the same."""
    said = guard("--base", "HEAD", "--aa", "1", "--counts")

    assert [] == named(said), said.stdout + said.stderr
    assert 5 == said.stdout.count("allocations")
    assert 0 == said.returncode


def test_other_work_is_refused(tree: Path, guard: Guard) -> None:
    """Sides that find another number of candidates are not compared."""
    plant(tree, "strategies/rules/momentum.py", "if abs(change) <=", "if 2.0 * abs(change) <=")

    said = guard("--base", "HEAD", "--counts", "--work", "python-1")

    assert 2 == said.returncode
    assert "not the same work" in said.stderr


def test_a_side_that_cannot_work_is_named(tree: Path, guard: Guard) -> None:
    """What one side raises is shown, with the side's name."""
    (tree / "parity/core/merge.py").write_text("raise RuntimeError('planted')\n")

    said = guard("--base", "HEAD", "--counts", "--work", "python-1")

    assert 2 == said.returncode
    assert "head cannot do it: RuntimeError: planted" in said.stderr


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["--base", "nowhere"], "--base nowhere: no such commit"),
        ([], "neither origin/main nor main is here; name a commit"),
        (["--base", "HEAD"], "nothing to compare"),
        (["--base", "HEAD", "--pairs", "3"], "--pairs 3: fewer than 9 can never alarm"),
        (["--base", "HEAD", "--plant", "5"], "give --aa"),
        (["--base", "HEAD", "--aa", "1", "--plant", "5", "--counts"], "leave --counts out"),
        (["--base", "HEAD", "--work", "all"], "invalid choice: 'all'"),
        (["--base", "HEAD", "--rounds", "0"], "invalid number ≥ 1 value: '0'"),
    ],
)
def test_wrong_input_is_refused(guard: Guard, words: list[str], cure: str) -> None:
    """What cannot be measured ends with exit code 2 and says why."""
    said = guard(*words)

    assert 2 == said.returncode
    assert cure in said.stderr


def test_make_passes_the_base_on() -> None:
    """`make bench-guard BASE=REV` names the commit; without BASE the command chooses."""

    def asked(*words: str) -> str:
        dry = ["make", "--dry-run", "--no-print-directory", "bench-guard", *words]
        said = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True)
        return said.stdout.splitlines()[-1].strip()

    assert asked("BASE=v1").endswith("python -m benchmarks.guard --base v1")
    assert asked().endswith("python -m benchmarks.guard")


def test_the_hook_counts_each_request() -> None:
    """A thousand objects more are a thousand requests more, and none are counted outside."""
    hook = Allocations()

    def made(count: int) -> int:
        before = hook.count
        for _ in itertools.repeat(None, count):
            object()
        return hook.count - before

    with hook:
        made(1000)
        few, many = made(0), made(1000)

    assert 1000 == many - few
    assert 0 == made(1000)
