"""UCUM, the plant's units of measure → Grafana's."""

_GRAFANA = {
    "Cel": "celsius",
    "[degF]": "fahrenheit",
    "K": "kelvin",
    "1": "percentunit",
    "%": "percent",
    "[ppm]": "ppm",
    "A": "amp",
    "mA": "mamp",
    "V": "volt",
    "W": "watt",
    "kW": "kwatt",
    "kW.h": "kwatth",
    "J": "joule",
    "s": "s",
    "min": "m",
    "h": "h",
    "mbar": "pressurembar",
    "Pa": "pressurepa",
    "kPa": "pressurekpa",
    "[psi]": "pressurepsi",
}
"""Everything else is a suffix: Grafana's `masskg` and `pressurebar` would turn 1,200 kg into 1.20 Mg and 0.5 bar into
500 mbar, and operators would not know them again."""

_PRINTED = {"/min": "/min", "um": "µm", "[lb_av]": "lb", "[degF]": "°F", "Cel": "°C", "kW.h": "kWh", "[psi]": "psi"}
_PRINTED |= {"[ppm]": "ppm", "g/(10.min)": "g/10 min", "1": "%"}


def grafana_unit(ucum: str) -> str:
    """`Cel` → `celsius`, `kg/h` → `suffix:kg/h` (Grafana adds the space). A fraction (`1`) is shown in percent."""
    return _GRAFANA.get(ucum) or f"suffix:{_PRINTED.get(ucum, ucum)}"


def printed(value: float, ucum: str, language: str) -> str:
    """A value as people read it: 0.315 of `1` → `31,5 %` (fr), `31.5 %` (en)."""
    shown = f"{value * 100 if ucum == '1' else value:.6g}"
    return f"{shown.replace('.', ',') if language == 'fr' else shown} {_PRINTED.get(ucum, ucum)}"
