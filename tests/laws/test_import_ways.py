"""The law of big and small: what a CSV gives does not depend on which reader it is worth.

Over any of our columns in any order, cells that are odd in every way we know, and both line ends.
"""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from readers import by_every_way, the_one

SECOND = 1_748_736_000
TIMES = (
    f"{SECOND}", f"{SECOND}001", f"{SECOND}000000", f"{SECOND}000000000", f"{SECOND}.5",
    f"0{SECOND}", "2025-06-01T00:00:00Z", "", "0", "-5", "9999999999",
)  # fmt: skip
NUMBERS = (
    "1", "1.50", "0.001", "", "0", "-1", "007", ".5", "5.", "1e3", "+2", " 3", "nan", '"1"',
    "123456789012345678", "1234567890123456789", "0.000000000000000001",
)  # fmt: skip
INTEGERS = ("1", "2", "", "0", "-1", "007", "1.0", "1e3", "abc", "12345678901234567890", " 4")
WORDS = ("A", "B", "", "a", "é", " A", "x" * 16, "x" * 17, '"A"')
SIDES = ("buy", "SELL", "", "x", " buy", "1", "-1", "+1")
MAKERS = ("true", "False", "1", "", "t")
# our column -> what its cells may be, the first of them good
CELLS = {
    "ts_event": TIMES, "ts_recv": TIMES, "instrument_token": INTEGERS, "symbol": WORDS,
    "venue": WORDS, "price": NUMBERS, "quantity": NUMBERS, "bid": NUMBERS, "ask": NUMBERS,
    "bid_quantity": NUMBERS, "ask_quantity": NUMBERS, "volume": NUMBERS,
    "open_interest": INTEGERS, "trade_id": INTEGERS, "side": SIDES, "buyer_maker": MAKERS,
    "other": WORDS,
}  # fmt: skip
NEEDED = ("ts_event", "symbol", "price", "quantity")


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Draw a CSV whose cells are good but for some of at most two columns."""
    others = draw(st.lists(st.sampled_from(sorted({*CELLS} - {*NEEDED})), unique=True, max_size=7))
    names = draw(st.permutations([*NEEDED, *others]))
    odd = draw(st.sets(st.sampled_from(names), max_size=2))
    rows = [
        ",".join(
            draw(st.sampled_from(CELLS[name])) if name in odd else CELLS[name][0] for name in names
        )
        for _ in range(draw(st.integers(1, 4)))
    ]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return (end.join([",".join(names), *rows]) + draw(st.sampled_from(["", end]))).encode()


@pytest.mark.slow
@settings(max_examples=max(50, settings().max_examples // 8))  # each is four imports
@given(data=files())
@example(data=b"ts_event,symbol,price,quantity\n9999999999,A,1,1\n")
@example(data=b"ts_event,symbol,price,quantity\n01748736000,A,1,1\n")
@example(data=b"ts_event,venue,symbol,price,quantity,side\n1748736000,,A,1,1,\n")
def test_every_reader_gives_the_same(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Texts, the fast pass, small blocks, a glance at the start: one recording, or one refusal."""
    folder = tmp_path_factory.mktemp("ways")
    path = folder / "ticks.csv"
    path.write_bytes(data)

    the_one(by_every_way(path, folder))
