"""The README's test in a fresh virtual environment outside the repository, from the built package alone."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import PROJECT, ServerMissing, find_program, unavailable
from tests.simulators.testing.runs import run_tests

INSTALL_S_MAX = 600.0

pytestmark = pytest.mark.timeout(3 * INSTALL_S_MAX)  # what is not in the cache is downloaded: pyarrow, scipy, …


def uv(*arguments: str | Path) -> None:
    """Run uv with what is in its cache; with the package index where that is not enough."""
    try:
        program = find_program("uv", get="install uv, or run `make check` once", also=[PROJECT / ".cache/uv/bin/uv"])
    except ServerMissing as missing:
        unavailable(str(missing))
    command = [str(program), *map(str, arguments)]
    for more in (["--offline"], []):
        done = subprocess.run(
            [*command, *more], capture_output=True, text=True, timeout=INSTALL_S_MAX, check=False, cwd=PROJECT
        )
        if done.returncode == 0:
            return
    raise AssertionError(f"{' '.join(command)}\n{done.stderr}")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the built package, what it depends on, and pytest."""
    folder = tmp_path_factory.mktemp("fresh")
    uv("build", "--wheel", "--out-dir", folder, PROJECT)
    uv("export", "--frozen", "--no-hashes", "--no-emit-project", "--output-file", folder / "locked.txt")
    uv("venv", "--python", sys.executable, folder / "venv")
    python = folder / "venv" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    uv("pip", "install", "--python", python, "--constraints", folder / "locked.txt", wheel, "pytest")
    return python


def example(page: str) -> str:
    """The first example of a page."""
    text = (PROJECT / page).read_text(encoding="utf-8")
    return str(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])


def test_the_example_of_the_readme_has_six_lines():
    assert len(example("README.md").strip().splitlines()) == 6


EVERY_FIXTURE = """
import simulators

def test_all(line_sim, scenario, mqtt_broker, message_bus, replay, frozen_clock, readings_store, filiere_stack):
    assert "site-packages" in simulators.__path__[0]
    assert scenario("clogged-screen").faults
    assert mqtt_broker.start().port
    with filiere_stack.listening(mqtt_broker):
        assert filiere_stack.api.get("/readyz").json()["ready"]
"""


def test_the_examples_run_where_only_the_package_is_installed(fresh: Path, tmp_path: Path):
    text = "\n\n".join([example("README.md"), example("docs/testing.md"), EVERY_FIXTURE])
    run = run_tests(tmp_path, text, "-q", python=fresh, PYTHONPATH="")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 passed" in run.stdout
