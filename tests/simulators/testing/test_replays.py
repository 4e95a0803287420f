from pathlib import Path

import pytest

from collector.log.lines import line_of
from filiere.errors import ScenarioError
from filiere.message_log import Message
from simulators.testing.frozen import FrozenClock
from simulators.testing.lines import LineSim
from simulators.testing.replays import Replays
from simulators.testing.stack import FiliereStack, open_stack

F1 = "caux/flax/f1"
MELT = "extruder.melt_temp"


@pytest.fixture
def exported(line_sim: LineSim, tmp_path: Path) -> Path:
    """The message log of a plant, as `filiere log export` writes it."""
    path = tmp_path / "log.jsonl"
    with path.open("wb") as file:
        for offset, each in enumerate(line_sim(F1), start=1):
            message = Message(offset, each.topic.encode(), each.payload, each.time_ns)
            file.write(line_of(message) + b"\n")
    return path


def test_a_log_that_is_replayed_is_stored_as_the_plant_stored_it(
    exported: Path, replay: Replays, line_sim: LineSim, filiere_stack: FiliereStack, tmp_path: Path
):
    replayed = replay(exported)
    filiere_stack.run(replayed)
    with open_stack(tmp_path / "plant", plant=filiere_stack.plant, clock=FrozenClock(0)) as plant:
        plant.run(line_sim(F1))
        first, again = plant.readings(F1, MELT), filiere_stack.readings(F1, MELT)
        assert first.time_ns.tolist() == again.time_ns.tolist()
        assert first.value.tolist() == again.value.tolist()
        assert len(replayed) == len(line_sim(F1)) == plant.log.head()
    assert replayed.found == {}


def test_a_recording_can_begin_when_the_test_does(exported: Path, replay: Replays, frozen_clock: FrozenClock):
    frozen_clock.advance(86_400)
    moved = replay(exported, start=frozen_clock())
    assert 0 <= next(iter(moved)).time_ns - frozen_clock() < 10**9
    assert "2026-03-12T06:00" in repr(moved)
    assert [each.topic for each in moved] == [each.topic for each in replay(exported)]


HISTORIAN = "﻿Zeit;T Masse\n11.03.2026 07:00:00;231,5\n11.03.2026 07:00:02;-175\n11.03.2026 07:00:04;232,0\n"
MAPPING = f"""replay: 1
file: {{kind: csv, separator: ";", decimal: ","}}
time: {{columns: [Zeit], format: day_first, zone: Europe/Paris}}
columns:
  T Masse: {{signal: {F1}/{MELT}, unit: Cel}}
sentinels: [-175]
"""


def test_a_historian_s_file_is_stored_and_its_dirt_is_counted(
    replay: Replays, filiere_stack: FiliereStack, tmp_path: Path
):
    (tmp_path / "historian.csv").write_text(HISTORIAN, encoding="utf-8")
    recorded = replay(tmp_path / "historian.csv", mapping=MAPPING)
    filiere_stack.run(recorded)
    assert filiere_stack.readings(F1, MELT).value.tolist() == [231.5, 232.0]
    assert recorded.found["sentinel"] == 1


def test_a_mapping_that_is_wrong_is_refused_with_its_line(replay: Replays, tmp_path: Path):
    (tmp_path / "historian.csv").write_text(HISTORIAN, encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"mapping in the test:5"):
        replay(tmp_path / "historian.csv", mapping=MAPPING.replace("melt_temp", "melt_tmp"))
    with pytest.raises(ScenarioError, match="expected a mapping"):
        replay(tmp_path / "historian.csv")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00"])
def test_an_empty_or_truncated_file_publishes_nothing(replay: Replays, tmp_path: Path, content: bytes):
    (tmp_path / "log.jsonl").write_bytes(content)
    with pytest.raises(ScenarioError, match=r"log\.jsonl"):
        replay(tmp_path / "log.jsonl")
