"""The Python face: what `import parity as pt` gives, synchronous, usable inside a notebook.

Thin by rule: it turns friendly arguments into what `parity.compose` takes. Nothing is decided here.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from parity.compose import modes, proofs
from parity.compose.arguments import (
    Instant,
    Strategy,
    folder_of,
    ns_of,
    recorded,
    strategies_of,
    warn_of_skipped,
)
from parity.model.errors import ConfigError
from parity.recording.reader import Recording, open_recording
from parity.recording.runs import MANIFEST, RunFolder

if TYPE_CHECKING:
    import polars as pl

    from parity.analysis.results import Results
    from parity.compose.checks import CheckReport
    from parity.compose.explain import Why
    from parity.model.instruments import InstrumentTable
    from parity.proof.diff import Comparison
    from parity.proof.replayer import Verdict


class Run:
    """A run: its frames, a plot, and why a signal was given.

    Frames are polars, times `Datetime("ns", "UTC")`; made when they are asked for.
    """

    def __init__(self, folder: RunFolder, seconds: float | None = None) -> None:
        self.folder = folder
        self.seconds = seconds

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @property
    def run_id(self) -> str:
        """Its id."""
        return self.folder.manifest.run_id

    @property
    def candidates(self) -> pl.DataFrame:
        """What the processors said."""
        from parity.analysis import frames

        return frames.candidates(self.path)

    @property
    def signals(self) -> pl.DataFrame:
        """Candidates the validators approved."""
        from parity.analysis import frames

        return frames.signals(self.path)

    @property
    def drops(self) -> pl.DataFrame:
        """Candidates that were dropped, with the reason."""
        from parity.analysis import frames

        return frames.drops(self.path)

    @property
    def fills(self) -> pl.DataFrame:
        """Paper fills; money also exact."""
        from parity.analysis import frames

        return frames.fills(self.path)

    @property
    def orders(self) -> pl.DataFrame:
        """The order of every approved signal, and its fate."""
        from parity.analysis import frames

        return frames.orders(self.path)

    @property
    def positions(self) -> pl.DataFrame:
        """What was held after each fill: position, average entry price, realised, cash."""
        from parity.analysis import results

        return results.positions(self._results)

    @property
    def trades(self) -> pl.DataFrame:
        """Closed round trips, from flat to flat, and what they brought."""
        from parity.analysis import results

        return results.trades(self._results)

    @property
    def equity(self) -> pl.DataFrame:
        """Cash and marked positions over time, per strategy; the total's strategy_id is null."""
        from parity.analysis import results

        return results.equity(self._results)

    @property
    def statistics(self) -> pl.DataFrame:
        """PnL, drawdown, hit rate, turnover, exposure per strategy; the total is the last row."""
        from parity.analysis import results

        return results.statistics(self._results)

    @property
    def lifecycle(self) -> pl.DataFrame:
        """Changes of state, and the ticks a strategy failed at."""
        from parity.analysis import frames

        return frames.lifecycle(self.path)

    @cached_property
    def _results(self) -> Results:
        from parity.analysis.results import results_of

        return results_of([self.folder])[0]

    @property
    def ticks(self) -> pl.DataFrame:
        """The ticks the run saw."""
        from parity.analysis import frames

        reference = self.folder.manifest.recording
        with open_recording(self.folder.recording_path) as recording:
            shown = frames.ticks(recording.ticks(), recording.table)
            table = recording.table
        if reference.instruments is not None:
            import polars as pl

            names = [table.by_token(t).token for t in reference.instruments]
            shown = shown.filter(pl.col("instrument_token").is_in(names))
        return _between(shown, reference.start_ns, reference.end_ns)

    def plot(self, instrument: int | str | None = None) -> Any:
        """Return an altair chart of price with signals, drops and fills, and of PnL.

        Args:
            instrument: token or symbol; default the first one with a signal.

        Raises:
            ConfigError: no such instrument, or no ticks.
        """
        import polars as pl

        from parity.analysis.plots import plot_run
        from parity.analysis.report import price_line

        signals = self.signals
        if instrument is None:
            tokens = signals["instrument_token"]
            tokens = tokens if len(tokens) else self.ticks["instrument_token"]
            if not len(tokens):
                raise ConfigError(f"{self.path}: no ticks to plot")
            instrument = int(tokens[0])
        elif isinstance(instrument, str):
            with open_recording(self.folder.recording_path) as recording:
                instrument = recording.table.by_symbol(instrument).token
        own = pl.col("instrument_token") == instrument
        symbol, line = price_line(self.folder, instrument)
        shown = [frame.filter(own) for frame in (signals, self.drops, self.fills)]
        return plot_run(line, *shown, instrument=symbol, curves=self.equity)

    def why(self, seq: int) -> Why:
        """Return everything the run decided at one tick, and what each validator saw there.

        The run's recording is replayed up to there. A dict: `candidates` and `decisions` as the run
        keeps them, `validators` for each candidate, and `notes`: what cannot be known, and why.

        Raises:
            ConfigError: nothing was decided there.
        """
        from parity.compose.explain import explain

        return explain(self.path, seq)

    @property
    def controls(self) -> pl.DataFrame:
        """The controls of the run's recording: gaps, restarts, quarantined messages."""
        import polars as pl

        with open_recording(self.folder.recording_path) as recording:
            found = [
                {"seq": c.seq, "ts_recv": c.ts_recv, "verb": c.verb, "detail": c.detail}
                for c in recording.controls()
            ]
        shown = pl.DataFrame(
            {name: [c[name] for c in found] for name in ("seq", "ts_recv", "verb")}
            | {"detail": [msgspec.json.encode(c["detail"]).decode() for c in found]},
            schema={"seq": pl.Int64, "ts_recv": pl.Int64, "verb": pl.String, "detail": pl.String},
        )
        return shown.with_columns(pl.from_epoch("ts_recv", "ns").dt.replace_time_zone("UTC"))

    def summary(self) -> dict[str, Any]:
        """Return counts and digests, as `parity backtest --json` prints them."""
        from parity.analysis.documents import backtest_json

        return backtest_json(self.folder, self.seconds)

    def __repr__(self) -> str:
        shown = self.summary()
        return f"Run({str(self.path)!r}, ticks={shown['ticks']}, signals={shown['signals']})"

    def _repr_html_(self) -> str:
        from parity.recording.cards import run_card

        return run_card(self.summary(), title=f"run {self.run_id}")


def open(path: str | Path) -> Recording | Run:
    """Open a recording or a run by its folder.

    Raises:
        RecordingMissing: neither is there.
    """
    folder = Path(path)
    if (folder / "decisions").is_dir() and (folder / MANIFEST).is_file():
        return Run(RunFolder(folder))
    return open_recording(folder)


def import_ticks(
    sources: str | Path | Sequence[str | Path],
    *,
    to: str | Path,
    format: str = "auto",
    map: Mapping[str, str] | str | None = None,
    tz: str | None = None,
    order: str | None = None,
    sort: str | None = None,
    append: bool = False,
    instrument_table: InstrumentTable | str | Path | None = None,
) -> Recording:
    """Import files of ticks into a new recording, exactly.

    Args:
        sources: files, folders or globs.
        to: the recording's folder, new unless appended to.
        format: "auto", or what `parity import --help` lists.
        map: our column name to the file's, for texts.
        tz: zone of times that have none.
        order: "ts_event" or "ts_recv"; default by what the rows have.
        sort: "id" puts each file's rows in the order of their trade ids first.
        append: add later ticks to a recording that an import made.
        instrument_table: scales and names, where the files do not say.

    Raises:
        InputRefused: naming file, row, column, value and cure.
    """
    from parity.sources.importers import import_ticks as run_import

    run_import(
        sources,
        Path(to),
        format=format,
        map=map,
        tz=tz,
        order=order,
        sort=sort,
        append=append,
        instrument_table=instrument_table,
    )
    return open_recording(Path(to))


def backtest(
    recording: Recording | str | Path,
    *strategies: Strategy,
    seed: int = 0,
    start: Instant = None,
    end: Instant = None,
    instruments: Sequence[int] | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    skip_invalid: bool = False,
    engine: str = "auto",
) -> Run:
    """Run strategies over a recording.

    Args:
        recording: a recording or its folder.
        strategies: `@pt.strategy` functions, files, folders, or names of shipped strategies.
        seed: of the strategies' random streams.
        start: first instant wanted: aware datetime, or int ns UTC.
        end: first instant not wanted any more.
        instruments: tokens; None means all.
        out: the run's folder; default a temporary one, gone when Python ends.
        overrides: as `--set` takes them: "threshold=0.02".
        skip_invalid: leave out rows that are wrong instead of refusing them all.
        engine: "tick" goes over one tick at a time, "fused" over whole batches of kernels only,
            "auto" over batches of all; it changes no byte.

    Warns:
        StrategyWarning: a strategy is skipped: its row is wrong, or its model does not load.

    Raises:
        ConfigError: a strategy or an argument is wrong.
    """
    path = recorded(recording)
    folder = Path(out) if out is not None else _temporary()
    finished = modes.backtest(
        path,
        strategies_of(strategies, skip_invalid=skip_invalid).specs(overrides),
        out=folder,
        seed=seed,
        start_ns=ns_of(start, "start"),
        end_ns=ns_of(end, "end"),
        instruments=instruments,
        engine=engine,
    )
    warn_of_skipped([finished.run])
    return Run(finished.run, finished.seconds)


class Sweep(NamedTuple):
    """What a sweep gives: `frame, runs = pt.sweep(…)`.

    Args:
        frame: one row for each variant: the values, signals, drops, fills, PnL, drawdown, hit rate.
        runs: the variants' runs, in the order of the rows.
    """

    frame: pl.DataFrame
    runs: list[Run]

    def _repr_html_(self) -> str:
        shown: str = self.frame._repr_html_()
        return shown


def sweep(
    recording: Recording | str | Path,
    strategies: Strategy | Sequence[Strategy],
    parameters: Mapping[str, Sequence[Any]],
    *,
    seed: int = 0,
    start: Instant = None,
    end: Instant = None,
    instruments: Sequence[int] | None = None,
    out: str | Path | None = None,
    skip_invalid: bool = False,
    engine: str = "auto",
) -> Sweep:
    """Run every combination of parameters over one reading of a recording.

    Each variant is a run of its own; its digests are those of a backtest with these values.

    Args:
        recording: a recording or its folder.
        strategies: one, or several.
        parameters: values by name, `threshold` or `ID.threshold` as `--set` takes it.
        seed: of the strategies' random streams.
        start: first instant wanted.
        end: first instant not wanted any more.
        instruments: tokens; None means all.
        out: folder for the runs' folders; default a temporary one, gone when Python ends.
        skip_invalid: leave out rows that are wrong; a value that is wrong is refused in any case.
        engine: as for backtest().

    Warns:
        StrategyWarning: a strategy is skipped: its row is wrong, or its model does not load.

    Raises:
        ConfigError: a strategy or a value is wrong, or there are more than 1 000 variants.
    """
    from parity.analysis.sweep import compared, sweep_frame
    from parity.compose import sweeps
    from parity.settings.variants import of_mapping

    path = recorded(recording)
    several = (
        list(strategies)
        if isinstance(strategies, Sequence) and not isinstance(strategies, str)
        else [strategies]
    )
    loaded = strategies_of(several, skip_invalid=skip_invalid)
    tokens = None if instruments is None else tuple(instruments)
    start_ns, end_ns = ns_of(start, "start"), ns_of(end, "end")
    reading = modes.Reading(path, seed, start_ns, end_ns, tokens, engine=engine)
    folder = Path(out) if out is not None else _temporary()
    swept = sweeps.sweep(reading, of_mapping(parameters), loaded.specs, out=folder, runs_dir=folder)
    folders = [one.finished.run for one in swept]
    warn_of_skipped(folders)
    values = [one.variant.values for one in swept]
    frame = sweep_frame(values, compared(folders), [str(f.path) for f in folders])
    return Sweep(frame, [Run(f) for f in folders])


def _temporary() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="parity-run-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def verify(run: Run | str | Path) -> Verdict:
    """Replay a run's recording with its kept source and compare everything, bit for bit."""
    return proofs.verify(_path(run))


def replay(run: Run | str | Path, *strategies: Strategy, overrides: Sequence[str] = ()) -> Verdict:
    """Run today's code, or other strategies or parameters, over a run's recording.

    Args:
        run: the run.
        strategies: instead of the run's own.
        overrides: as `--set` takes them: "threshold=0.02".
    """
    if not strategies:
        return proofs.replay(_path(run), overrides=overrides)
    return proofs.replay(_path(run), specs=strategies_of(strategies).specs(overrides))


def check(
    *strategies: Strategy, on: Recording | str | Path | None = None, overrides: Sequence[str] = ()
) -> CheckReport:
    """Lint strategies, start them, and put them through the contract every strategy has to keep.

    Args:
        strategies: `@pt.strategy` functions, files, folders, or names.
        on: a recording whose first ticks are used; by default synthetic ones.
        overrides: as `--set` takes them: "threshold=0.02".

    Returns:
        A report: `ok`, and `findings` that name the strategy, the check, the tick and the values.

    Raises:
        ConfigError: a strategy does not load.
    """
    from parity.compose.checks import check as run_checks

    path = None if on is None else recorded(on)
    return run_checks(strategies_of(strategies).specs(overrides), on=path)


def diff(a: Run | str | Path, b: Run | str | Path) -> Comparison:
    """Return the first record in which two runs differ, and the cause."""
    return proofs.diff(_path(a), _path(b))


def _path(run: Run | str | Path) -> Path:
    cure = "make one: pt.backtest(recording, …)"
    return run.path if isinstance(run, Run) else folder_of(run, "a run", cure)


def _between(shown: pl.DataFrame, start_ns: int | None, end_ns: int | None) -> pl.DataFrame:
    import polars as pl

    at = pl.col("ts_event").dt.epoch("ns")
    if start_ns is not None:
        shown = shown.filter(at >= start_ns)
    if end_ns is not None:
        shown = shown.filter(at < end_ns)
    return shown
