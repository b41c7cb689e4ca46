"""Publishers in memory and in files: in order, told apart by run, nothing torn."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest
from signals import signal as approved

from parity.model.effects import ApprovedSignal, Fill
from parity.publishers import NotPublished, PaperFill, Publisher, Receipt
from parity.publishers.envelope import encode_fill, encode_signal, headers_of, key_of
from parity.publishers.file import FilePublisher
from parity.publishers.memory import MemoryPublisher
from parity.sources.codecs.fills import FillDecoder
from parity.sources.synthetic import TABLE


def signal(number: int, *, quantity: str = "1", broker: str = "paper") -> ApprovedSignal:
    """Return an approved signal, with more digits than print well."""
    return approved(
        number,
        "dip",
        seq=number * 10,
        broker=broker,
        ts_event=1_736_154_000_365_000_000 + number,
        price=0.1 + 0.2,
        quantity=float(quantity),
        quantity_exact=Decimal(quantity),
        metadata={"change": -0.004},
    )


async def publish(publisher: Publisher, *signals: ApprovedSignal) -> list[Receipt | None]:
    """Publish signals one after another."""
    return [
        await publisher.publish(s, strategy_id=s.candidate.strategy_id, broker=s.candidate.broker)
        for s in signals
    ]


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_what_was_published_is_read_back(kind: str, tmp_path: Path) -> None:
    """A publisher gives back number and place of each signal of a run from the starts on."""

    async def scenario() -> None:
        publisher = MemoryPublisher("r1") if kind == "memory" else FilePublisher(tmp_path, "r1")
        await publisher.start()
        await publish(publisher, signal(1), signal(2))
        starts = await publisher.ends(["paper.signals.raw", "zerodha.signals.raw"])
        await publish(publisher, signal(3), signal(4, broker="zerodha"))

        assert {"paper.signals.raw": {0: 2}, "zerodha.signals.raw": {0: 0}} == starts
        assert {
            3: Receipt("paper.signals.raw", 0, 2),
            4: Receipt("zerodha.signals.raw", 0, 0),
        } == await publisher.read_back("r1", starts)
        assert {} == await publisher.read_back("another run", starts)
        await publisher.close(1)

    asyncio.run(scenario())


def test_torn_line_is_cut_off(tmp_path: Path) -> None:
    """A line without its end is not a signal, and what is appended next stands on its own line."""

    async def scenario() -> None:
        first = FilePublisher(tmp_path, "r")
        await first.start()
        await publish(first, signal(1), signal(2))
        await first.close(1)
        path = tmp_path / "paper.signals.raw.jsonl"
        path.write_bytes(path.read_bytes()[:-9])
        again = FilePublisher(tmp_path, "r")

        assert [1] == list(await again.read_back("r", {"paper.signals.raw": {}}))

        await publish(again, signal(2))
        await again.close(1)
        numbers = [json.loads(x)["headers"]["signal_no"] for x in path.read_text().splitlines()]
        assert ["1", "2"] == numbers

    asyncio.run(scenario())


def test_full_disk_is_not_published() -> None:
    """A file system that refuses is named; the signal counts as not published."""

    async def scenario() -> None:
        publisher = FilePublisher(Path("/dev/null/nowhere"), "r")
        with pytest.raises(NotPublished, match=r"nowhere/paper\.signals\.raw"):
            await publish(publisher, signal(1))

    asyncio.run(scenario())


def test_envelope_says_what_readers_expect() -> None:
    """The message has the envelope's keys, exact quantity, shortest price and an aware time."""
    message = json.loads(encode_signal(signal(1, quantity="0.10"), "r"))

    assert {
        "id", "correlation_id", "causation_id", "trace_id", "parent_trace_id", "broker", "type",
        "ts", "key", "source", "version", "data",
    } == set(message)  # fmt: skip
    assert ("id-1", "trading_signal", "dip:7", "2025-01-06T09:00:00.365000001Z") == tuple(
        message[k] for k in ("id", "type", "key", "ts")
    )
    said = message["data"]
    assert ("BUY", "0.10", 0.1 + 0.2, {"change": -0.004}) == tuple(
        said[k] for k in ("signal_type", "quantity", "price", "metadata")
    )
    assert 3 == json.loads(encode_signal(signal(1, quantity="3"), "r"))["data"]["quantity"]
    assert {"run_id": "r", "signal_no": "1", "signal_id": "id-1"} == headers_of(signal(1), "r")


def fill(number: int, kind: str = "order") -> PaperFill:
    """Return a fill of the paper broker, with more digits than a float has."""
    said = Fill(
        seq=number,
        strategy_id="dip",
        broker="zerodha",
        instrument_token=900001,
        ts_event=1_736_154_000_365_000_001,
        ordinal=0,
        side=-1,
        price=Decimal("101.250000000000000000001"),
        quantity=Decimal("0.250"),
        commission=Decimal("1E-7"),
        signal_id="id-1" if kind == "order" else f"id-1:{kind}",
        reason="",
        record=b"",
        kind=kind,
    )
    return PaperFill(number, f"r.fill.{number}", said)


def test_a_fill_is_read_as_it_was_filled() -> None:
    """What a reader of fills takes from the message has every digit, and names the signal."""
    verb, detail = FillDecoder("paper", TABLE).read(encode_fill(fill(1), "r"), 0)

    assert "fill" == verb
    assert {
        "order_id": "id-1", "strategy_id": "dip", "broker": "paper", "instrument_token": 900001,
        "side": "SELL", "quantity": "0.250", "fill_price": "101.250000000000000000001",
        "fees": "1E-7", "ts_event": 1_736_154_000_365_000_001, "signal_id": "id-1",
        "event_id": "r.fill.1",
    } == detail  # fmt: skip


@pytest.mark.parametrize(("kind", "cause"), [("order", "id-1"), ("stop_loss", None)])
def test_a_fill_is_its_signals_child(kind: str, cause: str | None) -> None:
    """The envelope names the signal that was ordered as the cause; an exit has none."""
    message = json.loads(encode_fill(fill(3, kind), "r"))
    order = fill(3, kind).fill.signal_id

    assert ("r.fill.3", order, cause, "r", cause, "zerodha", "order_filled", "dip:900001") == tuple(
        message[k]
        for k in ("id", "correlation_id", "causation_id", "trace_id", "parent_trace_id", "broker",
                  "type", "key")
    )  # fmt: skip
    assert message["data"]["execution_mode"] == "paper"
    assert "dip:900001" == key_of(fill(3))
    assert {"run_id": "r", "fill_no": "3", "event_id": "r.fill.3"} == headers_of(fill(3), "r")


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_fills_lie_beside_signals(kind: str, tmp_path: Path) -> None:
    """Fills have a topic and numbers of their own, and are read back as signals are."""

    async def scenario() -> None:
        publisher = MemoryPublisher("r") if kind == "memory" else FilePublisher(tmp_path, "r")
        await publisher.start()
        await publish(publisher, signal(1))
        starts = await publisher.ends(["paper.orders.filled"])
        for number in (1, 2):
            await publisher.publish(fill(number), strategy_id="dip", broker="paper")

        assert {"paper.orders.filled": {0: 0}} == starts
        assert {n: Receipt("paper.orders.filled", 0, n - 1) for n in (1, 2)} == (
            await publisher.read_back("r", starts)
        )
        assert [1] == list(await publisher.read_back("r", {"paper.signals.raw": {}}))
        await publisher.close(1)

    asyncio.run(scenario())
