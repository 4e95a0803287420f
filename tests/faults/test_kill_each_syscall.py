"""The intake is killed at every single system call of its commit path: what it had promised is there."""

import re
import signal
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.faults.disk import run
from tests.faults.promises import assert_holds

CALLS = ("pwrite64", "fdatasync", "ftruncate", "write", "unlink")
AT_ONCE = 3
SAMPLE = 60
"""Kills of a normal run, spread over all calls."""


def every_call(strace, folder):
    """(call, its number) of one undisturbed run, in the order of calls."""
    trace = folder.with_suffix(".trace")
    assert run([strace, "-f", "-o", trace, "-e", f"trace={','.join(CALLS)}"], folder).returncode == 0
    numbers = {call: count(1) for call in CALLS}
    names = re.findall(r"^\d+ +(\w+)\(", trace.read_text(), flags=re.MULTILINE)
    return [(name, next(numbers[name])) for name in names]


def kill_at(strace, folder, call, number):
    # without --seccomp-bpf: signals are not injected with it
    options = ["-o", folder.with_suffix(".trace"), "-e", f"trace={call}"]
    ran = run([strace, "-f", *options, "-e", f"inject={call}:signal=KILL:when={number}"], folder)
    assert ran.returncode == -signal.SIGKILL, (call, number, ran.stderr.decode())
    acked = [int(word) for word in re.findall(rb"acked (\d+)", ran.stdout)]
    assert_holds(folder / "messages.sqlite", max(acked, default=0))


def kill_at_each(strace, tmp_path, chosen):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = [pool.submit(kill_at, strace, tmp_path / f"{call}-{n}", call, n) for call, n in chosen]
        for each in done:
            each.result()


def test_killed_at_any_call_it_has_what_it_promised(strace, tmp_path):
    """Each call in its first and last place, and a sample of the places between."""
    calls = every_call(strace, tmp_path / "straight")
    assert {"pwrite64", "fdatasync", "ftruncate", "write", "unlink"} <= {call for call, _ in calls}
    assert len(calls) > 2 * SAMPLE
    kill_at_each(strace, tmp_path, calls[:: -(-len(calls) // SAMPLE)])


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_killed_at_every_call_it_has_what_it_promised(strace, tmp_path):
    kill_at_each(strace, tmp_path, every_call(strace, tmp_path / "straight"))
