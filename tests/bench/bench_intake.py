"""From the broker to the disk: the intake, durable, through a real Mosquitto on the same machine."""

import logging
import multiprocessing
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion

from collector.intake import Broker, Intake
from filiere.clock import system_clock
from filiere.message_log import MessageLog
from tests.bench import Bench, Measurement, from_values
from tests.servers import Mosquitto

MESSAGES = 30_000
REPEATS = 3
WINDOW = 1_000
DEADLINE_S = 120.0
POLL_S = 0.005
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
TOPIC = "filiere/v1/caux/textile/t1/extruder/readings"
PAYLOAD = b'{"boot":"9f2c","seq":41,"t":1763888045250,"v":{"barrel_temp_z3":231.4,"melt_pressure":44.0}}'


def bench_intake(bench: Bench) -> Iterator[Measurement]:
    """Messages a second and processor time a message, on the disk before each PUBACK."""
    broker = bench.mosquitto()
    remark = f"{MESSAGES} messages of {len(PAYLOAD)} bytes, broker on the same cores"
    for name, live in (("intake, backlog", False), ("intake, live", True)):
        runs = [_run(broker, bench.folder() / "messages.sqlite", live=live) for _ in range(REPEATS)]
        more = remark + (", publisher too" if live else "")
        yield from_values(name, "messages/s", [rate for rate, _ in runs], remark=more)
        yield from_values(f"{name}, processor", "µs/message", [cpu_us for _, cpu_us in runs], remark=more)


def _run(server: Mosquitto, log_path: Path, *, live: bool) -> tuple[float, float]:
    """Messages/s and processor µs a message of the intake, between its first progress and its last message."""
    broker = Broker(host=server.host, port=server.port, client_id=f"bench-{uuid.uuid4().hex[:8]}")
    MessageLog.open(log_path).close()
    with MessageLog.open_reader(log_path) as log:
        process = _start(broker, log_path)
        try:
            while log.head() == 0:  # until its subscription is there
                _publish(server, 1)
                time.sleep(POLL_S)
            if not live:
                _stop(process)
            done = log.head() + MESSAGES
            publisher = threading.Thread(target=_publish, args=(server, MESSAGES))
            publisher.start()
            if not live:
                publisher.join()
                process = _start(broker, log_path)
            first = _wait_for(log, log.head() + 1)
            began, cpu_began_s = time.perf_counter(), _cpu_s(process.pid)
            last = _wait_for(log, done)
            took_s, cpu_s = time.perf_counter() - began, _cpu_s(process.pid) - cpu_began_s
            publisher.join()
        finally:
            _stop(process)
    return (last - first) / took_s, cpu_s * 1e6 / (last - first)


def _wait_for(log: MessageLog, offset: int) -> int:
    deadline = time.monotonic() + DEADLINE_S
    while (head := log.head()) < offset:
        if time.monotonic() > deadline:
            raise TimeoutError(f"got {head} messages, expected {offset} within {DEADLINE_S:.0f} s")
        time.sleep(POLL_S)
    return head


def _start(broker: Broker, log_path: Path) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=_intake, args=(broker, log_path), daemon=True)
    process.start()
    return process


def _stop(process: multiprocessing.process.BaseProcess) -> None:
    process.terminate()
    process.join()


def _intake(broker: Broker, log_path: Path) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with MessageLog.open(log_path) as log:
        Intake(broker=broker, log=log, clock=system_clock, random=Random(), stop=threading.Event()).run()


def _publish(server: Mosquitto, count: int) -> None:
    """Publish at QoS 1 and return when all are acknowledged by the broker."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(WINDOW)
    client.max_queued_messages_set(0)
    client.connect(server.host, server.port)
    client.loop_start()
    told = [client.publish(TOPIC, PAYLOAD, qos=1) for _ in range(count)]
    for each in told:
        each.wait_for_publish(DEADLINE_S)
    client.disconnect()
    client.loop_stop()


def _cpu_s(pid: int | None) -> float:
    """Processor time of a process, user and system, s (proc(5): fields 14 and 15, counted after the name)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S
