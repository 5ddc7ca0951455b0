"""evaluate(point): the one function of a sweep that engines run, in the driver's process or anywhere else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from iclglass.numerics.errors import ConvergenceError, ParameterError
from iclglass.numerics.model_choice import is_builtin
from iclglass.numerics.parameters import STRENGTHS, WORDS, Parameters, closest
from iclglass.numerics.running.blas import pin_blas
from iclglass.numerics.running.store import Row
from iclglass.numerics.saddle_point import solve_points
from iclglass.numerics.sizes import from_unscaled
from iclglass.numerics.solution import DIAGNOSTICS, OBSERVABLES, QUANTITIES, SENTENCES, Solution, solved
from iclglass.numerics.status import Status
from iclglass.validation.experiment import draw
from iclglass.validation.model_experiment import batches, measured
from iclglass.validation.model_theory import model_theory
from iclglass.validation.statistics import mean_and_error
from iclglass.validation.sweeping.points import SweepPoint, random_generator
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
    grid that no picture has; unknown roads, and what a model does not have, are refused elsewhere.
    """
    from iclglass.numerics.plotting.sweeps import check_axes

    if road in ("theory", *ROADS) and not _takes_model(given) and observable not in quantities_of(road):
        raise ParameterError(f"road {road!r} gives no {observable!r} to draw{closest(observable, quantities_of(road))}")
    check_axes({name: value for name, value in given.items() if np.ndim(value) == 1})


def _takes_model(given: Mapping[str, Any]) -> bool:
    chosen = {name: given[name] for name in (*WORDS, *STRENGTHS, "model") if name in given}
    point = {"task_diversity": 1.0, "context_length": 1.0}
    return not all(is_builtin(Parameters.of({**point, name: value})) for name, value in chosen.items())


def columns(
    road: str, *, theory: bool, pools: bool = False, quantities: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Names of a point's values: each quantity, its standard error, the theory beside it, and with pools of tasks, over
    which the theory averages, the standard error of that. quantities: those of a model, if not `quantities_of`.

    >>> columns("sampling", theory=True)[:3]
    ('m', 'm_standard_error', 'm_theory')
    """
    names = quantities or quantities_of(road)
    if road == "theory":
        return names
    ends = ("", "_standard_error", *THEORY_ENDS[: theory * (1 + pools)])
    return tuple(f"{name}{end}" for name in names for end in ends)


def evaluate(point: SweepPoint) -> Row:
    """Compute one point: values in the order of `columns`.

    Never raises for what the point is: a failure is its status, with NaN values.

    The mean is over independent data sets, the standard error their spread; NaN with one data set. Arithmetic is on one
    BLAS thread, so that the rounding is the same everywhere.
    """
    pin_blas()  # the driver's own process gets its threads back from `numerics.running.run`
    started = time.perf_counter()
    names = columns(point.road, theory=point.theory, pools=point.pools, quantities=point.quantities)
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


def _theory_alone(point: SweepPoint) -> tuple[dict[str, float], Status, str]:
    solution = _solve(point)
    status = Status(int(solution.status))
    fields = solution.to_dict()
    values = {name: float(fields[name]) for name in (*QUANTITIES, *DIAGNOSTICS) if name in fields}
    return values, status, "" if solved(status) else SENTENCES[status]


def _data_sets(point: SweepPoint) -> tuple[dict[str, float], Status, str]:
    names = point.quantities or ROADS[point.road].quantities
    table = np.empty((len(names), point.samples))
    if point.model:
        try:
            rows = _of_model(point)
        except ConvergenceError as error:
            return {}, Status.NOT_CONVERGED, str(error)
        # A sweep has the quantities of all of its points, at some of which one may not exist.
        table[:] = [[row.get(name, np.nan) for row in rows] for name in names]
    else:
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


def _of_model(point: SweepPoint) -> list[dict[str, float]]:
    """The quantities of the data sets of a point of a chosen model, those of a batch side by side."""
    rngs = [random_generator(point, index) for index in range(point.samples)]
    data = [draw(point.parameters, point.sizes, rng) for rng in rngs]
    return [
        found
        for which in batches(point.parameters, point.samples)
        for found in measured(
            point.parameters, point.sizes, [data[index] for index in which], [rngs[index] for index in which]
        )
    ]


def _theory_beside(point: SweepPoint) -> dict[str, float]:
    """The theory at the same sizes, whatever became of what was drawn; nothing where there is none."""
    try:
        if point.model:
            theory = _model_theory(point)
            return {f"{name}_theory": np.asarray(getattr(theory, name)).item() for name in point.quantities or ()}
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


def _model_theory(point: SweepPoint) -> Solution | SimpleNamespace:
    """At the point's D; of the nuclear norm with last row, which has no such theory, at D -> infinity.

    There with the integers of the point and the penalty that its diagonal has.
    """
    if not (point.parameters.nuclear > 0 and point.last_row):
        return _solve(point)
    size = point.sizes
    whole = from_unscaled(size.dimension, prompts=size.prompts, context=size.context, test_context=size.test_context)
    given = {name: value for name, value in point.parameters.fields().items() if name not in _OF_LAYER}
    return model_theory(**given | whole, diagonal_dimension=point.dimension)


_OF_LAYER = ("dimension", "norm", "last_feature", "last_row")


def _solve(point: SweepPoint) -> Solution:
    return solve_points(point.parameters)
