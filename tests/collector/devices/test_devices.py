"""Accounts at the broker: what the files say, and that they hold together whatever happens."""

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, replace

import msgspec
import pytest
from cryptography import x509
from cryptography.x509 import verification
from hypothesis import given
from hypothesis import strategies as st

from collector.devices.authority import CERTIFICATE_DAYS, Authority
from collector.devices.devices import (
    EXPIRES_SOON_NS,
    Devices,
    Role,
    is_password,
    known_devices,
    own_account,
    password_hash,
)
from collector.devices.reload import broker_pid, reload_broker
from collector.intake.status import IntakeStatus
from filiere.bindings import Binding, Payload
from filiere.cli import main
from filiere.clock import NS_PER_S, from_ns, parse_time
from filiere.errors import NotFound, SettingsError
from filiere.plant_file import load_plant
from filiere.settings import load_settings
from tests.servers import unavailable

PLANT = load_plant("caux")
NOW_NS = parse_time("2026-03-11T12:00:00Z")
DAY_NS = 24 * 3600 * NS_PER_S
EXTRUDER, DRYER = "caux/textile/t1/extruder", "caux/textile/t1/dryer"


@pytest.fixture
def settings(tmp_path):
    return load_settings(data_dir=tmp_path)


def opened(settings, *, now_ns=NOW_NS, plant=PLANT):
    return Devices.open(settings=settings, plant=plant, clock=lambda: now_ns)


def read(settings, name):
    return (settings.broker_folder / name).read_bytes()


def contents(settings):
    return {path.name: path.read_bytes() for path in settings.broker_folder.iterdir()}


def rights(settings, name="acl"):
    """Account → its lines."""
    found, account = {}, ""
    for line in read(settings, name).decode().splitlines():
        if line.startswith("user "):
            account = line.removeprefix("user ")
        elif line.startswith("topic "):
            found.setdefault(account, []).append(line.removeprefix("topic "))
    return found


def test_a_device_may_write_its_own_topics_and_read_its_receipt(settings):
    with opened(settings) as devices:
        devices.add(EXTRUDER, Role.DEVICE)
    own = f"filiere/v1/{EXTRUDER}"
    assert rights(settings) == {
        EXTRUDER: [f"write {own}/readings", f"write {own}/events", f"write {own}/state", f"read {own}/receipt"]
    }
    assert rights(settings, "services.acl") == {}


def test_services_are_in_files_of_their_own(settings):
    with opened(settings) as devices:
        devices.add("collector", Role.COLLECTOR)
    assert "collector" in rights(settings, "services.acl")
    assert b"collector" not in read(settings, "passwords") + read(settings, "acl")


def test_the_file_holds_a_digest_and_the_secret_is_given_once(settings):
    with opened(settings) as devices:
        secret = devices.add(EXTRUDER, Role.DEVICE)
    name, _, hashed = read(settings, "passwords").decode().strip().partition(":")
    assert name == EXTRUDER
    assert is_password(secret.password, hashed)
    assert not is_password("guess", hashed)
    assert all(secret.password.encode() not in content for content in contents(settings).values())


@given(st.text(min_size=1, max_size=40), st.binary(min_size=1, max_size=32), st.text(max_size=40))
def test_a_password_is_known_again_and_no_other(password, salt, other):
    hashed = password_hash(password, salt)
    assert is_password(password, hashed)
    assert is_password(other, hashed) is (other == password)
    assert "\n" not in hashed
    assert ":" not in hashed


def test_mosquitto_s_own_program_makes_the_same_line(tmp_path):
    program = shutil.which("mosquitto_passwd")
    if program is None:
        unavailable("mosquitto_passwd not found: install the Debian package mosquitto")
    file = tmp_path / "passwords"
    subprocess.run([program, "-c", "-b", file, "extruder", "un mot de passe"], check=True, capture_output=True)
    _, _, line = file.read_text().strip().partition(":")
    assert is_password("un mot de passe", line)


def test_no_account_is_replaced_unasked(settings):
    with opened(settings) as devices:
        first = devices.add(EXTRUDER, Role.DEVICE)
        with pytest.raises(SettingsError, match=r"has a password.*--renew"):
            devices.add(EXTRUDER, Role.DEVICE)
        devices.add(EXTRUDER, Role.DEVICE, certificate=True)
        with pytest.raises(SettingsError, match=r"has a certificate.*--renew"):
            devices.add(EXTRUDER, Role.DEVICE, certificate=True)
        second = devices.add(EXTRUDER, Role.DEVICE, renew=True)
        (account,) = devices.accounts
    assert second.password != first.password
    assert is_password(second.password, account.password)
    assert account.serial is not None


@pytest.mark.parametrize(
    "name", ["caux/textile/t1/scale", "#", "caux/textile/t1/+", "", "extruder", EXTRUDER + "\n", "../x"]
)
def test_only_a_device_of_the_plant_is_added(settings, name):
    with opened(settings) as devices, pytest.raises(NotFound, match="expected one of the plant model"):
        devices.add(name, Role.DEVICE)
    assert "accounts.json" not in contents(settings)


def test_every_device_of_the_plant_and_every_terminal_can_be_added(settings):
    names = known_devices(PLANT)
    assert {f"{line.path}/terminal" for line in PLANT.lines} < set(names)
    with opened(settings) as devices:
        for name in names:
            devices.add(name, Role.DEVICE)
        assert tuple(account.name for account in devices.accounts) == names
    assert set(rights(settings)) == set(names)


def test_a_foreign_device_may_write_the_topics_of_its_binding_and_the_collector_read_them(settings):
    binding = Binding(
        id="plugs",
        topic="tele/{name}/SENSOR",
        level="name",
        devices={"plug-1": EXTRUDER, "plug-2": DRYER},
        payload=Payload.JSON,
        time=None,
        sources=(),
    )
    with opened(settings, plant=replace(PLANT, bindings=(binding,))) as devices:
        devices.add(EXTRUDER, Role.DEVICE)
        devices.add("collector", Role.COLLECTOR)
    assert [line for line in rights(settings)[EXTRUDER] if "tele" in line] == ["write tele/plug-1/SENSOR"]
    read_by_all = [line for line in rights(settings, "services.acl")["collector"] if "tele" in line]
    assert read_by_all == ["read tele/plug-1/SENSOR", "read tele/plug-2/SENSOR"]
    with opened(settings) as devices:
        devices.prepare()
    assert "tele" not in str(rights(settings)), "the files follow the plant"


def test_a_gateway_speaks_for_its_devices_and_no_others(settings):
    with opened(settings) as devices:
        devices.add("gateway-1", Role.GATEWAY, devices=[EXTRUDER, DRYER])
    assert {line.rpartition("/")[0].partition("/v1/")[2] for line in rights(settings)["gateway-1"]} == {EXTRUDER, DRYER}
    assert len(rights(settings)["gateway-1"]) == 8


@pytest.mark.parametrize(
    ("name", "devices"),
    [("gateway", []), ("collector", [EXTRUDER]), ("a/b", [EXTRUDER]), ("", [EXTRUDER]), ("g\nuser x", [EXTRUDER])],
)
def test_a_gateway_needs_a_name_of_its_own_and_devices(settings, name, devices):
    with opened(settings) as opened_devices, pytest.raises(SettingsError, match="expected 1 to 64"):
        opened_devices.add(name, Role.GATEWAY, devices=devices)


def test_a_gateway_speaks_for_devices_of_the_plant(settings):
    with opened(settings) as devices, pytest.raises(NotFound, match="expected one of the plant model"):
        devices.add("gateway", Role.GATEWAY, devices=[EXTRUDER, "caux/textile/t1/nothing"])


def test_what_is_revoked_is_nowhere_but_on_the_list(settings):
    with opened(settings) as devices:
        secret = devices.add(EXTRUDER, Role.DEVICE, certificate=True)
        devices.add(EXTRUDER, Role.DEVICE)
        devices.revoke(EXTRUDER)
        with pytest.raises(NotFound, match="no account"):
            devices.revoke(EXTRUDER)
    assert read(settings, "passwords") == b""
    assert rights(settings) == {}
    revoked = x509.load_pem_x509_crl(read(settings, "crl.pem"))
    certificate = x509.load_pem_x509_certificate(secret.certificate_pem)
    assert revoked.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None


def test_a_list_is_later_than_the_one_before_even_when_the_clock_goes_back(settings):
    updates = []
    for now_ns in (NOW_NS, NOW_NS, NOW_NS - 400 * DAY_NS, NOW_NS):
        with opened(settings, now_ns=now_ns) as devices:
            devices.add(EXTRUDER, Role.DEVICE, certificate=True)
            devices.revoke(EXTRUDER)
        updates.append(x509.load_pem_x509_crl(read(settings, "crl.pem")).last_update_utc)
    assert updates == sorted(set(updates))


def test_files_are_for_their_readers_alone(settings, tmp_path):
    with opened(settings) as devices:
        devices.add(EXTRUDER, Role.DEVICE)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in settings.broker_folder.iterdir()}
    for name in ("passwords", "acl", "services.passwords", "services.acl", "server.pem"):
        assert modes[name] == 0o640, name
    assert modes["accounts.json"] == 0o600
    assert modes["ca.crt"] == modes["crl.pem"] == 0o644
    assert stat.S_IMODE(settings.broker_key_path.stat().st_mode) == 0o600
    assert not settings.broker_key_path.is_relative_to(settings.broker_folder)
    settings.broker_key_path.chmod(0o644)
    with opened(settings) as devices, pytest.raises(SettingsError, match="chmod 600"):
        devices.add(DRYER, Role.DEVICE)
    assert tmp_path in settings.broker_key_path.parents


def test_a_second_preparation_changes_nothing(settings):
    with opened(settings) as devices:
        assert set(devices.prepare()) >= {"ca.crt", "server.pem", "crl.pem", "acl", "passwords"}
        before = contents(settings)
        assert devices.prepare() == ()
    assert contents(settings) == before


def test_the_broker_s_certificate_is_made_again_before_it_expires_or_for_other_hosts(settings):
    with opened(settings) as devices:
        devices.prepare()
    nearly = NOW_NS + CERTIFICATE_DAYS * DAY_NS - EXPIRES_SOON_NS
    with opened(settings, now_ns=nearly - DAY_NS) as devices:
        assert devices.prepare() == ()
    with opened(settings, now_ns=nearly + DAY_NS) as devices:
        assert devices.prepare() == ("server.pem",)
    elsewhere = load_settings(data_dir=settings.data_dir, broker_hosts="broker.workshop.lan,192.168.1.5,::1")
    with opened(elsewhere, now_ns=nearly + DAY_NS) as devices:
        assert devices.prepare() == ("server.pem",)
        assert devices.prepare() == ()


def test_a_strict_reader_believes_the_certificates(settings):
    with opened(settings) as devices:
        secret = devices.add(EXTRUDER, Role.DEVICE, certificate=True)
        devices.prepare()
    authority = x509.load_pem_x509_certificate(secret.authority_pem)
    store = verification.Store([authority])
    builder = verification.PolicyBuilder().store(store).time(from_ns(NOW_NS))
    builder.build_server_verifier(x509.DNSName("localhost")).verify(
        x509.load_pem_x509_certificate(read(settings, "server.pem")), []
    )
    builder.build_client_verifier().verify(x509.load_pem_x509_certificate(secret.certificate_pem), [])


@pytest.mark.parametrize("host", ["bad host", "a\n", "*", "http://x", "x" * 300, "é"])
def test_a_host_that_can_be_none_is_refused(settings, host):
    with (
        opened(load_settings(data_dir=settings.data_dir, broker_hosts=(host,))) as devices,
        pytest.raises(SettingsError, match="FILIERE_BROKER_HOSTS"),
    ):
        devices.prepare()


def test_a_name_too_long_for_a_certificate_is_told_so():
    with pytest.raises(SettingsError, match="password instead"):
        Authority.make("x", NOW_NS).client("a" * 65, NOW_NS)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"version":2}', b'{"accounts":[{"name":1}]}', b"\xff", b"[]"])
def test_a_damaged_register_is_refused_and_nothing_is_written(settings, damage):
    with opened(settings) as devices:
        devices.add(EXTRUDER, Role.DEVICE)
    (settings.broker_folder / "accounts.json").write_bytes(damage)
    before = contents(settings)
    with pytest.raises(SettingsError, match=r"accounts\.json"), opened(settings):
        pass
    assert contents(settings) == before


def test_a_lost_authority_is_not_silently_replaced(settings):
    with opened(settings) as devices:
        devices.add(EXTRUDER, Role.DEVICE, certificate=True)
    settings.broker_key_path.unlink()
    with opened(settings) as devices, pytest.raises(SettingsError, match="put the key back"):
        devices.add(DRYER, Role.DEVICE)
    settings.broker_key_path.write_text("no key")
    settings.broker_key_path.chmod(0o600)
    with opened(settings) as devices, pytest.raises(SettingsError, match="not a private key"):
        devices.add(DRYER, Role.DEVICE)


def test_under_another_authority_nothing_of_the_one_before_is_left(settings):
    with opened(settings) as devices:
        devices.add(EXTRUDER, Role.DEVICE, certificate=True)
        devices.revoke(EXTRUDER)
    settings.broker_key_path.unlink()
    (settings.broker_folder / "ca.crt").unlink()
    with opened(settings) as devices:
        assert set(devices.prepare()) == {"ca.crt", "server.pem", "crl.pem"}
        assert devices.prepare() == ()
    authority = x509.load_pem_x509_certificate(read(settings, "ca.crt"))
    x509.load_pem_x509_certificate(read(settings, "server.pem")).verify_directly_issued_by(authority)
    assert x509.load_pem_x509_crl(read(settings, "crl.pem")).is_signature_valid(authority.public_key())


@pytest.mark.parametrize("at", ["passwords", "acl", "crl.pem"])
def test_a_command_that_is_killed_half_way_is_finished_by_the_next(settings, monkeypatch, at):
    with opened(settings) as devices:
        devices.add(EXTRUDER, Role.DEVICE)
        devices.add(EXTRUDER, Role.DEVICE, certificate=True)
    whole = Devices._write

    def killed(self, name, content, mode):
        if name == at:
            raise KeyboardInterrupt
        whole(self, name, content, mode)

    monkeypatch.setattr(Devices, "_write", killed)
    with pytest.raises(KeyboardInterrupt), opened(settings) as devices:
        devices.revoke(EXTRUDER)
    monkeypatch.undo()
    with opened(settings) as devices:
        devices.prepare()
    assert rights(settings) == {}
    assert read(settings, "passwords") == b""
    assert len(list(x509.load_pem_x509_crl(read(settings, "crl.pem")))) == 1


def test_the_account_of_these_settings(tmp_path):
    assert own_account(load_settings(data_dir=tmp_path)) is None
    assert own_account(load_settings(data_dir=tmp_path, mqtt_username="someone", mqtt_password="x")) is None
    mine = load_settings(data_dir=tmp_path, mqtt_username="collector", mqtt_password="x")
    assert own_account(mine) == (Role.COLLECTOR, "x")


def test_only_mosquitto_is_signalled(tmp_path):
    with pytest.raises(SettingsError, match="another would end"):
        reload_broker(os.getpid())
    with pytest.raises(SettingsError, match="does not run"):
        reload_broker(2**22)
    with pytest.raises(SettingsError, match="No such file"):
        broker_pid(tmp_path / "none")
    (tmp_path / "pid").write_text("not a number")
    with pytest.raises(SettingsError, match="no process id"):
        broker_pid(tmp_path / "pid")
    (tmp_path / "pid").write_text("1234\n")
    assert broker_pid(tmp_path / "pid") == 1234


@dataclass(frozen=True)
class Ended:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """`filiere devices …` in this process."""

    def run(*arguments, **environment):
        for name, value in {"FILIERE_DATA_DIR": str(tmp_path), **environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["filiere", "devices", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Ended(code or 0, *capsys.readouterr())

    return run


def test_an_operator_adds_lists_and_revokes_a_device(run, tmp_path):
    added = run("add", EXTRUDER)
    assert added.returncode == 0, added.stderr
    assert "docker compose kill -s HUP mosquitto" in added.stderr
    folder = tmp_path / "devices" / EXTRUDER.replace("/", ".")
    assert {path.name for path in folder.iterdir()} == {"ca.crt", "username", "password"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    assert (folder / "password").read_text() not in added.stdout + added.stderr

    again = run("add", EXTRUDER)
    assert again.returncode == 2
    assert "--renew" in again.stderr

    as_json = run("add", DRYER, "--certificate", "--json")
    secret = json.loads(as_json.stdout)
    assert secret["account"] == DRYER
    assert "PRIVATE KEY" in secret["key"]
    assert not (tmp_path / "devices" / DRYER.replace("/", ".")).exists(), "what is printed is not written"

    listed = json.loads(run("list", "--json").stdout)
    assert [account["account"] for account in listed["accounts"]] == [DRYER, EXTRUDER]
    assert secret["key"] not in json.dumps(listed)
    table = run("list", "--lang", "en")
    assert table.returncode == 0
    assert f"filiere/v1/{EXTRUDER}/receipt" in table.stdout

    assert run("revoke", DRYER).returncode == 0
    unknown = run("revoke", DRYER)
    assert unknown.returncode == 2
    assert "no account" in unknown.stderr


def test_list_says_by_its_exit_status_that_a_certificate_expires_soon(run, tmp_path):
    settings = load_settings(data_dir=tmp_path)
    with Devices.open(settings=settings, plant=PLANT, clock=lambda: NOW_NS - 1000 * DAY_NS) as devices:
        devices.add(EXTRUDER, Role.DEVICE, certificate=True)
    assert run("prepare").returncode == 0
    listed = run("list")
    assert listed.returncode == 1
    assert "--renew" in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list",), "filiere devices prepare"),
        (("add",), "expected one of them"),
        (("add", EXTRUDER, "--collector"), "expected one of them"),
        (("add", "--collector", "--certificate"), "services have passwords"),
        (("add", "--collector", "--for", EXTRUDER), "without a gateway's name"),
        (("add", "caux/textile/t1/nothing"), "expected one of the plant model"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(run, arguments, words):
    ended = run(*arguments)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_before_its_first_start_the_broker_need_not_be_told(run, tmp_path):
    nowhere = {"FILIERE_BROKER_PID_FILE": str(tmp_path / "mosquitto.pid")}
    prepared = run("prepare", "--lang", "en", **nowhere)
    assert prepared.returncode == 0
    assert "when it starts" in prepared.stderr
    added = run("add", EXTRUDER, **nowhere)
    assert added.returncode == 2
    assert "what was asked for is written" in added.stderr
    assert run("revoke", EXTRUDER, FILIERE_BROKER_PID_FILE="").returncode == 0


def test_prepare_makes_the_account_of_its_settings(run, tmp_path):
    me = {"FILIERE_MQTT_USERNAME": "simulator", "FILIERE_MQTT_PASSWORD": "secret"}
    first, second = run("prepare", **me), run("prepare", **me)
    assert "simulator" in first.stdout
    assert second.stdout == "Rien n'a changé.\n"
    line = (tmp_path / "broker" / "services.passwords").read_text()
    assert is_password("secret", line.strip().partition(":")[2])


def test_a_reload_while_the_collector_is_away_is_warned_of(run, settings):
    assert "collector is not connected" not in run("add", EXTRUDER, "--lang", "en").stderr
    away = IntakeStatus(connected=False, problem=None, since_ns=0, updated_ns=0, log_bytes=0, acknowledged=0)
    settings.intake_status_path.write_bytes(msgspec.json.encode(away))
    assert "collector is not connected" in run("add", DRYER, "--lang", "en").stderr
