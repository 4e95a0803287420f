from datetime import UTC
from decimal import Decimal

import pytest

from api.pages import french, moment, number, percent, places_for, places_of, render, zone
from filiere.clock import parse_time
from filiere.units import display


@pytest.mark.parametrize(
    ("value", "places", "fr", "en"),
    [
        (Decimal("1234.56"), 1, "1\u202f234,6", "1,234.6"),
        ("-0.13", 2, "−0,13", "−0.13"),
        (0.0, 1, "0,0", "0.0"),
        (float("nan"), 1, "—", "—"),
        (float("inf"), 1, "—", "—"),
        ("twelve", 1, "—", "—"),
    ],
)
def test_numbers_are_written_as_each_language_does(value: Decimal | float | str, places: int, fr: str, en: str) -> None:
    assert (number(value, "fr", places), number(value, "en", places)) == (fr, en)


def test_a_fraction_is_written_in_percent() -> None:
    assert (percent("0.8959", "fr", 2), percent("0.8959", "en", 2)) == ("89,59\u202f%", "89.59 %")
    assert percent("none", "fr") == "—"


@pytest.mark.parametrize(("u", "places"), [("0.13", 2), ("1.3", 1), ("13", 0), ("0.0001", 2), ("0", 1), ("nan", 1)])
def test_an_uncertainty_is_shown_with_two_digits_and_says_the_places_of_its_value(u: str, places: int) -> None:
    assert places_for(u) == places


@pytest.mark.parametrize(("resolution", "places"), [(0.5, 1), (0.001, 3), (2.0, 0), (0.0, 1), (1e-12, 6)])
def test_a_value_is_shown_to_its_resolution(resolution: float, places: int) -> None:
    assert places_of(resolution) == places


@pytest.mark.parametrize(
    ("ucum", "fr", "en"),
    [
        ("Cel", (1, "°C"), (1, "°C")),
        ("1", (100, "%"), (100, "%")),
        ("/min", (1, "tr/min"), (1, "rpm")),
        ("kg", (1, "kg"), (1, "kg")),
    ],
)
def test_units_are_written_as_people_read_them(ucum: str, fr: tuple[float, str], en: tuple[float, str]) -> None:
    assert (display(ucum, "fr"), display(ucum, "en")) == (fr, en)


def test_times_are_local_and_say_of_which_zone() -> None:
    paris = zone("Europe/Paris")
    assert moment("2026-11-23T09:14:05Z", "fr", paris) == "23\xa0novembre 2026 à\xa010:14\xa0(CET)"
    assert (
        moment(parse_time("2026-07-01T09:14:05Z"), "en", paris, seconds=True)
        == "1\xa0July 2026 at\xa011:14:05\xa0(CEST)"
    )
    assert zone("Atlantis/Nowhere") is UTC
    assert zone("../../etc/passwd") is UTC


def test_french_signs_keep_to_their_word() -> None:
    assert french("Écart : « oui » ; non ?") == "Écart\xa0: «\xa0oui\xa0»\xa0; non\xa0?"


def test_a_page_escapes_what_it_is_given() -> None:
    page = render(
        "absent.html",
        language="fr",
        lot="<script>",
        case="unknown",
        reasons=(),
        issuer="A & B",
        name=None,
        newest=None,
        meant=None,
    )
    assert b"<script>" not in page.body
    assert b"A &amp; B" in page.body
