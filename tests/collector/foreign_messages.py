"""The plant of docs/bindings.md with the bindings of that page, recorded messages, and messages with sane defaults."""

import base64
import json
import re
from pathlib import Path

from filiere.clock import parse_time
from filiere.message_log import Message
from filiere.plant_file import parse_plant

FOLDER = Path(__file__).parent
SAMPLES = FOLDER / "foreign_samples"
PAGE = FOLDER.parent.parent / "docs" / "bindings.md"
LINE = "caux/textile/t1"
NOON_NS = parse_time("2026-11-23T12:00:00Z")


def page_bindings():
    """The YAML blocks of the page, as they stand there."""
    return re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def plant_text(*bindings):
    """The plant file with these bindings (YAML list items); those of the page by default."""
    text = (FOLDER / "foreign_plant.yaml").read_text(encoding="utf-8")
    return text + "bindings:\n" + "".join(bindings or page_bindings())


def plant(*bindings):
    return parse_plant(plant_text(*bindings).encode(), "plant.yaml")


def binding(
    *, topic="x", device=f"{LINE}/bagging", payload="json", signals="batch_weight: {path: w, unit: kg}", more=""
):
    """One binding that is in order, as YAML."""
    head = f"  - id: b\n    topic: {json.dumps(topic)}\n    device: {device}\n    payload: {payload}\n"
    return head + "".join(f"    {line}\n" for line in more.splitlines()) + f"    signals:\n      {signals}\n"


def message(payload, topic="x", *, offset=1, at_ns=NOON_NS):
    body = payload if isinstance(payload, bytes) else payload.encode()
    return Message(offset=offset, topic=topic.encode(), payload=body, record_time_ns=at_ns)


def recorded(name):
    """The messages of a sample file."""
    messages = []
    for line in (SAMPLES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        kept = json.loads(line)
        body = base64.b64decode(kept["payload_base64"]) if "payload_base64" in kept else kept["payload"]
        messages.append(message(body, kept["topic"], offset=kept["offset"], at_ns=parse_time(kept["record_time"])))
    return messages
