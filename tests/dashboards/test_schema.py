"""The generated JSON against Grafana's own types, npm `@grafana/schema`, by its own compiler."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from dashboards.builder import build, file_bytes
from filiere.plant_file import load_plant
from tests.servers import unavailable

SCHEMA = Path(__file__).parent / "schema"
THIRD = Path(__file__).parent.parent / "filiere" / "third_filiere.yaml"
NPM_S_MAX, TSC_S_MAX = 180, 120
TEXTILE = build(load_plant("caux"))["caux-textile-t1-fr.json"]


def installed() -> bool:
    wanted = json.loads((SCHEMA / "package.json").read_text())["devDependencies"]
    for name, version in wanted.items():
        package = SCHEMA / "node_modules" / name / "package.json"
        if not package.is_file() or json.loads(package.read_text())["version"] != version:
            return False
    return True


@pytest.fixture(scope="module")
def modules() -> Path:
    """The folder node_modules, installed once from the lock file."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        unavailable("node and npm not found: install the Debian packages nodejs and npm, version 20 or later")
    if not installed():
        result = subprocess.run(
            ["npm", "ci", "--ignore-scripts"],
            cwd=SCHEMA,
            capture_output=True,
            text=True,
            timeout=NPM_S_MAX,
            check=False,
        )
        if result.returncode != 0:
            unavailable(f"npm ci in tests/dashboards/schema failed: {result.stderr.strip()[-300:]}")
    return SCHEMA / "node_modules"


def complaints(modules: Path, folder: Path, documents: Mapping[str, bytes]) -> list[str]:
    """What the compiler says of the documents, each written as a literal of the type that check.ts exports."""
    for name in ("check.ts", "package.json", "tsconfig.json"):
        shutil.copy(SCHEMA / name, folder)
    (folder / "node_modules").symlink_to(modules)
    for name, body in documents.items():
        literal = (
            'import type { GeneratedDashboard } from "./check.js";\n\n'
            f"export const dashboard: GeneratedDashboard = {body.decode().strip()};\n"
        )
        (folder / f"{name}.ts").write_text(literal)
    result = subprocess.run(
        ["node", modules / "typescript" / "bin" / "tsc", "--project", "tsconfig.json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TSC_S_MAX,
        check=False,
    )
    found = [line for line in result.stdout.splitlines() if "error TS" in line]
    assert (result.returncode == 0) == (not found), result.stdout + result.stderr
    return found


def test_every_dashboard_is_what_grafana_says_a_dashboard_is(modules, tmp_path):
    documents = build(load_plant("caux")) | build(load_plant(str(THIRD)))
    bodies = {name.removesuffix(".json"): file_bytes(document) for name, document in documents.items()}
    assert complaints(modules, tmp_path, bodies) == []


BROKEN = {
    "enum": ('"mode": "thresholds"', '"mode": "threshold"'),
    "option": ('"justifyMode"', '"justifyMod"'),
    "missing": ('"textMode": "value",', ""),
    "custom": ('"lineWidth": 2', '"lineWidth": "2"'),
    "unknown": ('"fillOpacity": 0,', '"fillOpacity": 0, "fillColour": "red",'),
    "place": ('"h": 4,', ""),
    "query": ('"rawQuery": true,', ""),
    "mapping": ('"match": "empty"', '"match": "void"'),
    "schema": ('"schemaVersion": 42', '"schemaVersion": 12'),
    "override": ('"id": "custom.spanNulls"', '"id": "custom.spanNull"'),
}


def test_the_check_refuses_what_grafana_would_not_know(modules, tmp_path):
    whole = file_bytes(TEXTILE).decode()
    documents = {}
    for name, (right, wrong) in BROKEN.items():
        assert right in whole, name
        documents[name] = whole.replace(right, wrong, 1).encode()
    refused = {line.partition(".ts(")[0] for line in complaints(modules, tmp_path, documents)}
    assert refused == set(BROKEN)


def test_the_lock_file_names_no_registry():
    assert '"resolved"' not in (SCHEMA / "package-lock.json").read_text()
