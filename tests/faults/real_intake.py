"""`filiere collect --only intake`, as it runs on a workshop's machine."""

import os
import subprocess
import sys
from contextlib import contextmanager

from tests.servers import STOP_S_MAX


def environment(folder, mosquitto, client_id):
    """Of a collector with this data folder and broker."""
    return {
        **os.environ,
        "FILIERE_DATA_DIR": str(folder),
        "FILIERE_MQTT_HOST": mosquitto.host,
        "FILIERE_MQTT_PORT": str(mosquitto.port),
        "FILIERE_MQTT_CLIENT_ID": client_id,
    }


@contextmanager
def intake(folder, mosquitto, client_id):
    """Running until the block ends, then killed. What it says is in `intake.log` beside the folder."""
    command = [sys.executable, "-m", "filiere", "collect", "--only", "intake"]
    with (folder.parent / "intake.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=environment(folder, mosquitto, client_id), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.kill()
        process.wait(STOP_S_MAX)


def words(folder):
    """What the intakes of a folder said."""
    return (folder.parent / "intake.log").read_text()
