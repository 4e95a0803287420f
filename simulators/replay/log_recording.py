"""The message log of a plant, as `filiere log export` wrote it: the same bytes on the same topics once more.

Read twice: every line is checked before the first message is published. As recorded, every byte stays, so that another
collector stores the same readings. Shifted, or in a later lap, times and boots are new ones, or they would be known as
repeated.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from collector.codec import (
    EVENTS,
    READINGS,
    TOPIC_ROOT,
    decode_columns,
    decode_event,
    decode_readings,
    encode_event,
    encode_readings,
    parse_topic,
)
from collector.log.lines import chunks_of
from collector.receipts.receipt import numbers_of
from collector.recorder.validation import suspect_clocks
from filiere.clock import parse_time, to_text
from filiere.errors import MessageRefused, ScenarioError
from filiere.message_log import Message
from simulators.replay.dirt import Dirt, Findings
from simulators.replay.recording import Lap, Read, Recorded, boot_of, unheard

TOPIC_BYTES_MAX = 65_535


class LogRecording:
    """Files of `filiere log export`, or of `filiere simulate` as JSON Lines."""

    def __init__(self, paths: Sequence[Path], *, read: Read = unheard) -> None:
        """Raises ScenarioError: a file cannot be read, has a line that is none of a log, or no line at all."""
        self.findings = Findings()
        self.count = self.rows = 0
        self.first_ns = self.last_ns = 0
        self._paths = tuple(paths)
        for path, message in self._messages(read):
            self._check(path, message)
        if not self.count:
            raise ScenarioError(f"{paths[0]}: got no message; expected lines of `filiere log export`")

    def lap(self, lap: Lap) -> Iterator[Recorded]:
        """See Recording."""
        for path, message in self._messages():
            payload = message.payload if lap.as_recorded else self._shifted(path, message, lap)
            if payload is not None:
                yield Recorded(
                    time_ns=message.record_time_ns + lap.shift_ns,
                    topic=message.topic,
                    payload=payload,
                    shown_ns=message.record_time_ns,
                )

    def _messages(self, read: Read = unheard) -> Iterator[tuple[Path, Message]]:
        for path in self._paths:
            told = 0
            try:
                with path.open("rb") as file:
                    for chunk in chunks_of(file, path):
                        read(file.tell() - told)
                        told = file.tell()
                        for message in chunk:
                            yield path, message
            except MessageRefused as refused:
                raise ScenarioError(f"{refused}: nothing was published") from None
            except OSError as error:
                raise ScenarioError(
                    f"{path}: got {error.strerror or error}; expected a file that may be read"
                ) from None

    def _check(self, path: Path, message: Message) -> None:
        self.first_ns = min(self.first_ns, message.record_time_ns) if self.count else message.record_time_ns
        self.last_ns = max(self.last_ns, message.record_time_ns)
        self.count += 1
        _check_topic(path, message)
        where = f"{path.name}: offset {message.offset}, {message.topic.decode(errors='replace')[:60]}"
        found = numbers_of(message.topic, message.payload)
        self.rows += 1 if found is None else found[1].rows
        if not message.topic.startswith(TOPIC_ROOT.encode()):
            self.findings.add(Dirt.OWN_CLOCK, where)  # a foreign device's: its time may be that of its arrival
        elif found is not None and message.topic.endswith(READINGS.encode()):
            try:
                times = decode_columns(message.payload).time_ns
            except MessageRefused:
                return  # the collector refuses it once more, and keeps it
            strange = suspect_clocks(times, [message.record_time_ns] * len(times))
            self.findings.add(Dirt.OWN_CLOCK, where, len(strange))

    def _shifted(self, path: Path, message: Message, lap: Lap) -> bytes | None:
        """The message's bytes in another lap; None = it is not sent again."""
        where = f"{path.name}: offset {message.offset}"
        try:
            kind = parse_topic(message.topic).kind
            if kind == READINGS:
                readings = decode_readings(message.payload)
                return encode_readings(
                    replace(
                        readings,
                        boot=boot_of(readings.boot, lap.number, lap.shift_ns),
                        time_ns=tuple(time_ns + lap.shift_ns for time_ns in readings.time_ns),
                    )
                )
            if kind == EVENTS:
                if lap.number:
                    self.findings.add(Dirt.ONCE, where)
                    return None
                return _shifted_event(message.payload, lap)
        except (MessageRefused, ValueError):  # the collector keeps it in quarantine, as it did
            pass
        self.findings.add(Dirt.UNSHIFTED, where)
        return None if lap.number else message.payload


def _check_topic(path: Path, message: Message) -> None:
    """Raises ScenarioError: no broker takes a message on it."""
    try:
        topic = message.topic.decode()
    except UnicodeDecodeError:
        topic = ""
    if not topic or len(message.topic) > TOPIC_BYTES_MAX or not {"+", "#", "\0"}.isdisjoint(topic):
        raise ScenarioError(
            f"{path}: offset {message.offset}: got topic {message.topic[:60]!r}; expected one that can be published on:"
            " nothing was published"
        )


def _shifted_event(payload: bytes, lap: Lap) -> bytes:
    """Raises MessageRefused, ValueError: it has no time that could be shifted."""
    envelope = decode_event(payload)
    event = json.loads(envelope.body)
    event["eventTime"] = to_text(parse_time(str(event.get("eventTime"))) + lap.shift_ns)
    event["eventTimeZoneOffset"] = "+00:00"
    body = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return encode_event(boot_of(envelope.boot, lap.number, lap.shift_ns), envelope.seq, body)
