"""`filiere serve`."""

from typing import Annotated

import typer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; else FILIERE_API_HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port; else FILIERE_API_PORT.")] = None,
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", help="Stop when standard input ends: for who starts this as a child.")
    ] = False,
) -> None:
    """Serve the API, the live page and the certificates, until Ctrl-C or SIGTERM."""
    from api.server import serve as serve_until_stopped
    from filiere.logs import configure_logs
    from filiere.settings import load_settings

    chosen = {name: value for name, value in (("api_host", host), ("api_port", port)) if value is not None}
    settings = load_settings(**chosen)
    configure_logs(settings.log_level, "serve")
    serve_until_stopped(settings, stop_with_stdin=stop_with_stdin)
