"""SIGKILL of every part in turn while five devices publish: what is published is stored or in quarantine, once.

The broker is killed too, and forgets seconds of what it acknowledged: the devices' outboxes keep it until the receipt.
A run that fails prints its seed; `KILLS_SEED=… make test ARGS=tests/e2e/test_kills.py` takes the same order again.
`make soak` is the long one.
"""

import os
import random
import sys
import time

import pytest

from tests.e2e.kills import KINDS, ForgetfulMosquitto, assert_nothing_lost_nothing_doubled, chain, kill_in_turn
from tests.servers import ServerMissing, unavailable

KILLS, ROWS_PER_S = 30, 60.0
SOAK_KILLS, SOAK_ROWS_PER_S, SOAK_READINGS = 500, 200.0, 1_000_000
SOAK_S_MAX = 2 * 3600
SAY_EVERY = 10


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("KILLS_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
    sys.stdout.write(f"KILLS_SEED={seed}\n")  # shown when the test fails
    return seed


@pytest.fixture
def chain_options(influxdb, tmp_path):
    try:
        broker = ForgetfulMosquitto().start()
    except ServerMissing as missing:
        unavailable(str(missing))
    try:
        yield {"folder": tmp_path, "mosquitto": broker, "influxdb": influxdb, "client_id": "kills"}
    finally:
        broker.remove()


@pytest.mark.timeout(600)
def test_whatever_is_killed_each_published_row_is_stored_or_in_quarantine_once(chain_options, seed):
    with chain(**chain_options, rows_per_s=ROWS_PER_S) as running:
        kill_in_turn(running, random.Random(seed), KILLS)
        running.drain()
        assert_nothing_lost_nothing_doubled(running)
        assert set(running.kills) == set(KINDS)


@pytest.mark.soak
@pytest.mark.timeout(SOAK_S_MAX)
def test_the_same_for_500_kills_and_a_million_readings(chain_options, seed, capfd):
    with chain(**chain_options, rows_per_s=SOAK_ROWS_PER_S) as running:

        def note(kills: int) -> None:
            if kills % SAY_EVERY == 0:
                with capfd.disabled():
                    sys.stderr.write(f"\r{kills} kills, {running.readings():,} readings, KILLS_SEED={seed} ")

        kill_in_turn(running, random.Random(seed), SOAK_KILLS, note=note)
        while running.readings() < SOAK_READINGS:
            time.sleep(1.0)
        running.drain()
        assert_nothing_lost_nothing_doubled(running)
        assert running.readings() >= SOAK_READINGS
