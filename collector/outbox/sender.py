"""Sends what an outbox holds, over MQTT 5, until receipts have covered it.

For each boot of each device: the oldest message goes alone until a receipt shows that the collector is there, then as
many as the window allows. What has no receipt in time is sent again, ever later while none comes at all, so that a
collector that is away is not flooded when it is back. Sent twice, stored once: the numbers see to that.
"""

import math
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from .kept import ROW, Kept, Outbox, Source, publications
from .wire import SEQ_MAX, TOPIC_ROOT, OutboxError, OutboxFull, Receipt, Refused, read_receipt

WINDOW = 10_000
"""Messages of one boot without receipt, at most, while receipts come."""
IN_FLIGHT = 500
"""Messages without PUBACK, at most; less when the broker says so (Receive Maximum)."""
RESEND_S, RESEND_S_MAX = 10.0, 300.0
"""How long a receipt is awaited before the message is sent again: at first, and at most."""
FIRST_S = 1.0
"""The same for the first message of a connection: is the collector there?"""
REFUSED_S, REFUSED_S_MAX = 0.25, 10.0
"""The same where the broker says that nobody listens, or that we may not publish there."""
RECONNECT_S, RECONNECT_S_MAX = 0.25, 30.0
CONNECT_TIMEOUT_S, KEEPALIVE_S, STOP_S, TICK_S = 5.0, 30, 2.0, 0.1
NO_SUBSCRIBER, NOT_AUTHORIZED, TAKEN_OVER = 0x10, 0x87, 0x8E
TOLD_MAX = 10_000
"""Refusals that are remembered, so that each one is told once."""
_NOTHING = (-1, -1)


@dataclass(slots=True)
class _Round:
    """How far the sending of one boot is, since it was begun or begun again."""

    device: str
    boot: str
    sent: tuple[int, int] = _NOTHING
    """Numbers of the last message that was sent."""
    on_the_way: int = 0
    """Messages that were sent and have no receipt."""
    window: int = 1
    oldest: int = -1
    """Number of the oldest of them, when its time began to count."""
    again_at: float = math.inf
    """When to lose patience with it (monotonic, s)."""
    wait_s: float = FIRST_S
    heard: bool = False
    """A receipt came in this round."""
    problem: str | None = None
    """Why the broker does not take it."""
    not_before: float = 0.0
    refused_s: float = REFUSED_S

    def begin_again(self, window: int) -> None:
        self.sent, self.on_the_way, self.window, self.again_at, self.heard = _NOTHING, 0, window, math.inf, False


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
        self._told: dict[tuple[str, str, int], None] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._outbox.woken()
        self._thread.join(STOP_S)  # a host that does not answer may hold it up: it is left behind

    def flush(self, timeout_s: float, *, stop: Callable[[], bool] = lambda: False) -> bool:
        """Wait until receipts have covered everything. False when it did not come to that."""
        deadline = time.monotonic() + timeout_s
        while self._outbox.messages and time.monotonic() < deadline and not stop():
            time.sleep(TICK_S / 5)
        return not self._outbox.messages

    def take(self, receipts: Sequence[tuple[str, Receipt]]) -> None:
        """Let go of what receipts cover, and tell what was refused. Raises as `Outbox.settle`."""
        self.acknowledged += self._outbox.settle(receipts)
        self.heard_at = time.monotonic()
        for refused in [each for _, receipt in receipts for each in receipt.refused]:
            key = refused.device, refused.boot, refused.seq
            if key not in self._told:
                self._told[key] = None
                self._on_refused(refused)
        while len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]

    def _run(self) -> None:
        wait_s = RECONNECT_S
        while not self._stop.is_set():
            try:
                if self._connection():
                    wait_s = RECONNECT_S
            except (OSError, UnicodeError, ValueError) as error:  # the last two: what cannot be a host's name
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
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=self._client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(IN_FLIGHT)
        if self._login[0]:
            client.username_pw_set(*self._login)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        link = _Link(self, self._outbox, client)
        client.connect(self._host, self._port, KEEPALIVE_S, clean_start=True)
        client.loop_start()
        try:
            return link.serve(self._stop)
        finally:
            client.disconnect()
            client.loop_stop()


class _Link:
    """One connection. paho's thread only puts what it hears on a queue; the rest happens in the sender's thread."""

    def __init__(self, sender: Sender, outbox: Outbox, client: paho.Client) -> None:
        self._sender, self._outbox, self._client = sender, outbox, client
        self._inbox: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self._awake = False
        self._rounds: dict[int, _Round] = {}
        self._waiting: dict[int, Source] = {}
        self._subscribed: set[str] = set()
        self._acks: dict[int, int] = {}
        self._room = 0
        self._removals = outbox.removals
        self._problem: str | None = None
        say = self._inbox.put
        client.on_connect = lambda _c, _d, _f, reason, properties: say(("connected", reason, properties))
        client.on_disconnect = lambda _c, _d, _f, reason, _p: say(("gone", reason))
        client.on_publish = lambda _c, _d, mid, reason, _p: say(("acknowledged", mid, reason))
        client.on_subscribe = lambda _c, _d, _m, reasons, _p: say(("subscribed", reasons))
        client.on_message = lambda _c, _d, message: say(("receipt", message.topic, message.payload))
        outbox.woken = self._wake

    def serve(self, stop: threading.Event) -> bool:
        """Until the connection is gone, or somebody says stop. Whether the broker took us."""
        while not stop.is_set():
            receipts: list[tuple[str, Receipt]] = []
            for heard in self._heard():
                if heard[0] == "gone" or (heard[0] == "connected" and heard[1].is_failure):
                    self._sender.problem = _gone(heard[1], taken=self._room > 0)
                    return self._room > 0
                self._take(heard, receipts)
            if receipts:
                self._settle(receipts)
            if self._room:
                self._look_around()
                self._send()
                problems = (self._problem, *(each.problem for each in self._rounds.values()))
                self._sender.problem = next((problem for problem in problems if problem), None)
        return True

    def _heard(self) -> Iterator[tuple[Any, ...]]:
        with suppress(Empty):
            yield self._inbox.get(timeout=TICK_S)
            self._awake = False
            while True:
                yield self._inbox.get_nowait()

    def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            self._inbox.put(("put",))

    def _take(self, heard: tuple[Any, ...], receipts: list[tuple[str, Receipt]]) -> None:
        match heard:
            case ("connected", _, properties):
                self._room = min(IN_FLIGHT, getattr(properties, "ReceiveMaximum", IN_FLIGHT))
            case ("acknowledged", mid, reason):
                self._acknowledged(mid, reason)
            case ("subscribed", reasons):
                if any(reason.is_failure for reason in reasons):
                    self._problem = f"got {reasons[0]} from the broker; expected to read receipts: without, all is kept"
            case ("receipt", topic, payload):
                device = topic.removeprefix(f"{TOPIC_ROOT}/").removesuffix("/receipt")
                try:
                    receipts.append((device, read_receipt(device, payload)))
                    self._problem = None
                except OutboxError as error:
                    self._problem = f"{topic}: {error}"

    def _acknowledged(self, mid: int, reason: ReasonCode) -> None:
        of = self._rounds.get(self._acks.pop(mid, 0))
        if of is None:
            return
        if reason.value == NO_SUBSCRIBER or reason.is_failure:
            now = time.monotonic()
            if now >= of.not_before:
                of.not_before, of.refused_s = now + of.refused_s, min(2 * of.refused_s, REFUSED_S_MAX)
            of.problem = _not_taken(of.device, reason)
            of.begin_again(1)
        elif of.problem:
            of.problem, of.not_before, of.refused_s = None, 0.0, REFUSED_S

    def _settle(self, receipts: Sequence[tuple[str, Receipt]]) -> None:
        quiet_s = time.monotonic() - self._sender.heard_at
        self._sender.take(receipts)
        if quiet_s > RESEND_S:  # the collector is back: all ask at once, or some would be late by their patience
            for of in self._rounds.values():
                if not of.heard and not of.problem:
                    of.wait_s = FIRST_S
                    of.begin_again(1)
        answered = {(device, receipt.boot) for device, receipt in receipts}
        for source, of in self._rounds.items():
            if (of.device, of.boot) in answered:
                of.heard, of.window = True, WINDOW
                oldest = next((each.first for each in self._outbox.after(source, _NOTHING, 1)), -1)
                if oldest != of.oldest:
                    of.oldest, of.wait_s, of.again_at = oldest, RESEND_S, time.monotonic() + RESEND_S

    def _look_around(self) -> None:
        """What is new, what is gone, and with what to lose patience."""
        now = time.monotonic()
        self._waiting = self._outbox.waiting()
        for source, each in self._waiting.items():
            if source not in self._rounds:
                self._rounds[source] = _Round(each.device, each.boot)
                if each.device not in self._subscribed:
                    self._subscribed.add(each.device)
                    self._client.subscribe(f"{TOPIC_ROOT}/{each.device}/receipt", qos=1)
        recount, self._removals = self._removals != self._outbox.removals, self._outbox.removals
        for source, first in self._outbox.take_lowest().items():
            if source in self._rounds and first <= self._rounds[source].sent[0]:
                self._rounds[source].sent = (first - 1, SEQ_MAX)  # put late: it goes now, what is after it once more
                recount = True
        for source, of in self._rounds.items():
            if recount:
                of.on_the_way = self._outbox.count_to(source, of.sent)
            if not of.on_the_way:
                of.again_at = math.inf
            elif now >= of.again_at:
                of.wait_s = min(2 * of.wait_s, RESEND_S_MAX)
                of.begin_again(WINDOW if of.heard else 1)

    def _send(self) -> None:
        """As much as there is room for, in the order in which it was put."""
        now = time.monotonic()
        while (room := self._room - len(self._acks)) > 0:
            able = {
                source: more
                for source, each in self._waiting.items()
                if (more := min((of := self._rounds[source]).window, each.waiting) - of.on_the_way) > 0
                and now >= of.not_before
            }
            share = room // (len(able) or 1) or 1
            read = [
                (self._outbox.after(source, self._rounds[source].sent, min(share, more)), more)
                for source, more in able.items()
            ]
            # of a boot of which not all was read, what comes next is not known: nothing later goes before it
            cut = min((batch[-1].id for batch, more in read if batch and len(batch) < more), default=math.inf)
            kept = sorted((each for batch, _ in read for each in batch if each.id <= cut), key=lambda each: each.id)
            if not kept:
                return
            for part in _counting_on(kept):
                self._publish(part, now)

    def _publish(self, part: list[Kept], now: float) -> None:
        of = self._rounds[part[0].source]
        if not of.on_the_way:
            of.again_at, of.oldest = now + of.wait_s, part[0].first
        for kind, payload in publications(of.boot, part):
            told = self._client.publish(f"{TOPIC_ROOT}/{of.device}/{kind}", payload, qos=1)
            self._acks[told.mid] = part[0].source
        of.sent = (part[-1].first, part[-1].last)
        of.on_the_way += len(part)


def _counting_on(kept: Iterable[Kept]) -> Iterator[list[Kept]]:
    """Split where a new message must begin: bare rows of one boot that count on may go together."""
    part: list[Kept] = []
    for each in kept:
        if part and not (
            each.kind == part[-1].kind == ROW and each.source == part[-1].source and each.first == part[-1].last + 1
        ):
            yield part
            part = []
        part.append(each)
    if part:
        yield part


def _gone(reason: ReasonCode, *, taken: bool) -> str:
    if not taken:
        return f"got {reason} from the broker; expected that it takes us: check user, password, certificate and port"
    if reason.value == TAKEN_OVER:
        return f"got {reason} from the broker; expected a client id of our own: another client has the same one"
    return f"got {reason} from the broker; expected a connection that stays: it is made again"


def _not_taken(device: str, reason: ReasonCode) -> str:
    if reason.value == NO_SUBSCRIBER:
        return f"{device}: nobody listens (no matching subscribers); expected a collector that owns this line"
    if reason.value == NOT_AUTHORIZED:
        return f"{device}: got {reason} from the broker; expected that we may publish there: check its access list"
    return f"{device}: got {reason} from the broker; expected that it takes the message"
