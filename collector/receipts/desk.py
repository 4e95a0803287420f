"""The receipts process: a reader of the message log that answers each device with what of its numbers is on the disk.

It keeps no file. Where it starts, the recorder's book says which numbers came before; from there it reads the log
behind the intake. What it forgets (a restart, too many devices) makes a receipt say less, never more: the device sends
again, and is answered.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from collector.broker import Broker, ssl_context
from collector.codec import parse_topic
from collector.patience import waits_s
from collector.receipts.book import ReceiptBook
from collector.receipts.receipt import REFUSALS_MAX, Refusal, encode_receipt, numbers_of, receipt_of, receipt_topic
from collector.receipts.status import StatusFile
from collector.recorder.numbers import Numbers
from filiere.errors import MessageRefused, StoreRefused, StoreUnavailable
from filiere.message_log import MessageLog
from filiere.settings import variable

READ_MESSAGES = 256
"""Messages of one read from the log: of the largest ones, 64 MiB."""
READS_MAX = 20
"""Reads between two looks at the broker."""
SEND_S = 0.2
"""Between two receipts of one device: five a second."""
LOOK_S = 0.5
"""Between two looks at what the recorder refused."""
REPEAT_S = 10.0
"""How often a device that sends is told again what was refused: it may have missed it."""
DEVICES_MAX, BOOTS_MAX = 5_000, 50
"""Devices in memory, and boots of each: who was not heard for longest goes first. A flood of boots is one device's."""
SPANS_KEPT = 1_000
"""Spans of one boot in memory, the newest: a device that skips every other number shall not fill it."""
REFUSED_READ_MAX = 1_000
IN_FLIGHT_MAX = 200
"""Receipts without PUBACK, at most."""
IDLE_S = 0.05
"""Longest wait for the broker's socket: how late a new message in the log is seen."""
KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 5.0
NO_SUBSCRIBER = 0x10
"""Reason of a PUBACK: the broker took it, and nobody listens."""

Key = tuple[str, str]
"""Device path and boot."""
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Boot:
    """What is known of one boot of a device."""

    numbers: Numbers
    refusals_at: float = 0.0
    """When its refusals are to be told again (monotonic, s)."""


@dataclass(slots=True)
class _Device:
    """What is known of one device."""

    boots: OrderedDict[str, _Boot] = field(default_factory=OrderedDict)
    """The one that was heard last stands last."""
    owed: dict[str, None] = field(default_factory=dict)
    """Boots that are to be answered, in their turn."""
    due_at: float = 0.0


class ReceiptDesk:
    """Follows the log and says which receipt is due when. Knows nothing of MQTT."""

    def __init__(
        self, *, log: MessageLog, open_book: Callable[[], ReceiptBook], now: Callable[[], float] = time.monotonic
    ) -> None:
        """`open_book` opens a reader of the recorder's book, which may not be there yet (StoreUnavailable)."""
        self._messages = log
        self._open_book = open_book
        self._book: ReceiptBook | None = None
        self._now = now
        self._devices: OrderedDict[str, _Device] = OrderedDict()
        self._owing: dict[str, None] = {}
        self._waiting: frozenset[int] = frozenset()
        book = self._known_book()
        self.position = 0 if book is None else book.recorded_to()
        """Offset of the last message that was looked at. The book has the numbers of those before the first one."""
        self._refused_to = 0 if book is None else book.newest_refused()

    def close(self) -> None:
        """Let go of the book."""
        if self._book is not None:
            self._book.close()

    def follow(self) -> bool:
        """Look at the next messages of the log. Returns whether there are more.

        Raises:
            StoreUnavailable, StoreRefused: the log cannot be read, or another one was put in its place.
        """
        messages = self._messages.read(self.position, READ_MESSAGES)
        if not messages:
            if self._messages.head() < self.position:
                raise StoreRefused(f"{self._messages.path}: got another message log than the one that was read so far")
            return False
        if messages[0].offset != self.position + 1:  # pruned: the book has those numbers, what is in memory does not
            for each in self._devices.values():
                each.boots.clear()
        for message in messages:
            found = numbers_of(message.topic, message.payload)
            if found is not None:
                device, identity = found
                known = self._owe(device, identity.boot)
                known.numbers.add(identity.seq, identity.seq + identity.rows - 1)
        self.position = messages[-1].offset
        return len(messages) == READ_MESSAGES

    def look_at_refusals(self) -> None:
        """Owe a receipt to every device of which the recorder has refused something since the last look."""
        book = self._known_book()
        if book is None:
            return
        refused = book.refused_after(self._refused_to, REFUSED_READ_MAX)
        waiting = book.waiting()
        late = self._waiting - waiting  # events that waited: what was refused of them stands at an earlier offset
        self._waiting = waiting
        if refused:
            self._refused_to = refused[-1][0]
        for offset in late:
            refused += [each for each in book.refused_after(offset - 1, 1) if each[0] == offset]
        for _, topic, boot in refused:
            if boot is not None:
                with suppress(MessageRefused):
                    self._owe(parse_topic(topic).device_path, boot).refusals_at = 0.0

    def due(self, limit: int) -> Iterator[tuple[Key, str, bytes]]:
        """At most `limit` receipts whose time has come: whom it answers, topic, payload. They count as sent."""
        now_s = self._now()
        for name in [name for name in self._owing if self._devices[name].due_at <= now_s][:limit]:
            device = self._devices[name]
            boot = next(iter(device.owed))
            del device.owed[boot]
            device.due_at = now_s + SEND_S
            if not device.owed:
                del self._owing[name]
            yield (name, boot), receipt_topic(name), self._receipt(name, boot, now_s)

    def owe_again(self, key: Key) -> None:
        """A receipt did not reach the broker: another one, of what is known by then, is due."""
        self._owe(*key)

    def missed(self, key: Key) -> None:
        """Nobody heard that receipt: what was refused is told again with the next one."""
        device, boot = key
        if device in self._devices and boot in self._devices[device].boots:
            self._devices[device].boots[boot].refusals_at = 0.0

    def _receipt(self, device: str, boot: str, now_s: float) -> bytes:
        known = self._known(device, boot)
        known.numbers.take_changes()  # nobody writes them down here
        if len(known.numbers.spans) > 2 * SPANS_KEPT:
            known.numbers = Numbers((*known.numbers.spans[:1], *known.numbers.spans[-SPANS_KEPT:]))
        refused: list[Refusal] = []
        book = self._known_book()
        if book is not None and now_s >= known.refusals_at:
            known.refusals_at = now_s + REPEAT_S
            refused = book.refusals(device, boot, REFUSALS_MAX)
        return encode_receipt(receipt_of(boot, known.numbers.spans, refused))

    def _owe(self, device: str, boot: str) -> _Boot:
        """A boot of a device was heard, or is to hear something."""
        known = self._known(device, boot)
        self._devices[device].owed[boot] = None
        self._owing[device] = None
        return known

    def _known(self, name: str, boot: str) -> _Boot:
        """What is known of a boot; where it was forgotten, what the book has."""
        device = self._devices.get(name)
        if device is None:
            device = self._devices[name] = _Device()
            if len(self._devices) > DEVICES_MAX:
                forgotten, _ = self._devices.popitem(last=False)
                self._owing.pop(forgotten, None)
        self._devices.move_to_end(name)
        known = device.boots.get(boot)
        if known is None:
            book = self._known_book()
            spans = () if book is None else book.known_spans(name, boot, SPANS_KEPT)
            known = device.boots[boot] = _Boot(Numbers(spans))
            if len(device.boots) > BOOTS_MAX:
                forgotten, _ = device.boots.popitem(last=False)
                device.owed.pop(forgotten, None)
        device.boots.move_to_end(boot)
        return known

    def _known_book(self) -> ReceiptBook | None:
        """None before a recorder has run in this folder: then nothing of the log is in a book either."""
        if self._book is None:
            try:
                self._book = self._open_book()
            except StoreUnavailable:
                return None
        return self._book


class ReceiptSender:
    """Sends what the desk owes, for ever; goes on reading while the broker is away."""

    def __init__(
        self,
        *,
        broker: Broker,
        desk: ReceiptDesk,
        random: Random,
        stop: threading.Event,
        status: StatusFile | None = None,
    ) -> None:
        self._broker = broker
        self._desk = desk
        self._random = random
        self._stop = stop
        self._status = status
        self._answered = 0
        self._look_at = 0.0

    def run(self) -> None:
        """Answer devices until asked to stop. Raises StoreUnavailable, StoreRefused: the log or the book fails."""
        waits = waits_s(self._random)
        while not self._stop.is_set():
            connection = _Connection(self._broker, missed=self._desk.missed, answered=self._count_answered)
            problem = None
            try:
                connection.open()
                self._serve(connection)
            except (OSError, UnicodeError) as error:  # the second: a host that cannot be a name
                problem = f"no connection to the broker {self._broker.address}: {error}; is it running there?"
                _log.warning("no connection to the broker", address=self._broker.address, got=str(error))
            finally:
                connection.close()
                for key in connection.on_the_way.values():
                    self._desk.owe_again(key)
            self._say(connected=False, problem=problem or connection.problem)
            if connection.was_ready:
                waits = waits_s(self._random)
            deadline = time.monotonic() + next(waits)
            while not self._stop.is_set() and (left_s := deadline - time.monotonic()) > 0.0:
                if not self._read():
                    self._stop.wait(min(left_s, IDLE_S))

    def _serve(self, connection: "_Connection") -> None:
        behind = False
        while not self._stop.is_set() and connection.loop(0.0 if behind else IDLE_S):
            behind = self._read()
            if connection.ready:
                for key, topic, payload in self._desk.due(IN_FLIGHT_MAX - len(connection.on_the_way)):
                    connection.send(key, topic, payload)
                self._say(connected=True, problem=connection.problem)

    def _count_answered(self) -> None:
        self._answered += 1

    def _say(self, *, connected: bool, problem: str | None) -> None:
        if self._status is not None:
            self._status.say(connected=connected, problem=problem)

    def _read(self) -> bool:
        behind = False
        for _ in range(READS_MAX):
            behind = self._desk.follow()
            if not behind:
                break
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_S
            self._desk.look_at_refusals()
        if self._status is not None:
            self._status.count(position=self._desk.position, answered=self._answered)
            self._answered = 0
        return behind


class _Connection:
    """One MQTT 5 connection, used by one thread. Packet ids belong to it, and so does what is on the way."""

    def __init__(
        self, broker: Broker, *, missed: Callable[[Key], None], answered: Callable[[], None] = lambda: None
    ) -> None:
        """`missed` is told whose receipt nobody heard, `answered` of each one that the broker took."""
        self.problem: str | None = None
        """Why the broker does not let it answer; None = it does, as far as is known."""
        self.ready = False
        self.was_ready = False
        self.on_the_way: dict[int, Key] = {}
        self._broker = broker
        self._missed = missed
        self._answered = answered
        self._denied: set[str] = set()
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=broker.client_id, protocol=paho.MQTTv5)
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(IN_FLIGHT_MAX)
        if broker.username:
            client.username_pw_set(broker.username, broker.password)
        if broker.tls is not None:
            client.tls_set_context(ssl_context(broker.tls))
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        self._client = client

    def open(self) -> None:
        """Connect, without a session: a receipt that nobody waits for is worth nothing. Raises OSError."""
        self._client.connect(self._broker.host, self._broker.port, KEEPALIVE_S, clean_start=True)

    def loop(self, wait_s: float) -> bool:
        """Wait for the socket and serve it. False when the connection is gone."""
        return self._client.loop(wait_s) == MQTTErrorCode.MQTT_ERR_SUCCESS

    def send(self, key: Key, topic: str, payload: bytes) -> None:
        """Publish at QoS 1."""
        self.on_the_way[self._client.publish(topic, payload, qos=1).mid] = key

    def close(self) -> None:
        """Say goodbye where that is possible."""
        self._client.disconnect()

    def _on_connect(self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            _log.error("the broker refuses the receipts", reason=str(reason), client_id=self._broker.client_id)
            self.problem = (
                f"the broker {self._broker.address} refuses {self._broker.client_id!r}: {reason}; let this account in,"
                f" or correct {variable('mqtt_username')} and {variable('mqtt_password')}"
            )
            return
        self.ready = self.was_ready = True
        _log.info("receipts ready", host=self._broker.host)

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        self.ready = False
        if reason.is_failure:
            _log.warning("the connection to the broker is lost", reason=str(reason))

    def _on_publish(self, _client: paho.Client, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        key = self.on_the_way.pop(mid, ("", ""))
        if reason.value == NO_SUBSCRIBER:
            self._missed(key)
        if not reason.is_failure:
            self._answered()
        elif key[0] not in self._denied:  # once a connection and device: it is so each time
            self._denied.add(key[0])
            _log.error("the broker refuses a receipt", device=key[0], reason=str(reason))
            self.problem = (
                f"the broker refuses the receipts of {key[0]}: {reason};"
                f" give {self._broker.username or 'the collector'} the right to write {receipt_topic(key[0])}"
            )
