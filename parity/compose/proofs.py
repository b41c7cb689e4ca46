"""Proofs put together: which code runs over which recording, and what is compared with what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from parity.compose.delivered import Delivered
from parity.compose.fingerprint import changes, fingerprint
from parity.compose.kept import KeptPlanner, prepare_kept, prepare_today, todays_specs
from parity.compose.plans import prepare
from parity.core.engine import Engine
from parity.model.errors import NothingCompared, RecordingCorrupt
from parity.proof.diff import Comparison, Divergence, compare, streams_of
from parity.proof.following import verify_run
from parity.proof.replayer import Verdict, replay_events, run_events, verdict_of
from parity.recording.gone import refuse_gone, words
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder, RunManifest
from parity.settings.strategies import apply_overrides

if TYPE_CHECKING:
    from pathlib import Path

    from parity.recording.reader import Recording
    from parity.recording.runs import KeptStrategy
    from parity.settings.drafts import StrategySpec


def verify(run: Path) -> Verdict:
    """Replay a run's own recording with its kept source, and compare everything.

    Args:
        run: the run's folder.

    Raises:
        NothingCompared: the run saw no ticks.
        RecordingMissing: the run or its recording is not there.
        RecordingCorrupt: a file is not what was written.
    """
    folder = RunFolder(run)
    with open_recording(folder.recording_path, cached=False) as recording:
        check_recording(folder, recording)
        engine, changed = kept_engine(folder, recording)
        verdict = verify_run(folder, recording, engine, changed=changed, delivered=Delivered())
        return msgspec.structs.replace(verdict, notes=[*verdict.notes, *_gone(recording)])


def kept_engine(folder: RunFolder, recording: Recording) -> tuple[Engine, list[str]]:
    """Return an engine as the run had it, from what was kept, and what differs from then."""
    prepared = prepare_kept(folder)
    engine = Engine(
        recording.table,
        prepared.plans,
        seed=folder.manifest.seed,
        sessions=folder.sessions(),
        planner=KeptPlanner(folder),
    )
    now = fingerprint(models=bool(prepared.models))
    return engine, changes(folder.manifest.fingerprint, now)


def replay(
    run: Path,
    *,
    specs: Sequence[StrategySpec] | None = None,
    overrides: Sequence[str] = (),
) -> Verdict:
    """Run today's code, other strategies or other parameters over a run's recording.

    Args:
        run: the run's folder.
        specs: strategies to run instead of the run's own.
        overrides: `--set` texts.
    """
    folder = RunFolder(run)
    folder.check_outputs()
    today = apply_overrides(specs if specs is not None else todays_specs(folder), overrides)
    with open_recording(folder.recording_path, cached=False) as recording:
        check_recording(folder, recording)
        prepared = (
            prepare(today, mode=folder.manifest.mode)
            if specs is not None
            else prepare_today(folder, today)
        )
        # Other strategies are compared as they are: what controls brought belongs to the run's own.
        planner = KeptPlanner(folder, today=True) if specs is None else None
        manifest = folder.manifest
        engine = Engine(
            recording.table,
            prepared.plans,
            seed=manifest.seed,
            sessions=folder.sessions(),
            planner=planner,
        )
        events, end_ns = run_events(folder, recording), manifest.recording.end_ns
        replayed = replay_events(engine, events, end_ns=end_ns)
        gone = _gone(recording)
    then = {(k.config["strategy_id"], k.broker): k for k in folder.manifest.strategies}
    now = {(k.config["strategy_id"], k.broker): k for k in prepared.kept}
    brought = planner or KeptPlanner(folder)
    left_out = [] if planner is not None else _brought(engine)
    today_is = fingerprint(models=bool(prepared.models))
    changed = changes(folder.manifest.fingerprint, today_is)
    changed += changed_strategies(then, now) + changed_strategies(brought.then, brought.now)
    keys = sorted({*then, *now, *brought.now})
    found = compare(streams_of(folder), replayed.streams, keys=keys, ticks=replayed.ticks)
    first = found.first_divergence
    if first is not None:
        first = msgspec.structs.replace(first, cause="; ".join(changed) or "unknown")
    return Verdict(
        verdict=verdict_of(first, changed),
        run=str(run),
        covered=found.covered,
        first_divergence=first,
        changed=changed,
        notes=[
            *(f"skipped {s['strategy_id']}: {s['reason']}" for s in prepared.skipped),
            *left_out,
            *gone,
        ],
    )


def diff(a: Path, b: Path) -> Comparison:
    """Compare two runs: the first record in which they differ, and what differs in what they are.

    Raises:
        NothingCompared: one of them saw no ticks, or they have no strategy in common.
    """
    run_a, run_b = RunFolder(a), RunFolder(b)
    for run in (run_a, run_b):
        run.check_outputs()
    then, now = _by_key(run_a.manifest), _by_key(run_b.manifest)
    if not _ran(run_a.manifest) & _ran(run_b.manifest):
        raise NothingCompared(
            f"{a} and {b} have no strategy in common",
            cure="compare runs of the same strategy_ids",
        )
    ticks = min(_ticks(run_a.manifest), _ticks(run_b.manifest))
    changed = changes(run_a.manifest.fingerprint, run_b.manifest.fingerprint)
    changed += changed_strategies(then, now) + _inputs(run_a.manifest, run_b.manifest)
    changed += overtaken(run_a) + overtaken(run_b)
    keys = sorted(_ran(run_a.manifest) | _ran(run_b.manifest))
    found = compare(streams_of(run_a), streams_of(run_b), keys=keys, ticks=ticks)
    first = found.first_divergence or _shorter(run_a.manifest, run_b.manifest)
    if first is not None:
        own = [c for c in changed if c.startswith(f"{first.strategy_id}:")]
        shared = [c for c in changed if c.split(":")[0] not in {k[0] for k in keys}]
        cause = "; ".join([*own, *shared]) or "unknown: both were made of the same (a defect)"
        first = msgspec.structs.replace(first, cause=cause)
    return Comparison(
        same=first is None, first_divergence=first, covered=found.covered, changed=changed
    )


def overtaken(run: RunFolder) -> list[str]:
    """Name the strategies of a run some of whose ticks came behind a heartbeat of a later time."""
    report = run.manifest.report
    found = [] if report is None else [e for e in report.executors if e.overtaken]
    words = "heartbeats overtook {} of its ticks in {}"
    return [f"{e.strategy_id}: {words.format(e.overtaken, run.path.name)}" for e in found]


def _brought(engine: Engine) -> list[str]:
    refused = engine.report().refused_controls
    brought = sum(refused.get(verb, 0) for verb in ("strategy_added", "strategy_replaced"))
    words = f"not compared: what {brought} controls of the run added or replaced"
    return [words] if brought else []


def _ran(manifest: RunManifest) -> set[tuple[str, str]]:
    """Return the executors of a run, those that its controls brought included."""
    executors = manifest.report.executors if manifest.report is not None else ()
    return {*_by_key(manifest), *((e.strategy_id, e.broker) for e in executors)}


def _by_key(manifest: RunManifest) -> dict[tuple[str, str], KeptStrategy]:
    return {(k.config["strategy_id"], k.broker): k for k in manifest.strategies}


def _ticks(manifest: RunManifest) -> int:
    report = manifest.report
    return report.ticks - report.undelivered if report is not None else 0


def _shorter(a: RunManifest, b: RunManifest) -> Divergence | None:
    """Return the divergence of runs that said the same as far as both went, over other ticks."""
    if _ticks(a) == _ticks(b):
        return None
    seq = min(a.last_seq, b.last_seq)
    return Divergence(
        stream="ticks",
        strategy_id="",
        broker="",
        instrument_token=0,
        ts_event=0,
        seq=seq,
        field="ticks",
        a=str(_ticks(a)),
        b=str(_ticks(b)),
    )


def changed_strategies(
    then: dict[tuple[str, str], KeptStrategy], now: dict[tuple[str, str], KeptStrategy]
) -> list[str]:
    """Return in what strategies of two runs differ, by (strategy_id, broker)."""
    found: list[str] = []
    for key in sorted({*then, *now}):
        a, b = then.get(key), now.get(key)
        if a is None or b is None:
            found.append(f"{key[0]}: only in the {'second' if a is None else 'first'}")
            continue
        found += [f"{key[0]}: {line}" for line in _unequal(_plain(a.config), _plain(b.config))]
        if a.source_sha256 != b.source_sha256:
            found.append(f"{key[0]}: its source changed")
        if a.validator_sha256 != b.validator_sha256:
            found.append(f"{key[0]}: its validator changed")
        if a.model_sha256 != b.model_sha256:
            found.append(f"{key[0]}: its model changed")
    return found


def _plain(config: dict[str, Any]) -> Any:
    # As JSON: a manifest went through it, and there a tuple comes back as a list.
    return msgspec.json.decode(msgspec.json.encode(config))


def _unequal(a: object, b: object, path: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        lines = []
        for name in sorted({*a, *b}):
            if path or name != "strategy_type":
                lines += _unequal(a.get(name), b.get(name), f"{path}.{name}" if path else name)
        return lines
    return [] if a == b else [f"{path} {a!r} -> {b!r}"]


def _inputs(a: RunManifest, b: RunManifest) -> list[str]:
    found = []
    if a.recording.content_hash != b.recording.content_hash:
        found.append("recording: they read different recordings")
    for name in ("instruments", "start_ns", "end_ns"):
        was, is_now = getattr(a.recording, name), getattr(b.recording, name)
        if was != is_now:
            found.append(f"{name}: {was} -> {is_now}")
    if a.seed != b.seed:
        found.append(f"seed: {a.seed} -> {b.seed}")
    return found


def check_recording(
    run: RunFolder, recording: Recording, *, seen: int = 0, last: bool = True
) -> None:
    """Hold a recording against what a run read, or wrote.

    Args:
        run: as it is now.
        recording: the run's, as it is now.
        seen: a proof has what came up to this seq; it may be gone.
        last: no look follows: every file is hashed again, and all of them are the run's.

    Raises:
        RecordingCorrupt: a file is not what was written, is gone, or is of another recording.
    """
    recording.check_files(always=last)  # parts never change: else each is hashed when it is new
    noted = run.manifest.recording.content_hash if last else ""
    read = not noted or noted == recording.content_hash()
    needed = any(gone.last_seq > seen for gone in recording.manifest.gone)
    # A run saw all of its own recording when it came in, whatever was lost of it since.
    if needed and (not read or run.manifest.mode != "backtest"):
        refuse_gone(recording.manifest, recording.path, str(run.path))
    if not read:
        raise RecordingCorrupt(
            f"{recording.path}: it is not the recording that {run.path} read",
            cure="restore the recording the run names in its manifest.json",
        )


def _gone(recording: Recording) -> list[str]:
    """Return what a verdict does not cover because the recording had lost it before the run."""
    gone = recording.manifest.gone
    return [f"not covered, gone before the run: {words(gone)}"] if gone else []
