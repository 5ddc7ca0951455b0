"""Minimisers against scikit-learn, scipy, and the optimality conditions written out."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from iclglass.numerics.errors import ParameterError
from iclglass.validation.minimisers.functions import OneBodyFunctions
from iclglass.validation.minimisers.losses import (
    ABSOLUTE_ERROR,
    HINGE,
    LOG_LOSS,
    SQUARED_ERROR,
    huber,
    smooth_loss,
)
from iclglass.validation.minimisers.minimise import minimise
from iclglass.validation.minimisers.penalties import elastic_net, scaled_elastic_net, smooth_penalty
from iclglass.validation.prompts import draw_prompts


def data_of(seed: int, labels: str = "linear", *, dimension: int = 5, prompts: int = 40, **law):
    rng = np.random.default_rng(seed)
    law = {"context": 8, "label_noise": 0.1, "labels": labels, "last_row": seed % 2 == 0} | law
    return draw_prompts(dimension=dimension, prompts=prompts, **law, rng=rng)


def weights_of(data, loss, penalty):
    found = minimise(data, OneBodyFunctions(loss, penalty))
    assert found.status == "converged"
    assert found.residual <= 1e-8
    return found


def same(found, weights):
    assert np.max(np.abs(found.weights.ravel() - weights.ravel())) < 1e-6 * max(1, np.max(np.abs(weights)))


@pytest.mark.slow  # scikit-learn takes seconds to import
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", ["lasso", "elastic net", "nonnegative", "huber", "quantile", "svc", "logistic"])
def test_scikit_learn_finds_the_same(seed, kind):
    linear = pytest.importorskip("sklearn.linear_model")
    svm = pytest.importorskip("sklearn.svm")
    data = data_of(seed, "sign" if kind in ("svc", "logistic") else "linear")
    features, label, count = data.features.dense(), data.label, data.prompts
    l0 = 0.03
    exact = {"fit_intercept": False, "tol": 1e-13, "max_iter": 1_000_000}
    if kind == "lasso":
        weights = linear.Lasso(alpha=l0, **exact).fit(features, label).coef_
        same(weights_of(data, SQUARED_ERROR, elastic_net(l0=l0)), weights)
    elif kind == "elastic net":
        weights = linear.ElasticNet(alpha=0.1, l1_ratio=0.3, **exact).fit(features, label).coef_
        same(weights_of(data, SQUARED_ERROR, elastic_net(l0=0.03, ridge0=0.07)), weights)
    elif kind == "nonnegative":
        weights = linear.ElasticNet(alpha=0.05, l1_ratio=0.3, positive=True, **exact).fit(features, label).coef_
        same(weights_of(data, SQUARED_ERROR, elastic_net(l0=0.015, ridge0=0.035, nonnegative=True)), weights)
    elif kind == "huber":
        # huber is the squared error with an outlier o of each prompt that costs threshold |o|
        threshold = 0.4
        scale = l0 * count / threshold
        wide = np.hstack([features, scale * np.eye(count)])
        weights = linear.Lasso(alpha=l0, **exact).fit(wide, label).coef_[: features.shape[1]]
        same(weights_of(data, huber(threshold), elastic_net(l0=l0)), weights)
    elif kind == "quantile":
        model = linear.QuantileRegressor(quantile=0.5, alpha=l0 / 2, fit_intercept=False, solver="highs")
        weights = model.fit(features, label).coef_
        same(weights_of(data, ABSOLUTE_ERROR, elastic_net(l0=l0)), weights)
    elif kind == "svc":
        model = svm.LinearSVC(loss="hinge", C=1 / (0.3 * count), dual=True, random_state=0, **exact | {"tol": 1e-9})
        weights = model.fit(features, label).coef_
        same(weights_of(data, HINGE, elastic_net(ridge0=0.3)), weights)
    else:
        model = linear.LogisticRegression(C=1 / (0.05 * count), solver="newton-cholesky", **exact)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its line search complains at the last digits
            weights = model.fit(features, label).coef_
        same(weights_of(data, LOG_LOSS, elastic_net(ridge0=0.05)), weights)


def test_lasso_meets_its_optimality_conditions():
    data = data_of(3, dimension=12, prompts=144)
    l0 = 0.5 / 12**1.5
    found = weights_of(data, SQUARED_ERROR, scaled_elastic_net(12, l1=0.5))
    pull = data.features.adjoint(data.label - data.features.predict(found.weights)) / data.prompts
    free = found.weights != 0
    assert 0.1 < np.mean(free) < 0.9
    np.testing.assert_allclose(pull[free], l0 * np.sign(found.weights[free]), atol=1e-9)
    assert np.max(np.abs(pull[~free])) <= l0 + 1e-12


@pytest.mark.parametrize("loss", [ABSOLUTE_ERROR, HINGE])
def test_linear_programs_have_the_optimal_value_of_the_dual(loss):
    data = data_of(4, "linear" if loss is ABSOLUTE_ERROR else "sign", dimension=8, prompts=100)
    features, label, l0 = data.features.dense(), data.label, 0.02
    # max sum_mu z_mu y_mu/P over |S^T z|/P <= l0 and |z| <= 1, or 0 <= y z <= 1 for the hinge
    rows = features.T / data.prompts
    bounds = [(-1, 1) if loss is ABSOLUTE_ERROR else (min(y, 0), max(y, 0)) for y in label]
    dual = linprog(-label / data.prompts, A_ub=np.vstack([rows, -rows]), b_ub=np.full(2 * len(rows), l0), bounds=bounds)
    found = weights_of(data, loss, elastic_net(l0=l0))
    assert found.energy == pytest.approx(-dual.fun, abs=1e-8)


@pytest.mark.parametrize("bounded", [True, False])
def test_own_loss_and_penalty(bounded):
    data = data_of(5)
    features = data.features.dense()
    if bounded:
        loss = smooth_loss(
            lambda y, f: np.log(np.cosh(f - y)),
            lambda y, f: np.tanh(f - y),
            lambda y, f: 1 / np.cosh(f - y) ** 2,
            curvature_bound=1.0,
        )
    else:
        loss = smooth_loss(lambda y, f: (f - y) ** 4 / 4, lambda y, f: (f - y) ** 3, lambda y, f: 3 * (f - y) ** 2)
    penalty = smooth_penalty(
        lambda w: 0.05 * (w**2 + w**4), lambda w: 0.05 * (2 * w + 4 * w**3), lambda w: 0.05 * (2 + 12 * w**2)
    )

    def energy(vector):
        f = features @ vector
        gradient = features.T @ loss.slope(data.label, f) / data.prompts + 0.05 * (2 * vector + 4 * vector**3)
        return np.mean(loss.value(data.label, f)) + np.sum(penalty.value(vector)), gradient

    reference = minimize(energy, np.zeros(features.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-9})
    same(weights_of(data, loss, penalty), reference.x)


def test_concave_functions_are_refused():
    penalty = smooth_penalty(lambda w: -(w**2), lambda w: -2 * w, lambda w: np.full_like(w, -2.0))
    with pytest.raises(ParameterError, match="not convex"):
        minimise(data_of(1), OneBodyFunctions(SQUARED_ERROR, penalty))


@pytest.mark.parametrize("loss", [ABSOLUTE_ERROR, HINGE, huber(0.3), LOG_LOSS, SQUARED_ERROR])
def test_proximal_points_minimise(loss):
    rng = np.random.default_rng(6)
    label = np.where(rng.random(200) < 0.5, -1.0, 1.0)
    centre, step = 2 * rng.standard_normal(200), np.full(200, 0.7)

    def cost(f):
        return loss.value(label, f) + (f - centre) ** 2 / (2 * step)

    point, derivative = loss.prox(label, centre, step)
    for change in (1e-4, -1e-4):
        assert np.all(cost(point) <= cost(point + change))
        moved = loss.prox(label, centre + change / 100, step)[0]
        np.testing.assert_allclose((moved - point) / (change / 100), derivative, atol=1e-3)


def test_start_at_the_minimum_and_zero_labels():
    data = data_of(7)
    functions = OneBodyFunctions(SQUARED_ERROR, elastic_net(l0=0.03))
    found = minimise(data, functions)
    assert minimise(data, functions, start=found.weights).iterations <= 1
    nothing = minimise(replace(data, label=np.zeros_like(data.label)), functions)
    assert nothing.converged
    assert not nothing.weights.any()
