"""Sends what an outbox holds, over MQTT 5, in the order of putting, until receipts have covered it.

A device that is *quiet* sends its oldest message alone, again and ever later, until a receipt comes: so each one begins
on a new connection, and so it becomes when no receipt came in time or the broker said no. A collector that is away is
not flooded, and the messages of other devices go on. Sent twice, stored once: the numbers see to that.
"""

import math
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from .file import Outbox
from .wire import TOPIC_ROOT, OutboxError, OutboxFull, Receipt, Refused, read_receipt

WINDOW = 10_000
"""Messages without receipt, at most."""
IN_FLIGHT = 500
"""Messages without PUBACK, at most; less when the broker says so (Receive Maximum)."""
RESEND_S, RESEND_S_MAX = 10.0, 300.0
"""How long a receipt is awaited: at least, and at most. Between, twice as long as the last ones took."""
TRY_S, TRY_S_MAX = 0.5, 30.0
"""Between two tries of a quiet device: at first, and at most."""
RECONNECT_S, RECONNECT_S_MAX = 0.25, 30.0
CONNECT_TIMEOUT_S, KEEPALIVE_S, STOP_S, TICK_S = 5.0, 30, 2.0, 0.05
NO_SUBSCRIBER, NOT_AUTHORIZED, TAKEN_OVER = 0x10, 0x87, 0x8E
READ = 200
"""Messages of one look into the outbox."""
TOLD_MAX = 10_000
"""Refusals that are remembered, so that each one is told once."""


@dataclass(slots=True)
class _Device:
    """How one device gets through, on this connection."""

    quiet: bool = True
    tried: int = 0
    """Its oldest message, while it is quiet; 0 = none yet."""
    again_at: float = 0.0
    """When that one is sent (monotonic, s), and how long the wait is after it."""
    wait_s: float = TRY_S
    heard_at: float = -math.inf
    """When its last receipt came."""
    problem: str | None = None
    """Why the broker does not take it."""


class Sender:
    """One connection in a thread of its own, made again for ever. `with` starts and stops it."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        host: str,
        port: int = 1883,
        username: str | None = None,
        password: str | None = None,
        client_id: str = "",
        tls: ssl.SSLContext | None = None,
        on_refused: Callable[[Refused], None] = lambda _: None,
    ) -> None:
        """`on_refused` is called in the sender's thread; after a restart it may be told of a refusal again."""
        self.acknowledged = 0
        """Messages that receipts covered since the start."""
        self.problem: str | None = None
        """Why nothing goes through, or not everything; None = all is well."""
        self.heard_at = -math.inf
        """When the last receipt came (monotonic, s)."""
        self._outbox, self._on_refused = outbox, on_refused
        self._host, self._port, self._login, self._tls = host, port, (username, password), tls
        self._client_id = client_id or f"outbox-{outbox.boot}"
        self._told: set[Refused] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(STOP_S)  # a host that does not answer may hold it up: it is left behind

    def flush(self, timeout_s: float, *, stop: Callable[[], bool] = lambda: False) -> bool:
        """Wait until receipts have covered everything. False when it did not come to that."""
        deadline = time.monotonic() + timeout_s
        while self._outbox.messages and time.monotonic() < deadline and not stop():
            time.sleep(TICK_S)
        return not self._outbox.messages

    def _run(self) -> None:
        wait_s = RECONNECT_S
        while not self._stop.is_set():
            try:
                if self._connection():
                    wait_s = RECONNECT_S
            except (OSError, ValueError, OverflowError) as error:  # the last two: what cannot be a host or a port
                self.problem = f"{self._host}:{self._port}: got {error}; expected an MQTT broker there"
            except OutboxFull as error:  # the disk is: what receipts cover cannot be written down
                self.problem = str(error)
            except OutboxError as error:
                self.problem = str(error)
                return
            except Exception as error:  # noqa: BLE001 - a mistake in this program shall not end the sending for ever
                self.problem = f"got {type(error).__name__}: {error}; tell who maintains this program"
            self._stop.wait(wait_s)
            wait_s = min(2 * wait_s, RECONNECT_S_MAX)

    def _connection(self) -> bool:
        """One connection, from its beginning to its end. Whether the broker took us."""
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=self._client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        self._begin()
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(IN_FLIGHT)
        if self._login[0]:
            client.username_pw_set(*self._login)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.on_connect, client.on_disconnect = self._connected, self._gone
        client.on_publish, client.on_subscribe, client.on_message = self._acked, self._subscribed, self._heard
        client.connect(self._host, self._port, KEEPALIVE_S, clean_start=True)
        try:
            while client.loop(TICK_S) == MQTTErrorCode.MQTT_ERR_SUCCESS and client.socket() and not self._stop.is_set():
                if self._receipts:
                    self._settle()
                if self._room:
                    self._send()
                    self._send_again()
                    problems = (self._unread, *(each.problem for each in self._devices.values()))
                    self.problem = next((problem for problem in problems if problem), None)
        finally:
            client.on_disconnect = None
            client.disconnect()
        return self._room > 0

    def _begin(self) -> None:
        """Nothing is known of a connection before."""
        self._room = 0
        """Messages that may be without PUBACK; 0 = the broker has not taken us yet."""
        self._acks: dict[int, str] = {}
        """Those that are, each with its device."""
        self._devices: dict[str, _Device] = {}
        self._sent: dict[int, tuple[_Device, float]] = {}
        """Message without receipt → its device and when it was sent, the longest ago first; of no quiet device."""
        self._looked = 0
        """The last message that was looked at."""
        self._resend_s = RESEND_S
        self._receipts: list[Receipt] = []
        self._unread: str | None = None
        """Why receipts cannot be read."""

    def _connected(self, _client: object, _data: object, _flags: object, reason: Any, properties: Any) -> None:
        if not reason.is_failure:
            self._room = min(IN_FLIGHT, getattr(properties, "ReceiveMaximum", IN_FLIGHT))

    def _gone(self, _client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        expected = "a connection that stays: it is made again"
        if not self._room:
            expected = "that it takes us: check user, password, certificate and port"
        elif reason.value == TAKEN_OVER:
            expected = "a client id of our own: another client has the same one"
        self.problem = f"got {reason} from the broker; expected {expected}"

    def _subscribed(self, _client: object, _data: object, _mid: int, reasons: Any, _properties: object) -> None:
        if any(reason.is_failure for reason in reasons):
            self._unread = f"got {reasons[0]} from the broker; expected to read receipts: without, all is kept"

    def _acked(self, _client: object, _data: object, mid: int, reason: Any, _properties: object) -> None:
        name = self._acks.pop(mid)
        device = self._devices[name]
        device.problem = None
        if reason.is_failure or reason.value == NO_SUBSCRIBER:
            expected = "that it takes the message"
            if reason.value == NO_SUBSCRIBER:
                expected = "a collector that owns this line: nobody listens"
            elif reason.value == NOT_AUTHORIZED:
                expected = "that we may publish there: check its access list"
            device.problem = f"{name}: got {reason} from the broker; expected {expected}"
            self._hush(device, time.monotonic() + TRY_S)

    def _heard(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        name = message.topic.removeprefix(f"{TOPIC_ROOT}/").removesuffix("/receipt")
        try:
            if name in self._devices:
                self._receipts.append(read_receipt(name, bytes(message.payload)))
            self._unread = None
        except OutboxError as error:
            self._unread = f"{message.topic}: {error}"

    def _settle(self) -> None:
        """Let go of what receipts cover, and tell what was refused."""
        receipts, self._receipts = self._receipts, []
        gone, now = self._outbox.settle(receipts), time.monotonic()
        self.acknowledged, self.heard_at = self.acknowledged + len(gone), now
        if took := [now - sent[1] for each in gone if (sent := self._sent.pop(each, None))]:
            self._resend_s = min(max(RESEND_S, 2 * max(took)), RESEND_S_MAX)
        for receipt in receipts:
            device = self._devices[receipt.device]
            device.heard_at = now
            if device.quiet and device.tried:
                self._looked = min(self._looked, device.tried - 1)
            device.quiet = False
            for refused in receipt.refused:
                if refused not in self._told:
                    self._told = self._told if len(self._told) < TOLD_MAX else set()
                    self._told.add(refused)
                    self._on_refused(refused)

    def _send(self) -> None:
        """What was not sent yet, as far as there is room."""
        while self._free() and (found := self._outbox.after(self._looked, READ)):
            for message, name in found:
                device = self._devices.get(name) or self._new(name)
                if device.quiet:
                    device.tried = min(device.tried or message, message)
                elif message not in self._sent:
                    if not self._free():
                        return
                    self._sent[message] = device, time.monotonic()
                    self._publish(message, name)
                self._looked = message

    def _free(self) -> bool:
        return len(self._acks) < self._room and len(self._sent) < WINDOW

    def _send_again(self) -> None:
        """What has no receipt in time: it was lost where its device has others since, else nobody answers."""
        now = time.monotonic()
        late = takewhile(lambda each: now - each[1][1] >= self._resend_s, self._sent.items())
        for message, (device, sent_at) in list(late):
            if device.heard_at > sent_at:
                del self._sent[message]
                self._looked = min(self._looked, message - 1)
            else:
                self._hush(device, now)
        for name, device in self._devices.items():
            if device.quiet and device.tried and now >= device.again_at and len(self._acks) < self._room:
                self._publish(device.tried, name)
                device.again_at, device.wait_s = now + device.wait_s, min(2 * device.wait_s, TRY_S_MAX)

    def _hush(self, device: _Device, again_at: float) -> None:
        if not device.quiet:
            mine = [message for message, (of, _) in self._sent.items() if of is device]
            for message in mine:
                del self._sent[message]
            device.quiet, device.tried, device.again_at, device.wait_s = True, min(mine, default=0), again_at, TRY_S

    def _new(self, name: str) -> _Device:
        self._client.subscribe(f"{TOPIC_ROOT}/{name}/receipt", qos=1)
        self._devices[name] = device = _Device()
        return device

    def _publish(self, message: int, name: str) -> None:
        topic, payload = self._outbox.publication(message)
        self._acks[self._client.publish(topic, payload, qos=1).mid] = name
