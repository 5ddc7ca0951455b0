"""How the quantities of a point are computed from data sets: the roads.

    simulation       their Boltzmann measure by exact linear algebra (`validation.observables`)
    message-passing  their measure by message passing (`numerics.instance.solve_instance`)
    sampling         weights drawn from their measure (`validation.samplers`); temperature > 0
    training         the layer trained on each by gradient descent (`validation.training`)

Each gives one value of each of its quantities for each data set; names and scaling are those of
`numerics.solution.Solution`. The road "theory" draws nothing: `validation.sweeping.evaluation`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.predictions import overlaps
from iclglass.numerics.instance.solve import solve_instance
from iclglass.numerics.sizes import to_unscaled
from iclglass.numerics.status import Status
from iclglass.validation.experiment import draw, measured
from iclglass.validation.observables import QUANTITIES, weight_quantities
from iclglass.validation.population import PromptMoments, gaussian_moments
from iclglass.validation.prompts import Prompts
from iclglass.validation.samplers.overlap import thermal_averages
from iclglass.validation.samplers.sampling import Samples, sample
from iclglass.validation.sweeping.points import SweepPoint, random_generator
from iclglass.validation.training.layer import largest_curvature
from iclglass.validation.training.loop import train
from iclglass.validation.training.run import Outcome

__all__ = ["ROADS", "DataSetResult", "Road", "measure_data_set"]

_STEPS = 100_000
_MOST_R_HAT = 1.1
"""Of two chains of some hundred correlated draws; 1.01 is for four chains of thousands."""
_OF_WEIGHTS = ("m", "q", "e_icl", "e_idg", "e_train", "contrast")


@dataclass(frozen=True)
class DataSetResult:
    """One data set: its quantities, whether the road got there, and one sentence where it did not."""

    values: Mapping[str, float]
    status: Status = Status.CONVERGED
    reason: str = ""


@dataclass(frozen=True)
class Road:
    """A road.

    quantities : what it gives.    of_data_set : (point, data set, generator) -> quantities.
    methods : what its method may be, the default first; none where there is no choice.
    options : which of draws, steps, learning_rate and tolerance it takes, with their defaults.
    thermal : whether it needs temperature > 0.
    """

    quantities: tuple[str, ...]
    of_data_set: Callable[[SweepPoint, Prompts, np.random.Generator], DataSetResult]
    methods: tuple[str, ...] = ()
    options: Mapping[str, float | int | None] = field(default_factory=dict)
    thermal: bool = False


def measure_data_set(point: SweepPoint, index: int) -> DataSetResult:
    """Draw the data set of an index and compute its quantities by the point's road."""
    if point.dimension is None:
        raise ParameterError(f"road {point.road!r} draws data sets: give it a dimension")
    rng = random_generator(point, index)
    return ROADS[point.road].of_data_set(point, draw(point.parameters, point.sizes, rng), rng)


def _tested(point: SweepPoint, data: Prompts) -> PromptMoments:
    """Moments of a test prompt, with a new task."""
    return gaussian_moments(
        np.ones(data.dimension),
        context=point.test_context,
        label_noise=point.label_noise,
        norm=point.norm,
        **point.layer.to_dict(),
    )


def _unscaled(point: SweepPoint) -> dict[str, Any]:
    # The mean does not depend on beta; at zero temperature any will do.
    return to_unscaled(point.dimension, ridge=point.ridge, temperature=point.temperature or 1.0)


def _simulation(point: SweepPoint, data: Prompts, rng: np.random.Generator) -> DataSetResult:
    return DataSetResult(asdict(measured(point.parameters, point.sizes, data)))


def _message_passing(point: SweepPoint, data: Prompts, rng: np.random.Generator) -> DataSetResult:
    method = point.method or "gamp"
    solution = solve_instance(
        data,
        **_unscaled(point),
        method=method,
        tolerance=point.tolerance,
        max_iterations=point.steps,
        rng=rng if method == "published" else None,
    )
    if solution.status != Status.CONVERGED:
        more = "; give it more steps" if solution.status == Status.NOT_CONVERGED else ""
        return DataSetResult({}, solution.status, solution.reason + more)
    values = weight_quantities(data, solution.mean[:, :-1], _tested(point, data))
    values["q_self"] = overlaps(solution).q_self if point.temperature else values["q"]
    return DataSetResult(values)


def _sampling(point: SweepPoint, data: Prompts, rng: np.random.Generator) -> DataSetResult:
    method = point.method or "exact"
    found = sample(
        data,
        **_unscaled(point),
        method=method,
        draws=point.draws,
        chains=2,
        keep_weights=True,
        rng=rng,
    )
    if method != "exact" and (reason := _not_mixed(found)):
        return DataSetResult({}, Status.NOT_CONVERGED, reason)
    # Two chains are two replicas: q is their overlap.
    return DataSetResult({**thermal_averages(found, _tested(point, data)), "q": float(found.overlaps[0].mean())})


def _not_mixed(found: Samples) -> str:
    """Why the chains do not tell the measure's averages; empty where they do.

    They start wider than the measure in every direction, so that chains which have not met have not mixed.
    """
    from iclglass.validation.samplers.diagnostics import r_hat

    worst = {name: r_hat(found.observables[name]) for name in ("energy", "m", "q_self")}
    name = max(worst, key=lambda name: math.inf if math.isnan(worst[name]) else worst[name])
    if worst[name] < _MOST_R_HAT:
        return ""
    return f"R-hat of {name} is {worst[name]:.2f}, not below {_MOST_R_HAT:g}: take more draws, or method exact or hmc"


def _training(point: SweepPoint, data: Prompts, rng: np.random.Generator) -> DataSetResult:
    ridge0 = _unscaled(point)["ridge0"]
    # From zero: what no prompt sees stays zero, so that without ridge descent ends at the weights of minimum norm.
    start = (np.zeros(data.features.weight_shape),)
    rate = point.learning_rate
    if rate is None:
        # Half the largest stable rate: every mode falls monotonically.
        rate = 1 / largest_curvature(start, data.features, data.label, ridge0)
    run = train(
        data,
        steps=point.steps or _STEPS,
        learning_rate=rate,
        ridge0=ridge0,
        start=start,
        tolerance=point.tolerance,
        rng=rng,
    )
    if run.outcome != Outcome.CONVERGED:
        return DataSetResult({}, _OUTCOMES[run.outcome], run.reason)
    values = weight_quantities(data, run.weights, _tested(point, data))
    return DataSetResult({**values, "energy": float(run.energy[-1])})


_OUTCOMES = {
    Outcome.NOT_CONVERGED: Status.NOT_CONVERGED,
    Outcome.DIVERGES: Status.DIVERGES,
    Outcome.COMPLETED: Status.NOT_CONVERGED,
}

ROADS: dict[str, Road] = {
    "simulation": Road(QUANTITIES, _simulation),
    "message-passing": Road(
        (*_OF_WEIGHTS, "q_self"),
        _message_passing,
        methods=("gamp", "exact", "tap", "published"),
        options={"steps": None, "tolerance": None},
    ),
    "sampling": Road(
        ("m", "q", "q_self", "energy", "e_icl_gibbs"),
        _sampling,
        methods=("exact", "heat-bath", "langevin", "mala", "hmc"),
        options={"draws": 200},
        thermal=True,
    ),
    "training": Road(
        (*_OF_WEIGHTS, "energy"),
        _training,
        options={"steps": _STEPS, "learning_rate": None, "tolerance": 1e-6},
    ),
}
