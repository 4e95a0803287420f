"""Fixtures for tests of whoever works with Filière: simulated lines, a broker, and the whole system in one process.

pytest loads this module in every run, so it imports nothing but pytest; what a fixture needs is imported when a test
asks for it. Fixtures, options and examples: docs/testing.md.
"""

import argparse
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from filiere.plant import Plant
    from filiere.readings_store import ReadingsStore
    from simulators.testing.broker import LocalBroker
    from simulators.testing.bus import MessageBus
    from simulators.testing.frozen import FrozenClock
    from simulators.testing.lines import LineSim
    from simulators.testing.replays import Replays
    from simulators.testing.scenarios import Scenarios
    from simulators.testing.stack import FiliereStack

SEED_OPTION = "--filiere-seed"
RANDOM = "random"
SEED_MAX = 2**63 - 1
SEED_DIGITS = len(str(SEED_MAX))
RANDOM_SEED_MAX = 999_999
"""A seed that is drawn is short enough to be typed again."""
SEEDED = "filiere_seed"
"""The fixture that every fixture stands on whose values follow from the seed."""
_seed_key = pytest.StashKey[int]()
"""The seed of this run, once a test asked for it."""
_running = pytest.StashKey[pytest.Item]()
_said = pytest.StashKey[list[str]]()
"""What a test simulated."""


# --------------------------------------------------------------------------------------------------------- options


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the command line and of the ini file."""
    group = parser.getgroup("filiere", "Filière, simulated lines")
    group.addoption(
        SEED_OPTION,
        type=seed_of,
        metavar="N",
        help=f"seed of what is simulated, also where a scenario has its own; '{RANDOM}' draws one and says it",
    )
    parser.addini("filiere_plant", "plant model: a packaged name, or a file from the ini file's folder", default="caux")
    parser.addini("filiere_seed", f"seed where {SEED_OPTION} is not given", default="1")
    parser.addini(
        "filiere_start",
        "first simulated instant, RFC 3339; the clock of filiere_stack begins there",
        default="2026-03-11T06:00:00Z",
    )
    parser.addini("filiere_broker", "mqtt_broker: auto, mosquitto or iotcore", default="auto")


def pytest_configure(config: pytest.Config) -> None:
    """Draw the seed; a worker of pytest-xdist gets the one that was drawn for all."""
    if config.getoption("filiere_seed", None) == RANDOM:
        import secrets

        drawn = secrets.randbelow(RANDOM_SEED_MAX) + 1
        config.option.filiere_seed = getattr(config, "workerinput", {}).get(SEEDED, drawn)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the seed to a worker of pytest-xdist, which reads the command line again and would draw its own."""
    node.workerinput[SEEDED] = node.config.option.filiere_seed


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say the seed that was given or drawn."""
    seed = config.getoption("filiere_seed", None)
    return [] if seed is None else [f"filiere: seed {seed}"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Know which test it is that simulates."""
    item.config.stash[_running] = item


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails says the seed, and what it simulated."""
    report = yield
    if report.failed and SEEDED in getattr(item, "fixturenames", ()):
        seed = item.config.stash.get(_seed_key, None)
        if seed is not None:
            said = [f"seed {seed}: repeat it with {SEED_OPTION} {seed}", *item.stash.get(_said, [])]
            report.sections.append(("filiere", "\n".join(dict.fromkeys(said))))
    return report


def seed_of(text: str) -> int | str:
    """The number that a text is, or `random`. Raises ArgumentTypeError: neither."""
    if text == RANDOM:
        return text
    if text.isascii() and text.isdigit() and len(text) <= SEED_DIGITS and int(text) <= SEED_MAX:
        return int(text)
    raise argparse.ArgumentTypeError(f"got {text[:40]!r}; expected a whole number from 0 to {SEED_MAX}, or {RANDOM}")


# -------------------------------------------------------------------------------------------------- what tests share


@pytest.fixture(scope="session")
def filiere_seed(pytestconfig: pytest.Config) -> int:
    """The seed of this test run: `--filiere-seed`, else the ini file's, else 1."""
    seed = pytestconfig.getoption("filiere_seed")
    if seed is None:
        written = pytestconfig.getini("filiere_seed")
        try:
            seed = seed_of(written)
        except argparse.ArgumentTypeError as error:
            raise pytest.UsageError(f"filiere_seed: {error}") from None
        if seed == RANDOM:
            raise pytest.UsageError(
                f"filiere_seed: got {written!r}; expected a number: {SEED_OPTION} {RANDOM} draws one"
            )
    pytestconfig.stash[_seed_key] = int(seed)
    return int(seed)


@pytest.fixture(scope="session")
def filiere_plant(pytestconfig: pytest.Config) -> "Plant":
    """The plant model of the ini file, `caux` where it names none."""
    from filiere.errors import PlantError
    from filiere.plant_file import load_plant

    name = pytestconfig.getini("filiere_plant")
    beside = (pytestconfig.inipath.parent if pytestconfig.inipath else pytestconfig.rootpath) / name
    try:
        return load_plant(str(beside) if beside.is_file() else name)
    except PlantError as error:
        raise pytest.UsageError(f"filiere_plant: {error}") from None


@pytest.fixture(scope="session")
def _filiere_start_ns(pytestconfig: pytest.Config) -> int:
    from filiere.clock import parse_time

    try:
        return parse_time(pytestconfig.getini("filiere_start"))
    except ValueError as error:
        raise pytest.UsageError(f"filiere_start: {error}; correct the ini file") from None


# -------------------------------------------------------------------------------------------------- simulated lines


@pytest.fixture(scope="session")
def scenario(filiere_plant: "Plant") -> "Scenarios":
    """Call it for a scenario: `scenario("clogged-screen", lots=1)`."""
    from simulators.testing.scenarios import Scenarios

    return Scenarios(filiere_plant)


@pytest.fixture(scope="session")
def line_sim(
    filiere_plant: "Plant", filiere_seed: int, _filiere_start_ns: int, pytestconfig: pytest.Config
) -> "LineSim":
    """Call it for what a line publishes, and what was true: `line_sim("caux/textile/t1", lots=1)`."""
    from simulators.testing.lines import LineSim

    def note(words: str) -> None:
        pytestconfig.stash[_running].stash.setdefault(_said, []).append(words)

    return LineSim(
        filiere_plant,
        seed=filiere_seed,
        seed_wins=pytestconfig.getoption("filiere_seed") is not None,
        start_ns=_filiere_start_ns,
        note=note,
    )


@pytest.fixture(scope="session")
def replay(filiere_plant: "Plant") -> "Replays":
    """Call it for a recorded file as messages: `replay("historian.csv", mapping="mapping.yaml")`."""
    from simulators.testing.replays import Replays

    return Replays(filiere_plant)


# ------------------------------------------------------------------------------------------------------------ parts


@pytest.fixture
def frozen_clock(_filiere_start_ns: int) -> "FrozenClock":
    """A clock that moves when the test says so; it begins at `filiere_start`."""
    from simulators.testing.frozen import FrozenClock

    return FrozenClock(_filiere_start_ns)


@pytest.fixture
def message_bus() -> "MessageBus":
    """A broker without a network: who subscribed gets what is published, in the same call."""
    from simulators.testing.bus import MessageBus

    return MessageBus()


@pytest.fixture
def mqtt_broker(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[LocalBroker]":
    """A running MQTT broker of this test's own: `.host`, `.port`, `.stop()`, `.start()`, `.kill()`."""
    from simulators.testing.broker import KINDS, local_broker

    kind = pytestconfig.getini("filiere_broker")
    if kind not in KINDS:
        raise pytest.UsageError(f"filiere_broker: got broker {kind!r}; expected one of {', '.join(KINDS)}")
    with local_broker(tmp_path_factory.mktemp("broker"), kind=kind) as broker:
        yield broker


@pytest.fixture
def _filiere_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of this test."""
    return tmp_path_factory.mktemp("filiere")


@pytest.fixture
def readings_store(_filiere_folder: Path) -> "Iterator[ReadingsStore]":
    """An empty readings store; it is `filiere_stack`'s too."""
    from contextlib import closing

    from filiere.embedded_store import EmbeddedStore

    with closing(EmbeddedStore.open(_filiere_folder / "readings.sqlite")) as store:
        yield store


@pytest.fixture
def filiere_stack(
    _filiere_folder: Path,
    filiere_plant: "Plant",
    filiere_seed: int,
    frozen_clock: "FrozenClock",
    message_bus: "MessageBus",
    readings_store: "ReadingsStore",
) -> "Iterator[FiliereStack]":
    """The whole system in this process: bus, message log, recorder, stores, certificates, API."""
    from simulators.testing.stack import open_stack

    with open_stack(
        _filiere_folder,
        plant=filiere_plant,
        clock=frozen_clock,
        bus=message_bus,
        store=readings_store,
        seed=filiere_seed,
    ) as stack:
        yield stack
