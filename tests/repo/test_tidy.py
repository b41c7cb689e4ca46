"""The house rules as tests: each message names the place and the cure.

A rule is a function of a file's path and text, so that each is itself tried on a planted violation.
"""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
MAKEFILE_LINES_MAX = 80
PYTHON = ("*.py",)
BINARY = {".parquet", ".onnx", ".wal", ".zip", ".gz", ".png", ".arrow", ".bin", ".ico"}

Rule = Callable[[str, str], Iterator[str]]


def file_length(path: str, text: str) -> Iterator[str]:
    """A file is at most 500 lines, the Makefile less than 80."""
    limit = MAKEFILE_LINES_MAX - 1 if path == "Makefile" else FILE_LINES_MAX
    count = len(text.splitlines())
    if count > limit:
        yield f"{path}: {count} lines, at most {limit}: split it by the nouns it holds"


def function_length(path: str, text: str) -> Iterator[str]:
    """A function is at most 70 lines, its decorators left out."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES_MAX:
                yield (
                    f"{path}:{node.lineno}: {node.name} has {count} lines, at most"
                    f" {FUNCTION_LINES_MAX}: keep the ifs here and move the leaves out"
                )


def module_docstring(path: str, text: str) -> Iterator[str]:
    """Each module opens with what it is for; a notebook does so in its first cell."""
    if path.startswith("notebooks/") and "# %% [markdown]\n# # " in text:
        return
    if not ast.get_docstring(ast.parse(text)):
        yield f"{path}:1: no module docstring: say what the file is for and what must not be in it"


def open_ends(path: str, text: str) -> Iterator[str]:
    """Nothing is put off without a place where it is kept."""
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.search(r"\b(?:TOD[O]|FIXM[E]|XX[X])\b", line)
        if mark and not re.search(r"\bADR[- ]?\d+|#\d+", line):
            yield f"{path}:{number}: {mark[0]} without a reference: do it, or name ADR-n or #n"


def exceptions_with_reasons(path: str, text: str) -> Iterator[str]:
    """A checker is silenced by its code only, and with the reason after it."""
    silencer = re.compile(
        r"#\s*(?:(?P<ruff>noqa)(?P<codes>:\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*)?"
        r"|(?P<mypy>type:\s*ignore)(?P<code>\[[\w, -]+\])?)"
    )
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        match = silencer.search(token.string) if token.type == tokenize.COMMENT else None
        if match is None:
            continue
        place = f"{path}:{token.start[0]}: {match['ruff'] or match['mypy']}"
        if not (match["codes"] or match["code"]):
            yield f"{place} silences everything: name the code"
        elif not re.search(r"[A-Za-z]{2}", silencer.sub("", token.string)):
            yield f"{place} without a reason: say why after it, in a few words"


def no_index(path: str, text: str) -> Iterator[str]:
    """Requirement files name versions and hashes, never where to fetch them."""
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(
            r"://|--\S*index|--find-links|--trusted-host|\b[\w-]+\.(?:org|com|io|net)\b", line
        ):
            yield f"{path}:{number}: an address or index: write it again with `make lock`"


def no_machine_path(path: str, text: str) -> Iterator[str]:
    """No file knows the machine it was written on."""
    for number, line in enumerate(text.splitlines(), 1):
        match = re.search(r"(?<![\w.~$})/-])/(?:home|root|Users)/\w", line)
        if match:
            yield f"{path}:{number}: a path of one machine: make it relative to the repository"


RULES: dict[Rule, tuple[str, ...]] = {
    file_length: (*PYTHON, "Makefile"),
    function_length: PYTHON,
    module_docstring: PYTHON,
    open_ends: (*PYTHON, "*.toml", "*.yaml", "Makefile", ".ci/run"),
    exceptions_with_reasons: PYTHON,
    no_index: ("requirements/*.txt", "requirements/*.in"),
    no_machine_path: ("*",),
}


def repository() -> dict[str, str]:
    """Every text file that git keeps or would keep, by its path; symlinked folders appear once."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    texts = (path for path in paths if path.is_file() and path.suffix not in BINARY)
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in texts}


def modules(files: Mapping[str, str]) -> dict[str, str]:
    """The modules of parity by import name, each with its text."""
    found = {}
    for path, text in files.items():
        if path.endswith(".py") and path.startswith(("parity/", "strategies/", "sources/")):
            dotted = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            found[dotted if dotted.startswith("parity") else f"parity.{dotted}"] = text
    return found


def mentioned(module: str, is_package: bool, text: str) -> set[str]:
    """Every dotted name that a module's code could import, by statement or by a string."""
    names: set[str] = set()
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = (
                package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            )
            base = ".".join([*up, *filter(None, [node.module])])
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # Lazy faces, registries and generated drivers name their modules in strings.
            names |= {name.rstrip(".") for name in re.findall(r"parity(?:\.\w+)+", node.value)}
            if re.fullmatch(r"\.?\w+(\.\w+)*", node.value):
                names.add(f"{package}.{node.value.lstrip('.')}")
    return names


def dead_modules(files: Mapping[str, str]) -> list[str]:
    """Modules that nothing imports and that are no entry point; tests keep only testing/ alive."""
    ours = modules(files)
    packages = {m for m in ours if any(other.startswith(f"{m}.") for other in ours)}
    alive = set(re.findall(r"parity(?:\.\w+)+", files["pyproject.toml"] + files["Makefile"]))
    for module, text in ours.items():
        alive |= mentioned(module, module in packages, text) - {module}
    for path, text in files.items():
        if path.endswith(".py") and path.startswith(("tests/", "benchmarks/", "notebooks/")):
            alive |= {name for name in mentioned(path, False, text) if "parity.testing" in name}
        if path.endswith(".py") and path.startswith("recordings/"):
            alive |= mentioned(path, False, text)  # what the shipped recording is made with
    runnable = {m for m, text in ours.items() if '__name__ == "__main__"' in text}
    # The registry finds strategies by walking their folder.
    walked = {m for m in ours if m.startswith("parity.strategies.")}
    dead = sorted(set(ours) - alive - runnable - walked - packages - {"parity"})
    return [
        f"{module}: imported by nothing: use it, or delete it with its tests" for module in dead
    ]


def folders_without_init(files: Mapping[str, str]) -> list[str]:
    """Folders of modules that are no package: the wheel and import-linter would not see them."""
    roots = ("parity/", "strategies/", "sources/")
    # A script beside the data it makes is no module, and must not get into the wheel.
    held = {
        Path(path).parent
        for path, text in files.items()
        if path.startswith(roots) and path.endswith(".py") and '__name__ == "__main__"' not in text
    }
    bare = sorted(folder.as_posix() for folder in held if f"{folder}/__init__.py" not in files)
    return [f"{folder}: no __init__.py: add one that says what the room is for" for folder in bare]


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """The repository's text files."""
    return repository()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_house_rule_holds(rule: Rule, files: dict[str, str]) -> None:
    """Each house rule holds in every file it is about."""
    about = {
        path: text
        for path, text in files.items()
        if any(Path(path).match(pattern) for pattern in RULES[rule])
    }
    found = [message for path, text in about.items() for message in rule(path, text)]

    assert about, f"{rule.__name__} looked at no file"
    assert not found, "\n".join(found)


def test_no_dead_file(files: dict[str, str]) -> None:
    """Every module of parity is imported by something or is an entry point."""
    found = dead_modules(files)

    assert not found, "\n".join(found)


def test_every_room_is_a_package(files: dict[str, str]) -> None:
    """Every folder of modules has its `__init__.py`."""
    found = folders_without_init(files)

    assert not found, "\n".join(found)


PLANTED: list[tuple[Rule, str, str, str]] = [
    (file_length, "a.py", "x = 1\n" * (FILE_LINES_MAX + 1), "split it"),
    (file_length, "Makefile", "x:\n" * MAKEFILE_LINES_MAX, "split it"),
    (function_length, "a.py", "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX, "f has 71 lines"),
    (module_docstring, "a.py", "x = 1\n", "a.py:1: no module docstring"),
    (open_ends, "a.py", "x = 1  # TOD" + "O later\n", "a.py:1: TOD" + "O without a reference"),
    (exceptions_with_reasons, "a.py", "x = 1  # noqa: E501\n", "say why"),
    (exceptions_with_reasons, "a.py", "x = 1  # noqa\n", "name the code"),
    (exceptions_with_reasons, "a.py", "x = 1  # type: ignore[arg-type]\n", "say why"),
    (exceptions_with_reasons, "a.py", "x = 1  # type: ignore\n", "name the code"),
    (no_index, "r.txt", "--index-" + "url x\n", "make lock"),
    (no_index, "r.txt", "a @ https" + "://x/a.whl\n", "make lock"),
    (no_machine_path, "a.md", "see /ho" + "me/ann/parity\n", "relative to the repository"),
]


@pytest.mark.parametrize(("rule", "path", "text", "cure"), PLANTED)
def test_house_rule_sees_a_planted_violation(rule: Rule, path: str, text: str, cure: str) -> None:
    """Each rule finds what it is there to find, and its message says what to do."""
    (message,) = rule(path, text)

    assert cure in message
    assert message.startswith(path)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (open_ends, "x = 1  # TOD" + "O(#12) later\n"),
        (exceptions_with_reasons, "x = 1  # noqa: E501, B008 - a table reads better wide\n"),
        (exceptions_with_reasons, "x = f()  # type: ignore[misc]  # numba has no types\n"),
        (exceptions_with_reasons, 'x = "# noqa"\n'),
        (no_index, "duckdb==2.0.0 \\\n    --hash=sha256:00\n"),
        (no_machine_path, "see ../shared/data and {tmp}/home/x and example/Users/x\n"),
    ],
)
def test_house_rule_lets_the_cure_pass(rule: Rule, text: str) -> None:
    """What the messages ask for satisfies the rules."""
    assert list(rule("a.py", text)) == []


def test_a_dead_file_is_seen() -> None:
    """A module that nothing names is reported; a lazily named and a relative import keep alive."""
    planted = {
        "pyproject.toml": 'parity = "parity.cli:main"',
        "Makefile": "",
        "parity/__init__.py": 'LAZY = {"open": "parity.face"}',
        "parity/face.py": "from parity.core import engine",
        "parity/cli/__init__.py": "from . import check",
        "parity/cli/check.py": "",
        "parity/core/__init__.py": "",
        "parity/core/engine.py": "",
        "parity/core/orphan.py": "import parity.core.orphan",
        "sources/paced.py": "",
        "parity/testing/fakes.py": "",
        "tests/unit/test_x.py": "import parity.testing.fakes, parity.sources.paced",
    }
    dead = [message.partition(":")[0] for message in dead_modules(planted)]

    assert ["parity.core.orphan", "parity.sources.paced"] == dead


def test_a_room_without_init_is_seen() -> None:
    """A folder that only looks like a package is reported."""
    (message,) = folders_without_init({"parity/__init__.py": "", "parity/live/runner.py": ""})

    assert message.startswith("parity/live: no __init__.py")
