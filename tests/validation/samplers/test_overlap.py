"""Two replicas: P(q) against the exact moments of one data set; thermal averages against the finite-size theory."""

from dataclasses import replace

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.finite_size import solve_finite
from iclglass.numerics.instance.spin_glass import boltzmann
from iclglass.validation.observables import measure as measured
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.samplers.checks import comparison
from iclglass.validation.samplers.overlap import draw_replicas, thermal_checks
from iclglass.validation.samplers.sampling import sample
from iclglass.validation.statistics import smallest_detectable_bias

POINT = {"dimension": 12, "context": 24, "label_noise": 0.1, "ridge": 0.05, "temperature": 0.05}
Z = 4.0
"""False alarm 6e-5."""


def draw(prompts, **options):
    given = {"data_sets": 60, "pairs": 100, "rng": np.random.default_rng(1)} | options
    return draw_replicas(**POINT, prompts=prompts, **given)


@pytest.fixture(scope="module")
def points():
    """Task diversity 0.5, 1 and 4."""
    return [draw(prompts) for prompts in (72, 144, 576)]


def test_mean_and_variance_of_the_overlap_of_one_data_set(data, measure):
    """q12 of independent Gaussians: mean |<W>|^2/D, variance (2 mu C mu + Tr C^2)/D^2, over the block."""
    dense = boltzmann(data, **measure)
    mean, covariance = dense.mean.ravel()[:25], dense.covariance[:25, :25]
    overlaps = sample(data, **measure, chains=2, draws=20_000, rng=np.random.default_rng(1)).overlaps
    expected = mean @ mean / 5
    variance = (2 * mean @ covariance @ mean + np.sum(covariance**2)) / 25
    assert comparison("q", overlaps, expected, Z).passed
    assert comparison("variance", (overlaps - expected) ** 2, variance, Z).passed


def test_overlaps_in_a_loop(data, measure, rng):
    found = sample(data, **measure, chains=3, draws=2, rng=rng)
    block = found.weights[:, :, :5]
    expected = [[np.trace(block[c, d] @ block[c + 1, d].T) / 5 for d in range(2)] for c in range(2)]
    np.testing.assert_allclose(found.overlaps, expected, rtol=1e-12)
    assert replace(found, weights=None).overlaps.shape == (0, 2)


def test_thermal_averages_against_the_theory(points):
    """Five quantities at each task diversity, z over 60 data sets, family false alarm 1 % at each."""
    rows = [row for found in points for row in thermal_checks(found)]
    assert [row for row in rows if not row.passed] == []
    for row in rows:  # 60 data sets
        assert row.smallest_bias == smallest_detectable_bias(row.mcse, row.threshold, 59)


def test_thermal_averages_of_a_data_set_are_those_of_its_exact_measure():
    """The same data set measured through linear algebra; energy and e_icl_gibbs in the theory's units."""
    found = draw(144, data_sets=2, pairs=8000)
    rng = np.random.default_rng(1)
    data = draw_prompts(dimension=12, context=24, prompts=144, label_noise=0.1, rng=rng)
    exact = measured(data, ridge=0.05, temperature=0.05)
    spins, scale = 156, 0.05 / 144
    # energy: n T/2 spread over n modes, 16000 draws; the others have larger, bounded spreads
    assert abs(found.averages["energy"][0] - exact.energy) < Z * scale * np.sqrt(spins / 2 / 16_000)
    for name in ("m", "q", "q_self", "e_icl_gibbs"):
        assert found.averages[name][0] == pytest.approx(getattr(exact, name), rel=0.01), name


def test_a_theory_at_another_temperature_is_refused(points):
    found = points[1]
    point = {"dimension": 12, "task_diversity": 1.0, "context_length": 2.0, "label_noise": 0.1, "ridge": 0.05}
    warm = solve_finite(**point, temperature=0.06)
    wrong = replace(found, theory={name: float(getattr(warm, name)) for name in found.theory})
    refused = {row.name for row in thermal_checks(wrong) if not row.passed}
    assert "energy" in refused


def test_the_two_overlaps_approach_each_other_as_task_diversity_grows(points):
    gaps = [1 - found.overlap.mean() / found.self_overlap.mean() for found in points]
    assert gaps[0] > gaps[1] > gaps[2] > 0


@pytest.mark.slow
def test_thermal_averages_by_hmc():
    found = draw(144, method="hmc", data_sets=30, pairs=500)
    assert [row for row in thermal_checks(found) if not row.passed] == []


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"ridge": 0.0}, {"data_sets": 1}, {"pairs": 0}])
def test_bad_input(options):
    given = {**POINT, "prompts": 72, "data_sets": 2, "pairs": 2, "rng": np.random.default_rng(1)} | options
    with pytest.raises(ParameterError):
        draw_replicas(**given)
