"""An example bridge: trades and best quotes of Binance's websocket into a topic, as they came.

    pip install websockets confluent-kafka
    python docs/examples/binance_bridge.py btcusdt@trade btcusdt@bookTicker
    parity record recordings/btc --topics binance.raw --codec binance --keep-raw \
      --instrument-table instruments.json

Each message goes on byte by byte, keyed by its stream's symbol, so that a symbol keeps its order
in one partition; decoding is the reader's. A lost connection is opened again: what was missed
meanwhile is missing, and the trade ids say so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

URL = "wss://stream.binance.com:9443/stream?streams="
PAUSE_S_MAX = 60.0


def key_of(message: str | bytes) -> str | None:
    """Return the key of a message of a combined stream; None of what is none, such as a reply."""
    stream = json.loads(message).get("stream")
    return stream.partition("@")[0].upper() if isinstance(stream, str) else None


async def bridge(streams: list[str], topic: str, producer: Any) -> None:
    """Forward until cancelled, with a growing pause between tries to connect."""
    import websockets

    pause_s = 1.0
    while True:
        try:
            async with websockets.connect(URL + "/".join(streams)) as socket:
                async for message in socket:
                    pause_s = 1.0
                    key = key_of(message)
                    if key is not None:
                        producer.produce(topic, message, key=key)
                    producer.poll(0)
        except (OSError, websockets.WebSocketException) as error:
            print(f"connection lost: {error}; again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)


def main() -> None:
    """Read the command line and forward until Ctrl-C."""
    from confluent_kafka import Producer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("streams", nargs="+", help="such as btcusdt@trade")
    parser.add_argument("--topic", default="binance.raw")
    parser.add_argument("--bootstrap-servers", default="127.0.0.1:9092")
    given = parser.parse_args()
    producer = Producer({"bootstrap.servers": given.bootstrap_servers, "enable.idempotence": True})
    try:
        asyncio.run(bridge(given.streams, given.topic, producer))
    finally:
        producer.flush(10)


if __name__ == "__main__":
    main()
