"""Sweeps: what a point costs beside its own work, and what a second worker brings."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.pairs import Pair
from iclglass.validation.sweeping.checkpoint import open_checkpoint
from iclglass.validation.sweeping.driver import run_points
from iclglass.validation.sweeping.engines import make_engine
from iclglass.validation.sweeping.evaluation import PointResult, columns
from iclglass.validation.sweeping.grid import make_grid
from iclglass.validation.sweeping.points import Point

POINT_SECONDS = 0.05
_NAMES = columns("simulation", theory=True)


def nothing(point: Point) -> PointResult:
    """A point that costs nothing: what is left is handing it out, sending its result back, and writing it to disk."""
    return PointResult((point.task_diversity,) * len(_NAMES), 0, "", 0.0)


def busy(point: Point) -> PointResult:
    """A point of 50 ms of processor time."""
    end = time.process_time() + POINT_SECONDS
    while time.process_time() < end:
        pass
    return nothing(point)


def _points(count: int) -> tuple[Point, ...]:
    options = dict.fromkeys(("draws", "steps", "learning_rate", "tolerance"))
    given = {"task_diversity": np.linspace(1, 2, count), "context_length": 1.0}
    shared = {"norm": "N", "road": "simulation", "samples": 2, "seed": 0, "theory": True, "method": None}
    return make_grid(given, dimension=8, options=options, **shared).points


def seconds_a_point(function: Callable[[Point], PointResult], count: int, executor: str, workers: int | None) -> float:
    """Wall time of one point of many, with a checkpoint on disk, once the workers are there."""
    with tempfile.TemporaryDirectory() as folder, make_engine(executor, workers=workers) as engine:
        for part, size in (("start", 8), ("timed", count)):
            with open_checkpoint(Path(folder) / part, {}, points=size, columns=_NAMES) as checkpoint:
                begun = time.perf_counter()
                run_points(_points(size), function=function, checkpoint=checkpoint, engine=engine)
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
