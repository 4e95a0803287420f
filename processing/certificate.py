"""The certificate: a statement, signed. Made by `sign`, believed by `verify` only after computing everything again.

File = RFC 8785 canonical JSON of {"signature": {…}, "statement": {…}}, nothing else before, between or after.
Signed bytes = "filiere-statement/1", a line feed, then the canonical JSON of the statement. Ed25519 (RFC 8032).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from filiere.archive import SealedRun
from filiere.plant import Label
from processing.checks import Check, recomputed_checks, sealed_checks
from processing.keys import key_id, load_public_key, raw_bytes
from processing.statement import NotBelieved, Part, Statement, signed_bytes, to_json

CERTIFICATE_BYTES_MAX = 4 * 1024 * 1024
_SHOWN_BYTES = 12
_SAID = 200
"""Characters of another library's message that are passed on."""
Word = Literal["authentic", "not_authentic", "undecided"]


class Signature(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who signed, and the signature."""

    algorithm: Literal["Ed25519"]
    key_id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
    public_key: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    value: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}\Z")]


class Certificate(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A statement with its signature."""

    statement: Statement
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result of checking a certificate."""

    checks: tuple[Check, ...]
    statement: Statement | None
    """What the certificate says, believed or not; None when it cannot be read."""
    key_id: str
    """The key that it names; empty when it cannot be read."""

    @property
    def word(self) -> Word:
        """`undecided`: nothing is wrong, but no trusted key was given."""
        if self.statement is None or any(check.ok is False for check in self.checks):
            return "not_authentic"
        return "authentic" if any(check.name == "key" and check.ok for check in self.checks) else "undecided"

    @property
    def authentic(self) -> bool:
        """Signed by a trusted key, and every number holds."""
        return self.word == "authentic"


def sign(statement: Statement, key: Ed25519PrivateKey) -> bytes:
    """The bytes of a certificate file. The same statement and key give the same bytes (RFC 8032 is deterministic)."""
    public = key.public_key()
    signature = Signature(
        algorithm="Ed25519",
        key_id=key_id(public),
        public_key=raw_bytes(public).hex(),
        value=key.sign(signed_bytes(statement)).hex(),
    )
    return rfc8785.dumps(to_json(Certificate(statement=statement, signature=signature)))


def read_certificate(content: bytes) -> Certificate:
    """Bytes → Certificate, believing nothing yet.

    Raises:
        NotBelieved: too large, not canonical JSON (the first differing byte is named), or not of this format (the path
            is).
    """
    if len(content) > CERTIFICATE_BYTES_MAX:
        raise NotBelieved(
            Label(
                fr=f"plus de {CERTIFICATE_BYTES_MAX} octets : ce n'est pas un certificat",
                en=f"more than {CERTIFICATE_BYTES_MAX} bytes: this is no certificate",
            )
        )
    try:
        document = json.loads(content.decode())
        canonical = rfc8785.dumps(document)
    except (ValueError, RecursionError) as error:  # both libraries' own errors are ValueErrors
        said = str(error)[:_SAID]
        raise NotBelieved(
            Label(fr=f"ce n'est pas du JSON (en anglais : {said})", en=f"this is not JSON ({said})")
        ) from None
    if canonical != content:
        raise NotBelieved(_first_difference(content, canonical))
    return _convert(document)


def _convert(document: Any) -> Certificate:
    try:
        return msgspec.convert(document, Certificate)
    except msgspec.ValidationError as error:
        said = str(error)[:_SAID]
        raise NotBelieved(
            Label(
                fr=f"ce n'est pas la forme d'un certificat (en anglais : {said})",
                en=f"this has not the form of a certificate ({said})",
            )
        ) from None


def _first_difference(content: bytes, canonical: bytes) -> Label:
    both = min(len(content), len(canonical))
    at = next((i for i in range(both) if content[i] != canonical[i]), both)
    got, expected = content[at : at + _SHOWN_BYTES], canonical[at : at + _SHOWN_BYTES]
    return Label(
        fr=f"octet {at} : lu {got!r}, attendu {expected!r}, la forme canonique (RFC 8785) : le fichier a été réécrit,"
        " demander l'original",
        en=f"byte {at}: got {got!r}; expected {expected!r}, the one canonical form (RFC 8785): the file was rewritten,"
        " ask for the original",
    )


def verify(content: bytes, *, trusted: Sequence[bytes], readings: Sequence[SealedRun] = ()) -> Verification:
    """Check a certificate: form, key, signature, and every number computed again from what it discloses.

    `trusted`: public keys in PEM. `readings`: sealed runs; for each one that is given, the Merkle root and the
    statistics are computed again too. Never raises for a bad certificate: the checks say what is wrong.

    Raises:
        SettingsError: a trusted key is not an Ed25519 public key in PEM.
    """
    keys = [load_public_key(pem) for pem in trusted]
    try:
        certificate = read_certificate(content)
    except NotBelieved as error:
        said = error.label
        wrong = Label(fr=f"Fichier illisible ou réécrit : {said.fr}", en=f"File unreadable or rewritten: {said.en}")
        return Verification(checks=(Check(name="form", ok=False, label=wrong),), statement=None, key_id="")
    statement, signature = certificate.statement, certificate.signature
    checks = (
        Check(name="form", ok=True, label=Label(fr="Forme canonique (RFC 8785)", en="Canonical form (RFC 8785)")),
        _key_check(signature, keys),
        _signature_check(statement, signature),
        *recomputed_checks(statement),
        *sealed_checks(statement, readings),
    )
    return Verification(checks=checks, statement=statement, key_id=signature.key_id)


def _key_check(signature: Signature, trusted: Sequence[Ed25519PublicKey]) -> Check:
    if not trusted:
        return Check(
            name="key",
            ok=None,
            label=Label(
                fr="Aucune clé de confiance : demander à l'émetteur sa clé publique"
                f" (identifiant {signature.key_id}), par une autre voie que ce certificat, puis --key FICHIER.pem",
                en=f"No trusted key: ask the issuer for their public key (id {signature.key_id}), by another way than"
                " this certificate, then --key FILE.pem",
            ),
        )
    known = any(raw_bytes(key).hex() == signature.public_key for key in trusted)
    ids = ", ".join(key_id(key) for key in trusted)
    return Check(
        name="key",
        ok=known,
        label=Label(fr=f"Clé de confiance {signature.key_id}", en=f"Trusted key {signature.key_id}")
        if known
        else Label(
            fr=f"Signé par la clé {signature.key_id} ; clés de confiance : {ids}. Si l'émetteur a changé de clé, la lui"
            " demander par une autre voie que ce certificat",
            en=f"Signed by key {signature.key_id}; trusted keys: {ids}. If the issuer changed their key, ask them for"
            " it by another way than this certificate",
        ),
    )


def _signature_check(statement: Statement, signature: Signature) -> Check:
    wrong = _signature_wrong(statement, signature)
    if wrong is None:
        return Check(
            name="signature", ok=True, label=Label(fr="Signature Ed25519 valable", en="Ed25519 signature valid")
        )
    return Check(name="signature", ok=False, label=wrong)


def _signature_wrong(statement: Statement, signature: Signature) -> Label | None:
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.public_key))
        key.verify(bytes.fromhex(signature.value), signed_bytes(statement))
    except (InvalidSignature, ValueError):
        return Label(
            fr="La signature ne correspond pas : le contenu ou la signature a été changé",
            en="The signature does not match: the content or the signature was changed",
        )
    if not signature.key_id == statement.issuer.key_id == key_id(key):
        return Label(
            fr="L'identifiant de clé annoncé n'est pas celui de la clé",
            en="The key id that is stated is not that of the key",
        )
    return None
