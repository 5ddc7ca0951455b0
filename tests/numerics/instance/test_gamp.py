"""Generalised AMP: exact means, variances and free energy to order 1/D, against dense linear algebra."""

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.gamp import gamp
from iclglass.numerics.instance.linear_response import ground_state
from iclglass.numerics.instance.spin_glass import boltzmann
from iclglass.numerics.status import Status
from iclglass.validation.prompts import Prompts, draw_prompts
from tests.numerics.instance.drawn import draw

MEAN = 1e-10  # goal of the solvers: means against a direct solve, absolute, entries of order one
RECURSION = 1e-12  # the same recursion with every matrix written out: order of summation only
# Errors of variances at D = 10, 20, 40 fall with a slope of -1 or steeper: the fitted slope may exceed -1 by chance,
# by SLOPE standard errors with a false-alarm rate of 1.3e-3 (one-sided).
SLOPE = 3.0
# ... and they are small at all, measured at D = 8: 0.069, and 0.0051 of ln Z/n, which is of order one.
VARIANCE, FREE_ENERGY = 0.08, 0.007
TAU, ALPHA, LAM = 4.0, 5.0, 0.1


def scaled(dimension: int, seed: int) -> tuple[Prompts, float]:
    return draw(dimension, round(TAU * dimension**2), context=round(ALPHA * dimension), seed=seed), LAM / dimension


@pytest.mark.parametrize("ridge0", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize(("context", "prompts"), [(10, 50), (200, 420), (10, 420), (50, 1000), (200, 20_000)])
def test_means_are_exact(ridge0, context, prompts):
    data = draw(20, prompts, context=context)
    solution = gamp(data, ridge0=ridge0, beta=100.0)
    assert solution.status is Status.CONVERGED
    assert solution.residual <= 1e-12
    np.testing.assert_allclose(solution.mean[:, :-1], ground_state(data, ridge0), rtol=0, atol=MEAN)
    assert not np.any(solution.mean[:, -1])
    np.testing.assert_allclose(solution.variance[:, -1], 1 / (100.0 * ridge0))


def test_residual_is_that_of_the_mean_and_history_that_with_messages_for_residuals():
    """What it costs nothing to know, S^T z/P - lambda0 m, from the iterates one by one."""
    data, seen, variances = draw(5, 60), [np.zeros((6, 5))], []
    solution = gamp(
        data,
        ridge0=0.1,
        beta=2.0,
        max_iterations=4,
        damping=0.0,
        callback=lambda _, mean, variance: (seen.append(mean.copy()), variances.append(variance.copy())),
    )
    features = data.features.dense()
    fields = features.T @ data.label / data.prompts
    missing = fields - features.T @ (features @ seen[-1].ravel()) / data.prompts - 0.1 * seen[-1].ravel()
    assert solution.status is Status.NOT_CONVERGED
    np.testing.assert_allclose(solution.residual, np.linalg.norm(missing) / np.linalg.norm(fields), rtol=1e-9)
    steps = [(after - before) / variance for before, after, variance in zip(seen, seen[1:], variances, strict=False)]
    expected = [np.linalg.norm(step) / np.linalg.norm(fields) for step in steps]
    np.testing.assert_allclose(solution.history, expected, rtol=1e-9)


@pytest.mark.parametrize("damping", [0.0, 0.4])
def test_iterates_are_those_of_the_recursion_written_out(damping):
    data, ridge0, seen = draw(4, 30), 0.05, []
    gamp(
        data,
        ridge0=ridge0,
        beta=3.0,
        damping=damping,
        max_iterations=6,
        callback=lambda step, mean, variance: seen.append((step, mean.ravel(), variance.ravel())),
    )
    features = data.features.dense()
    squares = features**2
    mean, message = np.zeros(data.spins), np.zeros(data.prompts)
    variance = 1 / (ridge0 + squares.mean(axis=0))
    for number, (step, found_mean, found_variance) in enumerate(seen, start=1):
        response = squares @ variance / data.prompts
        drag = squares.T @ (1 / (1 + response)) / data.prompts
        variance = 1 / (ridge0 + drag)
        new = (data.label - features @ mean + response * message) / (1 + response)
        message = damping * message + (1 - damping) * new
        mean = damping * mean + (1 - damping) * variance * (drag * mean + features.T @ message / data.prompts)
        assert step == number
        np.testing.assert_allclose(found_mean, mean, RECURSION, RECURSION)
        np.testing.assert_allclose(found_variance, variance, RECURSION)
    assert len(seen) == 6


def test_temperature_only_scales_the_variances():
    data = draw(5, 60)
    solutions = [gamp(data, ridge0=0.1, beta=beta) for beta in (1e-9, 1.0, 1e15)]
    for solution, beta in zip(solutions, (1e-9, 1.0, 1e15), strict=True):
        np.testing.assert_array_equal(solution.mean, solutions[1].mean)
        np.testing.assert_allclose(beta * solution.variance, solutions[1].variance, rtol=1e-14)
    at_zero = boltzmann(data, ridge0=0.1, beta=1e15)
    np.testing.assert_allclose(solutions[2].log_partition, at_zero.log_partition, rtol=1e-9)


def test_free_energy_changes_with_the_ridge_as_the_mean_square_of_the_spins():
    """dF/d lambda0 = <|sigma|^2>/2 = (|m|^2 + sum of variances)/2: Bethe's free energy is stationary."""
    data, step = draw(5, 60), 1e-5
    high, low = (gamp(data, ridge0=0.1 + sign * step, beta=2.0).free_energy for sign in (1, -1))
    centre = gamp(data, ridge0=0.1, beta=2.0)
    expected = (np.sum(centre.mean**2) + np.sum(centre.variance[:, :-1])) / 2
    np.testing.assert_allclose((high - low) / (2 * step), expected, rtol=1e-7)  # differences: step^2 and rounding


def test_a_data_set_that_needs_damping_gets_it_and_diverges_without():
    data = draw_prompts(dimension=20, context=200, prompts=420, rng=np.random.default_rng(1))
    plain = gamp(data, ridge0=1e-4, beta=1.0, damping=0.0)
    assert plain.status is Status.DIVERGES
    for value in (plain.mean, plain.variance, plain.variance_error, plain.residual, plain.free_energy):
        assert np.all(np.isnan(value))
    assert plain.spectral_radius > 1.4
    assert f"spectral radius {plain.spectral_radius:.3f}" in plain.reason
    assert gamp(data, ridge0=1e-4, beta=1.0).status is Status.CONVERGED


def test_a_swinging_residual_is_not_taken_for_divergence():
    """Here a pair of complex eigenvalues makes the residual rise more than tenfold between steps, and all is well."""
    data = draw(6, 42, context=60)
    plain, default = (gamp(data, ridge0=0.02 / 6, beta=1.0, damping=damping) for damping in (0.0, None))
    rise = plain.history / np.minimum.accumulate(plain.history)
    assert rise.max() > 10
    np.testing.assert_array_equal(default.history, plain.history)


def variance_errors(dimension: int, seeds: int) -> np.ndarray:
    """(seeds, 2): rms relative error of a variance; error of ln Z, beta = 1, per spin."""
    rows = []
    for seed in range(seeds):
        data, ridge0 = scaled(dimension, seed)
        solution, exact = gamp(data, ridge0=ridge0, beta=1.0), boltzmann(data, ridge0=ridge0, beta=1.0)
        ratio = solution.variance[:, :-1].ravel() / np.diag(exact.covariance)
        difference = abs(solution.log_partition - exact.log_partition)
        rows.append((np.sqrt(np.mean((ratio - 1) ** 2)), difference / data.spins))
    return np.array(rows)


def test_variances_and_free_energy_are_close():
    rms, free_energy = variance_errors(8, 4).mean(axis=0)
    assert rms < VARIANCE
    assert free_energy < FREE_ENERGY


@pytest.mark.slow
def test_errors_of_variances_and_free_energy_fall_as_one_over_dimension():
    sizes, seeds = np.array([10, 20, 40]), (40, 12, 3)
    errors = [variance_errors(int(size), count) for size, count in zip(sizes, seeds, strict=True)]
    for kind in (0, 1):
        mean = np.array([values[:, kind].mean() for values in errors])
        relative = np.array([values[:, kind].std(ddof=1) / np.sqrt(len(values)) for values in errors]) / mean
        x = np.log(sizes) - np.log(sizes).mean()
        slope = x @ np.log(mean) / (x @ x)
        error = np.sqrt(np.sum((x * relative) ** 2)) / (x @ x)
        print(f"kind {kind}: {mean}, slope {slope:.2f} +- {error:.2f}")
        assert error < 0.3  # so a slope of -0.1 would be seen
        assert slope < -1 + SLOPE * error


def test_no_ridge_needs_more_prompts_than_spins():
    data = draw(4, 200)
    solution = gamp(data, ridge0=0.0, beta=1.0)
    np.testing.assert_allclose(solution.mean[:, :-1], ground_state(data, 0.0), rtol=0, atol=MEAN)
    assert np.all(np.isinf(solution.variance[:, -1]))
    with pytest.raises(ParameterError, match="5 prompts and 12 spins"):
        gamp(draw(3, 5), ridge0=0.0, beta=1.0)


def test_numbers_out_of_range_are_a_status_with_its_reason():
    data = draw(4, 30)
    huge = Instance(1e200 * data.context, data.query, data.label)
    with np.errstate(all="ignore"):
        solution = gamp(huge, ridge0=0.1, beta=1.0)
    assert solution.status is Status.DIVERGES
    assert "rescale the data" in solution.reason
    assert solution.iterations < 10
    assert np.isnan(solution.mean).all()
