import hashlib
import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.archive import SealedRun
from filiere.errors import NotAuthentic
from processing.seal import merkle_root, seal
from tests.processing.builders import LINE, T0, series

STOP = T0 + 100 * 10**9


def sealed(**fields: Any) -> SealedRun:
    values: dict[str, Any] = {
        "run": "R1",
        "line": LINE,
        "step": "extrusion",
        "start_ns": T0,
        "stop_ns": STOP,
        "keys": ("a.x", "b.y"),
        "series": (series("a.x", [0, 1, 2], [1.5, -2.5, 3.5]), series("b.y", [1, 3], [0.1, 0.2], quality=[0, 2])),
    }
    return SealedRun(**(values | fields))


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def rfc_9162_root(leaves: list[bytes]) -> bytes:
    """The recursive definition of RFC 9162, 2.1.1, letter by letter."""
    if len(leaves) == 1:
        return sha256(b"\x00", leaves[0])
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\x01", rfc_9162_root(leaves[:k]), rfc_9162_root(leaves[k:]))


def leaves_of(run: SealedRun) -> list[bytes]:
    """The layout, built by hand."""
    header = {
        "keys": list(run.keys),
        "line": run.line,
        "run": run.run,
        "start_ns": str(run.start_ns),
        "step": run.step,
        "stop_ns": str(run.stop_ns),
    }
    readings = sorted(
        (int(time_ns), key, float(value), int(quality))
        for key, each in enumerate(run.series)
        for time_ns, value, quality in zip(each.time_ns, each.value, each.quality, strict=True)
    )
    return [
        json.dumps(header, sort_keys=True, separators=(",", ":")).encode(),
        *(struct.pack(">qdHB", time_ns, value, key, quality) for time_ns, key, value, quality in readings),
    ]


def test_the_root_is_that_of_the_layout_built_by_hand() -> None:
    made = seal(sealed())
    assert made.root == rfc_9162_root(leaves_of(sealed())).hex()
    assert made.leaves == 6


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=70))
def test_the_tree_is_the_one_of_rfc_9162(leaves: list[bytes]) -> None:
    assert merkle_root([sha256(b"\x00", leaf) for leaf in leaves]) == rfc_9162_root(leaves)


def test_the_test_vectors_of_certificate_transparency_hold() -> None:
    # from the reference implementation of RFC 6962, whose tree RFC 9162 keeps
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    hashes = [sha256(b"\x00", bytes.fromhex(text)) for text in inputs]
    assert merkle_root(hashes[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle_root(hashes[:2]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert merkle_root(hashes).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@pytest.mark.parametrize(
    "changed",
    [
        {"run": "R2"},
        {"step": "sorting"},
        {"start_ns": T0 - 1},
        {"series": (series("a.x", [0, 1, 2], [1.5, -2.5, 3.5000000000000004]), sealed().series[1])},
        {"series": (series("a.x", [0, 1, 2.000001], [1.5, -2.5, 3.5]), sealed().series[1])},
        {"series": (series("a.x", [0, 1], [1.5, -2.5]), sealed().series[1])},
        {"series": (sealed().series[0], series("b.y", [1, 3], [0.1, 0.2], quality=[0, 1]))},
    ],
)
def test_any_change_changes_the_root(changed: dict[str, Any]) -> None:
    assert seal(sealed(**changed)).root != seal(sealed()).root


def test_two_signals_that_are_exchanged_change_the_root() -> None:
    x, y = sealed().series
    assert seal(sealed(series=(replace(y, key="a.x"), replace(x, key="b.y")))).root != seal(sealed()).root


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"keys": ("b.y", "a.x")}, "not sorted"),
        ({"keys": ("a.x", "c.z")}, "other keys than the header's"),
        ({"stop_ns": T0 + 2 * 10**9}, "outside the run"),
        ({"series": (series("a.x", [1, 1], [1.0, 2.0]), sealed().series[1])}, "out of order or twice"),
        ({"series": (series("a.x", [1], [1.0], quality=[9]), sealed().series[1])}, "quality 9"),
        ({"series": (replace(sealed().series[0], value=np.zeros(1)), sealed().series[1])}, "different lengths"),
    ],
)
def test_readings_that_are_not_those_of_one_run_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(NotAuthentic, match=said):
        seal(sealed(**changed))


def test_a_run_without_signals_is_sealed_by_its_header_alone() -> None:
    bare = sealed(keys=(), series=())
    assert seal(bare).leaves == 1
    assert seal(bare).root == rfc_9162_root(leaves_of(bare)).hex()


def test_a_tree_without_leaves_is_refused() -> None:
    with pytest.raises(ValueError, match="no leaves"):
        merkle_root([])
