"""The pairs. Each runs the obvious slow way and ours on one problem; where both give the same numbers, they must."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import root

from iclglass.numerics.instance.features import FeatureOperator
from iclglass.numerics.saddle_point import solve
from iclglass.validation.prompts import draw_prompts


@dataclass(frozen=True)
class Pair:
    """Seconds for the same work, the slow and the fast way."""

    name: str
    slow: float
    fast: float


def _seconds(function: Callable[[], object], repeats: int) -> float:
    """Shortest of several runs: the least disturbed one."""
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def closed_form_against_root_loop() -> Pair:
    """The saddle-point equations: `solve` on 10^6 points against a loop of scipy.optimize.root on 10^4 of them.

    Times are for one million points; the loop's is scaled, it is linear in the number of points.
    """
    rng = np.random.default_rng(1)
    size, part = 1_000_000, 10_000
    tau, alpha = rng.uniform(0.1, 4, size), rng.uniform(0.2, 20, size)
    lam, rho = 10 ** rng.uniform(-2, 1, size), rng.uniform(0, 1, size)

    def equations(x: np.ndarray, t: float, a: float, ridge: float, noise: float) -> list[float]:
        chi, m, q = x
        return [
            1 / chi - ridge - a / (1 + a * chi / t),
            m - chi / (1 + a * chi / t),
            q - m**2 - a / t * m**2 * (1 + noise - 2 * m + a * q),
        ]

    def loop() -> np.ndarray:
        points = zip(tau[:part], (1 + (1 + rho) / alpha)[:part], lam[:part], rho[:part], strict=True)
        # Started at the ridge-only susceptibility, not at 1, where it finds the wrong branch for many points.
        return np.array([root(equations, [1 / (p[2] + p[1]), 0.1, 0.1], args=p, method="hybr").x[1] for p in points])

    def vectorised() -> np.ndarray:
        return solve(task_diversity=tau, context_length=alpha, ridge=lam, label_noise=rho).m

    right = np.isclose(loop(), vectorised()[:part], rtol=1e-6)
    if right.mean() < 0.99:
        raise AssertionError(f"the loop agrees with the closed form at only {right.mean():.1%} of the points")
    name = f"solve, 10^6 points: loop of root(), {right.mean():.2%} right"
    return Pair(name, _seconds(loop, 3) * size / part, _seconds(vectorised, 5))


def operator_against_dense_features() -> Pair:
    """S^T S W at D = 40, P = 3200: features built explicitly against the rank-one operator."""
    prompts = draw_prompts(dimension=40, context=40, prompts=3200, rng=np.random.default_rng(2))
    operator = FeatureOperator(prompts.context, prompts.query)
    weights = np.random.default_rng(3).standard_normal((41, 40))

    def dense() -> np.ndarray:
        features = operator.dense()
        return (features.T @ (features @ weights.ravel())).reshape(weights.shape)

    def matrix_free() -> np.ndarray:
        return operator.adjoint(operator.predict(weights))

    np.testing.assert_allclose(dense(), matrix_free(), rtol=1e-10)
    return Pair("S^T S W, D = 40, P = 3200: explicit features", _seconds(dense, 3), _seconds(matrix_free, 20))


def prompt_laws() -> Pair:
    """Draw 2000 prompts at D = 40, N = 400: all tokens against the O(D) law."""

    def draw(method: str) -> Callable[[], object]:
        return lambda: draw_prompts(
            dimension=40, context=400, prompts=2000, method=method, rng=np.random.default_rng(4)
        )

    return Pair(
        "2000 prompts, D = 40, N = 400: all tokens drawn", _seconds(draw("tokens"), 3), _seconds(draw("reduced"), 5)
    )


def million_points() -> float:
    """Seconds for all quantities at 10^6 points."""
    tau, alpha = np.linspace(0.1, 4, 1000)[:, None], np.geomspace(0.2, 20, 1000)[None, :]
    return _seconds(lambda: solve(task_diversity=tau, context_length=alpha, temperature=0.1), 3)
