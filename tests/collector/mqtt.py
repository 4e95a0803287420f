"""A publisher that knows what the broker has acknowledged, and a broker's session that is cleaned up."""

import threading
import uuid
from collections import deque
from contextlib import contextmanager

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

WINDOW = 500
DEADLINE_S = 60.0


def until(true, *, seconds=DEADLINE_S, why="it did not become true in time"):
    """Poll until `true()`; fail after a deadline."""
    waiting = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if true():
            return
        waiting.wait(0.02)
    raise AssertionError(why() if callable(why) else why)


class Publisher:
    """Publishes at QoS 1. `acknowledged` names what the broker said it has."""

    def __init__(self, server):
        self._server = server
        self._told = deque()
        self._acknowledged = []

    def __enter__(self):
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(WINDOW)
        self._client.connect(self._server.host, self._server.port)
        self._client.loop_start()
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def acknowledged(self):
        """In the order in which they were published, up to the first one that is not."""
        while self._told and self._told[0][1].is_published():
            self._acknowledged.append(self._told.popleft()[0])
        return self._acknowledged

    @property
    def pending(self):
        published = len(self.acknowledged) + len(self._told)
        return published - len(self._acknowledged)

    def publish(self, topic, payload, *, name=None, retain=False):
        self._told.append((name, self._client.publish(topic, payload, qos=1, retain=retain)))

    def flush(self):
        """Return when the broker has acknowledged everything."""
        until(lambda: not self.pending, why=lambda: f"{self.pending} messages without PUBACK")


@contextmanager
def session(server):
    """A client id of this test's own; what the broker keeps for it is forgotten at the end."""
    client_id = f"test-{uuid.uuid4().hex[:12]}"
    try:
        yield client_id
    finally:
        server.start()
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
        client.connect(server.host, server.port, clean_start=True)
        client.loop_start()
        until(client.is_connected)
        client.disconnect()
        client.loop_stop()
