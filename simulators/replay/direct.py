"""Publishes what has no number: messages of foreign devices, states, and what nobody could read.

An outbox keeps a message until the collector's receipt; for these none can come. They are held until the broker's
acknowledgement, in memory: who stops before that sends the recording again.
"""

import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from collector.broker import Broker

IN_FLIGHT_MAX = 500
"""Messages that the broker has not acknowledged, at most."""
KEEPALIVE_S, TICK_S = 30, 0.05
"""Of the connection; between two looks at what is acknowledged."""


class Direct:
    """One MQTT 5 connection, made when the first message comes."""

    def __init__(self, broker: Broker, tls: ssl.SSLContext | None, client_id: str) -> None:
        self.acknowledged = 0
        """Messages that the broker took."""
        self.problem: str | None = None
        """Why nothing goes through; None = all is well."""
        self._broker, self._tls, self._client_id = broker, tls, client_id
        self._client: paho.Client | None = None
        self._waiting: set[int] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            if (socket := self._client.socket()) is not None:  # the broker did not answer, or not in time
                socket.close()
            self._client = None  # it and we hold each other, and it closes its pair of sockets when it is gone

    def publish(self, topic: str, payload: bytes, *, stop: Callable[[], bool]) -> bool:
        """Hand one message to the broker, when there is room. False when asked to stop before."""
        client = self._client or self._connect()
        while self.waiting >= IN_FLIGHT_MAX:
            if stop():
                return False
            time.sleep(TICK_S)
        with self._lock:  # the acknowledgement may come before the number is noted
            self._waiting.add(client.publish(topic, payload, qos=1).mid)
        return True

    @property
    def waiting(self) -> int:
        """Messages without an acknowledgement."""
        return len(self._waiting)

    def _connect(self) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=self._client_id, protocol=paho.MQTTv5)
        if self._broker.username:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.max_inflight_messages_set(IN_FLIGHT_MAX)
        client.on_connect, client.on_disconnect, client.on_publish = self._connected, self._gone, self._acked
        client.on_connect_fail = self._unreachable
        client.connect_async(self._broker.host, self._broker.port, KEEPALIVE_S)
        client.loop_start()
        self._client = client
        return client

    def _unreachable(self, _client: object, _data: object) -> None:
        self.problem = f"{self._broker.address}: got no connection; expected an MQTT broker there"

    def _connected(self, _client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        self.problem = f"got {reason} from the broker; expected that it takes us" if reason.is_failure else None

    def _gone(self, _client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        self.problem = f"got {reason} from the broker; expected a connection that stays: it is made again"

    def _acked(self, _client: object, _data: object, mid: int, reason: Any, _properties: object) -> None:
        with self._lock:
            self._waiting.discard(mid)
        self.acknowledged += 1
        if reason.is_failure:
            self.problem = f"got {reason} from the broker; expected that it takes the message: check its access list"
