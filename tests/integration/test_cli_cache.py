"""`--cache` and PARITY_CACHE: the same run with, without and in spite of a cache."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The demo's recording, to build a cache in."""
    return shutil.copytree(ROOT / "recordings" / "demo", tmp_path / "rec")


def test_digests_are_the_same_with_and_without_a_cache(
    cli: Callable[..., subprocess.CompletedProcess[str]], demo: Path, tmp_path: Path
) -> None:
    """Off and use make none, build makes one, use reads it; a proof holds beside it."""

    def backtest(name: str, *options: str, **environment: str) -> dict[str, str]:
        given = ("backtest", demo, "--strategies", "momentum_kernel", "--out", tmp_path / name)
        done = cli(*given, "--json", *options, env=environment)
        assert done.returncode == 0, done.stderr
        digests: dict[str, str] = json.loads(done.stdout)["digests"]
        return digests

    without = backtest("off", "--cache", "off")
    assert without == backtest("use")
    assert not (demo / "cache").exists()
    assert without == backtest("build", PARITY_CACHE="build")
    (file,) = (demo / "cache").iterdir()
    made = (file.stat().st_ino, file.stat().st_mtime_ns)
    assert without == backtest("again", "--cache", "build") == backtest("used")
    assert made == (file.stat().st_ino, file.stat().st_mtime_ns)
    assert cli("verify", tmp_path / "build").returncode == 0
    part = next((demo / "ticks").iterdir())
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    assert cli("verify", tmp_path / "build").returncode == 3
    refused = cli("backtest", demo, "--strategies", "momentum_kernel", "--out", tmp_path / "x")
    assert (3, True) == (refused.returncode, "has sha256" in refused.stderr)


def test_a_cache_that_cannot_be_written_is_a_warning(
    cli: Callable[..., subprocess.CompletedProcess[str]], demo: Path, tmp_path: Path
) -> None:
    """The backtest runs all the same; a word that is none of the three is refused."""
    (demo / "cache").write_text("")
    given = ("backtest", demo, "--strategies", "momentum_kernel", "--out", tmp_path / "run")
    done = cli(*given, "--cache", "build", "--json")

    assert (0, True) == (done.returncode, json.loads(done.stdout)["ticks"] > 0)
    assert "warning: " in done.stderr
    assert "no cache can be written" in done.stderr
    wrong = cli(*given, "--cache", "always")
    assert wrong.returncode == 2
    assert "expected use, build or off" in wrong.stderr
