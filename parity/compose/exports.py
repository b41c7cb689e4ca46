"""Exports put together: of which recording, which range, how much warm-up, into which form.

A recording is exported by its time range; a run by what it read or decided. Never here: how a row
is written.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parity.compose.fingerprint import fingerprint
from parity.compose.kept import kept_specs
from parity.core.asked import history_length_of
from parity.model.errors import ConfigError, InputRefused, did_you_mean
from parity.model.instruments import InstrumentTable
from parity.model.kernel import KernelStrategy
from parity.recording.export import shortage, slice_ticks, write_slice
from parity.recording.gone import not_covered
from parity.recording.inspect import iso
from parity.recording.reader import open_recording
from parity.recording.runs import RunFolder, is_run
from parity.recording.slices import Range, find_slice, needs_of

if TYPE_CHECKING:
    from pathlib import Path

    from parity.core.executor import ExecutorPlan
    from parity.recording.reader import Recording
    from parity.recording.slices import Needs, Progress, Slice
    from parity.settings.drafts import StrategySpec

FORMS: Final = ("recording", "parquet", "csv")
WHAT: Final = ("ticks", "signals", "decisions", "fills")
TIMES: Final = ("iso", "ns")
AUTO: Final = "auto"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What an export was asked for.

    Args:
        range: instruments and times; a run's own range is kept where a side is open.
        what: "ticks", or of a run "signals", "decisions" or "fills".
        form: "recording", "parquet" or "csv"; "" decides by the name.
        times: "iso" or "ns", in Parquet and CSV.
        warm_up: ticks per instrument and kind, or "auto": what the strategies need.
        specs: strategies for "auto", where they are not the run's own.
    """

    range: Range = Range()
    what: str = "ticks"
    form: str = ""
    times: str = "iso"
    warm_up: int | str | None = None
    specs: Sequence[Any] = ()


def export(
    source: Path, out: Path, wanted: Wanted, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Export a recording or a run, whole or not at all.

    Args:
        source: a recording's or a run's folder.
        out: the new recording's folder, or the new file; it must not exist.
        wanted: what is asked for.
        progress: called with (ticks done, ticks in all).

    Returns:
        The report, as `parity export --json` prints it.

    Raises:
        ConfigError: the usage is wrong, or `out` is there already.
        InputRefused: nothing is in the range.
    """
    form = _form(out, wanted)
    if out.exists() and not (form == "recording" and out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{out}: exists already", cure="name a new one, or remove it first")
    run = RunFolder(source) if is_run(source) else None
    if wanted.what != "ticks":
        return _export_stream(source, run, out, form, wanted, progress)
    with open_recording(source if run is None else run.recording_path) as recording:
        recording.check_files()
        asked = _range_of(run, wanted.range)
        needs = _needs(recording, run, form, wanted, asked)
        chosen = find_slice(recording, asked, needs, progress)
        return _export_ticks(recording, chosen, out, form, wanted, progress)


def _form(out: Path, wanted: Wanted) -> str:
    for name, given, known in (
        ("--what", wanted.what, WHAT),
        ("--to", wanted.form or FORMS[0], FORMS),
        ("--times", wanted.times, TIMES),
    ):
        if given not in known:
            raise ConfigError(f"{name}: {given!r} is not known", cure=did_you_mean(given, known))
    form = wanted.form or {".parquet": "parquet", ".csv": "csv"}.get(out.suffix, "recording")
    if form == "recording" and wanted.what != "ticks":
        raise ConfigError(
            f"{out}: {wanted.what} are no recording",
            cure="name OUT with .csv or .parquet, or say --to csv or --to parquet",
        )
    return form


def _range_of(run: RunFolder | None, asked: Range) -> Range:
    """Return what was asked for, within what a run read."""
    if run is None:
        return asked
    read = run.manifest.recording
    starts = [ns for ns in (asked.start_ns, read.start_ns) if ns is not None]
    ends = [ns for ns in (asked.end_ns, read.end_ns) if ns is not None]
    tokens = asked.tokens
    if read.instruments is not None:
        others = sorted(set(tokens or ()) - set(read.instruments))
        if others:
            raise ConfigError(
                f"--instruments: {run.path} did not read {', '.join(map(str, others))}",
                cure=f"it read {', '.join(map(str, read.instruments))}",
            )
        tokens = tokens or tuple(read.instruments)
    return Range(tokens, max(starts, default=None), min(ends, default=None))


def _needs(
    recording: Recording, run: RunFolder | None, form: str, wanted: Wanted, asked: Range
) -> Needs:
    count = wanted.warm_up
    if count is None:
        count = AUTO if run is not None and form == "recording" else 0
    tokens = asked.tokens or tuple(recording.table.tokens.tolist())
    if isinstance(count, int):
        return needs_of(count, tokens)
    specs = list(wanted.specs) or (kept_specs(run) if run is not None else [])
    if not specs:
        raise ConfigError(
            f"--warmup auto: {recording.path} is a recording, and names no strategies",
            cure="say which ones it is for: --strategies FILE; or how many ticks: --warmup 200",
        )
    return strategy_needs(specs, tokens)


def strategy_needs(
    strategies: Iterable[StrategySpec | ExecutorPlan], tokens: Sequence[int]
) -> Needs:
    """Return how many ticks of each kind and instrument the strategies' histories take."""
    needs: dict[tuple[str, int], int] = {}
    for one in strategies:
        built, config = one.build(), one.config
        length = built.history if isinstance(built, KernelStrategy) else 0
        length = length or history_length_of(built, config.strategy_id)
        for token in config.instrument_tokens or tokens:
            if token in tokens:
                key = (config.on, token)
                needs[key] = max(needs.get(key, 1), length)
    return needs


def _export_ticks(
    recording: Recording,
    chosen: Slice,
    out: Path,
    form: str,
    wanted: Wanted,
    progress: Progress | None,
) -> dict[str, Any]:
    if form == "recording":
        manifest = write_slice(
            recording,
            chosen,
            out,
            created_by=f"parity {fingerprint()['parity']} export",
            origin={"range": _said(chosen.range), "warm_up": wanted.warm_up},
            progress=progress,
        )
        with open_recording(out) as made:
            rows, controls = made.tick_rows, len(made.controls())
        size = sum(part.bytes for part in manifest.parts)
        made_of: dict[str, Any] = {"recording_id": manifest.recording_id, "controls": controls}
    else:
        from parity.analysis.tables import tick_rows, write_table

        instruments = [recording.table.by_token(token) for token in chosen.tokens]
        table = InstrumentTable(instruments, recording.table.extensions)
        pieces = (
            tick_rows(ticks, recording.manifest, wanted.times, text=form == "csv")
            for ticks in slice_ticks(recording, chosen)
        )
        rows, size = write_table(out, form, pieces, table=table, progress=progress)
        made_of = {}
    return {
        "format": 1,
        "out": str(out),
        "to": form,
        "what": "ticks",
        "source": str(recording.path),
        "source_recording_id": recording.manifest.recording_id,
        **made_of,
        "order": recording.manifest.order,
        "ticks": sum(chosen.ticks.values()),
        "warm_up": rows - sum(chosen.ticks.values()),
        "seqs": list(chosen.seqs),
        "range": _said(chosen.range),
        "instruments": [
            {
                "instrument_token": token,
                "symbol": recording.table.by_token(token).symbol,
                "ticks": n,
            }
            for token, n in chosen.ticks.items()
        ],
        "times": wanted.times if form != "recording" else "ns",
        "bytes": size,
        "warnings": [
            *shortage(recording, chosen),
            *not_covered(recording.path, recording.manifest),
        ],
    }


def _export_stream(
    source: Path,
    run: RunFolder | None,
    out: Path,
    form: str,
    wanted: Wanted,
    progress: Progress | None,
) -> dict[str, Any]:
    if run is None:
        raise ConfigError(
            f"--what {wanted.what}: {source} is a recording, which holds none",
            cure="name a run: parity backtest makes one",
        )
    if wanted.warm_up is not None:
        raise ConfigError(f"--warmup: {wanted.what} have none", cure="leave it out")
    from parity.analysis.tables import stream_rows, write_table

    with open_recording(run.recording_path) as recording:
        table = recording.table
    pieces = stream_rows(run, wanted.what, wanted.range, table, wanted.times, text=form == "csv")
    first = next(pieces, None)
    if first is None:
        raise InputRefused(
            f"{run.path}: no {wanted.what} {wanted.range.words()}",
            cure="parity inspect RUN shows how many it has",
        )
    count, size = write_table(out, form, itertools.chain([first], pieces), progress=progress)
    return {
        "format": 1,
        "out": str(out),
        "to": form,
        "what": wanted.what,
        "source": str(run.path),
        "run_id": run.manifest.run_id,
        "rows": count,
        "range": _said(wanted.range),
        "times": wanted.times,
        "bytes": size,
        "warnings": [],
    }


def _said(asked: Range) -> dict[str, Any]:
    return {
        "start": None if asked.start_ns is None else iso(asked.start_ns),
        "end": None if asked.end_ns is None else iso(asked.end_ns),
        "instruments": None if asked.tokens is None else list(asked.tokens),
    }
