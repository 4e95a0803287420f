"""Who may do what at the broker: accounts, and the files that Mosquitto reads.

`accounts.json` is the truth. Every other file follows from it and the plant model, and is written anew, whole, with
each change: what somebody wrote there by hand goes, and what a killed command left undone is done by the next.

Devices and Filière's own services have files of their own, for listeners of their own: a device's account is none on
the services' listener, where a client may call itself by any client id, and so take over the collector's session.
"""

import base64
import enum
import fcntl
import hashlib
import hmac
import re
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Self

import msgspec

from collector.codec import KINDS, TOPIC_ROOT
from collector.devices.authority import NAME_MAX, Authority, read_revocation_list, read_server
from collector.recorder.validation import TERMINAL
from filiere.clock import NS_PER_S, Clock
from filiere.errors import NotFound, SettingsError
from filiere.plant import Plant
from filiere.settings import Settings
from filiere.whole_file import whole_file

RECEIPT = "receipt"
EXPIRES_SOON_NS = 30 * 24 * 3600 * NS_PER_S
"""A certificate is made again from here on: the broker's by itself, a device's by `add --renew`."""

PASSWORD_BYTES = 24
SALT_BYTES = 12
PBKDF2_ROUNDS = 101
"""What Mosquitto 2's own program uses, and what its one thread computes at each connection; the password is random."""

_OWNER, _BROKER, _ALL = 0o600, 0o640, 0o644
"""Who reads a file: its owner; the broker too, by the folder's group; everybody."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SHOWN_MAX = 80


class Role(enum.StrEnum):
    """What an account is for."""

    DEVICE = "device"
    GATEWAY = "gateway"
    """One connection that speaks for several devices."""
    COLLECTOR = "collector"
    SIMULATOR = "simulator"
    """A plant that does not exist: may write what any device may. For demonstrations."""


SERVICES = (Role.COLLECTOR, Role.SIMULATOR)
"""Filière's own: on a listener of their own."""
_GATEWAY = re.compile(r"[a-z0-9_-]{1,64}")


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One name at the broker. It proves itself with a password, a certificate, or either."""

    name: str
    """A device's path, `caux/textile/t1/extruder`; a gateway's name; else `collector` or `simulator`."""
    role: Role
    devices: tuple[str, ...] = ()
    """Paths of the devices that it speaks for."""
    password: str | None = None
    """As Mosquitto keeps it, `$7$rounds$salt$digest`."""
    serial: str | None = None
    """Of its certificate, hex; None = it has none."""
    expires_ns: int | None = None
    """When its certificate does, UTC ns."""


class _Register(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`accounts.json`."""

    version: int = 1
    accounts: tuple[Account, ...] = ()
    revoked: dict[str, int] = {}
    """Serial (hex) → when, UTC ns."""

    def account(self, name: str) -> Account | None:
        return next((account for account in self.accounts if account.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One thing that an account may do."""

    access: str
    """`read` or `write`."""
    topic: str
    """A topic, or a filter with wildcards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What a new account is given, once: nothing but its digest stays here."""

    account: Account
    grants: tuple[Grant, ...]
    authority_pem: bytes
    """To believe the broker."""
    password: str | None = None
    certificate_pem: bytes | None = None
    key_pem: bytes | None = None

    def files(self) -> Mapping[str, bytes]:
        """File name → content, for whoever carries it to the device."""
        parts = {
            "ca.crt": self.authority_pem,
            "username": self.account.name.encode(),
            "password": self.password and self.password.encode(),
            "client.crt": self.certificate_pem,
            "client.key": self.key_pem,
        }
        return {name: content for name, content in parts.items() if content}


def known_devices(plant: Plant) -> tuple[str, ...]:
    """Every device of the plant by its path: the units' and each line's terminal."""
    units = [f"{line.path}/{unit.id}" for line, unit in plant.devices()]
    return tuple(sorted({*units, *(f"{line.path}/{TERMINAL}" for line in plant.lines)}))


def grants_of(account: Account, plant: Plant) -> tuple[Grant, ...]:
    """What an account may do; nothing else is allowed.

    A device writes on its own topics and reads its own receipts, a gateway on those of its devices. The collector reads
    what all write and answers all.
    """
    match account.role:
        case Role.DEVICE | Role.GATEWAY:
            write = [f"{TOPIC_ROOT}/{device}/{kind}" for device in account.devices for kind in KINDS]
            read = [f"{TOPIC_ROOT}/{device}/{RECEIPT}" for device in account.devices]
            write += _foreign_filters(plant, frozenset(account.devices))
        case Role.COLLECTOR:
            write = [f"{TOPIC_ROOT}/+/+/+/+/{RECEIPT}"]
            read = [f"{TOPIC_ROOT}/+/+/+/+/{kind}" for kind in KINDS] + _foreign_filters(plant)
        case Role.SIMULATOR:
            write = [f"{TOPIC_ROOT}/+/+/+/+/{kind}" for kind in KINDS]
            read = [f"{TOPIC_ROOT}/+/+/+/+/{RECEIPT}"]
    return (
        *(Grant(access="write", topic=topic) for topic in write),
        *(Grant(access="read", topic=topic) for topic in read),
    )


def password_hash(password: str, salt: bytes) -> str:
    """`$7$rounds$salt$digest`, PBKDF2-HMAC-SHA512: what follows the name in Mosquitto 2's password file."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, PBKDF2_ROUNDS)
    return f"$7${PBKDF2_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def is_password(password: str, hashed: str | None) -> bool:
    """Whether `hashed` was made of this password."""
    parts = (hashed or "").split("$")
    return len(parts) == 5 and hmac.compare_digest(password_hash(password, base64.b64decode(parts[3])), hashed or "")


class Devices:
    """The broker's folder, locked: one command at a time changes it."""

    def __init__(self, *, settings: Settings, plant: Plant, clock: Clock) -> None:
        self.folder = settings.broker_folder
        self._key_path = settings.broker_key_path
        self._hosts = settings.broker_hosts
        self._plant = plant
        self._clock = clock
        self._register = self._read_register()

    @classmethod
    @contextmanager
    def open(cls, *, settings: Settings, plant: Plant, clock: Clock) -> Iterator[Self]:
        """Hold the folder while the block runs; made when it is missing.

        Raises:
            SettingsError: the folder or a file in it cannot be made, read or written, or is not what it should be.
        """
        folder = settings.broker_folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            with (folder / ".lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield cls(settings=settings, plant=plant, clock=clock)
        except OSError as error:
            raise SettingsError(
                f"{error.filename or folder}: {error.strerror}; expected a folder that may be made and written:"
                " see FILIERE_BROKER_DIR"
            ) from None

    @property
    def accounts(self) -> tuple[Account, ...]:
        """All accounts, by name."""
        return self._register.accounts

    def grants(self, account: Account) -> tuple[Grant, ...]:
        """What an account may do."""
        return grants_of(account, self._plant)

    def is_known(self, account: Account) -> bool:
        """Whether the plant still has all devices that it speaks for; a service speaks for none."""
        return set(account.devices) <= set(known_devices(self._plant))

    def authority_expires_ns(self) -> int:
        """When the authority's own certificate does, and with it all that it signed."""
        return self._authority().expires_ns

    def server_expires_ns(self) -> int:
        """When the broker's certificate does. Raises SettingsError: there is none yet."""
        return self._server()[1]

    def prepare(self) -> tuple[str, ...]:
        """Make what the broker needs to start, and write all files anew; the names of those that changed.

        The broker's certificate is renewed when it expires soon, or the hosts or the authority are others.
        """
        before = self._contents()
        authority = self._authority()
        path = self.folder / "server.pem"
        hosts, expires_ns = self._server() if path.exists() and authority.issued(path.read_bytes()) else ((), 0)
        if set(hosts) != set(self._hosts) or expires_ns - self._clock() < EXPIRES_SOON_NS:
            server = authority.server(self._hosts, self._clock())
            self._write("server.pem", server.key_pem + server.certificate_pem, _BROKER)
        self._save(self._register)
        after = self._contents()
        return tuple(name for name in sorted(after) if after[name] != before.get(name))

    def add(
        self,
        name: str,
        role: Role,
        *,
        devices: Sequence[str] = (),
        password: str | None = None,
        certificate: bool = False,
        renew: bool = False,
    ) -> Secret:
        """Make an account, or give one that is there another way to prove itself.

        `devices` are those of a gateway. `password` is one that is already decided; by default it is random. With
        `certificate` there is none.

        Raises:
            NotFound: the plant has no such device.
            SettingsError: it has that proof already, and `renew` was not asked for; a gateway has no name or no device.
        """
        account = self._register.account(name) or Account(name=name, role=role)
        if (account.serial if certificate else account.password) is not None and not renew:
            proof = "certificate" if certificate else "password"
            raise SettingsError(
                f"{name}: got an account that has a {proof}; to make another, and end that one: --renew"
            )
        account = msgspec.structs.replace(account, role=role, devices=self._spoken_for(name, role, devices))
        self.prepare()
        authority = self._authority()
        revoked = dict(self._register.revoked)
        made, word = None, None
        if certificate:
            if account.serial is not None:
                revoked[account.serial] = self._clock()
            made = authority.client(name, self._clock())
            account = msgspec.structs.replace(account, serial=f"{made.serial:x}", expires_ns=made.expires_ns)
        else:
            word = password or secrets.token_urlsafe(PASSWORD_BYTES)
            account = msgspec.structs.replace(account, password=password_hash(word, secrets.token_bytes(SALT_BYTES)))
        others = [other for other in self._register.accounts if other.name != name]
        accounts = tuple(sorted([*others, account], key=lambda one: one.name))
        self._save(msgspec.structs.replace(self._register, accounts=accounts, revoked=revoked))
        return Secret(
            account=account,
            grants=self.grants(account),
            authority_pem=authority.certificate_pem,
            password=word,
            certificate_pem=None if made is None else made.certificate_pem,
            key_pem=None if made is None else made.key_pem,
        )

    def _spoken_for(self, name: str, role: Role, devices: Sequence[str]) -> tuple[str, ...]:
        known = known_devices(self._plant)
        if role is Role.GATEWAY and (not devices or not _GATEWAY.fullmatch(name) or name in SERVICES):
            raise SettingsError(
                f"{name[:_SHOWN_MAX]!r} for {len(devices)} devices: got no name of a gateway, or no device of it;"
                " expected 1 to 64 of [a-z0-9_-], not a service's name, and the devices that it speaks for"
            )
        spoken_for = (name,) if role is Role.DEVICE else tuple(dict.fromkeys(devices))
        for device in spoken_for:
            if device not in known:
                line = device.rpartition("/")[0]
                near = [path for path in known if path.startswith(f"{line}/")] or list(known)
                raise NotFound(
                    f"got device {device[:_SHOWN_MAX]!r}; expected one of the plant model: {', '.join(near)}"
                )
        return spoken_for

    def revoke(self, name: str) -> Account:
        """End an account: its password, what it may do, and its certificate. Raises NotFound."""
        account = self._register.account(name)
        if account is None:
            known = ", ".join(other.name for other in self._register.accounts) or "none"
            raise NotFound(f"got {name[:_SHOWN_MAX]!r}, which has no account at the broker; known: {known}")
        revoked = dict(self._register.revoked)
        if account.serial is not None:
            revoked[account.serial] = self._clock()
        accounts = tuple(other for other in self._register.accounts if other.name != name)
        self._save(msgspec.structs.replace(self._register, accounts=accounts, revoked=revoked))
        return account

    def _save(self, register: _Register) -> None:
        """The accounts, then what follows from them; a command that is killed in between is finished by the next."""
        self._write("accounts.json", msgspec.json.format(msgspec.json.encode(register), indent=1), _OWNER)
        self._register = register
        for prefix, of_devices in (("", True), ("services.", False)):
            accounts = [one for one in register.accounts if (one.role not in SERVICES) == of_devices]
            passwords = "".join(f"{one.name}:{one.password}\n" for one in accounts if one.password is not None)
            acl = "\n".join(_acl_of(one, self.grants(one)) for one in accounts)
            self._write(f"{prefix}passwords", passwords.encode(), _BROKER)
            self._write(f"{prefix}acl", f"# Written by `filiere devices`: changes are lost.\n\n{acl}".encode(), _BROKER)
        self._write_revocations({int(serial, 16): revoked_ns for serial, revoked_ns in register.revoked.items()})

    def _write_revocations(self, revoked: Mapping[int, int]) -> None:
        listed, listed_ns = None, 0
        with suppress(FileNotFoundError, ValueError):  # missing, damaged or another authority's: it is made anew
            authority_pem = (self.folder / "ca.crt").read_bytes()
            listed, listed_ns = read_revocation_list((self.folder / "crl.pem").read_bytes(), authority_pem)
        if listed != frozenset(revoked):
            pem = self._authority().revocation_list(revoked, after_ns=listed_ns, now_ns=self._clock())
            self._write("crl.pem", pem, _ALL)

    def _write(self, name: str, content: bytes, mode: int) -> None:
        path = self.folder / name
        if path.exists() and path.read_bytes() == content:
            return
        with whole_file(path, mode=mode, replace=True) as temporary:
            temporary.write_bytes(content)

    def _authority(self) -> Authority:
        """The authority; made at first use. Key and certificate are one file, so that no kill can part them."""
        certificate_path = self.folder / "ca.crt"
        if not self._key_path.exists():
            if certificate_path.exists():
                raise SettingsError(
                    f"{self._key_path}: is not there, and {certificate_path} is: put the key back from a backup, or"
                    f" move {certificate_path} away: a new authority is made, and every device needs its ca.crt and,"
                    " where it has one, a new certificate"
                )
            made = Authority.make(f"Filiere broker authority {self._plant.site}"[:NAME_MAX], self._clock())
            self._key_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with whole_file(self._key_path, mode=_OWNER) as temporary:
                temporary.write_bytes(made.key_pem + made.certificate_pem)
        mode = stat.S_IMODE(self._key_path.stat().st_mode)
        if mode & _OTHERS:
            raise SettingsError(
                f"{self._key_path}: got mode {mode:04o}, others may read the key; do: chmod 600 {self._key_path}"
            )
        authority = Authority.load(self._key_path.read_bytes())
        self._write("ca.crt", authority.certificate_pem, _ALL)
        return authority

    def _server(self) -> tuple[tuple[str, ...], int]:
        path = self.folder / "server.pem"
        try:
            return read_server(path.read_bytes())
        except FileNotFoundError:
            raise SettingsError(f"{path}: is not there yet; do: filiere devices prepare") from None
        except ValueError:
            raise SettingsError(
                f"{path}: got a file that is no certificate in PEM; do: filiere devices prepare"
            ) from None

    def _read_register(self) -> _Register:
        path = self.folder / "accounts.json"
        try:
            register = msgspec.json.decode(path.read_bytes(), type=_Register)
        except FileNotFoundError:
            return _Register()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{path}: got a file that cannot be read ({error}); put it back from a backup"
            ) from None
        if register.version != 1:
            raise SettingsError(f"{path}: got version {register.version}; expected 1: a newer program wrote it")
        return register

    def _contents(self) -> dict[str, bytes]:
        return {
            path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file() and path.name[0] != "."
        }


def own_account(settings: Settings) -> tuple[Role, str] | None:
    """The service that these settings connect as, and its password; None: they name no service's account."""
    password = settings.mqtt_password
    if settings.mqtt_username not in SERVICES or password is None:
        return None
    return Role(settings.mqtt_username), password.get_secret_value()


def _acl_of(account: Account, grants: tuple[Grant, ...]) -> str:
    return "".join([f"user {account.name}\n", *(f"topic {grant.access} {grant.topic}\n" for grant in grants)])


def _foreign_filters(plant: Plant, devices: frozenset[str] | None = None) -> list[str]:
    """Topics on which devices publish in their own manner: of some devices, or of all."""
    filters: dict[str, None] = {}
    for binding in plant.bindings:
        own = {word: path for word, path in binding.devices.items() if devices is None or path in devices}
        if own:
            filters.update((topic, None) for _line, topic in replace(binding, devices=own).filters())
    return list(filters)
