import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from filiere.archive import SealedRun, read_run
from filiere.clock import NS_PER_S
from filiere.embedded_store import EmbeddedStore
from filiere.errors import NotFound, SettingsError, StoreRefused, StoreUnavailable
from filiere.events import Event, Portion, RunStarted, event_json
from filiere.ledger import Ledger
from filiere.plant import Line, Recipe, Step
from filiere.plant_file import load_plant
from filiere.readings import Block
from processing.commands import WATCH_BACKOFF_S, WATCH_PERIOD_S, certificate
from processing.display import measured
from processing.issue import Issued, issue_lot
from processing.issuer import Issuer
from processing.keys import load_or_make_key, public_pem
from tests.processing.builders import (
    KEY,
    LINE,
    OTHER_KEY,
    T0,
    MemoryStore,
    folders,
    plant,
    portion,
    received,
    run,
    two_step_chain,
)

AUTHENTIC, NOT_AUTHENTIC, CANNOT_SAY = 0, 1, 2


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("issued")
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
    (root / "issuer.pub.pem").write_bytes(public_pem(KEY.public_key()))
    (root / "other.pub.pem").write_bytes(public_pem(OTHER_KEY.public_key()))
    return root


@pytest.fixture(autouse=True)
def _no_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's machine: an empty folder and no settings."""
    monkeypatch.chdir(tmp_path)


def called(*arguments: object) -> Result:
    return CliRunner().invoke(certificate, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def verified(issued: Path, *arguments: object) -> Result:
    return called("verify", issued / "certificates/G1-r1.json", *arguments)


def key(issued: Path) -> tuple[str, Path]:
    return "--key", issued / "issuer.pub.pem"


def test_an_authentic_certificate_says_so_in_french(issued: Path) -> None:
    result = verified(issued, *key(issued))
    assert result.exit_code == AUTHENTIC
    assert "AUTHENTIQUE" in result.output
    assert "NON AUTHENTIQUE" not in result.output
    assert "50,00 % ± 0,10 %" in result.output
    assert "Mesures non fournies" in result.output


def test_english_is_a_choice(issued: Path) -> None:
    result = verified(issued, *key(issued), "--lang", "en")
    assert "AUTHENTIC" in result.output
    assert "50.00% ± 0.10%" in result.output


def test_with_readings_the_seal_is_computed_again(issued: Path) -> None:
    readings = [part for path in (issued / "archive").iterdir() for part in ("--readings", path)]
    result = verified(issued, *key(issued), *readings)
    assert result.exit_code == AUTHENTIC
    assert "sceau et statistiques recalculés sur 120 mesures" in result.output
    assert "Mesures non fournies" not in result.output


def test_a_changed_certificate_is_not_authentic(issued: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.json"
    changed.write_bytes((issued / "certificates/G1-r1.json").read_bytes().replace(b'"760"', b'"761"', 1))
    result = called("verify", changed, *key(issued))
    assert result.exit_code == NOT_AUTHENTIC
    assert "NON AUTHENTIQUE" in result.output
    assert "lot.mass_kg : annoncé 761, recalculé 760" in result.output


def test_damaged_readings_are_not_authentic(issued: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "R1.parquet"
    content = bytearray((issued / "archive/R1.parquet").read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    result = verified(issued, *key(issued), "--readings", damaged)
    assert result.exit_code == NOT_AUTHENTIC
    assert "Mesures" in result.output


def test_without_a_key_it_cannot_be_said(issued: Path) -> None:
    result = verified(issued)
    assert result.exit_code == CANNOT_SAY
    assert "INDÉCIS" in result.output
    assert "56475aa75463474c0285df5dbf2bcab7" in result.output


def test_the_key_of_the_data_folder_is_trusted_where_there_is_one(issued: Path, tmp_path: Path) -> None:
    (tmp_path / "data/keys").mkdir(parents=True)
    shutil.copy(issued / "issuer.pub.pem", tmp_path / "data/keys/issuer.pub.pem")
    assert verified(issued).exit_code == AUTHENTIC


def test_another_key_is_not_enough(issued: Path) -> None:
    assert verified(issued, "--key", issued / "other.pub.pem").exit_code == NOT_AUTHENTIC


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(["verify", "missing.json"], NotFound), (["verify", "{c}", "--key", "missing.pem"], SettingsError)],
)
def test_wrong_usage_is_an_error_with_one_line(issued: Path, arguments: list[str], error: type[Exception]) -> None:
    """`filiere` prints such an error on one line and exits with 2."""
    filled = [argument.replace("{c}", str(issued / "certificates/G1-r1.json")) for argument in arguments]
    assert isinstance(called(*filled).exception, error)


def test_json_says_the_same(issued: Path) -> None:
    result = verified(issued, *key(issued), "--json")
    document = json.loads(result.output)
    assert (document["result"], document["authentic"]) == ("authentic", True)
    assert document["statement"]["lot"]["id"] == "G1"
    assert {check["name"] for check in document["checks"]} == {
        "form",
        "key",
        "signature",
        "chain",
        "lot",
        "claim",
        "balance",
        "statistics",
        "release",
        "readings",
    }


def test_a_certificate_cannot_write_to_the_terminal(issued: Path, tmp_path: Path) -> None:
    document = json.loads((issued / "certificates/G1-r1.json").read_bytes())
    document["statement"]["issuer"]["name"] = "\x1b[2J\u202eevil [bold]x"
    hostile = tmp_path / "hostile.json"
    hostile.write_text(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    for result in (called("verify", hostile), called("verify", hostile, "--json"), called("show", hostile)):
        assert "\x1b" not in result.output
        assert "\u202e" not in result.output
        assert result.exit_code == NOT_AUTHENTIC


def test_show_tells_every_run(issued: Path) -> None:
    result = called("show", issued / "certificates/G1-r1.json")
    assert "R1 · Tri" in result.output
    assert "R2 · Extrusion" in result.output
    assert "melt_temp (°C)" in result.output
    assert result.exit_code == CANNOT_SAY


def test_verifying_loads_no_database_and_no_network_client(issued: Path) -> None:
    script = (
        "import sys; from processing.commands import certificate\n"
        "try: certificate(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "unwanted = {'sqlalchemy', 'influxdb_client', 'paho', 'fastapi', 'sqlite3', 'filiere.ledger'}\n"
        "loaded = unwanted & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    readings = [part for path in (issued / "archive").iterdir() for part in ("--readings", path)]
    arguments = ["verify", issued / "certificates/G1-r1.json", *key(issued), *readings]
    subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        check=True,
        cwd=Path(__file__).parents[2],
        capture_output=True,
    )


def test_issue_with_an_empty_ledger_issues_nothing(tmp_path: Path) -> None:
    result = called("issue")
    assert result.exit_code == 0, result.exception
    assert result.stdout == ""
    assert (tmp_path / "data/keys/issuer.pub.pem").exists()


def test_a_data_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file stands where the folder should be")
    result = called("issue")
    assert isinstance(result.exception, SettingsError)
    assert "FILIERE_DATA_DIR" in str(result.exception)


def test_issue_from_a_real_ledger_and_store_then_verify(tmp_path: Path) -> None:
    """The packaged plant, SQLite ledger, embedded store: what the commands find in a data folder."""
    fill_data_folder(tmp_path / "data")
    result = called("issue", "--json")
    assert result.exit_code == 0, (result.exception, result.output)
    document = json.loads(result.output)
    assert (document["certificate_id"], document["verdict"], document["refused"]) == ("G1-r1", "pass", [])
    assert called("issue", "--json").stdout == ""
    again = called("issue", "G1", "--json")
    assert json.loads(again.output or "null") == document, again.exception
    readings = [part for path in sorted((tmp_path / "data/archive").iterdir()) for part in ("--readings", path)]
    assert called("verify", document["path"], *readings).exit_code == AUTHENTIC
    assert called("show", "G1-r1").exit_code == AUTHENTIC


def test_watch_goes_on_until_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_data_folder(tmp_path / "data")
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("processing.commands.time.sleep", sleep)
    answers: list[StoreUnavailable | list[Issued]] = [StoreUnavailable("InfluxDB does not answer"), []]
    run_once = Issuer.run_once

    def sometimes(issuer: Issuer) -> list[Issued]:
        answer = answers.pop(0) if answers else run_once(issuer)
        if isinstance(answer, StoreUnavailable):
            raise answer
        return answer

    monkeypatch.setattr(Issuer, "run_once", sometimes)
    result = called("issue", "--watch")
    assert result.exit_code == 0, result.exception
    assert "InfluxDB does not answer" in result.output
    assert "✓ G1 · 500 kg · recyclé 100,00 % ± 0,00 % · conforme" in result.output
    assert waited == [WATCH_BACKOFF_S, WATCH_PERIOD_S, WATCH_PERIOD_S]


def test_a_store_that_is_down_is_an_error_of_one_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_data_folder(tmp_path / "data")

    def down(_: Issuer) -> list[Issued]:
        raise StoreUnavailable("InfluxDB does not answer")

    monkeypatch.setattr(Issuer, "run_once", down)
    assert isinstance(called("issue").exception, StoreUnavailable)


@pytest.mark.parametrize(
    ("mean", "u95", "shown"),
    [
        ("228.002", "0.136473", ("228,00", "0,14")),
        ("0.299935", "0.000218044", ("0,29994", "0,00022")),
        ("298.275", "325.085", ("300", "330")),
        ("5", "0", ("5", "0")),
        (None, None, ("–", "–")),
    ],
)
def test_an_uncertainty_is_shown_with_two_digits(mean: str | None, u95: str | None, shown: tuple[str, str]) -> None:
    assert measured(mean, u95, "fr") == shown


def test_a_refused_lot_says_why_and_exits_1(tmp_path: Path) -> None:
    fill_data_folder(tmp_path / "data", granulate_kg="450")
    for arguments in (["issue"], ["issue", "G1"]):
        result = called(*arguments)
        assert result.exit_code == NOT_AUTHENTIC
        assert "écart de bilan" in result.output


def fill_data_folder(data: Path, *, granulate_kg: str = "500") -> None:
    """Two runs of line T1, 10 minutes each, every signal at its set point."""
    data.mkdir()
    ledger = Ledger.open(f"sqlite:///{data / 'ledger.sqlite'}")
    store = EmbeddedStore.open(data / "readings.sqlite")
    line = load_plant("caux").line(LINE)
    bale, sorted_lot = portion("A", 500, material="textile_bale"), portion("S1", 500, material="sorted_textile")
    events = (
        received("A", portion=bale),
        *timed_run("sorting", "tri-pp", start_s=0, inputs=[bale], output=sorted_lot),
        *timed_run(
            "extrusion",
            "pp-gris",
            start_s=700,
            inputs=[sorted_lot],
            output=portion("G1", granulate_kg, material="recycled_granulate"),
        ),
    )
    for event in events:
        ledger.append(event_json(event), record_time_ns=T0)
    for step_id, recipe_id, start_s in (("sorting", "tri-pp", 0), ("extrusion", "pp-gris", 700)):
        step = line.step(step_id)
        store.write(list(rows(line, step, step.recipe(recipe_id), start_s)))
    ledger.close()
    store.close()


def timed_run(step: str, recipe: str, *, start_s: int, inputs: list[Portion], output: Portion) -> tuple[Event, ...]:
    return tuple(
        replace(event, recipe=recipe) if isinstance(event, RunStarted) else event
        for event in run(
            f"R-{output.lot}", inputs, [output], start=start_s / 3600, stop=(start_s + 600) / 3600, step=step
        )
    )


def rows(line: Line, step: Step, recipe: Recipe, start_s: int) -> Iterator[Block]:
    for unit_id in step.units:
        for signal in line.unit(unit_id).signals:
            level = recipe.targets.get(signal.key, 0.005 if signal.unit == "1" else 40.0)
            for time_s in np.arange(start_s, start_s + 660, signal.period_s):
                time_ns = T0 + int(time_s) * NS_PER_S
                yield Block.one(line=LINE, device=unit_id, time_ns=time_ns, values={signal.id: level})


def test_a_refusal_in_json_is_json_too(tmp_path: Path) -> None:
    fill_data_folder(tmp_path / "data", granulate_kg="450")
    documents = [json.loads(called(*arguments, "--json").stdout) for arguments in (["issue"], ["issue", "G1"])]
    assert documents[0] == documents[1]
    assert documents[0]["certificate_id"] is None
    assert documents[0]["refused"][0]["fr"]


def test_a_refusal_says_what_to_do_next(tmp_path: Path) -> None:
    fill_data_folder(tmp_path / "data", granulate_kg="450")
    assert "filiere certificate issue G1" in called("issue").output


def test_nothing_to_issue_is_said(tmp_path: Path) -> None:
    fill_data_folder(tmp_path / "data")
    assert called("issue").exit_code == 0
    again = called("issue")
    assert "Aucun certificat à émettre" in again.stderr
    assert again.stdout == ""


def test_watch_says_what_a_store_refuses_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_data_folder(tmp_path / "data")

    def refused(_: Issuer) -> list[Issued]:
        raise StoreRefused("InfluxDB: the token may not read")

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Issuer, "run_once", refused)
    monkeypatch.setattr("processing.commands.time.sleep", stop)
    result = called("issue", "--watch")
    assert result.exit_code == 0, result.exception
    assert "the token may not read" in result.stderr


def test_a_private_key_given_by_mistake_is_named_as_one(issued: Path, tmp_path: Path) -> None:
    private = tmp_path / "mine.pem"
    load_or_make_key(private)
    result = verified(issued, "--key", private)
    assert isinstance(result.exception, SettingsError)
    assert "mine.pem: got a private key" in str(result.exception)
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("hello")
    assert "garbage.pem: got a file that is not a public key" in str(verified(issued, "--key", garbage).exception)


def test_a_key_that_nobody_named_is_told_with_its_file(issued: Path, tmp_path: Path) -> None:
    """A folder that came with the certificate may hold a key, too: whoever reads the result sees where it is from."""
    (tmp_path / "data/keys").mkdir(parents=True)
    shutil.copy(issued / "issuer.pub.pem", tmp_path / "data/keys/issuer.pub.pem")
    assert "data/keys/issuer.pub.pem" in verified(issued).output.replace("\n", "")
    assert "data/keys/issuer.pub.pem" not in verified(issued, *key(issued)).output


def test_a_key_of_the_data_folder_that_is_none_is_an_error_that_names_it(issued: Path, tmp_path: Path) -> None:
    (tmp_path / "data/keys/issuer.pub.pem").mkdir(parents=True)
    result = verified(issued)
    assert isinstance(result.exception, SettingsError)
    assert "data/keys/issuer.pub.pem" in str(result.exception)


def test_a_certificate_that_cannot_be_read_is_an_error_and_no_traceback(
    issued: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "open", _denied)
    assert isinstance(verified(issued).exception, NotFound)


def _denied(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_french_and_english_are_not_mixed(issued: Path, tmp_path: Path) -> None:
    pretty = tmp_path / "pretty.json"
    pretty.write_text(json.dumps(json.loads((issued / "certificates/G1-r1.json").read_bytes()), indent=1))
    assert "octet 1 : lu" in called("verify", pretty).output
    assert "byte 1: got" in called("verify", pretty, "--lang", "en").output


def test_what_is_not_believed_is_not_shown_as_if_it_were(issued: Path) -> None:
    warning = "Ce que le fichier affirme, sans que rien ne le prouve"
    assert warning in verified(issued).output
    assert warning in verified(issued, "--key", issued / "other.pub.pem").output
    assert warning not in verified(issued, *key(issued)).output


def test_unevidenced_material_is_shown(issued: Path) -> None:
    assert "Sans preuve" in verified(issued, *key(issued)).output
    assert "Unevidenced" in verified(issued, *key(issued), "--lang", "en").output


def test_a_balance_is_shown_beside_what_it_is_allowed(issued: Path) -> None:
    shown = called("show", issued / "certificates/G1-r1.json").output
    assert "Bilan sec : écart 0 kg, admis ± 2,784008 kg (k = 2) ✓" in shown
    assert "°C" in shown


def test_issue_of_an_unknown_lot_is_said() -> None:
    assert isinstance(called("issue", "G9").exception, NotFound)


def test_the_readings_are_those_of_the_certificate(issued: Path) -> None:
    sealed: SealedRun = read_run(issued / "archive/R1.parquet")
    assert sealed.keys == ("sorter.fibre_ratio",)
