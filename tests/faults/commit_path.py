"""A small intake that always does the same: appends, says what is durable, prunes. Run as a program, under strace.

    python commit_path.py LOG [--normal] [--dies]

It goes on where the log ends, so a killed one is started again. What it says is one line a promise: `acked 12`.
"""

import os
import signal
import sys
from functools import partial
from pathlib import Path

from filiere.errors import StoreUnavailable
from filiere.message_log import MessageLog

BATCHES = (1, 3, 40, 2, 17, 1, 30)
CHECKPOINT_PAGES = 12
"""Checkpoints come every few commits: they are part of the path."""
PRUNED_BELOW, PRUNED_AFTER = 30, 4
"""After so many batches, what lies below this offset is pruned."""
TRIES_MAX = 20


def payload(offset):
    """Mostly small ones, some over several pages."""
    size = 9_000 if offset % 13 == 7 else 60 + offset % 90
    return (b"%d " % offset * size)[:size]


def message(offset):
    return b"filiere/v1/caux/textile/t1/extruder/readings", payload(offset), 10**18 + offset


def main(path, *, normal=False, dies=False):
    """`normal`: with synchronous=NORMAL, which is not enough. `dies`: killed by itself when the disk refuses."""
    log = open_log(path, normal=normal)
    say("opened")

    def until_done(action):
        """As the intake does it: the same again, until the disk takes it."""
        for _ in range(TRIES_MAX):
            try:
                return action()
            except StoreUnavailable:
                say("refused")
                if dies:
                    os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("the disk never took it")

    for number, size in enumerate(BATCHES, start=1):
        start = log.head() + 1
        batch = [message(offset) for offset in range(start, start + size)]
        say(f"acked {until_done(partial(log.append, batch))}")
        if number == PRUNED_AFTER:
            while until_done(partial(log.prune, PRUNED_BELOW, 20)):
                pass
            until_done(partial(log.give_back, 5))
    log.close()


def open_log(path, *, normal):
    log = MessageLog.open(path)
    log._connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    if normal:
        log._connection.execute("PRAGMA synchronous=NORMAL")
    return log


def say(words):
    os.write(1, f"{words}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), normal="--normal" in sys.argv, dies="--dies" in sys.argv)
