"""docs/certificate.md promises that a stranger needs no software of ours: its program is run here as it is printed."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from processing.issue import issue_lot
from processing.keys import public_pem
from tests.processing.builders import KEY, MemoryStore, folders, plant, two_step_chain

PAGE = Path(__file__).parents[2] / "docs" / "certificate.md"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stranger")
    where = folders(root)
    issue_lot(
        plant=plant(),
        chain=two_step_chain(evidence=""),
        store=MemoryStore(),
        key=KEY,
        lot_id="G1",
        archive_dir=where.archive_dir,
        certificates_dir=where.certificates_dir,
    )
    (root / "key.pem").write_bytes(public_pem(KEY.public_key()))
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (root / "check.py").write_text(program, encoding="utf-8")
    return root


def check(root: Path, certificate: Path, *others: Path) -> subprocess.CompletedProcess[str]:
    readings = [*sorted((root / "archive").iterdir()), *others]
    # -I: neither this folder nor its packages can be imported
    return subprocess.run(
        [sys.executable, "-I", "check.py", str(certificate), "key.pem", *map(str, readings)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_program_of_the_page_finds_an_issued_certificate_authentic(root: Path) -> None:
    result = check(root, root / "certificates/G1-r1.json")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "authentic: G1 recycled 0.5 ± 0.001005 (readings of 2 of 2 runs)\n"


def test_the_program_of_the_page_uses_nothing_of_ours(root: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse((root / "check.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"cryptography", "pyarrow"}


def test_the_program_of_the_page_says_that_readings_are_of_another_lot(root: Path) -> None:
    other = next((root / "archive").iterdir())
    certificate = root / "certificates/G1-r1.json"
    table = pq.read_table(other)
    header = json.loads(table.schema.metadata[b"filiere-run"]) | {"run": "R99"}
    pq.write_table(table.replace_schema_metadata({"filiere-run": json.dumps(header)}), root / "R99.parquet")
    result = check(root, certificate, root / "R99.parquet")
    assert result.returncode != 0
    assert "R99, a run that is not behind this lot" in result.stderr


def test_the_program_of_the_page_refuses_a_changed_one(root: Path) -> None:
    changed = root / "changed.json"
    changed.write_bytes((root / "certificates/G1-r1.json").read_bytes().replace(b'"760"', b'"761"', 1))
    result = check(root, changed)
    assert result.returncode != 0
    assert "InvalidSignature" in result.stderr
