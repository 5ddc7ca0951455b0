"""What each test direction costs: the derived equation on sampled pools, sums, simulation, refusals."""

import math
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from scipy import stats

from iclglass.numerics.error_shares import OF_SPECTRA, error_shares
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.status import Status
from iclglass.numerics.task_spectrum import TaskSpectrum
from iclglass.replica import symbols as S
from iclglass.replica.derivation import derive
from iclglass.validation.crosscheck import compare
from iclglass.validation.simulation import simulate

TASKS = TaskSpectrum.from_eigenvalues([2.0, 0.8, 0.2], test=[0.3, 0.0, 2.4])
POINT = {"task_diversity": 0.8, "context_length": 1.5, "distinct_tasks": 0.7, "label_noise": 0.2, "ridge": 0.1}


def test_costs_are_the_derived_ones_on_sampled_pools():
    """D = 60 and 120, 100 pools each, 2 v(120) - v(60): k_* in the pools' eigenbasis. False-alarm rate 1 % together."""
    found, solution = error_shares(**POINT, tasks=TASKS), solve(**POINT, tasks=TASKS)
    omega = math.sqrt(solution.e_train / solution.e_idg)
    values = {
        S.tau: POINT["task_diversity"],
        S.alpha: POINT["context_length"],
        S.rho: POINT["label_noise"],
        S.nu: POINT["ridge"] / omega,
        S.strength: TASKS.strength,
        S.e_idg: float(solution.e_idg),
    }
    cost = sp.lambdify(S.eigenvalue, derive().pool.directions[0].rhs.subs(values))
    rng = np.random.default_rng(3)
    means, errors = [], []
    for dimension in (60, 120):
        rows = []
        for _ in range(100):
            c = np.repeat(TASKS.pretraining, dimension // 3)
            pool = rng.standard_normal((round(POINT["distinct_tasks"] * dimension), dimension)) * np.sqrt(c)
            r, vectors = np.linalg.eigh(pool.T @ pool / len(pool))
            rows.append((vectors**2 @ cost(np.clip(r, 0, None))).reshape(3, -1).mean(axis=1))
        means.append(np.mean(rows, axis=0))
        errors.append(np.std(rows, axis=0, ddof=1) / 10)
    error = np.hypot(2 * errors[1], errors[0])
    threshold = stats.norm.isf(0.01 / 3 / 2)
    z = (2 * means[1] - means[0] - found.cost) / error
    assert np.abs(z).max() < threshold, z
    assert np.abs((2 * means[1] - means[0] - 1.1 * found.cost) / error).min() > threshold


def test_shares_add_up_and_say_what_a_longer_test_context_leaves():
    found = error_shares(**POINT, tasks=TASKS, test_context_length=[0.5, 3.0, 1e9])
    np.testing.assert_allclose(found.noise + found.share.sum(axis=1), found.e_icl, rtol=1e-14)
    np.testing.assert_allclose(found.share[-1], found.pretrained[-1], rtol=1e-8, atol=1e-12)
    np.testing.assert_array_equal(found.pretrained[0], found.pretrained[1])
    assert np.all(found.share[:, 1] == 0)
    assert np.all(found.cost > 0)
    # The costs do not know the test: they are the slopes of e_icl in the test variance.
    other = error_shares(**POINT, tasks=TaskSpectrum(TASKS.pretraining, np.ones(3), TASKS.weights))
    np.testing.assert_allclose(other.cost, found.cost[1], rtol=1e-14)
    context = float(solve(**POINT, tasks=TASKS).q) / POINT["context_length"]
    for which, cost in enumerate(other.cost):
        errors = [
            solve(**POINT, tasks=TaskSpectrum(TASKS.pretraining, np.eye(3)[which] * size, TASKS.weights)).e_icl
            for size in (1.0, 3.0)
        ]
        assert (errors[1] - errors[0]) / (2 * TASKS.weights[which]) == pytest.approx(cost + context, rel=1e-12)


def test_one_isotropic_direction_is_the_closed_form():
    """Every prompt its own task: e_icl of the generated closed form, on both sides of the threshold."""
    found = error_shares(task_diversity=[0.5, 3.0], context_length=2.0, ridge=[0.0, 0.2], label_noise=0.1)
    np.testing.assert_allclose(found.noise + found.share[:, 0], found.e_icl, rtol=1e-12)
    assert found.share.shape == (2, 1)


def test_what_fails_is_no_number():
    found = error_shares(task_diversity=[1.0, 2.0], context_length=2.0, ridge=0.0, tasks=TASKS)
    assert found.status.tolist() == [Status.DIVERGES, Status.CONVERGED]
    assert np.isnan([*found.share[0], *found.cost[0], found.noise[0], found.e_icl[0]]).all()
    with pytest.raises(ParameterTypeError, match="unexpected keyword argument 'l1'"):
        error_shares(**POINT, l1=1.0)
    with pytest.raises(ParameterError, match=r"label_noise = -1\.0"):
        error_shares(**{**POINT, "label_noise": -1.0})


@pytest.mark.slow
def test_shares_against_simulation():
    """Data sets tested along one direction at a time, extrapolated in 1/D as in `validate`; z within its limit.

    The shares of two directions exchanged are refused.
    """
    z = []
    for which in range(3):
        tasks = TaskSpectrum(TASKS.pretraining, 3 * np.eye(3)[which], TASKS.weights)
        samples = simulate(**POINT, tasks=tasks, dimensions=(9, 12, 18, 24), samples=300, seed=5)

        for shift in (0, 1):

            def shared(shift=shift, **point):
                point = {name: value for name, value in point.items() if name in OF_SPECTRA}
                spectrum = point["tasks"]
                size = spectrum.test.size
                tested = np.roll(spectrum.test, shift * size // 3)
                found = error_shares(**{**point, "tasks": TaskSpectrum(spectrum.pretraining, tested, spectrum.weights)})
                return replace(solve(**point), e_icl=found.noise + found.share.sum(axis=-1))

            (row,) = [
                row for row in compare(samples, theory=shared, largest_unseen_bias=0.4).rows if row.quantity == "e_icl"
            ]
            z.append((shift, row.z))
            assert row.agrees is (shift == 0), z
    print("\nz of the shares:", z)
