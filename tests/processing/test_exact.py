from decimal import Decimal, getcontext, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.clock import parse_time
from processing.exact import decimal_text, number_text, quantized, rounded, shares, square_root, time_text

masses = st.lists(st.integers(min_value=0, max_value=10**15), min_size=1, max_size=12).filter(any)


@given(masses)
def test_rounded_shares_sum_to_exactly_one(parts: list[int]) -> None:
    total = sum(parts)
    exact = {str(i): Fraction(part, total) for i, part in enumerate(parts)}
    rounded_shares = shares(exact)
    assert sum(rounded_shares.values(), Decimal(0)) == 1
    assert all(abs(Fraction(share) - exact[name]) < Fraction(1, 10**6) for name, share in rounded_shares.items())


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(ValueError, match="expected exactly 1"):
        shares({"a": Fraction(1, 3), "b": Fraction(1, 3)})


def test_thirds_are_shared_out_the_same_way_whatever_the_order() -> None:
    third = Fraction(1, 3)
    assert shares({"b": third, "a": third, "c": third}) == shares({"c": third, "b": third, "a": third})
    assert sorted(shares({"b": third, "a": third, "c": third}).values()) == [
        Decimal("0.333333"),
        Decimal("0.333333"),
        Decimal("0.333334"),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [("500", "500"), ("500.0", "500"), ("5E+2", "500"), ("0.050", "0.05"), ("-0.0", "0"), ("1E-9", "0.000000001")],
)
def test_equal_decimals_have_one_text(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text


@given(st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_a_printed_float_means_itself(value: float) -> None:
    assert float(number_text(value)) == value
    assert float(number_text(value, digits=6)) == rounded(value)
    assert rounded(rounded(value)) == rounded(value)
    assert abs(rounded(value) - value) <= max(abs(value) * 1e-5, 1e-12)


@given(st.fractions(min_value=0, max_value=10**12))
def test_a_square_root_is_the_nearest_decimal(value: Fraction) -> None:
    root = Fraction(square_root(value, 6))
    half = Fraction(1, 2 * 10**6)
    assert max(root - half, Fraction(0)) ** 2 <= value <= (root + half) ** 2


def test_results_do_not_depend_on_the_ambient_decimal_context() -> None:
    value = Fraction(123_456_789_123, 7)
    expected = quantized(value, 6), square_root(value, 6)
    with localcontext() as context:
        context.prec = 3
        assert (quantized(value, 6), square_root(value, 6)) == expected
    assert getcontext().prec == 28


@given(st.integers(min_value=0, max_value=4 * 10**15))
def test_a_time_text_loses_no_microsecond(time_us: int) -> None:
    assert parse_time(time_text(time_us * 1000)) == time_us * 1000
