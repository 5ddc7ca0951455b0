"""The exact measure of one data set: every road against the matrix written out, estimated variances by z-scores."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import iclglass.numerics.instance.exact as exact_module
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.exact import dense_road, exact
from iclglass.numerics.instance.krylov import relative_residual
from iclglass.numerics.instance.spin_glass import boltzmann
from iclglass.numerics.status import Status
from iclglass.validation.statistics import bonferroni_threshold
from tests.numerics.instance.drawn import draw

ROOT = Path(__file__).resolve().parents[3]
RTOL = 1e-9  # well-conditioned solves in double precision
MEANS = 1e-10  # two roads to one mean; the solves are certified to 1e-12
FALSE_ALARM = 0.01  # of each statistical test
SLOPE = 0.15  # of measured times, log against log
ROADS = ("primal", "dual", "cg")


@pytest.mark.parametrize(
    ("road", "ridge0", "prompts"),
    [*itertools.product(ROADS, (1e-3, 1.0), (1, 12, 30, 80)), ("primal", 0.0, 100), ("cg", 0.0, 100)],
)
def test_every_road_gives_the_measure(road, ridge0, prompts):
    data = draw(5, prompts)
    slow = boltzmann(data, ridge0=ridge0, beta=3.0)
    found = exact(data, ridge0=ridge0, beta=3.0, road=road, rng=np.random.default_rng(1))
    assert (found.method, found.status) == ("exact", Status.CONVERGED)
    # |A^{-1} r| <= |r|/ridge0 for the residual that "cg" is certified to
    certified = 1e-12 / ridge0 if road == "cg" and ridge0 else 0.0
    np.testing.assert_allclose(found.mean[:, :5], slow.mean, rtol=0, atol=MEANS + certified)
    assert not np.any(found.mean[:, 5])
    np.testing.assert_array_equal(found.variance[:, 5], 1 / (3 * ridge0) if ridge0 else np.inf)
    assert not np.any(found.variance_error[:, 5])
    assert found.residual == pytest.approx(relative_residual(data, found.mean[:, :5], ridge0), rel=0.1, abs=1e-15)
    assert found.residual < 1e-12
    assert found.history.shape == (found.iterations,)
    if road == "cg":
        assert np.isnan(found.log_partition)
        return
    variance = np.diagonal(slow.covariance).reshape(6, 5)
    np.testing.assert_allclose(found.variance[:, :5], variance, RTOL)
    assert not np.any(found.variance_error)
    np.testing.assert_allclose(found.log_partition, slow.log_partition, RTOL)


def test_the_road_is_the_cheaper_one_while_its_matrix_is_small(monkeypatch):
    assert dense_road(draw(5, 4), 0.1) == "dual"
    assert dense_road(draw(5, 400), 0.1) == "primal"
    monkeypatch.setattr(exact_module, "_DENSE", 29)
    assert dense_road(draw(5, 29), 0.0) == "dual"
    assert dense_road(draw(5, 400), 0.1) is None
    assert exact(draw(5, 400), ridge0=0.1, beta=1.0, probes=0).history.size > 0


def z_scores(data: Instance, ridge0: float, probes: int, seed: int) -> np.ndarray:
    dense = exact(data, ridge0=ridge0, beta=2.0, road="primal").variance
    found = exact(data, ridge0=ridge0, beta=2.0, road="cg", probes=probes, rng=np.random.default_rng(seed))
    return ((found.variance - dense)[:, :-1] / found.variance_error[:, :-1]).ravel()


@pytest.mark.parametrize(("prompts", "ridge0"), [(60, 0.02), (400, 0.005), (4000, 0.1)])
def test_estimated_variances_are_unbiased_with_honest_errors(prompts, ridge0):
    """The mean of the estimates over many runs is the variance, spin by spin; |z| is that of its own error bars."""
    data = draw(6, prompts)
    dense = exact(data, ridge0=ridge0, beta=2.0, road="primal").variance[:, :-1]
    rng = np.random.default_rng(5)
    runs = [exact(data, ridge0=ridge0, beta=2.0, road="cg", probes=6, rng=rng) for _ in range(100)]
    estimates = np.array([run.variance[:, :-1] for run in runs])
    spread = np.std(estimates, axis=0, ddof=1)
    z = (estimates.mean(axis=0) - dense) / (spread / 10)
    assert np.max(np.abs(z)) < bonferroni_threshold(FALSE_ALARM, z.size)
    # the error bars' squares average to the variance of the estimates, of relative error sqrt(2/99) in each spin
    ratio = np.mean([run.variance_error[:, :-1] ** 2 for run in runs], axis=0) / spread**2
    error = np.sqrt(2 / 99) * np.sqrt(1 / ratio.size) * 3  # 3: spins are correlated and their estimates not normal
    assert abs(np.mean(ratio) - 1) < bonferroni_threshold(FALSE_ALARM, 1) * error


def test_the_control_variate_pays_and_a_wrong_one_is_caught(monkeypatch):
    data = draw(10, 1000)
    with_it = exact(data, ridge0=0.05, beta=2.0, road="cg", probes=16, rng=np.random.default_rng(2)).variance_error
    fair = z_scores(data, 0.05, 64, seed=3)
    coefficients = exact_module._coefficients
    monkeypatch.setattr(exact_module, "_coefficients", lambda plain, control: np.zeros(len(plain)))
    without = exact(data, ridge0=0.05, beta=2.0, road="cg", probes=16, rng=np.random.default_rng(2)).variance_error
    assert np.mean(with_it[:, :-1]) < 0.6 * np.mean(without[:, :-1])
    threshold = bonferroni_threshold(FALSE_ALARM, fair.size)
    assert np.max(np.abs(fair)) < 1.3 * threshold  # 1.3: Student's law with 63 degrees of freedom

    def biased(plain: np.ndarray, control: np.ndarray) -> np.ndarray:
        control += 0.05  # as if the diagonal of A were known to 5 % only
        return coefficients(plain, control)

    monkeypatch.setattr(exact_module, "_coefficients", biased)
    assert np.max(np.abs(z_scores(data, 0.05, 64, seed=3))) > 1.3 * threshold


def test_probes_come_in_batches_that_do_not_show(monkeypatch):
    data = draw(5, 60)
    one = exact(data, ridge0=0.1, beta=1.0, road="cg", probes=7, rng=np.random.default_rng(1))
    monkeypatch.setattr(exact_module, "_BATCH_ELEMENTS", 3 * data.spins)
    two = exact(data, ridge0=0.1, beta=1.0, road="cg", probes=7, rng=np.random.default_rng(1))
    np.testing.assert_allclose(one.variance, two.variance, rtol=1e-5)
    none = exact(data, ridge0=0.1, beta=1.0, road="cg", probes=0)
    assert np.all(np.isnan(none.variance[:, :-1]))
    np.testing.assert_array_equal(none.mean, one.mean)


@pytest.mark.parametrize("road", ["dual", "cg"])
def test_without_ridge_and_few_prompts_the_mean_is_of_minimum_norm(road):
    data = draw(4, 12)
    found = exact(data, ridge0=0.0, beta=1.0, road=road)
    shortest = np.linalg.lstsq(data.features.dense(), data.label, rcond=None)[0]
    np.testing.assert_allclose(found.mean[:, :4].ravel(), shortest, rtol=0, atol=1e-8)
    assert found.status is Status.CONVERGED
    assert "12 prompts and 20 spins leaves zero modes: the mean is the one of minimum norm" in found.reason
    assert np.all(found.variance == np.inf)
    assert (found.log_partition, found.free_energy) == (np.inf, -np.inf)
    assert exact(data, ridge0=0.0, beta=1.0).mean == pytest.approx(found.mean, abs=1e-8)


def test_labels_of_zero_and_one_dimension():
    data = Instance(np.ones((2, 2)), np.ones((2, 1)), np.zeros(2))
    for road in ROADS:
        found = exact(data, ridge0=0.5, beta=1.0, road=road, rng=np.random.default_rng(0))
        assert not np.any(found.mean)
        assert (found.residual, found.status) == (0.0, Status.CONVERGED)


def test_single_precision_is_certified_in_double_and_warns_where_it_is_not_enough():
    data = draw(8, 300)
    single = data.as_float32()
    for road in ROADS:
        found = exact(single, ridge0=0.01, beta=1.0, road=road, probes=0 if road == "cg" else None)
        assert found.residual < 1e-12
        # on the data before rounding: goal 1e-4; what is seen is the rounding of the data, 1e-7
        assert relative_residual(data, found.mean[:, :8], 0.01) < 1e-6
    # fewer prompts than spins and hardly a ridge, condition number 2e10: beyond what single precision can refine
    hard = draw(8, 60).as_float32()
    with pytest.warns(RuntimeWarning, match=r"rounding of float32 products holds the residual at .* use float64 data"):
        found = exact(hard, ridge0=1e-9, beta=1.0, road="cg", probes=0)
    assert found.status is Status.NOT_CONVERGED


def test_an_iteration_cut_short_says_so():
    found = exact(draw(6, 60), ridge0=1e-3, beta=1.0, road="cg", probes=2, max_iterations=3)
    assert found.status is Status.NOT_CONVERGED
    assert "stopped at max_iterations = 3" in found.reason
    assert found.iterations == 3
    assert np.all(np.isnan(found.variance[:, :-1]))  # an unfinished solve would be biased


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"road": "qr"}, "road must be one of"),
        ({"probes": 1}, "one probe has no standard error"),
        ({"probes": -2}, "probes must be at least 0"),
        ({"rng": 3}, "rng must be a numpy.random.Generator"),
        ({"ridge0": 0.0, "road": "primal"}, "leaves A singular"),
    ],
)
def test_bad_options_are_refused(change, message):
    with pytest.raises((ParameterError, ParameterTypeError), match=message):
        exact(draw(4, 10), **{"ridge0": 0.1, "beta": 1.0, **change})


def test_a_probe_has_no_part_in_its_own_coefficient():
    """Else the estimate would be biased, by too little for any z-score: checked on the function itself."""
    rng = np.random.default_rng(0)
    plain, control = rng.standard_normal((2, 4, 3, 2))
    before = exact_module._coefficients(plain, control)
    plain[1], control[1] = rng.standard_normal((2, 3, 2))
    after = exact_module._coefficients(plain, control)
    assert after[1] == pytest.approx(before[1], rel=RTOL)
    assert np.all(np.abs(np.delete(after - before, 1)) > 1e-3)
    others = np.delete(plain, 1, axis=0).ravel(), np.delete(control, 1, axis=0).ravel()
    slope = np.sum((others[0] - others[0].mean()) * others[1]) / np.sum(others[1] ** 2)
    assert after[1] == pytest.approx(slope, rel=RTOL)


FORTY_THOUSAND_SPINS = """
import json, time
import numpy as np
from iclglass.numerics.instance.exact import exact
from iclglass.validation.prompts import draw_prompts

def dgemm_rate(size=1500):
    square = np.ones((size, size))
    square @ square
    start = time.process_time()
    for _ in range(3):
        square @ square
    return 3 * 2 * size**3 / (time.process_time() - start)

data = draw_prompts(dimension=200, context=200, prompts=80_000, rng=np.random.default_rng(0))
ratios = []
for _ in range(3):
    before, wall, start = dgemm_rate(), time.perf_counter(), time.process_time()
    found = exact(data, ridge0=0.01, beta=100.0, probes=0, tolerance=1e-8)
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    rate = 4 * data.prompts * data.dimension**2 * found.iterations / seconds
    ratios.append(2 * rate / (before + dgemm_rate()))
# Not ru_maxrss: that of the process which started this one is counted in.
(line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
peak = int(line.split()[1]) * 1024
print(json.dumps({"residual": found.residual, "seconds": wall, "ratios": ratios, "bytes": peak}))
"""
"""A process of its own, for its peak memory; one thread and its own processor time, so that a busy machine does not
change the rates."""


@pytest.mark.slow
def test_forty_thousand_spins():
    """D = 200, N = 200, P = 80000: residual 1e-8 within 40 s and 1.2 GB, at half the rate of DGEMM or more."""
    run = subprocess.run(
        [sys.executable, "-c", FORTY_THOUSAND_SPINS],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout)
    assert found["residual"] <= 1e-8
    assert found["seconds"] < 40
    assert found["bytes"] < 1.2e9
    assert np.median(found["ratios"]) > 0.5
