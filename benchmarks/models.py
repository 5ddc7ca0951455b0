"""Any spins, any loss: `solve` on a grid against one point at a time with quad and scipy.optimize.root.

The slow way is what one writes first for a single model: its own formulas for one prompt and one spin, adaptive
quadrature for each average, a root finder for (m, q, chi). Both run in one process, in processor time, which other
work on the machine disturbs least; where both converge, they agree.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq, root
from scipy.special import ndtr

from benchmarks.pairs import Pair
from iclglass.numerics.saddle_point import solve

POINTS, ALONE = 10_000, 40
"""Points of the grid, and how many of them are solved one by one; that time is scaled, it is linear in them."""
SPACING = 1.0


def _average(function: Callable[[float], float], *breaks: float) -> float:
    """E[function(z)] of a standard normal z."""
    inside = sorted(z for z in breaks if abs(z) < 8)
    ends = [-8.0, *inside, 8.0]

    def integrand(z: float) -> float:
        return function(z) * float(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))

    return float(sum(quad(integrand, low, high, epsabs=1e-10)[0] for low, high in pairwise(ends)))


def _squared_error(m: float, q: float, chi: float, tau: float, alpha: float) -> tuple[float, float, float]:
    a = 1 + 1 / alpha
    screening = 1 / (1 + a * chi / tau)
    return a * screening, screening, a / tau * screening**2 * (1 - 2 * m + a * q)


def _lasso(m: float, q: float, chi: float, tau: float, alpha: float, l1: float) -> list[float]:
    K, M, Q = _squared_error(m, q, chi, tau, alpha)
    kink = l1 / np.sqrt(Q)
    square = _average(lambda z: float(max(np.sqrt(Q) * abs(z) - l1, 0) / K) ** 2, -kink, kink)
    density = _average(lambda z: float(abs(z) > kink), -kink, kink)
    return [M / K, (M / K) ** 2 + square, density / K]


def _binary(m: float, q: float, chi: float, tau: float, alpha: float, temperature: float) -> list[float]:
    K, M, Q = _squared_error(m, q, chi, tau, alpha)
    square = _average(lambda z: float(np.tanh(np.sqrt(Q) * z * SPACING / temperature) ** 2)) * SPACING**2
    magnetization = M / (K + 0.1)
    return [magnetization, magnetization**2 + square, (SPACING**2 - square) / temperature]


def _log_loss(m: float, q: float, chi: float, tau: float, alpha: float, ridge: float) -> list[float]:
    kappa1 = np.sqrt(2 / np.pi)
    a = kappa1**2 + 1 / alpha
    c, cross, variance = a * chi / tau, kappa1 * m, a * q
    left = np.sqrt(1 - cross**2 / variance)

    def pull(w: float) -> float:
        # At label 1; the law of the margin is that of w, weighted with twice the probability of the label.
        f = brentq(lambda f: (f - w) / c - 1 / (1 + np.exp(f)), w, w + c, xtol=1e-13)
        return float((f - w) / c)

    def slope(w: float) -> float:
        f = w + c * pull(w)
        bend = 1 / (4 * np.cosh(f / 2) ** 2)
        return float(-bend / (1 + c * bend))

    def over(function: Callable[[float, float], float]) -> float:
        return _average(
            lambda z: 2 * float(ndtr(cross * z / np.sqrt(variance) / left)) * function(z, float(np.sqrt(variance) * z))
        )

    def teacher(z: float, w: float) -> float:
        u = cross * z / np.sqrt(variance) / left
        mills = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi) / ndtr(u)
        return float(cross / variance * w + left * mills)

    mean_slope = over(lambda z, w: slope(w))
    K = -a * mean_slope
    M = kappa1 * (over(lambda z, w: teacher(z, w) * pull(w)) - cross * mean_slope)
    Q = a / tau * over(lambda z, w: pull(w) ** 2)
    stiffness = K + ridge
    return [M / stiffness, (M**2 + Q) / stiffness**2, 1 / stiffness]


@dataclass(frozen=True)
class Case:
    """One model on its grid: keywords of `solve`, the name of the third parameter, and the obvious map."""

    name: str
    keywords: dict[str, Any]
    third: str
    values: tuple[float, float]
    step: Callable[..., list[float]]
    alone: int = ALONE

    def grid(self) -> dict[str, np.ndarray]:
        """Random points, as columns."""
        rng = np.random.default_rng(1)
        return {
            "task_diversity": rng.uniform(0.5, 3, POINTS),
            "context_length": rng.uniform(1, 5, POINTS),
            self.third: rng.uniform(*self.values, POINTS),
        }


CASES = (
    Case("lasso", {"ridge": 0.0}, "l1", (0.2, 0.8), _lasso),
    Case("log loss, sign labels", {"labels": "sign", "loss": "log_loss"}, "ridge", (0.05, 0.5), _log_loss, 10),
    Case("binary spins at T", {"spins": "binary", "ridge": 0.1}, "temperature", (0.5, 1.5), _binary),
)


def pairs() -> Iterator[Pair]:
    """One pair a case, for 10^4 points each.

    Raises
    ------
    ArithmeticError
        Where the root finder converged, the two ways disagree.
    """
    for case in CASES:
        grid = case.grid()

        def fast(case: Case = case, grid: dict[str, np.ndarray] = grid) -> Any:
            return solve(**case.keywords, **grid)

        def slow(case: Case = case, grid: dict[str, np.ndarray] = grid) -> list[Any]:
            return [_one(case, *(float(column[k]) for column in grid.values())) for k in range(case.alone)]

        found, alone = fast(), slow()
        converged = np.array([each.success for each in alone])
        ours = np.array([found.m[: case.alone], found.q[: case.alone], found.chi[: case.alone]]).T
        theirs = np.array([each.x for each in alone])
        if not np.allclose(ours[converged], theirs[converged], rtol=1e-6):
            raise ArithmeticError(f"{case.name}: solve and the loop disagree")
        seconds = _seconds(slow, 1) * POINTS / case.alone
        yield Pair(
            f"{case.name}, 10^4 points ({converged.mean():.0%} of the loop converged)", seconds, _seconds(fast, 2)
        )


def _seconds(function: Callable[[], object], repeats: int) -> float:
    """Least processor time of several runs."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best


def _one(case: Case, tau: float, alpha: float, third: float) -> Any:
    def residual(x: np.ndarray) -> np.ndarray:
        m, q, chi = x
        # The root finder may leave the region where averages exist.
        return np.array(case.step(m, max(q, m**2 + 1e-9), max(chi, 1e-9), tau, alpha, third)) - x

    return root(residual, [0.5, 0.5, 1.0], method="hybr")


if __name__ == "__main__":
    for pair in pairs():
        print(f"{pair.name:70s} {pair.slow:10.3g} s {pair.fast:10.3g} s {pair.slow / pair.fast:9.3g}")
