"""One data set: our solvers against the dense construction with loops, and against scikit-learn's ridge regression."""

import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.solve import solve_instance
from iclglass.validation.prompts import draw_prompts

__all__ = ["dense_with_loops", "large_instance", "message_passing", "peak_memory", "ridge_regression"]

_RIDGE0, _BETA = 0.01, 100.0
_DAMPING = 0.9
"""Weight of the old message in the published iteration."""
_RESTS = 1e-10
"""Largest change of a mean in a step, relative to the largest mean, at which it has converged."""


def peak_memory(function: Callable[[], object]) -> int:
    """Bytes at the peak of one run."""
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def dense_with_loops(dimension: int, context: int, prompts: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances as the equations read: every prompt's tokens, its outer product, J, spin after spin.

    SG section II and III: s^mu = (1/norm) C x^T, J_ij = -(1/P) sum_mu s_i s_j, and V_i = beta^2 sum_j J_ij^2 v_j,
    v_i = 1/(beta lambda_i - V_i), m_i = v_i beta (h_i + sum_j J_ij m_j), damped.
    """
    rng = np.random.default_rng(1)
    side = dimension + 1
    tokens = rng.standard_normal((prompts, context + 1, side))
    tasks = rng.standard_normal((prompts, dimension))
    features, labels = [], []
    couplings = np.zeros((side**2, side**2))
    for mu in range(prompts):
        tokens[mu, :, dimension] = tokens[mu, :, :dimension] @ tasks[mu] / np.sqrt(dimension)
        labels.append(tokens[mu, context, dimension])
        query = tokens[mu, context].copy()
        query[dimension] = 0  # its label is masked
        correlation = tokens[mu, :context].T @ tokens[mu, :context] / (context + 1)
        features.append(np.outer(correlation[:, dimension], query).ravel())
        couplings -= np.outer(features[-1], features[-1]) / prompts
    fields = np.array(features).T @ np.array(labels) / prompts
    onsite = _RIDGE0 - np.diagonal(couplings)
    np.fill_diagonal(couplings, 0)
    mean, variance = np.zeros(side**2), np.full(side**2, 1 / (_BETA * _RIDGE0))
    change = np.inf
    while change > _RESTS:
        new_mean, new_variance = np.empty_like(mean), np.empty_like(variance)
        for i in range(side**2):
            reaction = _BETA**2 * np.sum(couplings[i] ** 2 * variance)
            new_variance[i] = 1 / (_BETA * onsite[i] - reaction)
            new_mean[i] = new_variance[i] * _BETA * (fields[i] + np.sum(couplings[i] * mean))
        step = (1 - _DAMPING) * (new_mean - mean)
        change = np.max(np.abs(step)) / np.max(np.abs(new_mean))
        mean += step
        variance = _DAMPING * variance + (1 - _DAMPING) * new_variance
    return mean.reshape(side, side), variance.reshape(side, side)


def message_passing(dimension: int, context: int, prompts: int) -> None:
    """The same from nothing by `gamp`, converged as far: draw, solve, and check the residual."""
    data = draw_prompts(dimension=dimension, context=context, prompts=prompts, norm="N+1", rng=np.random.default_rng(1))
    solution = solve_instance(data, ridge0=_RIDGE0, beta=_BETA, tolerance=_RESTS)
    if not solution.residual <= _RESTS:
        raise AssertionError(f"gamp stopped at a residual of {solution.residual:.1e}")


def ridge_regression(prompts: int, dimension: int) -> tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]:
    """The mean weights by scikit-learn's Ridge on the explicit features, and by `gamp`, which gives the variances too.

    Raises ImportError without scikit-learn, AssertionError where the two differ.
    """
    from sklearn.linear_model import Ridge

    data = draw_prompts(dimension=dimension, context=2 * dimension, prompts=prompts, rng=np.random.default_rng(2))

    def regression() -> np.ndarray:
        model = Ridge(alpha=prompts * _RIDGE0, fit_intercept=False)
        return np.asarray(model.fit(data.features.dense(), data.label).coef_).reshape(dimension + 1, dimension)

    def ours() -> np.ndarray:
        return solve_instance(data, ridge0=_RIDGE0, beta=_BETA).mean[:, :-1]

    np.testing.assert_allclose(ours(), regression(), rtol=0, atol=1e-8)
    return regression, ours


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def large_instance(dimension: int = 200, context: int = 200, prompts: int = 80_000) -> str:
    """Means at 40200 spins to a relative residual of 1e-8: seconds, and the rate against that of a matrix product.

    Only the 4 P D^2 operations of each product with S and S^T are counted.
    """
    data: Instance = draw_prompts(dimension=dimension, context=context, prompts=prompts, rng=np.random.default_rng(3))
    start = time.perf_counter()
    solution = solve_instance(data, ridge0=0.1 / dimension, beta=1.0, method="exact", tolerance=1e-8, probes=0)
    seconds = time.perf_counter() - start
    square = np.random.default_rng(4).standard_normal((2000, 2000))
    product = min(_timed(lambda: square @ square) for _ in range(5))
    rate = 4 * prompts * dimension**2 * solution.iterations / seconds
    return (
        f"{data.spins} spins, {prompts} prompts: residual {solution.residual:.1e} after {solution.iterations} steps, "
        f"{seconds:.1f} s, {rate / 1e9:.0f} Gflop/s, {rate / (2 * 2000**3 / product):.0%} of DGEMM"
    )
