"""A stand-in for the collector: hears what devices send, and answers with receipts."""

import threading
from collections import defaultdict

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from collector.receipts.receipt import encode_receipt, numbers_of, receipt_of, receipt_topic
from collector.recorder.numbers import Numbers

READY_S = 20.0


class Answering:
    """`with` connects and disconnects. `heard` are (topic, payload) in the order of arrival."""

    def __init__(self, server, *, topics="filiere/v1/+/+/+/+/readings", answers=True, numbers=None):
        self.heard = []
        self.answers = answers
        self.refused = {}
        """(device, boot) → refusals to tell."""
        self.numbers = defaultdict(Numbers) if numbers is None else numbers
        self._server = server
        self._topics = topics
        self._ready = threading.Event()

    def __enter__(self):
        self._client = client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        topics = [self._topics] if isinstance(self._topics, str) else self._topics
        client.on_connect = lambda client, *_: client.subscribe([(topic, 1) for topic in topics])
        client.on_subscribe = lambda *_: self._ready.set()
        client.on_message = self._hear
        client.max_queued_messages_set(0)
        client.connect(self._server.host, self._server.port)
        client.loop_start()
        assert self._ready.wait(READY_S)
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()
        del self._client  # it knows us and we know it: its sockets would stay open until the garbage is collected

    def _hear(self, _client, _data, message):
        self.heard.append((message.topic, message.payload))
        found = numbers_of(message.topic.encode(), message.payload)
        if found is not None:
            device, identity = found
            self.numbers[device, identity.boot].add(identity.seq, identity.seq + identity.rows - 1)
            if self.answers:
                self.answer(device, identity.boot)

    def answer(self, device, boot):
        """One receipt, as far as is known now."""
        told = receipt_of(boot, self.numbers[device, boot].spans, self.refused.get((device, boot), ()))
        self._client.publish(receipt_topic(device), encode_receipt(told), qos=1)

    def rows(self, device, boot):
        """The numbers heard."""
        return [number for first, last in self.numbers[device, boot].spans for number in range(first, last + 1)]
