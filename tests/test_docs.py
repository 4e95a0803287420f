"""What the pages say holds: links lead somewhere, commands exist, examples are what the code takes."""

import re
from pathlib import Path

import pytest

from filiere.cli import COMMANDS
from filiere.ledger import Admission, Ledger
from filiere.plant_file import load_plant

PROJECT = Path(__file__).parent.parent
PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)|\bsrc=\"([^\"]+)\"")
COMMAND = re.compile(r"(?:^ *|`|\bbin/|build )filiere ([a-z]+)\b", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The names that headings get: lower case, signs dropped, a dash for each blank."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_link_inside_the_repository_leads_somewhere(page: Path):
    dead = []
    for found in LINK.findall(page.read_text(encoding="utf-8")):
        target = "".join(found)
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not target.startswith("http") and not (file.exists() and (not anchor or anchor in anchors(file))):
            dead.append(target)
    assert not dead


def test_every_command_that_a_page_names_exists():
    named = {(page.name, name) for page in PAGES for name in COMMAND.findall(page.read_text(encoding="utf-8"))}
    assert len(named) > 10
    assert [(page, name) for page, name in sorted(named) if name not in COMMANDS] == []


def test_every_target_of_make_that_a_page_names_exists():
    targets = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = {
        name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z]+)\b", page.read_text("utf-8"), re.MULTILINE)
    }
    assert named
    assert named <= set(targets)


def test_the_examples_of_events_are_admitted_in_any_order(tmp_path: Path):
    page = (PROJECT / "docs" / "events.md").read_text(encoding="utf-8")
    came_in, began, ended = [block.encode() for block in re.findall(r"```json\n(.*?)\n```", page, re.DOTALL)]
    for number, order in enumerate([(came_in, began, ended), (ended, began, came_in)]):
        ledger = Ledger.open(f"sqlite:///{tmp_path}/{number}.sqlite")
        answers = [ledger.append(body, record_time_ns=1_795_425_245_000_000_000 + i) for i, body in enumerate(order)]
        assert answers[-1] is Admission.ADDED
        assert not ledger.held()
        run = ledger.chain().runs["T1-88-tri"]
        ledger.close()
        line = load_plant("caux").line(run.line)
        step = line.step(run.step)
        assert run.recipe in [recipe.id for recipe in step.recipes]
        assert {portion.material for portion in run.outputs} <= {step.product, *step.residues}
