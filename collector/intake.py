"""The intake: the only thing that acknowledges, and it understands nothing. The only module here that knows paho.

One thread: take what the socket has, one COMMIT in the message log for all of it, then the PUBACKs, never before. While
the disk refuses, nothing is acknowledged and nothing more is read: the broker keeps what it has.
"""

import select
import threading
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from collector.codec import TOPIC_ROOT
from collector.patience import Patience, Stopped, waits_s
from filiere.clock import Clock
from filiere.message_log import MessageLog

SUBSCRIPTION = f"{TOPIC_ROOT}/#"
"""All of it, also what no part of this program expects: it is kept and quarantined, not silently left at the broker."""
RECEIVE_MAX = 1_000
"""Messages that the broker sends ahead of our PUBACKs, and so the most that one COMMIT holds."""
BATCH_BYTES_MAX = 16 * 1024 * 1024
SESSION_EXPIRY_S = 30 * 24 * 3600
"""How long the broker keeps messages for a collector that is gone."""
KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 5.0
WAIT_S = 0.2
"""Longest wait for the socket: how soon a request to stop is seen."""

_RETAINED_ONCE = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is and as whom to connect."""

    host: str
    port: int
    client_id: str
    """The broker keeps the session by this name."""
    username: str | None = None
    password: str | None = None


class Intake:
    """One process has one; it is the only writer of the message log."""

    def __init__(self, *, broker: Broker, log: MessageLog, clock: Clock, random: Random, stop: threading.Event) -> None:
        self._broker = broker
        self._messages = log
        self._clock = clock
        self._random = random
        self._stop = stop
        self._patience = Patience(stop=stop, random=random, note=_note_disk)

    def run(self) -> None:
        """Take messages until asked to stop; connect again, for ever, when the broker goes away."""
        waits = waits_s(self._random)
        while not self._stop.is_set():
            # a client a connection: what an earlier connection still had to acknowledge is forgotten with it, because
            # packet ids belong to one connection; the broker sends those messages again
            connection = _Connection(self._broker, self._clock)
            try:
                connection.open()
                self._serve(connection)
            except (OSError, UnicodeError) as error:  # the second: a host that cannot be a name
                address = f"{self._broker.host}:{self._broker.port}"
                _log.warning("no connection to the broker", address=address, got=str(error))
            except Stopped:
                _log.info("intake stopped while it waited for the disk")
            finally:
                connection.close()
            if connection.was_ready:
                waits = waits_s(self._random)
            self._stop.wait(next(waits))

    def _serve(self, connection: "_Connection") -> None:
        while not self._stop.is_set() and connection.wait(WAIT_S):
            connection.read()
            if connection.batch:
                logged = [message.logged for message in connection.batch]
                self._patience.until_done(partial(self._messages.append, logged))
                connection.acknowledge()


@dataclass(frozen=True, slots=True)
class _Taken:
    """A message that is not acknowledged yet."""

    logged: tuple[bytes, bytes, int]
    """Topic, payload, record time (UTC ns)."""
    mid: int
    qos: int


class _Connection:
    """One MQTT 5 connection of the collector's session."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self.batch: list[_Taken] = []
        self.was_ready = False
        self._broker = broker
        self._clock = clock
        self._size = 0
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=broker.client_id, protocol=paho.MQTTv5, manual_ack=True
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        if broker.username:
            client.username_pw_set(broker.username, broker.password)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        self._client = client

    def open(self) -> None:
        """Connect; the session goes on where it was. Raises OSError."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        properties.ReceiveMaximum = RECEIVE_MAX
        self._client.connect(
            self._broker.host, self._broker.port, KEEPALIVE_S, clean_start=False, properties=properties
        )

    def wait(self, wait_s: float) -> bool:
        """Wait for the socket and keep the connection alive. False when it is gone."""
        socket = self._client.socket()
        if socket is None:
            return False
        _, writable, _ = select.select([socket], [socket] if self._client.want_write() else [], [], wait_s)
        if writable:
            self._client.loop_write()
        return self._client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS

    def read(self) -> None:
        """Take the messages that have arrived, up to the limits of a batch; the socket is never waited for."""
        before = -1
        while before != len(self.batch) < RECEIVE_MAX and self._size < BATCH_BYTES_MAX:
            before = len(self.batch)
            self._client.loop_read()

    def acknowledge(self) -> None:
        """Acknowledge the batch. It must be on the disk."""
        for message in self.batch:
            self._client.ack(message.mid, message.qos)
        self.batch.clear()
        self._size = 0

    def close(self) -> None:
        """Say goodbye where that is possible; the broker keeps the session."""
        self._client.disconnect()

    def _on_connect(
        self, client: paho.Client, _userdata: Any, flags: paho.ConnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            _log.error("the broker refuses the collector", reason=str(reason), client_id=self._broker.client_id)
            return
        _log.info("connected to the broker", host=self._broker.host, session_kept=flags.session_present)
        client.subscribe(SUBSCRIPTION, options=SubscribeOptions(qos=1, retainHandling=_RETAINED_ONCE))

    def _on_subscribe(
        self, client: paho.Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            _log.error("the broker refuses the subscription", topics=SUBSCRIPTION, reason=str(reasons[0]))
            client.disconnect()
            return
        self.was_ready = True
        _log.info("intake ready", topics=SUBSCRIPTION)

    def _on_disconnect(
        self, _client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            _log.warning("the connection to the broker is lost", reason=str(reason))

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic.encode()
        except UnicodeDecodeError:
            topic = b""  # no broker lets one through; the recorder quarantines it as it is
        self.batch.append(
            _Taken(logged=(topic, bytes(message.payload), self._clock()), mid=message.mid, qos=message.qos)
        )
        self._size += len(message.payload)


def _note_disk(problem: str | None) -> None:
    if problem is not None:
        _log.error("nothing is acknowledged: the message log cannot be written", problem=problem)
