"""Notebooks are scripts: each runs from top to bottom, and its pair holds the same cells."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "notebooks").glob("*.py"))
# What a script leaves behind that a reader would look at, as JSON on the last line.
RUN = """
import json, runpy, sys
left = runpy.run_path(sys.argv[1])
print(json.dumps({
    "ticks": len(left["run"].ticks),
    "signals": len(left["run"].signals),
    "fills": len(left["run"].fills),
    "verdict": str(left["verdict"].verdict),
    "covered": left["verdict"].covered["signals"],
    "same": left["difference"].same,
}))
"""


def in_parity() -> dict[str, str]:
    """Return an environment where parity is found from any folder, installed or not."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def test_there_are_notebooks() -> None:
    """The folder is not empty, so that the tests below test something."""
    assert SCRIPTS


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_notebook_script_runs(script: Path, tmp_path: Path) -> None:
    """The script runs in a folder of its own, without a warning, and proves what it shows."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, script],
        cwd=tmp_path,
        env=in_parity() | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert 0 == done.returncode, done.stderr
    left = json.loads(done.stdout.splitlines()[-1])
    assert min(left["ticks"], left["signals"], left["fills"]) > 0
    assert ("identical", left["signals"]) == (left["verdict"], left["covered"])
    assert left["same"] is False


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_notebook_runs_in_a_kernel(script: Path, tmp_path: Path) -> None:
    """Inside a kernel, whose event loop is running, every cell works and the values have cards."""
    out = tmp_path / "executed.ipynb"
    done = subprocess.run(
        [sys.executable, "-m", "jupytext", "--to", "ipynb", "--execute",
         "--run-path", tmp_path, "--output", out, script],
        env=in_parity() | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    pages = [
        output["data"].get("text/html", "")
        for cell in nbformat.read(out, as_version=4).cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    assert any("vega" in page for page in pages)
    assert 2 <= sum('class="dataframe"' in page for page in pages)
    assert 5 <= sum(page.startswith("<div style=") for page in pages)  # the cards


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_pair_is_in_sync(script: Path) -> None:
    """The .ipynb has the cells of the script: `jupytext --sync notebooks/*.py` mends it."""
    pair = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    expected = [(cell.cell_type, cell.source) for cell in jupytext.read(script).cells]

    assert expected == [(cell.cell_type, cell.source) for cell in pair.cells]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_pair_holds_no_outputs(script: Path) -> None:
    """Outputs are made by running, never checked in."""
    pair = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    code = [cell for cell in pair.cells if cell.cell_type == "code"]

    assert [([], None)] * len(code) == [(cell.outputs, cell.execution_count) for cell in code]
