"""The receipts process: it answers what is on the disk, no more, and no oftener than it should."""

import threading
from random import Random

import pytest
from structlog.testing import capture_logs

from collector.broker import Broker
from collector.outbox import Outbox, Sender
from collector.receipts import desk as receipt_desk
from collector.receipts.book import ReceiptBook
from collector.receipts.desk import SEND_S, ReceiptDesk, ReceiptSender
from collector.receipts.receipt import Receipt, decode_receipt
from collector.recorder.numbers import Numbers
from filiere.errors import StoreRefused, StoreUnavailable
from filiere.message_log import MessageLog
from tests.chain_events import closed, portion, received, started
from tests.collector.builders import EXTRUDER, LINE, NOON_NS, TERMINAL_TOPIC, TOPIC, Rig, event, readings
from tests.collector.mqtt import until
from tests.servers import Mosquitto, free_port

RECEIPT_TOPIC = f"filiere/v1/{EXTRUDER}/receipt"


@pytest.fixture
def rig(tmp_path):
    with Rig(tmp_path) as rig:
        yield rig


class Desk:
    """A desk on a rig's files, with a clock of its own."""

    def __init__(self, rig):
        self.now_s = 100.0
        self._rig = rig
        self.restart()

    def restart(self):
        log = MessageLog.open_reader(self._rig.folder / "messages.sqlite")
        self.desk = ReceiptDesk(
            log=log, open_book=lambda: ReceiptBook.open(self._rig.book_path), now=lambda: self.now_s
        )

    def receipts(self, *, limit=100, later_s=SEND_S):
        """What is due after a while: topic → receipts."""
        self.now_s += later_s
        while self.desk.follow():
            pass
        self.desk.look_at_refusals()
        return [(topic, decode_receipt(payload)) for _, topic, payload in self.desk.due(limit)]

    def receipt(self, **more):
        ((_, receipt),) = self.receipts(**more)
        return receipt


@pytest.fixture
def desk(rig):
    desk = Desk(rig)
    yield desk
    desk.desk.close()
    desk.desk._messages.close()


def test_what_is_in_the_log_is_receipted_before_it_is_recorded(rig, desk):
    rig.arrive(readings(0), readings(1, rows=5), readings(8), readings(0, boot="other"))
    found = {receipt.boot: receipt for receipt in [desk.receipt(), desk.receipt()]}
    assert found["9f2c"] == Receipt(boot="9f2c", up_to=5, spans=((8, 8),))
    assert found["other"] == Receipt(boot="other", up_to=0)
    assert desk.receipts() == []


def test_readings_and_events_are_numbered_together(rig, desk):
    rig.arrive(readings(0))
    rig.arrive(event(1, closed()), topic=TOPIC.replace("readings", "events"))
    assert desk.receipt().up_to == 1


def test_who_sends_again_is_answered_again(rig, desk):
    rig.arrive(readings(0))
    assert desk.receipt() == desk_receipt(0)
    rig.arrive(readings(0))
    assert desk.receipt() == desk_receipt(0)


def desk_receipt(up_to, boot="9f2c"):
    return Receipt(boot=boot, up_to=up_to)


def test_one_device_gets_at_most_five_a_second_and_the_last_one_says_all(rig, desk):
    sent = []
    for seq in range(100):
        rig.arrive(readings(seq))
        sent += desk.receipts(later_s=0.01)
    sent += desk.receipts()
    assert len(sent) <= 1 + round(100 * 0.01 / SEND_S) + 1
    assert sent[-1] == (RECEIPT_TOPIC, desk_receipt(99))


def test_every_device_has_its_turn(rig, desk):
    for device in range(20):
        rig.arrive(readings(0), topic=TOPIC.replace("extruder", f"device_{device}"))
    first, second = desk.receipts(limit=15), desk.receipts(limit=15)
    assert len(first) == 15
    assert len({topic for topic, _ in first + second}) == 20


def test_a_restart_knows_what_was_before_it(rig, desk):
    rig.record(readings(0, rows=10), readings(15, rows=5))
    rig.arrive(readings(10, rows=2))
    desk.restart()
    assert desk.desk.position == 2
    assert desk.receipt() == Receipt(boot="9f2c", up_to=11, spans=((15, 19),))
    rig.arrive(readings(12, rows=3))
    assert desk.receipt() == desk_receipt(19)


def test_without_a_recorder_it_reads_the_log_from_its_beginning(rig, tmp_path):
    rig.arrive(readings(0), readings(1))

    def no_book():
        raise StoreUnavailable("no recorder's book yet")

    with MessageLog.open_reader(tmp_path / "messages.sqlite") as log:
        desk = ReceiptDesk(log=log, open_book=no_book)
        desk.follow()
        desk.look_at_refusals()
        ((_, _, payload),) = desk.due(10)
    assert decode_receipt(payload) == desk_receipt(1)


def test_what_was_refused_is_covered_and_told_with_its_reason(rig, desk):
    rig.arrive(readings(0), readings(1, foo=1), readings(2))
    assert desk.receipt() == desk_receipt(2)
    rig.record()
    receipt = desk.receipt()
    assert (receipt.up_to, [(each.seq, each.rows, each.reason) for each in receipt.refused]) == (
        2,
        [(1, 1, "unknown_signal")],
    )
    assert "foo" in receipt.refused[0].message
    assert desk.receipts() == []


def test_a_device_that_is_in_no_plant_is_answered_too(rig, desk):
    topic = TOPIC.replace("extruder", "oven")
    rig.record(readings(0), topic=topic)
    ((to, receipt),) = desk.receipts()
    assert to == RECEIPT_TOPIC.replace("extruder", "oven")
    assert (receipt.up_to, [each.reason for each in receipt.refused]) == (0, ["unknown_device"])


def test_a_device_that_was_away_hears_later_what_was_refused(rig, desk):
    rig.record(readings(0, foo=1))
    desk.restart()
    rig.record(readings(1))
    assert [each.seq for each in desk.receipt().refused] == [0]
    rig.record(readings(2))
    assert desk.receipt().refused == ()
    rig.record(readings(3))
    assert [each.seq for each in desk.receipt(later_s=receipt_desk.REPEAT_S).refused] == [0]


def test_an_event_that_waited_and_is_refused_at_last_is_told(rig, desk):
    rig.record(event(0, started("R1", "S1", portion("B1", "900"))), topic=TERMINAL_TOPIC)
    terminal = f"filiere/v1/{LINE}/terminal/receipt"
    assert desk.receipts() == [(terminal, desk_receipt(0))]
    rig.record(readings(0, foo=1))  # refused meanwhile: what is refused later stands before it in the log
    desk.receipts()
    rig.record(event(1, received("B1", "500")), topic=TERMINAL_TOPIC)
    (_, receipt) = desk.receipts()[-1]
    assert [(each.seq, each.reason) for each in receipt.refused] == [(0, "event_refused")]


def test_a_flood_of_boots_does_not_fill_the_memory_and_claims_nothing(rig, desk, monkeypatch):
    monkeypatch.setattr(receipt_desk, "BOOTS_MAX", 10)
    rig.record(readings(0, rows=3))
    desk.receipts()
    rig.record(*(readings(0, boot=f"boot{number}") for number in range(50)))
    rig.arrive(readings(3))
    answered = []
    while found := desk.receipts():
        assert len(desk.desk._devices[EXTRUDER].boots) <= 10
        answered += [receipt for _, receipt in found]
    assert len(answered) == 10
    assert all(receipt.up_to == (3 if receipt.boot == "9f2c" else 0) for receipt in answered)


def test_a_flood_of_devices_does_not_fill_the_memory(rig, desk, monkeypatch):
    monkeypatch.setattr(receipt_desk, "DEVICES_MAX", 10)
    for number in range(50):
        rig.arrive(readings(0), topic=TOPIC.replace("extruder", f"device_{number}"))
    assert len(desk.receipts()) == 10
    assert len(desk.desk._devices) == 10
    assert not desk.desk._owing


def test_a_device_that_skips_numbers_does_not_fill_the_memory(rig, desk, monkeypatch):
    monkeypatch.setattr(receipt_desk, "SPANS_KEPT", 5)
    rig.arrive(readings(0), *(readings(seq) for seq in range(2, 100, 2)))
    assert desk.receipt().spans[-1] == (98, 98)
    spans = desk.desk._known(EXTRUDER, "9f2c").numbers.spans
    assert len(spans) <= 10
    assert spans[0] == (0, 0)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("tele/scale/SENSOR", b"12.4"),
        (TOPIC, b"\xff"),
        (TOPIC, b'{"seq":1'),
        (TOPIC.replace("readings", "state"), b"{}"),
    ],
)
def test_a_foreign_or_unreadable_message_is_not_receipted(rig, desk, topic, payload):
    rig.record(payload, topic=topic)
    assert desk.receipts() == []


def test_another_log_in_its_place_is_refused(rig, desk, tmp_path):
    rig.arrive(readings(0), readings(1))
    desk.receipts()
    with MessageLog.open(tmp_path / "other" / "messages.sqlite") as other:
        desk.desk._messages = other
        with pytest.raises(StoreRefused, match="another message log"):
            desk.desk.follow()


def test_a_pruned_log_is_no_gap(rig, desk):
    rig.record(*(readings(seq) for seq in range(10)))
    desk.receipts()
    desk.desk._known(EXTRUDER, "9f2c").numbers = Numbers([(0, 2)])  # as one that fell behind the pruning
    desk.desk.position = 3
    rig.log._connection.execute('DELETE FROM message WHERE "offset" <= 5')
    assert desk.receipt() == desk_receipt(9)


def test_over_a_real_broker_a_broker_that_goes_away_costs_nothing(mosquitto, rig, tmp_path):
    stop = threading.Event()
    rig.record(readings(0))
    broker = Broker(host=mosquitto.host, port=mosquitto.port, client_id="receipts-of-a-test")
    told = []
    with (
        MessageLog.open_reader(tmp_path / "messages.sqlite") as log,
        Outbox.open(tmp_path / "outbox.sqlite") as outbox,
    ):
        desk = ReceiptDesk(log=log, open_book=lambda: ReceiptBook.open(rig.book_path))
        sender = ReceiptSender(broker=broker, desk=desk, random=Random(1), stop=stop)
        thread = threading.Thread(target=sender.run)
        thread.start()
        try:
            with Sender(outbox, host=mosquitto.host, port=mosquitto.port, on_refused=told.append):
                for seq in range(3):
                    outbox.put(EXTRUDER, {"t": NOON_NS // 10**6, "v": {"melt_temp" if seq != 1 else "foo": 1.0}})
                    rig.record(readings(seq, boot=outbox.boot, **{"melt_temp" if seq != 1 else "foo": 1.0}))
                    if seq == 1:
                        mosquitto.kill()
                        mosquitto.start()
                until(lambda: not outbox.messages)
                until(lambda: told)
        finally:
            stop.set()
            thread.join(20)
            desk.close()
    assert not thread.is_alive()
    assert [(each.seq, each.reason) for each in told] == [(1, "unknown_signal")]


def test_without_a_broker_it_goes_on_reading_and_ends_when_asked(rig, tmp_path):
    stop = threading.Event()
    broker = Broker(host="127.0.0.1", port=free_port(), client_id="receipts")
    with MessageLog.open_reader(tmp_path / "messages.sqlite") as log:
        desk = ReceiptDesk(log=log, open_book=lambda: ReceiptBook.open(rig.book_path))
        thread = threading.Thread(target=ReceiptSender(broker=broker, desk=desk, random=Random(1), stop=stop).run)
        thread.start()
        try:
            rig.arrive(readings(0), readings(1))
            until(lambda: desk.position == 2)
        finally:
            stop.set()
            thread.join(20)
            desk.close()
    assert not thread.is_alive()


def test_a_broker_that_does_not_know_it_is_tried_again_and_the_log_is_read_meanwhile(rig, tmp_path):
    server = Mosquitto()
    configuration = server.folder / "mosquitto.conf"
    configuration.write_text(configuration.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    server.start()
    stop = threading.Event()
    broker = Broker(host=server.host, port=server.port, client_id="receipts", username="who", password="wrong")
    try:
        with MessageLog.open_reader(tmp_path / "messages.sqlite") as log, capture_logs() as words:
            desk = ReceiptDesk(log=log, open_book=lambda: ReceiptBook.open(rig.book_path))
            thread = threading.Thread(target=ReceiptSender(broker=broker, desk=desk, random=Random(1), stop=stop).run)
            thread.start()
            try:
                rig.arrive(readings(0))
                until(lambda: sum(each["event"] == "the broker refuses the receipts" for each in words) > 1)
                until(lambda: desk.position == 1)
            finally:
                stop.set()
                thread.join(20)
                desk.close()
        assert not thread.is_alive()
    finally:
        server.remove()
