"""Which topics a collector asks the broker for: those of the lines that it owns, and what its session holds already."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec

from collector.codec import KINDS, TOPIC_ROOT
from filiere.bindings import filters_by_line
from filiere.errors import SettingsError, StoreUnavailable
from filiere.plant import Plant
from filiere.settings import variable
from filiere.whole_file import whole_file

ALL_LINES = ("+/+/+",)
FIRST_RELEASE_FILTERS = (f"{TOPIC_ROOT}/#",)
"""What a session holds that was made before sessions were remembered."""
_FILE_BYTES_MAX = 1024 * 1024


def topic_filters(lines: Sequence[str] = ALL_LINES) -> tuple[str, ...]:
    """MQTT topic filters of all devices of `lines` (`site/workshop/line`, `+` for any): what a device sends.

    What the collector itself sends (`…/receipt`) is not among them.
    """
    return tuple(f"{TOPIC_ROOT}/{line}/+/{kind}" for line in lines for kind in KINDS)


def subscriptions(plant: Plant, lines: Sequence[str] = ()) -> tuple[str, ...]:
    """Everything that a collector asks for which owns `lines` of the plant; none = all lines.

    The filters of foreign devices' bindings come with the lines that the bindings belong to. A filter that another one
    includes is left out, because a broker may send a message once for each filter that it fits.

    Raises:
        SettingsError: a line is not in the plant model.
    """
    for line in lines:
        if not any(covers(line, known.path) for known in plant.lines):
            raise SettingsError(
                f"{variable('mqtt_lines')}: got {line!r}, which is no line of the plant model; expected some of"
                f" {', '.join(known.path for known in plant.lines)}, or nothing for all"
            )
    owned = lines or ALL_LINES
    bound = (
        filters
        for path, filters in filters_by_line(plant.bindings).items()
        if any(covers(line, path) for line in owned)
    )
    return _widest([*topic_filters(owned), *itertools.chain.from_iterable(bound)])


def covers(wider: str, narrower: str) -> bool:
    """Whether every topic that `narrower` (filter or topic) takes is also taken by `wider` (MQTT 5, 4.7.1)."""
    ours, theirs = wider.split("/"), narrower.split("/")
    for place, level in enumerate(ours):
        if level == "#":
            return True
        if place >= len(theirs) or theirs[place] == "#" or level not in ("+", theirs[place]):
            return False
    return len(ours) == len(theirs)


class HeldFilters:
    """The topic filters that the session of a client id may hold at the broker, remembered over restarts.

    A broker does not tell what a session is subscribed to: without this file, a line that is owned no more would go on
    being received.
    """

    def __init__(self, path: Path, *, client_id: str) -> None:
        self._path = path
        self._client_id = client_id

    def read(self) -> tuple[str, ...]:
        """What the session may hold; of a session that nobody remembers, what the first release asked for."""
        try:
            with self._path.open("rb") as file:
                kept = msgspec.json.decode(file.read(_FILE_BYTES_MAX), type=_Kept)
        except (OSError, msgspec.DecodeError):
            return FIRST_RELEASE_FILTERS
        return kept.filters if kept.client_id == self._client_id else ()

    def write(self, filters: Sequence[str]) -> None:
        """Remember, on the disk when it returns.

        Raises:
            StoreUnavailable: the disk is full, or the folder cannot be written.
        """
        kept = _Kept(client_id=self._client_id, filters=tuple(filters))
        try:
            with whole_file(self._path, mode=0o644, replace=True) as temporary:
                temporary.write_bytes(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
        except OSError as error:
            raise StoreUnavailable(
                f"{self._path}: got {error.strerror}; expected to write what the broker was asked for: free space on"
                " this disk, or check that the folder may be written"
            ) from None


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    client_id: str
    filters: tuple[str, ...]


def _widest(filters: Sequence[str]) -> tuple[str, ...]:
    """Without those that another one includes; each one once, in order."""
    once = tuple(dict.fromkeys(filters))
    wide = [each for each in once if "+" in each or "#" in each]  # the others are a topic each, thousands perhaps
    return tuple(each for each in once if not any(covers(other, each) for other in wide if other != each))
