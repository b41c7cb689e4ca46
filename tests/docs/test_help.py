"""The help of the command line: every command and option is told, every example parses."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from parity.cli import app

ROOT = Path(__file__).resolve().parents[2]
SHOWN = re.MULTILINE | re.DOTALL
GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands
RUNNER = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "300"})


def examples(text: str) -> list[list[str]]:
    """Return the command lines in a help text, as arguments behind `parity`."""
    lines = (line.strip() for line in text.splitlines())
    return [shlex.split(line)[1:] for line in lines if line.startswith("parity ")]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_tells_what_it_does(name: str) -> None:
    """--help has a sentence, every option has its words, and --json is there."""
    command = COMMANDS[name]
    shown = RUNNER.invoke(app, [name, "--help"]).stdout
    first = command.help.strip().splitlines()[0]

    assert first in shown
    assert re.search(r"[.:]$", first)
    assert "--json" in shown
    assert [] == [one.name for one in command.params if not one.help]
    assert all(one.help in re.sub(r"\s+", " ", shown) for one in command.params)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_command_parse(name: str) -> None:
    """Each example is shown by --help and is a line the command accepts."""
    shown = RUNNER.invoke(app, [name, "--help"]).stdout
    found = examples(shown)

    assert found, f"parity {name} --help shows no example"
    for arguments in found:
        assert arguments[0] == name
        COMMANDS[name].make_context(name, arguments[1:])


def written() -> list[tuple[str, list[str]]]:
    """Return the command lines in code blocks of the documents, each with its place."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    found = []
    for page in sorted(pages):
        for block in re.findall(
            r"^```(?:sh|bash|console|shell)\n(.*?)^```", page.read_text(), SHOWN
        ):
            for line in block.replace("\\\n", " ").splitlines():
                command = re.match(r"(?:\$ )?parity (.*?)(?:\s+#.*|\s+[|>].*)?$", line.strip())
                if command:
                    found.append((f"{page.relative_to(ROOT)}: {line}", shlex.split(command[1])))
    return found


def test_commands_in_documents_parse() -> None:
    """Whatever the pages tell a reader to type is a command, with options that exist."""
    lines = written()

    assert any(place.startswith("README.md") for place, _ in lines)
    for place, arguments in lines:
        if arguments[0].startswith("-"):
            continue
        assert arguments[0] in COMMANDS, place
        if "--help" not in arguments:
            COMMANDS[arguments[0]].make_context(place, arguments[1:])


def test_an_example_with_a_wrong_option_is_seen() -> None:
    """The test above can fail: an option that is not there does not parse."""
    with pytest.raises(Exception, match="No such option"):
        COMMANDS["verify"].make_context("verify", ["runs/x", "--strickt"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell: str) -> None:
    """Shells are told the commands that fit."""
    complete = {
        "bash": {"COMP_WORDS": "parity ver", "COMP_CWORD": "1"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "parity ver"},
        "fish": {"_TYPER_COMPLETE_ARGS": "parity ver", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    done = RUNNER.invoke(
        app,
        [],
        prog_name="parity",
        env={"_PARITY_COMPLETE": f"complete_{shell}", **complete[shell]},
    )

    assert "verify" in done.stdout
    assert "backtest" not in done.stdout
