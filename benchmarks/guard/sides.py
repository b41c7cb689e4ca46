"""The two sides: a tree of files each, the processes that work over them, and their turns.

A tree lies in a folder whose path is as long as the other's: the length of an environment alone
can move a program's memory (Mytkowicz et al., Producing Wrong Data, 2009).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
WORK: Final = Path(__file__).resolve().parent / "work.py"
CODE: Final = ("parity", "strategies", "sources")
# Put behind the engine's module: its work takes so much longer, on every machine.
_SLOWER: Final = """

import time as _time

_process = Engine.process


def _slower(self, batch):
    began = _time.process_time_ns()
    effects = _process(self, batch)
    ended = _time.process_time_ns()
    until = ended + (ended - began) * {percent} / 100
    while _time.process_time_ns() < until:
        pass
    return effects


Engine.process = _slower
"""


class Refused(Exception):
    """What was asked cannot be measured; the words say why, and what to do."""


class Side(NamedTuple):
    """One tree, with its own caches; `name` is base or head."""

    name: str
    tree: Path
    scratch: Path


def git(*words: str) -> str:
    """Return what git says in the repository.

    Raises:
        Refused: it fails.
    """
    said = subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, errors="replace", check=False
    )
    if said.returncode:
        raise Refused(f"git {' '.join(words)}: {said.stderr.strip()}")
    return said.stdout.strip()


def base_of(asked: str | None) -> tuple[str, str]:
    """Return the commit to compare with, and why it is that one.

    Without one asked for it is where this branch left `origin/main`, else `main`.
    """
    if asked is not None:
        try:
            return git("rev-parse", "--verify", "--quiet", f"{asked}^{{commit}}"), asked
        except Refused:
            raise Refused(f"--base {asked}: no such commit; git log names them") from None
    for branch in ("origin/main", "main"):
        with contextlib.suppress(Refused):
            return git("merge-base", "HEAD", branch), f"where this branch left {branch}"
    raise Refused("--base: neither origin/main nor main is here; name a commit")


@contextlib.contextmanager
def sides(base: str, *, alone: bool, plant: float = 0.0) -> Iterator[tuple[Side, Side]]:
    """Lay out base and change in a temporary folder, and remove all of it at the end.

    Args:
        base: the commit, checked out as a git worktree.
        alone: the base stands on both sides; else the files as they are in the working tree, so
            that a change need not be committed, and may be edited meanwhile.
        plant: percent by which the engine of the other side is slowed down, to see it caught.
    """
    with tempfile.TemporaryDirectory(prefix="parity-guard-") as made, contextlib.ExitStack() as end:
        folder = Path(made)
        found = []
        for name in ("base", "head"):
            tree, scratch = folder / name, folder / f"{name}.d"
            scratch.mkdir(mode=0o700)
            if name == "base" or alone:
                git("worktree", "add", "--quiet", "--detach", str(tree), base)
                end.callback(git, "worktree", "remove", "--force", str(tree))
            else:
                _copy(tree)
            found.append(Side(name, tree, scratch))
        if plant:
            with (found[1].tree / "parity/core/engine.py").open("a") as engine:
                engine.write(_SLOWER.format(percent=plant))
        if not alone and _texts(found[0].tree) == _texts(found[1].tree):
            raise Refused(
                f"nothing to compare: the code of {base[:12]} and of the working tree is the"
                " same; name another --base, or measure the noise with --aa"
            )
        yield found[0], found[1]


def _copy(tree: Path) -> None:
    """Copy what git keeps or would keep of the working tree."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *CODE)
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, tree / name
        if source.is_symlink() or source.is_file():  # not what was deleted since
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def _texts(tree: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(tree)): path.read_bytes()
        for room in CODE
        for path in sorted((tree / room).rglob("*.py"))
    }


class Worker:
    """A process of one side, pinned to one CPU, that works when it is asked to.

    Args:
        side: whose parity it runs.
        cpu: that it is pinned to; None where the system cannot.
        hash_seed: for PYTHONHASHSEED; the same on both sides of a pair.
    """

    def __init__(self, side: Side, cpu: int | None, hash_seed: int) -> None:
        self.side = side
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PARITY_", "PYTHON"))}
        own = {
            "PYTHONPATH": str(side.tree),
            "PYTHONHASHSEED": str(hash_seed),
            "PARITY_CACHE_DIR": str(side.scratch),
            "NUMBA_CACHE_DIR": str(side.scratch),
        }
        self._folder = Path(tempfile.mkdtemp(dir=side.scratch))
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(WORK), str(side.tree), str(self._folder)],
            cwd=side.tree,
            env=kept | own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        if cpu is not None:
            os.sched_setaffinity(self._process.pid, {cpu})

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def work(self, name: str, *, count: bool = False) -> dict[str, Any]:
        """Do one work once; return the worker's answer.

        Raises:
            Refused: this side cannot do it.
        """
        assert self._process.stdin is not None  # both were asked for
        assert self._process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):  # it has said why
            print(json.dumps({"work": name, "count": count}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            said = [text for text in self._errors.read().splitlines() if text.strip()]
            why = said[-1] if said else f"exit code {self._process.returncode}"
            raise Refused(f"work {name}: {self.side.name} cannot do it: {why}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def same_work(work: str, base: dict[str, Any], head: dict[str, Any]) -> None:
    """Refuse sides that found another number of candidates: their times say nothing."""
    if base["found"] != head["found"]:
        raise Refused(
            f"work {work}: base finds {base['found']} candidates and head {head['found']}: not the"
            " same work; compare with a base that decides alike"
        )
