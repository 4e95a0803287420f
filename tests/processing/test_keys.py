import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from filiere.errors import SettingsError
from processing.keys import key_id, load_key, load_or_make_key, load_public_key, public_path, public_pem, raw_bytes
from tests.processing.builders import KEY


def test_the_key_is_made_at_first_use_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "issuer.pem"
    mask = os.umask(0)
    try:
        key = load_or_make_key(path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public_path(path) == tmp_path / "keys" / "issuer.pub.pem"
    assert public_path(path).read_bytes() == public_pem(key.public_key())
    assert raw_bytes(load_or_make_key(path).public_key()) == raw_bytes(key.public_key())
    assert sorted(each.name for each in path.parent.iterdir()) == ["issuer.pem", "issuer.pub.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_may_read_is_refused_with_the_command_that_mends_it(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "issuer.pem"
    load_or_make_key(path)
    path.chmod(mode)
    with pytest.raises(SettingsError, match=f"chmod 600 {path}"):
        load_or_make_key(path)


def test_many_who_come_first_end_with_one_key(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "issuer.pem"
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: raw_bytes(load_or_make_key(path).public_key()), range(16)))
    assert len(set(keys)) == 1


def test_a_public_half_of_another_key_is_said(tmp_path: Path) -> None:
    path = tmp_path / "issuer.pem"
    load_or_make_key(path)
    public_path(path).write_bytes(public_pem(KEY.public_key()))
    with pytest.raises(SettingsError, match="another key"):
        load_or_make_key(path)


def test_what_is_not_an_ed25519_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "issuer.pem"
    path.write_bytes(b"not a key")
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="not a private key"):
        load_key(path)
    other = generate_private_key(SECP256R1())
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(SettingsError, match="expected Ed25519"):
        load_key(path)
    with pytest.raises(SettingsError, match="expected Ed25519"):
        load_public_key(other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(SettingsError, match="not a public key"):
        load_public_key(b"not a key")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_key(tmp_path / "missing.pem")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file stands where the folder should be")
    with pytest.raises(SettingsError, match="cannot be made or read"):
        load_or_make_key(tmp_path / "keys" / "issuer.pem")


def test_the_key_id_is_the_start_of_the_digest_of_the_raw_key() -> None:
    assert key_id(KEY.public_key()) == "56475aa75463474c0285df5dbf2bcab7"
