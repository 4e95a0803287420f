"""Where the MQTT broker is, as whom to connect, and whom to believe: what every MQTT client of this program takes."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from filiere.errors import SettingsError
from filiere.settings import Settings, variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files (PEM) of an encrypted connection."""

    ca: Path
    """The authority whose brokers are believed; the broker's certificate must also name the host that is called."""
    certificate: Path | None = None
    """The client's own certificate, for a broker that wants one."""
    key: Path | None = None
    """Its private key, not encrypted; None = it is in the certificate's file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is and as whom to connect."""

    host: str
    port: int
    client_id: str
    """The broker keeps the session by this name; of two clients with one name it drops the first."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    """None = not encrypted."""

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"


def broker_of(settings: Settings, suffix: str = "") -> Broker:
    """The broker of the settings. `suffix` is added to the client id: each process has its own session."""
    password = settings.mqtt_password
    tls = None
    if settings.mqtt_ca is not None:
        tls = Tls(ca=settings.mqtt_ca, certificate=settings.mqtt_certificate, key=settings.mqtt_key)
    return Broker(
        host=settings.mqtt_host,
        port=settings.mqtt_port,
        client_id=settings.mqtt_client_id + suffix,
        username=settings.mqtt_username,
        password=None if password is None else password.get_secret_value(),
        tls=tls,
    )


def ssl_context(tls: Tls) -> ssl.SSLContext:
    """What `ssl` needs to call the broker: TLS 1.2 or newer, certificate and host name checked.

    Raises:
        SettingsError: a file cannot be read, is not what it should be, or the key does not fit the certificate.
    """
    _readable("mqtt_ca", tls.ca)
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca)
    except ssl.SSLError:
        raise _not_a("certificate of an authority in PEM (BEGIN CERTIFICATE)", "mqtt_ca", tls.ca) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certificate is None:
        return context

    _readable("mqtt_certificate", tls.certificate)
    key = tls.key or tls.certificate
    key_setting = "mqtt_key" if tls.key else "mqtt_certificate"
    _readable(key_setting, key)
    asked_for_password = False

    def no_password() -> str:
        nonlocal asked_for_password
        asked_for_password = True
        return ""  # else OpenSSL asks at the terminal, where nobody is

    try:
        context.load_cert_chain(tls.certificate, key, password=no_password)
    except ssl.SSLError as error:
        if asked_for_password:
            raise _not_a("private key without a password", key_setting, key) from None
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _not_a(f"private key of the certificate {tls.certificate}", key_setting, key) from None
        if not _has_certificate(tls.certificate):
            raise _not_a("certificate in PEM (BEGIN CERTIFICATE)", "mqtt_certificate", tls.certificate) from None
        raise _not_a("private key in PEM (BEGIN PRIVATE KEY)", key_setting, key) from None
    return context


def _readable(setting: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:  # the second: a NUL in the name
        got = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"{variable(setting)}: got {path} ({got}); expected a PEM file that may be read") from None


def _has_certificate(path: Path) -> bool:
    probe = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        probe.load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


def _not_a(expected: str, setting: str, path: Path) -> SettingsError:
    return SettingsError(f"{variable(setting)}: got {path}; expected the {expected}: correct the file or this setting")
