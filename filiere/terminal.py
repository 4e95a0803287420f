"""What commands print for people: in which language, how wide, and nothing that a terminal would obey."""

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

Language = Literal["fr", "en"]
LanguageOption = Annotated[Language, typer.Option("--lang", help="Language of the output.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WIDTH_ELSEWHERE = 220
"""Columns of what goes to a file or a pipe: a line stays a line."""
SPACES = "\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"
"""What French puts before a colon; Python does not call them printable."""


def wide_console(*, stderr: bool = False) -> "Console":
    """As wide as the terminal; elsewhere WIDTH_ELSEWHERE columns. `stderr`: where the output itself is a file's."""
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second that JSON and --help do not need

    stream = sys.stderr if stderr else sys.stdout
    return Console(width=None if stream.isatty() else WIDTH_ELSEWHERE, highlight=False, stderr=stderr)


def printable(text: str) -> str:
    """A text of somebody else's, with nothing in it that could move the cursor, colour or reorder the line."""
    return "".join(sign if sign.isprintable() or sign in SPACES else "\N{REPLACEMENT CHARACTER}" for sign in text)
