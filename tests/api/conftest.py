"""A filled workshop, made once; tests that change files get a copy of its folder."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.api.workshop import Workshop

HTML = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    workshop = Workshop.open(tmp_path_factory.mktemp("workshop"))
    workshop.fill()
    yield workshop
    workshop.close()


@pytest.fixture(scope="session")
def client(filled: Workshop) -> TestClient:
    return TestClient(filled.app)


@pytest.fixture
def copied(filled: Workshop, tmp_path: Path) -> Iterator[Callable[[], Workshop]]:
    """Call it for a workshop over a copy of the filled folder."""
    opened: list[Workshop] = []

    def copy() -> Workshop:
        folder = tmp_path / f"copy{len(opened)}"
        shutil.copytree(filled.settings.data_dir, folder)
        opened.append(Workshop.open(folder))
        return opened[-1]

    yield copy
    for workshop in opened:
        workshop.close()
