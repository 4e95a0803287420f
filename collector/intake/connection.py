"""The MQTT door of the collector: one connection of its session, and the adapter that is paho as it comes.

The intake uses the faster adapter, `BulkConnection`; both pass the same conformance tests, and this one stays as what
the other is compared with.
"""

import enum
import select
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from collector.broker import Broker, ssl_context
from collector.intake.assignment import HeldFilters
from filiere.clock import Clock

RECEIVE_MAX = 2_000
"""Messages that the broker sends ahead of our acknowledgements: one batch on its way to the disk, one behind it."""
BATCH_MESSAGES_MAX = 1_000
"""Beyond it nothing more is received until the batch is on the disk; one receive may bring somewhat more."""
BATCH_BYTES_MAX = 16 * 1024 * 1024
SESSION_EXPIRY_S = 30 * 24 * 3600
"""How long the broker keeps messages for a collector that is gone."""
KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 5.0

Logged = tuple[bytes, bytes, int]
"""Topic, payload, record time (UTC ns): a message as the message log takes it."""
Version = MQTTProtocolVersion
MQTT_5, MQTT_3 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311

_RETAINED_ONCE = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
_log = structlog.get_logger(__name__)


class Ending(enum.Enum):
    """What became of a connection, as far as it matters to the next one."""

    NO_ANSWER = "the broker ended the connection without an answer"
    WRONG_VERSION = "the broker speaks another version of MQTT"
    REFUSED = "the broker refuses the collector, or its subscription"
    TAKEN_OVER = "another client connected under the same client id"
    BROKEN = "the broker sent what MQTT does not allow"
    LOST = "the connection was there, and was lost"


class Reason(enum.IntEnum):
    """Why we leave (MQTT 5, 3.14.2.1)."""

    MALFORMED_PACKET = 0x81
    TOPIC_ALIAS_INVALID = 0x94


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the broker keeps for this collector, by its client id."""

    broker: Broker
    filters: tuple[str, ...]
    """Topic filters to be subscribed to at QoS 1."""
    held: HeldFilters | None = None
    """What it may be subscribed to already; None = nothing is remembered, and nothing is given up."""


class Connection(Protocol):
    """One connection. What it did not acknowledge before it ended is forgotten with it, and the broker sends it again:
    packet numbers belong to one connection.
    """

    ending: Ending
    """What becomes of it if it ends now; `LOST` from when it is subscribed, and so ready."""
    problem: str | None
    """Why it is not ready, in words."""

    def open(self) -> None:
        """Connect; the session goes on where it was. Raises OSError, SettingsError (TLS files)."""

    def wait(self, wait_s: float) -> bool:
        """Wait until something has arrived, at most `wait_s`, and keep the connection alive. False when it is gone.

        Raises:
            StoreUnavailable: what is subscribed to cannot be remembered.
        """

    def read(self) -> Sequence[Logged]:
        """What has arrived and is not acknowledged, within the limits of a batch; never waits.

        Raises:
            StoreUnavailable: as `wait`.
        """

    def acknowledge(self) -> None:
        """Acknowledge what `read` gave. It must be on the disk."""

    def close(self) -> None:
        """Say goodbye where that is possible; the broker keeps the session."""


class PahoConnection:
    """What both adapters share: connect, subscribe, keep alive, leave. All of it is paho's own."""

    ending = Ending.NO_ANSWER
    problem: str | None = None

    def __init__(self, session: Session, client: paho.Client, version: Version) -> None:
        self._session = session
        self._broker = session.broker
        self._client = client
        self._version = version
        self._held: tuple[str, ...] = ()
        self._stale: tuple[str, ...] = ()
        client.connect_timeout = CONNECT_TIMEOUT_S
        if self._broker.username:
            client.username_pw_set(self._broker.username, self._broker.password)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_disconnect = self._on_disconnect

    def open(self) -> None:
        """As the port says."""
        if self._broker.tls is not None:
            self._client.tls_set_context(ssl_context(self._broker.tls))
        properties = None
        if self._version == MQTT_5:
            # neither a largest packet (the broker would silently drop what is larger) nor topic aliases (they save a
            # few bytes on a wire that is not short of them)
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
            properties.ReceiveMaximum = RECEIVE_MAX
        clean_start = False if self._version == MQTT_5 else paho.MQTT_CLEAN_START_FIRST_ONLY
        self._client.connect(
            self._broker.host, self._broker.port, KEEPALIVE_S, clean_start=clean_start, properties=properties
        )
        link = self._client.socket()
        if link is not None:  # an acknowledgement does not wait for the next one
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # type: ignore[attr-defined]  # paho hides it

    def wait(self, wait_s: float) -> bool:
        """As the port says."""
        link = self._client.socket()
        if link is None:
            return False
        # what TLS has decrypted already is not seen by select
        if not (isinstance(link, ssl.SSLSocket) and link.pending()):
            _, writable, _ = select.select([link], [link] if self._client.want_write() else [], [], wait_s)
            if writable:
                self._client.loop_write()
        return self._client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS

    def close(self) -> None:
        """As the port says."""
        self._client.disconnect()

    def _leave(self, reason: Reason, problem: str) -> None:
        """End a connection on which the broker does what MQTT does not allow."""
        _log.error("the broker breaks the protocol; connecting again", problem=problem, reason=reason.name.lower())
        self.ending, self.problem = Ending.BROKEN, problem
        self._client.disconnect(reasoncode=ReasonCode(PacketTypes.DISCONNECT, identifier=int(reason)))

    def _on_connect(
        self, client: paho.Client, _userdata: Any, flags: paho.ConnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            wrong_version = reason.getName() == "Unsupported protocol version"
            self.ending = Ending.WRONG_VERSION if wrong_version else Ending.REFUSED
            self.problem = f"the broker {self._broker.address} refuses the collector: {reason}"
            _log.error("the broker refuses the collector", reason=str(reason), client_id=self._broker.client_id)
            return
        version = "5" if self._version == MQTT_5 else "3.1.1"
        _log.info(
            "connected to the broker", host=self._broker.host, session_kept=flags.session_present, mqtt_version=version
        )
        self.ending = Ending.REFUSED  # until it is subscribed
        self._subscribe(client, session_kept=flags.session_present)

    def _subscribe(self, client: paho.Client, *, session_kept: bool) -> None:
        filters, held = self._session.filters, self._session.held
        if held is not None:
            self._held = held.read()
            self._stale = tuple(each for each in self._held if each not in filters) if session_kept else ()
            # before the broker is asked: what it holds is never more than what is written here
            self._remember((*filters, *self._stale))
        if self._version == MQTT_5:
            options = SubscribeOptions(qos=1, retainHandling=_RETAINED_ONCE)
            client.subscribe([(each, options) for each in filters])
        else:
            client.subscribe([(each, 1) for each in filters])
        if self._stale:
            client.unsubscribe(list(self._stale))

    def _remember(self, filters: tuple[str, ...]) -> None:
        if self._session.held is not None and filters != self._held:
            self._session.held.write(filters)
            self._held = filters

    def _on_subscribe(
        self, client: paho.Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        answers = dict(zip(self._session.filters, reasons, strict=False))
        refused = {each: str(reason) for each, reason in answers.items() if reason.is_failure}
        if refused:
            self.problem = f"the broker {self._broker.address} refuses the subscription to {', '.join(refused)}"
            _log.error("the broker refuses the subscription", topics=refused)
            client.disconnect()
            return
        self.ending = Ending.LOST
        self.problem = None
        _log.info("intake ready", topics=self._session.filters)

    def _on_unsubscribe(self, _client: paho.Client, *_: Any) -> None:
        _log.info("no longer received", topics=self._stale)
        self._stale = ()
        self._remember(self._session.filters)

    def _on_disconnect(
        self, _client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        if not reason.is_failure:
            return
        if reason.getName() == "Session taken over":
            self.ending = Ending.TAKEN_OVER
            self.problem = (
                f"another client connected to {self._broker.address} as {self._broker.client_id!r} and took the"
                " session; two collectors must not share a client id: give each its own FILIERE_MQTT_CLIENT_ID"
            )
            _log.error("the session is taken over by another client of the same client id", problem=self.problem)
            return
        if self.ending is Ending.LOST:
            _log.warning("the connection to the broker is lost", reason=str(reason))


@dataclass(frozen=True, slots=True)
class _Taken:
    """A message that is not acknowledged yet."""

    logged: Logged
    mid: int
    qos: int


class CallbackConnection(PahoConnection):
    """One callback a message, one packet an acknowledgement: paho as it comes.

    The subscription is at QoS 1. Should a broker send QoS 2 all the same, paho answers PUBREC before the message is on
    the disk.
    """

    def __init__(self, session: Session, clock: Clock, version: Version = MQTT_5) -> None:
        super().__init__(session, paho.Client(**client_arguments(session.broker, version)), version)
        self._clock = clock
        self._batch: list[_Taken] = []
        self._size = 0
        self._client.on_message = self._on_message

    def read(self) -> Sequence[Logged]:
        """As the port says."""
        before = -1
        while before != len(self._batch) < BATCH_MESSAGES_MAX and self._size < BATCH_BYTES_MAX:
            before = len(self._batch)
            self._client.loop_read()
        return [message.logged for message in self._batch]

    def acknowledge(self) -> None:
        """As the port says."""
        for message in self._batch:
            self._client.ack(message.mid, message.qos)
        self._batch.clear()
        self._size = 0

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic.encode()
        except UnicodeDecodeError:
            topic = b"\xff"  # no broker lets one through; the recorder quarantines it
        if not topic:
            self._leave(Reason.TOPIC_ALIAS_INVALID, NO_ALIASES)
            return
        self._batch.append(
            _Taken(logged=(topic, bytes(message.payload), self._clock()), mid=message.mid, qos=message.qos)
        )
        self._size += len(message.payload)


NO_ALIASES = "got a message with a topic alias in place of its topic; expected none: the collector announces no aliases"


def client_arguments(broker: Broker, version: Version) -> dict[str, Any]:
    """How both adapters make their paho client: acknowledging is ours, and so is connecting again."""
    return {
        "callback_api_version": CallbackAPIVersion.VERSION2,
        "client_id": broker.client_id,
        "protocol": version,
        "clean_session": None if version == MQTT_5 else False,
        "manual_ack": True,
        "reconnect_on_failure": False,
    }
