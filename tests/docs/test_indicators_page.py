"""docs/indicators.md is what the code writes, and its example runs."""

import re
from pathlib import Path

import pytest

from parity.kernels.catalogue import page

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "indicators.md").read_text("utf-8")


def test_the_page_is_current() -> None:
    """Write it anew with `python -m parity.kernels.catalogue > docs/indicators.md`."""
    assert page() == PAGE


@pytest.mark.slow
def test_the_example_runs() -> None:
    """Its assertions hold."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    assert blocks
    for block in blocks:
        exec(block, {})
