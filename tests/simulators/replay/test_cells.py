import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.replay.cells import number, numbers
from simulators.replay.dirt import Dirt, Findings


@pytest.mark.parametrize(
    ("text", "decimal", "value", "remark"),
    [
        ("231.4", ".", 231.4, None),
        (" 231,4 ", ",", 231.4, None),
        ("-.5", ".", -0.5, None),
        ("12.", ".", 12.0, None),
        ("1.5e-3", ".", 0.0015, None),
        ("1,5E3", ",", 1500.0, None),
        ("231.4", ",", 231.4, Dirt.OTHER_DECIMAL),
        ("231,4", ".", 231.4, Dirt.OTHER_DECIMAL),
        ("0,123", ".", 0.123, Dirt.OTHER_DECIMAL),
        ("1,234", ",", 1.234, None),
        ("1 234,5", ",", 1234.5, None),
        ("1\N{NO-BREAK SPACE}234\N{NO-BREAK SPACE}567", ",", 1234567.0, None),
        ("1.234,5", ",", 1234.5, None),
        ("1,234.5", ",", 1234.5, Dirt.OTHER_DECIMAL),
        ("1'234.5", ".", 1234.5, None),
        ("1.234.567", ",", 1234567.0, None),
        ("\N{MINUS SIGN}0,5", ",", -0.5, None),
    ],
)
def test_a_number_is_understood_however_it_is_written(text, decimal, value, remark):
    assert number(text, decimal) == (value, remark)


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("", Dirt.EMPTY),
        (" \0 ", Dirt.EMPTY),
        ("NaN", Dirt.EMPTY),
        ("#N/A", Dirt.EMPTY),
        ("-", Dirt.EMPTY),
        ("inf", Dirt.NOT_FINITE),
        ("1e999", Dirt.NOT_FINITE),
        ("1.234", Dirt.AMBIGUOUS),
        ("-12.345", Dirt.AMBIGUOUS),
        ("Bad Input", Dirt.NOT_A_NUMBER),
        ("231,4 °C", Dirt.NOT_A_NUMBER),
        ("1_000", Dirt.NOT_A_NUMBER),
        ("0x1F", Dirt.NOT_A_NUMBER),
        ("12,34,5", Dirt.NOT_A_NUMBER),
        ("١٢", Dirt.NOT_A_NUMBER),
        ("9" * 1000, Dirt.NOT_A_NUMBER),
    ],
)
def test_what_is_no_number_is_never_sent_and_is_named(text, remark):
    value, said = number(text, ",")
    assert math.isnan(value)
    assert said is remark


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1), st.sampled_from(".,"))
def test_a_column_of_numbers_comes_back_as_it_was(values, decimal):
    findings = Findings()
    cells = [repr(float(value)).replace(".", decimal) for value in values]
    assert numbers(cells, decimal, findings, lambda *_: "").tolist() == values
    assert not findings.by_kind


@given(st.lists(st.text(max_size=12), min_size=1, max_size=20), st.sampled_from(".,"))
def test_a_column_is_read_as_its_cells_one_by_one(cells, decimal):
    findings = Findings()
    found = numbers(cells, decimal, findings, lambda *_: "")
    alone = [number(cell, decimal) for cell in cells]
    assert np.array_equal(found, [value for value, _ in alone], equal_nan=True)
    assert sum(each.count for each in findings.by_kind.values()) == sum(remark is not None for _, remark in alone)


def test_cells_of_typed_files_need_no_text():
    findings = Findings()
    found = numbers([1, 2.5, True, None, math.nan, math.inf, 10**400, "3,5"], ".", findings, lambda *_: "")
    assert found[:3].tolist() == [1.0, 2.5, 1.0]
    assert found[7] == 3.5
    assert {kind: each.count for kind, each in findings.by_kind.items()} == {
        Dirt.EMPTY: 2, Dirt.NOT_FINITE: 2, Dirt.OTHER_DECIMAL: 1
    }  # fmt: skip
