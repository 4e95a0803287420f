"""The device's side: what it sends is kept on its own disk until the collector's receipt says that it has it.

This folder stands alone: Python 3.11 or newer and paho-mqtt 2.2 or newer, nothing else of this project. Copy it to a
gateway. In a program:

    from outbox import Outbox, Sender

    with Outbox.open(Path("outbox.sqlite")) as outbox, Sender(outbox, host="broker.example"):
        outbox.put("caux/textile/t1/scale", {"v": {"batch_weight": 12.4}})   # on the disk when it returns

or beside any program that writes JSON lines: `python -m outbox --help` (here `python -m collector.outbox`).
docs/outbox.md says what is promised.
"""

from .file import Outbox, Status
from .sender import Sender
from .wire import Numbered, OutboxError, OutboxFull, OutboxUnusable, Receipt, Refused, RowRefused

__all__ = [
    "Numbered",
    "Outbox",
    "OutboxError",
    "OutboxFull",
    "OutboxUnusable",
    "Receipt",
    "Refused",
    "RowRefused",
    "Sender",
    "Status",
]
