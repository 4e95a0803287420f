"""The data's path in numbers, for Prometheus: read from its files when it is asked, named once, bounded in series."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.health import asked, check_ledger, check_log, check_store, log_head
from api.parts import Parts
from collector.accounts.audit import DeviceAccount, audit, recorder_state
from collector.accounts.marks import bounded, own_devices
from collector.condition import intake_trouble, receipts_trouble, room
from collector.intake.status import read_intake_status
from collector.receipts.status import read_receipts_status
from filiere.clock import NS_PER_S
from filiere.errors import FiliereError
from filiere.readings import UNKNOWN_DEVICE

T = TypeVar("T")

ROWS = (
    ("published", "Rows and events that the device sent, by its own numbering", CounterMetricFamily),
    ("stored", "Rows and events recorded, once each", CounterMetricFamily),
    ("duplicates", "Rows and events sent again, and left out", CounterMetricFamily),
    ("late", "Rows stored though older than what the device had sent", CounterMetricFamily),
    ("clock_suspect", "Rows stored at the time of their arrival, because their own cannot be", CounterMetricFamily),
    ("out_of_range", "Rows stored with a value outside its signal's range", CounterMetricFamily),
    ("missing", "Rows and events that were numbered and never arrived", GaugeMetricFamily),
    ("written_off", "Missing rows and events that a person declared lost", GaugeMetricFamily),
    ("waiting", "Events that wait for what they name", GaugeMetricFamily),
)
"""`filiere_device_…_rows` of each device: count of a DeviceAccount, what it is, whether it only rises."""


class PathMetrics(Collector):
    """What cannot be read is left out, and `up` is 0."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._own = own_devices(parts.plant)

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not touch a file."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield self._up()
        yield from self._intake()
        yield from self._log()
        yield from self._recorder()
        yield from self._receipts()
        yield from self._devices()

    def _up(self) -> Metric:
        family = GaugeMetricFamily("filiere_store_up", "1 = the store answers", labels=("store",))
        for name, question in (("readings", check_store), ("ledger", check_ledger), ("message_log", check_log)):
            family.add_metric((name,), float(asked(self._parts, name, partial(question, self._parts)).ok))
        return family

    def _intake(self) -> Iterator[Metric]:
        path = self._parts.settings.intake_status_path
        trouble = intake_trouble(path, self._parts.clock())
        yield GaugeMetricFamily(
            "filiere_intake_acknowledging",
            "1 = what is sent is acknowledged; 0 = nothing is: /readyz says why",
            value=float(trouble is None),
        )
        status = read_intake_status(path)
        if status is None:
            return
        yield GaugeMetricFamily("filiere_intake_connected", "1 = to the broker", value=float(status.connected))
        yield CounterMetricFamily(
            "filiere_intake_acknowledged_messages", "Messages acknowledged", value=status.acknowledged
        )
        yield GaugeMetricFamily(
            "filiere_intake_updated_timestamp_seconds",
            "When the intake last said how it is",
            value=status.updated_ns / NS_PER_S,
        )

    def _log(self) -> Iterator[Metric]:
        space = _or_none(lambda: room(self._parts.settings))
        if space is not None:
            yield GaugeMetricFamily("filiere_log_bytes", "What the message log takes", value=space.log_bytes)
            yield GaugeMetricFamily(
                "filiere_disk_free_bytes", "Free on the disk of the data folder", value=space.disk_free_bytes
            )
        head = _or_none(lambda: log_head(self._parts))
        if head is not None:
            yield CounterMetricFamily("filiere_log_messages", "Messages that ever came into the log", value=head)

    def _recorder(self) -> Iterator[Metric]:
        state = _or_none(lambda: recorder_state(self._parts.settings.recorder_path))
        if state is None:
            return
        head = _or_none(lambda: log_head(self._parts))
        if head is not None:
            lag = max(0, head - state.bookmark)
            yield GaugeMetricFamily("filiere_log_lag_messages", "Messages that wait to be recorded", value=lag)
        yield GaugeMetricFamily(
            "filiere_recorder_waiting",
            "1 = the recorder waits for a store; nothing is lost meanwhile",
            value=float(state.store_problem is not None),
        )
        yield GaugeMetricFamily(
            "filiere_recorder_updated_timestamp_seconds",
            "When the recorder last said that it lives",
            value=state.updated_ns / NS_PER_S,
        )

    def _receipts(self) -> Iterator[Metric]:
        path = self._parts.settings.receipts_status_path
        trouble = receipts_trouble(path, self._parts.clock())
        yield GaugeMetricFamily(
            "filiere_receipts_answering",
            "1 = devices are told what is safe; 0 = none is, and their outboxes fill: /readyz says why",
            value=float(trouble is None),
        )
        status = read_receipts_status(path)
        if status is None:
            return
        yield CounterMetricFamily("filiere_receipts_sent", "Receipts that the broker took", value=status.answered)
        yield GaugeMetricFamily(
            "filiere_receipts_updated_timestamp_seconds",
            "When the receipts process last said how it is",
            value=status.updated_ns / NS_PER_S,
        )
        head = _or_none(lambda: log_head(self._parts))
        if head is not None:
            yield GaugeMetricFamily(
                "filiere_receipts_lag_messages",
                "Messages in the log that nobody was answered for yet",
                value=max(0, head - status.position),
            )

    def _devices(self) -> Iterator[Metric]:
        accounts = _or_none(lambda: audit(self._parts.settings.recorder_path, gaps=False))
        if accounts is None:
            return
        devices = list(bounded(accounts, self._own))
        for name, text, made in ROWS:
            family = made(f"filiere_device_{name}_rows", text, labels=("device",))
            for device, together in devices:
                family.add_metric((device,), float(sum(getattr(account, name) for account in together)))
            yield family
        yield _quarantined(devices)
        yield _of_each(
            devices,
            "filiere_device_account_closes",
            "1 = published = stored + quarantined + waiting + written off",
            lambda account: float(account.closes),
        )
        known = [(device, together) for device, together in devices if device != UNKNOWN_DEVICE]
        yield _of_each(
            known,
            "filiere_device_skew_seconds",
            "How long after its own time the device's last row arrived",
            lambda account: account.skew_s,
        )
        yield _of_each(
            known,
            "filiere_device_heard_timestamp_seconds",
            "When the device was last heard",
            lambda account: account.last_record_ns / NS_PER_S,
        )


Named = Sequence[tuple[str, Sequence[DeviceAccount]]]


def _quarantined(devices: Named) -> Metric:
    family = GaugeMetricFamily(
        "filiere_device_quarantined_rows", "Rows and events refused and kept", labels=("device", "reason")
    )
    for device, together in devices:
        reasons = sum((Counter(account.reasons) for account in together), Counter[str]())
        for reason, rows in sorted(reasons.items()):
            family.add_metric((device, reason), float(rows))
    return family


def _of_each(devices: Named, name: str, text: str, value: Callable[[DeviceAccount], float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=("device",))
    for device, together in devices:
        family.add_metric((device,), min(value(account) for account in together))
    return family


def _or_none(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except (FiliereError, OSError, sqlite3.Error):
        return None
