"""Fixtures every test folder shares: real servers, one of each a session.

A test that asks for a server that is not installed is skipped with one line that says how to get it; where
FILIERE_REQUIRE_SERVICES=1 it fails, so that nothing is silently skipped in CI.
"""

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

from tests.servers import (
    PROJECT,
    InfluxDB,
    Mosquitto,
    PostgreSQL,
    Server,
    ServerMissing,
    find_chromium,
    find_strace,
    unavailable,
)

SERVICES = {"mosquitto", "influxdb", "postgresql", "postgres_url", "chromium", "strace"}
_STARTED: list[Server] = []

# the settings of the person who runs the tests must not reach the tests, nor the programs that they start
for _name in [name for name in os.environ if name.startswith("FILIERE_")]:
    del os.environ[_name]

# how long an example takes depends on what else this machine does: no test asserts it
hypothesis.settings.register_profile("filiere", deadline=None)
hypothesis.settings.load_profile("filiere")

T = TypeVar("T")
S = TypeVar("S", bound=Server)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SERVICES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.services)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """pytest folds skips of one place and one reason: all that miss one server become one line of the summary."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and " not found: " in report.longrepr[2]:
        report.longrepr = (str(PROJECT / "tests" / "servers.py"), 0, report.longrepr[2])
    return report


def _found(find: Callable[[], T]) -> T:
    try:
        return find()
    except ServerMissing as missing:
        reason = str(missing)
    return unavailable(reason)


def _served(kind: Callable[[], S]) -> Iterator[S]:
    server = _found(kind)
    try:
        server.start()
        _STARTED.append(server)
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[Mosquitto]:
    """A running MQTT broker: .host .port .start() .stop() .kill()."""
    yield from _served(Mosquitto)


@pytest.fixture(scope="session")
def influxdb() -> Iterator[InfluxDB]:
    """A running InfluxDB 2: .url .token .org .bucket .new_bucket() .start() .stop() .kill()."""
    yield from _served(InfluxDB)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A running PostgreSQL: .new_database() .start() .stop() .kill()."""
    yield from _served(PostgreSQL)


@pytest.fixture
def postgres_url(postgresql: PostgreSQL) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database of this test's own."""
    url = postgresql.new_database()
    yield url
    postgresql.drop_database(url)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's executable."""
    return _found(find_chromium)


@pytest.fixture(scope="session")
def strace() -> Path:
    """The tracer's executable."""
    return _found(find_strace)


@pytest.fixture(scope="session")
def artefacts() -> Path:
    """The folder for what people look at after a run: screenshots, reports. Git ignores it."""
    folder = PROJECT / "artefacts"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def _servers_are_up() -> None:
    """A test may kill a server; the next one finds it running again."""
    for server in _STARTED:
        server.start()
