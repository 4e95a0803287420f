"""What the benchmarks publish: rows of a device, alike for who is compared. Values and times follow from the number."""

from dataclasses import dataclass

from filiere.clock import system_clock

NS_PER_MS = 1_000_000
LINE, DEVICE = "caux/textile/t1", "extruder"
TOPIC = f"filiere/v1/{LINE}/{DEVICE}/readings"
PROBE_TOPIC = "filiere/v1/caux/flax/f1/dryer/readings"
PROBE = b'{"boot":"probe","seq":0,"t":1767225600000,"v":{"moisture":0.01}}'
"""Tells when who is measured is there; of another device, so that it is not counted."""
SIGNAL = "melt_temp"
"""In every row: the one whose readings are counted."""
COLUMN_ROWS = 100
TEN_SIGNALS = (
    *(f"barrel_temp_z{zone}" for zone in range(1, 6)),
    SIGNAL,
    "melt_pressure",
    "melt_pressure_after",
    "screw_speed",
    "motor_current",
)
POISON_EVERY = 100
POISON = (
    b"",
    b"hello",
    b"\xff\xfe\x00\x80",
    b'{"boot":"b","seq":1',
    b"[" * 5_000,
    b'{"boot":"p0","seq":0,"t":0,"v":{"melt_temp":NaN}}',
    b'{"boot":"p1","seq":0,"t":0,"v":{"melt_temp":1e999}}',
    b'{"boot":"p2","seq":0,"t":"2026-03-11T12:00:00","v":{"melt_temp":1}}',
    b'{"boot":"p3","seq":0,"t":0,"v":{"colour":1}}',
    b'{"boot":"p4","seq":0,"t":0,"v":{"melt_temp":1},"u":{"melt_temp":"bar"}}',
    b'{"boot":"p5","seq":0,"t":0,"v":{"melt_temp":[1,2]}}',
    b'{"boot":"p6","seq":0,"t":0,"v":{"melt_temp":1},"x":1}',
)


def poison(count: int) -> bytes:
    """The kinds in turn; those that have a number, numbered on."""
    turn, kind = divmod(count, len(POISON))
    return POISON[kind].replace(b'"seq":0', b'"seq":%d' % turn)


def yesterday_ms() -> int:
    """Where a stream's times begin: believed, and the newest of many millions is not ahead of the clock."""
    return system_clock() // NS_PER_MS - 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """One message, one row, four signals; a millisecond apart."""

    boot: str
    start_ms: int
    rows: int = 1
    """In a message."""
    readings: int = 4
    """In a message."""

    def topic(self, _number: int) -> str:
        """Of one device."""
        return TOPIC

    def payload(self, number: int) -> bytes:
        """Row `number`. As long as another one whose number has as many digits."""
        values = (
            f'"{SIGNAL}":{200 + number % 997 / 10},"melt_pressure":{40 + number % 89 / 10},'
            f'"screw_speed":{120 + number % 7},"motor_current":{80 + number % 30 / 2}'
        )
        return f'{{"boot":"{self.boot}","seq":{number},"t":{self.start_ms + number},"v":{{{values}}}}}'.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """One message, 100 rows, ten signals; a millisecond between two rows."""

    boot: str
    start_ms: int
    rows: int = COLUMN_ROWS
    readings: int = COLUMN_ROWS * len(TEN_SIGNALS)

    def topic(self, _number: int) -> str:
        """Of one device."""
        return TOPIC

    def payload(self, number: int) -> bytes:
        """Rows from 100 × `number` on."""
        first = number * self.rows
        rows = range(first, first + self.rows)
        times = ",".join(str(self.start_ms + row) for row in rows)
        columns = ",".join(
            f'"{signal}":[{",".join(str(self.value(row, place)) for row in rows)}]'
            for place, signal in enumerate(TEN_SIGNALS)
        )
        return f'{{"boot":"{self.boot}","seq":{first},"t":[{times}],"v":{{{columns}}}}}'.encode()

    def value(self, row: int, place: int) -> float:
        """Of a row and a signal's place in TEN_SIGNALS."""
        return 100.0 + (row * 7 + place * 13) % 1999 / 10

    def line(self, row: int) -> str:
        """A row as InfluxDB is to get it, written here by hand: what feeding it directly costs."""
        fields = ",".join(f"{signal}={self.value(row, place)!r}" for place, signal in enumerate(TEN_SIGNALS))
        time_ns = (self.start_ms + row) * NS_PER_MS + row % 1000
        return f"reading,device={DEVICE},line=t1,site=caux,workshop=textile {fields} {time_ns}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Poisoned:
    """Another stream in which every hundredth message is poison; the good ones are numbered on without a gap."""

    good: Rows

    def topic(self, number: int) -> str:
        """The good ones' own."""
        return self.good.topic(number)

    def payload(self, number: int) -> bytes:
        """The good one that comes next, or poison."""
        spoilt, place = divmod(number, POISON_EVERY)
        return poison(spoilt) if place == POISON_EVERY - 1 else self.good.payload(number - spoilt)
