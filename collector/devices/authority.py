"""The broker's own certificate authority: who it is, who its devices are, and whose certificate counts no longer.

X.509 by RFC 5280, keys on P-256 (every TLS library for small devices has it). Pure: keys and times in, PEM out.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from filiere.clock import from_ns
from filiere.errors import SettingsError

AUTHORITY_DAYS = 20 * 365
CERTIFICATE_DAYS = 3 * 365
"""Of the broker and of a device. One that is lost is revoked; an expiry that nobody awaits stops a line."""
BACKDATED = timedelta(days=1)
"""A device whose clock is a little behind believes a new certificate at once."""
NAME_MAX = 64
"""Characters of a common name (RFC 5280, ub-common-name)."""
HOSTS_MAX = 100
_HOST = re.compile(r"(?=.{1,253}\Z)(?:\*\.)?[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate with its private key, as files hold them."""

    serial: int
    expires_ns: int
    certificate_pem: bytes
    key_pem: bytes


class Authority:
    """Signs the broker's certificate, the devices' and the list of those revoked."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def make(cls, name: str, now_ns: int) -> Self:
        """A new one, with a key of its own."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        certificate = (
            _builder(subject, subject, key.public_key(), now_ns, AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    @classmethod
    def load(cls, pem: bytes) -> Self:
        """One that was made before, from its key and its certificate. Raises SettingsError: that is not what it is."""
        with suppress(ValueError, TypeError, UnsupportedAlgorithm):
            key = load_pem_private_key(pem, password=None)
            certificate = x509.load_pem_x509_certificate(pem)
            if isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == certificate.public_key():
                return cls(key, certificate)
        raise SettingsError(
            "the broker's authority: got a file that is not a private key on P-256 and its certificate, in PEM; put it"
            " back from a backup"
        )

    @property
    def key_pem(self) -> bytes:
        """The private key: whoever has it can pass for any device."""
        return _key_pem(self._key)

    @property
    def certificate_pem(self) -> bytes:
        """What devices and the broker believe."""
        return self._certificate.public_bytes(Encoding.PEM)

    @property
    def expires_ns(self) -> int:
        """UTC ns."""
        return _ns(self._certificate.not_valid_after_utc)

    def issued(self, certificate_pem: bytes) -> bool:
        """Whether a certificate is one that it signed."""
        with suppress(ValueError, TypeError, InvalidSignature):
            x509.load_pem_x509_certificate(certificate_pem).verify_directly_issued_by(self._certificate)
            return True
        return False

    def server(self, hosts: Sequence[str], now_ns: int) -> Certificate:
        """A certificate for the broker, for each name and address in `hosts`. Raises SettingsError."""
        names = x509.SubjectAlternativeName([_host(host) for host in hosts[:HOSTS_MAX]])
        return self._issue(_name("broker"), ExtendedKeyUsageOID.SERVER_AUTH, now_ns, names)

    def client(self, name: str, now_ns: int) -> Certificate:
        """A certificate for a device; the broker takes its common name for the account. Raises SettingsError."""
        if not 1 <= len(name) <= NAME_MAX:
            raise SettingsError(
                f"{name}: got a name of {len(name)} characters; a certificate holds {NAME_MAX}: give this device a"
                " password instead, or shorter ids in the plant file"
            )
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:filiere:{name}")])
        return self._issue(_name(name), ExtendedKeyUsageOID.CLIENT_AUTH, now_ns, names)

    def revocation_list(self, revoked: Mapping[int, int], *, after_ns: int, now_ns: int) -> bytes:
        """The list of revoked certificates, serial → when, in PEM.

        Its time is later than `after_ns`, that of the list before: of two lists a running broker believes the later
        one. It does not expire before the authority: to a broker with an expired list every device is a stranger.
        """
        time_ns = max(now_ns - _whole_ns(BACKDATED), after_ns + _whole_ns(timedelta(seconds=1)))
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(from_ns(time_ns))
            .next_update(self._certificate.not_valid_after_utc)
            .add_extension(x509.CRLNumber(len(revoked)), critical=False)
            .add_extension(self._identifier(), critical=False)
        )
        for serial, revoked_ns in revoked.items():
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(from_ns(revoked_ns))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _issue(
        self, subject: x509.Name, use: x509.ObjectIdentifier, now_ns: int, names: x509.SubjectAlternativeName
    ) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(subject, self._certificate.subject, key.public_key(), now_ns, CERTIFICATE_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(self._identifier(), critical=False)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Certificate(
            serial=certificate.serial_number,
            expires_ns=_ns(certificate.not_valid_after_utc),
            certificate_pem=certificate.public_bytes(Encoding.PEM),
            key_pem=_key_pem(key),
        )

    def _identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())


def read_server(certificate_pem: bytes) -> tuple[tuple[str, ...], int]:
    """The hosts that a broker's certificate names, and when it expires (UTC ns). Raises ValueError: it is none."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), _ns(certificate.not_valid_after_utc)
    return tuple(str(name.value) for name in names), _ns(certificate.not_valid_after_utc)


def read_revocation_list(pem: bytes, authority_pem: bytes) -> tuple[frozenset[int], int]:
    """The serials on a list of revoked certificates, and its time (UTC ns). Raises ValueError: it is none, or another
    authority's.
    """
    revoked = x509.load_pem_x509_crl(pem)
    key = x509.load_pem_x509_certificate(authority_pem).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not revoked.is_signature_valid(key):
        raise ValueError("signed by another authority")
    return frozenset(entry.serial_number for entry in revoked), _ns(revoked.last_update_utc)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now_ns: int, days: int
) -> x509.CertificateBuilder:
    now = from_ns(now_ns)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    if _HOST.fullmatch(host):
        return x509.DNSName(host)
    raise SettingsError(
        f"FILIERE_BROKER_HOSTS: got {host[:NAME_MAX]!r}; expected host names and addresses separated by commas, such as"
        " broker.workshop.lan,192.168.1.5"
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


def _whole_ns(span: timedelta) -> int:
    return int(span.total_seconds()) * 1_000_000_000
