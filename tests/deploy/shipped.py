"""The broker as it is shipped."""

from pathlib import Path

from tests.servers import HOST, PROJECT, Mosquitto, free_port

CONFIGURATION = PROJECT / "deploy/mosquitto/mosquitto.conf"


class ShippedMosquitto(Mosquitto):
    """A broker with deploy/mosquitto/mosquitto.conf, on ports of this test and what `filiere devices` wrote."""

    def __init__(self, broker_dir: Path):
        super().__init__()
        ports = {self.port}
        while len(ports) < 3:  # a port that was free a moment ago may be given out again
            ports.add(free_port())
        self.password_port, self.certificate_port = ports - {self.port}
        user_line = next(
            line for line in (self.folder / "mosquitto.conf").read_text().splitlines() if line.startswith("user ")
        )
        shipped = CONFIGURATION.read_text(encoding="utf-8")
        for ours, theirs in (
            ("listener 8883\n", f"listener {self.password_port} {HOST}\n"),
            ("listener 8884\n", f"listener {self.certificate_port} {HOST}\n"),
            ("listener 8885\n", f"listener {self.port} {HOST}\n"),
            ("/mosquitto/broker/", f"{broker_dir}/"),
            ("/mosquitto/data/", f"{self.folder}/"),
        ):
            assert ours in shipped
            shipped = shipped.replace(ours, theirs)
        (self.folder / "mosquitto.conf").write_text(f"{user_line}\n{shipped}")
