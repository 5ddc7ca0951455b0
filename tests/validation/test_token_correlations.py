"""Tokens correlated along the prompt: draws, exact moments, and the theory of pools against direct simulation."""

import numpy as np
import pytest

from iclglass.numerics import generated_numpy, token_law
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.finite_size import solve_finite_points
from iclglass.numerics.parameters import Parameters
from iclglass.validation.prompts import draw_prompts

# |z| of one comparison: false alarm 6.3e-5; of some tens of them below 0.5 %.
Z = 4.0
LAW = {"context": 12, "label_noise": 0.3, "token_correlation": 3.0}
POOL = np.random.default_rng(5).standard_normal((5, 8))


def scores(data):
    """Numbers of each prompt whose means say everything of second order: (P, numbers)."""
    u, t = data.context, data.label[:, None] * data.query
    pairs = u[:, :3, None] * u[:, None, [0, 1, -1]]
    return np.concatenate([u, u[:, :2] * t[:, :2], pairs.reshape(len(u), -1), u**2 * u[:, -1:] ** 2], axis=1)


def test_reduced_and_token_by_token_draws_have_one_law():
    """Means of 21 numbers over 40 000 prompts each way, fourth powers of the features among them."""
    found = [
        scores(draw_prompts(dimension=4, prompts=40000, method=method, **LAW, rng=np.random.default_rng(seed)))
        for seed, method in enumerate(("reduced", "tokens"))
    ]
    error = np.sqrt(sum(values.var(axis=0, ddof=1) / len(values) for values in found))
    z = (found[0].mean(axis=0) - found[1].mean(axis=0)) / error
    assert np.abs(z).max() < Z
    other = scores(
        draw_prompts(dimension=4, prompts=40000, **{**LAW, "token_correlation": 1.0}, rng=np.random.default_rng(3))
    )
    assert np.abs((other.mean(axis=0) - found[1].mean(axis=0)) / error).max() > 2 * Z


def test_exact_moments():
    """Of new tasks against draws; without correlation those of the symbolic layer."""
    size, context = 4, LAW["context"]
    data = draw_prompts(dimension=size, prompts=60000, **LAW, rng=np.random.default_rng(7))
    u, y, x = data.context, data.label, data.query
    values = [y**2, size * y * u[:, 0] * x[:, 0], size * (u[:, 0] * x[:, 1]) ** 2, (u[:, size] * x[:, 0]) ** 2]
    exact = token_law.correlated_moments(size, context, context, LAW["label_noise"], LAW["token_correlation"])
    for sample, expected in zip(values, exact, strict=True):
        assert abs(sample.mean() - expected) < Z * sample.std() / np.sqrt(len(sample))
    independent = token_law.correlated_moments(size, context, context + 1, 0.3, 0.0)
    np.testing.assert_allclose(
        independent, generated_numpy.feature_moments(size, context, context + 1, 0.3), rtol=1e-13
    )


@pytest.mark.parametrize(("context", "length"), [(12, 0.5), (40, 3.0), (128, 10.0), (3, 5.0)])
def test_nodes_have_the_moments_of_the_three_sums(context, length):
    """First and second exactly, third within 10 %: the strata are few. Three tokens keep means only."""
    nodes = token_law.context_nodes(context, length)
    values = np.linalg.eigvalsh(token_law.token_matrix(context, length))
    sums = np.stack([nodes.one, nodes.two, nodes.three])
    traces = [(values**power).sum() for power in range(7)]
    np.testing.assert_allclose(sums @ nodes.weight, traces[:3], rtol=1e-10)
    centred = sums - (sums @ nodes.weight)[:, None]
    covariance = centred * nodes.weight @ centred.T
    exact = [[2 * traces[i + j] for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(covariance, exact, rtol=0.3 if context == 3 else 1e-6)
    third = (nodes.weight * centred[1] ** 3).sum()
    assert third == pytest.approx(8 * traces[3], rel=0.1)


def simulated(sizes, noise, ridge, length, seeds):
    """m, e_icl and e_idg of ridge regression on one pool: means and standard errors."""
    prompts, context, last = sizes
    size = POOL.shape[1]
    law = {
        "dimension": size,
        "context": context,
        "label_noise": noise,
        "token_correlation": length,
        "last_feature": last,
    }
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, context])
        data = draw_prompts(prompts=prompts, tasks=POOL, **law, rng=rng)
        features = (data.context[:, :, None] * data.query[:, None, :]).reshape(prompts, -1)
        hessian = features.T @ features / prompts + ridge / size * np.eye(features.shape[1])
        weights = np.linalg.solve(hessian, features.T @ data.label / prompts).reshape(-1, size)
        errors = []
        for tasks in (None, POOL):
            new = draw_prompts(prompts=2000, tasks=tasks, **law, rng=rng)
            errors.append(np.mean((new.label - ((new.context @ weights) * new.query).sum(axis=1)) ** 2))
        found.append([np.trace(weights[:size]) / size, *errors])
    return np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(seeds)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tau", "context", "noise", "ridge", "length", "last"),
    [
        (1.5, 16, 0.2, 0.1, 3.0, "unit-tokens"),
        (3.0, 16, 0.0, 0.05, 8.0, "unit-tokens"),
        (2.0, 30, 0.1, 0.1, 5.0, "scaled-tokens"),
    ],
)
def test_theory_of_a_pool_with_correlated_tokens(tau, context, noise, ridge, length, last):
    """D = 8, K = 5; the theory is allowed 1 %. The law of independent tokens at the same N is far off."""
    count, size = POOL.shape
    point = Parameters(
        dimension=size,
        task_diversity=tau,
        context_length=context / size,
        distinct_tasks=count / size,
        label_noise=noise,
        ridge=ridge,
        last_feature=last,
    )
    mean, error = simulated((round(tau * size**2), context, last), noise, ridge, length, 300)
    theory = [solve_finite_points(point, pool=POOL, token_correlation=value) for value in (length, 0.0)]
    right, wrong = (np.array([found.m, found.e_icl, found.e_idg], dtype=float) for found in theory)
    assert np.abs((mean - right) / np.hypot(error, 0.01 * right)).max() < Z
    assert np.abs((mean - wrong) / np.hypot(error, 0.01 * wrong)).max() > 2 * Z


def test_a_short_correlation_is_none():
    point = Parameters(dimension=8, task_diversity=1.5, context_length=2.0, distinct_tasks=0.625, label_noise=0.2)
    one, other = (solve_finite_points(point, pool=POOL, token_correlation=length) for length in (0.0, 0.05))
    for name in ("m", "q", "e_icl", "e_idg", "e_train", "replicon", "last_row"):
        assert float(getattr(one, name)) == pytest.approx(float(getattr(other, name)), rel=2e-3), name


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1.0, "length >= 0"),
        (np.inf, "length >= 0"),
        (np.eye(3), r"shape \(4, 4\)"),
        (np.triu(np.ones((4, 4))), "symmetric"),
        (np.ones((4, 4)) - 2 * np.eye(4), "positive semidefinite"),
    ],
)
def test_bad_correlations(value, words):
    with pytest.raises(ParameterError, match=words):
        draw_prompts(dimension=3, context=4, prompts=2, token_correlation=value, rng=np.random.default_rng(0))


def test_what_has_no_law_is_refused():
    with pytest.raises(ParameterError, match="method = 'tokens'"):
        draw_prompts(
            dimension=3, context=4, prompts=2, token_correlation=1.0, labels="sign", rng=np.random.default_rng(0)
        )
    point = Parameters(dimension=8, task_diversity=1.5, context_length=2.0)
    with pytest.raises(ParameterError, match="give distinct_tasks"):
        solve_finite_points(point, token_correlation=1.0)
