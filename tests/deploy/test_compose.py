"""docker-compose.yml, checked without an engine: it fits the schema, and whatever it names exists.

`compose-spec.json` is the schema of github.com/compose-spec/compose-go v2.16.2 (Apache-2.0), unchanged.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
import yaml

from collector.devices.devices import Devices
from collector.recorder.book import RecordBook
from filiere import cli
from filiere.plant_file import load_plant
from filiere.settings import Settings, load_settings
from tests.deploy.secrets_script import make_secrets
from tests.deploy.shipped import CONFIGURATION
from tests.servers import unavailable

PROJECT = Path(__file__).parent.parent.parent
COMPOSE_TEXT = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
PINNED = re.compile(r"[a-z0-9/-]+:\d+\.\d+\.\d+[a-z0-9.-]*")
INTERPOLATED = re.compile(r"\$\{(?P<name>[A-Z_]+)(?P<rest>[^}]*)\}")
INTERPOLATED_NAMES = {found["name"] for found in INTERPOLATED.finditer(COMPOSE_TEXT)}
GO_S_MAX = 300
ONCE = {"broker-files", "simulator-account"}
"""Services that do their work and end."""


def environment_of(service: str) -> dict[str, str]:
    """What the service's process sees, `environment` over `env_file`."""
    definition = SERVICES[service]
    found: dict[str, str] = {}
    if "env_file" in definition:
        lines = (PROJECT / definition["env_file"]).read_text(encoding="utf-8").splitlines()
        found |= dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return found | {name: str(value) for name, value in definition.get("environment", {}).items()}


def mounts() -> Iterator[tuple[str, str, str]]:
    for service, definition in SERVICES.items():
        for mount in definition.get("volumes", ()):
            source, target = mount.removesuffix(":ro").split(":")
            yield service, source, target


@pytest.fixture
def written(tmp_path: Path) -> Path:
    make_secrets.write_secrets(tmp_path)
    return tmp_path


def test_it_fits_the_compose_specification():
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text(encoding="utf-8"))
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(COMPOSE))
    assert not errors, "\n".join(f"{'.'.join(map(str, error.path))}: {error.message}" for error in errors)


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/deploy/loader, built: the library that Docker Compose reads its files with."""
    go = shutil.which("go")
    if go is None:
        unavailable("go not found: install Go, and the composition is read by Docker Compose's own loader")
    program = tmp_path_factory.mktemp("loader") / "loader"
    build = [go, "build", "-mod=readonly", "-o", program, "."]
    built = subprocess.run(
        build, cwd=Path(__file__).parent / "loader", capture_output=True, text=True, check=False, timeout=GO_S_MAX
    )
    assert built.returncode == 0, built.stderr
    return program


def loaded(loader: Path, secrets: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in INTERPOLATED_NAMES}
    return subprocess.run(
        [loader, "docker-compose.yml", "demo"],
        cwd=PROJECT,
        env=kept | secrets,
        capture_output=True,
        text=True,
        check=False,
    )


def test_docker_compose_s_own_loader_reads_it(loader: Path, written: Path):
    read = loaded(loader, make_secrets.read_environment(written / ".env"))
    assert read.returncode == 0, read.stderr
    services = json.loads(read.stdout)["services"]
    assert services.keys() == SERVICES.keys()
    assert all(re.fullmatch(r"[1-9]\d*:[0-9]+", service["user"]) for service in services.values()), "nobody is root"


def test_nothing_starts_without_the_secrets(loader: Path):
    refused = loaded(loader, {})
    assert refused.returncode != 0
    assert "required variable MQTT_COLLECTOR_PASSWORD is missing a value: run make secrets" in refused.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_a_pinned_image_no_root_and_nothing_to_spare(service: str):
    definition = SERVICES[service]
    assert PINNED.fullmatch(definition["image"]), definition["image"]
    assert definition["user"] == "${SERVICE_UID:?run make secrets}:${SERVICE_GID:?run make secrets}"
    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert definition["restart"] == ("on-failure" if service in ONCE else "unless-stopped")


@pytest.mark.parametrize("service", sorted(SERVICES.keys() - {"simulators"} - ONCE))
def test_a_service_says_whether_it_is_well(service: str):
    assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"


def test_the_simulators_start_only_when_asked_for():
    assert {name for name, definition in SERVICES.items() if "profiles" in definition} == {
        "simulators",
        "simulator-account",
    }


def test_nothing_listens_beyond_this_machine_unless_told():
    ports = [port for definition in SERVICES.values() for port in definition.get("ports", ())]
    assert ports
    assert all(port.startswith("${LISTEN:-127.0.0.1}:") for port in ports)


def test_every_file_that_is_mounted_is_in_the_tree_or_made_by_the_secrets(written: Path):
    for service, source, _ in mounts():
        root = written if source.startswith("./data/") else PROJECT
        assert (root / source).exists(), f"{service} mounts {source}, which is not there"


def test_every_secret_is_declared_and_made(written: Path):
    for service, definition in SERVICES.items():
        for name in definition.get("secrets", ()):
            assert name in COMPOSE["secrets"], f"{service} wants the secret {name}"
    for name, secret in COMPOSE["secrets"].items():
        assert (written / secret["file"]).stat().st_size > 0, name


def test_every_variable_has_a_default_or_is_made_and_demanded(written: Path):
    made = make_secrets.read_environment(written / ".env")
    for found in INTERPOLATED.finditer(COMPOSE_TEXT):
        name, rest = found["name"], found["rest"]
        assert (rest == ":?run make secrets" and name in made) or rest.startswith(":-"), found[0]


def test_no_password_stands_in_a_file():
    for service in SERVICES:
        for name, value in environment_of(service).items():
            if re.search("PASSWORD|TOKEN|SECRET|KEY", name):
                demanded = value.startswith("${") and ":?" in value
                assert demanded or (name.endswith("_FILE") and value.startswith("/run/secrets/")), f"{service}: {name}"


def test_every_secret_file_that_is_named_is_given_to_the_service():
    configuration = {
        "mosquitto": (PROJECT / "deploy/mosquitto/mosquitto.conf").read_text(encoding="utf-8"),
        "influxdb": (PROJECT / "deploy/influxdb/influxdb.env").read_text(encoding="utf-8"),
        "grafana": (PROJECT / "deploy/grafana/grafana.ini").read_text(encoding="utf-8")
        + "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "dashboards/provisioning").rglob("*.yaml")),
    }
    for service, text in configuration.items():
        named = set(re.findall(r"/run/secrets/(\w+)", text))
        assert named <= set(SERVICES[service].get("secrets", ())), service


def test_every_file_that_the_broker_reads_is_made_before_it_starts(tmp_path: Path):
    settings = load_settings(data_dir=tmp_path)
    with Devices.open(settings=settings, plant=load_plant("caux"), clock=time.time_ns) as devices:
        devices.prepare()
    targets = {target: source for service, source, target in mounts() if service == "mosquitto"}
    named = set(re.findall(r"/mosquitto/broker/(\S+)$", CONFIGURATION.read_text(encoding="utf-8"), re.MULTILINE))
    assert targets["/mosquitto/broker"] == "./data/compose/filiere/broker"
    assert {name for name in named if not (settings.broker_folder / name).exists()} == set()
    waits = SERVICES["mosquitto"]["depends_on"]
    assert {waits[name]["condition"] for name in ONCE} == {"service_completed_successfully"}
    assert not settings.broker_key_path.is_relative_to(settings.broker_folder), "the broker needs no key that signs"


def test_grafana_has_what_its_provisioning_asks_for():
    provisioning = PROJECT / "dashboards/provisioning"
    given = environment_of("grafana")
    targets = {target for service, _, target in mounts() if service == "grafana"}
    files = sorted(provisioning.rglob("*.yaml"))
    assert {path.parent.name for path in files} == {"datasources", "dashboards"}
    for path in files:
        text = re.sub(r"^\s*#.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for name in re.findall(r"\$\{?([A-Z][A-Z_]+)\}?", text):
            assert name in given, f"{path.name} wants {name}"
        for provider in yaml.safe_load(text).get("providers", ()):
            assert provider["options"]["path"] in targets, path.name


def test_influxdb_starts_with_the_bucket_that_the_settings_write_to():
    given = environment_of("influxdb")
    assert given["DOCKER_INFLUXDB_INIT_ORG"] == Settings.model_fields["influx_org"].default
    assert given["DOCKER_INFLUXDB_INIT_BUCKET"] == Settings.model_fields["influx_bucket"].default


@pytest.mark.parametrize("service", [name for name, item in SERVICES.items() if item["image"].startswith("filiere:")])
def test_every_command_is_one_of_the_program(service: str):
    definition = SERVICES[service]
    name, *arguments = definition["command"]
    command: Any = typer.main.get_command(cli.load(name))
    for argument in arguments:
        if argument.startswith("-"):
            options = {text for parameter in command.params for text in parameter.opts}
            assert argument in options, f"{service}: {name} has no {argument}"
        else:
            command = command.commands[argument]


def test_the_collector_is_well_while_its_recorder_notes_that_it_lives(tmp_path: Path):
    code = SERVICES["collector"]["healthcheck"]["test"][-1]

    def asked(now_ns: int) -> subprocess.CompletedProcess[str]:
        with RecordBook.open(tmp_path / "recorder.sqlite") as book:
            book.note(replace(book.progress(), updated_ns=now_ns))
        environment = {**os.environ, "FILIERE_DATA_DIR": str(tmp_path), "PYTHONPATH": str(PROJECT)}
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )

    assert asked(time.time_ns()).returncode == 0
    late = asked(time.time_ns() - 3_600_000_000_000)
    assert late.returncode == 1
    assert "the recorder was last seen 36" in late.stderr


def test_the_image_is_pinned_holds_every_package_and_does_not_run_as_root():
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert bases
    assert all(PINNED.fullmatch(base) for base in bases), bases
    assert re.search(r"pip install .*\buv==\d+\.\d+\.\d+", DOCKERFILE)
    pyproject = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    packages = re.findall(r'"(\w+)"', re.findall(r"^packages = \[(.*)\]$", pyproject, re.MULTILINE)[0])
    ignored = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in packages:
        assert f"COPY {name} {name}\n" in DOCKERFILE, name
        assert f"!{name}" in ignored, name
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)[-1] == "10001:10001"
    version = re.findall(r'^version = "(.*)"$', pyproject, re.MULTILINE)[0]
    images = {definition["image"] for definition in SERVICES.values()}
    assert f"filiere:{version}" in images, "the image carries the project's version"
