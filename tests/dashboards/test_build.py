import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from dashboards import commands
from dashboards.builder import build, dashboard_uid, file_bytes
from dashboards.collector_screen import FREE_ALARMS_BYTES
from dashboards.grid import widths
from dashboards.operator_screen import curve_groups, screen_limits
from dashboards.panels import ref_id
from dashboards.queries import silent_after_s
from dashboards.units import grafana_unit, printed
from dashboards.words import curve_help
from filiere.plant import Label, Limits
from filiere.plant_file import load_plant
from filiere.readings import STATE_IDLE, STATE_RUNNING

PROJECT = Path(__file__).parent.parent.parent
GENERATED = PROJECT / "dashboards" / "generated"
PLANT = load_plant("caux")
THIRD = load_plant(str(PROJECT / "tests" / "filiere" / "third_filiere.yaml"))
DASHBOARDS = build(PLANT)
WALL_ROWS = 27
"""1080 pixels less Grafana's own bar, 38 a row."""

every_dashboard = pytest.mark.parametrize("name", sorted(DASHBOARDS))


def panels(name: str) -> list[dict]:
    return [panel for panel in DASHBOARDS[name]["panels"] if panel["type"] != "row"]


def panel(name: str, title: str) -> dict:
    (found,) = (panel for panel in panels(name) if panel["title"] == title)
    return found


def shown(mappings: list[dict], value: float | str | None) -> str | None:
    """The word that Grafana shows for a value: the first mapping that fits."""
    for mapping in mappings:
        options = mapping["options"]
        if mapping["type"] == "value" and value in options:
            return options[value]["text"]
        if mapping["type"] == "special" and (
            (options["match"] == "null+nan" and value is None) or (options["match"] == "empty" and value == "")
        ):
            return options["result"]["text"]
        if mapping["type"] == "range" and isinstance(value, float):
            low, high = options["from"], options["to"]
            if (low is None or value >= low) and (high is None or value <= high):
                return options["result"]["text"]
    return None


def alarm(name: str, label: str, value: float | None) -> str | None:
    (alarms,) = (panel for panel in panels(name) if len(panel["targets"]) > 3)
    (ref,) = (target["refId"] for target in alarms["targets"] if target["alias"] == label)
    (override,) = (o for o in alarms["fieldConfig"]["overrides"] if o["matcher"]["options"] == ref)
    return shown(override["properties"][0]["value"], value)


def test_the_committed_files_are_the_build():
    assert {path.name for path in GENERATED.iterdir()} == set(DASHBOARDS), "run `filiere dashboards build`"
    for name, document in DASHBOARDS.items():
        assert (GENERATED / name).read_bytes() == file_bytes(document), f"{name}: run `filiere dashboards build`"


def test_the_same_plant_gives_the_same_bytes():
    again = build(load_plant("caux"))
    assert {n: file_bytes(d) for n, d in again.items()} == {n: file_bytes(d) for n, d in DASHBOARDS.items()}


def test_every_line_and_the_collection_have_a_french_and_an_english_screen():
    assert set(DASHBOARDS) == {
        "caux-collector-fr.json",
        "caux-collector-en.json",
        "caux-textile-t1-fr.json",
        "caux-textile-t1-en.json",
        "caux-flax-f1-fr.json",
        "caux-flax-f1-en.json",
    }


def test_uids_are_unique_and_grafana_takes_them():
    uids = [document["uid"] for document in DASHBOARDS.values()]
    assert len(set(uids)) == len(uids)
    assert all(len(uid) <= 40 for uid in uids)


def test_a_long_path_still_has_its_own_uid():
    lines = [replace(PLANT.lines[0], path=f"caux/{'w' * 50}/{line}") for line in ("t1", "t2")]
    uids = {dashboard_uid(line, language) for line in lines for language in ("fr", "en")}
    assert len(uids) == 4
    assert all(len(uid) <= 40 for uid in uids)


@every_dashboard
def test_every_panel_says_what_to_do(name):
    for found in panels(name):
        assert len(found["description"]) > 40, found["title"]


@every_dashboard
def test_both_languages_show_the_same(name):
    other = DASHBOARDS[name.replace("-fr", "-en")]["panels"]
    queries = [[target["query"] for target in found.get("targets", [])] for found in DASHBOARDS[name]["panels"]]
    assert queries == [[target["query"] for target in found.get("targets", [])] for found in other]


@every_dashboard
def test_no_two_panels_overlap_and_all_fit_the_grid(name):
    places = [found["gridPos"] for found in DASHBOARDS[name]["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 and place["w"] >= 4 for place in places)
    for a, b in combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, (a, b)


@pytest.mark.parametrize(
    ("name", "titles"),
    [
        (
            "caux-textile-t1-fr.json",
            {
                "État de la ligne",
                "Lot en cours",
                "Données : Extrudeuse",
                "Alarmes : ce qui sort des limites maintenant",
                "Fourreau zone 1",
                "Température de la matière",
                "Pression avant filtre et Pression après filtre",
                "Part de polypropylène",
                "Poids du lot",
            },
        ),
        (
            "caux-flax-f1-fr.json",
            {
                "État de la ligne",
                "Lot en cours",
                "Données : Doseurs pondéraux",
                "Fourreau zone 1",
                "Température de la matière",
                "Pression en filière",
                "Part de lin (sec)",
                "Poids du lot",
            },
        ),
    ],
)
def test_what_an_operator_needs_is_on_the_wall_without_scrolling(name, titles):
    seen = {f["title"] for f in panels(name) if f["gridPos"]["y"] + f["gridPos"]["h"] <= WALL_ROWS}
    assert titles <= seen


@pytest.mark.parametrize("line", PLANT.lines, ids=lambda line: line.id)
def test_every_signal_has_a_curve_and_only_one(line):
    drawn = [signal.key for group in curve_groups(line) for signal in group.signals]
    assert sorted(drawn) == sorted(signal.key for signal in line.signals)


@pytest.mark.parametrize("line", PLANT.lines, ids=lambda line: line.id)
def test_a_band_is_never_drawn_behind_a_signal_with_other_limits(line):
    for group in curve_groups(line):
        own = {screen_limits(line, signal) for signal in group.signals}
        assert own <= {group.limits, Limits()}


def test_the_band_is_red_below_green_between_and_red_above():
    curves = panel("caux-textile-t1-fr.json", "Température de la matière")
    assert curves["fieldConfig"]["defaults"]["thresholds"]["steps"] == [
        {"color": "red", "value": None},
        {"color": "green", "value": 210.0},
        {"color": "red", "value": 245.0},
    ]
    custom = curves["fieldConfig"]["defaults"]["custom"]
    assert custom["axisSoftMin"] < 210
    assert custom["axisSoftMax"] > 245
    assert curves["fieldConfig"]["defaults"]["unit"] == "celsius"
    assert "de 210 °C à 245 °C" in curves["description"]


def test_every_recipe_has_its_limits_in_words():
    line = PLANT.line("caux/flax/f1")
    step = line.step("compounding")
    (first,) = step.recipes
    pla = replace(first, id="pla", label=Label(fr="PLA", en="PLA"), limits={"extruder.melt_temp": Limits()})
    both = replace(line, steps=(replace(step, recipes=(first, pla)),))
    text = curve_help(both, (line.signal("extruder.melt_temp"),), "fr")
    assert "recette « Composite PP, 30 % de lin » : au plus 200 °C." in text
    assert "recette « PLA » : sans limite." in text


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (209.9, "trop bas"),
        (210.0, "normal"),
        (228.0, "normal"),
        (245.0, "normal"),
        (245.1, "trop haut"),
        (None, "sans mesure"),
    ],
)
def test_an_alarm_is_a_word(value, word):
    assert alarm("caux-textile-t1-fr.json", "Température de la matière", value) == word


def test_a_limit_on_one_side_raises_one_alarm():
    assert alarm("caux-textile-t1-en.json", "Polypropylene share", 0.89) == "too low"
    assert alarm("caux-textile-t1-en.json", "Polypropylene share", 1.0) == "normal"


def test_the_state_is_a_word_in_both_languages():
    for name, title, words in (
        ("caux-flax-f1-fr.json", "État de la ligne", ("EN MARCHE", "À L'ARRÊT")),
        ("caux-flax-f1-en.json", "State of the line", ("RUNNING", "IDLE")),
    ):
        mappings = panel(name, title)["fieldConfig"]["defaults"]["mappings"]
        assert (shown(mappings, STATE_RUNNING), shown(mappings, STATE_IDLE)) == words


def test_an_idle_line_shows_no_lot():
    lot = panel("caux-flax-f1-fr.json", "Lot en cours")["fieldConfig"]["defaults"]
    assert (shown(lot["mappings"], ""), lot["noValue"]) == ("aucun lot", "aucun lot")


def test_data_age_is_red_when_nothing_came_for_five_periods():
    moisture = PLANT.line("caux/flax/f1").signal("dryer.moisture")
    assert silent_after_s(moisture) == 5 * moisture.period_s
    age = panel("caux-flax-f1-fr.json", "Données : Sécheur de lin")
    defaults = age["fieldConfig"]["defaults"]
    assert "time > now() - 300s" in age["targets"][0]["query"]
    assert defaults["thresholds"]["steps"] == [{"color": "red", "value": None}, {"color": "green", "value": 1}]
    assert (defaults["noValue"], shown(defaults["mappings"], None)) == ("MUET", "MUET")


COLLECTOR = "caux-collector-fr.json"
COLLECTOR_TILES = ("Réception", "Réponses aux appareils", "À enregistrer", "Manquant", "Refusé", "Place libre")


def test_what_is_open_is_on_the_wall_without_scrolling():
    seen = {f["title"] for f in panels(COLLECTOR) if f["gridPos"]["y"] + f["gridPos"]["h"] <= WALL_ROWS}
    assert {*COLLECTOR_TILES, "Comptes : Ligne textile T1"} <= seen


@pytest.mark.parametrize(
    ("title", "value", "word"),
    [
        ("Réception", "1", "ACCEPTE"),
        ("Réception", "0", "RIEN N'EST ACCEPTÉ"),
        ("Réception", None, "MUET"),
        ("Réponses aux appareils", "1", "RÉPOND"),
        ("Réponses aux appareils", "0", "NE RÉPOND PLUS"),
        ("Manquant", 0.0, "rien ne manque"),
        ("Manquant", 3.0, None),
        ("Refusé", 0.0, "rien n'est refusé"),
        ("Comptes : Ligne lin F1", 0.0, "juste"),
        ("Comptes : Ligne lin F1", 41.0, None),
        ("Comptes : Ligne lin F1", None, "sans nouvelles"),
    ],
)
def test_an_account_is_a_word_or_the_number_that_is_missing(title, value, word):
    assert shown(panel(COLLECTOR, title)["fieldConfig"]["defaults"]["mappings"], value) == word


def test_a_collector_that_says_nothing_is_told_so_and_not_shown_as_it_was():
    for title in COLLECTOR_TILES:
        tile = panel(COLLECTOR, title)
        assert tile["fieldConfig"]["defaults"]["noValue"] == "MUET"
        assert "time > now() - 180s" in tile["targets"][0]["query"]


def test_what_is_missing_is_red_and_a_full_disk_too():
    def steps(title):
        return panel(COLLECTOR, title)["fieldConfig"]["defaults"]["thresholds"]["steps"]

    assert steps("Manquant") == [{"color": "green", "value": None}, {"color": "red", "value": 1}]
    assert steps("Place libre")[:2] == [
        {"color": "red", "value": None},
        {"color": "orange", "value": FREE_ALARMS_BYTES},
    ]


def test_every_device_of_a_line_has_its_account_and_no_stranger_has():
    accounts = panel(COLLECTOR, "Comptes : Ligne textile T1")
    units = [unit.label.fr for unit in PLANT.line("caux/textile/t1").units]
    assert [target["alias"] for target in accounts["targets"]] == [*units, "Terminal"]


def test_a_third_filiere_gets_its_screen_with_no_code():
    document = build(THIRD)["rouen-wood-w1-fr.json"]
    assert document["title"] == "Ligne bois – écran opérateur"
    titles = [found["title"] for found in document["panels"]]
    assert "Température du plateau" in titles
    assert "Données : Presse" in titles


def test_two_machines_with_the_same_label_are_told_apart():
    line = PLANT.line("caux/textile/t1")
    twin = replace(line.unit("extruder"), id="extruder_2", label=replace(line.label, fr="Extrudeuse 2"))
    twin = replace(twin, signals=tuple(replace(signal, device="extruder_2") for signal in twin.signals))
    workshop = replace(PLANT.workshops[0], lines=(replace(line, units=(*line.units, twin)),))
    titles = [
        found["title"] for found in build(replace(PLANT, workshops=(workshop,)))["caux-textile-t1-fr.json"]["panels"]
    ]
    assert "Extrudeuse : Vitesse de vis" in titles
    assert "Extrudeuse 2 : Vitesse de vis" in titles


def test_operators_know_their_units_again():
    assert [grafana_unit(unit) for unit in ("Cel", "1", "kg", "bar", "/min", "A", "kg/h")] == [
        "celsius",
        "percentunit",
        "suffix:kg",
        "suffix:bar",
        "suffix:/min",
        "amp",
        "suffix:kg/h",
    ]
    assert grafana_unit("dL/g") == "suffix:dL/g"
    assert printed(0.315, "1", "fr") == "31,5 %"
    assert printed(0.315, "1", "en") == "31.5 %"


@given(st.integers(min_value=1, max_value=24))
def test_a_row_is_always_24_columns_wide(count):
    assert sum(widths(count)) == 24
    assert min(widths(count)) >= 1


@given(st.lists(st.integers(min_value=0, max_value=2000), unique=True, min_size=2))
def test_every_query_of_a_panel_has_its_own_letter(positions):
    assert len({ref_id(position) for position in positions}) == len(positions)


def test_letters_go_on_after_z():
    assert [ref_id(position) for position in (0, 25, 26, 51, 52)] == ["A", "Z", "AA", "AZ", "BA"]


def test_the_command_writes_what_changed_and_says_so(tmp_path):
    run = CliRunner()
    first = run.invoke(commands.dashboards, ["build", "--output", str(tmp_path), "--json"], catch_exceptions=False)
    assert {entry["changed"] for entry in json.loads(first.stdout)} == {True}
    second = run.invoke(commands.dashboards, ["build", "--output", str(tmp_path)], catch_exceptions=False)
    assert second.stdout.count("unchanged") == len(DASHBOARDS)
