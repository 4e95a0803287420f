import copy
import json

import pytest
from typer.testing import CliRunner

from dashboards.builder import build
from dashboards.commands import dashboards
from dashboards.grafana import Action, Change, Grafana, Kind, Wanted, compare, wanted
from filiere.errors import SettingsError, StoreRefused, StoreUnavailable
from filiere.plant_file import load_plant
from tests.dashboards.grafana_double import GrafanaDouble
from tests.servers import free_port

INFLUX_TOKEN = "the-influx-token"
UID = "filiere-caux-textile-t1-fr"


@pytest.fixture
def double():
    with GrafanaDouble() as grafana:
        yield grafana


def things() -> tuple[Wanted, ...]:
    return wanted(build(load_plant("caux")), influx_url="http://influx:8086", bucket="filiere")


def plan(double: GrafanaDouble) -> tuple[Change, ...]:
    with Grafana(url=double.url, token=double.token) as grafana:
        return grafana.plan(things())


def push(double: GrafanaDouble, **options) -> tuple[Change, ...]:
    with Grafana(url=double.url, token=double.token) as grafana:
        changes = grafana.plan(things())
        grafana.apply(changes, influx_token=INFLUX_TOKEN, **options)
    return changes


def actions(changes: tuple[Change, ...]) -> set[Action]:
    return {change.action for change in changes}


def changed(changes: tuple[Change, ...]) -> Change:
    (change,) = (change for change in changes if change.action is not Action.UNCHANGED)
    return change


def test_an_empty_grafana_gets_folder_then_datasource_then_dashboards(double):
    changes = push(double)
    assert actions(changes) == {Action.CREATE}
    assert [change.wanted.kind for change in changes][:3] == [Kind.FOLDER, Kind.DATASOURCE, Kind.DASHBOARD]
    assert set(double.dashboards) == {document["uid"] for document in build(load_plant("caux")).values()}
    assert set(double.folder_of.values()) == {"filiere"}


def test_a_plan_writes_nothing(double):
    assert actions(plan(double)) == {Action.CREATE}
    assert double.writes == []


def test_a_second_push_does_nothing(double):
    push(double)
    double.writes.clear()
    assert actions(push(double)) == {Action.UNCHANGED}
    assert double.writes == []


def test_a_panel_edited_by_hand_is_shown_and_put_back(double):
    push(double)
    original = copy.deepcopy(double.dashboards[UID])
    double.dashboards[UID]["panels"][0]["title"] = "Changé à la main"
    change = changed(push(double))
    assert change.action is Action.UPDATE
    assert change.wanted.uid == UID
    assert '-      "title": "Changé à la main",' in change.diff.splitlines()
    assert '+      "title": "État de la ligne",' in change.diff.splitlines()
    assert double.dashboards[UID] == original | {"version": 2}


def test_a_field_that_a_hand_added_is_shown(double):
    push(double)
    double.dashboards[UID]["panels"][0]["transparent"] = True
    assert '-      "transparent": true,' in changed(plan(double)).diff


def test_a_dashboard_moved_to_another_folder_is_moved_back(double):
    push(double)
    double.folder_of[UID] = "attic"
    assert '-  "folderUid": "attic",' in changed(push(double)).diff
    assert double.folder_of[UID] == "filiere"


def test_a_renamed_folder_gets_its_name_back(double):
    push(double)
    double.folders["filiere"]["title"] = "Autre"
    push(double)
    assert double.folders["filiere"]["title"] == "Filière"


def test_a_datasource_that_asks_another_bucket_is_put_back(double):
    push(double)
    double.datasources["filiere-influxdb"]["jsonData"]["dbName"] = "other"
    assert '-    "dbName": "other",' in changed(push(double)).diff
    assert double.datasources["filiere-influxdb"]["jsonData"]["dbName"] == "filiere"


def test_the_token_is_sent_and_never_shown(double):
    changes = push(double)
    assert double.secrets["filiere-influxdb"] == {"httpHeaderValue1": f"Token {INFLUX_TOKEN}"}
    assert all(INFLUX_TOKEN not in change.diff for change in changes)


def test_a_datasource_without_its_token_is_a_difference(double):
    push(double)
    double.secrets.clear()
    assert changed(push(double)).wanted.kind is Kind.DATASOURCE
    assert double.secrets["filiere-influxdb"]


def test_a_new_token_is_sent_when_asked(double):
    push(double)
    double.secrets["filiere-influxdb"] = {"httpHeaderValue1": "Token of yesterday"}
    double.writes.clear()
    assert actions(push(double, send_token=True)) == {Action.UNCHANGED}
    assert double.secrets["filiere-influxdb"] == {"httpHeaderValue1": f"Token {INFLUX_TOKEN}"}
    assert double.writes == [("PUT", "/api/datasources/uid/filiere-influxdb")]


def test_a_grafana_under_a_path_is_found():
    with GrafanaDouble(prefix="/grafana") as double:
        push(double)
        assert double.dashboards


def test_no_address_says_which_setting():
    with pytest.raises(SettingsError, match="FILIERE_GRAFANA_URL"):
        Grafana(url="", token="")


def test_a_wrong_token_says_which_setting(double):
    with Grafana(url=double.url, token="wrong") as grafana, pytest.raises(StoreRefused, match="FILIERE_GRAFANA_TOKEN"):
        grafana.plan(things())


def test_no_answer_is_unavailable():
    with (
        Grafana(url=f"http://127.0.0.1:{free_port()}", token="t") as grafana,
        pytest.raises(StoreUnavailable, match="FILIERE_GRAFANA_URL"),
    ):
        grafana.plan(things())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((500, b'{"message":"boom"}'), StoreUnavailable),
        ((503, b"<html>a message of a proxy</html>"), StoreUnavailable),
        ((429, b'{"message":"slow down"}'), StoreUnavailable),
        ((403, b'{"message":"no"}'), StoreRefused),
        ((400, b'{"message":"bad"}'), StoreRefused),
        ((200, b"<html>not Grafana</html>"), StoreUnavailable),
    ],
)
def test_every_bad_answer_is_an_error_of_ours(double, answer, error):
    double.fail_with = answer
    with pytest.raises(error):
        plan(double)


def test_a_key_in_another_order_is_no_difference():
    want = Wanted(kind=Kind.FOLDER, uid="u", title="t", document={"a": 1, "b": 2})
    assert compare(want, {"b": 2, "a": 1}).action is Action.UNCHANGED


def test_the_command_plans_then_pushes(double, monkeypatch):
    monkeypatch.setenv("FILIERE_GRAFANA_URL", double.url)
    monkeypatch.setenv("FILIERE_GRAFANA_TOKEN", double.token)
    monkeypatch.setenv("FILIERE_INFLUX_URL", "http://influx:8086")
    monkeypatch.setenv("FILIERE_INFLUX_TOKEN", INFLUX_TOKEN)
    planned = CliRunner().invoke(dashboards, ["push", "--plan", "--json"], catch_exceptions=False)
    found = json.loads(planned.stdout)
    assert found["applied"] is False
    assert {change["action"] for change in found["changes"]} == {"create"}
    assert double.writes == []
    CliRunner().invoke(dashboards, ["push"], catch_exceptions=False)
    double.dashboards[UID]["title"] = "x"
    again = CliRunner().invoke(dashboards, ["push"], catch_exceptions=False)
    assert '-  "title": "x"' in again.stdout
    assert "unchanged" in again.stdout
    assert INFLUX_TOKEN not in planned.stdout + again.stdout


def test_a_push_without_influxdb_says_what_to_set(double, monkeypatch):
    monkeypatch.setenv("FILIERE_GRAFANA_URL", double.url)
    monkeypatch.setenv("FILIERE_GRAFANA_TOKEN", double.token)
    monkeypatch.delenv("FILIERE_INFLUX_URL", raising=False)
    with pytest.raises(SettingsError, match="FILIERE_INFLUX_URL"):
        CliRunner().invoke(dashboards, ["push"], catch_exceptions=False)
