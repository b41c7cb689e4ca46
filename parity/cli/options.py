"""Options that several commands share, and the values they are read into.

Never here: a default that a setting has; settings are read by `settings_of`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, overload

import typer

from parity.cli.console import say
from parity.model.errors import ConfigError

if TYPE_CHECKING:
    from parity.compose.feeds import Feed
    from parity.compose.warming import WarmUp
    from parity.live.watchdog import Guard
    from parity.model.instruments import InstrumentTable
    from parity.recording.pruning import Retention
    from parity.recording.rotation import Rotation
    from parity.settings.drafts import StrategySpec
    from parity.settings.loaded import Loaded
    from parity.settings.overrides import Override
    from parity.settings.settings import Settings

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")
]
StrategyFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--strategies",
        "-s",
        metavar="FILE|FOLDER|NAME",
        help="YAML, JSON or Python file, a folder of these, or a shipped strategy. Repeatable.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="[ID.]PARAMETER=VALUE[,VALUE…]",
        help="Replace a parameter of one strategy, or of each that has it. Repeatable.",
    ),
]
SkipInvalid = Annotated[
    bool,
    typer.Option(
        "--skip-invalid",
        help="Leave out rows that are wrong, and say so, instead of refusing them all.",
    ),
]
Sessions = Annotated[
    Path | None,
    typer.Option(
        "--sessions",
        metavar="FILE",
        help="Days of exchanges' calendars that are otherwise than usual, YAML or JSON.",
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of the strategies' random streams.")]
Servers = Annotated[
    str | None,
    typer.Option("--bootstrap-servers", metavar="HOST:PORT,…", help="The broker to connect to."),
]
Topics = Annotated[
    str | None, typer.Option("--topics", metavar="TOPIC,…", help="Topics that carry the ticks.")
]
Codec = Annotated[
    str | None,
    typer.Option(
        "--codec",
        metavar="NAME",
        help="What the messages are: native, native-msgpack, kite, kite-binary or binance.",
    ),
]
CodecTz = Annotated[
    str | None,
    typer.Option(
        "--tz", metavar="ZONE", help="Zone of times in messages that name none, as Kite's."
    ),
]
DeadLetters = Annotated[
    bool | None,
    typer.Option(
        "--dead-letters/--no-dead-letters",
        help="Whether messages that cannot be decoded go to <topic>.dlq, each once; they do.",
    ),
]
PaperFills = Annotated[
    bool | None,
    typer.Option(
        "--paper-fills/--no-paper-fills",
        help="Whether fills on paper are published to paper.orders.filled; they are.",
    ),
]
KeepRaw = Annotated[
    bool | None,
    typer.Option(
        "--keep-raw/--no-keep-raw",
        help="Whether the payloads are recorded too, so that they can be decoded anew.",
    ),
]
Partitions = Annotated[
    str | None,
    typer.Option(
        "--partitions",
        metavar="N,…|N-N",
        help="Read only these of each topic: one runner of several, with strategies of its own.",
    ),
]
StartFrom = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="earliest|latest",
        help="Where a new recording begins; one that goes on continues where it ended.",
    ),
]
WarmUpFrom = Annotated[
    str | None,
    typer.Option(
        "--warm-up",
        metavar="SOURCE",
        help="What a new run is warmed from: a recording, a run, a file of ticks, broker:2h or "
        "broker:5000 (that much of the topics' own past).",
    ),
]
WarmUpTicks = Annotated[
    str | None,
    typer.Option(
        "--warm-up-ticks",
        metavar="N|auto|all",
        help="The last N ticks of each instrument and kind, or as many as the strategies need "
        "(auto). Default: auto; all of a broker's past.",
    ),
]
ExitAtEnd = Annotated[
    bool,
    typer.Option("--exit-at-end", help="Stop at the offsets that were last when it started."),
]
VerifyAtEnd = Annotated[
    bool, typer.Option("--verify", help="Prove the run when it has ended: identical, or exit 1.")
]
Start = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="First ts_event: ISO 8601 with a zone, or ns since 1970."),
]
End = Annotated[
    str | None, typer.Option(metavar="TIME", help="First ts_event not wanted any more.")
]
RotateMb = Annotated[
    int | None,
    typer.Option(
        "--rotate-mb",
        metavar="N",
        help="Seal the journal each N megabytes, while it goes on. Default: setting rotate_mb.",
    ),
]
RotateS = Annotated[
    float | None,
    typer.Option(
        "--rotate-s",
        metavar="N",
        help="Seal it each N seconds at the latest. Default: setting rotate_s.",
    ),
]
KeepDays = Annotated[
    float | None,
    typer.Option(
        "--keep-days",
        metavar="N",
        help="Prune sealed segments older than N days. Default: setting keep_days, else none.",
    ),
]
KeepBytes = Annotated[
    int | None,
    typer.Option(
        "--keep-bytes",
        metavar="N",
        help="Prune the oldest above N bytes of sealed parts. Default: setting keep_bytes.",
    ),
]
Metrics = Annotated[
    int | None,
    typer.Option(
        "--metrics",
        metavar="PORT",
        help="Serve Prometheus metrics on 127.0.0.1:PORT; 0 takes a free port, and the log says "
        "which. Default: setting metrics_port.",
    ),
]
TableSource = Annotated[
    Path | None,
    typer.Option(
        "--instrument-table",
        metavar="JSON|REC",
        help="Instruments and their scales: a JSON file, or a recording that has them.",
    ),
]

_FROM: Final = ("earliest", "latest")
_ISO: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)", re.IGNORECASE
)


def settings_of(**given: Any) -> Settings:
    """Return the settings, the given ones of the command line first; None is not given."""
    from parity.settings.settings import load_settings

    return load_settings(given)


def live_settings(
    servers: str | None,
    topics: str | None,
    rotate_mb: int | None,
    rotate_s: float | None,
    keep_days: float | None,
    keep_bytes: int | None,
    codec: str | None,
    codec_tz: str | None,
    dead_letters: bool | None,
    keep_raw: bool | None = None,
    metrics_port: int | None = None,
    paper_fills: bool | None = None,
) -> Settings:
    """Return the settings of a command that records."""
    return settings_of(
        bootstrap_servers=servers,
        ticks_topics=topics,
        rotate_mb=rotate_mb,
        rotate_s=rotate_s,
        keep_days=keep_days,
        keep_bytes=keep_bytes,
        codec=codec,
        codec_tz=codec_tz,
        dead_letters=dead_letters,
        keep_raw=keep_raw,
        metrics_port=metrics_port,
        paper_fills=paper_fills,
    )


def feed_of(settings: Settings, start_from: str, exit_at_end: bool, **more: Any) -> Feed:
    """Return where a live command's ticks come from; `more` is what not every one of them has."""
    from parity.compose.feeds import Feed

    return Feed(
        settings.ticks_topics,
        settings.bootstrap_servers,
        start_from,
        exit_at_end,
        settings.client_config(),
        codec=settings.codec,
        tz=settings.codec_tz,
        dead_letters=settings.dead_letters,
        keep_raw=settings.keep_raw,
        fenced=settings.fencing == "transactional",
        paper_fills=settings.paper_fills,
        **more,
    )


def warm_up_of(source: str | None, ticks: str | None) -> WarmUp | None:
    """Return what a run is warmed from, or raise ConfigError."""
    if source is None:
        if ticks is not None:
            raise ConfigError("--warm-up-ticks: of what?", cure="name it: --warm-up SOURCE")
        return None
    from parity.compose.warming import ALL, AUTO, WarmUp

    if ticks is not None and ticks not in (AUTO, ALL) and not (ticks.isdecimal() and int(ticks)):
        raise ConfigError(
            f"--warm-up-ticks: expected a number above 0, auto or all, was {ticks!r}",
            cure="leave it out for what the strategies need",
        )
    wanted = int(ticks) if ticks is not None and ticks.isdecimal() else ticks
    if WarmUp(source).past is None:
        source = str(recording_path(Path(source)))
    return WarmUp(source, wanted)


def rotation_of(settings: Settings) -> Rotation:
    """Return when a live command's journal is cut and sealed."""
    from parity.recording.rotation import Rotation

    return Rotation(settings.rotate_mb * 1_000_000, settings.rotate_s, settings.stop_s)


def retention_of(settings: Settings) -> Retention:
    """Return what a recording holds, and where goldens and runs are that name it."""
    from parity.recording.pruning import Retention
    from parity.recording.retention import Policy

    return Retention(
        Policy(keep_days=settings.keep_days, keep_bytes=settings.keep_bytes),
        (settings.recordings_dir, settings.runs_dir),
        runs=settings.keep_named == "runs",
    )


def guard_of(settings: Settings) -> Guard:
    """Return what a run puts up with of its strategies."""
    from parity.live.watchdog import Guard

    memory = None if settings.memory_mb is None else settings.memory_mb * 1_000_000
    return Guard(settings.stall_exit_s, memory)


def recording_path(given: Path) -> Path:
    """Return where a recording or run lies: as given, or a bare name below recordings_dir."""
    if given.exists() or len(given.parts) != 1 or given.is_absolute():
        return given
    below = settings_of().recordings_dir / given
    return below if below.exists() else given


def strategies_of(sources: list[str] | None, *, skip_invalid: bool = False) -> Loaded:
    """Return the strategies of --strategies, read once."""
    from parity.settings.strategies import read_strategies

    return read_strategies(sources or [], skip_invalid=skip_invalid)


def specs_of(
    sources: list[str] | None,
    overrides: Sequence[Override] | None,
    *,
    skip_invalid: bool = False,
) -> list[StrategySpec]:
    """Return the checked strategies of --strategies and --set; what is skipped is said."""
    from parity.settings.strategies import load_strategies

    specs = load_strategies(sources or [], overrides or [], skip_invalid=skip_invalid)
    say_refused(specs)
    return specs


def say_refused(specs: Sequence[StrategySpec]) -> None:
    """Say which rows are left out because they are wrong."""
    for spec in specs:
        if spec.refused:
            say("skipped: ", f"{spec.strategy_id}: {spec.refused}", style="yellow")


def start_of(text: str) -> str:
    """Return --from, or raise ConfigError."""
    from parity.model.errors import did_you_mean

    if text not in _FROM:
        raise ConfigError(
            f"--from: expected earliest or latest, was {text!r}", cure=did_you_mean(text, _FROM)
        )
    return text


def partitions_of(text: str | None) -> tuple[int, ...] | None:
    """Return the partitions of --partitions, rising; None where it is not given.

    >>> partitions_of("4,0-2")
    (0, 1, 2, 4)
    """
    if text is None:
        return None
    found: set[int] = set()
    for word in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,5})(?:-(\d{1,5}))?\s*", word, re.ASCII)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if low > high or found & {*range(low, high + 1)}:
            raise ConfigError(
                f"--partitions: expected numbers and ranges, each once, was {text!r}",
                cure="write 0,1 or 0-1",
            )
        found |= {*range(low, high + 1)}
    return tuple(sorted(found))


def table_of(given: Path | None, recording: Path) -> InstrumentTable:
    """Return the instrument table of --instrument-table, or of a recording that goes on.

    Args:
        given: a JSON file, or the folder of a recording.
        recording: where this recording is or will be.

    Raises:
        ConfigError: neither is there, or what is there is no instrument table.
    """
    from parity.recording.given import given_table

    if given is None and not (recording / "manifest.json").is_file():
        raise ConfigError(
            f"{recording}: a new recording needs its instruments and scales before the first tick",
            cure="name a JSON file or a recording that has them: --instrument-table FILE|REC",
        )
    return given_table(given or recording)


@overload
def instant(text: str, flag: str, zone: str | None = None) -> int: ...
@overload
def instant(text: None, flag: str, zone: str | None = None) -> None: ...
def instant(text: str | None, flag: str, zone: str | None = None) -> int | None:
    """Return an instant of the command line in ns UTC, exactly.

    Args:
        text: ISO 8601 with a zone, or an integer of ns since 1970; None stays None.
        flag: the option, for the error.
        zone: the zone of a time that has none; without it such a time is refused.

    Raises:
        ConfigError: no instant, or one that would have to be guessed at.

    >>> instant("2025-01-06T09:00:00.000000001Z", "--start")
    1736154000000000001
    >>> instant("2025-01-06T14:30:00+05:30", "--start")
    1736154000000000000
    """
    if text is None:
        return None
    cure = f"write {flag} 2025-01-06T09:15:00+05:30, or ns since 1970"
    if re.fullmatch(r"-?\d+", text):
        if len(text) in (10, 13, 16):
            raise ConfigError(f"{flag}: {text} looks like seconds, ms or µs, not ns", cure=cure)
        if abs(int(text)) >= 2**63:
            raise ConfigError(f"{flag}: {text} does not fit ns since 1970 (64 bits)", cure=cure)
        return int(text)
    match = _ISO.fullmatch(text.strip())
    if match is None:
        naive = re.fullmatch(r"\d{4}-\d\d-\d\d([T ][\d:.,]+)?", text.strip())
        if naive and zone is not None:
            return _local(text.strip(), zone, flag)
        problem = "has no time zone" if naive else "is no instant"
        raise ConfigError(f"{flag}: {text!r} {problem}", cure=cure)
    return _iso_ns(match, text, flag, cure)


def tokens_of(text: str | None, table: InstrumentTable) -> tuple[int, ...] | None:
    """Return the tokens of --instruments; none of them means all, and None that it is not given."""
    if text is None or text == "all":
        return None if text is None else ()
    known = ", ".join(f"{one.token} ({one.symbol})" for one in list(table)[:8])
    tokens = []
    for word in text.split(","):
        if not word.strip().isdecimal():
            raise ConfigError(
                f"--instruments: expected all or instrument tokens, was {word!r}",
                cure=f"known: {known}",
            )
        tokens.append(table.by_token(int(word)).token)
    return tuple(tokens)


def _local(text: str, zone: str, flag: str) -> int:
    """Return the instant of a time without a zone, which has to be one and only one there."""
    import datetime as dt
    import zoneinfo

    try:
        there = zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise ConfigError(
            f"--tz: no time zone {zone!r} on this machine", cure="use a name such as Asia/Kolkata"
        ) from None
    whole, _, part = text.replace(",", ".").partition(".")
    try:
        naive = dt.datetime.fromisoformat(whole)
    except ValueError as error:
        raise ConfigError(f"{flag}: {text!r} is no instant ({error})") from None
    readings = {naive.replace(tzinfo=there, fold=fold).astimezone(dt.UTC) for fold in (0, 1)}
    moment = min(readings)
    if len(readings) > 1:
        here = [m for m in sorted(readings) if m.astimezone(there).replace(tzinfo=None) == naive]
        what = "is twice" if here else "is never"
        raise ConfigError(
            f"{flag}: {text!r} {what} in {zone}: its clocks change there",
            cure=f"write it with its offset: {flag} 2025-03-30T02:30:00+02:00",
        )
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + int((part or "0").ljust(9, "0")[:9])


def _iso_ns(match: re.Match[str], text: str, flag: str, cure: str) -> int:
    import datetime as dt

    zone = "+00:00" if match[3] in "Zz" else match[3]
    try:
        moment = dt.datetime.fromisoformat(match[1] + zone)
    except ValueError as error:
        raise ConfigError(f"{flag}: {text!r} is no instant ({error})", cure=cure) from None
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + int((match[2] or "0").ljust(9, "0"))
