"""`filiere simulate --interactive`: the simulation in a thread, the console before it."""

import threading
from dataclasses import replace
from typing import Any

from filiere.errors import FiliereError
from filiere.plant import Plant
from filiere.plant_file import load_plant
from filiere.settings import Settings
from filiere.terminal import Language
from simulators.console.app import ConsoleApp
from simulators.console.feed import Feed
from simulators.console.reaction import Reaction, Watcher
from simulators.output.live_faults import FOLDER, FaultFolder
from simulators.output.order import Order
from simulators.output.progress import Progress
from simulators.output.simulate import run_simulation

STOP_S = 30.0
"""How long the simulation may take to write down where it stands."""


class Simulation:
    """A simulation in a thread of its own, as the console sees it."""

    def __init__(self, settings: Settings, plant: Plant, order: Order, *, language: Language) -> None:
        self.feed = Feed(plant)
        self.folder = FaultFolder(settings.data_dir / FOLDER, plant)
        self.progress: Progress | None = None
        self.result: dict[str, Any] | None = None
        """What was done; None while it runs, and when it failed."""
        self.failure: FiliereError | None = None
        self.unforeseen: BaseException | None = None
        """What nobody expected: it is raised again where the thread is joined."""
        self._settings = settings
        self._order = order
        self._watcher = Watcher(settings, plant, language=language)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)

    @property
    def ended(self) -> bool:
        """It runs no more."""
        return self._thread.ident is not None and not self._thread.is_alive()

    @property
    def failed(self) -> bool:
        """It ended with an error."""
        return self.failure is not None or self.unforeseen is not None

    def look(self) -> Reaction:
        """What the system makes of it."""
        return self._watcher.look()

    def start(self) -> None:
        """Begin, where the last one stopped."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, with all that was made on the disk. Raises what ended it: FiliereError, or what nobody expected."""
        self._stop.set()
        self._thread.join(STOP_S)
        self._watcher.close()
        if self.failure is not None:
            raise self.failure
        if self.unforeseen is not None:
            raise self.unforeseen

    def _run(self) -> None:
        try:
            self.result = run_simulation(
                self._settings, self._order, stop=self._stop.is_set, note=self._note, watch=self.feed.watch
            )
        except FiliereError as error:
            self.failure = error
        except BaseException as error:  # noqa: BLE001 - raised again by `stop`, in the thread that people see
            self.unforeseen = error

    def _note(self, progress: Progress) -> None:
        self.progress = progress


def run_console(settings: Settings, order: Order, *, language: Language = "fr") -> dict[str, Any]:
    """Show a simulation until somebody leaves. Returns what was done, as `run_simulation`; raises as it."""
    plant = load_plant(settings.plant)
    settings.make_data_dir()
    simulation = Simulation(settings, plant, replace(order, language=language), language=language)
    simulation.start()
    try:
        ConsoleApp(simulation, plant, language=language).run()
    finally:
        simulation.stop()
    return simulation.result or {}
