"""Averages over the disorder: against explicit summation at D = 2 and against sampled prompts at D = 4, N = 5."""

import dataclasses
import itertools

import numpy as np
import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.disorder import coupling_moments, feature_moments
from iclglass.replica.model import linear_attention
from tests.replica.test_moments import spelled_out
from tests.tolerances import Z_SCORE

MODEL = linear_attention()
DIMENSION, CONTEXT, NOISE, PROMPTS = 4, 5, 0.3, 400_000


@pytest.fixture(scope="module")
def moments():
    return feature_moments(MODEL)


@pytest.fixture(scope="module")
def couplings():
    return {kind.name: kind for kind in coupling_moments(MODEL)}


@pytest.mark.parametrize("size", [{S.D: 2, S.N: 1}, {S.D: 2, S.N: 2}, {S.D: 3, S.N: 1}], ids=str)
def test_feature_moments_against_explicit_summation(moments, size):
    s, u = MODEL.block("block").feature_at, MODEL.block("last row").feature_at
    one, two = sp.Integer(1), sp.Integer(2)

    def average(expression):
        return spelled_out(expression, MODEL.variances, size)

    def value(expression):
        return sp.expand(expression.subs(size))

    assert average(MODEL.label**2) == value(moments.label)
    assert average(MODEL.label * s(one, one)) == value(moments.signal / S.D)
    assert average(MODEL.label * s(one, two)) == 0
    assert average(s(one, two) ** 2) == value(moments.block / S.D)
    assert average(s(two, two) ** 2) == value(moments.block / S.D)
    assert average(u(one) ** 2) == value(moments.last_row)
    for row, column in itertools.product((one, two), repeat=2):
        if (row, column) != (one, one):
            assert average(s(one, one) * s(row, column)) == 0
        assert average(s(row, column) * u(one)) == 0


def test_couplings_against_explicit_summation(couplings):
    """All nine kinds at D = 2, N = 1: mean and variance with every index spelled out."""
    size = {S.D: 2, S.N: 1}
    s = lambda *at: MODEL.block("block").feature_at(*map(sp.Integer, at))  # noqa: E731
    u = lambda *at: MODEL.block("last row").feature_at(*map(sp.Integer, at))  # noqa: E731
    products = {
        "field, diagonal of the block": MODEL.label * s(1, 1),
        "field, off the diagonal": MODEL.label * s(1, 2),
        "field, last row": MODEL.label * u(1),
        "coupling, block with block, all indices differ": -s(1, 1) * s(2, 2),
        "coupling, block with block, same row": -s(1, 1) * s(1, 2),
        "coupling, block with block, same column": -s(1, 2) * s(2, 2),
        "coupling, block with last row, columns differ": -s(1, 1) * u(2),
        "coupling, block with last row, same column": -s(1, 1) * u(1),
        "coupling, last row with itself": -u(1) * u(2),
    }
    assert set(products) == set(couplings)
    for name, product in products.items():
        mean = spelled_out(product, MODEL.variances, size)
        second = spelled_out(product**2, MODEL.variances, size)
        assert sp.expand(couplings[name].mean.subs(size)) == mean, name
        assert sp.expand((couplings[name].variance * S.P).subs(size) - second + mean**2) == 0, name


@pytest.fixture(scope="module")
def prompts():
    """Label, u and query of sampled prompts, drawn token by token; u for norm = 1."""
    rng = np.random.default_rng(20240806)
    d, n = DIMENSION, CONTEXT
    task = rng.standard_normal((PROMPTS, d))
    tokens = rng.standard_normal((PROMPTS, n, d))
    query = rng.standard_normal((PROMPTS, d))
    labels = np.einsum("pd,pkd->pk", task, tokens) / np.sqrt(d) + np.sqrt(NOISE) * rng.standard_normal((PROMPTS, n))
    label = np.einsum("pd,pd->p", task, query) / np.sqrt(d) + np.sqrt(NOISE) * rng.standard_normal(PROMPTS)
    return label, np.einsum("pk,pkd->pd", labels, tokens), (labels**2).sum(axis=1), query


def z_score(samples, expected):
    return (samples.mean() - expected) / (samples.std(ddof=1) / np.sqrt(samples.size))


@pytest.mark.parametrize("norm", [CONTEXT, CONTEXT + 1], ids=["norm N", "norm N+1"])
def test_moments_against_sampled_prompts(moments, couplings, prompts, norm):
    """Mean and mean square of one prompt's products, each of one choice of spins. 22 comparisons for each norm."""
    label, context, last, query = prompts
    (u0, u1), v, (x0, x1) = context.T[:2] / norm, last / norm, query.T[:2]
    products = {
        "field, diagonal of the block": label * u0 * x0,
        "field, off the diagonal": label * u0 * x1,
        "field, last row": label * v * x0,
        "coupling, block with block, all indices differ": -u0 * x0 * u1 * x1,
        "coupling, block with block, same row": -(u0**2) * x0 * x1,
        "coupling, block with block, same column": -u0 * u1 * x0**2,
        "coupling, block with last row, columns differ": -u0 * x0 * v * x1,
        "coupling, block with last row, same column": -u0 * v * x0**2,
        "coupling, last row with itself": -(v**2) * x0 * x1,
    }
    numbers = {S.D: DIMENSION, S.N: CONTEXT, S.norm: norm, S.rho: sp.Rational(3, 10), S.P: 1}
    samples = {
        "label": label**2,
        "signal": label * (context / norm * query).sum(1),
        "block": DIMENSION * ((context / norm) ** 2).mean(1) * (query**2).mean(1),
        "last_row": v**2 * (query**2).mean(1),
    }
    scores = {name: z_score(values, float(getattr(moments, name).subs(numbers))) for name, values in samples.items()}
    assert set(products) == set(couplings)
    for name, kind in couplings.items():
        mean, variance = (float(value.subs(numbers)) for value in (kind.mean, kind.variance))
        scores[f"mean of {name}"] = z_score(products[name], mean)
        scores[f"variance of {name}"] = z_score(products[name] ** 2, variance + mean**2)
    worst = max(scores, key=lambda name: abs(scores[name]))
    assert abs(scores[worst]) < Z_SCORE, (worst, scores[worst])


def test_sampling_would_see_a_missing_term(moments, prompts):
    """Power: the large-D value of the block moment, or a forgotten noise term, is many standard errors off."""
    _, context, _, query = prompts
    samples = DIMENSION * (context**2).mean(1) * (query**2).mean(1) / CONTEXT**2
    numbers = {S.D: DIMENSION, S.N: CONTEXT, S.norm: CONTEXT, S.rho: 0}
    assert z_score(samples, float(moments.block.subs(numbers))) > 2 * Z_SCORE
    assert z_score(samples, 1 + (1 + NOISE) * DIMENSION / CONTEXT) > 2 * Z_SCORE


def test_block_moment_is_that_of_the_notes(moments):
    a = 1 + (S.D + 1) / S.N + S.rho * S.D / S.N
    assert sp.simplify(moments.block.subs(S.norm, S.N) - a) == 0
    assert moments.signal.subs(S.norm, S.N) == 1


def test_correlated_features_are_refused():
    block = MODEL.block("block")
    correlated = dataclasses.replace(block, feature=block.feature + S.xt[1])
    broken = dataclasses.replace(MODEL, blocks=(correlated, MODEL.block("last row")))
    with pytest.raises(ValueError, match="features of different spins are correlated"):
        feature_moments(broken)
