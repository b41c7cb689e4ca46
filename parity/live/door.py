"""The run's door: an operator asks through a socket, and what is granted becomes a control.

A request is one line of JSON, and so is its answer. What is about a strategy waits for the next
turn of the runner, is held against the states of that very moment, and is journaled before any
tick that comes later; the answer names its seq and is given when the journal is synced. What is
refused here is not journaled. Who has hung up when its turn comes has asked nothing; who hangs up
behind that moment is not heard: what it asked for is done.

Never here: what a verb does to a strategy (parity.core.controls).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import select
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from parity.live.calling import LINE_BYTES_MAX, SOCKET, listening, remove
from parity.model.effects import ControlRefused, Effect, Transition
from parity.model.errors import ParityError, did_you_mean
from parity.model.events import Control
from parity.sources.arrivals import Note

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from parity.core.engine import Engine

VERBS: Final = {
    "pause": "strategy_paused",
    "resume": "strategy_resumed",
    "stop": "strategy_stopped",
    "flatten": "strategy_flattened",
    "replace": "strategy_replaced",
}
STATUS: Final = "status"
_CALLERS_MAX: Final = 16
_AGAIN_S: Final = 1.0  # until callers are taken again where the machine had nothing left for one
_SPENT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = structlog.get_logger("parity.live.door")

# From a strategy's id, a file and overrides to what a control carries; it may be slow and fail.
Introduce = Callable[[str, str, Sequence[str]], dict[str, Any]]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator asks for.

    Args:
        verb: a key of VERBS, or "status".
        strategy_id: whom it is about.
        broker: one of its executors; "" is all of them.
        reason: what the transition will say.
        resume_sec: of a pause: seconds of the executor's clock after which it ends by itself.
        file: of a replacement: where the strategy is read from.
        overrides: of a replacement: `--set` texts.
    """

    verb: str
    strategy_id: str = ""
    broker: str = ""
    reason: str = ""
    resume_sec: float | None = None
    file: str = ""
    overrides: tuple[str, ...] = ()


class _Waiting:
    """A request on its way, and who waits for its answer."""

    def __init__(self, verb: str, detail: dict[str, Any], line: socket.socket) -> None:
        self.verb = verb
        self.detail = detail
        self.line = line
        self.answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    @property
    def gone(self) -> bool:
        """Whether the caller has closed its end; one that only sends no more still waits.

        The kernel is asked, as the loop may not have got to it yet; nothing of the line is read.
        """
        if self.line.fileno() < 0:
            return True
        ask = select.poll()
        ask.register(self.line, 0)  # a hang-up and an error are told unasked
        return bool(ask.poll(0))

    def tell(self, answer: dict[str, Any]) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class Door:
    """The control socket of a folder that this process holds.

    Args:
        folder: of the run; of the recording where there is no run.
        status: what a request for status is answered with.
        introduce: keeps a strategy that replaces another; None where there are no strategies.
    """

    def __init__(
        self,
        folder: Path,
        status: Callable[[], dict[str, Any]],
        introduce: Introduce | None = None,
    ) -> None:
        self._folder = folder
        self._status = status
        self._introduce = introduce
        self._introducing = asyncio.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._taken: _Waiting | None = None
        self._listener: socket.socket | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._spent = False

    async def open(self) -> None:
        """Listen; where no socket can be made the run goes on without, and the log says so."""
        try:
            made = listening(self._folder)
        except OSError as error:
            _log.warning("control_unavailable", path=str(self._folder / SOCKET), reason=str(error))
            return
        self._listener = made
        # Not a server of asyncio: one that closes leaves who was just accepted open (to 3.12).
        asyncio.get_running_loop().add_reader(made, self._accept, made)

    async def close(self) -> None:
        """Answer who still waits, and remove the socket; a second call does nothing."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        asyncio.get_running_loop().remove_reader(listener)
        listener.close()
        remove(self._folder)
        for one in [*self._waiting, *([self._taken] if self._taken else [])]:
            one.tell(_refused("ending", "the run is ending"))
        self._waiting.clear()
        if self._calls:
            _, late = await asyncio.wait(self._calls, timeout=0.5)
            for call in late:
                call.cancel()
            if late:
                await asyncio.wait(late)

    # -- the runner's side

    @property
    def taken(self) -> bool:
        """Whether a control of the last notes() waits for its outcome."""
        return self._taken is not None

    def notes(self, engine: Engine | None) -> list[Note]:
        """Return the next granted request, to stand before everything else of this turn.

        One a turn, for each is held against the states that the one before it left.
        """
        while self._waiting:
            asked = self._waiting.popleft()
            if asked.gone:
                asked.tell(_refused("gone", "the caller hung up"))  # its task ends
                continue
            said = _held(asked, engine)
            if said is None:
                self._taken = asked
                return [Note(0, asked.verb, asked.detail)]
            asked.tell(said)
        return []

    def decided(self, controls: Iterable[Control], effects: Iterable[Effect]) -> None:
        """Answer the request that became one of these controls, by what came of it."""
        taken, self._taken = self._taken, None
        assert taken is not None, "nothing was taken"
        seq = next(c.seq for c in controls if c.detail is taken.detail)
        mine = [effect for effect in effects if getattr(effect, "seq", 0) == seq]
        refusals = [e for e in mine if isinstance(e, ControlRefused)]
        changes = [
            {"strategy_id": e.strategy_id, "broker": e.broker, "was": e.was, "now": e.now}
            for e in mine
            if isinstance(e, Transition)
        ]
        answer: dict[str, Any] = {"accepted": True, "seq": seq, "changes": changes}
        if refusals and not changes:
            first = refusals[0]
            answer = _refused(first.reason, first.said) | {"seq": seq}
        taken.tell(answer)

    # -- the callers' side

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # gone again
        except OSError as error:
            if error.errno not in _SPENT:
                raise
            self._pause(listener, error)
            return
        self._spent = False
        connection.setblocking(False)
        if len(self._calls) >= _CALLERS_MAX:
            with connection, contextlib.suppress(OSError):
                said = f"{_CALLERS_MAX} callers wait already: ask again"
                connection.send(_line(_refused("busy", said)))
            return
        call = asyncio.create_task(self._called(connection))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        """Look away for a while: who waits to be accepted would call the loop back at once."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(_AGAIN_S, self._go_on, listener)
        if not self._spent:
            _log.warning("control_unavailable", path=str(self._folder / SOCKET), reason=str(error))
        self._spent = True

    def _go_on(self, listener: socket.socket) -> None:
        if self._listener is listener:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    async def _called(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=LINE_BYTES_MAX)
        try:
            with contextlib.suppress(ConnectionError, ValueError):  # ValueError: too long a line
                while self._listener and (line := await reader.readline()):
                    writer.write(_line(await self._answer(line, connection)))
                    await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, line: bytes, connection: socket.socket) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(line, type=Request)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return _refused("malformed", str(error))
        try:
            return await self._answer_to(request, connection)
        except Exception as error:  # whatever it is, the caller is told, and the run goes on
            said = f"{type(error).__name__}: {error}"
            _log.error("control_failed", verb=request.verb, reason=said)
            return _refused("failed", said)

    async def _answer_to(self, request: Request, connection: socket.socket) -> dict[str, Any]:
        if request.verb == STATUS:
            return self._status()
        if request.verb not in VERBS:
            return _refused("unknown_verb", did_you_mean(request.verb, VERBS))
        try:
            detail = await self._detail(request)
        except ParityError as error:
            return _refused("not_built", str(error))
        if self._listener is None:
            return _refused("ending", "the run is ending")
        asked = _Waiting(VERBS[request.verb], detail, connection)
        self._waiting.append(asked)
        return await asked.answer

    async def _detail(self, request: Request) -> dict[str, Any]:
        detail: dict[str, Any] = {"strategy_id": request.strategy_id}
        detail |= {"broker": request.broker} if request.broker else {}
        detail |= {"reason": request.reason} if request.reason else {}
        if request.resume_sec is not None:
            detail["resume_sec"] = request.resume_sec
        if request.verb == "replace" and self._introduce is not None:
            async with self._introducing:  # files are read and models loaded beside the loop
                detail["strategy"] = await asyncio.to_thread(
                    self._introduce, request.strategy_id, request.file, request.overrides
                )
        return detail


def _held(asked: _Waiting, engine: Engine | None) -> dict[str, Any] | None:
    """Hold a request against the states there are now: why it is refused, or None."""
    if engine is None:
        return _refused("no_strategies", "this is a recording")
    control = Control(seq=0, ts_recv=0, verb=asked.verb, detail=asked.detail)
    found = engine.refusal(control)
    if found is None:
        return None
    said = found.said
    if found.reason == "unknown_strategy":
        said = did_you_mean(str(asked.detail["strategy_id"]), {e.key[0] for e in engine.executors})
    return _refused(found.reason, said)


def _refused(reason: str, said: str) -> dict[str, Any]:
    return {"accepted": False, "reason": reason, "said": said}


def _line(answer: dict[str, Any]) -> bytes:
    return msgspec.json.encode(answer) + b"\n"
