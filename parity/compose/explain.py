"""Why a run decided what it did at one tick: the same engine again, its gates watched.

Nothing is worked out here that the engine does not work out; what a replay cannot give is named.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import msgspec

from parity.compose.fingerprint import changes, fingerprint
from parity.compose.kept import KeptPlanner, prepare_kept
from parity.core.engine import Engine
from parity.model.effects import ApprovedSignal, Candidate, DroppedSignal, Effect
from parity.model.errors import ConfigError, ParityError
from parity.model.ticks import flag_names
from parity.model.values import SIDE_NAMES
from parity.proof.replayer import cut_at, run_events
from parity.recording.reader import open_recording
from parity.recording.rows import decision_row
from parity.recording.runs import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from parity.core.validators.trace import Asked


class Why(dict[str, Any]):
    """What a run decided at one tick; `print` and a notebook show it as a table."""

    def __str__(self) -> str:
        lines = [f"seq {self['seq']}"]
        for one in self["validators"]:
            lines.append(f"{one['strategy_id']} at {one['broker']}: {_heading(one)}")
            if one["reasoning"]:
                lines.append(f"  said: {one['reasoning']}")
            width = max((len(stage["validator"]) for stage in one["asked"]), default=0)
            for stage in one["asked"]:
                head = f"  {stage['validator']:<{width}}  {stage['verdict']:<7}  "
                lines.append(head + values_text(stage["seen"]))
            if one["not_asked"]:
                lines.append(f"  not asked any more: {', '.join(one['not_asked'])}")
        lines += [
            f"{row['strategy_id']} at {row['broker']}: {row['kind']} {row.get('reason') or ''}"
            for row in self._others()
        ]
        return "\n".join([*lines, *(f"note: {note}" for note in self["notes"])])

    def _repr_html_(self) -> str:
        from parity.recording.cards import card

        made = [
            card(
                f"{one['strategy_id']} at {one['broker']}: {_heading(one)}",
                [
                    ("said", one["reasoning"] or None),
                    ("not asked any more", ", ".join(one["not_asked"]) or None),
                ],
                mark=one["verdict"],
                tone="good" if one["verdict"] == "approved" else "warn",
                table=(
                    ("validator", "verdict", "saw"),
                    [(s["validator"], s["verdict"], values_text(s["seen"])) for s in one["asked"]],
                ),
            )
            for one in self["validators"]
        ]
        facts = [
            *((row["kind"], f"{row['strategy_id']} at {row['broker']}") for row in self._others()),
            *(("note", note) for note in self["notes"]),
        ]
        return "<br>".join([card(f"seq {self['seq']}", facts), *made])

    def _others(self) -> list[dict[str, Any]]:
        verdicts = ("approved", "dropped")
        return [row for row in self["decisions"] if row["kind"] not in verdicts]


def explain(run: Path, seq: int) -> Why:
    """Return what a run decided at a seq, and what each validator saw.

    Args:
        run: the run's folder, complete or open.
        seq: of an event at which something was decided.

    Returns:
        `seq`, `candidates` and `decisions` as the run keeps them; `validators`: for each candidate
        its `strategy_id, broker, instrument_token, side, price, quantity, reasoning, verdict,
        reason`, the validators `asked` in order with `validator, verdict, seen`, and those
        `not_asked` because one before them dropped it; and `notes`.

    Raises:
        ConfigError: nothing was decided there, or `seq` is no integer.
    """
    try:
        seq = operator.index(seq)
    except TypeError:
        raise ConfigError(f"seq: expected an integer, was {seq!r}") from None
    folder = RunFolder(run)
    found = folder.decided_at(seq)
    if not found["decisions"]:
        raise ConfigError(
            f"{run}: nothing was decided at seq {seq}",
            cure="take a seq of run.signals, run.drops or run.fills",
        )
    notes: list[str] = []
    validators: list[dict[str, Any]] = []
    if found["candidates"]:
        try:
            validators, notes = _replayed(folder, seq, found["decisions"])
        except ParityError as error:
            notes = [f"what the validators saw cannot be known: {error.message}"]
    return Why(seq=seq, **found, validators=validators, notes=notes)


def _replayed(
    folder: RunFolder, seq: int, decided: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Replay up to a seq; return what was asked there, and what makes it doubtful."""
    asked: list[tuple[Candidate, Asked]] = []
    effects: list[Effect] = []

    def watch(candidate: Candidate, one: Asked) -> None:
        if candidate.seq == seq:
            asked.append((candidate, one))

    with open_recording(folder.recording_path) as recording:
        recording.check_files()
        prepared = prepare_kept(folder)
        engine = Engine(
            recording.table,
            prepared.plans,
            seed=folder.manifest.seed,
            sessions=folder.sessions(),
            planner=KeptPlanner(folder),
        )
        for batch in cut_at(run_events(folder, recording), [seq]):
            if batch.last_seq > seq:
                break
            if batch.last_seq == seq:  # the last piece: what came before is asked unwatched
                for executor in engine.executors:
                    executor.gate.watch(watch)
            effects = engine.process(batch)
    stages = {e.key: e.gate.stages for e in engine.executors}
    verdicts = [e for e in effects if isinstance(e, ApprovedSignal | DroppedSignal)]
    found = [
        _said(e, asked, stages[e.candidate.strategy_id, e.candidate.broker])
        for e in verdicts
        if e.candidate.seq == seq
    ]
    notes = []
    now = [decision_row(e)["record"] for e in verdicts if e.candidate.seq == seq]
    then = [r for r in folder.rows("decisions", around=seq) if r["seq"] == seq]
    if now != [r["record"] for r in then if r["kind"] in ("approved", "dropped")]:
        changed = changes(folder.manifest.fingerprint, fingerprint(models=bool(prepared.models)))
        notes.append(
            "the replay decided otherwise than the run did, and the validators are the replay's: "
            + ("; ".join(changed) or "the code is the same; see parity verify")
        )
    return found, notes


def _said(
    effect: ApprovedSignal | DroppedSignal, asked: list[tuple[Candidate, Asked]], stages: list[str]
) -> dict[str, Any]:
    candidate = effect.candidate
    own = [one for other, one in asked if other is candidate]
    reason = effect.reason if isinstance(effect, DroppedSignal) else ""
    return {
        "strategy_id": candidate.strategy_id,
        "broker": candidate.broker,
        "instrument_token": candidate.instrument_token,
        "side": SIDE_NAMES[candidate.side],
        "price": candidate.price,
        "quantity": str(candidate.quantity_exact),
        "reasoning": candidate.reasoning,
        "verdict": "dropped" if reason else "approved",
        "reason": reason,
        "asked": [
            {
                "validator": one.validator,
                "verdict": "dropped" if one.reason else "passed",
                "seen": one.seen,
            }
            for one in own
        ],
        "not_asked": stages[len(own) :],
    }


def _heading(one: dict[str, Any]) -> str:
    said = f"{one['side']} {one['quantity']} of {one['instrument_token']} at {one['price']!r}"
    return f"{said}, {one['verdict']}" + (f" ({one['reason']})" if one["reason"] else "")


def values_text(seen: dict[str, Any]) -> str:
    """Return values as words: `name value, name value`.

    >>> values_text({"flags": 1 << 21 | 1, "side": -1, "allowed": ("regular", "closing")})
    'flags trade+halted, side SELL, allowed regular+closing'
    """
    return ", ".join(f"{name} {_word(name, value)}" for name, value in seen.items())


def _word(name: str, value: Any) -> Any:
    if name == "flags" and isinstance(value, int):
        return "+".join(flag_names(value)) or "none"
    if name == "side" and value in SIDE_NAMES:
        return SIDE_NAMES[value]
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return "+".join(value) or "none"
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list | tuple) else value
