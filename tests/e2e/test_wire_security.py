"""The wire, secured as it is shipped: who gets in, what each may do, and that what is revoked is over."""

import os
import socket
import ssl
import subprocess
import sys
from contextlib import ExitStack, suppress

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from collector.accounts.audit import audit
from collector.devices.authority import Authority
from collector.devices.devices import Role
from collector.intake.status import read_intake_status
from collector.outbox import Outbox, Sender
from filiere.clock import system_clock
from filiere.errors import StoreUnavailable
from filiere.settings import load_settings
from tests.collector.mqtt import until
from tests.e2e.secured import DRYER, EXTRUDER, LINE, SecuredBroker, calling, context_of, settle, topic

STOP_S_MAX = 40.0
RECEIPT_S_MAX = 60.0
START_MS = 1_773_230_400_000
NOT_AUTHORIZED = "Not authorized"
ACCEPTED = ("Success", "No matching subscribers")
EVERYTHING = ("filiere/v1/+/+/+/+/readings", "filiere/v1/+/+/+/+/events", "filiere/v1/+/+/+/+/state")


@pytest.fixture(scope="module")
def broker(mosquitto, tmp_path_factory):  # noqa: ARG001 - skips where there is none
    broker = SecuredBroker(tmp_path_factory.mktemp("secured"))
    try:
        yield broker.start()
    finally:
        broker.remove()


@pytest.fixture(scope="module")
def secrets(broker):
    """Account → folder of its secret: the dryer has a certificate, the others passwords."""
    return {
        "extruder": broker.add(EXTRUDER),
        "dryer": broker.add(DRYER, certificate=True),
        "collector": broker.add("collector", Role.COLLECTOR),
        "simulator": broker.add("simulator", Role.SIMULATOR),
    }


@pytest.fixture
def collector(broker, secrets):
    with calling(broker, broker.port, secrets["collector"]) as caller:
        caller.subscribe(*EVERYTHING)
        yield caller


def test_a_device_gets_in_with_its_password_or_its_certificate(broker, secrets, collector):
    with (
        calling(broker, broker.password_port, secrets["extruder"]) as extruder,
        calling(broker, broker.certificate_port, secrets["dryer"]) as dryer,
    ):
        assert extruder.publish(topic(EXTRUDER), b"1") == "Success"
        assert dryer.publish(topic(DRYER), b"2") == "Success"
        assert dryer.publish(topic(DRYER, "state"), b"3") == "Success"
    until(lambda: len(collector.got) == 3, why=lambda: collector.got)
    assert collector.got == [(topic(EXTRUDER), b"1"), (topic(DRYER), b"2"), (topic(DRYER, "state"), b"3")]


def test_nobody_is_anonymous_on_any_listener(broker, secrets):
    for port in (broker.port, broker.password_port, broker.certificate_port):
        with calling(broker, port) as stranger:
            assert not stranger.is_in
    with calling(broker, broker.certificate_port, secrets["extruder"]) as extruder:
        assert not extruder.is_in, "a password is no certificate"
    with calling(broker, broker.password_port, secrets["dryer"]) as dryer:
        assert not dryer.is_in, "a certificate is no password"


def test_nothing_is_said_without_tls(broker):
    for port in (broker.port, broker.password_port, broker.certificate_port):
        with socket.create_connection((broker.host, port), timeout=5) as plain, suppress(ConnectionResetError):
            plain.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
            assert not plain.recv(100).startswith(b"\x20"), "a CONNACK in the clear"


@pytest.mark.usefixtures("secrets")
def test_a_wrong_password_is_refused(broker, tmp_path):
    (tmp_path / "username").write_text(EXTRUDER)
    (tmp_path / "password").write_text("guess")
    with calling(broker, broker.password_port, tmp_path) as caller:
        assert caller.connected == NOT_AUTHORIZED


def test_a_device_writes_its_own_topics_and_no_others(broker, secrets, collector):
    with (
        calling(broker, broker.password_port, secrets["extruder"]) as extruder,
        calling(broker, broker.certificate_port, secrets["dryer"]) as dryer,
    ):
        for caller, other in ((extruder, DRYER), (dryer, EXTRUDER)):
            for name in (*(topic(other, kind) for kind in ("readings", "events", "state")), topic(f"{LINE}/terminal")):
                assert caller.publish(name) == NOT_AUTHORIZED
        for name in ("filiere/v1/evil", "a", "$SYS/broker/uptime", "$CONTROL/dynamic-security/v1"):
            assert extruder.publish(name) == NOT_AUTHORIZED
    settle()
    assert collector.got == []


def test_mqtt_3_acknowledges_what_was_denied_and_still_drops_it(broker, secrets, collector):
    with calling(broker, broker.password_port, secrets["extruder"], v5=False) as extruder:
        assert extruder.publish(topic(DRYER), b"1") == "Success", "3.1.1 has no word for it"
        assert extruder.publish(topic(EXTRUDER), b"2") == "Success"
    until(lambda: collector.got, why="nothing came")
    settle()
    assert collector.got == [(topic(EXTRUDER), b"2")]


def test_a_device_reads_its_own_receipt_whatever_it_subscribes_to(broker, secrets, collector):
    wide = (
        "#",
        "+/+/+/+/+/+/receipt",
        topic(DRYER, "receipt"),
        topic(DRYER),
        "filiere/v1/#",
        "$SYS/#",
        topic(EXTRUDER),
    )
    with (
        calling(broker, broker.password_port, secrets["extruder"]) as extruder,
        calling(broker, broker.certificate_port, secrets["dryer"]) as dryer,
    ):
        # Mosquitto grants any subscription and holds each message against the rights: nothing of others is delivered
        extruder.subscribe(*wide)
        dryer.subscribe(topic(DRYER, "receipt"))
        assert dryer.publish(topic(DRYER)) == "Success"
        assert collector.publish(topic(DRYER, "receipt"), b"of the dryer") == "Success"
        assert collector.publish(topic(EXTRUDER, "receipt"), b"of the extruder") == "Success"
        until(lambda: extruder.got and dryer.got, why="no receipt")
        settle()
        assert set(extruder.got) == {(topic(EXTRUDER, "receipt"), b"of the extruder")}
        assert dryer.got == [(topic(DRYER, "receipt"), b"of the dryer")]


def test_what_another_left_at_the_broker_is_not_read(broker, secrets):
    with (
        calling(broker, broker.certificate_port, secrets["dryer"]) as dryer,
        calling(broker, broker.password_port, secrets["extruder"]) as extruder,
        calling(broker, broker.port, secrets["collector"]) as collector,
    ):
        assert dryer.publish(topic(DRYER, "state"), b"online", retain=True) in ACCEPTED
        extruder.subscribe("#", topic(DRYER, "state"))
        collector.subscribe(*EVERYTHING)
        until(lambda: collector.got, why="what was left is for the collector")
        settle()
        assert extruder.got == []
        dryer.publish(topic(DRYER, "state"), b"", retain=True)


def test_a_topic_alias_is_held_against_the_rights(broker, secrets, collector):
    def alias(number):
        properties = Properties(PacketTypes.PUBLISH)
        properties.TopicAlias = number
        return properties

    with calling(broker, broker.password_port, secrets["extruder"]) as extruder:
        assert extruder.publish(topic(EXTRUDER), b"1", properties=alias(1)) == "Success"
        assert extruder.publish("", b"2", properties=alias(1)) == "Success"
        assert extruder.publish(topic(DRYER), b"3", properties=alias(2)) == NOT_AUTHORIZED
        assert extruder.publish("", b"4", properties=alias(2)) != "Success"
    until(lambda: len(collector.got) == 2, why=lambda: collector.got)
    settle()
    assert collector.got == [(topic(EXTRUDER), b"1"), (topic(EXTRUDER), b"2")]


def test_nothing_of_others_waits_in_a_device_s_session(broker, secrets, collector):
    options = {"clean": False, "expiry_s": 60}
    with calling(broker, broker.password_port, secrets["extruder"], **options) as extruder:
        extruder.subscribe("#")
    with calling(broker, broker.certificate_port, secrets["dryer"]) as dryer:
        dryer.publish(topic(DRYER))
    collector.publish(topic(DRYER, "receipt"), b"of the dryer")
    collector.publish(topic(EXTRUDER, "receipt"), b"of the extruder")
    with calling(broker, broker.password_port, secrets["extruder"], **options) as extruder:
        assert extruder.session_kept
        until(lambda: extruder.got, why="no receipt")
        settle()
        assert extruder.got == [(topic(EXTRUDER, "receipt"), b"of the extruder")]


def test_a_device_cannot_write_a_receipt_not_even_its_own(broker, secrets):
    with (
        calling(broker, broker.password_port, secrets["extruder"]) as extruder,
        calling(broker, broker.certificate_port, secrets["dryer"]) as dryer,
    ):
        extruder.subscribe(topic(EXTRUDER, "receipt"))
        for caller in (extruder, dryer):
            assert caller.publish(topic(EXTRUDER, "receipt"), b'{"boot":"b","up_to":999}') == NOT_AUTHORIZED
        settle()
        assert extruder.got == []


def test_a_gateway_speaks_for_its_devices_and_no_others(broker, collector):
    secret = broker.add("gateway-1", Role.GATEWAY, devices=[f"{LINE}/sorter", f"{LINE}/shredder"], certificate=True)
    with calling(broker, broker.certificate_port, secret) as gateway:
        assert gateway.publish(topic(f"{LINE}/sorter")) == "Success"
        assert gateway.publish(topic(f"{LINE}/shredder")) == "Success"
        assert gateway.publish(topic(EXTRUDER)) == NOT_AUTHORIZED
        gateway.subscribe("filiere/v1/+/+/+/+/receipt")
        for device in (EXTRUDER, f"{LINE}/sorter"):
            collector.publish(topic(device, "receipt"), device.encode())
        until(lambda: gateway.got, why="no receipt")
        settle()
        assert {payload for _, payload in gateway.got} == {f"{LINE}/sorter".encode()}


def test_a_last_will_is_held_against_the_rights_too(broker, secrets, collector):
    for will in (topic(DRYER, "state"), topic(EXTRUDER, "state")):
        caller = calling(broker, broker.password_port, secrets["extruder"], will=will)
        with caller as extruder:
            assert extruder.is_in
            extruder.vanish()
            settle()
    until(lambda: collector.got, why="no last will")
    assert collector.got == [(topic(EXTRUDER, "state"), b"gone")]


def test_nobody_takes_over_another_s_session(broker, secrets):
    """On the devices' listeners the client id is the account's name; a device has no account on the services' one."""
    with calling(broker, broker.port, secrets["collector"], client_id="filiere-collector") as collector:
        for port, who in ((broker.password_port, "extruder"), (broker.certificate_port, "dryer")):
            with calling(broker, port, secrets[who], client_id="filiere-collector", clean=False) as thief:
                assert thief.is_in
                assert not thief.session_kept
        with calling(broker, broker.port, secrets["extruder"], client_id="filiere-collector") as thief:
            assert thief.connected == NOT_AUTHORIZED
        with calling(broker, broker.certificate_port, secrets["dryer"], client_id=EXTRUDER) as dryer:
            assert dryer.is_in
        settle()
        assert collector.is_in


def test_services_have_no_account_where_devices_call(broker, secrets):
    for who in ("collector", "simulator"):
        with calling(broker, broker.password_port, secrets[who]) as caller:
            assert caller.connected == NOT_AUTHORIZED


def test_the_collector_only_answers_and_the_simulator_only_publishes(broker, secrets, collector):
    assert collector.publish(topic(EXTRUDER)) == NOT_AUTHORIZED
    with calling(broker, broker.port, secrets["simulator"]) as simulator:
        assert simulator.publish(topic(EXTRUDER)) == "Success"
        assert simulator.publish(topic(DRYER, "events")) == "Success"
        assert simulator.publish(topic(DRYER, "receipt")) == NOT_AUTHORIZED


def test_a_certificate_of_another_authority_is_refused_on_both_sides(broker, tmp_path):
    other = Authority.make("another", system_clock())
    client = other.client(EXTRUDER, system_clock())
    (tmp_path / "client.crt").write_bytes(client.certificate_pem)
    (tmp_path / "client.key").write_bytes(client.key_pem)
    (tmp_path / "ca.crt").write_bytes(other.certificate_pem)
    with calling(broker, broker.certificate_port, tmp_path) as caller:
        assert not caller.is_in
    with (
        socket.create_connection((broker.host, broker.password_port)) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context_of(tmp_path / "ca.crt").wrap_socket(plain, server_hostname="localhost")


def test_the_broker_s_own_certificate_is_no_device_s(broker, tmp_path):
    server = (broker.settings.broker_folder / "server.pem").read_bytes()
    for name in ("client.crt", "client.key"):
        (tmp_path / name).write_bytes(server)
    with calling(broker, broker.certificate_port, tmp_path) as caller:
        assert not caller.is_in


def test_the_broker_is_who_its_certificate_says(broker):
    authority = broker.settings.broker_folder / "ca.crt"
    for host, believed in (("localhost", True), ("127.0.0.1", True), ("broker.example", False)):
        with socket.create_connection((broker.host, broker.password_port)) as plain:
            try:
                context_of(authority).wrap_socket(plain, server_hostname=host).close()
                assert believed, host
            except ssl.SSLCertVerificationError:
                assert not believed, host


def test_old_tls_is_refused(broker):
    context = context_of(broker.settings.broker_folder / "ca.crt")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection((broker.host, broker.password_port)) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="localhost")


def connected(broker, context, session=None):
    """The TLS session of an MQTT connection that was accepted and is over, and whether it was resumed."""
    with (
        socket.create_connection((broker.host, broker.certificate_port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as secured,
    ):
        secured.sendall(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x1e\x00\x04abcd")
        if secured.recv(4) != b"\x20\x02\x00\x00":
            raise ConnectionError("not accepted")
        return secured.session, secured.session_reused


class TestRevoked:
    """What Mosquitto does at SIGHUP, which docs/devices.md promises."""

    def test_a_password_is_over_at_once(self, broker):
        secret = broker.add(f"{LINE}/sorter")
        with calling(broker, broker.password_port, secret) as sorter:
            assert sorter.publish(topic(f"{LINE}/sorter")) in ACCEPTED
            broker.revoke(f"{LINE}/sorter")
            until(lambda: sorter.lost is not None, why="it is still connected")
        with calling(broker, broker.password_port, secret) as sorter:
            assert sorter.connected == NOT_AUTHORIZED

    def test_a_certificate_may_do_nothing_at_once_and_cannot_come_back(self, broker, collector):
        """The connection stays until it ends, without any right."""
        name = f"{LINE}/shredder"
        secret = broker.add(name, certificate=True)
        with calling(broker, broker.certificate_port, secret) as shredder:
            shredder.subscribe(topic(name, "receipt"))
            assert shredder.publish(topic(name), b"1") == "Success"
            broker.revoke(name)
            assert shredder.publish(topic(name), b"2") == NOT_AUTHORIZED
            collector.publish(topic(name, "receipt"), b"still there?")
            settle()
            assert shredder.got == []
        until(lambda: collector.got, why="nothing came")
        assert collector.got == [(topic(name), b"1")]
        with calling(broker, broker.certificate_port, secret) as shredder:
            assert not shredder.is_in

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_a_tls_session_is_not_resumed_past_it(self, broker, version):
        name = f"{LINE}/shredder"
        context = context_of(broker.settings.broker_folder / "ca.crt", broker.add(name, certificate=True))
        context.minimum_version = context.maximum_version = version
        session, _ = connected(broker, context)
        session, resumed = connected(broker, context, session)
        assert resumed, "while it is allowed, it is resumed"
        broker.revoke(name)
        with pytest.raises(OSError, match=r"REVOKED|EOF|reset|not accepted"):  # as the timing has it
            connected(broker, context, session)

    def test_the_others_stay_connected(self, broker, secrets, collector):
        with (
            calling(broker, broker.password_port, secrets["extruder"]) as extruder,
            calling(broker, broker.certificate_port, secrets["dryer"]) as dryer,
        ):
            broker.add(f"{LINE}/bagging")
            broker.revoke(f"{LINE}/bagging")
            assert extruder.publish(topic(EXTRUDER)) == "Success"
            assert dryer.publish(topic(DRYER)) == "Success"
            assert collector.is_in

    def test_one_command_does_it_and_tells_the_broker(self, broker, tmp_path):
        name = f"{LINE}/sorter"
        secret = broker.add(name)
        (tmp_path / "pid").write_text(f"{broker.pid}\n")
        with calling(broker, broker.password_port, secret) as sorter:
            assert sorter.is_in
            ended = subprocess.run(
                [sys.executable, "-m", "filiere", "devices", "revoke", name],
                env={
                    **os.environ,
                    "FILIERE_DATA_DIR": str(broker.settings.data_dir),
                    "FILIERE_BROKER_PID_FILE": str(tmp_path / "pid"),
                },
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 0, ended.stderr
            assert str(broker.pid) in ended.stderr
            until(lambda: sorter.lost is not None, why="it is still connected")

    def test_a_renewed_certificate_ends_the_old_one(self, broker):
        name = f"{LINE}/bagging"
        old = broker.add(name, certificate=True)
        new = broker.add(name, certificate=True, renew=True)
        with calling(broker, broker.certificate_port, old) as caller:
            assert not caller.is_in
        with calling(broker, broker.certificate_port, new) as caller:
            assert caller.publish(topic(name)) in ACCEPTED
        broker.revoke(name)

    def test_revoked_twice_within_a_second_both_are_out(self, broker):
        names = (f"{LINE}/bagging", f"{LINE}/sorter")
        secrets = [broker.add(name, certificate=True) for name in names]
        for name in names:
            broker.revoke(name)
        for secret in secrets:
            with calling(broker, broker.certificate_port, secret) as caller:
                assert not caller.is_in

    def test_it_stays_so_when_the_broker_starts_again(self, broker, secrets):
        secret = broker.add(f"{LINE}/sorter", certificate=True)
        broker.revoke(f"{LINE}/sorter")
        broker.stop()
        broker.start()
        with calling(broker, broker.certificate_port, secret) as caller:
            assert not caller.is_in
        with calling(broker, broker.certificate_port, secrets["dryer"]) as caller:
            assert caller.publish(topic(DRYER)) in ACCEPTED


@pytest.fixture
def running(broker, secrets, tmp_path):
    """`filiere collect` on this broker, with the embedded store: its folder."""
    environment = {
        **os.environ,
        "FILIERE_DATA_DIR": str(tmp_path),
        "FILIERE_MQTT_HOST": broker.host,
        "FILIERE_MQTT_PORT": str(broker.port),
        "FILIERE_MQTT_CA": str(secrets["collector"] / "ca.crt"),
        "FILIERE_MQTT_USERNAME": "collector",
        "FILIERE_MQTT_PASSWORD": (secrets["collector"] / "password").read_text(),
    }
    with (tmp_path / "collector.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "filiere", "collect"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        status = load_settings(data_dir=tmp_path).intake_status_path
        until(lambda: (found := read_intake_status(status)) is not None and found.connected, why="not connected")
        yield tmp_path
    finally:
        process.terminate()
        process.wait(STOP_S_MAX)


def test_readings_and_receipts_go_over_tls_under_these_rights(broker, secrets, running):
    """Two outboxes, one with a password, one with a certificate: both are emptied by receipts, all rows are stored."""
    rows = 200
    login = {"username": EXTRUDER, "password": (secrets["extruder"] / "password").read_text()}
    ways = {
        f"{EXTRUDER}/melt_temp": (broker.password_port, secrets["extruder"], login),
        f"{DRYER}/moisture": (broker.certificate_port, secrets["dryer"], {}),
    }
    with ExitStack() as stack:
        senders = []
        for name, (port, secret, options) in ways.items():
            device, _, signal = name.rpartition("/")
            outbox = stack.enter_context(Outbox.open(running / f"{signal}.outbox"))
            outbox.put_many(device, [{"t": START_MS + row * 1000, "v": {signal: 0.01}} for row in range(rows)])
            tls = context_of(secret / "ca.crt", secret)
            senders.append(stack.enter_context(Sender(outbox, host=broker.host, port=port, tls=tls, **options)))
        with calling(broker, broker.port, secrets["simulator"]) as other:
            assert other.publish(topic(EXTRUDER, "receipt"), b'{"boot":"b","up_to":9}') == NOT_AUTHORIZED
        for sender in senders:
            assert sender.flush(RECEIPT_S_MAX), sender.problem
            assert sender.acknowledged > 0
    path = running / "recorder.sqlite"
    until(lambda: sum(account.stored for account in accounts(path)) == 2 * rows, why=lambda: accounts(path))
    assert all(account.closes for account in accounts(path))


def accounts(path):
    with suppress(StoreUnavailable):
        return audit(path)
    return ()


def test_a_new_certificate_of_the_broker_is_shown_after_a_reload(broker):
    def shown():
        context = context_of(broker.settings.broker_folder / "ca.crt")
        with (
            socket.create_connection((broker.host, broker.password_port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            return secured.getpeercert()["serialNumber"]

    before = shown()
    (broker.settings.broker_folder / "server.pem").unlink()
    with broker.devices() as devices:
        devices.prepare()
    broker.hup()
    assert shown() != before


def test_the_collector_s_session_outlives_reloads_and_a_restart(broker, secrets):
    """What is published while it is away waits, over a reload and over a restart, each alone."""
    session = {"client_id": "away", "clean": False, "expiry_s": 3600}

    def published(payload):
        with calling(broker, broker.certificate_port, secrets["dryer"]) as dryer:
            assert dryer.publish(topic(DRYER), payload) == "Success"

    with calling(broker, broker.port, secrets["collector"], **session) as away:
        away.subscribe(*EVERYTHING)
    published(b"1")
    broker.hup()
    published(b"2")
    broker.stop()
    broker.start()
    published(b"3")
    with calling(broker, broker.port, secrets["collector"], **session) as back:
        assert back.session_kept
        until(lambda: len(back.got) == 3, why=lambda: back.got)
        assert [payload for _, payload in back.got] == [b"1", b"2", b"3"]


def test_mosquitto_drops_for_an_absent_session_when_it_reloads_after_a_restart(broker, secrets):
    """A fact of 2.0.11 that docs/devices.md warns of: the reload forgets the rights of a session restored from disk."""
    session = {"client_id": "away", "clean": False, "expiry_s": 3600}
    with calling(broker, broker.port, secrets["collector"], **session) as away:
        away.subscribe(*EVERYTHING)
    broker.stop()
    broker.start()
    broker.hup()
    with calling(broker, broker.certificate_port, secrets["dryer"]) as dryer:
        assert dryer.publish(topic(DRYER), b"1") == "Success"
    with calling(broker, broker.port, secrets["collector"], **session) as back:
        assert back.session_kept
        settle()
        assert back.got == []
        with calling(broker, broker.certificate_port, secrets["dryer"]) as dryer:
            dryer.publish(topic(DRYER), b"2")
        until(lambda: back.got, why="nothing comes any more")
        assert back.got == [(topic(DRYER), b"2")]
