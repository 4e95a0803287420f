"""The broker as it is shipped, what `filiere devices` writes for it, and clients that say how they were answered."""

import ssl
import threading
import time
import uuid
from contextlib import contextmanager

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from collector.devices.devices import Devices, Role
from collector.devices.reload import reload_broker
from filiere.clock import system_clock
from filiere.plant_file import load_plant
from filiere.settings import load_settings
from tests.collector.mqtt import until
from tests.deploy.shipped import ShippedMosquitto

LINE = "caux/textile/t1"
EXTRUDER, DRYER = f"{LINE}/extruder", f"{LINE}/dryer"
ANSWER_S = 10.0
RELOAD_WORDS = "Reloading config."


def topic(device, kind="readings"):
    return f"filiere/v1/{device}/{kind}"


class SecuredBroker(ShippedMosquitto):
    """With the accounts of one folder; `hup` returns when it has read its files again."""

    def __init__(self, folder):
        self.settings = load_settings(data_dir=folder)
        with self.devices() as devices:
            devices.prepare()
        super().__init__(self.settings.broker_folder)
        with (self.folder / "mosquitto.conf").open("a") as configuration:
            configuration.write("log_type information\n")  # says when it reads its files again

    def devices(self):
        return Devices.open(settings=self.settings, plant=load_plant("caux"), clock=system_clock)

    def add(self, name, role=Role.DEVICE, **options):
        """An account; its secret's files beside the broker's, by name."""
        with self.devices() as devices:
            secret = devices.add(name, role, **options)
        folder = self.settings.devices_dir / uuid.uuid4().hex
        folder.mkdir(parents=True)
        for file, content in secret.files().items():
            (folder / file).write_bytes(content)
        self.hup()
        return folder

    def revoke(self, name):
        with self.devices() as devices:
            devices.revoke(name)
        self.hup()

    def hup(self):
        if self.is_running:
            before = self.reloads()
            reload_broker(self.pid)
            until(lambda: self.reloads() > before, why="the broker did not reload")

    def reloads(self):
        return (self.folder / "server.log").read_text(errors="replace").count(RELOAD_WORDS)


class Caller:
    """One connection. `connected`, `pubacks`, `subacks`, `lost`: the broker's own words."""

    def __init__(self, server, port, secret=None, *, client_id="", v5=True, clean=True, expiry_s=0, will=None):
        self.connected, self.lost, self.session_kept = None, None, None
        self.got, self.pubacks, self.subacks = [], {}, []
        self.event = threading.Event()
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
            reconnect_on_failure=False,
            **({} if v5 else {"clean_session": clean}),
        )
        self.client.tls_set_context(context_of(server.settings.broker_folder / "ca.crt", secret))
        if secret is not None and (secret / "password").exists():
            self.client.username_pw_set((secret / "username").read_text(), (secret / "password").read_text())
        if will is not None:
            self.client.will_set(will, b"gone", qos=1)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_publish = lambda _c, _u, mid, reason, _p: self.pubacks.update({mid: str(reason)})
        self.client.on_subscribe = lambda _c, _u, _m, reasons, _p: self.subacks.append([str(one) for one in reasons])
        self.client.on_message = lambda _c, _u, message: self.got.append((message.topic, message.payload))
        options = {}
        if v5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = expiry_s
            options = {"clean_start": clean, "properties": properties}
        self.client.connect(server.host, port, 30, **options)
        self.client.loop_start()
        until(lambda: self.connected is not None or self.lost is not None, seconds=ANSWER_S, why="no answer to CONNECT")

    def _on_connect(self, _client, _userdata, flags, reason, _properties):
        self.session_kept = flags.session_present
        self.connected = str(reason)

    def _on_disconnect(self, _client, _userdata, _flags, reason, _properties):
        self.lost = str(reason)

    def publish(self, name, payload=b"x", **options):
        """The word of the PUBACK."""
        mid = self.client.publish(name, payload, qos=1, **options).mid
        until(lambda: mid in self.pubacks or self.lost is not None, seconds=ANSWER_S, why="no PUBACK")
        return self.pubacks.get(mid, f"lost: {self.lost}")

    def subscribe(self, *filters):
        """The words of the SUBACK."""
        before = len(self.subacks)
        self.client.subscribe([(name, 1) for name in filters])
        until(lambda: len(self.subacks) > before, seconds=ANSWER_S, why="no SUBACK")
        return self.subacks[-1]

    @property
    def is_in(self):
        return self.connected == "Success" and self.lost is None

    def vanish(self):
        """The network is gone: the broker sends the last will."""
        self.client.loop_stop()
        self.client.socket().close()

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def calling(*arguments, **options):
    caller = Caller(*arguments, **options)
    try:
        yield caller
    finally:
        caller.close()


def context_of(authority, secret=None):
    context = ssl.create_default_context(cafile=authority)
    if secret is not None and (secret / "client.crt").exists():
        context.load_cert_chain(secret / "client.crt", secret / "client.key")
    return context


def settle(seconds=0.3):
    """Time for a message that must not come; too short makes a test weaker, never red."""
    time.sleep(seconds)
