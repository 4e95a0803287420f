"""Chance that can be repeated: every stream of random numbers is named by what it is for."""

import hashlib
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import sqrt

import numpy as np

from simulators.line.physics import Array


def generator(*names: str | int) -> np.random.Generator:
    """A stream that depends on its names alone: adding a device does not change the others."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest)))


def token(*names: str | int, length: int = 8) -> str:
    """Lower-case hexadecimal digits that depend on the names alone."""
    return hashlib.sha256("\0".join(("token", *map(str, names))).encode()).hexdigest()[:length]


def bounded_normal(chance: np.random.Generator, bound: float = 2.5) -> float:
    """One standard normal number, clipped to ±bound: a weighing that is far out is a fault, not noise."""
    return float(np.clip(chance.standard_normal(), -bound, bound))


def autoregressive(chance: np.random.Generator, count: int, *, phi: float, sd: float) -> Array:
    """AR(1) noise, shape (count,): x_k = φ·x_{k−1} + ε_k, with ε scaled so that the standard deviation of x is sd.

    It starts in its stationary state; its lag-1 autocorrelation is φ.
    """
    if count == 0:
        return np.zeros(0)
    shocks = chance.standard_normal(count) * (sd * sqrt(1.0 - phi * phi))
    shocks[0] = chance.standard_normal() * sd
    return accumulated(lambda level, shock: phi * level + shock, shocks.tolist())


def accumulated(step: Callable[[float, float], float], values: Sequence[float]) -> Array:
    """A recursion over plain floats, shape (len(values),): faster than numpy one element at a time."""
    return np.fromiter(accumulate(values, step), dtype=np.float64, count=len(values))
