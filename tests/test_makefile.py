"""`make` alone tells what there is, and needs nothing but Python and make to begin."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent


def make(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    program = shutil.which("make")
    if program is None:
        pytest.skip("make not found: install the Debian package make")
    return subprocess.run(
        [program, "--no-print-directory", *arguments],
        cwd=PROJECT,
        env={**os.environ, "PATH": path or os.environ["PATH"], "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_alone_lists_every_target():
    listed = make()
    assert listed.returncode == 0, listed.stderr
    declared = re.findall(r"^\.PHONY: (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)[0].split()
    assert re.findall(r"^  make (\w+) +\S", listed.stdout, re.MULTILINE) == declared


def test_the_demo_runs_from_the_lock_file_without_the_tools_of_developers():
    planned = make("-n", "demo", "ARGS=--lots 1")
    assert re.search(r"\buv run --frozen --no-dev filiere demo --lots 1;", planned.stdout), planned.stdout


def test_without_uv_the_first_step_is_to_get_one(tmp_path: Path):
    for program in ("sh", "awk", "uname"):
        found = shutil.which(program)
        assert found is not None
        (tmp_path / program).symlink_to(found)
    planned = make("-n", "demo", f"PYTHON={sys.executable}", path=str(tmp_path))
    assert planned.returncode == 0, planned.stderr
    assert ".cache/uv/bin/uv run --frozen" in planned.stdout
    if not (PROJECT / ".cache/uv/bin/uv").exists():
        assert "-m venv .cache/uv" in planned.stdout


@pytest.mark.parametrize("script", [".ci/run", "tests/influxd/build.sh", "tests/telegraf/build.sh"])
def test_scripts_are_executable(script: str):
    assert os.access(PROJECT / script, os.X_OK)
