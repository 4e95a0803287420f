"""Publishes a simulation by MQTT 5, QoS 1: a publication counts as sent when the broker's PUBACK for it has come.

The only module of the simulators that speaks to paho. All bookkeeping is on the caller's thread; paho's network thread
only puts acknowledgements on a queue.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event as Flag
from typing import Any, Self

from paho.mqtt.client import Client, ConnectFlags, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from filiere.clock import NS_PER_S, Clock, system_clock
from filiere.errors import SettingsError
from simulators.cycle import Publication
from simulators.simulation import sent
from simulators.state import SimulatorState

WINDOW = 500
"""Publications on their way at once, at most; less when the broker says so (MQTT 5 Receive Maximum)."""
NO_SUBSCRIBER = 0x10
"""Reason code of a PUBACK: the broker took the message and threw it away, because nobody listens."""
CONNECT_S = 10.0
FLUSH_S = 30.0
KEEPALIVE_S = 30
RETRY_S = 0.2
TICK_S = 0.05
NEVER = float("inf")
NOTE_S = 0.5
RATE_SPAN = 10
"""Notes over which the rates are averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where to publish, and as whom."""

    host: str
    port: int
    username: str = ""
    password: str = ""
    client_id: str = "filiere-simulator"

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How a publishing goes."""

    virtual_ns: int
    """Virtual time of the last publication, UTC ns."""
    published: int
    """Acknowledged since the start."""
    messages_per_s: float
    rate: float
    """Virtual seconds a second."""
    waiting: bool
    """The broker says that nobody listens, or is away."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When a publication is due: `speed` times as fast as the wall clock until it is caught up, then with it."""

    speed: float
    """0 = as fast as it goes."""
    virtual_ns: int
    wall_ns: int

    def due_ns(self, time_ns: int) -> int:
        """Virtual time → wall time, UTC ns; never before it: readings from the future are believed by nobody."""
        if self.speed <= 0.0:
            return time_ns
        return max(self.wall_ns + round((time_ns - self.virtual_ns) / self.speed), time_ns)


class Publisher:
    """One connection. Use it as a context manager: it connects on entry and disconnects on exit."""

    def __init__(self, broker: Broker, state: SimulatorState, *, clock: Clock = system_clock) -> None:
        self.state = state
        """What is acknowledged without a gap: a restart from here sends nothing twice unless it was in flight."""
        self.published = 0
        self._broker = broker
        self._clock = clock
        self._window = WINDOW
        self._refused = ""
        self._connected = Flag()
        self._acks: SimpleQueue[tuple[int, int]] = SimpleQueue()
        self._on_the_way: dict[int, _Sent] = {}
        self._in_order: deque[_Sent] = deque()
        self._again: deque[_Sent] = deque()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=broker.client_id, protocol=MQTTv5)
        if broker.username:
            self._client.username_pw_set(broker.username, broker.password or None)
        self._client.max_inflight_messages_set(WINDOW)
        self._client.max_queued_messages_set(0)
        self._client.reconnect_delay_set(min_delay=1, max_delay=10)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish

    def __enter__(self) -> Self:
        """Raises SettingsError when no broker answers there, or refuses."""
        expected = "expected an MQTT broker there: start one, or `filiere demo`, or correct FILIERE_MQTT_HOST and _PORT"
        try:
            self._client.connect(self._broker.host, self._broker.port, keepalive=KEEPALIVE_S)
        except OSError as error:
            raise SettingsError(f"{self._broker.address}: got {error}; {expected}") from None
        self._client.loop_start()
        if not self._connected.wait(CONNECT_S):
            self.__exit__()
            raise SettingsError(f"{self._broker.address}: got {self._refused or 'no answer'}; {expected}")
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect; what is still on its way is left to the next start."""
        self._client.disconnect()
        self._client.loop_stop()

    def publish_all(
        self,
        publications: Iterable[Publication],
        *,
        speed: float,
        stop: Callable[[], bool],
        note: Callable[[Progress], None],
    ) -> bool:
        """Publish at `speed` until the stream ends or `stop` says so. Returns False when stopped.

        `note` is called about twice a second, to show the progress and to keep the state.
        """
        meter = _Meter(note)
        pace: Pace | None = None
        for publication in publications:
            pace = pace or Pace(speed=speed, virtual_ns=publication.time_ns, wall_ns=self._clock())
            due_ns = pace.due_ns(publication.time_ns)
            while not stop() and (self._clock() < due_ns or not self._has_room()):
                waiting_s = (due_ns - self._clock()) / NS_PER_S
                self._take_acks(min(max(waiting_s, 0.001), TICK_S))
                meter.tick(self)
            if stop():
                return False
            self._send(_Sent(publication))
            self._take_acks(0.0)
            meter.virtual_ns = publication.time_ns
            meter.tick(self)
        return True

    def flush(self, timeout_s: float = FLUSH_S, *, stop: Callable[[], bool] = lambda: False) -> bool:
        """Wait for the PUBACKs of all that is on its way. False when they did not come in time."""
        deadline = time.monotonic() + timeout_s
        while self._in_order and time.monotonic() < deadline and not stop():
            self._take_acks(TICK_S)
        return not self._in_order

    # --------------------------------------------------------------------------------------------- caller's thread

    @property
    def waiting(self) -> bool:
        """Nothing goes through just now."""
        return bool(self._again) or not self._connected.is_set()

    def _has_room(self) -> bool:
        # The first one goes alone: whether somebody listens is known when it is acknowledged.
        return len(self._in_order) < (self._window if self.published else 1) and not self.waiting

    def _send(self, message: "_Sent") -> None:
        if not message.in_order:
            message.in_order = True
            self._in_order.append(message)
        publication = message.publication
        told = self._client.publish(publication.topic, publication.payload, qos=1)
        self._on_the_way[told.mid] = message

    def _take_acks(self, wait_s: float) -> None:
        with suppress(Empty):
            mid, reason = self._acks.get(timeout=wait_s) if wait_s > 0.0 else self._acks.get_nowait()
            self._acknowledge(mid, reason)
            while True:
                self._acknowledge(*self._acks.get_nowait())
        while self._again and self._again[0].retry_at < time.monotonic():
            # Only the first one tries whether somebody listens now; the others follow when it got through.
            self._send(self._again.popleft())

    def _acknowledge(self, mid: int, reason: int) -> None:
        message = self._on_the_way.pop(mid, None)
        if message is None:
            return
        if reason == NO_SUBSCRIBER:
            message.retry_at = time.monotonic() + RETRY_S if not self._again else NEVER
            self._again.append(message)
            return
        message.acknowledged = True
        self.published += 1
        for other in self._again:
            other.retry_at = 0.0
        while self._in_order and self._in_order[0].acknowledged:
            self.state = sent(self.state, self._in_order.popleft().publication)

    # --------------------------------------------------------------------------------------------- paho's thread

    def _on_connect(
        self, _client: Client, _data: Any, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._refused = f"{reason}"
            return
        self._window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        self._connected.set()

    def _on_disconnect(self, *_: Any) -> None:
        self._connected.clear()

    def _on_publish(self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        self._acks.put((mid, int(reason.value)))


def knock(broker: Broker, topic: str, payload: bytes, *, answered: Callable[[], bool], wait_s: float) -> bool:
    """Publish one message and wait a moment for its effect: a broker may acknowledge what nobody listens to.

    Raises:
        SettingsError: no broker answers there, or refuses.
    """
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"{broker.client_id}-knock", protocol=MQTTv5)
    if broker.username:
        client.username_pw_set(broker.username, broker.password or None)
    try:
        client.connect(broker.host, broker.port, keepalive=KEEPALIVE_S)
    except OSError as error:
        raise SettingsError(f"{broker.address}: got {error}; expected an MQTT broker there") from None
    client.loop_start()
    try:
        with suppress(RuntimeError, ValueError):
            client.publish(topic, payload, qos=1).wait_for_publish(wait_s)
        deadline = time.monotonic() + wait_s
        while not answered() and time.monotonic() < deadline:
            time.sleep(TICK_S)
    finally:
        client.disconnect()
        client.loop_stop()
    return answered()


@dataclass(slots=True)
class _Sent:
    publication: Publication
    in_order: bool = False
    acknowledged: bool = False
    retry_at: float = 0.0


class _Meter:
    """Counts, and says how it goes now and then."""

    def __init__(self, note: Callable[[Progress], None]) -> None:
        self.virtual_ns = 0
        self._note = note
        self._points: deque[tuple[float, int, int]] = deque(maxlen=RATE_SPAN)

    def tick(self, publisher: Publisher) -> None:
        now_s = time.monotonic()
        if self._points and now_s - self._points[-1][0] < NOTE_S:
            return
        if not self.virtual_ns:
            return
        self._points.append((now_s, self.virtual_ns, publisher.published))
        then_s, virtual_ns, published = self._points[0]
        took_s = now_s - then_s
        self._note(
            Progress(
                virtual_ns=self.virtual_ns,
                published=publisher.published,
                messages_per_s=(publisher.published - published) / took_s if took_s else 0.0,
                rate=(self.virtual_ns - virtual_ns) / NS_PER_S / took_s if took_s else 0.0,
                waiting=publisher.waiting,
            )
        )
