"""Real brokers of the conformance tests: Mosquitto as it comes and over TLS, iotcore for each version of MQTT."""

import sys
from functools import partial

from collector.broker import Broker, Tls
from collector.intake.connection import MQTT_3, MQTT_5
from tests.collector.certificates import Authority
from tests.servers import HOST, Mosquitto, Server

LARGEST = 300_000
"""Bytes of the largest message that these brokers take, in whole or nearly."""


class TlsMosquitto(Mosquitto):
    """Mosquitto that wants a client certificate."""

    def __init__(self):
        super().__init__()
        self.authority = Authority(self.folder)
        certificate, key = self.authority.sign("broker", hosts=[HOST])
        configuration = (self.folder / "mosquitto.conf").read_text()
        (self.folder / "mosquitto.conf").write_text(
            f"{configuration}cafile {self.authority.ca}\ncertfile {certificate}\nkeyfile {key}\n"
            "require_certificate true\n"
        )
        own, own_key = self.authority.sign("collector")
        self.tls = Tls(ca=self.authority.ca, certificate=own, key=own_key)


class Iotcore(Server):
    """The embedded broker; it keeps nothing over a restart."""

    name = "iotcore"

    def __init__(self, version):
        super().__init__()
        section = "v5" if version == MQTT_5 else "v4"
        (self.folder / "iotcore.toml").write_text(
            "id = 0\n[router]\nid = 0\nmax_connections = 100\nmax_outgoing_packet_count = 1000\n"
            "max_segment_size = 104857600\nmax_segment_count = 10\n"
            f'[{section}.1]\nname = "{section}"\nlisten = "{HOST}:{self.port}"\nnext_connection_delay_ms = 1\n'
            f"[{section}.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = {LARGEST}\n"
            "max_inflight_count = 1000\ndynamic_filters = true\n"
        )

    def command(self):
        return [
            *(sys.executable, "-m", "iotcore"),
            *("--config", str(self.folder / "iotcore.toml"), "--log-level", "CRITICAL"),
        ]


def kinds():
    """Name → (how to make the server, the version that is spoken with it)."""
    return {
        "mosquitto, MQTT 5": (Mosquitto, MQTT_5),
        "mosquitto, MQTT 3.1.1": (Mosquitto, MQTT_3),
        "mosquitto, TLS": (TlsMosquitto, MQTT_5),
        "iotcore, MQTT 5": (partial(Iotcore, MQTT_5), MQTT_5),
        "iotcore, MQTT 3.1.1": (partial(Iotcore, MQTT_3), MQTT_3),
    }


def broker_of(server, client_id):
    return Broker(host=server.host, port=server.port, client_id=client_id, tls=getattr(server, "tls", None))
