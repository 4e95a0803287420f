"""Exact numbers and their one text: how a certificate writes a decimal, so that everybody writes the same bytes.

Masses, moistures and origins are decimals as they were weighed; shares and sensitivities are rational numbers, exact
to the end; only what is printed is rounded. Nothing depends on the ambient decimal context.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

from filiere.clock import from_ns

DIGITS = 28
"""Significant digits of every decimal operation that can round."""
COVERAGE_FACTOR = 2
"""U95 = 2·u (GUM 6.3.3: about 95 % for a near-normal quantity with enough degrees of freedom)."""
SHARE_PLACES = 6
MASS_PLACES = 6
SIGNIFICANT_DIGITS = 6
"""Digits of a statistic on a certificate: a sensor does not know more."""
SMALLEST_PLACES = 12
"""A statistic is printed to 12 decimal places at most: what is below is the noise of the sum."""
_NS_PER_MS = 1_000_000
_ROOT_GUARD_DIGITS = 10


def context() -> Context:
    """A fresh decimal context: 28 digits, half to even."""
    return Context(prec=DIGITS, rounding=ROUND_HALF_EVEN)


def decimal_text(value: Decimal) -> str:
    """Plain notation without exponent or trailing zeros: `500`, `0.05`, `-1.2`. Equal values have equal texts."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def number_text(value: float, *, digits: int | None = None) -> str:
    """A float as a decimal: as Python prints it, or rounded to significant `digits` and 12 places, half to even."""
    if digits is None:
        return decimal_text(Decimal(repr(value)))
    printed = Decimal(f"{value:.{digits - 1}e}")
    exponent = printed.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -SMALLEST_PLACES:
        printed = printed.quantize(Decimal(1).scaleb(-SMALLEST_PLACES), ROUND_HALF_EVEN, context())
    return decimal_text(printed)


def rounded(value: float) -> float:
    """The float that the printed text of a statistic means."""
    return float(number_text(value, digits=SIGNIFICANT_DIGITS))


def quantized(value: Fraction, places: int) -> Decimal:
    """A rational number as the nearest decimal with `places` places, half to even."""
    return Decimal(round(value * 10**places)).scaleb(-places, context())


def square_root(value: Fraction, places: int) -> Decimal:
    """√value rounded half to even to `places` decimals. Raises ValueError below 0."""
    if value < 0:
        raise ValueError(f"got the square root of {value}; expected 0 or more")
    wide = Context(prec=DIGITS + places + _ROOT_GUARD_DIGITS, rounding=ROUND_HALF_EVEN)
    root = wide.sqrt(wide.divide(Decimal(value.numerator), Decimal(value.denominator)))
    return wide.quantize(root, Decimal(1).scaleb(-places))


def shares(parts: Mapping[str, Fraction]) -> dict[str, Decimal]:
    """Round parts that sum to 1 so that the rounded ones sum to exactly 1 (largest remainder; ties by name).

    Each rounded share differs from the exact one by less than 10^-6. Raises ValueError when the sum is not 1.
    """
    if sum(parts.values(), Fraction(0)) != 1:
        raise ValueError(f"got parts that sum to {sum(parts.values(), Fraction(0))}; expected exactly 1")
    scale = 10**SHARE_PLACES
    whole = {name: int(part * scale) for name, part in parts.items()}
    missing = scale - sum(whole.values())
    by_remainder = sorted(parts, key=lambda name: (whole[name] - parts[name] * scale, name))
    for name in by_remainder[:missing]:
        whole[name] += 1
    return {name: Decimal(units).scaleb(-SHARE_PLACES, context()) for name, units in whole.items()}


def time_text(time_ns: int) -> str:
    """UTC ns → RFC 3339 with milliseconds, or microseconds where there are any: nothing is lost."""
    timespec = "microseconds" if time_ns % _NS_PER_MS else "milliseconds"
    return from_ns(time_ns).isoformat(timespec=timespec).replace("+00:00", "Z")
