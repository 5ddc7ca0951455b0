"""What tests of sweeps hand to workers: functions that a worker can import, and the points that they take."""

import functools
import os
import signal
import time

import numpy as np

from iclglass.validation.sweeping.evaluation import PointResult, columns
from iclglass.validation.sweeping.grid import make_grid

NAMES = columns("simulation", theory=False)


def grid_of(**given):
    """A grid with the defaults of `sweep_simulated`."""
    settings = {
        "dimension": None,
        "norm": "N",
        "road": "simulation",
        "samples": 2,
        "seed": 0,
        "theory": False,
        "method": None,
    }
    settings |= {name: given.pop(name) for name in settings if name in given}
    names = ("draws", "steps", "learning_rate", "tolerance")
    options = {name: given.pop(name, None) for name in names}
    return make_grid(given, options=options, **settings)


def numbered_points(count):
    """Points whose task diversity is their number."""
    return grid_of(task_diversity=np.arange(1.0, count + 1), context_length=1.0, dimension=4).points


def numbered(point):
    """At once, a result that says which point it is of."""
    return PointResult((point.task_diversity,) * len(NAMES), 0, "", 0.0)


def napping(point):
    """As `numbered`, after 50 ms."""
    time.sleep(0.05)
    return numbered(point)


def sleeping(point):
    """Longer than any test waits."""
    time.sleep(600)
    return numbered(point)


def at(points, what):
    """As `napping`, but ``what`` at the points of these numbers: "exits", "killed", "raises" or "unpicklable"."""
    return functools.partial(_numbered_or, what, frozenset(points))


def _numbered_or(what, points, point):
    if point.task_diversity not in points:
        return napping(point)
    if what == "exits":
        os._exit(1)
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "unpicklable":
        return lambda: None
    raise RuntimeError(f"no result at {point.task_diversity:g}")


def interrupting(at_points, point):
    """As `numbered`; presses Ctrl-C while these points run."""
    if point.task_diversity in at_points:
        os.kill(os.getpid(), signal.SIGINT)
    return numbered(point)
