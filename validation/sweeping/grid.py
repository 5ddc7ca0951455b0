"""From axes to points: everything that can be refused is refused here, before any work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import LARGEST, check_choice, check_count, check_real
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.finite_dimension import large_enough
from iclglass.numerics.instance.linear_response import cheapest
from iclglass.numerics.instance.spin_glass import DENSE_BYTES
from iclglass.numerics.last_row import refuse_without_dimension
from iclglass.numerics.memory import check_memory
from iclglass.numerics.model_choice import chosen, is_builtin, refuse_unless_builtin
from iclglass.numerics.parameters import PARAMETERS, STRENGTHS, Parameters
from iclglass.numerics.sizes import counts
from iclglass.numerics.solution import DIAGNOSTICS, QUANTITIES
from iclglass.numerics.sweep import product
from iclglass.numerics.task_spectrum import ISOTROPIC
from iclglass.validation.model_experiment import quantities_of
from iclglass.validation.model_functions import refuse_unsimulated
from iclglass.validation.sweeping.points import SweepPoint
from iclglass.validation.sweeping.roads import ROADS

__all__ = ["ROAD_NAMES", "Grid", "make_grid"]

ROAD_NAMES = ("simulation", "message-passing", "sampling", "training", "theory")

MOST_POINTS = 10_000_000
_POINT_BYTES = 2600
"""Payload and results of a point, held in memory."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A checked grid.

    axes : name -> size, in the order of the parameters.    values : what was given, an array for an axis.
    product : every parameter, over the whole grid.
    points : payloads in C order of the axes.    settings : what every point shares, plain values.
    """

    axes: Mapping[str, int]
    values: Mapping[str, NDArray[np.float64]]
    product: Parameters
    points: tuple[SweepPoint, ...]
    settings: Mapping[str, object]

    @property
    def parameters(self) -> dict[str, object]:
        """All that the results follow from, as JSON can hold it exactly."""
        grids = {name: [_number(item) for item in array.ravel()] for name, array in self.values.items()}
        return {"axes": list(self.axes), **grids, **self.settings}


def make_grid(
    given: Mapping[str, Any],
    *,
    road: str,
    samples: int,
    seed: int,
    theory: bool,
    method: str | None,
    options: Mapping[str, float | int | None],
) -> Grid:
    """The points of a grid, in C order of its axes.

    given : fields of `Parameters` by name. options : draws, steps, learning_rate, tolerance.

    Raises ParameterError or ParameterTypeError: a value out of range, an option that the road does not take, sizes that
    round to nothing, more tasks than prompts, a road that needs a dimension or a temperature without one.
    """
    road = check_choice("road", road, ROAD_NAMES)
    axes, every = product(given)
    if every.tasks is not ISOTROPIC:
        raise ParameterError("points of a sweep have isotropic tasks: validate takes a spectrum of tasks")
    strengths = [name for name in STRENGTHS if name in every.chosen]
    names = [name for name in (*PARAMETERS, *strengths, "dimension") if getattr(every, name) is not None]
    values = {name: every.varying(name).reshape(-1 if name in axes else ()) for name in names}
    if every.dimension is None:
        refuse_without_dimension(every.layer)
    else:
        large_enough(every)
    shared = _settings(road, every, samples, seed, theory, method, options)
    own: dict[str, Any] = {} if is_builtin(every) else _of_model(road, every)
    shared["pools"] = every.dimension is not None and bool(np.isfinite(values["distinct_tasks"]).any())
    _check_road(road, values)
    count = math.prod(axes.values())
    if count > MOST_POINTS:
        raise ParameterError(f"{count} points are more than {MOST_POINTS}: take several sweeps")
    check_memory(_POINT_BYTES * count, what=f"{count} points", remedy="take several sweeps")
    choices = {name: values[name].ravel().tolist() if name in axes else [float(values[name])] for name in values}
    points = tuple(_points(choices, shared | own))
    if own:
        # As files hold it: a model is its expressions.
        record = every.record()
        shared |= {name: record[name] for name in every.chosen if name not in STRENGTHS}
    if road == "simulation" and not own:
        for point in points:
            _refuse_large(point)
    return Grid(axes, values, every, points, shared)


def _of_model(road: str, every: Parameters) -> dict[str, Any]:
    """What points of a chosen model have beside the others: its words, and the quantities of the road."""
    if road == "theory":
        chosen(every)
        names: tuple[str, ...] = (*QUANTITIES, *DIAGNOSTICS)
    elif road == "simulation":
        here = every.replaced(dimension=None)
        refuse_unsimulated(here)
        names = quantities_of(here)
    else:
        refuse_unless_builtin(every, f"road {road!r}")
    words = [(name, value) for name, value in every.chosen.items() if name not in STRENGTHS]
    return {"model": words, "quantities": names}


def _settings(
    road: str,
    every: Parameters,
    samples: int,
    seed: int,
    theory: bool,
    method: str | None,
    options: Mapping[str, float | int | None],
) -> dict[str, Any]:
    settings: dict[str, Any] = {"road": road, "norm": every.norm, **every.layer.to_dict()}
    if road == "theory":
        unused = [name for name, value in {"method": method, **options}.items() if value is not None]
        if unused:
            raise ParameterError(f"road 'theory' takes no {' or '.join(unused)}: leave it out")
        return settings | {"samples": 0, "seed": 0, "theory": False}
    settings["samples"] = check_count("samples", samples, minimum=1)
    settings["seed"] = check_count("seed", seed, minimum=0)
    if not isinstance(theory, (bool, np.bool_)):
        raise ParameterTypeError(f"theory = {theory!r} must be True or False")
    settings["theory"] = bool(theory)
    methods, known = ROADS[road].methods, ROADS[road].options
    if method is not None and not methods:
        raise ParameterError(f"road {road!r} has one method: leave out method")
    if methods:
        settings["method"] = methods[0] if method is None else check_choice("method", method, methods)
    for name, value in options.items():
        if name not in known and value is not None:
            taken = f"its options are {', '.join(known)}" if known else "it has no options"
            raise ParameterError(f"road {road!r} takes no {name}; {taken}")
    for name, default in known.items():
        given = options.get(name)
        settings[name] = default if given is None else _CHECKS[name](name, given)
    return settings


def _whole(name: str, value: object) -> int:
    return check_count(name, value, minimum=1)


def _positive(name: str, value: object) -> float:
    return check_real(name, value, minimum=0.0, above=True)


def _fraction(name: str, value: object) -> float:
    return check_real(name, value, minimum=0.0, above=True, maximum=1.0)


_CHECKS = {"draws": _whole, "steps": _whole, "learning_rate": _positive, "tolerance": _fraction}
_LARGEST_DRAWN = ("label_noise", "ridge", "temperature")


def _check_road(road: str, values: Mapping[str, NDArray[np.float64]]) -> None:
    if road != "theory" and "dimension" not in values:
        raise ParameterError(f"road {road!r} draws data sets of finite size: give it a dimension D")
    for name in _LARGEST_DRAWN if road != "theory" else ():
        if name in values and np.any(values[name] > LARGEST):
            raise ParameterError(f"{name} = {float(np.max(values[name])):g} must be below {LARGEST:g} for data sets")
    if road != "theory" and ROADS[road].thermal:
        temperature = values.get("temperature", np.zeros(()))
        if not np.all(temperature > 0):
            raise ParameterError(
                f"road {road!r} draws weights from the Boltzmann measure: temperature = "
                f"{float(np.min(temperature)):g} must be > 0"
            )


def _points(choices: Mapping[str, Sequence[float]], shared: Mapping[str, Any]) -> Iterator[SweepPoint]:
    """Every combination, in C order; the integers of all of them are counted at once."""
    parameters: dict[str, Any] = {name: parameter.default for name, parameter in PARAMETERS.items()}
    columns = dict(zip(choices, map(np.ravel, np.meshgrid(*choices.values(), indexing="ij")), strict=True))
    number = next(iter(columns.values())).size
    whole: dict[str, Any] = {"prompts": 0, "context": 0, "test_context": 0, "task_count": 0}
    sizes = columns.pop("dimension", None)
    counted: dict[str, list[float]] = {}
    if sizes is not None:
        given = parameters | columns
        counted = {name: np.broadcast_to(value, sizes.shape).tolist() for name, value in counts(given, sizes).items()}
    for row in range(number):
        # With a task for each prompt K stays 0.
        found = {name: int(values[row]) for name, values in counted.items() if values[row] < math.inf}
        here = {name: float(column[row]) for name, column in columns.items()}
        size = None if sizes is None else int(sizes[row])
        own = dict(shared)
        if "model" in shared:
            strengths = [(name, here.pop(name)) for name in STRENGTHS if name in here]
            own["model"] = (*shared["model"], *strengths)
        yield SweepPoint(**(parameters | here), dimension=size, **(whole | found), **own)


def _refuse_large(point: SweepPoint) -> None:
    if (
        point.dimension is None
        or cheapest(point.dimension, point.prompts, point.ridge, last_row=point.last_row) == "dual"
    ):
        return
    needed = 8.0 * (point.dimension * point.layer.rows(point.dimension)) ** 2
    if needed > DENSE_BYTES:
        raise ParameterError(
            f"dimension = {point.dimension}: exact linear algebra takes a matrix of {needed / 1e9:.1f} GB, above the "
            f"limit of {DENSE_BYTES / 1e9:.0f} GB; take road 'message-passing', a dimension below 150, or one data set "
            "by `iclglass instance --blocks`"
        )


def _number(value: float) -> object:
    return float(value) if math.isfinite(value) else str(value)
