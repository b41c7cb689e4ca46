"""The wheel: one top-level name, real files behind the symlinks, and peace beside a user's folders.

The wheel is built from what git keeps, without isolation and without a package index. It is
installed into an environment that sees this one's libraries but not the repository.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {".py", ".yaml", ".onnx", ".typed"}

STRATEGY = '''"""A user's strategy, in a folder named as ours is."""

import parity as pt


@pt.strategy("dip", history=50)
def dip(tick, history, *, drop=0.004, quantity=1):
    if 1 - tick.price / history.price[0] > drop:
        return pt.SignalResult("BUY", 0.8, quantity, tick.price, "dip")
'''

IMPORTS = """
import parity, parity.sources, parity.strategies, sources.feed, strategies.my
assert sources.feed.MINE and strategies.my.dip
assert "site-packages" in parity.strategies.__file__, parity.strategies.__file__
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command away from the repository and give back what it printed."""
    env = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def kept(*folders: str) -> list[str]:
    """The files that git keeps, or would keep, in some folders of the repository."""
    listing = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders)
    names = run(*listing, cwd=ROOT).split("\0")
    return [name for name in names if name and os.path.lexists(ROOT / name)]


def is_script(path: Path) -> bool:
    """Whether a file is a script beside the data it makes, in a folder that is no package."""
    return path.suffix == ".py" and not (path.parent / "__init__.py").exists()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built in a copy of the tree so that nothing is left behind in the repository."""
    copy = tmp_path_factory.mktemp("tree")
    for name in kept():
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", cwd=copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def user(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's project with its own strategies/ and sources/, and an environment with the wheel."""
    project = tmp_path_factory.mktemp("user")
    for name, text in {
        "strategies/__init__.py": "",
        "strategies/my.py": STRATEGY,
        "sources/__init__.py": "",
        "sources/feed.py": "MINE = True\n",
    }.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text)
    run(sys.executable, "-m", "venv", "--without-pip", "env", cwd=project)
    (packages,) = (project / "env/lib").glob("python*/site-packages")
    # A path file shows this environment's libraries, and not the editable parity: path files of
    # the folders it names are not read.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = (sys.executable, "-m", "pip", "--python", "env", "install", "--no-deps", "--no-index")
    # Told to ignore what is installed: the editable parity of this environment is left alone.
    run(*pip, "--ignore-installed", wheel, cwd=project)
    return project


def test_the_wheel_has_one_top_level_name(wheel: Path) -> None:
    """The wheel's only top-level name is parity."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}

    assert tops == {"parity", f"{wheel.name.rsplit('-', 3)[0]}.dist-info"}


def test_the_wheel_holds_real_files(wheel: Path) -> None:
    """Every module, configuration and model is in the wheel as it is in the repository."""
    with zipfile.ZipFile(wheel) as archive:
        held = {info.filename: archive.read(info) for info in archive.infolist()}
    expected = {
        name if name.startswith("parity/") else f"parity/{name}": (ROOT / name).read_bytes()
        for name in kept("parity", "strategies", "sources")
        if Path(name).suffix in SUFFIXES and not is_script(ROOT / name)
    }

    assert "parity/py.typed" in held
    assert sorted(expected.keys() - held.keys()) == []
    assert [name for name, content in expected.items() if held[name] != content] == []


def test_the_wheel_lives_beside_a_users_folders(user: Path) -> None:
    """A user's own strategies and sources are imported beside ours, each under its own name."""
    run("env/bin/python", "-c", IMPORTS, cwd=user)


@pytest.mark.parametrize("command", [("env/bin/parity",), ("env/bin/python", "-m", "parity")])
def test_the_wheel_checks_a_users_strategy(user: Path, command: tuple[str, ...]) -> None:
    """A user's strategy is checked by `parity` and by `python -m parity`."""
    assert "dip" in run(*command, "check", "strategies/my.py", cwd=user)
