"""Settings, read from the environment (`FILIERE_…`), each one described. The data folder's layout is here alone."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from filiere.errors import SettingsError

PREFIX = "FILIERE_"
MASK = "********"

Port = Annotated[int, Field(ge=1, le=65535)]
_LINE = re.compile(r"(?:[a-z0-9_-]{1,64}|\+)(?:/(?:[a-z0-9_-]{1,64}|\+)){2}")


class Settings(BaseSettings):
    """All settings. Build it with `load_settings`, which says what is wrong without a traceback."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    data_dir: Path = Field(
        default=Path("data"), description="Folder of everything that is kept: log, stores, keys, certificates."
    )
    plant: str = Field(
        default="caux", min_length=1, description="Plant model: the name of a packaged one, or the path of a YAML file."
    )

    mqtt_host: str = Field(default="127.0.0.1", min_length=1, description="Host of the MQTT broker.")
    mqtt_port: Port = Field(default=1883, description="Port of the MQTT broker.")
    mqtt_username: str | None = Field(default=None, description="User name at the broker; empty = none.")
    mqtt_password: SecretStr | None = Field(default=None, description="Password at the broker; empty = none.")
    mqtt_client_id: str = Field(
        default="filiere-collector",
        min_length=1,
        description="MQTT client id of the collector. The broker keeps its session by this name: change it and what"
        " waits there is not fetched.",
    )
    mqtt_ca: Path | None = Field(
        default=None,
        description="Certificate (PEM) of the authority that signed the broker's; set = TLS. For a broker that every"
        " browser believes: the system's own, such as `/etc/ssl/certs/ca-certificates.crt`.",
    )
    mqtt_certificate: Path | None = Field(
        default=None, description="Certificate (PEM) to show to a broker that asks for one; needs the CA. Empty = none."
    )
    mqtt_key: Path | None = Field(
        default=None, description="Private key (PEM, no password) of that certificate; empty = it is in the same file."
    )
    mqtt_lines: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Lines that this collector owns, `site/workshop/line` separated by commas (`+` stands for any name)"
        ", where several share a plant; empty = all.",
    )
    broker_dir: Path | None = Field(
        default=None,
        description="Folder of the files that `filiere devices` writes for Mosquitto; empty = `broker` in the data"
        " folder.",
    )
    broker_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("localhost", "127.0.0.1"),
        description="Names and addresses, separated by commas, under which devices call the broker: its certificate"
        " names them.",
    )
    broker_pid_file: Path | None = Field(
        default=None,
        description="Mosquitto's `pid_file`, if it runs on this machine: `filiere devices` tells it to read its files"
        " again.",
    )

    log_retention_days: float = Field(
        default=30.0,
        ge=0.0,
        le=36_500.0,
        allow_inf_nan=False,
        description="How long the message log keeps what is recorded, days: so far back a rewind goes. 0 = until it is"
        " recorded.",
    )

    influx_url: str = Field(
        default="", description="Address of InfluxDB 2, such as `http://127.0.0.1:8086`; empty = the embedded store."
    )
    influx_token: SecretStr = Field(
        default=SecretStr(""), description="API token that may read and write the bucket. Needed with an address."
    )
    influx_org: str = Field(default="filiere", min_length=1, description="InfluxDB organisation.")
    influx_bucket: str = Field(default="filiere", min_length=1, description="InfluxDB bucket of the readings.")
    ledger_url: str = Field(
        default="",
        repr=False,  # it may hold a password
        description="SQLAlchemy address of the event ledger, such as `postgresql+psycopg://user:password@host/filiere`;"
        " empty = SQLite in the data folder.",
    )

    grafana_url: str = Field(default="", description="Address of Grafana; empty = the live page alone.")
    grafana_token: SecretStr = Field(
        default=SecretStr(""), description="Grafana service account token that may write folders and dashboards."
    )

    api_host: str = Field(default="127.0.0.1", min_length=1, description="Address that the API listens on.")
    api_port: Port = Field(default=8000, description="Port that the API listens on.")
    public_url: str = Field(
        default="",
        description="Address under which buyers reach the API, printed on certificates' pages; empty = `http://` with"
        " the API's host and port.",
    )

    signing_key: Path | None = Field(
        default=None,
        description="Private key that signs certificates (PEM); empty = `keys/issuer.pem` in the data folder.",
    )
    trusted_keys: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Public keys (PEM files, separated by commas) whose certificates are believed; empty ="
        " `keys/issuer.pub.pem` in the data folder.",
    )
    settle_s: float = Field(
        default=30.0,
        ge=0.0,
        le=86_400.0,
        allow_inf_nan=False,
        description="How long after a run's closing late readings are awaited before its certificate, s.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe log lines that are written."
    )

    @field_validator("trusted_keys", "mqtt_lines", "broker_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("mqtt_lines")
    @classmethod
    def _lines(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for line in value:
            if not _LINE.fullmatch(line):
                raise ValueError("lines such as caux/textile/t1, separated by commas, or nothing")
        return tuple(dict.fromkeys(value))

    @field_validator("influx_url", "grafana_url", "public_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if not value:
            return value
        try:
            parts = urlsplit(value)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("an address such as http://127.0.0.1:8086, or nothing")
        return value.rstrip("/")

    @field_validator(
        "data_dir", "signing_key", "mqtt_ca", "mqtt_certificate", "mqtt_key", "broker_dir", "broker_pid_file"
    )
    @classmethod
    def _home(cls, value: Path | None) -> Path | None:
        try:
            return value.expanduser() if value is not None else None
        except RuntimeError:
            raise ValueError("a path whose home folder exists") from None

    @model_validator(mode="after")
    def _influx_needs_a_token(self) -> Self:
        if self.influx_url and not self.influx_token.get_secret_value():
            raise ValueError(
                f"{variable('influx_token')}: got nothing; expected the token for {self.influx_url}, or no"
                f" {variable('influx_url')} for the embedded store"
            )
        return self

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        for name, needed in (("mqtt_certificate", "mqtt_ca"), ("mqtt_key", "mqtt_certificate")):
            if getattr(self, name) is not None and getattr(self, needed) is None:
                raise ValueError(f"{variable(name)}: got {getattr(self, name)} alone; expected {variable(needed)} too")
        return self

    def make_data_dir(self) -> None:
        """Make the data folder where there is none. Raises SettingsError: it cannot be."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"{variable('data_dir')}: got {self.data_dir} ({error.strerror}); expected a folder that may be made"
                " and written"
            ) from None

    @property
    def log_path(self) -> Path:
        """The message log."""
        return self.data_dir / "messages.sqlite"

    @property
    def intake_status_path(self) -> Path:
        """How the intake is, in its own words."""
        return self.data_dir / "intake.status"

    @property
    def receipts_status_path(self) -> Path:
        """How the receipts process is, in its own words."""
        return self.data_dir / "receipts.status"

    @property
    def subscriptions_path(self) -> Path:
        """Topic filters that the collector's session holds at the broker."""
        return self.data_dir / "subscriptions.json"

    @property
    def recorder_path(self) -> Path:
        """Bookmark, counts and quarantine of the recorder."""
        return self.data_dir / "recorder.sqlite"

    @property
    def embedded_store_path(self) -> Path:
        """The embedded readings store."""
        return self.data_dir / "readings.sqlite"

    @property
    def ledger_database_url(self) -> str:
        """`ledger_url`, else SQLite in the data folder."""
        return self.ledger_url or f"sqlite:///{self.data_dir / 'ledger.sqlite'}"

    @property
    def archive_dir(self) -> Path:
        """Sealed runs, one Parquet file each."""
        return self.data_dir / "archive"

    @property
    def certificates_dir(self) -> Path:
        """Certificates, one JSON file each."""
        return self.data_dir / "certificates"

    @property
    def keys_dir(self) -> Path:
        """The issuer's keys."""
        return self.data_dir / "keys"

    @property
    def broker_folder(self) -> Path:
        """`broker_dir`, else `broker` in the data folder."""
        return self.broker_dir or self.data_dir / "broker"

    @property
    def broker_key_path(self) -> Path:
        """Private key of the authority that signs the broker's certificate and the devices'."""
        return self.keys_dir / "broker-ca.key"

    @property
    def devices_dir(self) -> Path:
        """What each new device is to be given, until it has it."""
        return self.data_dir / "devices"

    @property
    def signing_key_path(self) -> Path:
        """`signing_key`, else the one in the data folder."""
        return self.signing_key or self.keys_dir / "issuer.pem"

    @property
    def trusted_key_paths(self) -> tuple[Path, ...]:
        """`trusted_keys`, else the issuer's own in the data folder."""
        return self.trusted_keys or (self.keys_dir / "issuer.pub.pem",)

    @property
    def public_base_url(self) -> str:
        """`public_url`, else `http://host:port` of the API; no slash at the end."""
        host = f"[{self.api_host}]" if ":" in self.api_host else self.api_host
        return self.public_url or f"http://{host}:{self.api_port}"


def load_settings(**overrides: Any) -> Settings:
    """Settings from `overrides` (field names), else the environment, else the defaults.

    Raises:
        SettingsError: names every variable that is wrong, with what was got (never a secret) and what was expected.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("\n".join(_complaints(error, overrides))) from None


def variable(field: str) -> str:
    """`mqtt_port` → `FILIERE_MQTT_PORT`."""
    return PREFIX + field.upper()


def unknown_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    """`FILIERE_…` variables that no setting reads: most often a typing error."""
    known = {variable(name) for name in Settings.model_fields}
    return tuple(sorted(name for name in environment if name.startswith(PREFIX) and name not in known))


def _complaints(error: ValidationError, overrides: Mapping[str, Any]) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_context=False):
        message = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            yield message
            continue
        field = str(problem["loc"][0])
        if problem["type"] == "extra_forbidden":
            yield f"{field}: got an unknown setting; expected one of {', '.join(Settings.model_fields)}"
            continue
        got = overrides[field] if field in overrides else os.environ.get(variable(field), "")
        shown = "a secret" if _secret(field) else repr(str(got)[:80])
        expected = message.removeprefix("Input should be ").removeprefix("a valid ").split(", unable")[0]
        yield f"{variable(field)}: got {shown}; expected {expected}: correct this setting"


def _secret(field: str) -> bool:
    return "SecretStr" in str(Settings.model_fields[field].annotation) or field == "ledger_url"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingLine:
    """One setting as people see it."""

    variable: str
    description: str
    default: str
    value: str
    """Secrets are masked."""


def setting_lines(settings: Settings) -> tuple[SettingLine, ...]:
    """Every setting, in the order of the class, secrets masked."""
    return tuple(
        SettingLine(
            variable=variable(name),
            description=cast("str", field.description),
            default=_shown(field.default),
            value=_shown(getattr(settings, name)) if name != "ledger_url" else _without_password(settings.ledger_url),
        )
        for name, field in Settings.model_fields.items()
    )


def _shown(value: Any) -> str:
    match value:
        case SecretStr():
            return MASK if value.get_secret_value() else ""
        case tuple():
            return ",".join(str(part) for part in value)
        case None:
            return ""
        case _:
            return str(value)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", f":{MASK}@")).geturl()


_PAGE_HEAD = (
    "# Settings",
    "",
    "Read from environment variables; one that is empty counts as not set. `filiere settings` shows what is in force",
    "and warns of `FILIERE_` variables that no setting reads. This page is made by `filiere settings --markdown`.",
    "",
    "| variable | default | what it is |",
    "|---|---|---|",
)


def settings_markdown() -> str:
    """The page `docs/settings.md`: every setting with its default. Does not depend on the environment."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = _shown(field.default)
        rows.append(f"| `{variable(name)}` | {default and f'`{default}`'} | {field.description} |")
    return "\n".join([*_PAGE_HEAD, *rows, ""])
