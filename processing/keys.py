"""The issuer's Ed25519 key: made at first use, readable by its owner alone, and named by a digest."""

import contextlib
import hashlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from filiere.errors import SettingsError
from filiere.whole_file import AlreadyThere, whole_file

KEY_FILE_MODE = 0o600
KEY_DIR_MODE = 0o700
PUBLIC_FILE_MODE = 0o644
KEY_FILE_BYTES_MAX = 16 * 1024
KEY_ID_BYTES = 16
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def load_or_make_key(path: Path) -> Ed25519PrivateKey:
    """The key in `path`; made there, mode 0600, with its public half beside it, when there is none yet.

    Two processes that come first at the same time end with the same key: the file appears whole or not at all.

    Raises:
        SettingsError: others may read the file, it is not an Ed25519 private key in PEM, or it cannot be made.
    """
    try:
        return _load_or_make_key(path)
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be made or read ({error.strerror}); expected the issuer's key in a folder that may be"
            " written: see FILIERE_SIGNING_KEY"
        ) from None


def _load_or_make_key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        _make_key(path)
    key = load_key(path)
    public = public_path(path)
    if not public.exists():
        _write_once(public, public_pem(key.public_key()), PUBLIC_FILE_MODE)
    if public.read_bytes() != public_pem(key.public_key()):
        raise SettingsError(f"{public}: got the public half of another key than {path}; remove it, it is written anew")
    return key


def load_key(path: Path) -> Ed25519PrivateKey:
    """The private key in `path`. Raises SettingsError: missing, readable by others, or not a key."""
    pem = _read_private(path)
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingsError(
            f"{path}: got a file that is not a private key in PEM; expected an Ed25519 one without password: put it"
            " there, or move the file aside and a new key is made"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{path}: got a key of another kind; expected Ed25519")
    return key


def load_public_key(pem: bytes) -> Ed25519PublicKey:
    """A public key in PEM. Raises SettingsError."""
    if b"PRIVATE KEY-----" in pem:
        raise SettingsError(
            "got a private key; expected the issuer's public key, issuer.pub.pem: a private key is never handed out"
        )
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError("got a file that is not a public key in PEM; ask the issuer for theirs") from None
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError("got a public key of another kind; expected Ed25519")
    return key


def public_path(path: Path) -> Path:
    """`issuer.pem` → `issuer.pub.pem`."""
    return path.with_name(f"{path.stem}.pub.pem")


def public_pem(key: Ed25519PublicKey) -> bytes:
    """What is given to those who verify."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def raw_bytes(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of RFC 8032."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(key: Ed25519PublicKey) -> str:
    """First 16 bytes of the SHA-256 of the 32 raw bytes, hex: what people compare by eye."""
    return hashlib.sha256(raw_bytes(key)).digest()[:KEY_ID_BYTES].hex()


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=KEY_DIR_MODE)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write_once(path, pem, KEY_FILE_MODE)


def _write_once(path: Path, content: bytes, mode: int) -> None:
    """Make `path`, or leave the one that is there."""
    with contextlib.suppress(AlreadyThere), whole_file(path, mode=mode) as temporary:
        temporary.write_bytes(content)


def _read_private(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); expected the issuer's private key") from None
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & _OTHERS:
            raise SettingsError(f"{path}: got mode {mode:04o}, others may read the key; do: chmod 600 {path}")
        return file.read(KEY_FILE_BYTES_MAX)
