"""The model is data: sizes, scaling, and nothing captured."""

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.model import linear_attention


def test_blocks_and_their_sizes():
    model = linear_attention()
    assert model.block("block").size == S.D**2
    assert model.block("last row").size == S.D
    # The column of the masked query label carries no spins: D(D + 1) of (D + 1)^2 are active.
    assert sum(block.size for block in model.blocks) == sp.expand(S.D * (S.D + 1))


def test_feature_at_moves_free_indices_only():
    block = linear_attention().block("block")
    i, j = block.indices
    other = sp.symbols("k e", integer=True)
    moved = block.feature_at(*other)
    assert moved.free_symbols & {i, j} == set()
    assert moved.xreplace(dict(zip(other, (i, j), strict=True))) == block.feature


def test_features_by_hand_at_dimension_two():
    model = linear_attention()
    at = {S.D: 2, S.N: 1, S.norm: 3, S.rho: 4}
    x, w, xt, eps = S.x, S.w, S.xt, S.eps
    label = (w[1] * x[1, 1] + w[2] * x[1, 2]) / sp.sqrt(2) + 2 * eps[1]
    block = model.block("block").feature_at(sp.Integer(1), sp.Integer(2)).subs(at).doit()
    assert sp.expand(block - label * x[1, 1] * xt[2] / 3) == 0
    last = model.block("last row").feature_at(sp.Integer(2)).subs(at).doit()
    assert sp.expand(last - label**2 * xt[2] / 3) == 0
    query = (w[1] * xt[1] + w[2] * xt[2]) / sp.sqrt(2) + 2 * S.epst[1]
    assert sp.expand(model.label.subs(at).doit() - query) == 0


def test_scaling_leaves_dimension_and_scaled_parameters():
    model = linear_attention()
    mixed = S.P * S.lambda0 * S.beta * S.N / S.norm**2
    assert sp.simplify(model.scaled(mixed) - S.tau * S.lam * S.betahat * S.D**2 / S.alpha) == 0
    assert model.large_dimension((S.N + 1) / (S.norm + 7)) == 1
    assert model.large_dimension((S.D + 1) / S.N) == 1 / S.alpha
