"""Bayes estimators: against direct simulation, closed forms, each other, and attention, which cannot beat them."""

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.task_spectrum import TaskSpectrum
from iclglass.validation.baselines import known_law, known_pool
from iclglass.validation.baselines.baselines import baselines

# |z| of one comparison: false alarm 6.3e-5.
Z = 4.0


def simulated_ridge(size, context, noise, prompts, seed):
    """Squared errors on queries of ridge regression on contexts, token by token, nothing averaged analytically."""
    rng = np.random.default_rng(seed)
    task = rng.standard_normal((prompts, size))
    tokens, query = rng.standard_normal((prompts, context, size)), rng.standard_normal((prompts, size))
    scaled = tokens / np.sqrt(size)
    labels = (scaled @ task[:, :, None])[:, :, 0] + np.sqrt(noise) * rng.standard_normal((prompts, context))
    right = np.swapaxes(scaled, 1, 2) @ labels[:, :, None]
    found = np.linalg.solve(np.swapaxes(scaled, 1, 2) @ scaled + noise * np.eye(size), right)[:, :, 0]
    answer = np.sqrt(noise) * rng.standard_normal(prompts) + ((task - found) * query).sum(axis=1) / np.sqrt(size)
    return answer**2


@pytest.mark.parametrize(("size", "context", "noise"), [(6, 3, 0.2), (6, 9, 0.05), (12, 12, 1.0)])
def test_ridge_at_finite_dimension_is_what_ridge_regression_does(size, context, noise):
    errors = simulated_ridge(size, context, noise, 60000, seed=3)
    value, spread = known_law.error_at(size, context, noise, seed=0)
    error = errors.std() / np.sqrt(errors.size)
    assert abs(errors.mean() - value) < Z * np.hypot(error, spread)
    assert spread < 2e-3 * value
    # The closed form of D -> infinity would be seen to be another number.
    limit = float(known_law.asymptotic_error(np.array(context / size), np.array(noise)))
    assert abs(value - limit) > Z * spread


def test_standard_error_of_ridge_covers():
    values = np.array([known_law.error_at(4, 5, 0.3, seed=seed) for seed in range(40)])
    z = (values[:, 0] - values[:, 0].mean()) / values[:, 1]
    assert 0.5 < z.std(ddof=1) < 1.6  # chi-square with 39 degrees of freedom, 1e-4 either side


def test_ridge_joins_its_closed_form():
    """The distance falls as 1/D; as the noise vanishes the error is that of the missing directions."""
    limit = float(baselines(context_length=1.0, label_noise=0.1).ridge.e_icl)
    distance = [known_law.error_at(size, size, 0.1, seed=1)[0] - limit for size in (16, 64)]
    assert distance[0] / distance[1] == pytest.approx(4, rel=0.2)
    assert 0 < distance[1] < 3e-3
    quiet = baselines(context_length=[0.25, 1.0, 4.0], label_noise=1e-12).ridge.e_icl
    np.testing.assert_allclose(quiet, [0.75, 1e-6, 1e-12 * (1 + 1 / 3)], rtol=1e-5)
    assert known_law.error_at(8, 2, 0.0, seed=0) == (0.75, 0.0)


def test_a_pool_of_very_many_tasks_is_their_law():
    """dMMSE -> ridge as K -> infinity, in few dimensions: K = 4, 64, 4096 in D = 2."""
    exact, _ = known_law.error_at(2, 3, 0.5, seed=0)
    found = [known_pool.errors_at(2, 3, count, 0.5, new_task=True, samples=300, seed=2) for count in (4, 64, 4096)]
    distance = [value - exact for value, _ in found]
    assert distance[0] > 10 * found[0][1]
    assert distance[0] > 2 * distance[1] > 0
    assert abs(distance[2]) < Z * found[2][1]
    inside = known_pool.errors_at(2, 3, 4096, 0.5, new_task=False, samples=300, seed=2)
    assert abs(inside[0] - exact) < Z * inside[1]
    same = baselines(context_length=1.5, label_noise=0.5, dimension=2)
    assert same.dmmse.e_icl == same.ridge.e_icl


def test_one_task_is_known_beforehand():
    """K = 1: no error on it but the noise; on new ones E |w - w'|^2/D = 2."""
    assert known_pool.errors_at(6, 4, 1, 0.3, new_task=False, samples=4, seed=0) == (0.3, 0.0)
    value, spread = known_pool.errors_at(6, 4, 1, 0.3, new_task=True, samples=400, seed=0)
    assert abs(value - 2.3) < Z * spread


def test_without_noise_the_best_fitting_task_has_the_weight():
    value, spread = known_pool.errors_at(6, 4, 5, 0.0, new_task=False, samples=20, seed=0)
    assert (value, spread) == (pytest.approx(0.0, abs=1e-25), pytest.approx(0.0, abs=1e-25))
    quiet = known_pool.errors_at(6, 4, 5, 1e-6, new_task=True, samples=20, seed=0)[0]
    assert known_pool.errors_at(6, 4, 5, 0.0, new_task=True, samples=20, seed=0)[0] == pytest.approx(quiet, rel=1e-2)


def test_no_attention_beats_who_knows_the_law_on_new_tasks_or_the_pool_on_its_tasks():
    """Over a grid of both limits, each at its best ridge of several."""
    alpha, noise = np.array([0.25, 1.0, 4.0, 16.0])[:, None], np.array([0.01, 0.1, 1.0])
    bound = baselines(context_length=alpha, label_noise=noise)
    law = {"context_length": alpha, "label_noise": noise}
    for tau in (0.5, 2.0, 100.0):
        for ridge in (1e-3, 0.1, 1.0):
            assert (solve(task_diversity=tau, ridge=ridge, **law).e_icl > bound.ridge.e_icl).all()
            pools = solve(task_diversity=tau, ridge=ridge, distinct_tasks=0.5, **law)
            assert (pools.e_icl > bound.ridge.e_icl).all()
            assert (pools.e_idg > noise).all()
    law = {"context_length": 2.0, "label_noise": 0.1, "dimension": 8}
    small = baselines(**law, distinct_tasks=1.0)
    for tau, ridge in ((1.0, 0.3), (10.0, 0.01)):
        found = solve(task_diversity=tau, ridge=ridge, distinct_tasks=1.0, **law)
        assert found.e_icl > small.ridge.e_icl
        assert found.e_idg > small.dmmse.e_idg


def test_test_prompts_may_be_longer_and_other_parameters_change_nothing():
    plain = baselines(context_length=[0.5, 1.0], label_noise=0.1, dimension=8, distinct_tasks=0.5)
    other = baselines(
        context_length=[0.5, 1.0], label_noise=0.1, dimension=8, distinct_tasks=0.5, test_context_length=1.0,
        task_diversity=3.0, ridge=1.0,
    )  # fmt: skip
    assert other.ridge.e_icl.tolist() == [plain.ridge.e_icl[1]] * 2
    assert other.dmmse.e_idg.tolist() == plain.dmmse.e_idg.tolist()
    data = plain.to_dataset(("context_length",))
    assert data.e_icl.sel(estimator="ridge").values.tolist() == plain.ridge.e_icl.tolist()


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({}, ParameterTypeError, "context_length is required"),
        ({"context_length": 1.0, "label_noise": -1}, ParameterError, "label_noise = -1"),
        ({"context_length": 1.0, "samples": 1}, ParameterError, "samples must be at least 2"),
        ({"context_length": 1.0, "labels": "sign"}, ParameterError, "the posterior mean of tasks"),
        ({"context_length": 1.0, "dimension": 1}, ParameterError, "dimension = 1 must be"),
        ({"context_length": 0.01, "dimension": 8}, ParameterError, "smallest usable dimension"),
        ({"context_length": 1.0, "tasks": TaskSpectrum.power_law(exponent=1.0)}, ParameterError, "isotropic"),
        ({"context_length": 1.0, "seeds": 1}, ParameterTypeError, "did you mean 'seed'"),
    ],
)
def test_bad_input(given, error, words):
    with pytest.raises(error, match=words):
        baselines(**given)
