"""docs/paper-broker.md names every order type, time in force, kind of fill and reason of an end."""

import re
from pathlib import Path

from parity.core.orders import FLATTEN, KEYS, ORDER, OUTSIDE, STOP_LOSS, TAKE_PROFIT, TIFS, TYPES
from parity.core.paper_broker import ENDS
from parity.settings.rows import BLOCKS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "paper-broker.md").read_text("utf-8")


def table(heading: str) -> list[str]:
    """Return the first column of the first table below a heading."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def test_every_end_is_in_the_table() -> None:
    """In the order of the code, with the name that the run counts."""
    assert [f"paper_{reason}" for reason in ENDS] == table("How an order ends")


def test_every_order_and_its_words_are_explained() -> None:
    """Types and times in force have a row each; keys and settings are named."""
    kinds = (ORDER, STOP_LOSS, TAKE_PROFIT, FLATTEN, OUTSIDE)

    assert [*TYPES, *TIFS] == table("Orders")
    assert list(kinds) == table("Fills")
    assert not [word for word in (*KEYS, *BLOCKS["paper"]) if f"`{word}" not in PAGE]
