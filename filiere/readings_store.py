"""The readings store: one small port, two adapters (InfluxDB 2, embedded SQLite), one contract test on both."""

from collections.abc import Sequence
from typing import Protocol

from filiere.readings import AccountMark, Block, Latest, RunMark, Series
from filiere.settings import Settings


class ReadingsStore(Protocol):
    """Where readings are kept by line, device and signal, for windows of time.

    Every method raises StoreUnavailable (wait and try again, nothing is half done that a second try would double) or
    StoreRefused (hold: credentials, bucket, damaged file, a value that is not finite). Any thread may call.
    """

    name: str
    """For people: `InfluxDB http://…/bucket`, `embedded data/readings.sqlite`."""

    def write(
        self, blocks: Sequence[Block], marks: Sequence[RunMark] = (), accounts: Sequence[AccountMark] = ()
    ) -> None:
        """Keep rows, run marks and account marks; on the disk when it returns. The same one twice leaves one.

        Of two rows with the same device and time the later one stands, value by value.
        """
        ...

    def window(self, line: str, keys: Sequence[str], start_ns: int, stop_ns: int) -> tuple[Series, ...]:
        """Readings with start_ns ≤ time_ns < stop_ns: one Series a key, in the order asked, empty where there is none.

        float64 values and ns times are the very ones that were written (-0.0 is kept as 0.0).
        """
        ...

    def latest(self, line: str) -> tuple[Latest, ...]:
        """The last reading of every signal that the line ever had, ordered by key."""
        ...

    def check(self) -> None:
        """Ask whether readings could be read and written now. Raises what is wrong."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


def open_store(settings: Settings) -> ReadingsStore:
    """InfluxDB 2 when `influx_url` is set, else the embedded store in the data folder.

    An InfluxDB that does not answer is not an error here: `check` and every call say so.

    Raises:
        StoreUnavailable, StoreRefused: the embedded store's file cannot be opened.
    """
    if settings.influx_url:
        from filiere.influx_store import InfluxStore  # noqa: PLC0415  # its client takes 0.3 s to import

        return InfluxStore(
            url=settings.influx_url,
            token=settings.influx_token.get_secret_value(),
            org=settings.influx_org,
            bucket=settings.influx_bucket,
        )
    from filiere.embedded_store import EmbeddedStore  # noqa: PLC0415  # only the adapter that is used

    return EmbeddedStore.open(settings.embedded_store_path)
