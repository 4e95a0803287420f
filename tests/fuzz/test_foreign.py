"""Foreign devices' messages after accidents: each is stored as the plant's signals or quarantined with a reason."""

import math
import re
import sqlite3
from random import Random

from tests.collector.builders import Rig
from tests.collector.foreign_messages import SAMPLES, plant, recorded
from tests.fuzz.grammar import INJECTIONS
from tests.fuzz.reference import REASONS

SEED = 4
MESSAGES = 5_000
STEP_NS = 1_000_000
HOSTILE = [text.encode(errors="surrogatepass") for text in INJECTIONS]
PIECES = (
    b"null",
    b"true",
    b"-1e999",
    b"NaN",
    b'"x"',
    b"{}",
    b"[]",
    b"[" * 5000,
    b"9" * 400,
    b"\x00",
    b"\xff",
    b'"',
    b",",
    b"",
)


def accident(random, payload):
    """A payload that differs a little, or altogether."""
    at = random.randrange(len(payload) + 1)
    match random.randrange(8):
        case 0:
            return payload[:at]
        case 1:
            return payload[:at] + random.choice(PIECES) + payload[at:]
        case 2:
            return payload[:at] + bytes([random.randrange(256)]) + payload[at + 1 :]
        case 3:
            numbers = list(re.finditer(rb"-?\d+(\.\d+)?", payload)) or [re.match(b"", payload)]
            found = random.choice(numbers)
            return payload[: found.start()] + random.choice(PIECES) + payload[found.end() :]
        case 4:
            return payload[:at] + payload[max(0, at - 30) :]
        case 5:
            return random.choice(HOSTILE)
        case 6:
            return random.randbytes(random.randrange(200))
        case _:
            return payload


def test_five_thousand_foreign_messages_after_accidents(tmp_path):
    random = Random(SEED)
    samples = [message for file in sorted(SAMPLES.glob("*.jsonl")) for message in recorded(file.stem)]
    model = plant()
    with Rig(tmp_path, plant=model) as rig:
        rig.clock_ns = max(sample.record_time_ns for sample in samples)
        batch = []
        for _ in range(MESSAGES):
            sample = random.choice(samples)
            rig.clock_ns += STEP_NS
            topic = random.choice(samples).topic if random.random() < 0.1 else sample.topic
            batch.append((topic, accident(random, sample.payload), rig.clock_ns))
        rig.log.append(batch)
        while rig.recorder.step():
            pass
        reasons = {refused.reason for refused in rig.book.quarantine()}
    assert reasons
    assert reasons <= REASONS, reasons - REASONS
    store = sqlite3.connect(tmp_path / "readings.sqlite")
    keys = {tuple(row) for row in store.execute("SELECT line, key FROM series")}
    values = [value for (value,) in store.execute("SELECT value FROM reading")]
    store.close()
    assert keys <= {(line.path, signal.key) for line in model.lines for signal in line.signals}
    assert values
    assert all(map(math.isfinite, values))
