"""A score as a picture."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from filiere.errors import SettingsError
from simulators.truth.plot import write_plot
from tests.simulators.truth.test_score import all_of_it, scored


@pytest.mark.parametrize("name", ["score.svg", "score.png"])
def test_the_same_score_makes_the_same_picture(tmp_path: Path, name: str) -> None:
    result = all_of_it(tmp_path)
    write_plot(tmp_path / name, result, "fr")
    first = (tmp_path / name).read_bytes()
    write_plot(tmp_path / name, result, "fr")
    assert (tmp_path / name).read_bytes() == first


def test_an_svg_is_whole_and_speaks_the_language(tmp_path: Path) -> None:
    write_plot(tmp_path / "score.svg", all_of_it(tmp_path), "en")
    assert ET.parse(tmp_path / "score.svg").getroot().tag.endswith("svg")  # our own file
    assert "missed faults" in (tmp_path / "score.svg").read_text()


def test_a_score_with_nothing_in_it_is_drawn_all_the_same(tmp_path: Path) -> None:
    write_plot(tmp_path / "score.svg", scored(tmp_path, runs=()), "fr")
    assert (tmp_path / "score.svg").stat().st_size > 0


def test_another_suffix_is_refused_and_nothing_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ends in \.svg or \.png"):
        write_plot(tmp_path / "score.pdf", all_of_it(tmp_path), "fr")
    assert not (tmp_path / "score.pdf").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SettingsError, match="expected a file that may be written"):
        write_plot(tmp_path / "file" / "score.svg", all_of_it(tmp_path), "fr")


def test_without_matplotlib_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(SettingsError, match="uv sync --extra plots"):
        write_plot(tmp_path / "score.svg", all_of_it(tmp_path), "fr")
