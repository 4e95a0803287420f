"""What the demo says on the terminal: numbers, limits, and what is wrong, as people in a workshop read them."""

import io
import time
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from collector.accounts.audit import SILENT_S_MAX, DeviceAccount, RecorderState
from collector.intake.status import StatusFile
from collector.receipts.status import StatusFile as ReceiptsFile
from filiere.clock import NS_PER_S, parse_time
from filiere.plant import Limits
from filiere.plant_file import load_plant
from filiere.settings import load_settings
from processing.files import UNREADABLE
from simulators.demo import observation, view
from simulators.demo.observation import Finished, LineView, Shown, View
from simulators.faults.fault import Window
from simulators.faults.sensors import SensorDrift
from simulators.output.live_faults import FOLDER, FaultFolder, Trigger

T1 = load_plant("caux").line("caux/textile/t1")
SIGNALS = {signal.key: signal for signal in T1.signals}


def recorder(*, problem: str | None = None, age_s: float = 1.0) -> RecorderState:
    return RecorderState(
        bookmark=10,
        log_head=10,
        quarantined=0,
        waiting=0,
        store_problem=problem,
        updated_ns=time.time_ns() - round(age_s * NS_PER_S),
    )


def a_view(
    *,
    quarantined: int = 0,
    problem: str = "",
    values: tuple[Shown, ...] = (),
    waiting: int = 0,
    faults: tuple[str, ...] = (),
) -> View:
    line = LineView(label="Ligne textile T1", state="en production", run="Tri", lot="T1-1", values=values)
    return View(
        time="17/11/2026 12:07:46",
        lines=(line,),
        messages=12345,
        messages_per_s=50.0,
        log_lag=0,
        quarantined=quarantined,
        waiting=waiting,
        faults=faults,
        problems=(problem,) if problem else (),
    )


def drawn(shown: View) -> str:
    console = Console(file=io.StringIO(), width=100, highlight=False)
    console.print(view._live_table(shown, simulating=True))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("dryer.moisture", 0.0006, "Humidité 0,06 %"),
        ("shredder.motor_load", 0.665, "Charge du moteur 66,5 %"),
        ("extruder.barrel_temp_z1", 195.5, "Fourreau zone 1 195,5 °C"),
        ("extruder.screw_speed", 40.1, "Vitesse de vis 40,1 tr/min"),
    ],
)
def test_a_reading_is_said_in_the_unit_that_people_use(key: str, value: float, text: str) -> None:
    assert observation._reading(SIGNALS[key], value, Limits()) == Shown(text=text)


def test_a_reading_beyond_its_limits_says_which() -> None:
    high = observation._reading(SIGNALS["dryer.moisture"], 0.012, Limits(high=0.01))
    low = observation._reading(SIGNALS["extruder.melt_temp"], 205.0, Limits(low=210.0, high=245.0))
    assert high == Shown(text="▲ Humidité 1,20 % (max. 1 %)", beyond=True)
    assert low == Shown(text="▼ Température de la matière 205,0 °C (min. 210 °C)", beyond=True)


def test_times_are_on_the_clocks_of_the_site() -> None:
    assert observation._moment(parse_time("2026-11-17T11:07:46Z"), "Europe/Paris") == "17/11/2026 12:07:46"


@pytest.mark.parametrize(
    ("recycled", "u95", "bio_based", "text"),
    [
        ("0.98", "0.0001", "0", "recyclé 98,00 ± 0,01 %"),
        ("0", "0", "0.2998", "biosourcé 30,0 %"),
        ("0", "0", "0", "recyclé 0,00 %"),
    ],
)
def test_a_finished_lot_says_its_recycled_content_or_what_grew(
    recycled: str, u95: str, bio_based: str, text: str
) -> None:
    lot = Finished(
        lot="L",
        path=Path("L-r1.json"),
        mass_kg="1.5",
        recycled=Decimal(recycled),
        u95=Decimal(u95),
        bio_based=Decimal(bio_based),
        verdict="conforme",
        address="http://here",
    )
    assert lot.text == f"L · 1,5 kg · {text} · conforme · http://here"


def test_a_recorder_that_does_not_work_is_told_with_where_to_look() -> None:
    assert observation._problem(recorder(), 10, since_ns=0) == ""
    assert observation._problem(None, 0, since_ns=0) == ""
    assert "logs/collect.log" in observation._problem(None, observation.STARTING_MESSAGES + 1, since_ns=0)
    assert "rien n'est perdu" in observation._problem(recorder(problem="down"), 10, since_ns=0)
    assert "ne répond plus" in observation._problem(recorder(age_s=SILENT_S_MAX + 5), 10, since_ns=0)


def test_an_intake_that_accepts_nothing_is_told_and_one_that_has_not_begun_is_not(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    observer = observation.Observer(settings=settings, plant=load_plant("caux"))
    assert list(observer._collector_problems()) == []
    status = StatusFile(settings.intake_status_path, log_path=settings.log_path, clock=time.time_ns)
    status.say(connected=True, problem="disk full; free space on it")
    (told,) = observer._collector_problems()
    assert "rien n'est accepté" in told
    assert "free space" in told
    status.close()


def test_devices_that_get_no_answer_are_told(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    observer = observation.Observer(settings=settings, plant=load_plant("caux"))
    with ReceiptsFile(settings.receipts_status_path, clock=time.time_ns) as status:
        status.say(connected=False, problem="the broker refuses them")
        (told,) = observer._collector_problems()
        assert "ne reçoivent pas de réponse" in told
        assert "the broker refuses them" in told


def test_the_view_shows_what_is_wrong_in_the_simulation_and_what_waits_in_its_outbox(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    plant = load_plant("caux")
    faults = FaultFolder(settings.data_dir / FOLDER, plant)
    observer = observation.Observer(settings=settings, plant=plant)
    assert (observer.view().faults, observer.view().waiting) == ((), 0)
    where = {"kind": "sensor_drift", "line": T1.path, "target": "extruder.melt_temp", "label": "d"}
    faults.place(Trigger(fault=where))
    (drift,) = faults.take((), start_ns=0, now_ns=NS_PER_S, windows={})
    faults.show((drift,), {"d": Window(1, 2 * NS_PER_S)}, virtual_ns=NS_PER_S, waiting=7, problem=None)
    seen = observer.view()
    assert seen.waiting == 7
    (told,) = seen.faults
    assert told == f"{SensorDrift.words.fr} : Ligne textile T1, Extrudeuse, Température de la matière (d)"
    text = drawn(a_view(waiting=7, faults=(told,)))
    assert "7 dans la boîte d'envoi" in text
    assert "! " in text


def test_without_a_terminal_what_is_wrong_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    view.Screen(as_json=False).show(a_view(faults=("Valeur sentinelle : Ligne textile T1 (s)",)), simulating=True)
    assert "! Valeur sentinelle : Ligne textile T1 (s)" in capsys.readouterr().out.splitlines()


def test_the_proof_says_how_many_rows_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    account = DeviceAccount(
        device="caux/textile/t1/extruder",
        published=50,
        stored=9,
        quarantined=0,
        waiting=0,
        missing=41,
        duplicates=0,
        late=0,
        clock_suspect=0,
        out_of_range=0,
        reasons={},
        skew_s=0.0,
        last_record_ns=0,
        state="",
    )
    view.Screen(as_json=False).proof([account], [], ok=False)
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "t1/extruder" in line]
    assert [cell.strip() for cell in row.split("│")[2:-1]] == ["50", "9", "0", "0", "41", "0", "OUVERT"]


def test_the_recorder_of_the_demo_before_is_no_silent_one() -> None:
    assert observation._problem(recorder(age_s=3600.0), 10, since_ns=time.time_ns()) == ""


def test_a_refusal_that_cannot_be_read_is_told_all_the_same(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    settings.certificates_dir.mkdir()
    for number, text in enumerate(("[", "[]", '{"reasons": ["x"]}', '{"reasons": null}')):
        (settings.certificates_dir / f"T1-{number}.refused.json").write_text(text)
    told = list(observation.Observer(settings=settings, plant=load_plant("caux")).finished())
    assert [(lot.lot, lot.reasons) for lot in told] == [(f"T1-{number}", (UNREADABLE.fr,)) for number in range(4)]


def test_the_live_view_fits_a_terminal_of_100_columns_and_says_what_was_refused() -> None:
    hot = Shown(text="▲ Température de la matière 262,5 °C (max. 245 °C)", beyond=True)
    text = drawn(a_view(quarantined=2, problem="panne", values=(hot,)))
    assert hot.text in text
    assert "2 refusés : `filiere quarantine` dit pourquoi" in text
    assert "✗ panne" in text
    assert "12\u202f345 reçus" in text
    assert "refusés" not in drawn(a_view())
