"""The shell by MQTT: faults that come while it runs, truth beside it, and the command."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from filiere.clock import NS_PER_S, parse_time
from filiere.errors import FiliereError
from filiere.settings import Settings, load_settings
from simulators.commands import simulate as command
from simulators.demo.services import free_port
from simulators.line.messages import Publication
from simulators.line.simulation import simulate
from simulators.line.state import read_state
from simulators.output import live_faults
from simulators.output.live_faults import FOLDER, FaultFolder, Stop, Trigger
from simulators.output.order import Order
from simulators.output.progress import Progress
from simulators.output.simulate import STATE_FILE, run_simulation
from simulators.scenarios.scenario import NORMAL
from simulators.scenarios.scenario_file import parse_fault
from simulators.truth.folder import read_truth
from tests.simulators.builders import START_NS, TEXTILE, caux

SPIKES = {"kind": "sensor_spike", "line": TEXTILE, "target": "shredder.motor_load", "label": "spikes"}
Wire = list[tuple[int, str, bytes]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Nobody listens: all goes into the outbox."""
    return load_settings(data_dir=tmp_path, mqtt_port=free_port())


def run(
    settings: Settings, messages: int, *, at: dict[int, Callable[[], object]] | None = None, **order: object
) -> tuple[Wire, list[Progress], dict[str, object]]:
    """Simulate as fast as it goes until so many messages are in the outbox; `at` a message, do something."""
    seen: Wire = []
    notes: list[Progress] = []

    def watch(publication: Publication) -> None:
        seen.append((publication.time_ns, publication.topic, publication.payload))
        if at and len(seen) in at:
            at[len(seen)]()

    result = run_simulation(
        settings,
        Order(speed=0, start_ns=START_NS, **order),
        stop=lambda: len(seen) >= messages,
        note=notes.append,
        watch=watch,
    )
    return seen, notes, result


def normal(messages: int) -> Wire:
    found = simulate(caux(), seed=1, start_ns=START_NS, lots=None)
    return [(each.time_ns, each.topic, each.payload) for each, _ in zip(found, range(messages), strict=False)]


def test_a_fault_that_comes_while_it_runs_changes_nothing_that_was_sent_and_all_that_follows(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live_faults, "LOOK_S", 0.0)
    folder = FaultFolder(settings.data_dir / FOLDER, caux())
    seen, notes, result = run(settings, 3_000, at={1_500: lambda: folder.place(Trigger(fault=SPIKES))})
    (document,) = read_state(settings.data_dir / STATE_FILE).live
    spikes = parse_fault(json.dumps(document).encode(), "state", caux())
    onset_ns = START_NS + round(spikes.onset.after_s * NS_PER_S)
    usual = normal(len(seen))
    assert [each for each in seen if each[0] < onset_ns] == [each for each in usual if each[0] < onset_ns]
    assert seen != usual
    # it is as if the fault had been there from the beginning: nobody can tell, and a restart makes the same
    told = NORMAL.with_faults([spikes])
    again = simulate(caux(), seed=1, start_ns=START_NS, lots=None, scenario=told)
    assert seen == [(each.time_ns, each.topic, each.payload) for each, _ in zip(again, seen, strict=False)]
    assert seen[1_499][0] < onset_ns <= seen[-1][0]
    assert (result["ended"], result["asked_to_stop"]) == (False, True)
    assert notes[-1].virtual_ns == seen[-1][0]


def test_a_fault_can_be_stopped_and_a_wrong_order_is_answered(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_faults, "LOOK_S", 0.0)
    folder = FaultFolder(settings.data_dir / FOLDER, caux())
    names: list[str] = []

    def place(order: Trigger | Stop) -> Callable[[], object]:
        return lambda: names.append(folder.place(order))

    orders = {
        500: place(Trigger(fault=SPIKES)),
        1_500: place(Stop(label="spikes")),
        2_000: place(Trigger(fault={"kind": "rust"})),
    }
    run(settings, 3_000, at=orders)
    begun, stopped, refused = (folder.answer(name) for name in names)
    assert begun is not None
    assert begun.done is not None
    assert begun.done.fault.stop_ns is None
    assert stopped is not None
    assert stopped.done is not None
    assert (stopped.done.fault.stop_ns or 0) > (begun.done.fault.start_ns or 0)
    assert refused is not None
    assert "fault: got no line" in (refused.problem or "")
    (document,) = read_state(settings.data_dir / STATE_FILE).live
    assert document["duration"]


def test_a_restart_goes_on_behind_what_was_sent_with_the_faults_that_came(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live_faults, "LOOK_S", 0.0)
    folder = FaultFolder(settings.data_dir / FOLDER, caux())
    first, *_ = run(settings, 1_000, at={300: lambda: folder.place(Trigger(fault=SPIKES))})
    second, *_ = run(settings, 1_000)
    (document,) = read_state(settings.data_dir / STATE_FILE).live
    told = NORMAL.with_faults([parse_fault(json.dumps(document).encode(), "state", caux())])
    whole = simulate(caux(), seed=1, start_ns=START_NS, lots=None, scenario=told)
    sent = first + second
    assert sent == [(each.time_ns, each.topic, each.payload) for each, _ in zip(whole, sent, strict=False)]


def test_an_order_that_waits_for_a_restart_begins_behind_what_was_sent_before(settings: Settings):
    first, *_ = run(settings, 1_000)
    FaultFolder(settings.data_dir / FOLDER, caux()).place(Trigger(fault=SPIKES))
    second, *_ = run(settings, 2_000)
    (document,) = read_state(settings.data_dir / STATE_FILE).live
    spikes = parse_fault(json.dumps(document).encode(), "state", caux())
    assert START_NS + round(spikes.onset.after_s * NS_PER_S) > first[-1][0]
    whole = simulate(caux(), seed=1, start_ns=START_NS, lots=None, scenario=NORMAL.with_faults([spikes]))
    sent = first + second
    assert sent == [(each.time_ns, each.topic, each.payload) for each, _ in zip(whole, sent, strict=False)]


def test_the_truth_is_kept_while_it_is_published_and_no_message_says_it(settings: Settings, tmp_path: Path):
    seen, *_ = run(settings, 200, scenario="clogged-screen", truth=tmp_path / "truth")
    truth = read_truth(tmp_path / "truth")
    assert truth.lines == ("caux/flax/f1", TEXTILE)
    assert all(b"dirty-melt" not in payload for _, _, payload in seen)


def test_progress_says_how_much_is_done_of_what_has_an_end(settings: Settings):
    _, notes, _ = run(settings, 2_000, days=0.1)
    shares = [note.share for note in notes]
    assert None not in shares
    assert shares == sorted(shares)
    assert 0.0 < shares[-1] < 1.0


# -------------------------------------------------------------------------------------------------------- the command


def invoke(*arguments: str) -> tuple[int, str, str]:
    app = Typer(add_completion=False, pretty_exceptions_enable=False)  # as `filiere.cli.load` makes it
    app.command()(command)
    shown = CliRunner().invoke(app, [*arguments])
    if isinstance(shown.exception, FiliereError):
        return 2, shown.stdout, str(shown.exception)
    assert shown.exception is None or isinstance(shown.exception, SystemExit), shown.exception
    return shown.exit_code, shown.stdout, shown.stderr


def test_the_command_writes_a_scenario_into_files(tmp_path: Path):
    out = tmp_path / "out"
    code, said, shown = invoke(
        *("--scenario", "network-outage", "--days", "0.02", "--to", str(out), "--format", "csv", "--json"),
        *("--lang", "en", "--truth", str(out / "truth"), "--seed", "9", "--start", "2026-07-01T06:00:00+02:00"),
    )
    assert code == 0, shown
    result = json.loads(said)
    assert (result["scenario"], result["seed"]) == ("network-outage", 9)
    assert parse_time(result["start"]) == parse_time("2026-07-01T04:00:00Z")
    assert shown.splitlines()[-1].endswith(f": {out}")
    assert "simulated days" in shown
    assert (out / "caux-flax-f1-dryer.csv").exists()
    assert read_truth(out / "truth").cycles


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scenario", "clogged-screan"], "did you mean clogged-screen?"),
        (["--format", "csv"], "--format: got a format of files; expected --to FOLDER too"),
        (["--to", "{out}"], "--to: got a simulation without an end"),
        (["--to", "{out}", "--days", "0.01", "--start", "yesterday"], "--start: got time 'yesterday'"),
        (["--to", "{out}", "--days", "0.01", "--start", "9000-01-01T00:00:00Z"], "--start: got a time that is out of"),
        (["--to", "{out}", "--days", "1", "--truth", "{out}"], "where the folder of --to is; expected another one"),
        (["--to", "{out}", "--scenario", "{bad}"], "bad.yaml:3: scenario.label: got"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_and_nothing_is_written(tmp_path: Path, arguments: list[str], message: str):
    (tmp_path / "bad.yaml").write_text("scenario: 1\nid: bad\nlabel: 3\nsummary: 4\n")
    places = {"out": tmp_path / "out", "bad": tmp_path / "bad.yaml"}
    code, said, shown = invoke(*(argument.format(**places) for argument in arguments))
    assert (code, said) == (2, "")
    assert message in shown
    assert "\n" not in shown
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]
