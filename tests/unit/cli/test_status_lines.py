"""What `parity status` shows, and in which order."""

import io
from typing import Any

from rich.console import Console, Group

from parity.cli.status import _lines

STRATEGY = {"strategy_id": "dip", "broker": "paper", "state": "ACTIVE", "reason": "warm"}
COUNTS: dict[str, Any] = {"signals": 1, "drops": {"cooldown": 2}, "fills": 1, "errors": 0}
LATENCY = {"count": 1, "p50": 1.0, "p99": 1.0, "p99_9": 1.0, "max": 1.0}
NOW: dict[str, Any] = {
    "phase": "running",
    "pid": 7,
    "uptime_s": 3.0,
    "ticks": 10,
    "ticks_per_second": 5.0,
    "lag_s": 7_200.0,
    "silent_s": 0.5,
    "healthy": {"source": True},
    "events": {"strategy_paused": 1},
    "delivery": {"open": 0, "by_state": {"delivered": 1}},
    "disk": {"journal_bytes": 10},
    "partitions": [
        {"topic": "t", "partition": n, "next_offset": 5, "behind": 0, "headroom": 5}
        for n in range(12)
    ],
    "latency_ms": {"sync": LATENCY},
}
FOUND: dict[str, Any] = {
    "kind": "run",
    "path": "runs/a",
    "state": "open",
    "mode": "paper",
    "last_seq": 10,
    "decided_seq": None,
    "free_bytes": 10**9,
    "last_verify": None,
    "last_error": None,
    "deliveries": None,
    "now": NOW,
    "strategies": [STRATEGY | COUNTS | {"strategy_id": f"dip{n}"} for n in range(5)],
}


def test_a_low_terminal_shows_the_strategies() -> None:
    """Twenty-four lines hold the head and five strategies, however many partitions there are."""
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(Group(*_lines(FOUND)))
    lines = [line.rstrip() for line in console.export_text().splitlines()]

    assert "lag          2.0 h behind the venue" in lines
    assert all(any(line.startswith(f"dip{n} ") for line in lines[:23]) for n in range(5))
    assert lines.index("") < 3
    assert "signals out  delivered 1, 0 on their way, since the start" in lines
    order = [next(i for i, line in enumerate(lines) if line.startswith(w)) for w in
             ("strategy", "partition", "stage")]  # fmt: skip
    assert sorted(order) == order


def test_a_killed_run_says_that_nobody_runs_it() -> None:
    """It is open, and has ticks whose decisions no disk has: the next start decides on them."""
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(Group(*_lines(FOUND | {"now": None, "decided_seq": 4})))
    lines = [line.rstrip() for line in console.export_text().splitlines()]

    assert "run runs/a: open, no runner, paper" == lines[0]
    assert "decided      up to 4, on disk: start it again" in lines
