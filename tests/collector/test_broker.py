"""The broker of the settings, and the files for TLS: what is wrong with one is said in words."""

import ssl

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from collector.broker import Broker, Tls, broker_of, ssl_context
from filiere.errors import SettingsError
from filiere.settings import load_settings
from tests.collector.certificates import Authority, key_text


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def test_the_broker_of_the_settings():
    settings = load_settings(
        mqtt_host="broker",
        mqtt_port=8883,
        mqtt_client_id="hall-2",
        mqtt_username="u",
        mqtt_password="p",
        mqtt_ca="ca.pem",
    )
    broker = broker_of(settings, "-receipts")
    assert (broker.address, broker.client_id, broker.username, broker.password) == (
        "broker:8883",
        "hall-2-receipts",
        "u",
        "p",
    )
    assert str(broker.tls.ca) == "ca.pem"
    assert broker_of(load_settings()) == Broker(host="127.0.0.1", port=1883, client_id="filiere-collector")


def test_a_password_is_not_shown():
    assert "secret" not in repr(Broker(host="h", port=1, client_id="c", username="u", password="secret"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mqtt_certificate": "c.pem"}, "expected FILIERE_MQTT_CA too"),
        ({"mqtt_ca": "ca.pem", "mqtt_key": "k.pem"}, "expected FILIERE_MQTT_CERTIFICATE too"),
    ],
)
def test_half_a_tls_is_a_wrong_setting(fields, said):
    with pytest.raises(SettingsError, match=said):
        load_settings(**fields)


def test_good_files_make_a_context_that_checks_certificate_and_host(authority):
    certificate, key = authority.sign("collector")
    context = ssl_context(Tls(ca=authority.ca, certificate=certificate, key=key))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_key_and_certificate_may_be_in_one_file(authority, tmp_path):
    certificate, key = authority.sign("collector")
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    ssl_context(Tls(ca=authority.ca, certificate=both))


NOT_PEM = {"empty": b"", "text": b"hello", "binary": bytes(range(256)), "cut off": b"-----BEGIN CERTIFICATE-----\nMIIB"}


@pytest.mark.parametrize("content", NOT_PEM.values(), ids=NOT_PEM)
def test_a_file_that_is_not_pem_is_named_with_its_setting(authority, tmp_path, content):
    bad = tmp_path / "bad.pem"
    bad.write_bytes(content)
    certificate, key = authority.sign("collector")
    for tls, setting in (
        (Tls(ca=bad), "MQTT_CA"),
        (Tls(ca=authority.ca, certificate=bad, key=key), "MQTT_CERTIFICATE"),
        (Tls(ca=authority.ca, certificate=certificate, key=bad), "MQTT_KEY"),
    ):
        with pytest.raises(SettingsError, match=rf"FILIERE_{setting}: got .*bad.pem; expected .* PEM"):
            ssl_context(tls)


@pytest.mark.parametrize("name", ["nowhere.pem", "", "nul\0.pem"], ids=["missing", "a folder", "NUL"])
def test_a_file_that_cannot_be_read_is_named_with_its_setting(authority, tmp_path, name):
    certificate, key = authority.sign("collector")
    for tls, setting in (
        (Tls(ca=tmp_path / name), "MQTT_CA"),
        (Tls(ca=authority.ca, certificate=tmp_path / name, key=key), "MQTT_CERTIFICATE"),
        (Tls(ca=authority.ca, certificate=certificate, key=tmp_path / name), "MQTT_KEY"),
    ):
        with pytest.raises(SettingsError, match=rf"FILIERE_{setting}: got .*; expected a PEM file that may be read"):
            ssl_context(tls)


def test_a_key_that_does_not_fit_and_one_with_a_password_are_told_apart(authority, tmp_path):
    certificate, _ = authority.sign("collector")
    _, other = authority.sign("other")
    with pytest.raises(SettingsError, match=r"FILIERE_MQTT_KEY: got .*expected the private key of the certificate"):
        ssl_context(Tls(ca=authority.ca, certificate=certificate, key=other))
    locked = tmp_path / "locked.key"
    locked.write_bytes(key_text(ec.generate_private_key(ec.SECP256R1()), b"password"))
    with pytest.raises(SettingsError, match=r"FILIERE_MQTT_KEY: got .*expected the private key without a password"):
        ssl_context(Tls(ca=authority.ca, certificate=certificate, key=locked))
