"""`make laws` runs every law of docs/laws.md, which lists all of tests/laws; no law is here."""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_make_laws_runs_every_law_of_the_table() -> None:
    """Each file that the table names is there, and lies in what is run; all of tests/laws are."""
    rows = [r for r in (ROOT / "docs/laws.md").read_text().splitlines() if r.startswith("| ")]
    named = {path for row in rows for path in re.findall(r"`([\w/]*test_\w+\.py)`", row)}
    listed = {Path("tests", path if "/" in path else f"laws/{path}") for path in named}
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    asked = ["make", "--dry-run", "laws", "SEED=1"]
    done = subprocess.run(asked, cwd=ROOT, env=plain, capture_output=True, text=True, check=True)
    (command,) = [line for line in done.stdout.splitlines() if "HYPOTHESIS_PROFILE" in line]
    given = [Path(word) for word in command.split() if word.startswith("tests/")]

    laws = {path.relative_to(ROOT) for path in (ROOT / "tests/laws").glob("test_*.py")}
    assert laws == {path for path in listed if path.parent == Path("tests/laws")}
    assert [] == [str(path) for path in sorted({*listed, *given}) if not (ROOT / path).exists()]
    assert [] == [str(path) for path in sorted(listed) if not {path, *path.parents} & {*given}]
