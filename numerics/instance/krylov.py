"""Solves with A = S^T S/P + lambda0 without storing it: preconditioned conjugate gradients, many right-hand sides.

Preconditioner. Features are rank-one tensors u (x) xt, so the closest guess of S^T S/P that knows only second moments
is a Kronecker product, M = (mean of u u^T) (x) (mean of xt xt^T) + lambda0, inverted by the eigenvectors of its two
small factors at O(D^3) a time. It takes away what does not depend on the prompts' number: the last row, which is of
another order than the block, and any covariance of the tokens. What is left is A's Marchenko-Pastur spread.

Refinement. The recursion's residual drifts from the true one, in single precision soon. So each solve is repeated on
the true residual, taken in double precision whatever the data are, until that residual, not the recursion's, is small
enough or stops falling.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.instance.data import Instance
from iclglass.numerics.running.blas import own_threads

__all__ = ["KrylovSolution", "KrylovState", "ResponseFeatures", "dots", "relative_residual", "response_solve"]

FloatArray = NDArray[np.float64]
Map = Callable[[FloatArray], FloatArray]
Progress = Callable[[int, float], None]

_GAIN = {4: 1e-4, 8: 1e-10}
"""Factor by which one run may lower the residual before it is taken anew, by the item size of the data: above
the rounding of one product, about 1e-7 and 1e-16, by the growth of the drift over a run."""

_NOISY = 10
"""Prompts for each dimension below which sampled second moments are taken to be diagonal."""

_STALLED = 0.5
"""A run that leaves more than this of the true residual has met rounding, not the system."""


class ResponseFeatures(Protocol):
    """What solves with A = S^T S/P + lambda0 need of the features, in memory or not; see `FeatureOperator`."""

    @property
    def shape(self) -> tuple[int, int]:
        """(P, n), the shape of S."""

    @property
    def weight_shape(self) -> tuple[int, int]:
        """(D+1, D), the shape of W."""

    @property
    def arithmetic(self) -> np.dtype[Any]:
        """The type the products are taken in."""

    def in_double(self) -> ResponseFeatures:
        """The same operator with every product in double precision."""

    def normal(self, weights: FloatArray) -> FloatArray:
        """S^T S W for weights (D+1, D) or a stack of them."""

    def second_moments(self) -> tuple[FloatArray, FloatArray]:
        """Means of u u^T, (D+1, D+1), and of xt xt^T, (D, D), over the prompts."""

    def diagonal(self) -> FloatArray:
        """The diagonal of S^T S/P, (D+1, D)."""


@dataclass(frozen=True, eq=False)
class KrylovSolution:
    """Solutions of A W = h for K right-hand sides.

    weights : (K, D+1, D).    residual : (K,), |h - A W|/|h| in double precision (0 for h = 0).
    iterations : steps of the slowest.    history : (iterations,), the largest of the recursion's relative residuals.
    stalled : rounding, not the limit of iterations, ended it above the tolerance.
    """

    weights: FloatArray
    residual: FloatArray
    iterations: int
    history: FloatArray
    stalled: bool


@dataclass(frozen=True, eq=False)
class KrylovState:
    """A solve between two steps: with the same operator and fields it goes on from there, bit for bit.

    weights, residual : (K, D+1, D), what the runs before this one have reached, and h - A weights in double precision.
    correction, direction, remainder : of this run, which began at zero: what it has reached, (K, D+1, D); the next
        direction and the recursion's residual, (k, D+1, D), of the k systems that are not done.
    active : (k,), which these are.    product : (k,), remainder times preconditioned remainder.
    target : (K,), norms of the residual at which this run ends.    history : see `KrylovSolution`.
    """

    weights: FloatArray
    residual: FloatArray
    correction: FloatArray
    direction: FloatArray
    remainder: FloatArray
    active: NDArray[np.int64]
    product: FloatArray
    target: FloatArray
    history: FloatArray


@own_threads()
def response_solve(
    features: ResponseFeatures,
    fields: FloatArray,
    ridge0: float,
    *,
    tolerance: float,
    max_iterations: int,
    minimum_norm: bool = False,
    initial: FloatArray | None = None,
    resumed: KrylovState | None = None,
    keep: Callable[[KrylovState], None] | None = None,
    progress: Progress | None = None,
) -> KrylovSolution:
    """Solve (S^T S/P + ridge0) W = h for a stack of fields h, (K, D+1, D).

    minimum_norm: no preconditioner, so that with a singular A the limit ridge0 -> 0 is found, the W of minimum norm
    (h must be in the range of S^T, as S^T y/P is).
    initial: weights (K, D+1, D) to start from instead of zero.
    resumed: a state to go on from; then initial is not looked at.
    keep: called with the state after each step. Its arrays do not change afterwards.
    progress: called with (steps done, the largest of the recursion's relative residuals) after each step.

    >>> from iclglass.numerics.instance.features import FeatureOperator
    >>> rng = np.random.default_rng(1)
    >>> features = FeatureOperator(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)))
    >>> found = response_solve(features, np.ones((1, 4, 3)), 0.1, tolerance=1e-12, max_iterations=100)
    >>> bool(np.allclose(features.normal(found.weights) / 30 + 0.1 * found.weights, 1))
    True
    """
    count = features.shape[0]
    double = features.in_double()

    def apply(weights: FloatArray) -> FloatArray:
        return features.normal(weights) / count + ridge0 * weights

    def residual_of(weights: FloatArray) -> FloatArray:
        product = double.normal(weights)
        product /= -count
        product -= ridge0 * weights
        product += fields
        return product

    precondition = _identity if minimum_norm else _kronecker_inverse(features, ridge0)
    scale = _norms(fields)
    scale[scale == 0] = 1.0
    if resumed is not None:
        weights, residual = resumed.weights, resumed.residual
    elif initial is not None:
        weights = np.array(initial, dtype=np.float64)
        residual = residual_of(weights)
    else:
        weights, residual = np.zeros(fields.shape), np.array(fields, dtype=np.float64)
    relative = _norms(residual) / scale
    history = np.empty(0) if resumed is None else resumed.history
    state = resumed
    gain = _GAIN[features.arithmetic.itemsize]
    stalled = False
    while np.any(relative > tolerance) and len(history) < max_iterations and not stalled:
        if state is None:
            target = np.maximum(tolerance / 2, gain * relative) * scale
            state = _begin(weights, residual, target, precondition, history)
        while state.active.size and len(history) < max_iterations:
            state = _step(state, apply, precondition, scale)
            history = state.history
            if keep is not None:
                keep(state)
            if progress is not None:
                progress(len(history), float(history[-1]))
        attempt = weights + state.correction
        state = None
        residual_anew = residual_of(attempt)
        relative_anew = _norms(residual_anew) / scale
        worse = relative_anew > relative
        attempt[worse], residual_anew[worse], relative_anew[worse] = weights[worse], residual[worse], relative[worse]
        stuck = (relative > tolerance) & (relative_anew > _STALLED * relative)
        weights, residual, relative = attempt, residual_anew, relative_anew
        stalled = bool(np.any(stuck) and np.any(relative > tolerance)) and len(history) < max_iterations
    return KrylovSolution(weights, relative, len(history), history, stalled)


def relative_residual(instance: Instance, weights: FloatArray, ridge0: float) -> float:
    """|h - A W|/|h| of weights (D+1, D), h = S^T y/P, in double precision whatever the data are; |A W| for h = 0."""
    fields = instance.fields
    difference = fields - instance.features.in_double().normal(weights) / instance.prompts - ridge0 * weights
    scale = float(np.linalg.norm(fields))
    return float(np.linalg.norm(difference)) / (scale if scale > 0 else 1.0)


def _begin(
    weights: FloatArray, residual: FloatArray, target: FloatArray, precondition: Map, history: FloatArray
) -> KrylovState:
    """K independent recursions that share each pass over the data; one that is done leaves."""
    active = np.flatnonzero(_norms(residual) > target)
    remainder = residual[active]
    direction = precondition(remainder)
    product, correction = dots(remainder, direction), np.zeros(residual.shape)
    return KrylovState(weights, residual, correction, direction, remainder, active, product, target, history)


def _step(state: KrylovState, apply: Map, precondition: Map, scale: FloatArray) -> KrylovState:
    """One step of preconditioned conjugate gradients."""
    image = apply(state.direction)
    length = (state.product / dots(state.direction, image))[:, None, None]
    correction = state.correction.copy()
    correction[state.active] += length * state.direction
    remainder = state.remainder - length * image
    norms = _norms(remainder)
    largest = np.max(norms / scale[state.active])
    left = norms > state.target[state.active]
    remainder = remainder[left]
    conditioned = precondition(remainder)
    product = dots(remainder, conditioned)
    return replace(
        state,
        correction=correction,
        direction=conditioned + (product / state.product[left])[:, None, None] * state.direction[left],
        remainder=remainder,
        active=state.active[left],
        product=product,
        history=np.append(state.history, largest),
    )


def _kronecker_inverse(features: ResponseFeatures, ridge0: float) -> Map:
    """W -> (C_u (x) C_x + ridge0)^{-1} W, with C_u and C_x the mean of u u^T and of xt xt^T over the prompts."""
    contexts, queries = map(functools.partial(_shrunk, features), features.second_moments())
    rows, left = np.linalg.eigh(contexts)
    columns, right = np.linalg.eigh(queries)
    eigenvalues = np.outer(rows, columns) + ridge0
    # Directions that no prompt reaches: without ridge their eigenvalue is zero or its rounding, and so is any residual.
    floor = float(np.finfo(np.float64).eps) * float(np.max(eigenvalues))
    inverse = 1 / np.maximum(eigenvalues, floor) if floor > 0 else np.ones_like(eigenvalues)

    def apply(weights: FloatArray) -> FloatArray:
        rotated = left.T @ weights @ right
        rotated *= inverse
        product: FloatArray = left @ rotated @ right.T
        return product

    return apply


def _shrunk(features: ResponseFeatures, moments: FloatArray) -> FloatArray:
    """Second moments with their off-diagonal part scaled down where few prompts leave it mostly noise."""
    trust = max(0.0, 1 - _NOISY * moments.shape[0] / features.shape[0])
    return trust * moments + (1 - trust) * np.diag(np.diagonal(moments))


def _identity(weights: FloatArray) -> FloatArray:
    return weights


def dots(left: FloatArray, right: FloatArray) -> FloatArray:
    """Inner products of two stacks, matrix by matrix, (K,)."""
    products: FloatArray = np.einsum("kij,kij->k", left, right)
    return products


def _norms(stack: FloatArray) -> FloatArray:
    norms: FloatArray = np.sqrt(dots(stack, stack))
    return norms
