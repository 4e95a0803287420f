"""The broker as it is shipped."""

import shutil
from pathlib import Path

from tests.servers import HOST, PROJECT, Mosquitto


class ShippedMosquitto(Mosquitto):
    """A broker with deploy/mosquitto/mosquitto.conf, on paths and a port of this test."""

    def __init__(self, passwords: Path):
        super().__init__()
        own = self.folder / "passwords"
        shutil.copyfile(passwords, own)
        own.chmod(0o600)
        user_line = next(
            line for line in (self.folder / "mosquitto.conf").read_text().splitlines() if line.startswith("user ")
        )
        shipped = (PROJECT / "deploy/mosquitto/mosquitto.conf").read_text(encoding="utf-8")
        for ours, theirs in (
            ("listener 1883", f"listener {self.port} {HOST}\n{user_line}"),
            ("/run/secrets/mosquitto_passwords", str(own)),
            ("/mosquitto/data/", f"{self.folder}/"),
        ):
            assert ours in shipped
            shipped = shipped.replace(ours, theirs)
        (self.folder / "mosquitto.conf").write_text(shipped)
