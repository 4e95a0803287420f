"""What builders opened is closed behind each test."""

from collections.abc import Iterator

import pytest

from tests.simulators.truth.builders import OPENED


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()
