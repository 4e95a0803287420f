# ruff: noqa: INP001 - a script run by its path, not a package
"""Write what docker-compose.yml needs and git must not have: passwords, tokens, and the folders the services write to.

Python alone, nothing to install: `make secrets`. What is there already is kept, so running it twice changes nothing;
to renew a secret, delete its line in .env or its file in secrets/ and run it again.
"""

import os
import secrets
import sys
from pathlib import Path

PASSWORD_BYTES = 32
ROOT_STAND_IN = 10001
"""Where root runs this, the services run as this user and own their files."""
MQTT_USERS = {"collector": "MQTT_COLLECTOR_PASSWORD", "simulator": "MQTT_SIMULATOR_PASSWORD"}
"""Accounts of Filière's own services; `filiere devices prepare` tells the broker."""
SERVICE_FOLDERS = ("mosquitto", "influxdb", "grafana", "filiere", "filiere/broker")


def write_secrets(project: Path) -> list[Path]:
    """Make what is missing below `project` and return the files written, none where nothing was missing."""
    uid, gid = (ROOT_STAND_IN, ROOT_STAND_IN) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    written: list[Path] = []

    environment_path = project / ".env"
    before = read_environment(environment_path)
    environment = dict(before)
    environment.setdefault("SERVICE_UID", str(uid))
    environment.setdefault("SERVICE_GID", str(gid))
    environment.setdefault("INFLUX_TOKEN", secrets.token_urlsafe(PASSWORD_BYTES))
    for variable in MQTT_USERS.values():
        environment.setdefault(variable, secrets.token_urlsafe(PASSWORD_BYTES))
    owner = (int(environment["SERVICE_UID"]), int(environment["SERVICE_GID"]))
    if environment != before:
        write_private(environment_path, "".join(f"{name}={value}\n" for name, value in environment.items()))
        written.append(environment_path)

    files = {
        "influx_password": secrets.token_urlsafe(PASSWORD_BYTES),
        "grafana_password": secrets.token_urlsafe(PASSWORD_BYTES),
    }
    # this one repeats what .env says, so it follows it when a line there is renewed
    derived = {"influx_token": environment["INFLUX_TOKEN"]}
    folder = make_folder(project / "secrets", owner)
    for name, text in (files | derived).items():
        path = folder / name
        if not path.exists() or (name in derived and path.read_text() != text):
            write_private(path, text, owner)
            written.append(path)

    for name in SERVICE_FOLDERS:
        make_folder(project / "data" / "compose" / name, owner)
    return written


def read_environment(path: Path) -> dict[str, str]:
    """`NAME=value` lines; comments and blank lines are not kept."""
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def write_private(path: Path, text: str, owner: tuple[int, int] | None = None) -> None:
    """Replace `path` by a file that its owner alone may read; it is never open to others, not even for a moment."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    give(fresh, owner)
    fresh.replace(path)


def make_folder(path: Path, owner: tuple[int, int]) -> Path:
    """A folder of `owner` alone."""
    if not path.exists():
        path.mkdir(parents=True, mode=0o700)
        give(path, owner)
    return path


def give(path: Path, owner: tuple[int, int] | None) -> None:
    """Only root may give files away, and only root has to."""
    if owner is not None and os.geteuid() == 0:
        os.chown(path, *owner)


def main() -> None:
    """Write beside docker-compose.yml and say what was written, never a secret itself."""
    project = Path(__file__).resolve().parent.parent
    written = write_secrets(project)
    for path in written:
        sys.stdout.write(f"written {path.relative_to(project)}\n")
    sys.stdout.write("Grafana: user admin, password in secrets/grafana_password. Next: docker compose up\n")


if __name__ == "__main__":
    main()
