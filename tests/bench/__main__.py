"""`python -m tests.bench [part …] [--json | --markdown] [--minutes N] [--profile]`: the machine, then a line a row."""

import argparse
import dataclasses
import importlib
import importlib.metadata
import io
import json
import os
import platform
import pstats
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import MINUTES, Bench, Benchmark, Measurement
from tests.servers import ServerMissing

FOLDER = Path(__file__).parent
LIBRARIES = ("numpy", "scipy", "pyarrow", "paho-mqtt", "influxdb-client", "cryptography", "msgspec", "sqlalchemy")
FLUSHES = 50
WIDTH = 190
"""Columns where the output is a file."""
PROFILE_LINES = 15
MET = {True: "yes", False: "NO", None: ""}
LOAD_SHARE_MAX = 0.25
"""Above this share of the cores already in use, the numbers are said to be disturbed."""


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor()
    )
    load = os.getloadavg()[0]
    busy = load / (os.cpu_count() or 1) > LOAD_SHARE_MAX
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "load": f"{load:.2f}" + (" (busy: the numbers are lower than on a quiet machine)" if busy else ""),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "disk flush": f"{flush_ms():.2f} ms (what a durable number stands on)",
        "sqlite": sqlite3.sqlite_version,
        **{name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def flush_ms() -> float:
    """Median time of writing 4 KiB and fsync, ms, in the folder of temporary files: where the benchmarks write."""
    times = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(FLUSHES):
            file.write(bytes(4096))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def benchmarks(parts: list[str]) -> Iterator[tuple[str, Benchmark]]:
    """Every `bench_*` function of every `bench_*` module, or of the modules named in `parts`."""
    for path in sorted(FOLDER.glob("bench_*.py")):
        if parts and path.stem.removeprefix("bench_") not in parts:
            continue
        module = importlib.import_module(f"tests.bench.{path.stem}")
        for name, found in vars(module).items():
            if name.startswith("bench_") and getattr(found, "__module__", "") == module.__name__:
                yield name, found


def run(
    parts: list[str], console: Console, *, minutes: float = MINUTES, profile: Path | None = None
) -> tuple[list[Measurement], list[str]]:
    """Measure, telling the console what is going on. Returns the rows and what could not be measured."""
    rows: list[Measurement] = []
    missing: list[str] = []
    with Bench(minutes=minutes, profile=profile) as bench:
        for name, benchmark in benchmarks(parts):
            with console.status(f"{name}: {(benchmark.__doc__ or '').splitlines()[0]}"):
                try:
                    rows.extend(benchmark(bench))
                except ServerMissing as error:
                    missing.append(f"{name} left out: {error}")
                except (RuntimeError, OSError) as error:  # one that fails does not take the others' rows with it
                    missing.append(f"{name} failed: {error}")
    return rows, missing


def shown(value: float) -> str:
    """Three figures at least, thousands apart."""
    digits = max(0, 3 - len(str(int(abs(value)))))
    return f"{value:,.{digits}f}".replace(",", " ")


def table(rows: list[Measurement]) -> Table:
    """One line a measurement."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    drawn.add_column("what")
    for column in ("median", "low", "high"):
        drawn.add_column(column, justify="right")
    for column in ("unit", "goal", "met", "with"):
        drawn.add_column(column)
    for row in rows:
        numbers = [shown(value) for value in (row.median, row.low, row.high)]
        drawn.add_row(row.name, *numbers, row.unit, goal(row), MET[row.met], row.remark)
    return drawn


def markdown(rows: list[Measurement]) -> Iterator[str]:
    """The table as docs/benchmarks.md has it."""
    yield "| what | median | low … high | unit | goal | met | with |"
    yield "|---|--:|--:|---|---|---|---|"
    for row in rows:
        spread = f"{shown(row.low)} … {shown(row.high)}" if row.repeats > 1 else ""
        cells = (row.name, shown(row.median), spread, row.unit, goal(row), MET[row.met], row.remark)
        yield f"| {' | '.join(cells)} |"


def goal(row: Measurement) -> str:
    """`≥ 50 000`; empty where there is none."""
    least = "" if row.at_least is None else f"≥ {shown(row.at_least)}"
    most = "" if row.at_most is None else f"≤ {shown(row.at_most)}"
    return " ".join(filter(None, (least, most)))


def profiles(folder: Path) -> Iterator[str]:
    """Where each process of the collector spent its time: functions by their own time."""
    for path in sorted(folder.glob("*.prof")):
        text = io.StringIO()
        pstats.Stats(str(path), stream=text).strip_dirs().sort_stats("tottime").print_stats(PROFILE_LINES)
        yield f"{path.name}\n{text.getvalue().strip()}\n"


def main() -> int:
    """Returns the exit code: 1 where nothing could be measured."""
    names = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="make bench", description="What this machine can do.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"only these: {', '.join(names)}")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="machine-readable, on standard output")
    form.add_argument("--markdown", action="store_true", help="the table of docs/benchmarks.md, on standard output")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"how long `memory` lasts ({MINUTES:g})")
    parser.add_argument("--profile", action="store_true", help="where the collector's time goes; it is slower then")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(names)
    if unknown:
        parser.error(f"got {', '.join(sorted(unknown))}; expected some of {', '.join(names)}")

    apart = arguments.json or arguments.markdown
    console = Console(stderr=apart)
    if not console.is_terminal:
        console = Console(stderr=apart, width=WIDTH)
    about = machine()
    console.print(*(f"{name:16} {value}" for name, value in about.items()), sep="\n", highlight=False)
    console.print()
    with tempfile.TemporaryDirectory(prefix="filiere-profile-") as folder:
        profile = Path(folder) if arguments.profile else None
        rows, missing = run(arguments.parts, console, minutes=arguments.minutes, profile=profile)
        for text in profiles(Path(folder)):
            console.print(text, highlight=False, markup=False)
    if arguments.json:
        told = [{**dataclasses.asdict(row), "goal": goal(row), "met": row.met} for row in rows]
        document = {"machine": about, "rows": told, "missing": missing}
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    elif arguments.markdown:
        sys.stdout.writelines(f"{line}\n" for line in markdown(rows))
    else:
        console.print(table(rows))
    for line in missing:
        console.print(line, style="yellow", highlight=False)
    return 0 if rows and not any(" failed: " in line for line in missing) else 1


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
