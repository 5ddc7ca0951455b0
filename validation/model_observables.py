r"""Order parameters and errors of given weights of one data set: any loss, any penalty, linear or sign labels.

    m = Tr W_block/D      q = |W_block|^2/D      v = (1/D) sum_{i != j} W_ij^2
    density = share of weights that are not zero; density_off_diagonal = the same off the block's diagonal
    rank = share of the block's singular values that are not zero
    train_loss = (1/P) sum l(y, f)      e_train = (1/P) sum (y - f)^2
    test_loss, error_rate, e_icl: means over new prompts with new tasks

Errors on new prompts. Given task w and context u, the teacher's field g (noise included) and the prediction
f = xt.W^T u are jointly Gaussian over query and noise,

    E g^2 = |w|^2/D + rho,      E f^2 = |W^T u|^2,      E g f = w.W^T u/sqrt(D),

so query and noise are integrated, not drawn: the error rate of a prompt is arccos(correlation)/pi, its squared error
E g^2 - 2 E g f + E f^2, its loss an integral over one Gaussian,

    linear labels   over f - g, and for a loss that does not depend on it alone over g given f - g
    sign labels     over f, with P(y = 1 | f) = Phi of a multiple of f.

What is drawn is (w, u). The mean over them has a standard error, given next to it. For linear labels e_icl is exact
(`validation.population`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields

import numpy as np
from scipy.special import ndtr

from iclglass.numerics.arguments import FloatArray, check_count, check_type, doubles
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.predictions import alignment, overlap
from iclglass.numerics.memory import chunks
from iclglass.validation.minimisers.functions import Loss
from iclglass.validation.observables import weight_quantities
from iclglass.validation.prompts import PromptLaw, Prompts, draw_contexts

__all__ = [
    "QUANTITIES",
    "NewPromptErrors",
    "WeightObservables",
    "errors_on_new_prompts",
    "measure_weights",
    "order_parameters",
]

_SPACING, _REACH = 0.1, 8.0
"""Of the nodes of the integral over a standard normal: a kink of the loss costs 1e-3 of its jump, of either sign."""
_HERMITE = 12
"""Nodes of the second integral, where there is one."""
_CHUNK_ELEMENTS = 1 << 18
_ZERO = 1e-10
"""A singular value below this share of the largest is zero."""


@dataclass(frozen=True)
class NewPromptErrors:
    """Means over new prompts, and their standard errors; error_rate is NaN for linear labels."""

    test_loss: float
    test_loss_error: float
    error_rate: float
    error_rate_error: float
    squared_error: float
    squared_error_error: float


@dataclass(frozen=True)
class WeightObservables:
    """Quantities of the weights of one data set; `test_loss_error`, `error_rate_error` are standard errors."""

    m: float
    q: float
    v: float
    density: float
    density_off_diagonal: float
    rank: float
    train_loss: float
    e_train: float
    test_loss: float
    test_loss_error: float
    error_rate: float
    error_rate_error: float
    e_icl: float

    def to_dict(self) -> dict[str, float]:
        """By name."""
        return asdict(self)


def measure_weights(
    prompts: Prompts, weights: FloatArray, loss: Loss, *, rng: np.random.Generator, draws: int = 4096
) -> WeightObservables:
    """Measure every quantity of weights W of one data set.

    Parameters
    ----------
    prompts : Prompts
        Isotropic tokens. Test prompts have new isotropic tasks and are otherwise of the same law.
    weights : (D+1, D) array, (D, D) without last row
    loss : Loss
    rng, draws
        Test prompts that are drawn, of which query and noise are integrated over.

    Returns
    -------
    WeightObservables

    Examples
    --------
    >>> from iclglass.validation.minimisers.losses import SQUARED_ERROR
    >>> from iclglass.validation.prompts import draw_prompts
    >>> data = draw_prompts(dimension=4, context=8, prompts=3, rng=np.random.default_rng(1))
    >>> found = measure_weights(data, np.eye(5, 4), SQUARED_ERROR, rng=np.random.default_rng(2))
    >>> found.m, found.v, found.density_off_diagonal, found.rank
    (1.0, 0.0, 0.0, 1.0)
    """
    weights = _checked(prompts, weights)
    prediction = prompts.features.in_double().predict(weights)
    tested = errors_on_new_prompts(prompts, weights, loss, rng=rng, draws=draws)
    linear = prompts.labels == "linear"
    return WeightObservables(
        **order_parameters(weights),
        train_loss=float(np.mean(loss.value(prompts.label, prediction))),
        e_train=float(np.mean((prompts.label - prediction) ** 2)),
        test_loss=tested.test_loss,
        test_loss_error=tested.test_loss_error,
        error_rate=tested.error_rate,
        error_rate_error=tested.error_rate_error,
        e_icl=weight_quantities(prompts, weights)["e_icl"] if linear else tested.squared_error,
    )


def order_parameters(weights: FloatArray) -> dict[str, float]:
    """m, q, v, densities and rank of weights, (D+1, D) or (D, D).

    >>> order_parameters(np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]))["density_off_diagonal"]
    0.5
    """
    dimension = weights.shape[1]
    block = weights[:dimension]
    off = block[~np.eye(dimension, dtype=bool)]
    values = np.linalg.svd(block, compute_uv=False)
    return {
        "m": alignment(weights),
        "q": overlap(weights),
        "v": float(np.sum(off**2)) / dimension,
        "density": float(np.mean(weights != 0)),
        "density_off_diagonal": float(np.mean(off != 0)),
        "rank": float(np.mean(values > _ZERO * values[0])) if values[0] > 0 else 0.0,
    }


def errors_on_new_prompts(
    prompts: Prompts,
    weights: FloatArray,
    loss: Loss,
    *,
    rng: np.random.Generator,
    draws: int = 4096,
    tasks: FloatArray | None = None,
) -> NewPromptErrors:
    """Errors of weights on new prompts of the law of the data set, with new isotropic tasks or those of a pool."""
    weights = _checked(prompts, weights)
    check_type("rng", rng, np.random.Generator, "a numpy.random.Generator")
    law = PromptLaw(
        dimension=prompts.dimension,
        context=prompts.context_count,
        prompts=check_count("draws", draws, minimum=2),
        label_noise=prompts.label_noise,
        norm=prompts.norm,
        labels=prompts.labels,
        **prompts.layer.to_dict(),
    )
    task, context = draw_contexts(law, tasks=tasks, rng=rng)
    slopes = context @ weights  # f = xt.slopes
    teacher = np.einsum("pd,pd->p", task, task) / law.dimension + law.label_noise
    joint = np.einsum("pd,pd->p", task, slopes) / math.sqrt(law.dimension)
    spread = np.einsum("pd,pd->p", slopes, slopes)
    if law.labels == "linear":
        losses = _linear_losses(loss, teacher, joint, spread)
        wrong = np.full_like(joint, math.nan)
        squared = teacher - 2 * joint + spread
    else:
        size = np.sqrt(teacher * spread)
        correlation = np.divide(joint, size, out=np.zeros_like(joint), where=size > 0)
        correlation = np.clip(correlation, -1.0, 1.0)
        losses = _sign_losses(loss, correlation, np.sqrt(spread))
        wrong = np.arccos(correlation) / math.pi
        # E y f = E |g| f/sqrt(E g^2) along g
        squared = 1 - 2 * math.sqrt(2 / math.pi) * correlation * np.sqrt(spread) + spread
    return NewPromptErrors(*_mean(losses), *_mean(wrong), *_mean(squared))


def _linear_losses(loss: Loss, teacher: FloatArray, joint: FloatArray, spread: FloatArray) -> FloatArray:
    """Mean loss of every prompt, (P,), y = g."""
    nodes, weights = _normal_nodes()
    # the variance of f - g; max: no rounding below zero
    width = np.sqrt(np.maximum(teacher - 2 * joint + spread, 0.0))
    result = np.empty_like(joint)
    if loss.translation:
        for part in _parts(joint.size, nodes.size):
            distance = width[part, None] * nodes
            result[part] = loss.value(np.zeros_like(distance), distance) @ weights
        return result
    second, shares = np.polynomial.hermite_e.hermegauss(_HERMITE)
    shares = shares / shares.sum()
    along = np.divide(joint - teacher, width, out=np.zeros_like(width), where=width > 0)  # E g (f - g)/width
    across = np.sqrt(np.maximum(teacher - along**2, 0.0))
    for part in _parts(joint.size, nodes.size * _HERMITE):
        distance = (width[part, None] * nodes)[:, :, None]
        label = (along[part, None] * nodes)[:, :, None] + across[part, None, None] * second
        result[part] = (loss.value(label, label + distance) @ shares) @ weights
    return result


def _sign_losses(loss: Loss, correlation: FloatArray, width: FloatArray) -> FloatArray:
    """Mean loss of every prompt, (P,), y = sign g, for f = width z."""
    nodes, weights = _normal_nodes()
    slope = correlation / np.sqrt(np.maximum(1 - correlation**2, 1e-30))
    result = np.empty_like(width)
    for part in _parts(width.size, nodes.size):
        prediction = width[part, None] * nodes
        positive = ndtr(slope[part, None] * nodes)
        one = np.ones_like(prediction)
        mean = positive * loss.value(one, prediction) + (1 - positive) * loss.value(-one, prediction)
        result[part] = mean @ weights
    return result


def _normal_nodes() -> tuple[FloatArray, FloatArray]:
    """Nodes of the standard normal, equally spaced: exact to rounding for smooth functions."""
    count = round(_REACH / _SPACING)
    nodes = np.arange(-count, count + 1, dtype=np.float64) * _SPACING
    density: FloatArray = np.exp(-(nodes**2) / 2)
    return nodes, density / density.sum()


def _mean(values: FloatArray) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(values.size))


def _parts(count: int, elements: int) -> Iterator[slice]:
    return chunks(count, max(1, _CHUNK_ELEMENTS // elements))


def _checked(prompts: Prompts, weights: FloatArray) -> FloatArray:
    check_type("prompts", prompts, Prompts, "Prompts")
    if prompts.token_covariance is not None:
        raise ParameterError("errors on new prompts are those of isotropic tokens: draw them without token_covariance")
    checked = doubles("weights", weights)
    if checked.shape != prompts.features.weight_shape:
        raise ParameterError(f"weights must have shape {prompts.features.weight_shape}, got {checked.shape}")
    return checked


QUANTITIES: tuple[str, ...] = tuple(field.name for field in fields(WeightObservables))
