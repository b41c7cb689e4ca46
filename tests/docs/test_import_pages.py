"""The import pages are true: their files are written as printed, and their commands run."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from parity.cli.import_ import FORMATS as SHOWN
from parity.sources.importers import FORMATS
from parity.sources.importers.formats import NAMES, registry

ROOT = Path(__file__).resolve().parents[2]
OVERVIEW = ROOT / "docs/import.md"
PAGES = sorted((ROOT / "docs/import").glob("*.md"))
_BLOCKS = re.compile(r"(?:^`(\S+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Cli = Callable[..., CompletedProcess[str]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_do_what_it_says(
    page: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files as printed, Python run, then every command in turn: each import makes a recording."""
    monkeypatch.chdir(tmp_path)
    imported = 0
    for name, language, body in _BLOCKS.findall(page.read_text("utf-8")):
        if language == "sh":
            for line in body.replace("\\\n", " ").splitlines():
                words = shlex.split(line)
                done = cli(*words[1:], cwd=tmp_path)
                assert done.returncode == 0, (line, done.stderr)
                imported += words[1] == "import"
        elif language == "python":
            exec(compile(body, page.name, "exec"), {})
        elif name:
            (tmp_path / name).write_text(body)

    assert imported
    assert list(tmp_path.glob("recordings/*/manifest.json"))


def test_what_the_binance_page_warns_of_is_warned_of(tmp_path: Path, cli: Cli) -> None:
    """The warnings that the page announces for its own file are the ones that come."""
    text = (ROOT / "docs/import/binance.md").read_text("utf-8")
    name, _, body = _BLOCKS.findall(text)[0]
    (tmp_path / name).write_text(body)

    done = cli("import", name, "rec", "--json", cwd=tmp_path)

    warned = json.loads(done.stdout)["warnings"]
    assert warned == [
        f"trades with quantity zero: 1 ({name} row 3)",
        f"missing trade ids, gaps before: 2 ({name} row 3)",
    ]


def test_every_format_has_its_page() -> None:
    """The overview's table, the help, the names and the registry are one list."""
    row = re.compile(r"^\| (`.+?) \|.*\]\((import/\w+\.md)\) \|$", re.MULTILINE)
    listed = row.findall(OVERVIEW.read_text("utf-8"))
    named = {name for names, _ in listed for name in re.findall(r"`([\w-]+)`", names)}

    assert named == set(NAMES) == set(registry())
    assert FORMATS == SHOWN == ("auto", *NAMES)
    assert {page for _, page in listed} == {f"import/{p.name}" for p in PAGES}
