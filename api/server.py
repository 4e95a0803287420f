"""The HTTP server: starts, says where, and stops without leaving anybody on a stream that never ends."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress

import uvicorn
from fastapi import APIRouter, FastAPI

from api.app import create_app
from api.live import Board
from filiere.clock import system_clock
from filiere.errors import SettingsError
from filiere.ledger import Ledger
from filiere.plant_file import load_plant
from filiere.readings_store import open_store
from filiere.settings import Settings

STOP_WITHIN_S = 5
KEEP_ALIVE_S = 15
BACKLOG = 256


class Server(uvicorn.Server):
    """uvicorn that ends the live streams before it waits for its connections."""

    def __init__(self, config: uvicorn.Config, board: Board) -> None:
        super().__init__(config)
        self._board = board

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal asks for a stop and is not raised again: the process ends with 0 once all is closed."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the streams, then the rest."""
        self._board.closing.set()
        await super().shutdown(sockets=sockets)


def server_of(app: FastAPI, settings: Settings) -> Server:
    """A server of this application, not started."""
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        log_level="warning" if settings.log_level == "info" else settings.log_level,
        access_log=settings.log_level == "debug",
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=STOP_WITHIN_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        backlog=BACKLOG,
    )
    return Server(config, app.state.board)


def run(app: FastAPI, settings: Settings, *, stop_with_stdin: bool = False) -> None:
    """Serve until a signal, or the end of standard input.

    Raises:
        SettingsError: the address is taken or not this machine's.
    """
    server = server_of(app, settings)
    bound = bind(settings)
    if stop_with_stdin:
        threading.Thread(target=_stop_at_end_of_input, args=(server,), daemon=True).start()
    sys.stderr.write(f"filiere serve: {settings.public_base_url} (Ctrl-C to stop)\n")
    try:
        server.run(sockets=[bound])
    finally:
        bound.close()


def bind(settings: Settings) -> socket.socket:
    """The listening socket. Raises SettingsError."""
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((settings.api_host, settings.api_port))
    except OSError as error:
        bound.close()
        raise SettingsError(
            f"FILIERE_API_HOST, FILIERE_API_PORT: got {settings.api_host}:{settings.api_port} ({error.strerror});"
            " expected a free port of this machine: stop the other server, or choose another port"
        ) from None
    return bound


def serve(settings: Settings, *, extra_routers: Sequence[APIRouter] = (), stop_with_stdin: bool = False) -> None:
    """Open the stores, and serve the API over them until a signal, or the end of standard input.

    Raises:
        SettingsError: the address is taken, the data folder cannot be made, a store's address is not one.
        StoreUnavailable, StoreRefused: a store cannot be opened.
    """
    plant = load_plant(settings.plant)
    settings.make_data_dir()
    with closing(open_store(settings)) as store, closing(Ledger.open(settings.ledger_database_url)) as ledger:
        app = create_app(
            settings=settings,
            plant=plant,
            store=store,
            ledger=ledger,
            clock=system_clock,
            extra_routers=extra_routers,
        )
        run(app, settings, stop_with_stdin=stop_with_stdin)


def _stop_at_end_of_input(server: Server) -> None:
    with suppress(OSError):
        # The descriptor, not sys.stdin: a buffered reader would hold its lock while the interpreter ends.
        while os.read(sys.stdin.fileno(), 1024):
            pass
    server.should_exit = True
