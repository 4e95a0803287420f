"""The house rules that no linter knows: arrows between packages, reasons for exceptions, the size of a module."""

import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from filiere.settings import Settings, variable

PROJECT = Path(__file__).parent.parent
PACKAGES = ("filiere", "collector", "processing", "api", "dashboards", "simulators")
MODULE_LINES_MAX = 450
TEST_LINES_MAX = 600

SILENCED = re.compile(r"#\s*(?:ruff:\s*)?noqa\b|#\s*type:\s*ignore|#\s*mypy:|#\s*pragma: no cover", re.IGNORECASE)
WITH_CODE_AND_REASON = re.compile(
    r"#\s*(?:ruff:\s*)?noqa: [A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)*\s+(?:-|#|–)?\s*\S.{3,}"
    r"|#\s*type: ignore\[[a-z, -]+\]\s+#\s*(?!noqa)\S.{3,}"
    r"|#\s*mypy: [a-z-]+(?:=\S+)?\s+#\s*\S.{3,}"
    r"|#\s*pragma: no cover\s+(?:-|#|–)?\s*\S.{3,}"
)
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def sources(*folders: str) -> list[Path]:
    return sorted(
        path for folder in folders for path in (PROJECT / folder).rglob("*.py") if "node_modules" not in path.parts
    )


def comments(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as stream:
        for token in tokenize.tokenize(stream.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def at(path: Path, line: int, text: str) -> str:
    return f"{path.relative_to(PROJECT)}:{line}: {text}"


def test_arrows_between_packages_point_down():
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_every_silenced_warning_has_a_code_and_a_reason():
    bare = [
        at(path, line, text)
        for path in sources(*PACKAGES, "tests", "deploy")
        for line, text in comments(path)
        if SILENCED.search(text) and not WITH_CODE_AND_REASON.search(text)
    ]
    assert not bare, "say the code and why:\n" + "\n".join(bare)


@pytest.mark.parametrize(
    ("comment", "accepted"),
    [
        ("# noqa: PLC0415 - only the adapter in use", True),
        ("# noqa: PLC0415  # only the adapter in use", True),
        ("# type: ignore[attr-defined]  # untyped library", True),
        ("# noqa", False),
        ("# noqa: PLC0415", False),
        ("# type: ignore", False),
        ("# type: ignore[attr-defined]", False),
        ("# type: ignore[attr-defined]  # noqa: PGH003", False),
    ],
)
def test_a_reason_is_recognised(comment: str, accepted: bool):  # noqa: FBT001 - parametrised by pytest
    assert SILENCED.search(comment)
    assert bool(WITH_CODE_AND_REASON.search(comment)) == accepted


def test_no_module_is_too_long_to_read():
    limits = dict.fromkeys(sources(*PACKAGES), MODULE_LINES_MAX)
    limits |= dict.fromkeys(sources("tests", "deploy"), TEST_LINES_MAX)
    counted = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in limits}
    long = [f"{path.relative_to(PROJECT)}: {counted[path]} lines" for path in limits if counted[path] > limits[path]]
    assert not long, f"more than {MODULE_LINES_MAX} lines (tests {TEST_LINES_MAX}):\n" + "\n".join(long)


def test_nothing_is_left_for_later():
    left = [
        at(path, line, text)
        for path in sources(*PACKAGES, "tests", "deploy")
        for line, text in comments(path)
        if UNFINISHED.search(text)
    ]
    assert not left, "do it or file it:\n" + "\n".join(left)


def test_every_variable_of_the_deployment_is_a_setting():
    known = {variable(name) for name in Settings.model_fields}
    files = [PROJECT / "docker-compose.yml", PROJECT / "Dockerfile"]
    files += [
        path for path in (PROJECT / "deploy").rglob("*") if path.suffix in {".conf", ".env", ".ini", ".py", ".yml"}
    ]
    unknown = [
        f"{path.relative_to(PROJECT)}: {name}"
        for path in files
        for name in re.findall(r"\bFILIERE_[A-Z_]+\b", path.read_text(encoding="utf-8"))
        if name not in known
    ]
    assert not unknown, "no setting reads this:\n" + "\n".join(unknown)


def test_every_package_is_typed():
    assert [name for name in PACKAGES if not (PROJECT / name / "py.typed").exists()] == []
