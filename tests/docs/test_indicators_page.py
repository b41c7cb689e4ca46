"""docs/indicators.md is what the code writes, and its example runs."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from parity.kernels.catalogue import page

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "indicators.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_the_page_is_current() -> None:
    """Write it anew with `python -m parity.kernels.catalogue > docs/indicators.md`."""
    assert page() == PAGE


@pytest.mark.slow
def test_the_example_on_columns_runs() -> None:
    """Its assertions hold."""
    exec(BLOCKS[0], {})


@pytest.mark.slow
def test_processor_and_kernel_of_the_page_are_one(cli: Cli, tmp_path: Path) -> None:
    """Both pass check, and give the same candidates and decisions on the demo recording."""
    for name, block in zip(("oversold", "compiled"), BLOCKS[1:], strict=True):
        (tmp_path / f"{name}.py").write_text(block)
    (tmp_path / "recordings").symlink_to(ROOT / "recordings")

    checked = cli("check", "oversold.py", "compiled.py", "--json", cwd=tmp_path)
    ran = cli("backtest", "recordings/demo", "-s", "oversold.py", "-s", "compiled.py",
              "--json", cwd=tmp_path)  # fmt: skip

    assert 0 == checked.returncode, checked.stderr
    assert [] == json.loads(checked.stdout)["findings"]
    assert 0 == ran.returncode, ran.stderr
    one, other = json.loads(ran.stdout)["strategies"].values()
    assert one["signals"] > 0
    assert 0 == one["errors"] == other["errors"]
    assert one["digests"] == other["digests"]
