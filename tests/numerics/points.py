"""Random points of the whole range of parameters, their solution, and its distance from many digits."""

import math

import mpmath
import numpy as np

from iclglass.numerics.saddle_point import solve

NAMES = (
    "task_diversity",
    "context_length",
    "test_context_length",
    "label_noise",
    "ridge",
    "temperature",
    "distinct_tasks",
)


def random_points(seed, size):
    """Rows in the order of NAMES; every parameter often on its edges, tau and kappa near 1."""
    rng = np.random.default_rng(seed)
    which = rng.random((7, size))

    def near_one():
        return 1 + rng.choice([-1.0, 1.0], size) * 10.0 ** rng.uniform(-15, -1, size)

    tau, alpha, kappa = (10.0 ** rng.uniform(*ends, size) for ends in ((-3, 3), (-2, 4), (-2, 6)))
    alpha_test = np.where(rng.random(size) < 0.5, alpha, 10.0 ** rng.uniform(-2, 4, size))
    rho = rng.uniform(0, 10, size) * (rng.random(size) < 0.8)
    lam = 10.0 ** rng.uniform(-12, 3, size)
    temperature = 10.0 ** rng.uniform(-6, 3, size) * (rng.random(size) < 0.7)
    tau = np.where(which[0] < 0.1, near_one(), tau)
    tau = np.where((which[0] > 0.1) & (which[0] < 0.2), 1.0, tau)
    tau = np.where(which[0] > 0.94, rng.choice([1e-3, 1e3], size), tau)
    alpha = np.where(which[1] < 0.1, rng.choice([1e-2, 1e4], size), alpha)
    lam = np.where(which[2] < 0.15, 0.0, lam)
    lam = np.where(which[2] > 0.85, rng.choice([1e-12, 1e-9, 1e3], size), lam)
    rho = np.where(which[3] < 0.1, 10.0, rho)
    temperature = np.where(which[4] < 0.1, 1e3, temperature)
    kappa = np.where(which[5] < 0.1, near_one(), kappa)
    kappa = np.where((which[5] > 0.1) & (which[5] < 0.15), 1.0, kappa)
    kappa = np.where((which[5] > 0.15) & (which[5] < 0.25), rng.choice([1e-2, 1e6], size), kappa)
    kappa = np.where((which[5] > 0.25) & (which[5] < 0.33), tau, kappa)
    # The threshold itself has no solution and a test of its own.
    lam = np.where((tau == 1) & (lam == 0), 1e-12, lam)
    return np.stack([tau, alpha, alpha_test, rho, lam, temperature, kappa], axis=1)


def solved(points, **options):
    """Of all columns, or of the first six: one task per prompt."""
    return solve(**dict(zip(NAMES, np.asarray(points).T, strict=False)), **options)


def relative(value, exact):
    """Relative error of a double; infinities must be equal and NaN must be NaN."""
    if mpmath.isnan(exact):
        return 0.0 if math.isnan(value) else math.inf
    if mpmath.isinf(exact) or exact == 0:
        return 0.0 if value == float(exact) else math.inf
    return float(abs(mpmath.mpf(float(value)) / exact - 1))
