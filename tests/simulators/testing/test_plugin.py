"""The plugin as pytest loads it: options, seeds, and what it costs who does not use it."""

import argparse
import re
import subprocess
from pathlib import Path

import pytest

from simulators import pytest_plugin as plugin
from tests.servers import PROJECT
from tests.simulators.testing.runs import run_tests

BARE = Path(__file__).parent / "bare.yaml"
"""A small plant of another filière: one line, one signal."""
FIXTURE = type(plugin.line_sim)
L1 = "ici/atelier/l1"
TESTS = f"""
import pytest

@pytest.fixture(scope="module")
def shared(line_sim, scenario):
    return line_sim("{L1}", scenario=scenario(days=0.01))

def test_fails(line_sim, scenario):
    line_sim("{L1}", seed=5, scenario=scenario("normal-day"), lots=1)
    print("digest", line_sim("{L1}").digest)
    assert 0

def test_fails_too(line_sim, shared):
    print("digest", line_sim("{L1}").digest)
    assert 0

def test_fails_without_it():
    assert 0

def test_passes(filiere_plant, line_sim, filiere_stack):
    assert filiere_plant.site == "ici"
    (issued,) = filiere_stack.run(line_sim("{L1}"))
    assert filiere_stack.readings("{L1}", "chipper.speed").value.max() > 40
    assert filiere_stack.verify(issued.lot).authentic
"""


def run_on_bare(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The tests above; the ini file names the plant beside it, and the run starts elsewhere."""
    (folder / "bare.yaml").write_bytes(BARE.read_bytes())
    return run_tests(folder, TESTS, *arguments, "--rootdir=/", ini="filiere_plant = bare.yaml\n", **environment)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a run with a drawn seed says."""
    run = run_on_bare(tmp_path_factory.mktemp("drawn"), "--filiere-seed", "random")
    assert run.returncode == 1, run.stdout + run.stderr
    return run.stdout


def seed_in(output: str) -> str:
    found = re.search(r"^filiere: seed (\d+)$", output, re.MULTILINE)
    assert found, output
    return found[1]


def digests(output: str) -> list[str]:
    return re.findall(r"^digest ([0-9a-f]{64})$", output, re.MULTILINE)


def test_a_run_that_does_not_use_it_imports_nothing_of_filiere(tmp_path: Path):
    run = run_tests(
        tmp_path,
        """
import sys

def test_nothing_came_in():
    ours = {"filiere", "collector", "processing", "api", "dashboards", "simulators", "numpy", "pydantic"}
    assert {name for name in sys.modules if name.split(".")[0] in ours} == {"simulators", "simulators.pytest_plugin"}
""",
        "-q",
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "filiere" not in run.stdout


def test_a_failing_test_prints_the_seed_and_what_it_simulated(drawn: str):
    _, fails, _, without = re.split(r"_{5,} test_\w+ _{5,}", drawn)
    assert f"seed {seed_in(drawn)}: repeat it with --filiere-seed {seed_in(drawn)}" in fails
    assert f"normal-day, {L1}, seed 5, from 2026-03-11T06:00:00.000Z" in fails
    assert "seed" not in without.partition("short test summary")[0]


def test_a_drawn_seed_is_said_and_repeats(drawn: str, tmp_path: Path):
    again = run_on_bare(tmp_path, f"--filiere-seed={seed_in(drawn)}", PYTHONHASHSEED="7")
    assert len(digests(drawn)) == 2
    assert len(set(digests(drawn) + digests(again.stdout))) == 1


def test_workers_of_pytest_xdist_simulate_with_the_seed_of_the_header(tmp_path: Path):
    text = "\n".join(f"def test_{name}(filiere_seed):\n    assert 0\n" for name in "abcd")
    run = run_tests(tmp_path, text, "--filiere-seed", "random", "-n", "2")
    assert re.findall(r"--filiere-seed (\d+)", run.stdout) == [seed_in(run.stdout)] * 4, run.stdout + run.stderr


def test_the_plant_of_the_ini_file_is_simulated_wherever_the_run_starts(drawn: str):
    assert "3 failed, 1 passed" in drawn


@pytest.mark.parametrize("seed", ["-1", "1.5", "", "9223372036854775808", "٣", "1" * 5000])
def test_a_seed_that_is_none_is_refused(seed: str):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number from 0 to 9223372036854775807"):
        plugin.seed_of(seed)


def test_each_wrong_line_of_the_ini_file_is_said_in_words(tmp_path: Path):
    run = run_tests(
        tmp_path,
        """
def test_plant(filiere_plant):
    pass

def test_seed(filiere_seed):
    pass

def test_start(frozen_clock):
    pass

def test_broker(mqtt_broker):
    pass
""",
        ini="filiere_plant = nowhere.yaml\nfiliere_seed = many\nfiliere_start = 2026-03-11T06:00:00\n"
        "filiere_broker = emqx\n",
    )
    assert run.returncode == 1
    assert "filiere_plant: got plant 'nowhere.yaml'" in run.stdout
    assert "filiere_seed: got 'many'; expected a whole number" in run.stdout
    assert "filiere_start: got a local time without offset" in run.stdout
    assert "filiere_broker: got broker 'emqx'; expected one of auto, mosquitto, iotcore" in run.stdout


def test_every_fixture_and_option_is_on_its_page(request: pytest.FixtureRequest):
    page = (PROJECT / "docs" / "testing.md").read_text(encoding="utf-8")
    public = {name for name, found in vars(plugin).items() if isinstance(found, FIXTURE) and not name.startswith("_")}
    assert {"line_sim", "scenario", "replay", "mqtt_broker", "message_bus", "frozen_clock", "filiere_stack"} < public
    listed = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.MULTILINE))))
    assert public <= listed
    options = {name for name in request.config._parser._inidict if name.startswith("filiere_")}
    assert options <= listed
    assert len(options) == 4
