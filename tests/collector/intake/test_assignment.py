"""Which topics a collector asks for, and what its session is remembered to hold."""

import dataclasses
import itertools

import pytest

from collector.intake.assignment import FIRST_RELEASE_FILTERS, HeldFilters, covers, subscriptions, topic_filters
from filiere.errors import SettingsError, StoreUnavailable
from filiere.plant_file import load_plant
from filiere.settings import load_settings

PLANT = load_plant("caux")
T1, F1 = "caux/textile/t1", "caux/flax/f1"


def test_without_lines_everything_that_devices_send_is_asked_for_and_no_receipts():
    assert topic_filters() == tuple(f"filiere/v1/+/+/+/+/{kind}" for kind in ("readings", "events", "state"))
    assert set(topic_filters()) <= set(subscriptions(PLANT))
    assert not any(covers(each, f"filiere/v1/{T1}/extruder/receipt") for each in subscriptions(PLANT))


def test_a_line_that_is_owned_is_asked_for_and_no_other():
    asked = subscriptions(dataclasses.replace(PLANT, bindings=()), [T1])
    assert asked == tuple(f"filiere/v1/{T1}/+/{kind}" for kind in ("readings", "events", "state"))


def test_lines_divide_the_topics_of_a_plant():
    for line, device, kind in itertools.product((T1, F1), ("extruder", "terminal"), ("readings", "events", "state")):
        topic = f"filiere/v1/{line}/{device}/{kind}"
        takers = [owned for owned in (T1, F1) if any(covers(each, topic) for each in subscriptions(PLANT, [owned]))]
        assert takers == [line]


def test_a_line_within_a_pattern_is_asked_for_once():
    assert subscriptions(PLANT, ["caux/+/+", T1]) == subscriptions(PLANT, ["caux/+/+"])


def test_a_line_that_is_not_in_the_plant_is_a_wrong_setting():
    with pytest.raises(SettingsError, match=r"FILIERE_MQTT_LINES: got 'caux/textile/t9'.*caux/textile/t1"):
        subscriptions(PLANT, [T1, "caux/textile/t9"])


@pytest.mark.parametrize(
    "lines", ["caux/textile", "caux/textile/t1/x", "caux/textile/#", "Caux/textile/t1", "a b/c/d", "//"]
)
def test_what_cannot_be_a_line_is_a_wrong_setting(lines):
    with pytest.raises(SettingsError, match="FILIERE_MQTT_LINES: got"):
        load_settings(mqtt_lines=lines)


def test_lines_are_separated_by_commas_and_said_once():
    assert load_settings(mqtt_lines=f"{T1}, {F1},{T1},").mqtt_lines == (T1, F1)


@pytest.mark.parametrize(
    ("wider", "narrower", "does"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("#", "a/+/#", True),
        ("a/+", "a/#", False),
        ("a/b", "a/+", False),
        ("+/+", "a/+", True),
        ("a/b/c", "a/b", False),
    ],
)
def test_a_filter_covers_another(wider, narrower, does):
    assert covers(wider, narrower) is does


def test_what_a_session_holds_is_remembered(tmp_path):
    held = HeldFilters(tmp_path / "data" / "subscriptions.json", client_id="c")
    held.write(["a/+", "b"])
    assert HeldFilters(tmp_path / "data" / "subscriptions.json", client_id="c").read() == ("a/+", "b")


def test_a_session_of_another_name_holds_nothing_that_is_known(tmp_path):
    HeldFilters(tmp_path / "subscriptions.json", client_id="c").write(["a"])
    assert HeldFilters(tmp_path / "subscriptions.json", client_id="d").read() == ()


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"client_id":1}', b"\xff"])
def test_a_session_that_nobody_remembers_holds_what_the_first_release_asked_for(tmp_path, content):
    if content is not None:
        (tmp_path / "subscriptions.json").write_bytes(content)
    assert HeldFilters(tmp_path / "subscriptions.json", client_id="c").read() == FIRST_RELEASE_FILTERS


def test_what_cannot_be_remembered_is_not_asked_for(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="expected to write what the broker was asked for"):
        HeldFilters(tmp_path / "file" / "subscriptions.json", client_id="c").write(["a"])
