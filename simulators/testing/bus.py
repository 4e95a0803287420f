"""A broker without a network: what is published is handed to who subscribed, in the same call."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from filiere.errors import SettingsError

Listener = Callable[[str, bytes], None]
"""Takes topic and payload."""


@dataclass(frozen=True, slots=True)
class BusMessage:
    """One message, as it was published."""

    topic: str
    payload: bytes


class MessageBus:
    """Topics and payloads between parts of one test. Filters are MQTT's: `+` one level, `#` all that follow.

    Nothing is lost, reordered or sent twice here: let a scenario do that.
    """

    def __init__(self) -> None:
        self.messages: list[BusMessage] = []
        """All that was published, in order."""
        self._listeners: list[tuple[tuple[str, ...], Listener]] = []

    def __len__(self) -> int:
        return len(self.messages)

    def __repr__(self) -> str:
        return f"MessageBus({len(self)} messages)"

    def publish(self, topic: str, payload: bytes | str) -> None:
        """Hand a message to every subscriber whose filter fits; a text is sent as UTF-8.

        Raises SettingsError: the topic is empty or has a wildcard.
        """
        if not topic or "+" in topic or "#" in topic:
            raise SettingsError(f"got topic {topic!r}; expected one without + and #, such as {EXAMPLE}")
        message = BusMessage(topic, payload.encode() if isinstance(payload, str) else bytes(payload))
        self.messages.append(message)
        levels = topic.split("/")
        for pattern, listener in tuple(self._listeners):
            if fits(pattern, levels):
                listener(message.topic, message.payload)

    def subscribe(self, topic_filter: str, listener: Listener) -> Callable[[], None]:
        """Call `listener(topic, payload)` for what is published from now on. Returns what ends it.

        Raises SettingsError: not a filter of MQTT.
        """
        entry = (pattern_of(topic_filter), listener)
        self._listeners.append(entry)

        def end() -> None:
            if entry in self._listeners:
                self._listeners.remove(entry)

        return end

    def published(self, topic_filter: str = "#") -> Iterator[BusMessage]:
        """What was published so far on topics that fit. Raises SettingsError: not a filter of MQTT."""
        pattern = pattern_of(topic_filter)
        return (message for message in tuple(self.messages) if fits(pattern, message.topic.split("/")))


EXAMPLE = "filiere/v1/caux/textile/t1/extruder/readings"


def pattern_of(topic_filter: str) -> tuple[str, ...]:
    """The levels of a filter. Raises SettingsError: a wildcard that is not a whole level, or a # before the end."""
    levels = tuple(topic_filter.split("/"))
    torn = any(("+" in level or "#" in level) and len(level) > 1 for level in levels)
    if not topic_filter or torn or "#" in levels[:-1]:
        raise SettingsError(
            f"got filter {topic_filter!r}; expected MQTT's: + in place of one level, # in place of all at the end, such"
            " as filiere/v1/+/+/+/+/readings"
        )
    return levels


def fits(pattern: tuple[str, ...], levels: list[str]) -> bool:
    """Whether a topic's levels fit a filter's (MQTT 5, 4.7); `#` takes the level above it too."""
    for place, wanted in enumerate(pattern):
        if wanted == "#":
            return True
        if place >= len(levels) or wanted not in ("+", levels[place]):
            return False
    return len(pattern) == len(levels)
