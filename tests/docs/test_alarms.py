"""docs/operations.md names every alarm and metric: what it means, and what to do.

An alarm is what a live run logs as a warning or worse.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
ROOMS = ("parity/live", "parity/publishers", "parity/compose", "sources")


def alarms() -> dict[str, str]:
    """Return where each name stands that the log is given as a warning or an error."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in ("warning", "error", "critical")
                    and isinstance(node.func.value, ast.Name)
                    and node.func.value.id == "_log"
                    and isinstance(node.args[0], ast.Constant)
                ):
                    found[str(node.args[0].value)] = path.name
    return found


def test_every_alarm_is_on_the_page() -> None:
    """A name that the code logs and the page does not explain leaves somebody alone at night."""
    found = alarms()

    assert {"sealing_failed", "broker_lost", "signals_not_settled"} <= {*found}
    assert [] == sorted(name for name in found if f"`{name}`" not in PAGE)


# What desks' dashboards ask of runners by name; the last words of a row say what to do.
AGREED = {
    *("trading_events_processed_total", "trading_processing_latency_seconds", "latency_ms"),
    *("trading_signals_generated_total", "trading_errors_total", "trading_dlq_messages_total"),
    *("ml_model_load_success_total", "ml_model_load_failure_total", "ml_inferences_total"),
    *("trading_last_activity_timestamp_unix", "trading_pipeline_stage_healthy", "signals_total"),
    *("signals_dropped_total", "strategy_state", "processor_errors_total"),
}


def metrics() -> set[str]:
    """Return the names that the endpoint serves."""
    tree = ast.parse((ROOT / "parity" / "live" / "metrics.py").read_text("utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple) and len(node.elts) > 2:
            name, kind = node.elts[:2]
            if isinstance(kind, ast.Constant) and kind.value in ("counter", "gauge", "histogram"):
                assert isinstance(name, ast.Constant)
                found.add(str(name.value))
    return found


def test_every_metric_is_on_the_page_with_what_to_do() -> None:
    """No name that is served and not told, none told and not served, and all that are agreed."""
    table = PAGE[PAGE.index("| name | is | look, and do |") :].partition("\n\n")[0]
    rows = [line.strip("|").split(" | ") for line in table.splitlines()[2:]]

    assert {*metrics()} >= AGREED
    assert metrics() == {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert [] == [row[0] for row in rows if len(row) != 3 or len(row[2].strip()) < 7]
