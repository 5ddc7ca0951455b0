"""The best pretraining spectrum against brute force, and its certificate against differences of `solve`."""

import numpy as np
import pytest

from iclglass.numerics.best_task_spectrum import best_task_spectrum
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.task_spectrum import TaskSpectrum

POINTS = {
    "interior": ({"task_diversity": 3.0, "context_length": 2.0, "ridge": 0.0, "label_noise": 0.1}, [2.5, 0.4, 0.1]),
    "few tasks": ({"task_diversity": 2.0, "context_length": 2.0, "distinct_tasks": 4.0}, [2.5, 0.4, 0.1]),
    "one direction": ({"task_diversity": 0.5, "context_length": 2.0, "distinct_tasks": 0.4}, [2.5, 0.4, 0.1]),
    "two atoms": (
        {"task_diversity": 2.0, "context_length": 4.0, "distinct_tasks": 2.0, "label_noise": 0.3},
        [1.4, 0.6],
    ),
    "symmetry": ({"task_diversity": 0.98, "context_length": 1.129, "distinct_tasks": 4.91}, [1.0, 1.0, 1.0]),
}


def error(point, share, test, weights):
    return float(solve(**point, tasks=TaskSpectrum(share * (weights @ test) / weights, test, weights)).e_icl)


def found(name, weights=None):
    point, test = POINTS[name]
    tasks = TaskSpectrum.from_eigenvalues(test, weights=weights)
    return point, best_task_spectrum(**point, tasks=tasks), tasks


@pytest.mark.parametrize("name", POINTS)
def test_no_spectrum_of_a_grid_is_better(name):
    """All spectra of two or three atoms on a grid of the simplex; the best of them is next to the one found."""
    point, best, tasks = found(name)
    steps = 100 if tasks.test.size == 2 else 16
    grid = [(i, steps - i) for i in range(steps + 1)]
    if tasks.test.size == 3:
        grid = [(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]
    grid = np.array(grid) / steps
    errors = np.array([error(point, share, tasks.test, tasks.weights) for share in grid])
    assert best.e_icl <= errors.min() * (1 + 1e-12)
    assert best.e_icl >= errors.min() * (1 - 20 / steps**2) or name == "few tasks"
    share = best.tasks.weights * best.tasks.pretraining / best.tasks.strength
    near = np.abs(grid[errors <= errors.min() * (1 + 1e-12)] - share).max(axis=1).min()
    if name != "symmetry":  # there any of three directions is the best one
        assert near <= 1.5 / steps


@pytest.mark.parametrize("name", POINTS)
def test_the_conditions_of_a_minimum_by_differences(name):
    """Variance moved between any two directions changes e_icl as the slopes say: first order, at fixed trace."""
    weights = None if name in ("two atoms", "symmetry") else [0.5, 0.3, 0.2]
    point, best, tasks = found(name, weights)
    trace = best.tasks.strength
    assert trace == pytest.approx(tasks.strength, rel=1e-12)
    assert float(solve(**point, tasks=best.tasks).e_icl) == pytest.approx(best.e_icl, rel=1e-13)
    share = best.tasks.weights * best.tasks.pretraining / trace
    scale = best.e_icl / trace
    step = 1e-4
    for giver in np.flatnonzero(share > 0):
        assert best.slope[giver] == pytest.approx(best.slope.min(), abs=1e-6 * scale)
        for taker in set(range(share.size)) - {giver}:
            moved = np.eye(share.size)[taker] - np.eye(share.size)[giver]
            values = [error(point, share + k * step * moved, tasks.test, tasks.weights) for k in range(5)]
            slope = np.array([-25, 48, -36, 16, -3]) @ values / (12 * step) / trace
            assert slope == pytest.approx(best.slope[taker] - best.slope[giver], abs=1e-6 * scale)
            assert slope > -1e-6 * scale
    assert best.gap <= 1e-6 * best.e_icl


def test_tests_on_all_directions_alike_may_be_prepared_for_by_one_of_them():
    """Not convex: the flat spectrum is stationary by symmetry and worse; three minima, one a direction, are as good."""
    point, best, _ = found("symmetry")
    np.testing.assert_allclose(np.sort(best.tasks.pretraining), [0, 0, 3], atol=1e-6)
    flat = float(solve(**point).e_icl)
    assert best.minima[0] == best.e_icl < flat * 0.97
    assert best.minima[-1] == pytest.approx(flat, rel=1e-9)
    only_flat = best_task_spectrum(**point, tasks=TaskSpectrum.from_eigenvalues(np.ones(3)), starts=1)
    np.testing.assert_allclose(only_flat.tasks.pretraining, 1, rtol=1e-6)


def test_better_than_the_tested_spectrum_and_more_so_with_few_prompts():
    tasks = TaskSpectrum.power_law(1.0, size=20)
    gains, kept = [], []
    for tau, kappa in ((0.5, 1.0), (20.0, 40.0)):
        point = {"task_diversity": tau, "context_length": 2.0, "distinct_tasks": kappa, "label_noise": 0.1}
        best = best_task_spectrum(**point, tasks=tasks, starts=2)
        gains.append(1 - best.e_icl / float(solve(**point, tasks=tasks).e_icl))
        kept.append(int(np.count_nonzero(best.tasks.pretraining)))
    assert gains[0] > 0.1 > gains[1] > 0
    assert kept[0] < 8 < kept[1]


def test_one_direction_leaves_no_choice():
    best = best_task_spectrum(task_diversity=2.0, context_length=1.0)
    assert (best.tasks.pretraining.tolist(), best.gap, best.minima.size) == ([1.0], 0.0, 1)
    assert best.e_icl == pytest.approx(float(solve(task_diversity=2.0, context_length=1.0).e_icl), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"task_diversity": [1.0, 2.0]}, ParameterError, "of 2 points: give those of one"),
        ({"task_diversity": 1.0, "ridge": 0.0}, ParameterError, "infinite error for every spectrum: take ridge > 0"),
        ({"starts": 0}, ParameterError, "starts must be at least 1"),
        ({"starts": 1.5}, ParameterError, "starts must be a whole number"),
        ({"tasks": [1.0, 2.0]}, ParameterTypeError, "tasks must be a TaskSpectrum"),
        ({"dimension": 8}, ParameterTypeError, "unexpected keyword argument 'dimension'"),
    ],
)
def test_bad_input_is_refused(change, kind, message):
    with pytest.raises(kind, match=message):
        best_task_spectrum(**{"task_diversity": 2.0, "context_length": 1.0, **change})
