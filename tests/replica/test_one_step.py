"""One step of breaking, symbolically: its matrices, Parisi's derivatives, the symmetric theory inside it."""

import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.ansatz import OneStepMatrix
from iclglass.replica.functional import SYMMETRIC
from iclglass.replica.losses import LOSSES
from iclglass.replica.model import linear_attention
from iclglass.replica.theories.one_step import OneStep, one_step

d, u, v, e, f, g = sp.symbols("d u v e f g", positive=True)
BINARY = linear_attention(spins="binary")


@pytest.mark.parametrize(("size", "block"), [(2, 1), (4, 2), (6, 3), (6, 6)])
def test_every_operation_of_the_plain_matrix(size, block):
    shape = sp.Integer(block), sp.Integer(size)
    one, two = OneStepMatrix(d, u, v, *shape), OneStepMatrix(e, f, g, *shape)
    plain = one.explicit()
    assert all(plain[i, j] == v + (u if i // block == j // block else 0) + (d if i == j else 0)
               for i in range(size) for j in range(size))  # fmt: skip
    assert sp.expand(plain * two.explicit() - (one @ two).explicit()) == sp.zeros(size, size)
    assert sp.expand(one.trace() - plain.trace()) == 0
    assert sp.expand(one.sum_of_entries() - sum(plain)) == 0


def test_without_a_difference_it_is_the_symmetric_ansatz():
    same = {S.q1: S.q, S.q0: S.q, S.q1_hat: S.q_hat, S.q0_hat: S.q_hat}
    assert sp.expand(OneStep().constraints().subs(same) - SYMMETRIC.constraints()) == 0
    assert sp.expand(OneStep().precision().subs(same) - SYMMETRIC.precision()) == 0


@pytest.mark.parametrize("thermal", [False, True])
def test_fields_of_prompts_are_those_of_the_literature(thermal):
    """notes/glass.md, and theory of squared error with D_1 and D_0."""
    found = one_step(BINARY, thermal=thermal).prompts
    inner = 1 + S.a * S.chi / S.tau
    outer = inner + S.parisi * S.a * (S.q1 - S.q0) / S.tau
    error = S.kappa2 - 2 * S.kappa1 * S.m + S.a * S.q0
    common = S.a / S.tau * error / outer**2
    wanted = {S.K: S.a / inner, S.M: S.kappa1 / outer, S.Q0: common}
    wanted[S.Q1] = common + S.a**2 * (S.q1 - S.q0) / (S.tau * inner * outer)
    assert {name: sp.simplify(found[name] - value) for name, value in wanted.items()} == dict.fromkeys(wanted, 0)
    precision = one_step(BINARY, thermal=thermal).diagonal_precision.subs(found)
    assert sp.simplify(precision - S.a / outer) == 0


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - {"squared_error"}))
def test_other_losses_are_refused(loss):
    labels = "sign" if loss in ("log_loss", "hinge") else "linear"
    with pytest.raises(ValueError, match="squared error and linear labels"):
        one_step(linear_attention(loss=loss, labels=labels), thermal=False)
