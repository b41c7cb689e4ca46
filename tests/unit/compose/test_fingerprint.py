"""What a run's bytes may depend on is in its fingerprint, and what changed is named."""

import ast
from pathlib import Path

from parity.compose import fingerprint as room

ROOT = Path(__file__).resolve().parents[3]


def imported_strategies() -> set[str]:
    """Return the files below strategies/ that another strategy imports."""
    found: set[str] = set()
    for path in (ROOT / "strategies").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "parity.strategies"
            ):
                parts = str(node.module).split(".")[1:]
                names = [alias.name for alias in node.names]
                for name in names:
                    inner = ROOT.joinpath(*parts, f"{name}.py")
                    file = inner if inner.is_file() else ROOT.joinpath(*parts).with_suffix(".py")
                    found.add(file.relative_to(ROOT).as_posix())
    return found


def test_what_kept_strategies_share_is_hashed() -> None:
    """A shipped strategy is kept alone: what it imports from another one is in the code's hash."""
    assert imported_strategies() <= set(room.SHARED)
    assert all((ROOT / "parity" / name).is_file() for name in room.SHARED)


def test_a_fingerprint_names_no_place() -> None:
    """It holds versions and hashes, no path, and is the same when asked again."""
    found = room.fingerprint()

    assert found == room.fingerprint()
    assert 64 == len(found["parity_code"])
    assert not [v for v in found.values() if str(ROOT) in v]


def test_changes_are_named() -> None:
    """Only what differs is listed, hashes cut short, the absent as absent."""
    then = {"numba": "1", "numpy": "2", "code": "a" * 64}
    now = {"numba": "1.1", "numpy": "2", "code": "b" * 64, "duckdb": "3"}

    assert [
        f"code: {'a' * 12} -> {'b' * 12}",
        "duckdb: absent -> 3",
        "numba: 1 -> 1.1",
    ] == room.changes(then, now)
    assert [] == room.changes(now, dict(now))
