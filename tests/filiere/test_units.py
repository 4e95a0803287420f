import pytest

from filiere.units import converter


@pytest.mark.parametrize(
    ("value", "unit_from", "unit_to", "expected"),
    [
        (212.0, "[degF]", "Cel", 100.0),
        (0.0, "Cel", "K", 273.15),
        (500.0, "g", "kg", 0.5),
        (1.2, "MPa", "bar", 12.0),
        (30.0, "%", "1", 0.3),
        (50.0, "[ppm]", "1", 5e-5),
        (1.0, "/s", "/min", 60.0),
        (250.0, "kg/h", "kg/h", 250.0),
    ],
)
def test_known_conversions(value, unit_from, unit_to, expected):
    assert converter(unit_from, unit_to)(value) == pytest.approx(expected, rel=1e-12)


def test_units_of_different_quantities_do_not_convert():
    with pytest.raises(ValueError, match="got unit 'bar'; expected 'Cel'"):
        converter("bar", "Cel")


def test_an_unknown_unit_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown unit; known: Cel"):
        converter("celsius", "Cel")
