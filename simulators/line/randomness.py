"""Chance that can be repeated: every stream of random numbers is named by what it is for."""

import hashlib
from math import sqrt
from typing import Any

import numpy as np

from simulators.line.exact import exact_noise
from simulators.line.physics import Array


class Chance(np.random.RandomState):
    """A stream of random numbers that is the same on every machine.

    numpy has frozen what a RandomState draws (its enhancement proposal 19), and what PCG64 gives it; a Generator may
    draw other numbers in another version. What is left is the logarithm in a normal number: see `exact`.
    """

    def standard_normal(self, size: Any = None) -> Any:
        """Normal numbers to a millionth."""
        return exact_noise(super().standard_normal(size), 1.0)


def generator(*names: str | int) -> Chance:
    """A stream that depends on its names alone: adding a device does not change the others."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return Chance(np.random.PCG64(int.from_bytes(digest)))


def token(*names: str | int, length: int = 8) -> str:
    """Lower-case hexadecimal digits that depend on the names alone."""
    return hashlib.sha256("\0".join(("token", *map(str, names))).encode()).hexdigest()[:length]


def bounded_normal(chance: np.random.RandomState, bound: float = 2.5) -> float:
    """One standard normal number, clipped to ±bound: a weighing that is far out is a fault, not noise."""
    return float(np.clip(chance.standard_normal(), -bound, bound))


def autoregressive(chance: np.random.RandomState, count: int, *, phi: float, sd: float) -> Array:
    """AR(1) noise, shape (count,): x_k = φ·x_{k−1} + ε_k, with ε scaled so that the standard deviation of x is sd.

    It starts in its stationary state; its lag-1 autocorrelation is φ.
    """
    if count == 0:
        return np.zeros(0)
    from scipy.signal import lfilter  # noqa: PLC0415 - half a second that only a simulation needs

    shocks = chance.standard_normal(count) * (sd * sqrt(1.0 - phi * phi))
    shocks[0] = chance.standard_normal() * sd
    return exact_noise(np.asarray(lfilter([1.0], [1.0, -phi], shocks), dtype=np.float64), sd)
