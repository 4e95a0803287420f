import stat
from pathlib import Path

import pytest

from filiere.whole_file import AlreadyThere, whole_file


def write(path: Path, content: bytes, *, mode: int = 0o644, replace: bool = False) -> None:
    with whole_file(path, mode=mode, replace=replace) as temporary:
        temporary.write_bytes(content)


def test_a_file_appears_with_its_folder_and_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write(path, b"whole", mode=0o444)
    assert path.read_bytes() == b"whole"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_until_it_is_whole_only_its_owner_may_read_it(tmp_path: Path) -> None:
    with whole_file(tmp_path / "file", mode=0o644) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        assert not (tmp_path / "file").exists()


def test_an_error_while_it_is_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), whole_file(tmp_path / "file", mode=0o644):
        tmp_path.read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_there_already_stands(tmp_path: Path) -> None:
    write(tmp_path / "file", b"first")
    with pytest.raises(AlreadyThere):
        write(tmp_path / "file", b"second")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("file", b"first")]


def test_it_can_be_asked_to_replace(tmp_path: Path) -> None:
    write(tmp_path / "file", b"first")
    write(tmp_path / "file", b"second", replace=True)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("file", b"second")]
