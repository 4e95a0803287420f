"""The seal of a run: the root of a Merkle tree over its readings (RFC 9162, 2.1), so that one changed bit is seen.

    leaf hash = SHA-256(0x00 ‖ leaf)          node = SHA-256(0x01 ‖ left ‖ right)

Leaf 0 is the header, RFC 8785 JSON: {"keys": [sorted], "line", "run", "start_ns", "step", "stop_ns"} (times as
texts). Then one leaf a reading, ordered by (time, key), 19 bytes: time ns int64 ‖ value float64 (IEEE 754) ‖ key
index uint16 ‖ quality uint8, all big-endian. The key index is the place in the header's `keys`, the quality the place
in the list of qualities, 0 = good.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import rfc8785

from filiere.archive import SealedRun, ordered_readings, wrong_run
from filiere.errors import NotAuthentic

LEAF_PREFIX, NODE_PREFIX = b"\x00", b"\x01"
_LEAF = np.dtype([("prefix", "u1"), ("time_ns", ">i8"), ("value", ">f8"), ("key", ">u2"), ("quality", "u1")])
"""One reading as it is hashed: the prefix 0x00, then the 19 bytes of the leaf, packed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What a certificate signs of a run's readings."""

    root: str
    """Merkle root, hex."""
    leaves: int
    """Readings + 1 (the header)."""


def seal(sealed: SealedRun) -> Seal:
    """The seal of a run.

    Raises:
        NotAuthentic: the readings are not those of one run: not as SealedRun promises, or outside [start, stop).
    """
    _refuse_what_is_not_one_run(sealed)
    hashes = [hashlib.sha256(LEAF_PREFIX + header(sealed)).digest(), *_reading_hashes(sealed)]
    return Seal(root=merkle_root(hashes).hex(), leaves=len(hashes))


def header(sealed: SealedRun) -> bytes:
    """Leaf 0: which run, line, step, window and signals the readings are of."""
    return rfc8785.dumps(
        {
            "run": sealed.run,
            "line": sealed.line,
            "step": sealed.step,
            "start_ns": str(sealed.start_ns),
            "stop_ns": str(sealed.stop_ns),
            "keys": list(sealed.keys),
        }
    )


def merkle_root(hashes: Sequence[bytes]) -> bytes:
    """Root over leaf hashes. An odd one at the end of a level goes up as it is: the same tree as RFC 9162's definition.

    Raises ValueError when there is no leaf.
    """
    if not hashes:
        raise ValueError("got no leaves; expected at least the header")
    sha256 = hashlib.sha256
    level = list(hashes)
    while len(level) > 1:
        above = [
            sha256(NODE_PREFIX + left + right).digest() for left, right in zip(level[0::2], level[1::2], strict=False)
        ]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def _reading_hashes(sealed: SealedRun) -> list[bytes]:
    leaves = memoryview(_leaves(sealed).tobytes())
    sha256, size = hashlib.sha256, _LEAF.itemsize
    return [sha256(leaves[at : at + size]).digest() for at in range(0, len(leaves), size)]


def _leaves(sealed: SealedRun) -> npt.NDArray[np.void]:
    """All readings in the order and layout in which they are hashed, shape (n,)."""
    readings = ordered_readings(sealed)
    leaves = np.zeros(len(readings.time_ns), _LEAF)
    leaves["time_ns"] = readings.time_ns
    leaves["value"] = readings.value
    leaves["key"] = readings.key_index
    leaves["quality"] = readings.quality
    return leaves


def _refuse_what_is_not_one_run(sealed: SealedRun) -> None:
    wrong = wrong_run(sealed)
    if wrong:
        raise NotAuthentic(f"run {sealed.run}: {wrong}")
    for series in sealed.series:
        times = series.time_ns
        if len(times) and not sealed.start_ns <= times[0] <= times[-1] < sealed.stop_ns:
            raise NotAuthentic(
                f"run {sealed.run}, {series.key}: got readings outside the run; expected only those from its start to"
                " its stop"
            )
