"""`filiere settings` and `filiere plant check`."""

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from filiere.bindings import Payload, StatedUnit, path_text
from filiere.errors import PlantError
from filiere.terminal import JsonOption, Language, wide_console

if TYPE_CHECKING:
    from rich.tree import Tree

    from filiere.bindings import Binding, Source
    from filiere.plant import Limits, Line, Plant, Step

EXIT_WRONG = 1
_DEVICES_SHOWN = 3

plant = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help="Plant files.")


def settings(
    as_json: JsonOption = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/settings.md.")] = False,
) -> None:
    """Show every setting and its value, changed ones in bold; secrets are masked."""
    from filiere.settings import load_settings, setting_lines, settings_markdown, unknown_variables

    if markdown:
        typer.echo(settings_markdown(), nl=False)
        return
    lines = setting_lines(load_settings())
    unknown = unknown_variables(os.environ)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    line.variable: {"value": line.value, "default": line.default, "description": line.description}
                    for line in lines
                },
                indent=2,
                ensure_ascii=False,
            )
        )
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table("variable", "value", "what it is")
        for line in lines:
            changed = line.value != line.default
            table.add_row(line.variable, escape(line.value), line.description, style="bold" if changed else None)
        Console().print(table)
    for name in unknown:
        typer.echo(f"{name}: no setting reads this variable; look for a typing error", err=True)


@plant.callback()
def _plant() -> None:
    """Plant files."""  # a callback keeps `check` a command of its own


@plant.command()
def check(
    file: Annotated[str, typer.Argument(help="A plant file, or the name of a packaged plant.")],
    lang: Annotated[Language, typer.Option(help="Language of the names.")] = "fr",
) -> None:
    """Read a plant file and show what is in it, or the line that is wrong (exit status 1)."""
    from filiere.plant_file import load_plant

    try:
        model = load_plant(file)
    except PlantError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_WRONG) from None
    wide_console().print(_tree(model, lang))


def _tree(model: "Plant", lang: str) -> "Tree":
    from rich.markup import escape
    from rich.tree import Tree

    root = Tree(
        escape(f"{model.site} — {model.label.in_language(lang)} ({model.issuer}, {model.timezone})"), highlight=False
    )
    for workshop in model.workshops:
        branch = root.add(escape(f"{workshop.id} — {workshop.label.in_language(lang)}"))
        for line in workshop.lines:
            line_branch = branch.add(escape(f"{line.path} — {line.label.in_language(lang)}"))
            for unit_text, signals in _unit_texts(line, lang):
                unit_branch = line_branch.add(escape(unit_text))
                for signal in signals:
                    unit_branch.add(escape(signal))
            for step in line.steps:
                line_branch.add(escape(_step_text(step, lang)))
    if model.bindings:
        branch = root.add("bindings")
        for binding in model.bindings:
            binding_branch = branch.add(escape(_binding_text(binding)))
            for source in binding.sources:
                binding_branch.add(escape(_source_text(source)))
    root.add(escape(_summary(model)))
    return root


def _unit_texts(line: "Line", lang: str) -> Iterator[tuple[str, list[str]]]:
    for unit in line.units:
        yield (
            f"{unit.id} — {unit.label.in_language(lang)}",
            [
                f"{signal.id} [{signal.unit}] every {signal.period_s:g} s{_limits_text(signal.limits)}"
                f"{', critical' if signal.critical else ''} — {signal.label.in_language(lang)}"
                for signal in unit.signals
            ],
        )


def _limits_text(limits: "Limits") -> str:
    low = "" if limits.low is None else f", at least {limits.low:g}"
    return low + ("" if limits.high is None else f", at most {limits.high:g}")


def _step_text(step: "Step", lang: str) -> str:
    recipes = ", ".join(recipe.id for recipe in step.recipes)
    certified = ", certified" if step.certified else ""
    return f"step {step.id} → {step.product}{certified}; recipes: {recipes} — {step.label.in_language(lang)}"


def _binding_text(binding: "Binding") -> str:
    devices = ", ".join(
        f"{word + ' ' if word else ''}→ {device}" for word, device in list(binding.devices.items())[:_DEVICES_SHOWN]
    )
    more = " …" if len(binding.devices) > _DEVICES_SHOWN else ""
    time = "time of arrival" if binding.time is None else f"time {path_text(binding.time.path)} ({binding.time.format})"
    if binding.payload is Payload.SPARKPLUG:
        time = "its own time"
    return f"{binding.id}: {binding.topic} {devices}{more}; {binding.payload}, {time}"


def _source_text(source: "Source") -> str:
    unit = f"unit at {path_text(source.unit.path)}" if isinstance(source.unit, StatedUnit) else source.unit
    sums = (f" × {source.scale:g}" if source.scale != 1 else "") + (f" {source.offset:+g}" if source.offset else "")
    where = path_text(source.path) or "the payload"
    when = "".join(f", where {name} is {word}" for name, word in source.when.items())
    return f"{source.signal} = {where}{sums} [{unit}]{when}{', optional' if source.optional else ''}"


def _summary(model: "Plant") -> str:
    signals = sum(len(line.signals) for line in model.lines)
    steps = sum(len(line.steps) for line in model.lines)
    return (
        f"in order: {len(model.lines)} lines, {signals} signals, {steps} steps, {len(model.materials)} materials,"
        f" {len(model.bindings)} bindings;"
        f" digest {model.digest[:16]}"
    )
