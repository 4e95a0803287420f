"""A real MQTT broker of one test's own, on a free port of the loopback interface: Mosquitto, or the embedded one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self, get_args

from filiere.errors import SettingsError
from filiere.settings import variable
from simulators.demo.children import KILL_S, Child, Children
from simulators.demo.services import BROKER_START_S, HOST, answers, broker_command, free_port

Kind = Literal["mosquitto", "iotcore"]
KINDS = ("auto", *get_args(Kind))
"""What may be asked for; auto = Mosquitto where it is installed, else iotcore, which is installed with Filière."""
SBIN = ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto")
"""Where distributions put it, which is not on everybody's PATH."""


class LocalBroker:
    """A running broker: MQTT 5, anonymous, QoS 1, persistent sessions. Mosquitto keeps them over a restart."""

    host = HOST

    def __init__(self, kind: Kind, folder: Path, *, program: str | None) -> None:
        self.kind = kind
        self.port = free_port()
        self.log_path = folder / "broker.log"
        self._command = broker_command(folder / "broker", self.port, mosquitto=program)
        self._children = Children(logs_dir=folder)
        self._child: Child | None = None

    def __repr__(self) -> str:
        return f"LocalBroker({self.kind}, {self.address})"

    @property
    def address(self) -> str:
        """`127.0.0.1:51883`."""
        return f"{self.host}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that point a `filiere` process to it."""
        return {variable("mqtt_host"): self.host, variable("mqtt_port"): str(self.port)}

    def start(self) -> Self:
        """Start it, on the port that it had before; return when it answers. Nothing when it runs.

        Raises SettingsError: it ends at once, or does not answer in time; with the last lines of its log.
        """
        if self._child is None:
            self._child = self._children.start("broker", self._command)
            self._children.wait_until(
                f"{self.kind} ({self.address})",
                lambda: answers(self.host, self.port),
                timeout_s=BROKER_START_S,
                poll_s=0.02,
            )
        return self

    def stop(self) -> None:
        """Ask it to end, and wait until it has. Nothing when it is down."""
        if self._child is not None:
            self._children.stop(self._child)
            self._child = None

    def kill(self) -> None:
        """End it as a power cut does. Nothing when it is down."""
        if self._child is not None:
            self._child.process.kill()
            self._child.process.wait(KILL_S)
            self._children.forget(self._child)
            self._child = None


@contextmanager
def local_broker(folder: Path, *, kind: str = "auto") -> Iterator[LocalBroker]:
    """A running broker with its files in `folder`; ended when the block ends, and when this process does.

    Raises SettingsError: not one of `KINDS`; Mosquitto is asked for and not installed; it does not start.
    """
    program = next(filter(None, map(shutil.which, ("mosquitto", *SBIN))), None)
    if kind not in KINDS:
        raise SettingsError(f"got broker {kind!r}; expected one of {', '.join(KINDS)}")
    if kind == "mosquitto" and program is None:
        raise SettingsError("got broker 'mosquitto', which is not on PATH: install it, or take 'iotcore' or 'auto'")
    chosen: Kind = "iotcore" if kind == "iotcore" or program is None else "mosquitto"
    broker = LocalBroker(chosen, folder, program=program if chosen == "mosquitto" else None)
    try:
        yield broker.start()
    finally:
        broker.stop()
