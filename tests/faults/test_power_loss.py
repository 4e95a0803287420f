"""Power is cut anywhere in the commit path, unsynced writes are dropped, kept or torn: what was promised is there."""

import random

import pytest

from tests.faults.disk import POLICIES, Disk, traced
from tests.faults.promises import Lost, assert_holds

IMAGES, IMAGES_SOAK = 60, 2_000


def cuts(calls, images, dice):
    """(number of calls done, policy) in the order of time; the end, with everything unsynced lost, among them."""
    chosen = [(dice.randint(1, len(calls)), dice.choice(POLICIES)) for _ in range(images - 1)]
    return sorted([*chosen, (len(calls), "dropped")])


def check_images(calls, tmp_path, images, seed):
    """Replay up to each cut and check its image. Returns how many promises were broken."""
    dice, disk, done, broken = random.Random(seed), Disk(), 0, 0
    for number, (until, policy) in enumerate(cuts(calls, images, dice)):
        for call in calls[done:until]:
            disk.do(call)
        done = until
        folder = tmp_path / f"image-{number}"
        disk.write_image(folder, policy, dice)
        try:
            assert_holds(folder / "messages.sqlite", disk.acked)
        except Lost:
            broken += 1
    assert disk.acked > 0
    return broken


@pytest.fixture(scope="module")
def run(strace, tmp_path_factory):
    """The calls of one undisturbed run."""
    ran, calls = traced(strace, tmp_path_factory.mktemp("power") / "run")
    assert ran.returncode == 0, ran.stderr.decode()
    return calls


def test_a_power_cut_loses_nothing_that_was_acknowledged(run, tmp_path):
    assert check_images(run, tmp_path, IMAGES, seed=1) == 0


@pytest.mark.soak
def test_hundreds_of_power_cuts_lose_nothing_that_was_acknowledged(run, tmp_path):
    assert check_images(run, tmp_path, IMAGES_SOAK, seed=2) == 0


def test_without_a_full_sync_a_commit_does_lose_what_was_acknowledged(strace, tmp_path):
    """The control: these images do show a loss where there is one."""
    ran, calls = traced(strace, tmp_path / "run", program_options=["--normal"])
    assert ran.returncode == 0, ran.stderr.decode()
    assert check_images(calls, tmp_path, IMAGES, seed=1) > 0
