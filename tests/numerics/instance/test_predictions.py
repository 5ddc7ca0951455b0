"""Predictions against the dense Gaussian measure and its samples; overlaps and contrast against their definitions."""

import numpy as np
import pytest

import iclglass.numerics.instance.predictions as predictions
from iclglass.numerics.errors import ConvergenceError, ParameterError
from iclglass.numerics.instance.exact import exact
from iclglass.numerics.instance.predictions import contrast, overlaps, predict
from iclglass.numerics.instance.spin_glass import boltzmann
from iclglass.validation.observables import measure
from iclglass.validation.prompts import Prompts
from iclglass.validation.statistics import bonferroni_threshold
from tests.numerics.instance.drawn import draw

RTOL = 1e-9  # well-conditioned solves in double precision
SOLVES = 1e-6  # error bars by solves to a relative residual of 1e-8
FALSE_ALARM = 0.01  # of each statistical test
RIDGE0, BETA = 0.05, 40.0


@pytest.mark.parametrize("road", ["primal", "dual", "cg"])
@pytest.mark.parametrize("prompts", [12, 60])
def test_predictions_are_those_of_the_dense_covariance(prompts, road, monkeypatch):
    data, fresh = draw(5, prompts), draw(5, 9, seed=1)
    slow = boltzmann(data, ridge0=RIDGE0, beta=BETA)
    dense = fresh.features.dense()
    variance = np.einsum("mi,ij,mj->m", dense, slow.covariance, dense)
    solution = exact(data, ridge0=RIDGE0, beta=BETA)
    monkeypatch.setattr(predictions, "dense_road", lambda instance, ridge0: None if road == "cg" else road)
    monkeypatch.setattr(predictions, "_BATCH_ELEMENTS", 4 * data.spins)
    found = predict(solution, fresh.context, fresh.query, instance=data)
    assert found.kind == "exact"
    np.testing.assert_allclose(found.mean, dense @ slow.mean.ravel(), RTOL, RTOL)
    np.testing.assert_allclose(found.deviation**2, variance, SOLVES if road == "cg" else RTOL)
    diagonal = predict(solution, fresh.context, fresh.query, kind="diagonal")
    assert diagonal.kind == "diagonal"
    np.testing.assert_array_equal(diagonal.mean, found.mean)
    np.testing.assert_allclose(diagonal.deviation**2, dense**2 @ np.diagonal(slow.covariance), RTOL)


def test_error_bars_cover_the_predictions_of_sampled_weights():
    data, fresh = draw(4, 40), draw(4, 6, seed=1)
    slow = boltzmann(data, ridge0=RIDGE0, beta=BETA)
    count = 4000
    weights = np.random.default_rng(2).multivariate_normal(slow.mean.ravel(), slow.covariance, count)
    sampled = weights @ fresh.features.dense().T
    found = predict(exact(data, ridge0=RIDGE0, beta=BETA), fresh.context, fresh.query, instance=data)
    z_mean = (sampled.mean(axis=0) - found.mean) / (found.deviation / np.sqrt(count))
    z_variance = (sampled.var(axis=0, ddof=1) / found.deviation**2 - 1) / np.sqrt(2 / (count - 1))
    assert np.max(np.abs([z_mean, z_variance])) < bonferroni_threshold(FALSE_ALARM, 12)


def test_without_correlations_bars_are_too_long_on_the_data_and_right_on_average_on_new_prompts():
    """E s s^T of a new prompt is diagonal: correlations of the weights average out. The data's prompts made them."""
    data, fresh = draw(6, 60), draw(6, 4000, seed=1)
    solution = exact(data, ridge0=RIDGE0, beta=BETA)

    def variances(prompts: Prompts, kind: str) -> np.ndarray:
        return predict(solution, prompts.context, prompts.query, instance=data, kind=kind).deviation ** 2

    assert np.mean(variances(data, "diagonal")) > 2 * np.mean(variances(data, "exact"))
    # Var s.W = (P/beta) s^T (S^T S + P ridge0)^{-1} s < P/beta: a prompt fixes its own prediction
    assert np.all(variances(data, "exact") < data.prompts / BETA)
    difference = variances(fresh, "diagonal") - variances(fresh, "exact")
    z = difference.mean() / (difference.std(ddof=1) / np.sqrt(difference.size))
    assert abs(z) < bonferroni_threshold(FALSE_ALARM, 1)
    assert difference.std() > 0.1 * np.mean(variances(fresh, "exact"))  # for one prompt they do differ


def test_without_ridge_the_data_fix_their_own_predictions_only():
    data, fresh = draw(4, 12), draw(4, 3, seed=1)
    solution = exact(data, ridge0=0.0, beta=BETA)
    own = predict(solution, data.context, data.query, instance=data).deviation
    np.testing.assert_allclose(own**2, 12 / BETA, 1e-6)  # P = rank: S (S^T S/P)^+ S^T = P
    assert np.all(predict(solution, fresh.context, fresh.query, instance=data).deviation == np.inf)
    assert np.all(predict(solution, fresh.context, fresh.query, kind="diagonal").deviation == np.inf)


def test_overlaps_and_contrast_are_their_definitions_and_those_of_the_simulation():
    data = draw(4, 60)
    slow, solution = boltzmann(data, ridge0=RIDGE0, beta=BETA), exact(data, ridge0=RIDGE0, beta=BETA)
    seen = measure(data, ridge=4 * RIDGE0, temperature=16 / BETA)
    block, variance, ideal = slow.mean[:4], np.diagonal(slow.covariance)[:16], np.eye(5)
    q = np.sum(block**2) / 4
    expected = {"m": np.mean(np.diagonal(block)), "q": q, "q_self": q + variance.sum() / 4}
    found = overlaps(solution)
    for name, value in expected.items():
        np.testing.assert_allclose([getattr(found, name), getattr(seen, name)], value, RTOL, err_msg=name)
    assert found.uniqueness == pytest.approx(found.q / found.q_self, RTOL)
    assert found.q_self_error == 0
    ratio = np.sum(solution.mean * ideal) / (np.linalg.norm(solution.mean) * np.linalg.norm(ideal))
    np.testing.assert_allclose([contrast(solution), seen.contrast], ratio, RTOL)


def test_two_replicas_sampled_have_these_overlaps():
    data = draw(3, 30)
    slow = boltzmann(data, ridge0=RIDGE0, beta=BETA)
    count = 4000
    replicas = np.random.default_rng(4).multivariate_normal(slow.mean.ravel(), slow.covariance, (2, count))
    one, two = replicas[..., :9]  # the block
    found = overlaps(exact(data, ridge0=RIDGE0, beta=BETA))
    for sample, value in ((np.sum(one * two, axis=1) / 3, found.q), (np.sum(one * one, axis=1) / 3, found.q_self)):
        assert abs(sample.mean() - value) / (sample.std(ddof=1) / np.sqrt(count)) < bonferroni_threshold(FALSE_ALARM, 2)


def test_the_solution_becomes_unique_as_task_diversity_grows():
    uniqueness = [overlaps(exact(draw(6, count), ridge0=0.01, beta=3600.0)).uniqueness for count in (10, 40, 160, 2560)]
    assert uniqueness == sorted(uniqueness)
    assert uniqueness[0] < 0.8
    assert uniqueness[-1] > 0.95


def test_estimated_variances_give_the_self_overlap_an_error_bar():
    data = draw(6, 300)
    dense = overlaps(exact(data, ridge0=RIDGE0, beta=BETA)).q_self
    found = overlaps(exact(data, ridge0=RIDGE0, beta=BETA, road="cg", probes=32, rng=np.random.default_rng(1)))
    assert 0 < found.q_self_error < 0.1 * dense
    assert abs(found.q_self - dense) < 4 * found.q_self_error


def test_solves_that_fail_are_an_error(monkeypatch):
    data = draw(5, 20)
    monkeypatch.setattr(predictions, "dense_road", lambda instance, ridge0: None)
    with pytest.raises(ParameterError, match="ridge0 = 0 with 20 prompts and 30 spins: new prompts meet zero modes"):
        predict(exact(data, ridge0=0.0, beta=1.0), data.context, data.query, instance=data)
    monkeypatch.setattr(predictions, "_TOLERANCE", 1e-30)
    with pytest.raises(ConvergenceError, match=r"stopped at a relative residual of .* or kind='diagonal'"):
        predict(exact(data, ridge0=RIDGE0, beta=BETA), data.context, data.query, instance=data)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"instance": None}, ValueError, "needs the instance .* kind='diagonal'"),
        ({"instance": 3}, TypeError, "instance must be an Instance, got int"),
        ({"kind": "full"}, ValueError, "kind must be one of exact, diagonal"),
        ({"context": np.ones((2, 5))}, ValueError, "shapes of prompts do not fit"),
        ({"query": np.full((2, 3), np.nan)}, ValueError, r"query\[0, 0\] is nan"),
        (
            {"context": np.ones((2, 5)), "query": np.ones((2, 4))},
            ValueError,
            "prompts of dimension 4 for a solution of",
        ),
        ({"instance": draw(4, 5)}, ValueError, "an instance of dimension 4 for a solution of dimension 3"),
        ({"query": np.ones((2, 3), complex)}, TypeError, "query must be a real number"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    data = draw(3, 20)
    given = {"context": data.context[:2], "query": data.query[:2], "instance": data} | change
    with pytest.raises(error, match=message):
        predict(exact(data, ridge0=RIDGE0, beta=BETA), **given)
