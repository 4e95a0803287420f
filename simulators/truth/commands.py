"""`filiere score`: truth beside what the system concluded."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filiere.plant import Label
from filiere.terminal import JsonOption, Language, LanguageOption

if TYPE_CHECKING:
    from simulators.truth.system import Note

EXIT_NOT_PERFECT = 1
TRUTH_FOLDER = "truth"
DRAWN = Label(fr="Dessiné : {path}", en="Drawn: {path}")
READING = Label(fr="lecture", en="reading")


def score(
    truth: Annotated[
        Path | None,
        typer.Argument(
            metavar="TRUTH", help="Folder that `filiere simulate --truth` wrote. [default: truth in the data folder]"
        ),
    ] = None,
    *,
    data: Annotated[
        Path | None, typer.Option(help="Data folder of the system that is scored. [default: the setting's]")
    ] = None,
    grace: Annotated[
        float,
        typer.Option(min=0.0, max=86_400.0, help="How long after its end a fault's traces are still its own, s."),
    ] = 900.0,
    plot: Annotated[Path | None, typer.Option(help="Draw the score into this file, .svg or .png.")] = None,
    as_json: JsonOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """Join what was true of a simulation with what the system concluded of it.

    Detection delay, missed faults, false alarms a day, balance error, wrong release verdicts.

    Exit status 0: every fault was found, nobody was called in vain, every verdict is right. 1: not so. 2: one of the
    two folders cannot be read.
    """
    import json

    from filiere.settings import load_settings
    from simulators.truth.display import print_score, score_json
    from simulators.truth.folder import read_truth
    from simulators.truth.score import score as joined
    from simulators.truth.system import open_system

    if plot is not None:
        from simulators.truth.plot import refuse_other_suffix

        refuse_other_suffix(plot)  # told before the work, not after
    settings = load_settings() if data is None else load_settings(data_dir=data)
    known = read_truth(truth or settings.data_dir / TRUTH_FOLDER)
    with open_system(settings) as system:
        result = joined(known, system, grace_s=grace, note=_progress(lang))
    if as_json:
        typer.echo(json.dumps(score_json(result), indent=2, ensure_ascii=False))
    else:
        from filiere.terminal import wide_console

        print_score(wide_console(), result, lang)
    if plot is not None:
        from simulators.truth.plot import write_plot

        write_plot(plot, result, lang)
        typer.echo(DRAWN.in_language(lang).format(path=plot), err=True)
    if result.missed or result.false_alarms or result.wrong_verdicts:
        raise typer.Exit(EXIT_NOT_PERFECT)


def _progress(language: Language) -> "Note | None":
    """One line that is rewritten, with what is left; nothing where nobody looks."""
    import sys
    import time

    from simulators.output.progress import duration_words

    if not sys.stderr.isatty():
        return None
    began_s = time.monotonic()

    def note(done: int, count: int) -> None:
        took_s = time.monotonic() - began_s
        left = ""
        if done:
            words = duration_words(took_s * (count - done) / done, english=language == "en")
            left = f" · {words} left" if language == "en" else f" · reste {words}"
        sys.stderr.write(f"\r\x1b[2K{READING.in_language(language)} {done}/{count}{left}")
        if done + 1 >= count:
            sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()

    return note
