"""Every setting is described, masked when it is a secret, and refused by name when it is wrong."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from filiere.errors import SettingsError
from filiere.settings import (
    MASK,
    Settings,
    load_settings,
    setting_lines,
    settings_markdown,
    unknown_variables,
    variable,
)

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)


def test_the_page_is_what_the_settings_say():
    assert PAGE.read_text(encoding="utf-8") == settings_markdown(), (
        "run: filiere settings --markdown > docs/settings.md"
    )


def test_every_setting_is_described_in_a_sentence():
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_with_nothing_set_everything_is_embedded_and_in_the_data_folder():
    settings = load_settings()
    assert (settings.influx_url, settings.ledger_url, settings.grafana_url) == ("", "", "")
    data = Path("data")
    assert settings.log_path == data / "messages.sqlite"
    assert settings.recorder_path == data / "recorder.sqlite"
    assert settings.embedded_store_path == data / "readings.sqlite"
    assert settings.ledger_database_url == "sqlite:///data/ledger.sqlite"
    assert settings.archive_dir == data / "archive"
    assert settings.certificates_dir == data / "certificates"
    assert settings.signing_key_path == data / "keys" / "issuer.pem"
    assert settings.trusted_key_paths == (data / "keys" / "issuer.pub.pem",)
    assert settings.public_base_url == "http://127.0.0.1:8000"


def test_the_environment_sets_and_a_keyword_goes_before_it(monkeypatch):
    monkeypatch.setenv("FILIERE_MQTT_HOST", "broker")
    monkeypatch.setenv("FILIERE_MQTT_PORT", "8883")
    settings = load_settings(mqtt_port=1884)
    assert (settings.mqtt_host, settings.mqtt_port) == ("broker", 1884)


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("FILIERE_MQTT_PORT", "")
    monkeypatch.setenv("FILIERE_MQTT_PASSWORD", "")
    assert load_settings().mqtt_port == 1883
    assert load_settings().mqtt_password is None


def test_trusted_keys_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("FILIERE_TRUSTED_KEYS", "a.pem, /b/c.pem,")
    assert load_settings().trusted_key_paths == (Path("a.pem"), Path("/b/c.pem"))


def test_an_absolute_data_folder_makes_an_absolute_ledger_address(tmp_path):
    assert load_settings(data_dir=tmp_path).ledger_database_url == f"sqlite:///{tmp_path}/ledger.sqlite"


def test_an_ipv6_host_is_bracketed_in_the_address():
    assert load_settings(api_host="::1").public_base_url == "http://[::1]:8000"


def test_an_address_loses_its_last_slash():
    assert load_settings(public_url="https://filiere.example/").public_base_url == "https://filiere.example"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FILIERE_DATA_DIR", "~nobody-here/x", "expected a path whose home folder exists"),
        ("FILIERE_MQTT_PORT", "abc", "got 'abc'; expected integer"),
        ("FILIERE_MQTT_PORT", "70000", "got '70000'; expected less than or equal to 65535"),
        ("FILIERE_SETTLE_S", "-1", "got '-1'; expected greater than or equal to 0"),
        ("FILIERE_SETTLE_S", "nan", "got 'nan'; expected a finite number"),
        ("FILIERE_LOG_LEVEL", "loud", "got 'loud'; expected 'debug', 'info', 'warning' or 'error'"),
        ("FILIERE_INFLUX_URL", "localhost:8086", "got 'localhost:8086'; expected an address such as http://"),
        ("FILIERE_INFLUX_URL", "http://h:99999", "got 'http://h:99999'; expected an address such as http://"),
        ("FILIERE_PUBLIC_URL", "ftp://x", "got 'ftp://x'; expected an address such as http://"),
    ],
)
def test_a_wrong_variable_is_named_with_got_and_expected(monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: ") as refused:
        load_settings()
    assert words in str(refused.value)
    assert refused.value.__cause__ is None


def test_every_wrong_setting_is_said_at_once(monkeypatch):
    monkeypatch.setenv("FILIERE_MQTT_PORT", "x")
    with pytest.raises(SettingsError) as refused:
        load_settings(api_port=0)
    assert str(refused.value).count("\n") == 1


def test_a_setting_that_does_not_exist_is_refused():
    with pytest.raises(SettingsError, match="mqtt_hots: got an unknown setting; expected one of data_dir, plant, mqtt"):
        load_settings(mqtt_hots="broker")


def test_an_influxdb_without_token_is_refused():
    with pytest.raises(SettingsError, match=r"^FILIERE_INFLUX_TOKEN: got nothing; expected the token for http://x:1,"):
        load_settings(influx_url="http://x:1")


def test_secrets_are_never_shown():
    settings = load_settings(
        influx_token="hidden-1",
        mqtt_password="hidden-2",
        grafana_token=SecretStr("hidden-3"),
        ledger_url="postgresql+psycopg://me:hidden-4@host:5432/filiere",
    )
    shown = {line.variable: line.value for line in setting_lines(settings)}
    assert "hidden" not in str(shown)
    assert "hidden" not in repr(settings)
    assert shown["FILIERE_INFLUX_TOKEN"] == shown["FILIERE_MQTT_PASSWORD"] == shown["FILIERE_GRAFANA_TOKEN"] == MASK
    assert shown["FILIERE_LEDGER_URL"] == f"postgresql+psycopg://me:{MASK}@host:5432/filiere"


def test_a_wrong_secret_is_not_repeated():
    with pytest.raises(SettingsError, match="FILIERE_INFLUX_TOKEN: got a secret; expected") as refused:
        load_settings(influx_token=["hidden"])
    assert "hidden" not in str(refused.value)


def test_variables_that_nothing_reads_are_found():
    assert unknown_variables({"FILIERE_MQTT_HOTS": "x", "FILIERE_MQTT_HOST": "x", "PATH": "x"}) == (
        "FILIERE_MQTT_HOTS",
    )


def test_settings_do_not_change_after_they_were_read():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().mqtt_port = 1
