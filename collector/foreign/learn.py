"""Listening on a broker: some messages of every topic, for a while. Nothing is acknowledged, kept or changed there.

The door to paho for `filiere bindings learn`.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from collector.broker import Broker, ssl_context
from collector.codec import PAYLOAD_BYTES_MAX, TOPIC_ROOT
from collector.foreign.proposal import Heard
from filiere.clock import Clock
from filiere.errors import SettingsError
from filiere.message_log import Message

TOPICS_MAX = 2_000
"""Topics that are remembered; what comes on others is counted alone."""
KEPT_MAX = 5
"""Messages of a topic that are remembered: the first ones, and the newest."""
CONNECT_TIMEOUT_S = 5.0
KEEPALIVE_S = 30
WAIT_S = 0.2

Progress = Callable[[int, int], None]
"""Called about five times a second with the number of messages and of topics so far."""


@dataclass(slots=True)
class _Topic:
    count: int = 0
    kept: list[Message] = field(default_factory=list)


class Listener:
    """One listening; used once."""

    def __init__(self, *, broker: Broker, topics: Sequence[str], clock: Clock) -> None:
        self.messages = 0
        self._broker = broker
        self._filters = topics
        self._clock = clock
        self._heard: dict[str, _Topic] = {}
        self._problem: str | None = None
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=broker.client_id, protocol=paho.MQTTv5)
        client.connect_timeout = CONNECT_TIMEOUT_S
        if broker.username:
            client.username_pw_set(broker.username, broker.password)
        if broker.tls is not None:
            client.tls_set_context(ssl_context(broker.tls))
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        self._client = client

    def listen(self, seconds: float, *, stop: threading.Event, progress: Progress) -> tuple[Heard, ...]:
        """Listen for `seconds`, or until asked to stop; what was heard, by topic.

        Raises SettingsError: no broker, or it refuses the client or the topics.
        """
        try:
            self._client.connect(self._broker.host, self._broker.port, KEEPALIVE_S, clean_start=True)
        except (OSError, ValueError) as error:  # the second: a host that cannot be a name
            raise self._refused(getattr(error, "strerror", None) or str(error)) from None
        deadline = time.monotonic() + seconds
        while not stop.is_set() and time.monotonic() < deadline:
            try:
                code = self._client.loop(WAIT_S)
            except ValueError:  # paho reads the filters when it subscribes
                raise SettingsError(
                    f"--topic: got {' '.join(self._filters)[:200]!r}; expected MQTT topic filters such as tele/#"
                ) from None
            if self._problem is None and code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._problem = paho.error_string(code)
            if self._problem is not None:
                raise self._refused(self._problem)
            progress(self.messages, len(self._heard))
        self._client.disconnect()
        return tuple(
            Heard(topic=topic, count=found.count, kept=found.kept) for topic, found in sorted(self._heard.items())
        )

    def _refused(self, got: str) -> SettingsError:
        return SettingsError(
            f"FILIERE_MQTT_HOST: got {self._broker.address} ({got}); expected a broker that lets"
            f" {self._broker.username or 'an anonymous client'} read {', '.join(self._filters)}: is it up, and are"
            " FILIERE_MQTT_USERNAME, FILIERE_MQTT_PASSWORD and FILIERE_MQTT_CA its own?"
        )

    def _on_connect(
        self, client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            self._problem = str(reason)
            return
        client.subscribe([(topic, 0) for topic in self._filters])

    def _on_subscribe(
        self, _client: paho.Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self._problem = refused[0]

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        if topic.startswith(f"{TOPIC_ROOT}/"):
            return  # what speaks the wire format needs no binding
        self.messages += 1
        found = self._heard.get(topic)
        if found is None:
            if len(self._heard) >= TOPICS_MAX:
                return
            found = self._heard[topic] = _Topic()
        found.count += 1
        if len(message.payload) > PAYLOAD_BYTES_MAX:
            return
        if len(found.kept) >= KEPT_MAX:
            found.kept.pop()
        found.kept.append(
            Message(
                offset=self.messages,
                topic=topic.encode(),
                payload=bytes(message.payload),
                record_time_ns=self._clock(),
            )
        )
