"""The model is data: sizes, scaling, and nothing captured."""

import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.measures import PENALTIES
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


def test_scaled_energies():
    model = linear_attention(penalty="elastic_net")
    assert model.prior == S.lambda0 * S.sigma**2 / 2 + S.l0 * sp.Abs(S.sigma)
    assert sp.expand(model.penalty - PENALTIES["elastic_net"]) == 0
    assert model.strengths == (S.l1, S.lam)
    assert (S.l0, S.l1 / S.D ** sp.Rational(3, 2)) in model.scaling
    assert linear_attention().scaling == tuple(pair for pair in model.scaling if pair[0] != S.l0)


def test_diagonal_at_finite_and_infinite_dimension():
    lasso = linear_attention(penalty="elastic_net")
    w = S.diagonal
    assert lasso.diagonal_energy().expression == S.lam * w**2 / 2
    finite = lasso.diagonal_energy(S.D).expression
    assert sp.expand(finite - S.lam * w**2 / 2 - S.l1 * sp.Abs(w) / sp.sqrt(S.D)) == 0
    assert lasso.diagonal_energy(D=25).expression == S.lam * w**2 / 2 + S.l1 * sp.Abs(w) / 5
    one_sided = linear_attention(penalty=sp.Max(S.scaled_spin, 0) ** 2).diagonal_energy()
    assert [piece.expression for piece in one_sided.pieces] == [0, w**2]


def test_strengths_that_are_not_scaled_are_refused():
    with pytest.raises(ValueError, match="depends on D"):
        _ = linear_attention(prior_precision=sp.Integer(3)).penalty


def test_disorder_is_read_back():
    model = linear_attention(label_noise=2 * S.rho, task_variance=sp.Integer(3), labels="sign")
    assert (model.label_noise, model.task_variance) == (2 * S.rho, 3)
    assert isinstance(model.label, sp.sign)
    assert linear_attention(label_noise=sp.S.Zero).label_noise == 0
    assert repr(model).startswith("Model('linear attention, one task per prompt', loss=(-f + y)**2/2, ")
