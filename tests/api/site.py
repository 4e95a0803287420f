"""The application on a real port, in a thread."""

import threading
import time
from collections.abc import Callable

from api.server import Server, bind, server_of
from tests.api.workshop import Workshop
from tests.servers import HOST

WITHIN_S = 60.0
"""On a busy machine; who is in time waits for nothing."""


class Site:
    """Serves a workshop until `stop`."""

    host = HOST

    def __init__(self, workshop: Workshop, port: int) -> None:
        self.workshop = workshop
        self.port = port
        self.url = f"http://{HOST}:{port}"
        settings = workshop.settings.model_copy(update={"api_host": HOST, "api_port": port})
        self.server: Server = server_of(workshop.app, settings)
        self._socket = bind(settings)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(WITHIN_S)
        self._socket.close()
        assert not self.thread.is_alive()


def wait_until(true: Callable[[], bool]) -> None:
    """Poll until it is true; fail after WITHIN_S."""
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
