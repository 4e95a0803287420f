"""Fewer readings to draw, with every peak kept: the lowest and the highest of each bucket of time. Pure."""

import numpy as np

from filiere.readings import Series

POINTS_MIN = 2


def min_max(series: Series, points: int, start_ns: int, stop_ns: int) -> Series:
    """At most `points` of the readings, themselves unchanged and in order.

    [start_ns, stop_ns) is cut into points // 2 buckets of equal time; a bucket keeps the first of its lowest and the
    last of its highest readings. A series that is short enough is returned as it is.

    Raises:
        ValueError: fewer than POINTS_MIN points.
    """
    if points < POINTS_MIN:
        raise ValueError(f"got {points} points; expected at least {POINTS_MIN}: a bucket keeps two")
    count = series.time_ns.size
    if count <= points:
        return series
    buckets = points // 2
    offsets = (series.time_ns - start_ns).astype(np.float64)
    bucket = np.clip(offsets * (buckets / max(1, stop_ns - start_ns)), 0, buckets - 1).astype(np.int64)
    order = np.lexsort((np.arange(count), series.value, bucket))
    first = np.flatnonzero(np.diff(bucket[order], prepend=-1))
    last = np.append(first[1:], count) - 1
    kept = np.unique(np.concatenate((order[first], order[last])))
    return Series(key=series.key, time_ns=series.time_ns[kept], value=series.value[kept], quality=series.quality[kept])


def envelope(series: Series, start_ns: int, stop_ns: int, buckets: int) -> list[float | None]:
    """The same on a fixed grid, so that many signals share one time axis: two values a bucket, None where it is empty.

    The two are the bucket's lowest and highest reading, in the order in which they came.
    """
    grid: list[float | None] = [None] * (2 * buckets)
    inside = (series.time_ns >= start_ns) & (series.time_ns < stop_ns)
    values, times = series.value[inside], series.time_ns[inside]
    if values.size == 0:
        return grid
    bucket = ((times - start_ns).astype(np.float64) * (buckets / (stop_ns - start_ns))).astype(np.int64)
    bucket = np.minimum(bucket, buckets - 1)
    order = np.lexsort((values, bucket))
    first = np.flatnonzero(np.diff(bucket[order], prepend=-1))
    last = np.append(first[1:], values.size) - 1
    for low, high in zip(order[first], order[last], strict=True):
        place = 2 * int(bucket[low])
        grid[place], grid[place + 1] = (float(values[index]) for index in sorted((low, high)))
    return grid
