"""A kernel written in a notebook: its step has a driver, and a cell that is run again another."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[3]
# Cells as jupytext reads them.
FIRST = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %%
import json
import math
import numpy as np
import parity as pt
from parity import codegen
from parity.model.kernel import out_dtype
from parity.testing.checks import check_strategy

SCALE = 2.0

def scaled(price):
    return math.sqrt(price * SCALE)

def create():
    return pt.KernelStrategy(
        name="cell", step=step, state=np.dtype([("count", "i8")]),
        params=np.zeros((), [("unused", "i8")]), out=out_dtype(("value", "f8")),
        columns=("price",), history=1, describe=lambda said: ("", {"value": said["value"]}))

def tell():
    kernel = create()
    driver = codegen.build(kernel, boundscheck=True)
    states, zero, out = np.zeros(1, kernel.state), np.zeros(1, np.int32), np.zeros(4, kernel.out)
    driver(states, kernel.params.reshape(1), zero, zero, (np.array([8.0]),), 0, 1, out,
           np.zeros(4, np.int64), np.zeros(4, np.int8))
    print(json.dumps([driver.key, out["value"][0], driver.canary.ticks]))
"""
STEP = """# %%
def step(state, params, out, price):
    state.count += 1
    if state.count % 5 != 0:
        return 0
    out.side, out.confidence, out.quantity, out.price = 1, 0.5, 1.0, price
    out.value = scaled(price)
    return 1
"""
EVERY = "    if state.count % 5 != 0:\n        return 0\n"


@pytest.mark.slow
def test_a_step_in_a_cell_works(tmp_path: Path) -> None:
    """In a real kernel: tried by its canary, put through every check, edited, a constant set.

    Each cell that changes what the step does gives another driver and the new answer, and what is
    as it was finds the old one.
    """
    every = STEP.replace(EVERY, "")
    cells = [
        FIRST,
        STEP + "check_strategy(create)\n",
        every + "tell()\n",
        every.replace("scaled(price)", "scaled(price) + 1.0") + "tell()\n",
        every + "tell()\n",
        "# %%\nSCALE = 8.0\ntell()\n",
    ]
    script, out = tmp_path / "cells.py", tmp_path / "cells.ipynb"
    script.write_text("\n".join(cells))
    environment = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "PARITY_CACHE_DIR": str(tmp_path / "drivers"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "jupytext", "--to", "ipynb", "--execute",
         "--run-path", tmp_path, "--output", out, script],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    plain, edited, again, constant = told(out)
    assert [4.0, 5.0, 4.0, 8.0] == [plain[1], edited[1], again[1], constant[1]]
    assert plain == again
    assert 3 == len({plain[0], edited[0], constant[0]})
    assert min(plain[2], edited[2], constant[2]) > 200


def told(notebook: Path) -> list[list[Any]]:
    """Return what the cells printed."""
    return [
        json.loads(line)
        for cell in nbformat.read(notebook, as_version=4).cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream" and output["name"] == "stdout"
        for line in output["text"].splitlines()
    ]
