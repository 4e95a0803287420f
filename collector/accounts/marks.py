"""The accounts as points of a dashboard: once a minute, one a device that the plant has, one for all strangers."""

from collections.abc import Callable, Collection, Iterator, Sequence

from collector.accounts.audit import DeviceAccount, account_of
from collector.accounts.book import AccountBook
from collector.accounts.write_offs import read_write_offs, write_offs_path
from collector.condition import intake_trouble, receipts_trouble, room
from collector.recorder.validation import TERMINAL
from filiere.clock import NS_PER_S
from filiere.errors import StoreUnavailable
from filiere.message_log import MessageLog
from filiere.plant import Plant
from filiere.readings import (
    ACCOUNT_COUNTS,
    ACCOUNT_SILENT_S,
    ACCOUNT_SKEW_S,
    COLLECTOR_DISK_FREE_BYTES,
    COLLECTOR_INTAKE_OK,
    COLLECTOR_LOG_BYTES,
    COLLECTOR_LOG_HEAD,
    COLLECTOR_LOG_LAG,
    COLLECTOR_QUARANTINED,
    COLLECTOR_RECEIPTS_OK,
    UNKNOWN_DEVICE,
    AccountMark,
)
from filiere.settings import Settings


def own_devices(plant: Plant) -> frozenset[str]:
    """`caux/textile/t1/extruder`: every device that the plant has, with the terminal of each line."""
    units = {f"{line.path}/{unit.id}" for line in plant.lines for unit in line.units}
    return frozenset(units | {f"{line.path}/{TERMINAL}" for line in plant.lines})


def bounded(accounts: Sequence[DeviceAccount], own: Collection[str]) -> Iterator[tuple[str, Sequence[DeviceAccount]]]:
    """(name, accounts): one a device that the plant has or that was ever recorded, the rest together as strangers.

    Whoever may publish can make up names: they make no series.
    """
    strangers = []
    for account in accounts:
        if account.device in own or account.stored:
            yield account.device, (account,)
        else:
            strangers.append(account)
    if strangers:
        yield UNKNOWN_DEVICE, strangers


def account_marks(
    accounts: Sequence[DeviceAccount], own: Collection[str], *, collector: str, now_ns: int
) -> list[AccountMark]:
    """The accounts of this instant, as points."""
    marks = []
    for device, together in bounded(accounts, own):
        values = {name: float(sum(getattr(account, name) for account in together)) for name in ACCOUNT_COUNTS}
        heard_ns = max(account.last_record_ns for account in together)
        if heard_ns:
            values[ACCOUNT_SILENT_S] = (now_ns - heard_ns) / NS_PER_S
        if device != UNKNOWN_DEVICE:
            values[ACCOUNT_SKEW_S] = together[0].skew_s
        marks.append(AccountMark(collector=collector, device=device, time_ns=now_ns, values=values))
    return marks


def marks_of(settings: Settings, plant: Plant) -> Callable[[int], list[AccountMark]]:
    """What the recorder calls once a minute, with the time: its accounts and how this collector fares.

    That raises StoreUnavailable, StoreRefused: one of the files cannot be read.
    """
    own, collector = own_devices(plant), settings.mqtt_client_id

    def marks(now_ns: int) -> list[AccountMark]:
        with AccountBook.open_reader(settings.recorder_path) as book, book.snapshot():
            write_offs = read_write_offs(write_offs_path(settings.recorder_path))
            accounts, bookmark = account_of(book, write_offs=write_offs), book.progress().bookmark
        with MessageLog.open_reader(settings.log_path) as log:
            head = log.head()
        try:
            space = room(settings)
        except OSError as error:
            raise StoreUnavailable(f"{settings.data_dir}: got {error.strerror}; expected the data folder") from None
        fares = {
            COLLECTOR_LOG_HEAD: float(head),
            COLLECTOR_LOG_LAG: float(head - bookmark),
            COLLECTOR_LOG_BYTES: float(space.log_bytes),
            COLLECTOR_DISK_FREE_BYTES: float(space.disk_free_bytes),
            COLLECTOR_QUARANTINED: float(sum(account.quarantined for account in accounts)),
            COLLECTOR_INTAKE_OK: float(intake_trouble(settings.intake_status_path, now_ns) is None),
            COLLECTOR_RECEIPTS_OK: float(receipts_trouble(settings.receipts_status_path, now_ns) is None),
        }
        whole = AccountMark(collector=collector, device=None, time_ns=now_ns, values=fares)
        return [*account_marks(accounts, own, collector=collector, now_ns=now_ns), whole]

    return marks
