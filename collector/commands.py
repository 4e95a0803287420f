"""`filiere collect`."""

import enum
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Annotated

import typer


class Part(enum.StrEnum):
    """One of the collector's three processes."""

    INTAKE = "intake"
    RECORDER = "recorder"
    RECEIPTS = "receipts"


def collect(
    only: Annotated[
        Part | None, typer.Option(help="Run one of the three processes alone, here, without a supervisor.")
    ] = None,
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", help="Stop when standard input ends: for who starts this as a child.")
    ] = False,
) -> None:
    """Receive messages by MQTT and record them, until Ctrl-C or SIGTERM.

    Three processes: the intake commits every message to the message log before it is acknowledged; the recorder brings
    them to the readings store, the event ledger and the quarantine; the third answers each device with what of its rows
    is on the disk. A slow database never slows an acknowledgement.
    """
    from random import Random

    from collector.processes import broker_and_filters, run_intake, run_receipts, run_recorder
    from collector.supervisor import stop_with_standard_input, supervise
    from filiere.logs import configure_logs
    from filiere.plant_file import load_plant
    from filiere.settings import load_settings

    settings = load_settings()
    settings.make_data_dir()  # where it cannot be, no start of a child would ever be the last
    plant = load_plant(settings.plant)
    configure_logs(settings.log_level, only or "collect")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    if stop_with_stdin:
        stop_with_standard_input(stop)
    match only:
        case Part.INTAKE:
            run_intake(settings, plant, stop=stop)
        case Part.RECORDER:
            run_recorder(settings, plant, stop=stop)
        case Part.RECEIPTS:
            run_receipts(settings, stop=stop)
        case None:
            broker_and_filters(settings, plant)  # what is wrong there ends it here, not a child again and again
            supervise({part: _command(part) for part in Part}, stop=stop, random=Random())  # noqa: S311 - spreads waits


def _command(part: Part) -> Sequence[str]:
    return [sys.executable, "-m", "filiere", "collect", "--only", part, "--stop-with-stdin"]
