"""The machine's settings: where brokers, topics and folders are, and which layer said so.

Command line > environment `PARITY_…` > `.env` > `parity.toml` (or `parity.yaml`) > defaults. Only
settings that something reads; strategies are configured elsewhere. Lower rooms get plain values.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from parity.model.errors import ConfigError, did_you_mean
from parity.model.parameters import shown
from parity.settings.document import Node, Place, read_text
from parity.settings.yaml import load_yaml

PREFIX: Final = "PARITY_"
FILES: Final = ("parity.toml", "parity.yaml", "parity.yml")
SIZE_BYTES_MAX: Final = 1_000_000
NEAR: Final = 0.85  # likeness of a variable's name at which it counts as misspelt
MASK: Final = "**********"
_SECRET = re.compile(
    r"password|secret|token|credential|jaas|passphrase|\.pem$|key\.pem|userinfo", re.IGNORECASE
)
# Read by the tests only; named here so that none of them is taken for a misspelt setting.
_NOT_OURS: Final = ("PARITY_SHARED_DATA", "PARITY_REQUIRE_KAFKA", "PARITY_REDPANDA")
_EXPECTED: Final[dict[str, str]] = {
    "bootstrap_servers": "host:port, or several with commas",
    "ticks_topics": "a list of topic names",
    "codec": "native, native-msgpack, kite, kite-binary or binance",
    "codec_tz": "a time zone such as Asia/Kolkata",
    "dead_letters": "true or false",
    "keep_raw": "true or false",
    "paper_fills": "true or false",
    "log_level": "DEBUG, INFO, WARNING or ERROR",
    "cache_dir": "a folder",
    "runs_dir": "a folder",
    "cache": "use, build or off",
    "recordings_dir": "a folder",
    "durability": "fdatasync or os",
    "checkpoint_ticks": "an integer ≥ 1",
    "rotate_mb": "an integer ≥ 1",
    "rotate_s": "a number ≥ 1",
    "stop_s": "a number ≥ 0",
    "keep_days": "a number ≥ 0",
    "keep_bytes": "an integer ≥ 0",
    "keep_named": "goldens or runs",
    "fencing": "off or transactional",
    "stall_exit_s": "a number ≥ 1",
    "memory_mb": "an integer ≥ 1",
    "metrics_port": "a port, 0 to 65535",
    "librdkafka": "a mapping of librdkafka settings to text, numbers or booleans",
}


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "parity"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which layer gave a setting its value, and that value with secrets masked."""

    value: str
    where: str


class Settings(BaseSettings):
    """The settings; made by load_settings, never by calling the class where layers matter.

    Args:
        bootstrap_servers: the broker's addresses.
        ticks_topics: topics that carry ticks.
        codec: what the messages on those topics are.
        codec_tz: the zone of times in them that name none.
        dead_letters: what cannot be decoded goes to `<topic>.dlq`.
        keep_raw: a recording keeps the payloads of messages, for a codec that is mended later.
        paper_fills: what the paper broker filled is published to `paper.orders.filled`.
        log_level: least level that is logged.
        cache_dir: compiled drivers; private to the user.
        cache: "use" a recording's Arrow cache where there is one, "build" it first, or "off".
        runs_dir: where runs without a folder of their own go.
        recordings_dir: where recordings named without a folder are.
        durability: "fdatasync" before a signal leaves, or "os" (the manifest says so).
        checkpoint_ticks: ticks between two checkpoints of a run.
        rotate_mb: megabytes at which a segment of the journal ends and is sealed.
        rotate_s: seconds after which it ends at the latest.
        stop_s: seconds behind a stop after which what is not sealed is left to the next start.
        keep_days: days that a sealed segment of a recording is held; None is for ever.
        keep_bytes: bytes of sealed parts that a recording holds; None is no limit.
        keep_named: what retention spares besides checkpoints: "goldens" only, or also what the
            backtest "runs" below runs_dir read.
        fencing: "transactional" keeps a run's former runner from publishing, wherever it is.
        stall_exit_s: seconds that one call of a strategy may last before its run is ended.
        memory_mb: megabytes of resident memory above which a run is stopped; None is no limit.
        metrics_port: of a live run's Prometheus endpoint on the loopback; 0 is any; None is none.
        librdkafka: passed to the Kafka client as it is; client_config() has the secrets in clear.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
    )

    bootstrap_servers: Annotated[str, Field(min_length=1)] = "127.0.0.1:9092"
    ticks_topics: Annotated[tuple[str, ...], NoDecode, Field(min_length=1)] = ("market.ticks",)
    codec: Literal["native", "native-msgpack", "kite", "kite-binary", "binance"] = "native"
    codec_tz: Annotated[str, Field(min_length=1)] | None = None
    dead_letters: bool = True
    keep_raw: bool = False
    paper_fills: bool = True
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    cache_dir: Path = Field(default_factory=_default_cache)
    cache: Literal["use", "build", "off"] = "use"
    runs_dir: Path = Path("runs")
    recordings_dir: Path = Path("recordings")
    durability: Literal["fdatasync", "os"] = "fdatasync"
    checkpoint_ticks: Annotated[int, Field(ge=1)] = 1_000_000
    rotate_mb: Annotated[int, Field(ge=1)] = 64
    rotate_s: Annotated[float, Field(ge=1)] = 3600.0
    stop_s: Annotated[float, Field(ge=0)] = 4.0
    keep_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    keep_bytes: Annotated[int, Field(ge=0)] | None = None
    keep_named: Literal["goldens", "runs"] = "runs"
    fencing: Literal["off", "transactional"] = "off"
    stall_exit_s: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 30.0
    memory_mb: Annotated[int, Field(ge=1)] | None = None
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    librdkafka: dict[str, bool | int | float | str | SecretStr] = {}

    _origins: dict[str, Origin] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given only: load_settings reads the layers, to know who said what."""
        return (init_settings,)

    @field_validator("ticks_topics", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):  # from a variable or a flag: names with commas between
            return tuple(part.strip() for part in value.strip("[]").split(",") if part.strip())
        return tuple(value) if isinstance(value, list) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("librdkafka", mode="before")
    @classmethod
    def _hide(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            key: SecretStr(str(v))
            if _SECRET.search(key) and isinstance(v, str | int | float)
            else v
            for key, v in value.items()
        }

    def client_config(self) -> dict[str, Any]:
        """Return the librdkafka settings for a client, secrets in clear; never log it."""
        return {
            key: v.get_secret_value() if isinstance(v, SecretStr) else v
            for key, v in self.librdkafka.items()
        }

    def origins(self) -> dict[str, Origin]:
        """Return, for each setting, its value with secrets masked and the layer it came from."""
        return dict(self._origins)


def load_settings(
    overrides: Mapping[str, Any] | None = None,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Read every layer and return the settings.

    Args:
        overrides: what the command line says, by setting name; None values are left out.
        folder: where `parity.toml` and `.env` are; the working directory where absent.
        environment: instead of the process's own variables.

    Raises:
        ConfigError: a value or a key is wrong; names the layer, file, line and the cure.
    """
    folder = folder or Path()
    file = _settings_file(folder)
    layers = (
        _Layer("command line", {k: v for k, v in (overrides or {}).items() if v is not None}),
        _variables(folder, environment),
        _dotenv(folder),
        _file_layer(file) if file else _Layer("no file", {}),
    )
    merged: dict[str, Any] = {}
    said: dict[str, _Layer] = {}
    for layer in layers:
        layer.refuse_unknown()
        for key, value in layer.values.items():
            if key == "librdkafka" and isinstance(value, Mapping):
                _merge_client(merged, said, layer, value)
            elif key not in merged:
                merged[key], said[key] = value, layer
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise _explain(error, merged, said) from None
    settings._origins.update(_origins(settings, said))
    return settings


class _Layer:
    """One source of settings: its values, and where each key of them stands."""

    def __init__(self, name: str, values: dict[str, Any], document: Node | None = None) -> None:
        self.name = name
        self.values = values
        self._document = document
        if isinstance(values.get("librdkafka"), Mapping):
            values["librdkafka"] = _flat(values["librdkafka"])

    def where(self, key: str) -> str:
        name, _, inner = key.partition(".")
        if self._document is not None:
            place = self._document.where((name, inner) if inner else (name,))
            return f"{place.file}:{place.line}"
        if self.name in ("environment", ".env"):
            variable = PREFIX + name.upper()
            return (
                f"{self.name} {variable}{'__' + inner.upper().replace('.', '_') if inner else ''}"
            )
        flag = " --" + name.replace("_", "-") if self.name == "command line" else ""
        return f"{self.name}{flag}"

    def refuse_unknown(self) -> None:
        for key in self.values:
            if key not in Settings.model_fields:
                raise ConfigError(
                    f"{self.where(key)}: unknown setting {key!r}",
                    cure=did_you_mean(key, Settings.model_fields),
                )


def _flat(given: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    # TOML reads `security.protocol = …` as a table in a table; librdkafka's names hold the dots.
    flat: dict[str, Any] = {}
    for key, value in given.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + str(key)] = value
    return flat


def _merge_client(
    merged: dict[str, Any], said: dict[str, _Layer], layer: _Layer, given: Mapping[str, Any]
) -> None:
    client = merged.setdefault("librdkafka", {})
    said.setdefault("librdkafka", layer)
    for key, value in given.items():
        if isinstance(client, dict) and key not in client:
            client[key] = value
            said[f"librdkafka.{key}"] = layer


def _settings_file(folder: Path) -> Path | None:
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if len(found) > 1:
        raise ConfigError(
            f"{found[0]} and {found[1].name} both hold settings", cure="keep one of them"
        )
    return found[0] if found else None


def _file_layer(file: Path) -> _Layer:
    if file.suffix != ".toml":
        root = load_yaml(file)
        values = root.plain() if root.value is not None else {}
        if not isinstance(values, dict):
            root.place.refuse(f"expected settings (a mapping), was {shown(values)}")
        return _Layer(file.name, values, root)
    text = read_text(file, SIZE_BYTES_MAX)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}", cure="mend the line") from None
    return _Layer(file.name, values, _toml_places(text, values, str(file)))


def _toml_places(text: str, values: Mapping[str, Any], file: str) -> Node:
    # tomllib keeps no lines. Settings are one table deep: the line that begins with the key is it.
    lines = text.splitlines()

    def place(key: str) -> Place:
        bare = re.escape(key)
        starts = re.compile(rf"\s*(?:\[\s*)?[\"']?(?:librdkafka\.)?{bare}[\"']?\s*[\]=.]")
        hits = (n for n, line in enumerate(lines, 1) if starts.match(line))
        return Place(file, next(hits, 1))

    children: dict[str, Node] = {}
    for key, value in values.items():
        inner = _flat(value) if isinstance(value, Mapping) else {}
        keys = {name: place(name) for name in inner}
        content = {name: Node(keys[name], inner[name]) for name in inner} if inner else value
        children[key] = Node(place(key), content, keys=keys)
    return Node(Place(file, 1), children, keys={key: place(key) for key in values})


def _variables(folder: Path, environment: Mapping[str, str] | None) -> _Layer:
    source = EnvSettingsSource(Settings)
    if environment is not None:
        source.env_vars = {key.lower(): value for key, value in environment.items()}
    _refuse_near_misses(os.environ if environment is None else environment, "environment")
    return _Layer("environment", _read(source, "environment"))


def _dotenv(folder: Path) -> _Layer:
    file = folder / ".env"
    if not file.is_file():
        return _Layer(".env", {})
    read_text(file, SIZE_BYTES_MAX)  # its limits, and a clear refusal of what is not text
    source = DotEnvSettingsSource(Settings, env_file=file)
    _refuse_near_misses({k.upper(): "" for k in source.env_vars}, ".env")
    return _Layer(".env", _read(source, ".env"))


def _read(source: EnvSettingsSource, name: str) -> dict[str, Any]:
    try:
        given = {key: v for key, v in source().items() if key in Settings.model_fields}
    except SettingsError as error:
        raise ConfigError(
            f"{name}: {error}", cure="write it as JSON, or with __ and one key"
        ) from None
    client = given.get("librdkafka")
    if isinstance(client, dict):  # a variable's name holds no dots: SASL_PASSWORD is sasl.password
        given["librdkafka"] = {
            key if "." in key else key.lower().replace("_", "."): value
            for key, value in client.items()
        }
    return given


def _refuse_near_misses(names: Mapping[str, str], layer: str) -> None:
    # Other programs' PARITY_ variables are none of our business; a misspelt one of ours is.
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    for name in names:
        head = name.upper().partition("__")[0]
        if not head.startswith(PREFIX) or head in known or head in _NOT_OURS:
            continue
        if difflib.get_close_matches(head, known, n=1, cutoff=NEAR):
            raise ConfigError(f"{layer} {name}: unknown setting", cure=did_you_mean(head, known))


def _explain(
    error: ValidationError, merged: Mapping[str, Any], said: Mapping[str, _Layer]
) -> ConfigError:
    lines: list[str] = []
    seen: set[str] = set()
    for detail in error.errors(include_url=False, include_input=False):
        path = [str(step) for step in detail["loc"][:2]]
        name = path[0]
        dotted = ".".join(path) if name == "librdkafka" else name
        if dotted in seen:
            continue
        seen.add(dotted)
        value = merged.get(name)
        if name == "librdkafka" and isinstance(value, Mapping) and len(path) > 1:
            value = value.get(path[1])
        was = MASK if _SECRET.search(dotted) else shown(value)
        layer = said.get(dotted) or said.get(name)
        place = f"{layer.where(dotted)}: " if layer else ""
        lines.append(f"{place}{dotted}: expected {_EXPECTED[name]}, was {was}")
    return ConfigError("\n".join(lines))


def _origins(settings: Settings, said: Mapping[str, _Layer]) -> dict[str, Origin]:
    origins: dict[str, Origin] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if name == "librdkafka":
            for key, inner in value.items():
                full = f"librdkafka.{key}"
                masked = MASK if isinstance(inner, SecretStr) else str(inner)
                origins[full] = Origin(masked, said[full].where(full))
            continue
        text = ", ".join(value) if isinstance(value, tuple) else str(value)
        where = said[name].where(name) if name in said else "default"
        origins[name] = Origin(text, where)
    return origins
