"""The real intake between a real broker and a stack: for a gateway under test that speaks MQTT."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Protocol

from collector.broker import Broker
from collector.intake.assignment import subscriptions
from collector.intake.intake import Intake
from collector.intake.status import StatusFile, read_intake_status
from filiere.clock import Clock
from filiere.message_log import MessageLog
from filiere.plant import Plant

WITHIN_S = 30.0
"""What is awaited comes within this time, or the test ends."""
POLL_S = 0.01
CLIENT_ID = "filiere-test"


class Address(Protocol):
    """Where a broker is."""

    host: str
    port: int


@contextmanager
def listening(broker: Address, *, log_path: Path, plant: Plant, clock: Clock, status: StatusFile) -> Iterator[None]:
    """Take what the broker has for the plant's topics into the message log, in a thread, while the block runs.

    Raises TimeoutError: the broker does not take the subscription.
    """
    stop = threading.Event()
    status.say(connected=False, problem="not subscribed yet")
    status_path = log_path.with_name("intake.status")

    def take() -> None:
        with MessageLog.open(log_path) as log:
            Intake(
                broker=Broker(host=broker.host, port=broker.port, client_id=CLIENT_ID),
                log=log,
                clock=clock,
                random=Random(1),  # noqa: S311 - spreads waits, guards nothing
                stop=stop,
                filters=subscriptions(plant),
                status=status,
            ).run()

    def subscribed() -> bool:
        found = read_intake_status(status_path)
        return found is not None and found.connected

    thread = threading.Thread(target=take, name="filiere-intake", daemon=True)
    thread.start()
    try:
        if not reached(subscribed, within_s=WITHIN_S):
            got = read_intake_status(status_path)
            raise TimeoutError(
                f"got no subscription at {broker.host}:{broker.port} within {WITHIN_S:g} s"
                f" ({got.problem if got else 'no intake'}); expected a running MQTT 5 broker"
            )
        yield
    finally:
        stop.set()
        thread.join(WITHIN_S)
        status.say(connected=True)


def reached(state: Callable[[], bool], *, within_s: float) -> bool:
    """Wait until `state()` is, at most so long; whether it is."""
    deadline_s = time.monotonic() + within_s
    while not state():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True
