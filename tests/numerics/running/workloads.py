"""What tests of the driver hand to workers: functions that a worker can import, of one number."""

import functools
import os
import signal
import time

import numpy as np

from iclglass.numerics.running.run import run
from iclglass.numerics.running.store import Row, Store
from iclglass.numerics.status import Status


def numbers(count):
    """Tasks whose key is one less than their payload, a number from 1."""
    return {key: key + 1.0 for key in range(count)}


def numbered(number):
    """At once, a row that says which task it is of."""
    return Row(np.array([number, number]))


def lost(reason):
    return Row(np.array([np.nan, np.nan]), int(Status.LOST), reason)


def compute(tasks, function, engine, *, store=None, **options):
    """What work without a file finds."""
    store = Store() if store is None else store
    run(tasks, function, store=store, engine=engine, lost=lost, **options)
    return store.done


def brief(number):
    time.sleep(0.005)
    return numbered(number)


def napping(number):
    """As `numbered`, after 50 ms."""
    time.sleep(0.05)
    return numbered(number)


def sleeping(number):
    """Longer than any test waits."""
    time.sleep(600)
    return numbered(number)


def at(chosen, what):
    """As `napping`, but ``what`` at these numbers: "exits", "killed", "raises" or "unpicklable"."""
    return functools.partial(_numbered_or, what, frozenset(chosen))


def _numbered_or(what, chosen, number):
    if number not in chosen:
        return napping(number)
    if what == "exits":
        os._exit(1)
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "unpicklable":
        return lambda: None
    raise RuntimeError(f"no result at {number:g}")


def interrupting(chosen, number):
    """As `numbered`; presses Ctrl-C while these run."""
    if number in chosen:
        os.kill(os.getpid(), signal.SIGINT)
    return numbered(number)
