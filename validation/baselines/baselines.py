"""Bayes estimators over arrays of parameters: baselines(...)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from iclglass.numerics.arguments import MOST, FloatArray, check_count
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.keywords import spelled_out
from iclglass.numerics.model_choice import refuse_unless_builtin
from iclglass.numerics.parameters import Given, Parameters, refuse_unknown
from iclglass.numerics.sizes import count
from iclglass.numerics.task_spectrum import ISOTROPIC
from iclglass.validation.baselines import known_law, known_pool

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Baseline", "Baselines", "baselines"]


@dataclass(frozen=True, eq=False)
class Baseline:
    """Squared errors of one estimator, in the shape of the parameters, with their standard errors (0: exact).

    e_icl : on new tasks, at the test context length.    e_idg : on tasks of the pool, at that of pretraining.
    """

    e_icl: FloatArray
    e_idg: FloatArray
    e_icl_standard_error: FloatArray
    e_idg_standard_error: FloatArray


@dataclass(frozen=True, eq=False)
class Baselines:
    """The two estimators at every point.

    ridge : knows the law of tasks.    dmmse : knows the pool; without one (distinct_tasks = inf) it is ridge.
    """

    parameters: Parameters
    ridge: Baseline
    dmmse: Baseline

    def to_dict(self) -> dict[str, Any]:
        """Estimator -> name -> array."""
        return {name: dict(vars(getattr(self, name))) for name in ("ridge", "dmmse")}

    def to_dataset(self, dims: tuple[str, ...] | None = None) -> "xr.Dataset":
        """e_icl, e_idg and their standard errors along ``estimator`` and the axes of the parameters.

        dims : names of these axes; by default dim_0, dim_1 ...
        """
        import xarray as xr

        named = tuple(f"dim_{axis}" for axis in range(len(self.parameters.shape))) if dims is None else dims
        found = self.to_dict()
        variables = {
            name: (("estimator", *named), np.stack([found[estimator][name] for estimator in found]))
            for name in found["ridge"]
        }
        return xr.Dataset(variables, {"estimator": list(found)})


@spelled_out
def baselines(*, samples: int = 64, seed: int = 0, **given: Unpack[Given]) -> Baselines:
    r"""Squared errors of Bayes estimators on the prompts that attention sees; arrays broadcast.

    Equations: `validation.baselines.known_law` (ridge: closed form as D -> infinity; at finite D an average over drawn
    matrices with its standard error) and `validation.baselines.known_pool` (dMMSE: drawn pools; as D -> infinity rho on
    the pool's tasks and 2 + rho on new ones). They depend on context_length, test_context_length, distinct_tasks,
    label_noise and dimension; other parameters of the theory are taken, and change nothing.

    Parameters
    ----------
    samples : int
        Pools drawn for dMMSE at finite D, >= 2, with 16 prompts each.
    seed : int
        Of all random numbers, >= 0.
    **given
        Fields of `Parameters`; context_length is required.

    Returns
    -------
    Baselines

    Raises
    ------
    ParameterError, ParameterTypeError
        Bad input; another model than squared error on linear labels, structured tasks.

    Examples
    --------
    >>> found = baselines(context_length=[0.5, 2.0], label_noise=0.1)
    >>> found.ridge.e_icl.round(4), found.dmmse.e_idg.round(4)
    (array([0.6742, 0.1844]), array([0.6742, 0.1844]))
    """
    samples, seed = check_count("samples", samples, minimum=2, maximum=MOST), check_count("seed", seed, minimum=0)
    refuse_unknown(given, (*Given.__annotations__, "samples", "seed"))
    if given.get("context_length") is None:
        raise ParameterTypeError("context_length is required: context length N/D")
    parameters = Parameters.of({"task_diversity": 1.0, **given})
    refuse_unless_builtin(parameters.replaced(ridge=0.1, l1=0.0, nuclear=0.0), "the posterior mean of tasks")
    if parameters.tasks is not ISOTROPIC:
        raise ParameterError("tasks: the baselines are those of isotropic tasks; leave tasks out")
    law = {name: array.reshape(-1) for name, array in parameters.scaled.items()}
    if parameters.dimension is None:
        found = _asymptotic(law)
    else:
        found = _drawn(law, parameters.dimension.reshape(-1), samples, seed)
    shaped = {
        estimator: Baseline(**{name: array.reshape(parameters.shape)[()] for name, array in values.items()})
        for estimator, values in found.items()
    }
    return Baselines(parameters, **shaped)


def _asymptotic(law: Mapping[str, FloatArray]) -> dict[str, dict[str, FloatArray]]:
    noise, own = law["label_noise"], np.isinf(law["distinct_tasks"])
    new = known_law.asymptotic_error(law["test_context_length"], noise)
    old = known_law.asymptotic_error(law["context_length"], noise)
    zero = np.zeros_like(new)
    exact = {"e_icl_standard_error": zero, "e_idg_standard_error": zero}
    return {
        "ridge": {"e_icl": new, "e_idg": old, **exact},
        "dmmse": {"e_icl": np.where(own, new, 2 + noise), "e_idg": np.where(own, old, noise), **exact},
    }


def _drawn(
    law: Mapping[str, FloatArray], dimension: FloatArray, samples: int, seed: int
) -> dict[str, dict[str, FloatArray]]:
    """At finite D, point by point; equal ones once."""
    tokens = {
        "e_icl": count("test_context_length", law["test_context_length"], dimension),
        "e_idg": count("context_length", law["context_length"], dimension),
    }
    tasks = count("distinct_tasks", law["distinct_tasks"], dimension)
    if (dimension < 2).any():
        raise ParameterError(f"dimension = {dimension.min():.0f} must be a whole number >= 2")
    known: dict[tuple[Any, ...], tuple[float, float]] = {}

    def value(estimator: str, name: str, point: int) -> tuple[float, float]:
        size, context, noise = int(dimension[point]), int(tokens[name][point]), float(law["label_noise"][point])
        if estimator == "ridge" or math.isinf(tasks[point]):
            key: tuple[Any, ...] = (size, context, noise)
            if key not in known:
                known[key] = known_law.error_at(size, context, noise, seed)
        else:
            key = (size, context, noise, int(tasks[point]), name)
            if key not in known:
                known[key] = known_pool.errors_at(
                    size, context, key[3], noise, new_task=name == "e_icl", samples=samples, seed=seed
                )
        return known[key]

    found: dict[str, dict[str, FloatArray]] = {}
    for estimator in ("ridge", "dmmse"):
        found[estimator] = {}
        for name in tokens:
            pairs = np.array([value(estimator, name, point) for point in range(dimension.size)]).reshape(-1, 2)
            found[estimator] |= {name: pairs[:, 0], f"{name}_standard_error": pairs[:, 1]}
    return found
