"""`filiere replay`: a recorded line once more, and a mapping for a file of another historian."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from filiere.terminal import JsonOption, Language, LanguageOption, printable, wide_console

if TYPE_CHECKING:
    from simulators.replay.dirt import Findings
    from simulators.replay.inspection import Inspection
    from simulators.replay.replay import Replayed

EXIT_NOT_RECEIPTED = EXIT_INCOMPLETE = 1
RUN, INSPECT = "run", "inspect"


class FileFirst(TyperGroup):
    """`filiere replay FILE` is `filiere replay run FILE`: what is no command is a file, or an option of run."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click."""
        if args and args[0] not in (*self.commands, "--help"):
            args = [RUN, *args]
        return super().parse_args(ctx, args)


replay = typer.Typer(
    cls=FileFirst,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Replay a recorded line: `filiere replay FILE` (options: `filiere replay run --help`).",
)
ZoneOption = Annotated[str | None, typer.Option("--zone", help="Of local times, such as Europe/Paris.")]


@replay.callback()
def _replay() -> None:
    """Replay a recorded line."""


@replay.command(name=RUN)
def run(
    files: Annotated[list[Path], typer.Argument(help="What was recorded; several files are one recording.")],
    mapping: Annotated[Path | None, typer.Option("--mapping", "-m", help="Which column is which signal.")] = None,
    zone: ZoneOption = None,
    speed: Annotated[float, typer.Option(min=0.0, help="1 = as it was recorded, 60 = faster, 0 = all it can.")] = 0.0,
    loop: Annotated[int, typer.Option(min=0, help="How often; 0 = without end.")] = 1,
    shift_to_now: Annotated[bool, typer.Option("--shift-to-now", help="Give it the times of now.")] = False,
    longest_wait: Annotated[
        float | None, typer.Option("--longest-wait", min=0.0, help="Seconds that a gap is waited for, at most.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, max=1000, help="Most rows in a message, of files with a mapping.")] = 10,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the messages to a new file instead: JSON Lines.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only read it all and say what is wrong.")] = False,
    as_json: JsonOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """Publish a recording by MQTT once more, with its own times, and say what was wrong with it.

    Without a mapping: files of `filiere log export` and of `filiere simulate`. All of a recording is read and checked
    before its first message is published. What the collector has not receipted waits in the data folder, and the next
    replay sends it. Exit status 1: some of it did not arrive. 2: nothing was published.
    """
    from filiere.settings import load_settings
    from simulators.replay.replay import ReplayOrder, run_replay
    from simulators.replay.sending import Plan

    order = ReplayOrder(
        paths=tuple(files),
        mapping=mapping,
        zone=zone,
        plan=Plan(
            speed=speed,
            laps=loop,
            shift_to_now=shift_to_now,
            longest_wait_s=float("inf") if longest_wait is None else longest_wait,
        ),
        rows_max=rows,
        output=output,
        check_only=check,
        language=lang,
    )
    replayed = run_replay(load_settings(), order)
    if as_json:
        sys.stdout.write(json.dumps(replayed.as_json(), ensure_ascii=False) + "\n")
    else:
        _print(replayed, order.output, lang, check=check)
    if replayed.waiting and not replayed.asked_to_stop:
        raise typer.Exit(EXIT_NOT_RECEIPTED)


@replay.command(name=INSPECT)
def inspect(
    files: Annotated[list[Path], typer.Argument(help="Files of one historian, written alike.")],
    zone: ZoneOption = None,
    line: Annotated[str | None, typer.Option("--line", help="Only signals of this line: caux/textile/t1.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the mapping to a new file; else to standard output.")
    ] = None,
    as_json: JsonOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """Look at recorded files and propose the mapping that they need; what was seen goes to standard error.

    Read it before you use it: which column is which signal, units, and the zone of local times are guessed. Exit status
    1: the proposal must be completed first.
    """
    from filiere.plant_file import load_plant
    from filiere.settings import load_settings
    from filiere.whole_file import output_file
    from simulators.replay import words
    from simulators.replay.inspection import inspect as look
    from simulators.replay.opening import checked_zone, files_of, is_own

    plant = load_plant(load_settings().plant)
    paths = files_of(files)
    if is_own(paths[0], plant):
        typer.echo(words.NEEDS_NONE.in_language(lang).format(path=printable(str(files[0]))), err=True)
        return
    seen = look(paths, plant, zone=checked_zone(zone), line=line)
    if as_json:
        sys.stdout.write(json.dumps(_inspection_json(seen), ensure_ascii=False) + "\n")
    else:
        with output_file(output, mode=0o644) as file:
            file.write(seen.yaml.encode())
        _print_inspection(seen, lang)
    if seen.recording is None:
        raise typer.Exit(EXIT_INCOMPLETE)


def _inspection_json(seen: "Inspection") -> dict[str, object]:
    from simulators.replay.replay import found_json

    return {
        "kind": seen.layout.kind.value,
        "encoding": seen.layout.encoding,
        "separator": seen.layout.separator,
        "decimal": seen.layout.decimal,
        "time": {"columns": seen.time.columns, "format": seen.time.format.value, "local": seen.time.local},
        "long": seen.long is not None,
        "columns": {
            guess.name: None if guess.signal is None else f"{guess.line}/{guess.signal.key}" for guess in seen.signals
        },
        "found": [] if seen.recording is None else found_json(seen.recording.findings),
        "problem": seen.problem,
        "mapping": seen.yaml,
    }


def _print_inspection(seen: "Inspection", language: Language) -> None:
    """On standard error: standard output is the mapping's."""
    from rich.table import Table

    from simulators.replay import words

    headings = (words.COLUMN, words.SEEN, words.SIGNAL)
    table = Table(*(heading.in_language(language) for heading in headings), box=None)
    for guess in seen.signals:
        values = f"{guess.low:g} … {guess.high:g}" if guess.count else repr(guess.text[:30])
        signal = words.NOT_RECOGNISED.in_language(language)
        if guess.signal is not None:
            signal = f"{guess.line}/{guess.signal.key} ({guess.unit})"
        table.add_row(printable(guess.name), printable(values), signal)
    console = wide_console(stderr=True)
    console.print(table, markup=False)
    if seen.recording is None:
        typer.echo(printable(seen.problem), err=True)
    else:
        _print_found(seen.recording.findings, language, err=True)


def _print(replayed: "Replayed", output: Path | None, language: Language, *, check: bool) -> None:
    from rich.table import Table

    from filiere.clock import to_text
    from simulators.replay import words

    recording = replayed.recording
    table = Table(show_header=False, box=None)
    for label, value in (
        (words.MESSAGES, str(recording.count)),
        (words.ROWS, str(recording.rows)),
        (words.FIRST, to_text(recording.first_ns)),
        (words.LAST, to_text(recording.last_ns)),
    ):
        table.add_row(label.in_language(language), value)
    wide_console().print(table, markup=False)
    _print_found(recording.findings, language)
    if check:
        typer.echo(words.CHECKED.in_language(language))
    elif output is not None:
        typer.echo(words.WRITTEN.in_language(language).format(count=replayed.sent, path=printable(str(output))))
    else:
        said = words.WAITING if replayed.waiting else words.SENT
        count, waiting = replayed.sent, replayed.waiting
        typer.echo(said.in_language(language).format(count=count, took=replayed.took_s, waiting=waiting))
        if replayed.unnumbered_waiting:
            typer.echo(words.UNNUMBERED.in_language(language).format(count=replayed.unnumbered_waiting))


def _print_found(findings: "Findings", language: Language, *, err: bool = False) -> None:
    from rich.table import Table

    from simulators.replay import words
    from simulators.replay.dirt import WORDS

    if not findings.by_kind:
        typer.echo(words.CLEAN.in_language(language), err=err)
        return
    headings = (words.KIND, words.COUNT, words.WHERE, words.DONE)
    table = Table(*(heading.in_language(language) for heading in headings), box=None)
    for kind, found in findings.items():
        said = WORDS[kind]
        table.add_row(
            said.what.in_language(language), str(found.count), printable(found.first), said.done.in_language(language)
        )
    wide_console(stderr=err).print(table, markup=False)
