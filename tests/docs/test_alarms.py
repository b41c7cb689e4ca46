"""docs/operations.md names every alarm: what a live run logs as a warning or worse."""

import ast
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
