"""What the measure of one data set says: predictions on new prompts with error bars, overlaps, contrast.

The prediction s.W on a prompt with features s = u (x) xt is Gaussian under exp(-beta H):

    mean s.<W>,    variance s^T A^{-1} s/beta       (A^{-1}/beta is the covariance of the weights, SG section II)

The overlaps and the contrast ratio of one matrix of weights are computed here only; `validation.observables` and the
samplers' laws take them from here. Stacks of matrices (draws, iterates) are summed where they arise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import check_choice, check_type, real_array
from iclglass.numerics.errors import ConvergenceError, ParameterError
from iclglass.numerics.instance.data import Instance, check_instance
from iclglass.numerics.instance.exact import dense_road
from iclglass.numerics.instance.features import FeatureOperator, zero_modes
from iclglass.numerics.instance.krylov import dots, response_solve
from iclglass.numerics.instance.linear_response import quadratic_forms
from iclglass.numerics.instance.solution import InstanceSolution
from iclglass.numerics.memory import chunks
from iclglass.numerics.solution import Solution

__all__ = [
    "Overlaps",
    "Prediction",
    "alignment",
    "contrast",
    "contrast_ratio",
    "overlap",
    "overlaps",
    "predict",
    "train_error",
]

FloatArray = NDArray[np.float64]

_TOLERANCE = 1e-8
"""Relative residual of the solves for error bars where the matrices are too large: a bar needs few digits."""

_BATCH_ELEMENTS = 1 << 21
"""Spins of the prompts solved for together."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predictions on M prompts.

    mean : (M,), s.<W>.    deviation : (M,), standard deviation of s.W over the Boltzmann measure.
    kind : "exact", or "diagonal" where the correlations of the weights were left out.
    """

    mean: FloatArray
    deviation: FloatArray
    kind: str


@dataclass(frozen=True)
class Overlaps:
    """Order parameters of one data set, block of D x D spins, scaled as in `numerics.solution.Solution`.

    m = Tr <W>/D.    q = |<W>|^2/D, the overlap of two replicas: two weights drawn independently from the measure.
    q_self = <|W|^2>/D, of one replica with itself.    q_self_error : its standard error, 0 if the variances are exact.
    uniqueness = q/q_self: 1 when all weights of the measure are the same solution, 0 when they have nothing in common.
    """

    m: float
    q: float
    q_self: float
    q_self_error: float
    uniqueness: float


def predict(
    solution: InstanceSolution,
    context: ArrayLike,
    query: ArrayLike,
    *,
    instance: Instance | None = None,
    kind: str = "exact",
) -> Prediction:
    """Mean and standard deviation of the predictions on M prompts.

    context : (M, D+1), u = C/norm.    query : (M, D), xt: as in `Instance`.

    kind "exact" takes the data set that was solved for: sqrt(s^T A^{-1} s/beta), by Cholesky or, for
    large data sets, by conjugate gradients to a relative residual of 1e-8. kind "diagonal" takes the solution only:
    sqrt(sum_ij s_ij^2 variance_ij), without the correlations of the weights: right on average over new prompts of
    isotropic tokens, wrong for one of them, and too large on the prompts of the data set itself. inf where ridge0 = 0
    leaves a zero mode in the direction of the prompt.

    Raises ParameterError for shapes that do not fit or a missing argument, ConvergenceError where the solves fail.

    >>> from iclglass.numerics.instance.solve import solve_instance
    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> solution = solve_instance(data, ridge0=0.1, beta=2.0, method="exact")
    >>> found = predict(solution, data.context, data.query, instance=data)
    >>> bool(np.allclose(found.mean, data.features.predict(solution.mean[:, :3])))
    True
    """
    kind = check_choice("kind", kind, ("exact", "diagonal"))
    _check_kind(solution)
    if not np.isfinite(solution.mean).all():
        raise ParameterError(f"the solution has no finite means to predict with: {solution.reason}")
    if instance is not None:
        check_instance(instance)
    dimension = solution.mean.shape[1] - 1
    prompts = Instance(context, query, np.zeros(real_array("query", query).shape[:1]))  # type: ignore[arg-type]
    if prompts.dimension != dimension:
        raise ParameterError(f"prompts of dimension {prompts.dimension} for a solution of dimension {dimension}")
    if prompts.context.shape[1] != solution.mean.shape[0]:
        raise ParameterError(
            f"contexts of {prompts.context.shape[1]} numbers for a solution with {solution.mean.shape[0]} rows of "
            "weights: build them for the same layer, with last row or without"
        )
    features = prompts.features.in_double()
    mean = features.predict(solution.mean[:, :dimension])
    if kind == "diagonal":
        with np.errstate(invalid="ignore"):  # 0 times an infinite variance: nothing is known of that product
            return Prediction(mean, np.sqrt(features.squares().predict(solution.variance[:, :dimension])), kind)
    if instance is None:
        raise ParameterError(
            "the exact standard deviation needs the instance that was solved for; pass it, or ask for kind='diagonal', "
            "which leaves out the correlations of the weights"
        )
    ridge0, beta = solution.ridge0, solution.beta
    if instance.dimension != dimension:
        raise ParameterError(f"an instance of dimension {instance.dimension} for a solution of dimension {dimension}")
    if instance.last_row != prompts.last_row:
        raise ParameterError("the instance was solved for another layer: with last row, or without")
    road = dense_road(instance, ridge0)
    if road is None:
        forms = _forms_by_solves(instance, features, ridge0)
    else:
        forms = quadratic_forms(instance, prompts.context, prompts.query, ridge0, road)
    return Prediction(mean, np.sqrt(forms / beta), kind)


def _check_kind(solution: InstanceSolution) -> None:
    remedy = "; m, q and q_self of the theory are attributes of its Solution" * isinstance(solution, Solution)
    wanted = "an InstanceSolution, as solve_instance returns it"
    check_type("solution", solution, InstanceSolution, wanted, remedy=remedy)


def overlaps(solution: InstanceSolution) -> Overlaps:
    """Order parameters of the mean and of the variances; see `Overlaps`.

    q_self falls to q as task diversity grows: the data then leave one solution (SG, uniqueness of the solution).
    """
    _check_kind(solution)
    dimension = solution.mean.shape[1] - 1
    weights = solution.mean[:, :dimension]
    q = overlap(weights)
    q_self = q + float(np.sum(solution.variance[:dimension, :dimension])) / dimension
    error = float(np.linalg.norm(solution.variance_error[:dimension, :dimension])) / dimension
    return Overlaps(alignment(weights), q, q_self, error, q / q_self if q_self > 0 else math.nan)


def contrast(solution: InstanceSolution | Solution) -> Any:
    """Contrast ratio of the mean, see `contrast_ratio` (SG Fig. 4a).

    Of a `numerics.solution.Solution`, which has it already, its attribute.
    """
    if isinstance(solution, Solution):
        return solution.contrast
    _check_kind(solution)
    return contrast_ratio(solution.mean[:, :-1])


def train_error(instance: Instance, weights: FloatArray) -> float:
    """Mean of (y_t - s.W)^2 over the data set, for weights (D+1, D), in double precision.

    >>> train_error(Instance(np.ones((1, 2)), np.ones((1, 1)), np.array([3.0])), np.zeros((2, 1)))
    9.0
    """
    residual = instance.label - instance.features.in_double().predict(weights)
    return float(np.mean(residual**2))


def alignment(weights: FloatArray) -> float:
    """m = Tr W/D over the block, for weights (D+1, D) or (D, D)."""
    return float(np.trace(weights)) / weights.shape[1]


def overlap(weights: FloatArray) -> float:
    """q = |W|^2/D over the block, for weights (D+1, D) or (D, D)."""
    return float(np.sum(weights[: weights.shape[1]] ** 2)) / weights.shape[1]


def contrast_ratio(weights: FloatArray) -> float:
    """<W, 1>/(|W| |1|) over the (D+1) x (D+1) matrix whose active columns are the weights (D+1, D); NaN for W = 0.

    Without last row, weights (D, D), over the D x D matrix: there is no label to mask, and 1 still is what a perfect
    layer learns.

    >>> f"{contrast_ratio(np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]])) ** 2:.6f}"
    '0.666667'
    """
    norm = float(np.sum(weights**2))
    return float(np.trace(weights)) / math.sqrt(weights.shape[0] * norm) if norm > 0 else math.nan


def _forms_by_solves(instance: Instance, features: FeatureOperator, ridge0: float) -> FloatArray:
    """s^T A^{-1} s for M prompts, (M,), by conjugate gradients."""
    if cause := zero_modes(instance.features.shape, ridge0):
        raise ParameterError(
            f"{cause}: new prompts meet zero modes, where the standard deviation is infinite; use ridge0 > 0"
        )
    count, spins = features.shape
    result = np.empty(count)
    for part in chunks(count, _BATCH_ELEMENTS // spins):
        batch = FeatureOperator(features.context[part], features.query[part]).in_double()
        tensors = batch.dense().reshape(-1, *batch.weight_shape)
        found = response_solve(instance.features, tensors, ridge0, tolerance=_TOLERANCE, max_iterations=10_000)
        if np.any(found.residual > _TOLERANCE):
            raise ConvergenceError(
                f"the solves for the error bars stopped at a relative residual of {np.max(found.residual):.1e}, wanted "
                f"{_TOLERANCE:.0e}; use a larger ridge0, or kind='diagonal'"
            )
        result[part] = dots(tensors, found.weights)
    return result
