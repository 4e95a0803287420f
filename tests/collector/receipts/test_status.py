"""The receipts process's own word: whether devices are answered, and how far it has read."""

import threading
from contextlib import contextmanager
from random import Random

import pytest

from collector.broker import Broker
from collector.processes import run_receipts
from collector.receipts.book import ReceiptBook
from collector.receipts.desk import ReceiptDesk, ReceiptSender
from collector.receipts.status import StatusFile, read_receipts_status
from filiere.clock import system_clock
from filiere.errors import StoreRefused
from filiere.message_log import MessageLog
from filiere.settings import load_settings
from tests.collector.builders import EXTRUDER, Rig, readings
from tests.collector.mqtt import until
from tests.servers import Mosquitto, free_port


@pytest.fixture
def rig(tmp_path):
    with Rig(tmp_path) as rig:
        yield rig


@contextmanager
def answering(rig, *, port, client_id="receipts-status", **more):
    """A receipts process of the rig's folder, as a thread; gives what reads its status."""
    path, stop = rig.folder / "receipts.status", threading.Event()
    broker = Broker(host="127.0.0.1", port=port, client_id=client_id, **more)
    with (
        MessageLog.open_reader(rig.folder / "messages.sqlite") as log,
        StatusFile(path, clock=system_clock) as status,
    ):
        desk = ReceiptDesk(log=log, open_book=lambda: ReceiptBook.open(rig.book_path))
        sender = ReceiptSender(broker=broker, desk=desk, random=Random(1), stop=stop, status=status)
        thread = threading.Thread(target=sender.run)
        thread.start()
        try:
            yield lambda: read_receipts_status(path)
        finally:
            stop.set()
            thread.join(20)
            desk.close()
    assert not thread.is_alive()


def test_it_says_what_it_answered_how_far_it_read_and_that_it_stopped(mosquitto, rig):
    with answering(rig, port=mosquitto.port) as status:
        until(lambda: status().connected)
        rig.arrive(readings(0), readings(1))
        until(lambda: status().position == 2 and status().answered == 1)
        assert status().problem is None
    assert not status().connected
    with answering(rig, port=mosquitto.port) as status:
        rig.arrive(readings(2))
        until(lambda: status().position == 3 and status().answered >= 2)


def test_without_a_broker_it_says_where_it_looks_for_one_and_lives_on(rig):
    port = free_port()
    with answering(rig, port=port) as status:
        until(lambda: status().problem is not None)
        assert f"no connection to the broker 127.0.0.1:{port}" in status().problem
        rig.arrive(readings(0))
        until(lambda: status().position == 1)
        assert not status().connected


def test_a_broker_that_does_not_let_it_write_a_receipt_is_told_with_the_right_that_is_missing(rig):
    server = Mosquitto()
    (server.folder / "acl").write_text("topic read filiere/#\n")
    configuration = server.folder / "mosquitto.conf"
    configuration.write_text(f"{configuration.read_text()}\nacl_file {server.folder}/acl\n")
    server.start()
    try:
        with answering(rig, port=server.port) as status:
            rig.arrive(readings(0))
            until(lambda: status().problem is not None)
            assert f"the right to write filiere/v1/{EXTRUDER}/receipt" in status().problem
            assert status().answered == 0
    finally:
        server.remove()


def test_what_ends_the_process_is_its_last_word(rig, monkeypatch):
    settings = load_settings(data_dir=rig.folder, mqtt_port=free_port())
    rig.arrive(readings(0))

    def damaged(*_):
        raise StoreRefused("messages 1 to 1 cannot be read; run `filiere log repair`")

    monkeypatch.setattr(MessageLog, "read", damaged)
    with pytest.raises(StoreRefused):
        run_receipts(settings, stop=threading.Event())
    assert "filiere log repair" in read_receipts_status(settings.receipts_status_path).problem


@pytest.mark.parametrize("content", [b"", b"{", b'{"connected":1}', b"\xff\xfe"])
def test_a_file_that_is_no_status_says_nothing(tmp_path, content):
    (tmp_path / "receipts.status").write_bytes(content)
    assert read_receipts_status(tmp_path / "receipts.status") is None
