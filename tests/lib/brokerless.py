"""A live source without a broker, for tests that hand over arrivals of their own."""

from collections.abc import Mapping

from parity.sources.arrivals import Arrivals, Place, Stream


class Brokerless:
    """Has its streams, each from the first on; `take` is its subclasses' own."""

    def __init__(self, *streams: Stream) -> None:
        self.streams = list(streams)

    def start_at(self, positions: Mapping[Stream, int]) -> None:
        """It starts where it starts."""

    async def connect(self) -> None:
        """Nothing to connect."""

    def topic_ids(self) -> Mapping[str, str]:
        """There is no broker."""
        return {}

    def name_streams(self, ids: Mapping[Stream, int]) -> None:
        """The streams keep their ids."""

    def positions(self) -> dict[int, int]:
        """All from the first on."""
        return dict.fromkeys(range(len(self.streams)), 0)

    def places(self) -> list[Place]:
        """There is no broker."""
        return []

    async def start(self) -> None:
        """Nothing to start."""

    async def take(self, wait_s: float) -> Arrivals | None:
        """Return what comes next."""
        raise NotImplementedError

    def took(self, ns: int) -> None:
        """Its batches are what they are."""

    def stop(self) -> None:
        """Nothing is read ahead."""

    async def close(self) -> None:
        """Nothing to close."""
