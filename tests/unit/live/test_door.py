"""The run's door: requests become controls in their order, refusals are nothing, callers may go."""

import asyncio
import contextlib
import os
import resource
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.live.calling import PATH_BYTES_MAX, SOCKET, address_of, ask, lives
from parity.live.door import VERBS, Door
from parity.model.errors import ConfigError, ParityError, RecordingMissing, ServiceDown
from parity.model.events import Control, EventBatch
from parity.model.ticks import TickBatch
from parity.model.values import StrategyConfig
from parity.sources.synthetic import TABLE


class Quiet:
    """Says nothing."""

    def process_tick(self, tick: Any, history: Any) -> None:
        """Say nothing."""

    def get_required_history_length(self) -> int:
        """One tick."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Any."""
        return True

    def get_strategy_name(self) -> str:
        """The name."""
        return "quiet"


def engine() -> Engine:
    """Return an engine of two strategies."""
    tokens = tuple(int(token) for token in TABLE.tokens)
    plans = [
        ExecutorPlan(
            StrategyConfig(strategy_id=name, strategy_type="quiet", instrument_tokens=tokens),
            "paper",
            Quiet,
        )
        for name in ("one", "two")
    ]
    return Engine(TABLE, plans)


class Turns:
    """A runner's turns beside a door: what is noted is processed, and the outcome told."""

    def __init__(self, door: Door, mine: Engine | None) -> None:
        self.door, self.engine, self.seq = door, mine, 0
        self.controls: list[Control] = []

    def turn(self) -> None:
        """Take what is asked for."""
        controls = []
        for note in self.door.notes(self.engine):
            self.seq += 1
            verb, detail = note.verb, note.detail
            controls.append(Control(seq=self.seq, ts_recv=0, verb=verb, detail=detail))
        self.controls += controls
        if controls:
            assert self.engine is not None
            batch = EventBatch(TickBatch.empty(TABLE), tuple(controls))
            self.door.decided(controls, self.engine.process(batch))

    async def until(self, *calls: "asyncio.Task[Any]") -> None:
        """Take turns until the calls are answered."""
        while not all(call.done() for call in calls):
            self.turn()
            await asyncio.sleep(0.001)


async def until(there: Callable[[], Any]) -> None:
    """Let the loop go on until something is there."""
    while not there():  # noqa: ASYNC110  # what is waited for is in another thread's hands
        await asyncio.sleep(0.001)


def run(folder: Path, scenario: Any, mine: Engine | None = None) -> Turns:
    """Run a scenario beside an open door."""

    async def main() -> Turns:
        door = Door(folder, lambda: {"here": True})
        turns = Turns(door, mine)
        await door.open()
        try:
            async with asyncio.timeout(20):
                await scenario(turns)
        finally:
            await door.close()
        return turns

    return asyncio.run(main())


async def call(turns: Turns, folder: Path, **request: Any) -> dict[str, Any]:
    """Ask from another thread while the turns go on."""
    task = asyncio.create_task(asyncio.to_thread(ask, folder, request))
    await turns.until(task)
    return task.result()


def test_what_is_granted_is_a_control_with_its_seq(tmp_path: Path) -> None:
    """Each verb's control carries what was asked; the answer says what changed, and where."""
    answers = []

    async def scenario(turns: Turns) -> None:
        for verb, more in (("pause", {"reason": "news", "resume_sec": 5.0}), ("resume", {}),
                           ("flatten", {"broker": "paper"}), ("stop", {})):  # fmt: skip
            answers.append(await call(turns, tmp_path, verb=verb, strategy_id="one", **more))

    turns = run(tmp_path, scenario, engine())

    assert [True] * 4 == [a["accepted"] for a in answers]
    assert [1, 2, 3, 4] == [a["seq"] for a in answers]
    assert [VERBS[v] for v in ("pause", "resume", "flatten", "stop")] == [
        c.verb for c in turns.controls
    ]
    asked = {"strategy_id": "one", "reason": "news", "resume_sec": 5.0}
    assert asked == turns.controls[0].detail
    change = {"strategy_id": "one", "broker": "paper", "was": "INIT", "now": "PAUSED"}
    assert [change] == answers[0]["changes"]
    assert "STOPPED" == answers[3]["changes"][0]["now"]


def test_a_refusal_journals_nothing_and_says_why(tmp_path: Path) -> None:
    """Unknown names, states that forbid it, nonsense: no note, and a stable reason."""
    found = {}

    async def scenario(turns: Turns) -> None:
        for name, request in {
            "verb": {"verb": "explode", "strategy_id": "one"},
            "strategy": {"verb": "pause", "strategy_id": "onee"},
            "broker": {"verb": "pause", "strategy_id": "one", "broker": "zerodha"},
            "state": {"verb": "resume", "strategy_id": "one"},
            "seconds": {"verb": "pause", "strategy_id": "one", "resume_sec": -1.0},
            "key": {"verb": "pause", "strategy": "one"},
            "file": {"verb": "replace", "strategy_id": "one"},
        }.items():
            found[name] = await call(turns, tmp_path, **request)

    mine = engine()
    turns = run(tmp_path, scenario, mine)

    assert not any(answer["accepted"] for answer in found.values())
    assert {
        "verb": "unknown_verb", "strategy": "unknown_strategy", "broker": "unknown_strategy",
        "state": "not_allowed", "seconds": "malformed", "key": "malformed", "file": "malformed",
    } == {name: answer["reason"] for name, answer in found.items()}  # fmt: skip
    assert "did you mean 'one'?" == found["strategy"]["said"]
    assert "INIT" == found["state"]["said"]
    assert ["strategy_replaced"] == [c.verb for c in turns.controls]  # only the core can know
    assert {"strategy_replaced": 1} == mine.report().refused_controls
    assert {"INIT"} == {e.state for e in mine.report().executors}


def test_requests_of_one_moment_are_held_against_each_other(tmp_path: Path) -> None:
    """Two pauses and two stops at once: the second stop sees what the first one did."""
    answers: list[dict[str, Any]] = []

    async def scenario(turns: Turns) -> None:
        tasks = [
            asyncio.create_task(
                asyncio.to_thread(ask, tmp_path, {"verb": "stop", "strategy_id": "two"})
            )
            for _ in range(5)
        ]
        await until(lambda: len(turns.door._waiting) == 5)
        await turns.until(*tasks)
        answers.extend(task.result() for task in tasks)

    turns = run(tmp_path, scenario, engine())

    assert [False] * 4 + [True] == sorted(answer["accepted"] for answer in answers)
    assert {"not_allowed"} == {a["reason"] for a in answers if not a["accepted"]}
    assert 1 == len(turns.controls)


def test_who_hangs_up_before_its_turn_has_asked_nothing(tmp_path: Path) -> None:
    """A caller whose patience ends is told so, and its control does not come later."""

    async def scenario(turns: Turns) -> None:
        request = {"verb": "pause", "strategy_id": "one"}
        with pytest.raises(ServiceDown, match="did not answer within"):
            await asyncio.to_thread(ask, tmp_path, request, wait_s=0.05)
        await until(lambda: turns.door._waiting)
        turns.turn()
        await until(lambda: not turns.door._calls)

    assert [] == run(tmp_path, scenario, engine()).controls


def test_who_gave_up_while_the_loop_stood_still_has_asked_nothing(tmp_path: Path) -> None:
    """Nobody has read its line, or its end, when the loop goes on: it is not granted then."""

    async def scenario(turns: Turns) -> None:
        def give_up() -> None:
            with pytest.raises(ServiceDown, match="did not answer within"):
                ask(tmp_path, {"verb": "pause", "strategy_id": "one"}, wait_s=0.05)

        caller = threading.Thread(target=give_up)
        caller.start()
        caller.join()  # a strategy holds the loop meanwhile
        for _ in range(50):
            await asyncio.sleep(0)
            turns.turn()
        await until(lambda: not turns.door._calls)

    assert [] == run(tmp_path, scenario, engine()).controls


@pytest.mark.parametrize(("requests", "half"), [(1, True), (2, False), (2, True)])
def test_who_sends_no_more_or_all_at_once_is_answered(
    tmp_path: Path, requests: int, half: bool
) -> None:
    """The look for a hang-up takes no end of sending for one, and eats no second request."""
    found: list[dict[str, Any]] = []

    def talk() -> None:
        lines = [{"verb": verb, "strategy_id": "one"} for verb in ("pause", "resume")[:requests]]
        with socket.socket(socket.AF_UNIX) as line, address_of(tmp_path) as path:
            line.settimeout(10)
            line.connect(path)
            line.sendall(b"".join(msgspec.json.encode(one) + b"\n" for one in lines))
            if half:
                line.shutdown(socket.SHUT_WR)
            with line.makefile("rb") as answers:
                found.extend(msgspec.json.decode(answers.readline()) for _ in lines)

    async def scenario(turns: Turns) -> None:
        task = asyncio.create_task(asyncio.to_thread(talk))
        await until(lambda: turns.door._waiting)
        await asyncio.sleep(0.05)  # the end of sending has come, too
        await turns.until(task)
        task.result()

    turns = run(tmp_path, scenario, engine())

    assert [True] * requests == [answer["accepted"] for answer in found]
    assert requests == len(turns.controls)


def test_one_caller_too_many_is_told_so(tmp_path: Path) -> None:
    """Sixteen wait; the next is not left to guess, and the others are served."""
    found: list[dict[str, Any]] = []

    async def scenario(turns: Turns) -> None:
        request = {"verb": "pause", "strategy_id": "one"}

        def hold() -> socket.socket:
            line = socket.socket(socket.AF_UNIX)
            with address_of(tmp_path) as path:
                line.connect(path)
            line.sendall(msgspec.json.encode(request) + b"\n")
            return line

        lines = [await asyncio.to_thread(hold) for _ in range(16)]
        await until(lambda: len(turns.door._waiting) == 16)
        found.append(await asyncio.to_thread(ask, tmp_path, request))
        for line in lines:
            line.close()
        turns.turn()
        await until(lambda: not turns.door._calls)
        found.append(await call(turns, tmp_path, verb="status"))

    run(tmp_path, scenario, engine())

    assert "busy" == found[0]["reason"]
    assert {"here": True} == found[1]


def test_what_fails_is_told_and_harms_nobody(tmp_path: Path) -> None:
    """A status that cannot be had, a replacement the disk refuses: an answer, and a line."""
    found = []

    def refuse(*_: Any) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    async def main() -> None:
        door = Door(tmp_path, refuse, refuse)
        await door.open()
        replace = {"verb": "replace", "strategy_id": "one", "file": "x"}
        requests = ({"verb": "status"}, replace)
        found.extend([await asyncio.to_thread(ask, tmp_path, one) for one in requests])
        await door.close()

    with capture_logs() as logs:
        asyncio.run(main())

    assert ["failed"] * 2 == [answer["reason"] for answer in found]
    assert all("No space left" in answer["said"] for answer in found)
    assert ["control_failed"] * 2 == [line["event"] for line in logs]


def test_without_descriptors_the_loop_is_not_spun(tmp_path: Path) -> None:
    """Who cannot be accepted waits: the run has its loop, one line says so, and it is served."""
    tries = []
    found = []

    class Counted(Door):
        def _accept(self, listener: socket.socket) -> None:
            tries.append(listener)
            super()._accept(listener)

    async def main() -> None:
        door = Counted(tmp_path, lambda: {"here": True})
        await door.open()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        spent: list[int] = []
        with socket.socket(socket.AF_UNIX) as line, address_of(tmp_path) as path:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, soft), hard))
            try:
                with contextlib.suppress(OSError):
                    while True:
                        spent.append(os.open("/dev/null", os.O_RDONLY))
                line.connect(path)
                await asyncio.sleep(0.3)
            finally:
                for descriptor in spent:
                    os.close(descriptor)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            found.append(len(tries))
            line.settimeout(10)
            line.sendall(b'{"verb": "status"}\n')
            found.append(await asyncio.to_thread(line.recv, 100))
        await door.close()

    with capture_logs() as logs:
        asyncio.run(main())

    assert [1, b'{"here":true}\n'] == found
    assert ["control_unavailable"] == [line["event"] for line in logs]


def test_a_recorder_has_a_door_without_strategies(tmp_path: Path) -> None:
    """It answers for its status, and refuses what is about a strategy."""
    found = []

    async def scenario(turns: Turns) -> None:
        found.append(await call(turns, tmp_path, verb="status"))
        found.append(await call(turns, tmp_path, verb="pause", strategy_id="one"))

    run(tmp_path, scenario)

    assert {"here": True} == found[0]
    assert "no_strategies" == found[1]["reason"]


def test_the_socket_is_its_owners_alone_and_goes_with_the_door(tmp_path: Path) -> None:
    """Mode 0600 whatever the umask; what a kill left is replaced; afterwards it is gone."""
    (tmp_path / SOCKET).touch()
    modes = []

    async def scenario(turns: Turns) -> None:
        modes.append(stat.S_IMODE((tmp_path / SOCKET).stat().st_mode))
        modes.append(await asyncio.to_thread(lives, tmp_path))

    before = os.umask(0)
    try:
        run(tmp_path, scenario)
    finally:
        os.umask(before)

    assert [0o600, True] == modes
    assert not (tmp_path / SOCKET).exists()
    assert not lives(tmp_path)


def test_a_folder_deeper_than_a_socket_address_has_its_door(tmp_path: Path) -> None:
    """A path of several hundred bytes: the socket lies in it all the same."""
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 12)
    deep.mkdir(parents=True)
    found = []

    async def scenario(turns: Turns) -> None:
        found.append(await call(turns, deep, verb="status"))
        found.append((deep / SOCKET).is_socket())

    run(deep, scenario)

    assert len(str(deep / SOCKET)) > PATH_BYTES_MAX
    assert [{"here": True}, True] == found


def test_nonsense_on_the_line_harms_nobody(tmp_path: Path) -> None:
    """Bytes that are no request, and more than a line may have: the next caller is served."""
    found = []

    def raw(data: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as line, address_of(tmp_path) as path:
            line.settimeout(10)
            line.connect(path)
            try:
                line.sendall(data)
                line.shutdown(socket.SHUT_WR)
                with line.makefile("rb") as answers:
                    return answers.readline()
            except ConnectionError:
                return b""

    async def scenario(turns: Turns) -> None:
        lines = (b"\xff\xfe\n", b"[]\n", b"x" * 200_000, b"")
        found.extend([await asyncio.to_thread(raw, data) for data in lines])
        found.append(await call(turns, tmp_path, verb="status"))

    run(tmp_path, scenario)

    assert ["malformed"] * 2 == [msgspec.json.decode(line)["reason"] for line in found[:2]]
    assert [b"", b"", {"here": True}] == found[2:]


def test_where_nobody_lives_the_error_says_which(tmp_path: Path) -> None:
    """No folder, no socket, and the socket of a runner that was killed."""
    dead = socket.socket(socket.AF_UNIX)
    killed = tmp_path / "killed"
    killed.mkdir()
    with address_of(killed) as path:
        dead.bind(path)
    dead.close()
    errors: list[ParityError] = []
    for folder in (tmp_path / "absent", tmp_path, killed):
        with pytest.raises(ParityError) as caught:
            ask(folder, {"verb": "status"})
        errors.append(caught.value)

    assert [3, 4, 4] == [error.exit_code for error in errors]
    assert isinstance(errors[0], RecordingMissing)
    assert ["no runner lives in it"] * 2 == [str(e).split(": ")[1][:21] for e in errors[1:]]


def test_an_end_answers_who_still_waits(tmp_path: Path) -> None:
    """A request that meets the end of the run is refused, and the caller told."""
    found: list[Any] = []

    async def scenario(turns: Turns) -> None:
        request = {"verb": "pause", "strategy_id": "one"}
        task = asyncio.create_task(asyncio.to_thread(ask, tmp_path, request))
        await until(lambda: turns.door._waiting)
        await turns.door.close()
        found.append(await task)

    turns = run(tmp_path, scenario, engine())

    assert "ending" == found[0]["reason"]
    assert [] == turns.controls


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every socket")
def test_somebody_elses_socket_is_refused(tmp_path: Path) -> None:
    """Without the right to open it, the error names the owner's matter."""

    async def scenario(turns: Turns) -> None:
        (tmp_path / SOCKET).chmod(0)
        with pytest.raises(ConfigError, match="another user"):
            await asyncio.to_thread(ask, tmp_path, {"verb": "status"})

    run(tmp_path, scenario)
