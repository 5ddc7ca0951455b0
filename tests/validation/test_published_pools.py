"""Other groups' published simulations with pools of tasks, none of which was used to build the theory.

Their layer: tokens of variance 1/D and labels of order one (`last_feature` "scaled-tokens"), the norm N, a pool of
K = floor(kappa D) tasks on the sphere |w|^2 = D, and new test tasks on it. The theory is solved for pools of that law
and averaged over them; nothing is fitted. 0.5 % of the theory is allowed for what it neglects. A few of their points
are held here; notes/finite_size.md says what all of them gave.
"""

import math

import numpy as np
import pytest

from iclglass.numerics.finite_pool import solve_pools
from iclglass.numerics.last_row import LastRow

LAYER = LastRow("scaled-tokens")
NEGLECTED = 0.005
MOST_CHI_SQUARE = 1.5
# Numbers: mean and standard deviation over runs, from the repositories' saved results.
# Pehlevan-Group/incontext-asymptotics-experiments, e_icl - e_idg at D = 32, tau = alpha = 10, rho = 0.01, lam = 1e-6;
# kappa, mean, standard deviation of 20 runs.
TASK_GAP = np.array([[0.2, 1.00986, 0.04339], [1.0, 0.19065, 0.01762], [4.0, 0.0098046, 0.0012755]])
# Pehlevan-Group/icl-asymptotic, double descent at D = 100, alpha = 1, kappa = 0.5, rho = 0.01, lam = 1e-8;
# tau, e_icl and its standard deviation, e_idg and its, 10 runs.
DOUBLE_DESCENT = np.array([[0.2, 1.04657, 0.00404, 0.80638, 0.00490], [1.15, 4.16739, 0.12035, 2.62900, 0.07426]])


def theory(dimension, task_diversity, context_length, count, label_noise, ridge, *, pools, layer=LAYER):
    """e_icl and e_idg, (pools,): tasks of the pool and new ones on the sphere."""
    tokens = round(context_length * dimension)
    tasks = np.random.default_rng(9).standard_normal((pools, count, dimension))
    tasks *= np.sqrt(dimension) / np.linalg.norm(tasks, axis=2, keepdims=True)
    point = {
        "dimension": float(dimension),
        "prompts": float(round(task_diversity * dimension**2)),
        "context_length": float(tokens),
        "test_context_length": float(tokens),
        "label_noise": label_noise,
        "ridge": ridge,
        "temperature": 0.0,
    }
    found = solve_pools(tasks, point, "N", layer)
    # Moments of u and v for a task of length sqrt(D): y.y = (1 + rho) Z, y.g = Z + sqrt(rho Z) zeta, Z ~ chi2_N.
    block = (tokens * (tokens + 2) + label_noise * tokens + (1 + label_noise) * tokens * (dimension - 1)) / tokens**2
    last = layer.scale(dimension) ** 2 * (1 + label_noise) ** 2 * (tokens + 2) / tokens
    e_icl = 1 + label_noise - 2 * found["m"] + block * found["q"] + last * found["last_row"]
    return e_icl, found["e_idg"]


def z_score(mean, deviation, runs, values):
    own = np.std(values, ddof=1) / math.sqrt(len(values))
    return (mean - np.mean(values)) / math.sqrt(deviation**2 / runs + own**2 + (NEGLECTED * np.mean(values)) ** 2)


@pytest.mark.slow
def test_gap_to_known_tasks():
    z = []
    for kappa, mean, deviation in TASK_GAP:
        e_icl, e_idg = theory(32, 10, 10, math.floor(kappa * 32 + 1e-9), 0.01, 1e-6, pools=24)
        z.append(z_score(mean, deviation, 20, e_icl - e_idg))
    print(f"\ngap to known tasks: chi2/dof {np.mean(np.square(z)):.2f}, largest |z| {np.max(np.abs(z)):.2f}")
    assert np.mean(np.square(z)) <= MOST_CHI_SQUARE
    assert np.max(np.abs(z)) < 3


@pytest.mark.slow
def test_double_descent():
    z = []
    for tau, *published in DOUBLE_DESCENT:
        for (mean, deviation), values in zip(
            (published[:2], published[2:]), theory(100, tau, 1, 50, 0.01, 1e-8, pools=8), strict=True
        ):
            z.append(z_score(mean, deviation, 10, values))
    print(f"\ndouble descent: chi2/dof {np.mean(np.square(z)):.2f}, largest |z| {np.max(np.abs(z)):.2f}")
    assert np.mean(np.square(z)) <= MOST_CHI_SQUARE
    assert np.max(np.abs(z)) < 3
    # SG's last feature is sqrt(D) larger: below the threshold that is 5 %, and refused.
    e_icl, _ = theory(100, 0.2, 1, 50, 0.01, 1e-8, pools=8, layer=LastRow())
    assert abs(z_score(*DOUBLE_DESCENT[0, 1:3], 10, e_icl)) > 5
