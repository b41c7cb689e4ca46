"""The lint: each rule finds its use through aliases, and leaves honest code alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.proof.lint import lint_source

STRATEGIES = Path(__file__).resolve().parents[3] / "strategies"
KEPT_SET = """class S:
    def __init__(self):
        self.live = set()
    def f(self):
        for t in self.live: pass
"""


def rules(text: str) -> list[tuple[int, str, str]]:
    """Return (line, rule, severity) of each finding."""
    return [(f.line, f.rule, f.severity) for f in lint_source(text, "s.py")]


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        ("import time", "clock", 1),
        ("from time import time as now\nx = 1\ny = now()", "clock", 3),
        ("import datetime as dt\ndt.datetime.now()", "clock", 2),
        ("from datetime import datetime\ndatetime.utcnow()", "clock", 2),
        ("from datetime import date as d\nd.today()", "clock", 2),
        ("from datetime import datetime as D\nf = D.now\n", "clock", 2),
        ("import pandas as pd\npd.Timestamp.now()", "clock", 2),
        ("def f(when):\n    return when.utcnow()", "clock", 2),
        ("from datetime import datetime\ndatetime.fromtimestamp(1)", "time-zone", 2),
        ("def f(tick):\n    return tick.timestamp.astimezone()", "time-zone", 2),
        ("import random", "random", 1),
        ("import numpy as np\nnp.random.default_rng()", "random", 2),
        ("from numpy import random as r", "random", 1),
        ("from numpy.random import default_rng", "random", 1),
        ("import secrets", "random", 1),
        ("import uuid\nuuid.uuid4()", "random", 2),
        ("import os\nos.urandom(4)", "random", 2),
        ("import os\nos.environ['X']", "environment", 2),
        ("from os import environ", "environment", 1),
        ("import os as o\no.getenv('X')", "environment", 2),
        ("open('x')", "io", 1),
        ("from pathlib import Path\nPath('x').read_text()", "io", 1),
        ("def f(p):\n    return p.read_bytes()", "io", 2),
        ("import numpy as np\nnp.load('x.npy')", "io", 2),
        ("import socket", "network", 1),
        ("import urllib.request", "network", 1),
        ("import requests", "network", 1),
        ("import threading", "concurrency", 1),
        ("import asyncio", "concurrency", 1),
        ("async def f(): pass", "concurrency", 1),
        ("import subprocess", "process", 1),
        ("exec('x')", "dynamic", 1),
        ("x = __import__('time')", "dynamic", 1),
        ("def f(:", "syntax", 1),
        ("N = 0\ndef f():\n    global N\n    N += 1", "global-state", 3),
        ("SEEN = {}\ndef f(t):\n    SEEN[t] = 1", "global-state", 3),
        ("SEEN: list[int] = []\ndef f(t):\n    SEEN.append(t)", "global-state", 3),
        ("import collections as c\nQ = c.deque()\ndef f(t):\n    Q.append(t)", "global-state", 4),
    ],
)
def test_errors_are_found_where_they_are(text: str, rule: str, line: int) -> None:
    """Every use that breaks replay is an error with its rule and line."""
    assert (line, rule, "error") in rules(text)


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        ("class S:\n    seen = []", "global-state", 2),
        ("def f(a, seen=[]): pass", "shared-default", 1),
        ("def f(*, seen=dict()): pass", "shared-default", 1),
        ("hash('a')", "identity", 1),
        ("x = id(object())", "identity", 1),
        ("for t in {1, 2}: pass", "hash-order", 1),
        ("x = [t for t in set([1])]", "hash-order", 1),
        (KEPT_SET, "hash-order", 5),
        ("def f(a):\n    live: set[int] = a\n    return list(live)", "hash-order", 3),
        ("a = {1} | {2}\nx = sum({1.0} | {2.0})", "hash-order", 2),
        ("x = ','.join({'a', 'b'})", "hash-order", 1),
        ("s = set()\nx = s.pop()", "hash-order", 2),
        ("x = [*{1, 2}]", "hash-order", 1),
    ],
)  # fmt: skip
def test_warnings_are_found_where_they_are(text: str, rule: str, line: int) -> None:
    """Shapes that often break replay are warnings with their rule and line."""
    assert (line, rule, "warning") in rules(text)


@pytest.mark.parametrize(
    "text",
    [
        "import datetime as dt\nx = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(1)",
        "from datetime import datetime, UTC\nx = datetime.fromtimestamp(1, UTC)",
        "import math, statistics, collections, itertools\nfrom decimal import Decimal",
        "import numpy as np\nx = np.sqrt(np.mean([1.0]))",
        "import os\nx = os.path.join('a', 'b')",
        "import uuid\nx = uuid.uuid5(uuid.UUID(int=0), 'a')",
        "class S:\n    def open(self): pass\n    def f(self):\n        self.open()",
        "def open(x): return x\nopen(1)",
        "def f(tick, time):\n    return tick.time + time",
        "def process_tick(self, tick, history, rng):\n    return rng.random() < 0.5",
        "s = {1, 2}\nx = sorted(s)\ny = len(s)\nz = 3 in s\nw = max(s)",
        "d = {}\nfor k in d: pass\nx = list(d)",
        "LIMITS = {'a': 1}\ndef f(): return LIMITS['a']",
        "class S:\n    names = ('a', 'b')\n    size: int = 3",
        "def f(a=(), b=None): pass",
        "from __future__ import annotations\nfrom pathlib import PurePath\ndef f(p: PurePath): ...",
        "print('x')",
        "",
    ],
)
def test_honest_code_is_left_alone(text: str) -> None:
    """Pure computing, own names and ordered use of sets give no finding."""
    assert rules(text) == []


def test_a_finding_reads_as_place_rule_message_cure() -> None:
    """The text of a finding can be clicked on, and says what to do."""
    (finding,) = lint_source("x = 1\ny = open('f')\n", "dir/s.py")
    assert str(finding).startswith("dir/s.py:2:5: io: open reads or writes outside the journal; ")
    assert finding.cure in str(finding)


def test_a_line_may_be_allowed_with_a_reason() -> None:
    """`# parity: allow RULE reason` silences that rule on that line, and needs the reason."""
    assert rules("import time  # parity: allow clock only for a doctest") == []
    assert rules("import time  # parity: allow clock") != []
    assert rules("import time  # parity: allow random because") != []
    assert rules("# parity: allow clock here\nimport time") != []


def test_shipped_strategies_are_clean() -> None:
    """What we ship passes our own lint; the registry and the makers of models are no strategies."""
    every = STRATEGIES.rglob("*.py")
    files = [f for f in every if "models" not in f.parts and f.name != "__init__.py"]
    assert len(files) >= 5
    for file in files:
        assert lint_source(file.read_text(), file.name) == []


@given(st.text(max_size=80))
def test_any_text_is_linted(text: str) -> None:
    """No text makes the lint itself fail."""
    for finding in lint_source(text, "s.py"):
        assert finding.line >= 1
        assert finding.severity in ("error", "warning")
