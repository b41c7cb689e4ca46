"""The other side of a broker: feeds ticks at a pace, and notes when each signal came out.

A process of its own, so that it holds no lock of the runner's. `python -m benchmarks.desk BOOTSTRAP
TOPIC TICKS RATE FILE` ends when it was told to on standard input, and leaves its times in FILE: of
each tick as it was produced, of each signal by its tick. CLOCK_MONOTONIC is one for all processes.
"""

from __future__ import annotations

import sys
import threading
import time

import numpy as np

from benchmarks import generate
from parity.model.ticks import TickBatch
from parity.publishers.redpanda import TickProducer
from parity.sources import synthetic
from parity.sources.codecs.native import encode_batch

SIGNALS = "paper.signals.raw"
RUN_ID = "bench"
_PIECE_S = 0.001  # what is due within is sent together


def feed(bootstrap: str, topic: str, ticks: int, rate: float) -> list[int]:
    """Send that many ticks a second; return when each was given to the producer."""
    table, records = synthetic.generate(generate.SEED, ticks)
    payloads = encode_batch(TickBatch.from_records(records, table))
    keys = [str(token) for token in records["instrument_token"].tolist()]
    piece = max(1, int(rate * _PIECE_S))
    at: list[int] = []
    with TickProducer(bootstrap, topic, partition=0, settings={"linger.ms": 0}) as producer:
        began = time.monotonic()
        for lo in range(0, ticks, piece):
            wait_s = began + lo / rate - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            at += [time.monotonic_ns()] * min(piece, ticks - lo)
            hi = lo + piece
            producer.send(zip(keys[lo:hi], payloads[lo:hi], strict=True))
    return at


def listen(bootstrap: str, run_id: str, left: threading.Event, came: dict[int, int]) -> None:
    """Note when each signal of a run came, by its number."""
    from confluent_kafka import Consumer, TopicPartition

    settings = {"bootstrap.servers": bootstrap, "group.id": "desk", "enable.auto.commit": False}
    consumer = Consumer(settings)
    try:
        high = consumer.get_watermark_offsets(TopicPartition(SIGNALS, 0), timeout=30)[1]
        consumer.assign([TopicPartition(SIGNALS, 0, high)])
        while not left.is_set():
            message = consumer.poll(0.1)
            if message is None or message.error() is not None:
                continue
            headers = dict(message.headers() or ())
            if headers.get("run_id") == run_id.encode():
                came[int(headers["signal_no"] or 0)] = time.monotonic_ns()
    finally:
        consumer.close()


def main(bootstrap: str, topic: str, ticks: str, rate: str, file: str) -> None:
    """Feed and listen, and leave the times."""
    left, came = threading.Event(), dict[int, int]()
    ears = threading.Thread(target=listen, args=(bootstrap, topic, left, came))
    ears.start()
    time.sleep(1)  # until the listener stands at the end of its topic
    at = feed(bootstrap, topic, int(ticks), float(rate))
    sys.stdin.read()
    time.sleep(0.5)
    left.set()
    ears.join()
    signals = np.array(sorted(came.items()), np.int64).reshape(-1, 2)
    np.savez(file, ticks=np.array(at, np.int64), signals=signals)


if __name__ == "__main__":
    main(*sys.argv[1:])
