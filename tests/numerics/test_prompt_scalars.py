"""Nodes of one prompt's scalars: Gauss rules against exact moments, their product against drawn prompts."""

import math

import numpy as np
import pytest

from iclglass.numerics.moments import feature_moments
from iclglass.numerics.prompt_scalars import half_normal_sum_nodes, prompt_scalars, skew_normal_nodes
from iclglass.validation.prompts import draw_prompts

# Of what is averaged: nodes that are left out carry 1e-5, and rules in the logarithm miss 1e-4 of a mean at level 2.
QUADRATURE = 4e-4
# |z| of 24 means below it: wrong in 1 of 1000 runs, and the seed is fixed.
THRESHOLD = 4.1


@pytest.mark.parametrize("terms", [1, 2, 9, 200])
def test_sum_of_half_normals_has_its_cumulants(terms):
    nodes, weights = half_normal_sum_nodes(terms, 5)
    assert weights.sum() == pytest.approx(1, rel=1e-13)
    assert (weights > 0).all()
    mean = weights @ nodes
    central = [weights @ (nodes - mean) ** power for power in (2, 3, 4)]
    assert mean == pytest.approx(terms * math.sqrt(2 / math.pi), rel=1e-13)
    assert central[0] == pytest.approx(terms * (1 - 2 / math.pi), rel=1e-11)
    assert central[1] == pytest.approx(terms * math.sqrt(2 / math.pi) * (4 / math.pi - 1), rel=1e-9)
    excess = (8 * math.pi - 24) / math.pi**2
    assert central[2] - 3 * central[0] ** 2 == pytest.approx(terms * excess, rel=1e-8)


@pytest.mark.parametrize("slope", [0.0, 0.7, 40.0, np.inf])
def test_skew_normal_rule(slope):
    nodes, weights = skew_normal_nodes(slope, 7)
    share = 1.0 if np.isinf(slope) else slope / math.sqrt(1 + slope**2)
    expected = [1, share * math.sqrt(2 / math.pi), 1, math.sqrt(2 / math.pi) * (3 * share - share**3), 3]
    for power, value in enumerate(expected):
        assert weights @ nodes**power == pytest.approx(value, abs=1e-10), power


@pytest.mark.parametrize(("dimension", "context", "rho"), [(10, 20, 0.0), (8, 5, 0.3), (32, 16, 1.0)])
@pytest.mark.parametrize("shape", ["translation", "general"])
def test_linear_labels_have_the_exact_second_moments(dimension, context, rho, shape):
    law = prompt_scalars(dimension, context, context + 1, rho, "linear", shape, False, 2)
    exact = feature_moments(dimension=dimension, context=context, label_noise=rho, norm="N+1")
    block = (law.along**2 + law.across**2) * law.query_square
    assert law.weight @ block / dimension == pytest.approx(exact.block, rel=QUADRATURE)
    assert law.weight @ (law.last**2 * law.query_square) / dimension == pytest.approx(exact.last_row, rel=QUADRATURE)
    signal = law.weight @ (law.task * law.along * law.query_square) / dimension
    assert signal == pytest.approx(exact.signal, rel=QUADRATURE)
    if shape == "general":
        overlap = law.along * law.first + law.across * law.second
        assert law.weight @ law.label**2 == pytest.approx(exact.label, rel=QUADRATURE)
        assert law.weight @ (law.label * overlap) == pytest.approx(exact.signal, rel=QUADRATURE)


@pytest.mark.parametrize("rho", [0.0, 0.4])
@pytest.mark.parametrize("context", [1, 7])
def test_sign_labels_against_drawn_prompts(rho, context):
    """Moments of the layer's own draws, up to the fourth in the features."""
    size = 6
    law = prompt_scalars(size, context, context, rho, "sign", "margin", False, 4)
    drawn = draw_prompts(
        dimension=size, context=context, prompts=60_000, label_noise=rho, labels="sign", rng=np.random.default_rng(5)
    )
    u, query = np.asarray(drawn.features.context)[:, :size], np.asarray(drawn.features.query)
    overlap = drawn.label * np.einsum("pi,pi->p", u, query)
    block, square = np.sum(u**2, 1), np.sum(query**2, 1)
    mine = law.along * law.first + law.across * law.second
    features = law.along**2 + law.across**2
    for drawn_values, values in (
        (overlap, mine),
        (overlap**2, mine**2),
        (overlap**3, mine**3),
        (block * square, features * law.query_square),
        (block**2 * square, features**2 * law.query_square),
        (overlap * block * square, mine * features * law.query_square),
    ):
        error = drawn_values.std() / math.sqrt(drawn_values.size)
        assert abs(drawn_values.mean() - law.weight @ values) < THRESHOLD * error + QUADRATURE * abs(
            law.weight @ values
        )


def test_general_labels_of_both_signs_are_mirror_images():
    both = prompt_scalars(8, 8, 8, 0.1, "sign", "general", False, 1)
    one = prompt_scalars(8, 8, 8, 0.1, "sign", "margin", False, 1)
    for sign in (-1, 1):
        part = both.label == sign
        total = both.weight[part] @ (both.along * both.first)[part]
        assert total == pytest.approx(sign * (one.weight @ (one.along * one.first)) / 2, rel=1e-3)
