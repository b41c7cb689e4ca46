"""The watchdog's looks, one by one, at a strategy that does not come back."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parity.live import watchdog
from parity.live.watchdog import ALARMS, BEAT_S, Guard, Watchdog


def test_a_machine_that_stood_still_ends_no_stall(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One call that goes on is one alarm, and the time that nobody had is not counted."""
    frames: list[Any] = [SimpleNamespace(f_code=watchdog._PROCESS)]
    at = SimpleNamespace(executor=None, call=frames[0], file="odd.py", line=1, stack=["x"])
    said: list[str] = []
    monkeypatch.setattr(watchdog, "_frames_of", lambda _: frames)
    monkeypatch.setattr(watchdog, "_at_work", lambda _: at)
    monkeypatch.setattr(watchdog, "_name", lambda _: "odd@paper")
    monkeypatch.setattr(
        watchdog,
        "_log",
        SimpleNamespace(
            error=lambda event, **_: said.append(event),
            warning=lambda event, held_s: said.append(f"{event} {held_s}"),
        ),
    )
    dog = Watchdog(Guard(), tmp_path, list, lambda: None)

    for beat in range(12):
        dog._look(100 + beat * BEAT_S)
    dog._stood_still(50)
    for beat in range(12, 24):
        dog._look(150 + beat * BEAT_S)
    assert ["strategy_stalls"] == said
    frames.clear()
    dog._look(150 + 24 * BEAT_S)

    assert ["strategy_stalls", "strategy_went_on 2.4"] == said
    alarms = [json.loads(line) for line in (tmp_path / ALARMS).read_text().splitlines()]
    assert ["strategy_stalls"] == [alarm["alarm"] for alarm in alarms]
