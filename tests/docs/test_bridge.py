"""The example bridge: what it sends is what the codec reads; recorded messages, no network."""

import asyncio
import json
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from parity.model.instruments import Instrument, InstrumentTable
from parity.sources.codecs.registry import decoder_of
from parity.sources.decoding import Messages, decode_messages

PATH = Path(__file__).parents[2] / "docs" / "examples" / "binance_bridge.py"
TABLE = InstrumentTable([Instrument(token=1, symbol="BTCUSDT", price_scale=2, quantity_scale=5)])


class Producer:
    """Keeps what is produced."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any, str]] = []

    def produce(self, topic: str, value: Any, *, key: str) -> None:
        """Take one message."""
        self.sent.append((topic, value, key))

    def poll(self, _: float) -> None:
        """Do nothing: reports are nobody's here."""


class Socket:
    """A websocket that gives some messages and is gone."""

    def __init__(self, messages: list[str]) -> None:
        self.messages = messages

    async def __aenter__(self) -> "Socket":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def __aiter__(self) -> Any:
        for message in self.messages:
            yield message
        raise OSError("gone")


def bridged(messages: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[Producer, list[str]]:
    """Run the example against sockets of recorded messages, until it has connected twice."""
    asked: list[str] = []

    def connect(url: str) -> Socket:
        asked.append(url)
        if len(asked) > 2:
            raise asyncio.CancelledError
        return Socket(messages[len(asked) - 1 :: 2])

    async def at_once(_: float) -> None:
        return None

    fake: Any = ModuleType("websockets")
    fake.connect, fake.WebSocketException = connect, type("WebSocketException", (Exception,), {})
    monkeypatch.setitem(sys.modules, "websockets", fake)
    example = runpy.run_path(str(PATH))
    monkeypatch.setitem(example["bridge"].__globals__, "asyncio", SimpleNamespace(sleep=at_once))
    producer = Producer()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(example["bridge"](["btcusdt@trade"], "raw", producer))
    return producer, asked


def test_messages_go_on_as_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte by byte, keyed by symbol; a reply is left out; a lost connection is opened again."""
    trade = {"e": "trade", "s": "BTCUSDT", "t": 5, "p": "1.50", "q": "2", "T": 1723161255342,
             "m": True, "M": True}  # fmt: skip
    message = json.dumps({"stream": "btcusdt@trade", "data": trade})
    producer, asked = bridged(['{"result":null,"id":1}', message, message], monkeypatch)

    assert [("raw", message, "BTCUSDT")] * 2 == producer.sent
    assert asked[0].endswith("?streams=btcusdt@trade")
    assert 3 == len(asked)


@pytest.mark.data
def test_recorded_messages_are_read_behind_the_bridge(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The captured websocket through the example and the codec: every trade and quote."""
    path = shared_data / "samples" / "binance_ws_spot_btcusdt.log"
    lines = [line.partition(" ")[2] for line in path.read_text().splitlines()]
    producer, _ = bridged(lines, monkeypatch)
    payloads = [str(value).encode() for _, value, _ in producer.sent]
    count = len(payloads)
    messages = Messages([*payloads], [0] * count, [*range(count)], [0] * count, [])
    found = decode_messages(decoder_of("binance", TABLE), messages)

    assert len(lines) == count
    assert 1129 + 4362 == len(found.records)
    assert {"BTCUSDT"} == {key for _, _, key in producer.sent}


def test_the_example_is_short() -> None:
    """What is to be read in one go fits two screens, docstring included."""
    assert len(PATH.read_text().splitlines()) <= 75
