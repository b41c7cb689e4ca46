"""What a sequencer has seen: it stays as more instruments come, and costs no more than it holds."""

import tracemalloc

import numpy as np

from parity.recording.seen import TradeIds


def test_ids_stay_as_instruments_come() -> None:
    """Instruments by the dozen, some with fewer ids than are kept, some with more."""
    kept, tokens = 3, np.arange(100, 120)
    seen = TradeIds(len(tokens), kept)
    for dense in range(len(tokens)):
        assert [False] * dense == [seen.add(dense, n) for n in range(dense)]
    expected = {
        int(tokens[dense]): [dense - 1, list(range(dense))[-kept:]]
        for dense in range(1, len(tokens))
    }
    assert expected == seen.snapshot(tokens)
    for dense in range(1, len(tokens)):
        assert seen.add(dense, dense - 1)
        assert not seen.add(dense, dense)


def test_room_for_more_is_not_written_to() -> None:
    """It is memory only once somebody uses it, so none may be copied into it."""
    instruments, kept = 65, 4096
    seen = TradeIds(instruments, kept)
    for dense in range(instruments - 1):
        seen.add(dense, 1)
    before = seen.rings.nbytes
    tracemalloc.start()
    try:
        seen.add(instruments - 1, 1)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 2 * before == seen.rings.nbytes
    assert most < 2.5 * before
