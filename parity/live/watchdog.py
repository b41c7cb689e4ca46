"""The watchdog beside a run: names the strategy that holds the loop, or that takes the memory.

A thread looks ten times a second at the stack of the loop's thread: the same call of the engine on
it for three quarters of a second is an alarm, with strategy, file, line and stack. One call of a
strategy that lasts `exit_s` ends the process as a kill would: the journal stays, and is repairable.

Compiled code that never lets go of Python's lock stops this thread, too. So with each look two
timers below Python are set anew. Where one runs out the stacks of all threads are written without
the lock, and behind `exit_s` a signal ends the process. Both count processor time: a process that
was frozen wakes up with its threads running, and to read their stacks then can end it.

It only looks: nothing here changes a byte of what anybody decides.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import msgspec
import structlog

from parity.core.engine import Engine
from parity.core.executor import Executor
from parity.model.errors import ParityError

if TYPE_CHECKING:
    from types import CodeType, FrameType, TracebackType

    from parity.core.executor import ExecutorPlan
    from parity.core.roster import Planner

ALARMS: Final = "alarms.jsonl"
EXIT_CODE: Final = 5
BEAT_S: Final = 0.1
STALL_S: Final = 0.75
EXIT_S: Final = 30.0
DRAIN_S: Final = 15.0  # what a run that takes too much memory gets to come to its end
_FROZEN_S: Final = 0.5  # so late, and nothing computed, was not the loop's fault: all stood still
_LOCKED_S: Final = 0.9  # of processor time without a beat: somebody holds Python's lock
_LAST_WORDS_S: Final = 10.0  # of processor time for them, which wait for Python's lock as well
_STACK_MAX: Final = 20
_OBJECTS_MAX: Final = 300_000  # looked at to find out who holds the memory
MB: Final = 1_000_000
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_CORE: Final = str(Path(sys.modules[Engine.__module__].__file__ or "").parent) + os.sep

_encode: Final = msgspec.json.Encoder().encode
_log = structlog.get_logger("parity.live.watchdog")


class StrategyTooMuch(ParityError):
    """A strategy blocked the loop or took the memory, and the run was ended for it."""

    exit_code = EXIT_CODE


class Guard(NamedTuple):
    """What is put up with.

    Args:
        exit_s: how long one call of a strategy may last before the process is ended.
        rss_bytes: resident memory of the process above which the run is stopped; None is no limit.
    """

    exit_s: float = EXIT_S
    rss_bytes: int | None = None


class _Held(NamedTuple):
    """A call on the loop's stack, and since when it has been seen there."""

    frame: FrameType | None
    since_s: float


_NOTHING: Final = _Held(None, 0.0)


class Watchdog:
    """Watches the thread that enters it, until it is left.

    Args:
        guard: what is put up with.
        folder: of the run; alarms are appended to its `alarms.jsonl`.
        executors: of the run's engine, for who holds the memory.
        stop: asks the run to come to its end; called from the watchdog's thread.

    Attributes:
        reason: why the run was stopped; "" where it was not.
    """

    def __init__(
        self,
        guard: Guard,
        folder: Path,
        executors: Callable[[], Sequence[Executor]],
        stop: Callable[[], None],
    ) -> None:
        self.reason = ""
        self._guard = guard
        self._folder = folder
        self._executors = executors
        self._stop = stop
        self._watched = threading.get_ident()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._turn = self._call = _NOTHING
        self._named: Counter[str] = Counter()  # looks of this turn, by who was at work
        self._alarmed = False
        self._stacks = -1
        self._stopped_s = 0.0

    def __enter__(self) -> Self:
        self._stacks = os.open(
            self._folder / "stacks.txt",
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC,
            0o644,
        )
        faulthandler.register(signal.SIGVTALRM, file=2, all_threads=True)
        # Behind the dump the signal does what it does by itself: it ends the process.
        faulthandler.register(signal.SIGPROF, file=self._stacks, all_threads=True, chain=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left.set()
        self._thread.join()
        _disarm()
        faulthandler.unregister(signal.SIGPROF)
        faulthandler.unregister(signal.SIGVTALRM)
        os.close(self._stacks)
        stacks = self._folder / "stacks.txt"
        if not stacks.stat().st_size:
            stacks.unlink()

    # -- in a thread of its own

    def _watch(self) -> None:
        try:
            self._look_on()
        except Exception as error:  # the thread's last door: the run goes on without it
            _disarm()  # first: what nobody sets anew ends a healthy run
            _log.error("watchdog_stopped", reason=repr(error))

    def _look_on(self) -> None:
        looked_s, used_s = time.monotonic(), time.process_time()
        while not self._left.wait(BEAT_S):
            now_s, spent_s = time.monotonic(), time.process_time() - used_s
            used_s += spent_s
            # Each file that a look opens, writes or closes may wait for the lock again, and a call
            # that holds it in pieces has as long for each: none of that is one hold of `exit_s`.
            signal.setitimer(signal.ITIMER_PROF, self._guard.exit_s + _LAST_WORDS_S)
            signal.setitimer(signal.ITIMER_VIRTUAL, _LOCKED_S)
            # A late beat is the strategy's where this process computed: it held the lock.
            if (late_s := now_s - looked_s - BEAT_S - spent_s) > _FROZEN_S:
                self._stood_still(late_s)
            looked_s = now_s
            self._look(now_s)
            if self._guard.rss_bytes is not None:
                self._weigh(now_s, self._guard.rss_bytes)
            signal.setitimer(signal.ITIMER_PROF, self._guard.exit_s)

    def _stood_still(self, late_s: float) -> None:
        """Leave out the time in which nothing ran on this machine, not the strategies either."""
        self._turn = self._turn._replace(since_s=self._turn.since_s + late_s)
        self._call = self._call._replace(since_s=self._call.since_s + late_s)

    def _look(self, now_s: float) -> None:
        frames = _frames_of(self._watched)
        turn = next((f for f in frames if f.f_code is _PROCESS), None)
        if turn is not self._turn.frame:
            if self._alarmed:
                held_s = round(now_s - self._turn.since_s, 1)
                _log.warning("strategy_went_on", held_s=held_s)
            self._turn, self._alarmed = _Held(turn, now_s), False
            self._named.clear()
        if turn is None:
            self._call = _NOTHING
            return
        at = _at_work(frames)
        self._named[_name(at.executor)] += 1
        if at.call is not self._call.frame:
            self._call = _Held(at.call, now_s)
        if not self._alarmed and now_s - self._turn.since_s >= STALL_S:
            self._alarmed = True
            # A strategy may be slow in many short calls: it is the one seen most.
            name = self._named.most_common(1)[0][0]
            _log.error("strategy_stalls", **self._alarm("strategy_stalls", name, at, now_s))
        if self._call.frame is not None and now_s - self._call.since_s >= self._guard.exit_s:
            name = _name(at.executor)
            self._end("strategy_blocks", lambda: self._alarm("strategy_blocks", name, at, now_s))

    def _alarm(
        self, alarm: str, name: str, at: _AtWork, now_s: float, more: dict[str, int] | None = None
    ) -> dict[str, Any]:
        """Keep an alarm, and return it as the log takes it: its stack is one text there."""
        strategy_id, _, broker = name.rpartition("@")
        detail = {
            "strategy_id": strategy_id,
            "broker": broker,
            "held_s": round(now_s - self._turn.since_s, 2),
            "file": at.file,
            "line": at.line,
            "stack": at.stack,
            **(more or {}),
        }
        try:
            self._write(alarm, detail)
        except OSError as error:
            _log.warning("alarm_not_kept", alarm=alarm, reason=str(error))
        return {**detail, "stack": "\n".join(at.stack)}

    def _write(self, alarm: str, detail: dict[str, Any]) -> None:
        line = _encode({"alarm": alarm, "ts": time.time_ns(), **detail}) + b"\n"
        file = os.open(
            self._folder / ALARMS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        try:
            os.write(file, line)
        finally:
            os.close(file)

    def _end(self, alarm: str, detail: Callable[[], dict[str, Any]]) -> None:
        cure = "the journal holds all that was acted on; mend the strategy and start a new run"
        try:
            signal.setitimer(signal.ITIMER_PROF, _LAST_WORDS_S)
            _log.critical(alarm, exit_code=EXIT_CODE, cure=cure, **detail())
            sys.stderr.flush()
        finally:
            os._exit(EXIT_CODE)

    # -- memory

    def _weigh(self, now_s: float, limit_bytes: int) -> None:
        with open("/proc/self/statm", "rb") as file:
            rss_bytes = int(file.read().split()[1]) * _PAGE_BYTES
        if self._stopped_s:
            if now_s - self._stopped_s >= DRAIN_S:
                self._end("memory_limit", lambda: {"rss_mb": rss_bytes // MB, "stopped": False})
        elif rss_bytes > limit_bytes:
            self._stopped_s = now_s
            taken = f"the process takes {rss_bytes // MB} MB, {limit_bytes // MB} MB are allowed"
            self.reason = taken
            self._stop()
            held = held_bytes(self._executors())
            name, most = max(held.items(), key=lambda item: item[1], default=("@", 0))
            at = _at_work(_frames_of(self._watched))
            sizes = {
                "rss_mb": rss_bytes // MB,
                "limit_mb": limit_bytes // MB,
                "held_mb": most // MB,
            }
            self.reason = f"{name}: it holds about {most // MB} MB; {taken}"
            _log.critical("memory_limit", **self._alarm("memory_limit", name, at, now_s, sizes))


def _disarm() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)


class _AtWork(NamedTuple):
    """Who is at work on a stack: executor, its strategy's outermost call, and where that is."""

    executor: Executor | None
    call: FrameType | None
    file: str
    line: int
    stack: list[str]


_PROCESS: Final = Engine.process.__code__
_EXECUTOR: Final[frozenset[CodeType]] = frozenset(
    method.__code__ for method in vars(Executor).values() if hasattr(method, "__code__")
)


def _frames_of(thread_id: int) -> list[FrameType]:
    """Return a thread's frames, the innermost first."""
    frame = sys._current_frames().get(thread_id)
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found


def _at_work(frames: Sequence[FrameType]) -> _AtWork:
    at = next((n for n, f in enumerate(frames) if f.f_code in _EXECUTOR), None)
    if at is None:
        stack = [_place(f) for f in frames[:_STACK_MAX]]
        return _AtWork(None, None, "", 0, stack)
    executor = frames[at].f_locals["self"]
    own = [f for f in frames[:at] if not f.f_code.co_filename.startswith(_CORE)]
    stack = [_place(f) for f in frames[: at + 1][:_STACK_MAX]]
    if not own:
        return _AtWork(executor, None, "", 0, stack)
    call = own[-1]
    # Where its own file stands, whatever it called from there.
    file = call.f_code.co_filename
    line = next(f.f_lineno for f in own if f.f_code.co_filename == file)
    return _AtWork(executor, call, file, line, stack)


def _place(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} {code.co_name}"


def _name(executor: Executor | None) -> str:
    return "@" if executor is None else "@".join(executor.key)


def held_bytes(executors: Sequence[Executor]) -> dict[str, int]:
    """Return about how many bytes each executor's strategy holds, by `strategy_id@broker`.

    What is reached from what runs it, but for modules, types and functions; of very many objects
    the first ones count.
    """
    return {_name(executor): _reached(executor.detector) for executor in executors}


def _reached(root: object) -> int:
    seen, waiting, size = {id(root)}, [root], 0
    while waiting and len(seen) < _OBJECTS_MAX:
        found = waiting.pop()
        size += sys.getsizeof(found, 0)
        for one in gc.get_referents(found):
            if id(one) not in seen and not isinstance(one, _SHARED):
                seen.add(id(one))
                waiting.append(one)
    return size


_SHARED: Final = (type, type(sys), type(_reached), type(len))


def signing(planner: Planner) -> Planner:
    """Return a planner whose plans are signed."""

    def plans(strategy: Mapping[str, Any]) -> list[ExecutorPlan]:
        return [signed(plan) for plan in planner(strategy)]

    return plans


def signed(plan: ExecutorPlan) -> ExecutorPlan:
    """Return a plan whose driver stands on the stack under its strategy's name.

    A stack that is written while a driver holds Python's lock has names of functions alone.
    """
    if plan.driver is None:
        return plan
    driver = plan.driver

    def call(*arguments: Any) -> tuple[int, int]:
        return driver(*arguments)

    name = f"strategy {plan.config.strategy_id}@{plan.broker}"
    call.__code__ = call.__code__.replace(co_name=name, co_qualname=name)
    return msgspec.structs.replace(plan, driver=call)
