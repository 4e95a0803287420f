"""docs/replay.md says what the code does."""

import re

from simulators.replay.commands import run
from simulators.replay.dirt import Dirt
from simulators.replay.mapping_file import parse_mapping
from simulators.replay.times import TimeFormat
from tests.servers import PROJECT
from tests.simulators.builders import caux

PAGE = (PROJECT / "docs" / "replay.md").read_text(encoding="utf-8")


def test_the_page_tells_of_every_kind_of_dirt():
    assert {kind for kind in Dirt if f"`{kind.value}`" not in PAGE} == set()


def test_the_page_tells_of_every_format_of_time():
    assert {each for each in TimeFormat if f"`{each.value}`" not in PAGE} == set()


def test_the_mapping_on_the_page_is_one():
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    found = parse_mapping(example.encode(), "replay.md", caux())
    assert len(found.sources) == 2


def test_every_option_that_the_page_names_exists():
    named = set(re.findall(r"`(--[a-z-]+)", PAGE))
    known = {f"--{name.replace('_', '-')}" for name in run.__annotations__} | {"--json", "--lang", "--line"}
    assert named <= known
