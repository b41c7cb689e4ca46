"""Every drop reason and every limit stands in docs/strategies.md, in the order of deciding."""

import re
from pathlib import Path

from parity.core.validators.checks import STAGES
from parity.core.validators.limits import RISK

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "strategies.md").read_text("utf-8")
SECTION = PAGE.split("## Drop reasons", 1)[-1]


def test_every_reason_is_in_the_table_in_order() -> None:
    """The stages give their names as reasons; sanity alone has several."""
    documented = re.findall(r"^\| `(\w+)` \|", SECTION, re.MULTILINE)
    reasons = [stage.check.__name__ for stage in STAGES]
    at = reasons.index("sanity")
    sane = [f"sanity_{what}" for what in ("price", "quantity", "confidence", "order")]
    reasons[at : at + 1] = ["hold", *sane]

    assert reasons == documented


def test_every_limit_is_explained() -> None:
    """No key of the block can be set without a word about it."""
    missing = [name for name in RISK if f"`{name}" not in SECTION]

    assert not missing
