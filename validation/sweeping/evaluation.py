"""evaluate(point): the one function of a sweep that engines run, in the driver's process or anywhere else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.parameters import closest
from iclglass.numerics.running.blas import pin_blas
from iclglass.numerics.running.store import Row
from iclglass.numerics.saddle_point import solve_points
from iclglass.numerics.solution import DIAGNOSTICS, OBSERVABLES, SENTENCES, Solution
from iclglass.numerics.status import Status
from iclglass.validation.statistics import mean_and_error
from iclglass.validation.sweeping.points import Point
from iclglass.validation.sweeping.roads import ROADS, measure_data_set

__all__ = ["MODULES", "THEORY_ENDS", "columns", "evaluate", "quantities_of", "refuse_undrawable"]

MODULES = ("iclglass.validation.sweeping.grid", __name__)
"""What the points of a sweep follow from, with all that these import."""

THEORY_ENDS = ("_theory", "_theory_standard_error")
"""What names the theory beside a quantity, and its standard error."""


def quantities_of(road: str) -> tuple[str, ...]:
    """What a road gives."""
    return (*OBSERVABLES, *DIAGNOSTICS) if road == "theory" else ROADS[road].quantities


def refuse_undrawable(road: str, observable: str, given: Mapping[str, Any]) -> None:
    """Refuse with ParameterError, before any work, a picture of a quantity that the road does not give, or of axes of a
    grid that no picture has; unknown roads are refused elsewhere.
    """
    from iclglass.numerics.plotting.sweeps import check_axes

    if road in ("theory", *ROADS) and observable not in quantities_of(road):
        raise ParameterError(f"road {road!r} gives no {observable!r} to draw{closest(observable, quantities_of(road))}")
    check_axes({name: value for name, value in given.items() if np.ndim(value) == 1})


def columns(road: str, *, theory: bool, pools: bool = False) -> tuple[str, ...]:
    """Names of a point's values: each quantity, its standard error, the theory beside it, and with pools of tasks, over
    which the theory averages, the standard error of that.

    >>> columns("sampling", theory=True)[:3]
    ('m', 'm_standard_error', 'm_theory')
    """
    names = quantities_of(road)
    if road == "theory":
        return names
    ends = ("", "_standard_error", *THEORY_ENDS[: theory * (1 + pools)])
    return tuple(f"{name}{end}" for name in names for end in ends)


def evaluate(point: Point) -> Row:
    """Compute one point: values in the order of `columns`.

    Never raises for what the point is: a failure is its status, with NaN values.

    The mean is over independent data sets, the standard error their spread; NaN with one data set. Arithmetic is on one
    BLAS thread, so that the rounding is the same everywhere.
    """
    pin_blas()  # the driver's own process gets its threads back from `numerics.running.run`
    started = time.perf_counter()
    names = columns(point.road, theory=point.theory, pools=point.pools)
    try:
        found, status, message = _theory_alone(point) if point.road == "theory" else _data_sets(point)
    except MemoryError as error:
        found, status, message = {}, Status.LOST, f"not enough memory: {error}"
    except Exception as error:  # whatever one point does, the sweep goes on without it
        found, status, message = {}, Status.FAILED, f"{type(error).__name__}: {error}"
    if point.theory:
        found = {**found, **_theory_beside(point)}
    values = np.array([found.get(name, np.nan) for name in names], dtype=np.float64)
    return Row(values, int(status), message, time.perf_counter() - started)


def _theory_alone(point: Point) -> tuple[dict[str, float], Status, str]:
    solution = _solve(point)
    status = Status(int(solution.status))
    values = {name: float(getattr(solution, name)) for name in (*OBSERVABLES, *DIAGNOSTICS)}
    return values, status, "" if status == Status.CONVERGED else SENTENCES[status]


def _data_sets(point: Point) -> tuple[dict[str, float], Status, str]:
    names = ROADS[point.road].quantities
    table = np.empty((len(names), point.samples))
    for index in range(point.samples):
        found = measure_data_set(point, index)
        if found.status != Status.CONVERGED:
            return {}, found.status, f"data set {index}: {found.reason}"
        table[:, index] = [found.values[name] for name in names]
    if point.samples > 1:
        with np.errstate(invalid="ignore"):  # infinite chi: its spread is NaN
            means, errors = mean_and_error(table)
    else:
        means, errors = table[:, 0], np.full(len(names), np.nan)
    values = dict(zip(names, means.tolist(), strict=True))
    values |= {f"{name}_standard_error": error for name, error in zip(names, errors.tolist(), strict=True)}
    return values, Status.CONVERGED, ""


def _theory_beside(point: Point) -> dict[str, float]:
    """The theory at the same sizes, whatever became of what was drawn; nothing where there is none."""
    try:
        solution = _solve(point)
    except (ParameterError, ArithmeticError, MemoryError):
        return {}
    found = {}
    for name in ROADS[point.road].quantities:
        if name in OBSERVABLES or name in DIAGNOSTICS:
            found[f"{name}_theory"] = float(getattr(solution, name))
            if name in solution.standard_errors:
                found[f"{name}_theory_standard_error"] = float(solution.standard_errors[name])
    return found


def _solve(point: Point) -> Solution:
    return solve_points(point.parameters)
