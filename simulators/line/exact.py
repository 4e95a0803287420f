"""Numbers that are the same on every machine, whatever its logarithm or exponential says in the last bit.

Sums and products of floats are the same everywhere; logarithms, exponentials and powers are not: libraries and
processors differ in the last bit. That does not show in a display that rounds, but a controller that switches at a
threshold makes a large difference of it in the end. So what comes out of such a function is rounded to a grid that is
coarse against the last bit and fine against everything physical, before anything is fed back.
"""

from math import floor, frexp

import numpy as np

from simulators.line.physics import Array

NOISE_BITS = 20
"""A noise has so many binary places below its own size: a millionth."""
SHARE = 2.0**-30
"""Grid of shares and factors around 1."""
CELSIUS = 2.0**-20
"""Grid of temperatures, °C."""
WATT = 2.0**-10
"""Grid of heat flows, W."""
KG_S = 2.0**-30
"""Grid of mass flows, kg/s."""


def exact(values: Array, grid: float) -> Array:
    """Rounded to the nearest multiple of `grid`, a power of two, shape of `values`."""
    return np.asarray(np.round(values / grid) * grid)


def exact_number(value: float, grid: float) -> float:
    """The same of one number."""
    return floor(value / grid + 0.5) * grid


def exact_noise(values: Array, sd: float) -> Array:
    """A noise of standard deviation `sd`, rounded to a millionth of it."""
    return exact(values, 2.0 ** (frexp(sd)[1] - NOISE_BITS)) if sd > 0.0 else values
