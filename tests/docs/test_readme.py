"""Documents are true: their Python runs, their commands exist, their links and tables hold."""

import datetime as dt
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import typer

import parity as pt
from parity.cli import EPILOG, app
from parity.model.effects import Fill

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "recordings/README.md"})
ADRS = sorted((ROOT / "docs/adr").glob("*.md"))
ADR_LINES_MAX = 15
COLUMNS_MAX = 110
README = ROOT / "README.md"
STRATEGIES = ROOT / "docs/strategies.md"
FORMATS = ROOT / "docs/formats.md"

Cli = Callable[..., subprocess.CompletedProcess[str]]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


def fenced(page: Path) -> str:
    """The last shell block of a page, fence included."""
    return f"```sh\n{blocks(page, 'sh')[-1]}```"


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-")


def broken_links(page: Path, text: str) -> list[str]:
    """Links of a page to files or headings that are not there."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE) if anchor else []
        if not file.exists() or (anchor and anchor not in map(slug, headings)):
            found.append(f"{page.name}: {target} is not there")
    return found


def code(text: str) -> str:
    """The shell blocks and the spans of a text, one command a line."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shell = "".join(body for language, body in fences if language == "sh")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`]+)`", prose)
    return "\n".join([shell.replace("\\\n", " "), *(" ".join(span.split()) for span in spans)])


def makes_of(text: str) -> set[str]:
    """Make targets that a text names, in code only."""
    return set(re.findall(r"^make ([a-z]+)\b", code(text), re.MULTILINE))


def parity_lines(text: str) -> list[list[str]]:
    """The `parity …` command lines of a text's code, as words."""
    lines = re.findall(r"^parity [^\n]+$", code(text), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


@cache
def options() -> dict[str, set[str]]:
    """The options of every command of the program itself."""
    group = typer.main.get_command(app)
    commands: dict[str, object] = getattr(group, "commands", {})
    return {
        name: {"--help", *(o for one in command.params for o in (*one.opts, *one.secondary_opts))}  # type: ignore[attr-defined] # typer's commands carry no types
        for name, command in commands.items()
    }


def wrong_words(words: list[str]) -> list[str]:
    """What a command line names that the program does not have."""
    if words[1] not in options():
        return [f"{' '.join(words)}: no command {words[1]!r}"]
    known = options()[words[1]]
    used = [word.partition("=")[0] for word in words[2:] if word.startswith("-")]
    return [f"{' '.join(words)}: no option {flag}" for flag in used if flag not in known]


def table(page: Path, first: str) -> list[list[str]]:
    """The rows of the table whose header starts with a word, as cells."""
    body = re.search(
        rf"^\| {first} \|[^\n]*\n\|[-| ]+\|\n((?:\|[^\n]*\n)+)", page.read_text(), re.MULTILINE
    )
    assert body, f"{page.name}: no table of {first}"
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in body[1].splitlines()]


def run_script(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python as a reader would: from a file, so that a run can keep the strategies' source."""
    (folder / "recordings").symlink_to(ROOT / "recordings")
    script = folder / "page.py"
    script.write_text(text)
    return subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
def test_readme_example_runs(tmp_path: Path) -> None:
    """The example is short, runs on the shipped recording, and shows what its comments say."""
    (example,) = blocks(README, "python")
    done = run_script(example, tmp_path)

    assert 0 == done.returncode, done.stderr
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    assert "\nidentical\n" in done.stdout
    assert "said: dip" in done.stdout
    assert "cause='dip: parameters.drop 0.003 -> 0.004'" in done.stdout


@pytest.mark.slow
def test_readme_strategy_runs_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    """The function of the first screen, in a file, passes the three commands below it."""
    (example,) = blocks(README, "python")
    function = example[example.index("@pt") : example.index("run =")]
    (tmp_path / "dip.py").write_text(f"import parity as pt\n\n{function}")
    (tmp_path / "recordings").symlink_to(ROOT / "recordings")
    lines = [words for words in parity_lines(fenced(README)) if "REC" not in words]
    done = [cli(*words[1:], cwd=tmp_path) for words in lines]

    assert ["check", "backtest", "verify"] == [words[1] for words in lines]
    assert [0, 0, 0] == [one.returncode for one in done], [one.stderr for one in done]
    assert done[-1].stdout.startswith("identical: 40 000 ticks")


@pytest.mark.slow
def test_strategies_of_the_page_run(cli: Cli, tmp_path: Path) -> None:
    """Function, class, kernel and YAML pass check, speak on the demo recording, and verify."""
    names = ("dip", "streak", "opening", "evening", "scalp", "falls")
    for name, text in zip(names, blocks(STRATEGIES, "python"), strict=True):
        (tmp_path / f"{name}.py").write_text(text)
    rows = ("dip_small", "dip_guarded")
    for name, row in zip(rows, blocks(STRATEGIES, "yaml"), strict=True):
        (tmp_path / f"{name}.yaml").write_text(row)
    (tmp_path / "recordings").symlink_to(ROOT / "recordings")
    files = [*(f"{name}.yaml" for name in rows), *(f"{name}.py" for name in names)]
    checked = cli("check", *files, "--json", cwd=tmp_path)
    chosen = [word for file in files for word in ("-s", file)]
    ran = cli("backtest", "recordings/demo", *chosen, "--set", "Streak.length=5",
              "--out", "run", "--json", cwd=tmp_path)  # fmt: skip
    proved = cli("verify", "run", "--json", cwd=tmp_path)

    assert 0 == checked.returncode, checked.stderr
    assert [] == json.loads(checked.stdout)["findings"]
    assert 0 == ran.returncode, ran.stderr
    found = json.loads(ran.stdout)["strategies"]
    every = {"dip_small", "dip_guarded", "Streak", "Opening", "Evening", "scalp", "falls"}
    assert every == found.keys()
    assert all(one["signals"] > 0 and one["errors"] == 0 for one in found.values())
    assert "identical" == json.loads(proved.stdout)["verdict"]


def test_evening_of_the_page_holds_nothing_at_the_end(tmp_path: Path) -> None:
    """On an exchange that closes at 10:00 UTC it sells all it bought at 09:55, and says no more."""
    (text,) = (text for text in blocks(STRATEGIES, "python") if "class Evening" in text)
    (tmp_path / "evening.py").write_text(text)
    listed = {"symbol": "ANY", "price_scale": 2, "quantity_scale": 0, "calendar": "NSE"}
    table = pt.InstrumentTable([pt.Instrument(token=1, **listed)])
    service = pt.StrategyRunnerService(tmp_path / "evening.py", instruments=table)
    row = {"strategy_name": "evening", "strategy_type": "evening.py:Evening"}
    service.register_from_config({**row, "instruments": "all", "parameters": {}})
    start, said, held = dt.datetime(2025, 1, 6, 9, 45, tzinfo=dt.UTC), [], 0
    for n in range(90):
        tick = pt.MarketTick(1, 200 - n / 4, start + n * dt.timedelta(seconds=10))
        said += [(one.signal_type, one.quantity) for one in service.on_market_tick(tick)]
        held += sum(e.side * e.quantity for e in service.effects if isinstance(e, Fill))

    assert [("BUY", 1)] * 8 + [("SELL", 8)] == said
    assert 0 == held


@pytest.mark.slow
def test_commands_on_the_strategies_page_run(cli: Cli, tmp_path: Path) -> None:
    """The command lines at the page's end work on the page's own files."""
    (tmp_path / "dip.py").write_text(blocks(STRATEGIES, "python")[0])
    (tmp_path / "dip_small.yaml").write_text(blocks(STRATEGIES, "yaml")[0])
    (tmp_path / "recordings").symlink_to(ROOT / "recordings")
    lines = parity_lines(fenced(STRATEGIES))
    done = [cli(*words[1:], cwd=tmp_path) for words in lines]

    assert ["check", "backtest"] == [words[1] for words in lines]
    assert [0, 0] == [one.returncode for one in done], [one.stderr for one in done]


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page resolves, its heading included."""
    assert [] == broken_links(page, page.read_text("utf-8"))


@each_page
def test_commands_of_a_page_exist(page: Path) -> None:
    """Every make target, and every parity command with its options, is there."""
    text = page.read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wrong = [f"no make target {name}" for name in sorted(makes_of(text) - targets)]
    for words in parity_lines(text):
        wrong += wrong_words(words)

    assert [] == wrong


@each_page
def test_files_that_a_page_names_are_there(page: Path) -> None:
    """A path in code that starts with a folder of the repository exists."""
    roots = "parity|sources|strategies|tests|recordings|notebooks|docs"
    named = re.findall(rf"`((?:{roots})/[\w./-]+\.(?:py|md|yaml|json|onnx))`", page.read_text())

    assert [] == [name for name in named if not (ROOT / name).exists()]


def test_architecture_names_what_is_there() -> None:
    """Each function or class of the walk stands in the file it is named with."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    named = re.findall(r"`([\w/]+\.py)`\s+`([\w.]+)`", text)
    wrong = []
    for file, name in named:
        path = ROOT / file if file.startswith("sources/") else ROOT / "parity" / file
        source = path.read_text("utf-8") if path.exists() else ""
        if not all(re.search(rf"(?:def|class) {part}\b", source) for part in name.split(".")):
            wrong.append(f"{file}: {name}")

    assert len(named) >= 15
    assert [] == wrong


def test_readme_lists_the_commands_of_the_program() -> None:
    """The table of commands is the program's own list, in its order."""
    listed = [cells[0].strip("`").split()[1] for cells in table(README, "command")]

    assert list(options()) == listed


def test_readme_lists_the_exit_codes_of_the_program() -> None:
    """The table of exit codes says what `parity --help` says."""
    listed = [int(cells[0]) for cells in table(README, "exit code")]

    assert [int(code) for code in re.findall(r"(?:: |; )(\d+) ", EPILOG)] == listed


@pytest.mark.slow
def test_exit_codes_are_what_the_readme_says(cli: Cli, tmp_path: Path) -> None:
    """Success, usage, a wrong value and a missing recording end with their codes."""
    missing = tmp_path / "none"
    found = {
        0: cli("inspect", "recordings/demo"),
        2: cli("backtest", "recordings/demo", "-s", "momentum", "--start", "2025-01-06T09:00:00"),
        3: cli("verify", missing),
    }

    assert list(found) == [one.returncode for one in found.values()]


def documented_keys() -> dict[str, list[str]]:
    """The JSON keys of each command, as docs/formats.md lists them."""
    text = re.sub(r"\n  +", " ", FORMATS.read_text("utf-8"))
    rows = re.findall(r"^- `parity ([^`]+)`: (.+)$", text, re.MULTILINE)
    return {name: re.findall(r"`(\w+)`", keys) for name, keys in rows}


@pytest.mark.slow
def test_json_has_the_keys_of_the_formats_page(cli: Cli, tmp_path: Path) -> None:
    """What each command that needs no broker prints is what the page says, `format` first."""
    run, csv = tmp_path / "run", tmp_path / "ticks.csv"
    csv.write_text(
        "ts_event,instrument_token,symbol,price,quantity,side\n"
        "2025-06-02T09:15:00Z,1,DEMO,100.25,3,buy\n"
    )
    printed = {
        "import": cli("import", csv, tmp_path / "rec", "--json"),
        "backtest": cli("backtest", "recordings/demo", "-s", "momentum", "--set",
                        "threshold=0.002", "--out", run, "--json"),
        "paper": cli("paper", tmp_path / "paper", "-s", "momentum", "--recording",
                     tmp_path / "rec", "--json"),
        "inspect REC": cli("inspect", "recordings/demo", "--json"),
        "inspect RUN": cli("inspect", run, "--json"),
        "verify": cli("verify", run, "--json"),
        "replay": cli("replay", run, "--json"),
        "diff": cli("diff", run, run, "--json"),
        "check FILE": cli("check", "strategies/configs/momentum.yaml", "--json"),
        "check": cli("check", "--json"),
        "doctor --config": cli("doctor", "--config", "--json"),
    }  # fmt: skip
    failed = {name: one.stderr for name, one in printed.items() if one.returncode}
    assert {} == failed
    keys = {name: list(json.loads(one.stdout)) for name, one in printed.items()}
    written = {name: keys for name, keys in documented_keys().items() if name in printed}

    assert {name: "format" for name in printed} == {name: ks[0] for name, ks in keys.items()}
    assert {n: sorted(ks) for n, ks in written.items()} == {
        n: sorted(ks[1:]) for n, ks in keys.items()
    }


def test_decisions_are_short_and_linked() -> None:
    """Each ADR has at most 15 lines, its number and its four words, and ARCHITECTURE links it."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    words = ("Context", "Decision", "Consequences", "Revisit when")
    wrong = []
    for number, adr in enumerate(ADRS, 1):
        said = adr.read_text("utf-8")
        fine = adr.name.startswith(f"{number:04d}-") and said.startswith(f"# {number}. ")
        if not (fine and len(said.splitlines()) <= ADR_LINES_MAX):
            wrong.append(f"{adr.name}: number or length")
        wrong += [f"{adr.name}: no {word}" for word in words if f"**{word}**" not in said]
        if f"(docs/adr/{adr.name})" not in text:
            wrong.append(f"{adr.name}: not linked from ARCHITECTURE.md")

    assert len(ADRS) >= 11
    assert [] == wrong


@each_page
def test_lines_fit(page: Path) -> None:
    """No line is wider than 110 columns; the rows of a table cannot be broken."""
    lines = enumerate(page.read_text("utf-8").splitlines(), 1)
    wide = [f"{n}: {line}" for n, line in lines if len(line) > COLUMNS_MAX]

    assert [] == [line for line in wide if ": |" not in line]


def test_planted_faults_are_seen() -> None:
    """A dead link, a heading, a target, a command and an option that are not there are found."""
    text = "[a](none.md) [b](README.md#nowhere) [c](README.md#commands)"

    assert 2 == len(broken_links(README, text))
    assert {"nothing"} == makes_of("run `make nothing`, which will make sense")
    planted = "`parity verfy RUN`\n```sh\nparity diff A B \\\n  --loud\n```\n`parity inspect REC`"
    lines = parity_lines(planted)
    assert [1, 1, 0] == sorted((len(wrong_words(words)) for words in lines), reverse=True)
