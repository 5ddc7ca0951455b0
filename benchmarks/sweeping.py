"""Sweeps: what a point costs beside its own work, and what a second worker brings."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.pairs import Pair
from iclglass.numerics.running.engines import make_engine
from iclglass.numerics.running.resuming import program
from iclglass.numerics.running.run import run
from iclglass.numerics.running.store import Row, open_store
from iclglass.validation.sweeping.evaluation import MODULES, columns
from iclglass.validation.sweeping.grid import make_grid
from iclglass.validation.sweeping.points import SweepPoint

POINT_SECONDS = 0.05
_NAMES = columns("simulation", theory=True)


def nothing(point: SweepPoint) -> Row:
    """A point that costs nothing: what is left is handing it out, sending its result back, and writing it to disk."""
    return Row(np.full(len(_NAMES), point.task_diversity))


def busy(point: SweepPoint) -> Row:
    """A point of 50 ms of processor time."""
    end = time.process_time() + POINT_SECONDS
    while time.process_time() < end:
        pass
    return nothing(point)


def _points(count: int) -> tuple[SweepPoint, ...]:
    options = dict.fromkeys(("draws", "steps", "learning_rate", "tolerance"))
    given = {"task_diversity": np.linspace(1, 2, count), "context_length": 1.0}
    shared = {"road": "simulation", "samples": 2, "seed": 0, "theory": True, "method": None}
    return make_grid(given | {"dimension": 8}, options=options, **shared).points


def seconds_a_point(function: Callable[[SweepPoint], Row], count: int, executor: str, workers: int | None) -> float:
    """Wall time of one point of many, with a checkpoint on disk, once the workers are there."""
    with tempfile.TemporaryDirectory() as folder, make_engine(executor, workers=workers) as engine:
        for part, size in (("start", 8), ("timed", count)):
            with open_store(Path(folder) / part, "sweep", {}, program(*MODULES), total=size) as store:
                begun = time.perf_counter()
                run(dict(enumerate(_points(size))), function, store=store, engine=engine)
                ended = time.perf_counter()
    return (ended - begun) / count


def overhead(count: int = 2000) -> Pair:
    """One point that costs nothing: on two processes, against serial."""
    return Pair(
        "a point of a sweep beside its work: 2 processes, serial",
        seconds_a_point(nothing, count, "processes", 2),
        seconds_a_point(nothing, count, "serial", None),
    )


def second_worker(count: int = 100) -> Pair:
    """Points of 50 ms on one process, against two."""
    return Pair(
        "points of 50 ms: 1 worker, 2 workers",
        seconds_a_point(busy, count, "processes", 1),
        seconds_a_point(busy, count, "processes", 2),
    )
