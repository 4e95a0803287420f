"""All kinds of dirt of a real historian at once: what is sent is what was measured, to the last cell, and no more."""

from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.codec import decode_readings
from simulators.replay.dirt import Dirt
from tests.simulators.replay.builders import COLUMNS, mapping, messages, recorded

NAMES = ("z1", "z2", "z3", "p")
PARIS = ZoneInfo("Europe/Paris")
START = datetime(2025, 10, 26, 1, 40, tzinfo=PARIS)
"""Twenty minutes before the hour that clocks show twice, which the rows go through, both times."""
STEP = timedelta(seconds=12)
GAPS = {200: timedelta(seconds=162), 710: timedelta(hours=9)}
SENTINELS = ("-175", "65532")

Row = tuple[datetime, tuple[float, ...]]


def measured(random: Random, count: int) -> list[Row]:
    """Rows as they were measured; times in UTC order, through the night of the change and two gaps."""
    rows, moment = [], START.astimezone(ZoneInfo("UTC"))
    level = [230.0, 228.0, 226.0, 44.0]
    for number in range(count):
        moment += STEP + GAPS.get(number, timedelta())
        level = [value + random.choice((-0.5, 0.0, 0.0, 0.0, 0.5)) for value in level]
        rows.append((moment, tuple(level)))
    return rows


class Historian:
    """Writes rows as a careless one does, and remembers what of them can still be known."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.known: set[tuple[int, str, float]] = set()
        self.spoiled: dict[Dirt, int] = dict.fromkeys(Dirt, 0)

    def cell(self, moment: datetime, name: str, value: float) -> str:
        chance = self.random.random()
        if chance < 0.01:
            self.spoiled[Dirt.SENTINEL] += 1
            return self.random.choice(SENTINELS)
        if chance < 0.02:
            self.spoiled[Dirt.NOT_A_NUMBER] += 1
            return self.random.choice(("Bad Input", "I/O Timeout", "231,5 ?"))
        if chance < 0.03:
            self.spoiled[Dirt.EMPTY] += 1
            return ""
        self.known.add((round(moment.timestamp()) * 1000, name, value))
        if chance < 0.06 and value % 1:
            self.spoiled[Dirt.OTHER_DECIMAL] += 1
            return f"{value}"
        return f"{value}".replace(".", ",")

    def line(self, row: Row) -> str:
        moment, values = row
        cells = [self.cell(moment, name, value) for name, value in zip(NAMES, values, strict=True)]
        return ";".join((moment.astimezone(PARIS).strftime("%d/%m/%Y %H:%M:%S"), *cells))

    def halved(self, row: Row, times: int) -> list[str]:
        """What it writes before the first whole row."""
        self.spoiled[Dirt.HALVED_ROW] += times
        moment, values = row
        half = ";".join(f"{value / 2:.2f}".replace(".", ",") for value in values)
        stamps = [(moment - STEP * (times - number)).astimezone(PARIS) for number in range(times)]
        return [f"{stamp:%d/%m/%Y %H:%M:%S};{half}" for stamp in stamps]


@given(
    seed=st.integers(0, 10**6), shared=st.integers(0, 60), encoding=st.sampled_from(["utf-16", "utf-8-sig", "cp1252"])
)
@settings(max_examples=10)
def test_what_is_sent_is_what_was_measured(tmp_path_factory, seed: int, shared: int, encoding: str):
    random = Random(seed)
    rows, historian = measured(random, 720), Historian(random)
    lines = [historian.line(row) for row in rows]
    # two files that overlap, each with a beginning averaged with zero, one cut in the middle of a line
    first = [*historian.halved(rows[0], 2), *lines[:350]]
    second = [*lines[350 - shared :], lines[-1][:17]]
    folder: Path = tmp_path_factory.mktemp("dirty")
    paths = []
    for number, part in enumerate((first, second)):
        path = folder / f"{number}.csv"
        path.write_bytes("\r\n".join(("Horodatage;" + ";".join(NAMES), *part)).encode(encoding))
        paths.append(path)

    chosen = mapping(
        *NAMES,
        file=f'{{kind: csv, separator: ";", decimal: ",", encoding: {encoding}}}',
        time="{columns: [Horodatage], format: day_first, zone: Europe/Paris}",
        more="sentinels: [-175, 65532]",
    )
    recording = recorded(paths, chosen)

    signals = {COLUMNS[name][0].rpartition(".")[2]: name for name in NAMES}
    sent = set()
    for message in messages(recording):
        read = decode_readings(message.payload)
        for signal, column in read.values.items():
            sent |= {
                (time_ns // 10**6, signals[signal], value)
                for time_ns, value in zip(read.time_ns, column, strict=True)
                if value is not None
            }
    assert sent == historian.known
    found = recording.findings
    # the rows that both files have are counted in both
    assert found.count(Dirt.SENTINEL) >= historian.spoiled[Dirt.SENTINEL]
    assert found.count(Dirt.NOT_A_NUMBER) >= historian.spoiled[Dirt.NOT_A_NUMBER]
    assert found.count(Dirt.HALVED_ROW) == historian.spoiled[Dirt.HALVED_ROW]
    assert found.count(Dirt.REPEATED_ROW) == shared
    assert found.count(Dirt.TWICE_SHOWN) >= 580  # both hours, a row every twelve seconds
    assert (found.count(Dirt.GAP), found.count(Dirt.BROKEN_ROW)) == (2, 1)
