import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from filiere.cli import COMMANDS, load

HEAVY = ("pandas", "scipy", "pyarrow", "sqlalchemy", "paho", "influxdb_client", "fastapi", "pint", "numpy", "rich")


def filiere(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "filiere", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_help_names_every_command():
    shown = filiere("--help")
    assert shown.returncode == 0
    for name in COMMANDS:
        assert f"  {name} " in shown.stdout


def test_help_imports_nothing_heavy():
    probe = (
        "import sys; sys.argv = ['filiere', '--help']\n"
        "from filiere.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_is_named_exists_and_has_help(name):
    load(name)
    shown = filiere(name, "--help")
    assert shown.returncode == 0, shown.stderr
    assert "Usage: filiere" in shown.stdout


def test_the_version_is_told():
    shown = filiere("--version")
    assert shown.returncode == 0
    assert shown.stdout == f"filiere {version('filiere')}\n"


def test_a_terminal_that_cannot_show_a_letter_shows_a_question_mark():
    shown = subprocess.run(
        [sys.executable, "-m", "filiere", "plant", "check", "caux"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
        timeout=60,
    )
    assert shown.returncode == 0, shown.stderr
    assert b"Caux vall?e de Seine" in shown.stdout


def test_an_unknown_command_is_told_with_a_guess():
    shown = filiere("plan")
    assert shown.returncode == 2
    assert "plant" in shown.stderr


def test_an_expected_error_is_one_line_without_traceback():
    shown = filiere("plant", "check", "no/such/plant.yaml")
    assert shown.returncode != 0
    assert "Traceback" not in shown.stderr
    assert "no/such/plant.yaml" in shown.stderr + shown.stdout
