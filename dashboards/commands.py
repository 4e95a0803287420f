"""`filiere dashboards build` and `filiere dashboards push`."""

import json
from pathlib import Path
from typing import Annotated

import typer

dashboards = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Build the Grafana dashboards from the plant model, or push them to a Grafana.",
)
GENERATED = Path("dashboards/generated")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@dashboards.command()
def build(
    output: Annotated[Path, typer.Option(help="Folder that the files are written to.")] = GENERATED,
    as_json: AsJson = False,
) -> None:
    """Write two dashboards a line (French, English) from the plant model of FILIERE_PLANT."""
    from dashboards.builder import build as build_dashboards
    from dashboards.builder import file_bytes
    from filiere.plant_file import load_plant
    from filiere.settings import load_settings

    documents = build_dashboards(load_plant(load_settings().plant))
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for name, document in documents.items():
        path, body = output / name, file_bytes(document)
        changed = not path.exists() or path.read_bytes() != body
        if changed:
            path.write_bytes(body)
        written.append({"file": str(path), "uid": document["uid"], "title": document["title"], "changed": changed})
    if as_json:
        typer.echo(json.dumps(written, ensure_ascii=False, indent=2))
        return
    for entry in written:
        typer.echo(f"{'written  ' if entry['changed'] else 'unchanged'}  {entry['file']}  {entry['title']}")


@dashboards.command()
def push(
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would change; write nothing.")] = False,
    send_token: Annotated[
        bool, typer.Option("--send-token", help="Write the InfluxDB token again: Grafana cannot show that it changed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what differs from the build, then put it right in Grafana: folder, datasource, dashboards."""
    from dashboards.builder import build as build_dashboards
    from dashboards.grafana import Grafana, wanted
    from filiere.errors import SettingsError
    from filiere.plant_file import load_plant
    from filiere.settings import load_settings

    settings = load_settings()
    if not settings.influx_url:
        raise SettingsError(
            "got no InfluxDB for the dashboards to ask; set FILIERE_INFLUX_URL (an address that Grafana reaches) and"
            " FILIERE_INFLUX_TOKEN: Grafana cannot read the embedded store"
        )
    things = wanted(
        build_dashboards(load_plant(settings.plant)), influx_url=settings.influx_url, bucket=settings.influx_bucket
    )
    with Grafana(url=settings.grafana_url, token=settings.grafana_token.get_secret_value()) as grafana:
        changes = grafana.plan(things)
        if not plan:
            grafana.apply(changes, influx_token=settings.influx_token.get_secret_value(), send_token=send_token)
    if as_json:
        found = [
            {
                "kind": change.wanted.kind,
                "uid": change.wanted.uid,
                "title": change.wanted.title,
                "action": change.action,
                "diff": change.diff,
            }
            for change in changes
        ]
        typer.echo(json.dumps({"applied": not plan, "changes": found}, ensure_ascii=False, indent=2))
        return
    for change in changes:
        typer.echo(f"{change.action:9}  {change.wanted.kind:10}  {change.wanted.uid}  {change.wanted.title}")
        if change.action == "update":
            typer.echo(change.diff)
    typer.echo("Nothing was written (--plan)." if plan else "Grafana has what the plant model says.")
