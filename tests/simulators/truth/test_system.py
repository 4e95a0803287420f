"""The system of a data folder."""

from pathlib import Path

import pytest

from filiere.errors import NotFound
from filiere.settings import Settings, load_settings
from simulators.truth.system import open_system


def settings(folder: Path) -> Settings:
    return load_settings(data_dir=folder)


def test_a_folder_that_nobody_recorded_into_is_not_found_and_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="name it with --data"), open_system(settings(tmp_path / "data")):
        pass
    assert not (tmp_path / "data").exists()
