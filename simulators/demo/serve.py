"""The demo's API: all of `filiere serve`, and the operations on the simulation. `python -m simulators.demo.serve`."""

import sys

from api.server import serve
from filiere.errors import FiliereError
from filiere.logs import configure_logs
from filiere.settings import load_settings
from simulators.demo.fault_routes import router

EXIT_ERROR = 2


def main() -> int:
    """Serve until SIGTERM, or the end of standard input. Returns the exit status."""
    try:
        settings = load_settings()
        configure_logs(settings.log_level, "serve")
        serve(settings, extra_routers=(router,), stop_with_stdin=True)
    except FiliereError as error:
        sys.stderr.write(f"filiere: {error}\n")
        return EXIT_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
