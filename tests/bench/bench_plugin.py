"""The pytest plugin: what it costs a test run that does not use it."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench import Bench, Measurement, from_values

REPEATS = 15
COST_MS_MAX = 20.0
PLUGIN = "filiere"
"""Its name among pytest's entry points."""
IMPORTED = """
import sys, time
import pytest, _pytest.config, _pytest.terminal, argparse, collections, pathlib, typing
began = time.perf_counter()
import simulators.pytest_plugin
print((time.perf_counter() - began) * 1000)
"""


def bench_plugin(bench: Bench) -> Iterator[Measurement]:
    """A test run of one empty test with the plugin and without it, and the import alone."""
    folder = bench.folder()
    (folder / "test_empty.py").write_text("def test_empty():\n    pass\n", encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    _run(folder)
    differences = []
    for _ in range(REPEATS):
        without_ms = _run(folder, "-p", f"no:{PLUGIN}")
        differences.append(_run(folder) - without_ms)
    yield from_values(
        "pytest plugin, a run that does not use it",
        "ms",
        differences,
        at_most=COST_MS_MAX,
        remark="one empty test, with the plugin less without it, processor time of whole processes in turn",
    )
    yield from_values(
        "pytest plugin, import",
        "ms",
        [float(_python("-c", IMPORTED, folder=folder)) for _ in range(REPEATS)],
        at_most=COST_MS_MAX,
        remark="where pytest is imported already",
    )


def _run(folder: Path, *arguments: str) -> float:
    """Processor time of one run, ms: what the clock shows depends on what else the machine does."""
    before_ms = _used_ms()
    _python("-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, folder=folder)
    return _used_ms() - before_ms


def _used_ms() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def _python(*arguments: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout
