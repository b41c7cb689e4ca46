"""`make bench-guard BASE=REV`: is the working tree slower than a commit, and does it allocate more?

Times are CPU seconds of processes that take turns on one CPU, judged by `statistic.py`; counts of
allocations, blocks kept and compiles need no statistics (`hook.py`, `work.py`). Exit codes:
0 nothing found, 1 slower or more of what is counted, 2 it cannot be measured, 130 stopped.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from benchmarks.guard import statistic
from benchmarks.guard.sides import Refused, Side, Worker, base_of, git, same_work, sides
from benchmarks.guard.statistic import FALSE_ALARM, TOLERANCE, Verdict
from benchmarks.guard.work import WORKS

WARM: Final = 2  # passes before anything counts
COUNTED: Final = 3  # passes of which the least is kept
# What a pass may differ by with the same code, in requests and in blocks: measured between
# processes, 1 and 10 (numpy's and Python's own caches). The live runner has threads and a clock,
# and asks otherwise on a busy machine: there it is a part of a tick, measured 0.14 and 0.02.
SLACK: Final = {"made": 3, "kept": 24}
LIVE_SLACK: Final = {"made": 0.5, "kept": 0.1}
SAYS: Final = {"made": "allocations", "kept": "blocks kept", "compiles": "compiles after warm-up"}


class Count(NamedTuple):
    """What a pass of a work counts on both sides."""

    work: str
    what: str
    base: int
    head: int
    ticks: int

    @property
    def alarm(self) -> bool:
        """Whether there is more of it than there was; a compile is always too many."""
        if self.what == "compiles":
            return self.head > 0
        live = self.work == "live"
        slack = LIVE_SLACK[self.what] * self.ticks if live else SLACK[self.what]
        return self.head > self.base + slack

    def line(self) -> str:
        """Return it as a line of the report."""
        if self.what == "compiles":
            told = f"{self.base} → {self.head}"
        else:
            told = f"{self.base / self.ticks:.3f} → {self.head / self.ticks:.3f} a tick"
        mark = "MORE" if self.alarm else "ok"
        return f"  {self.work:11} {SAYS[self.what]:23} {told:25} {mark}"


def count(pair: tuple[Side, Side], works: Sequence[str], cpu: int | None) -> list[Count]:
    """Count on each side, in a process of its own that does nothing else.

    On one CPU: on two, the threads of a live runner meet otherwise, and ask for other blocks.
    """
    found: dict[str, list[dict[str, Any]]] = {work: [] for work in works}
    for side in pair:
        with Worker(side, cpu, hash_seed=0) as worker:
            for work in works:
                for _ in range(WARM):
                    worker.work(work)
                worker.work(work, count=True)  # makes the hook, and warms what it makes
                passes = [worker.work(work, count=True) for _ in range(COUNTED)]
                least = {what: min(int(p[what]) for p in passes) for what in SLACK}
                compiles = sum(int(p["compiles"]) for p in passes)
                found[work].append(passes[0] | least | {"compiles": compiles})
    counts = []
    for work, (base, head) in found.items():
        same_work(work, base, head)
        counts += [Count(work, what, base[what], head[what], base["ticks"]) for what in SAYS]
    return counts


def time_pair(
    pair: tuple[Side, Side], works: Sequence[str], rounds: int, lot: random.Random, cpu: int | None
) -> tuple[dict[str, float], int]:
    """Let two new processes take turns; return the value of each work, and the head's compiles."""
    seed, head_first = lot.randrange(1 << 32), lot.random() < 0.5
    order = pair[::-1] if head_first else pair
    values: dict[str, float] = {}
    compiles = 0
    with Worker(order[0], cpu, seed) as first, Worker(order[1], cpu, seed) as second:
        for work in works:
            turns: list[tuple[dict[str, Any], dict[str, Any]]] = []
            for n in range(WARM + rounds):  # A B, B A, A B, …
                if n % 2 == 0:
                    a = first.work(work)
                    b = second.work(work)
                else:
                    b = second.work(work)
                    a = first.work(work)
                turns.append((b, a) if head_first else (a, b))
            same_work(work, *turns[-1])
            base, head = zip(*turns[WARM:], strict=True)
            values[work] = statistic.pair_value(
                [h["seconds"] for h in head], [b["seconds"] for b in base]
            )
            compiles += sum(int(h["compiles"]) for h in head)
    return values, compiles


def time_all(
    pair: tuple[Side, Side], asked: argparse.Namespace, lot: random.Random
) -> tuple[list[Verdict], int]:
    """Return the verdicts over all pairs of processes, and how often the head compiled."""
    values: dict[str, list[float]] = {work: [] for work in asked.work}
    compiles = 0
    for n in range(asked.pairs):
        said, compiled = time_pair(pair, asked.work, asked.rounds, lot, asked.cpu)
        compiles += compiled
        for work, value in said.items():
            values[work].append(value)
        if sys.stderr.isatty():
            print(f"\rguard: pair {n + 1} of {asked.pairs}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return statistic.judge(values), compiles


def show(verdict: Verdict) -> str:
    """Return a verdict as a line of the report."""
    took, low, high = (100 * v for v in (verdict.slowdown, verdict.low, verdict.high))
    mark = "SLOWER" if verdict.alarm else "ok"
    return (
        f"  {verdict.work:11} CPU seconds {took:+6.1f} % ({low:+.1f} to {high:+.1f}),"
        f" p = {verdict.p:.4f}  {mark}"
    )


def run(pair: tuple[Side, Side], asked: argparse.Namespace, lot: random.Random) -> list[str]:
    """Measure once, print what was found, and return what alarmed, by work and what.

    With a slow-down planted nothing is counted: reading the clock allocates.
    """
    lines, alarms = [], []
    for one in [] if asked.plant else count(pair, asked.work, asked.cpu):
        lines.append(one.line())
        alarms += [f"{one.work} {SAYS[one.what]}"] if one.alarm else []
    if not asked.counts:
        verdicts, compiles = time_all(pair, asked, lot)
        lines += [show(one) for one in verdicts]
        alarms += [f"{one.work} CPU seconds" for one in verdicts if one.alarm]
        if compiles:
            lines.append(f"  compiles while the clock ran: {compiles}  MORE")
            alarms.append("compiles while the clock ran")
    print("\n".join(lines), flush=True)
    return alarms


def runs_alone(pair: tuple[Side, Side], asked: argparse.Namespace, lot: random.Random) -> int:
    """Measure the base against itself M times; return 1 where it alarms otherwise than stated.

    That is: more often than FALSE_ALARM explains; or, with a slow-down planted, not each time.
    """
    what = f"itself, {asked.plant:g} % slower" if asked.plant else "itself"
    alarmed, names = 0, Counter[str]()
    for n in range(1, asked.aa + 1):
        print(f"run {n} of {asked.aa}, the base against {what}:")
        found = run(pair, asked, lot)
        alarmed += bool(found)
        names.update(found)
    for name, times in names.items():
        print(f"{name}: alarmed {times} of {asked.aa} times")
    told = f"{alarmed} of {asked.aa} runs alarmed"
    if asked.plant:
        print(told)
        return int(alarmed < asked.aa)
    most = 100 * statistic.highest_rate(alarmed, asked.aa)
    sure, stated = 100 * statistic.CONFIDENCE, 100 * FALSE_ALARM
    print(f"{told}: a rate of at most {most:.1f} % ({sure:g} % confidence), stated: {stated:g} %")
    return int(statistic.at_least(alarmed, asked.aa, FALSE_ALARM) < 1 - statistic.CONFIDENCE)


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_whole.__name__ = "number ≥ 1"  # how argparse calls it in its message


def _asked(words: Sequence[str] | None) -> argparse.Namespace:
    first, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser("python -m benchmarks.guard", description=first, epilog=rest)
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    say = parser.add_argument
    say(
        "--base", metavar="REV", help="commit to compare with (where HEAD left origin/main or main)"
    )
    say("--pairs", type=_whole, default=statistic.PAIRS, help="of processes (%(default)s)")
    say("--rounds", type=_whole, default=statistic.ROUNDS, help="turns of a pair (%(default)s)")
    say("--work", nargs="+", choices=WORKS, default=list(WORKS), help="only these")
    say("--counts", action="store_true", help="only what is counted, nothing timed")
    say(
        "--aa",
        type=_whole,
        metavar="M",
        help="the base against itself, M times: how often it alarms",
    )
    say("--plant", type=float, default=0.0, metavar="PERCENT", help="with --aa: slow one side down")
    say("--seed", type=int, help="of the lots; printed where it is not given")
    say("--cpu", type=int, choices=cpus, default=cpus[-1] if cpus else None, help="to run on")
    asked = parser.parse_args(words)
    asked.work = list(dict.fromkeys(asked.work))
    if asked.plant < 0:
        raise Refused(f"--plant {asked.plant:g}: nothing can be made faster; give 0 or more")
    if asked.plant and asked.aa is None:
        raise Refused("--plant slows the base down beside itself: give --aa, too")
    if asked.plant and asked.counts:
        raise Refused("--plant is seen by the clock alone: leave --counts out")
    if not asked.counts and asked.pairs < (least := statistic.pairs_least(len(asked.work))):
        raise Refused(f"--pairs {asked.pairs}: fewer than {least} can never alarm")
    if asked.seed is None:
        asked.seed = random.SystemRandom().randrange(1 << 32)
    return asked


def main(words: Sequence[str] | None = None) -> int:
    """Do what was asked; return the exit code."""
    try:
        asked = _asked(words)
        base, why = base_of(asked.base)
        load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
        print(
            f"base {base[:12]} ({why}), seed {asked.seed}, CPU {asked.cpu}{load},"
            f" Python {platform.python_version()}, {platform.machine()}",
            flush=True,
        )
        changed = git("diff", "--name-only", base, "--", "requirements")
        if changed and asked.aa is None:
            print("the requirements differ; both sides run with what is installed here")
        with sides(base, alone=asked.aa is not None, plant=asked.plant) as pair:
            lot = random.Random(asked.seed)
            if asked.aa is not None:
                return runs_alone(pair, asked, lot)
            alarms = run(pair, asked, lot)
    except Refused as refusal:
        print(f"guard: {refusal}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if not asked.counts:
        print(
            f"{asked.pairs} pairs of processes, {asked.rounds} rounds each; an alarm is a slow-down"
            f" of {100 * TOLERANCE:g} % or more that chance gives in at most"
            f" {100 * FALSE_ALARM:g} % of runs"
        )
    print(f"alarms: {', '.join(alarms)}" if alarms else "nothing found")
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
