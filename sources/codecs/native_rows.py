"""Native JSON messages by the batch: the compiled pass of `parity.kernels.wire`, where it pays.

Loading numba takes longer than reading a hundred thousand messages one by one, so the pass is used
where it is loaded already, as in every run with strategies. What it gives is what the plain reader
gives, a law; what it does not read is left to that.

Never here: a refusal, or an extension column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from parity.model import ticks as flag
from parity.recording.passes import are_loaded
from parity.sources.codecs.filling import DECIMALS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from parity.model.instruments import InstrumentTable

FEW: Final = 3  # below, message by message costs less than the pass's fixed part
_ABSENT: Final = {
    **DECIMALS,
    "open_interest": flag.NO_OPEN_INTEREST,
    "trade_id": flag.NO_TRADE_ID,
    "ts_event": flag.NO_VENUE_TIME,
}


class NativeRows:
    """Reads many native JSON messages at once.

    Args:
        table: without extension columns.
        kept_flags: the bits of the flags that stay.
    """

    def __init__(self, table: InstrumentTable, kept_flags: int) -> None:
        self._table = table
        self._kept = kept_flags
        kinds = (flag.TRADE, flag.QUOTE, flag.INDEX, flag.SNAPSHOT)
        self._kinds = np.array([flag.TRADE, flag.QUOTE, flag.NO_TS_RECV, *kinds], np.int64)
        self._wire: Any = None
        if are_loaded():  # now, not at the first message: the loop waits for nobody
            from parity.kernels import wire

            self._wire = wire
            self._absent = np.array([_ABSENT.get(name, 0) for name in wire.NAMES], np.int64)
            names = [flag.DERIVED.get(name, name) for name in wire.NAMES]
            fields: Any = flag.TICK_DTYPE.fields
            self._places = np.array([fields[n][1] for n in (*names, "stream", "offset")], np.int64)

    def read(
        self,
        payloads: Sequence[bytes | None],
        streams: Sequence[int],
        offsets: Sequence[int],
        broker_ms: Sequence[int],
        records: npt.NDArray[Any],
    ) -> Sequence[int]:
        """Fill a record for each message that can be read here; return the rows of the others.

        Args:
            payloads: of the messages.
            streams: dense ids of topic and partition.
            offsets: in their partitions.
            broker_ms: the broker's message times.
            records: one for each, filled with zeros.
        """
        wire = self._wire
        if wire is None or len(payloads) < FEW:
            return range(len(payloads))
        count = len(payloads)
        there: Sequence[bytes] = [p or b"" for p in payloads] if None in payloads else payloads  # type: ignore[assignment] # none is None
        data = np.frombuffer(b"".join(there), np.uint8)
        done = np.empty(count, np.bool_)
        table = self._table
        read = wire.read_ticks(
            data, np.fromiter(map(len, there), np.int64, count), wire.LETTERS, wire.LENGTHS,
            table.tokens, table.price_scales, table.quantity_scales,
            self._absent, self._places, self._kinds, self._kept,
            *(np.fromiter(one, np.int64, count) for one in (streams, offsets, broker_ms)),
            records.view(np.uint8), records.itemsize, done,
        )  # fmt: skip
        return () if read == count else np.flatnonzero(~done).tolist()
