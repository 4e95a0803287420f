"""What recorded messages become by a plant's bindings, and why: the facts of `filiere bindings test`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from collector.codec import TOPIC_ROOT
from collector.foreign.sources import Candidate, ForeignRow, ForeignSources
from collector.log.lines import message_of
from filiere.errors import MessageRefused, SettingsError
from filiere.message_log import Message

LINE_BYTES_MAX = 16 * 1024 * 1024
"""Of a file of messages: the largest payload in base64 with room to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one recorded message becomes."""

    message: Message
    own: bool
    """It speaks the wire format itself, and needs no binding."""
    rows: Sequence[ForeignRow]
    reason: str | None
    """Why it is refused; None = it is not."""
    words: str
    """Got, expected; empty where nothing is refused."""
    candidates: Sequence[Candidate]
    """Every binding, with why it is not for this topic."""

    @property
    def binding(self) -> str | None:
        """The binding that takes it."""
        return next((each.binding for each in self.candidates if each.mismatch is None), None)


def read_messages(path: Path, on_read: Callable[[int], None] = lambda _: None) -> Iterator[Message]:
    """The messages of a file, in its order; those without an offset get the number of their line. `on_read` is told
    how many bytes each took.

    Raises SettingsError: the file cannot be read, or a line of it is no message; with file and line.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LINE_BYTES_MAX):
                number += 1
                on_read(len(line))
                if line.strip():
                    yield _message(line, f"{path}:{number}", number)
    except (OSError, ValueError) as error:  # the second: a NUL in the name
        got = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"got {str(path)[:200]} ({got}); expected a file of messages, one a line, as `filiere log export` writes"
        ) from None


def _message(line: bytes, where: str, number: int) -> Message:
    try:
        message = message_of(line)
    except MessageRefused as refused:
        raise SettingsError(f"{where}: {refused}") from None
    return Message(
        offset=message.offset or number,
        topic=message.topic,
        payload=message.payload,
        record_time_ns=message.record_time_ns,
    )


def judge(sources: ForeignSources, message: Message) -> Outcome:
    """What a message becomes. Sparkplug data is read with the births that were judged before it."""
    own = message.topic.startswith(f"{TOPIC_ROOT}/".encode())
    rows: Sequence[ForeignRow] = ()
    reason, words = None, ""
    try:
        rows = () if own else sources.decode(message)
    except MessageRefused as refused:
        reason, words = refused.reason, str(refused)
    return Outcome(
        message=message,
        own=own,
        rows=rows,
        reason=reason,
        words=words,
        candidates=() if own else sources.candidates(message.topic),
    )
