"""The outbox through a real broker: what is kept is sent until it is receipted, whoever is away meanwhile."""

import json
import socket
import subprocess
import sys
import uuid
from itertools import pairwise

import pytest

from collector.codec import decode_readings
from collector.outbox import Outbox, Sender, sender
from collector.receipts.receipt import Refusal
from tests.collector.answering import Answering
from tests.collector.brokers import TlsMosquitto
from tests.collector.certificates import Authority
from tests.collector.mqtt import until
from tests.servers import Mosquitto, free_port

LINE = "filiere/v1/+/+/+/+"


@pytest.fixture
def device():
    """A name of this test's own."""
    return f"test/{uuid.uuid4().hex[:12]}/t1/extruder"


@pytest.fixture
def outbox(tmp_path):
    with Outbox.open(tmp_path / "outbox.sqlite") as outbox:
        yield outbox


@pytest.fixture
def own_broker():
    """One that a test may configure."""
    server = Mosquitto()
    yield server
    server.remove()


def row(number=0):
    return {"t": 1_795_425_247_250 + number, "v": {"melt_temp": 200.0 + number}}


def topics(device):
    return f"filiere/v1/{device}/readings"


def sending(outbox, server, **more):
    return Sender(outbox, host=server.host, port=server.port, **more)


def test_what_is_put_arrives_and_is_let_go_of(mosquitto, outbox, device):
    with Answering(mosquitto, topics=topics(device)) as collector, sending(outbox, mosquitto) as sender:
        outbox.put_many(device, [row(n) for n in range(50)])
        for number in range(50, 60):
            outbox.put(device, row(number))
        assert sender.flush(20)
        assert collector.rows(device, outbox.boot) == list(range(60))
        assert sender.acknowledged == 60
        assert sender.problem is None
    read = [decode_readings(payload) for _, payload in collector.heard]
    found = {
        message.seq + place: message.values["melt_temp"][place]
        for message in read
        for place in range(len(message.time_ns))
    }
    assert found == {number: 200.0 + number for number in range(60)}


def test_while_nobody_listens_it_is_kept_and_said_and_sent_when_somebody_does(mosquitto, outbox, device):
    outbox.put_many(device, [row(n) for n in range(100)])
    with sending(outbox, mosquitto) as sender:
        until(lambda: sender.problem and "nobody listens" in sender.problem)
        assert outbox.status().rows == 100
        with Answering(mosquitto, topics=topics(device)) as collector:
            assert sender.flush(60)
            assert collector.rows(device, outbox.boot) == list(range(100))
        until(lambda: sender.problem is None)


def test_without_a_receipt_nothing_is_let_go_of_and_nobody_is_flooded(mosquitto, outbox, device):
    """The broker's word is not enough: it has taken the message, and that is all it says."""
    outbox.put_many(device, [row(n) for n in range(3000)])
    with Answering(mosquitto, topics=topics(device), answers=False) as deaf, sending(outbox, mosquitto) as sender:
        until(lambda: len(deaf.heard) >= 3, seconds=30)  # at once, after one second, after two more
        assert outbox.status().rows == 3000
        assert {decode_readings(payload).seq for _, payload in deaf.heard} == {0}
        deaf.answers = True
        deaf.answer(device, outbox.boot)
        assert sender.flush(30)
        assert deaf.rows(device, outbox.boot) == list(range(3000))


def test_what_the_broker_lost_on_the_way_is_sent_again(mosquitto, outbox, device, monkeypatch):
    monkeypatch.setattr(sender, "RESEND_S", 0.5)
    losing = {"next": True}

    class Lossy(Answering):
        def _hear(self, client, data, message):
            seq = json.loads(message.payload)["seq"]
            if 20 <= seq < 30 and seq not in losing:
                losing[seq] = True  # as a broker that was killed, or whose queue was full
                return
            super()._hear(client, data, message)

    with Lossy(mosquitto, topics=topics(device)) as collector, sending(outbox, mosquitto) as sending_now:
        for number in range(60):
            outbox.put(device, row(number))
            until(lambda: outbox.status().rows <= 12, seconds=20)  # those ten, and what is on the way
        assert sending_now.flush(20)
        assert collector.rows(device, outbox.boot) == list(range(60))


def test_a_broker_that_is_killed_costs_nothing(mosquitto, outbox, device):
    numbers = None
    with sending(outbox, mosquitto) as sender:
        for start in range(0, 300, 100):
            with Answering(mosquitto, topics=topics(device), numbers=numbers) as collector:
                numbers = collector.numbers
                outbox.put_many(device, [row(n) for n in range(start, start + 50)])
                until(lambda: sender.acknowledged > 0)
                mosquitto.kill()
                outbox.put_many(device, [row(n) for n in range(start + 50, start + 100)])
                until(lambda: sender.problem is not None, why="a broker that is away is said")
            mosquitto.start()
        with Answering(mosquitto, topics=topics(device), numbers=numbers) as collector:
            assert sender.flush(60)
            assert collector.rows(device, outbox.boot) == list(range(300))


def test_a_stopped_sender_goes_on_where_it_was(mosquitto, tmp_path, device):
    path = tmp_path / "outbox.sqlite"
    with Answering(mosquitto, topics=topics(device)) as collector:
        for start in range(0, 30, 10):
            with Outbox.open(path) as outbox, sending(outbox, mosquitto):
                outbox.put_many(device, [row(n) for n in range(start, start + 10)])
        with Outbox.open(path) as outbox, sending(outbox, mosquitto) as sender:
            assert sender.flush(20)
            assert collector.rows(device, outbox.boot) == list(range(30))


def test_two_outboxes_of_one_device_do_not_meet(mosquitto, tmp_path, device):
    with (
        Answering(mosquitto, topics=topics(device)) as collector,
        Outbox.open(tmp_path / "one.sqlite") as one,
        Outbox.open(tmp_path / "two.sqlite") as two,
        sending(one, mosquitto) as first,
        sending(two, mosquitto) as second,
    ):
        for _ in range(20):
            one.put(device, row())
            two.put_many(device, [row(), row()])
        assert first.flush(20)
        assert second.flush(20)
        assert collector.rows(device, one.boot) == list(range(20))
        assert collector.rows(device, two.boot) == list(range(40))


def test_one_line_that_nobody_owns_does_not_hold_up_the_others(mosquitto, outbox, device):
    lost = device.replace("/t1/", "/t2/")
    for number in range(200):
        outbox.put(lost, row(number))
        outbox.put(device, row(number))
    with Answering(mosquitto, topics=topics(device)) as collector, sending(outbox, mosquitto) as sender:
        until(lambda: collector.rows(device, outbox.boot) == list(range(200)))
        until(lambda: outbox.status().rows == 200)
        assert lost in sender.problem


def test_a_collector_that_never_answers_does_not_hold_up_the_devices_of_another(mosquitto, outbox, device, monkeypatch):
    """The broker takes it all, as it does for a collector that is away: only receipts tell the two apart."""
    monkeypatch.setattr(sender, "RESEND_S", 0.5)
    monkeypatch.setattr(sender, "WINDOW", 20)
    lost = device.replace("/t1/", "/t2/")
    with (
        Answering(mosquitto, topics=topics(device)) as collector,
        Answering(mosquitto, topics=topics(lost)) as other,
        sending(outbox, mosquitto) as sending_now,
    ):
        outbox.put(lost, row())
        assert sending_now.flush(20)
        other.answers = False
        outbox.put_many(lost, [row(n) for n in range(1, 101)])
        outbox.put_many(device, [row(n) for n in range(100)])
        until(lambda: collector.rows(device, outbox.boot) == list(range(100)))
        until(lambda: outbox.messages == 100)
        assert other.rows(lost, outbox.boot) == list(range(21))
        other.answers = True
        assert sending_now.flush(20)
        assert other.rows(lost, outbox.boot) == list(range(101))


def test_what_was_refused_is_told_once_and_let_go_of(mosquitto, outbox, device):
    told = []
    with Answering(mosquitto, topics=topics(device)) as collector:
        refusal = Refusal(seq=1, rows=1, reason="unknown_signal", message="got x; expected y")
        collector.refused[device, outbox.boot] = [refusal]
        with sending(outbox, mosquitto, on_refused=told.append) as sender:
            for number in range(5):
                outbox.put(device, row(number))
                assert sender.flush(20)
    assert [(each.device, each.seq, each.reason, each.message) for each in told] == [
        (device, 1, "unknown_signal", "got x; expected y")
    ]


@pytest.mark.parametrize("bad", [b"", b"{}", b'{"boot":"b","up_to":"all"}', b"\xff" * 200_000])
def test_a_receipt_that_cannot_be_read_is_said_and_the_next_one_counts(mosquitto, outbox, device, bad):
    with Answering(mosquitto, topics=topics(device), answers=False) as collector, sending(outbox, mosquitto) as sender:
        outbox.put(device, row())
        until(lambda: collector.heard)
        collector._client.publish(f"filiere/v1/{device}/receipt", bad, qos=1)
        until(lambda: sender.problem and "cannot be read" in sender.problem)
        assert outbox.status().rows == 1
        collector.answer(device, outbox.boot)
        assert sender.flush(20)


def test_a_broker_that_does_not_let_us_publish_is_said_and_all_is_kept(own_broker, outbox, device):
    acl = own_broker.folder / "acl"
    acl.write_text(f"topic read filiere/v1/{device}/receipt\n")
    with (own_broker.folder / "mosquitto.conf").open("a") as configuration:
        configuration.write(f"acl_file {acl}\n")
    own_broker.start()
    outbox.put_many(device, [row(n) for n in range(10)])
    with sending(outbox, own_broker) as sender:
        until(lambda: sender.problem and "may publish" in sender.problem)
        assert outbox.status().rows == 10


def test_a_broker_that_does_not_know_us_is_said(own_broker, outbox, device):
    configuration = own_broker.folder / "mosquitto.conf"
    configuration.write_text(configuration.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    own_broker.start()
    outbox.put(device, row())
    with sending(outbox, own_broker) as sender:
        until(lambda: sender.problem and "check user, password" in sender.problem)
    with sending(outbox, own_broker, username="who", password="wrong") as sender:
        until(lambda: sender.problem and "check user, password" in sender.problem)
    assert outbox.status().rows == 1


def test_a_broker_that_gave_our_client_id_to_another_is_understood(outbox):
    connack, session_taken_over = b"\x20\x03\0\0\0", b"\xe0\x02\x8e\0"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Sender(outbox, host="127.0.0.1", port=server.getsockname()[1]) as sender,
    ):
        connection, _ = server.accept()
        with connection:
            connection.sendall(connack + session_taken_over)
            until(lambda: sender.problem and "another client has the same one" in sender.problem)


def test_over_tls_with_a_certificate_of_its_own_it_is_let_in(tmp_path, device):
    server = TlsMosquitto()
    try:
        server.start()
        files = {"--ca": server.tls.ca, "--certificate": server.tls.certificate, "--key": server.tls.key}
        assert "nobody listens" in problem_of(server, tmp_path, device, files)
        del files["--certificate"], files["--key"]
        assert "expected that it takes us" in problem_of(server, tmp_path, device, files)
        files["--ca"] = Authority(tmp_path, "another one").ca
        assert "CERTIFICATE_VERIFY_FAILED" in problem_of(server, tmp_path, device, files)
    finally:
        server.remove()


def problem_of(server, folder, device, files):
    """Why the command cannot send one row."""
    options = [str(part) for option in files.items() for part in option]
    command = [sys.executable, "-m", "collector.outbox", "--device", device, "--file", str(folder / "o.sqlite")]
    command += ["--port", str(server.port), "--drain", "--timeout", "1", "--json", *options]
    done = subprocess.run(command, input=b'{"v":{"melt_temp":1}}\n', capture_output=True, check=False, timeout=60)
    assert done.returncode == 3
    assert b"Traceback" not in done.stderr
    return json.loads(done.stdout)["problem"]


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid", "a b", ""])
def test_a_missing_broker_is_said_and_it_ends_at_once(outbox, device, host):
    outbox.put(device, row())
    with Sender(outbox, host=host, port=free_port()) as sender:
        until(lambda: sender.problem is not None)
        assert "expected an MQTT broker" in sender.problem
    assert outbox.status().rows == 1


def test_the_order_of_putting_is_kept_over_all_devices(mosquitto, outbox, device):
    other = device.replace("extruder", "dryer")
    for number in range(300):
        outbox.put(device if number % 3 else other, row(number))
    with (
        Answering(mosquitto, topics=[topics(device), topics(other)]) as collector,
        sending(outbox, mosquitto) as sender,
    ):
        assert sender.flush(20)
    first, second = [decode_readings(payload).time_ns[0] for _, payload in collector.heard[:2]]
    rest = [decode_readings(payload).time_ns[0] for _, payload in collector.heard[2:]]
    assert {first, second} < set(rest) | {first, second}  # the first of each boot goes ahead, alone
    assert sum(later < earlier for earlier, later in pairwise(rest)) <= 1
