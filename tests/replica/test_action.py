"""Average over the prompts: symbolic n against explicit determinants and Gauss-Hermite integration."""

import dataclasses

import numpy as np
import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.action import GaussianAverage, quadratic_form, replicate
from iclglass.replica.free_energy import free_energy
from iclglass.replica.model import linear_attention
from iclglass.replica.quadratic import log_prompt, prompt_law
from tests.tolerances import QUADRATURE, THIRTY_DIGITS

MODEL = linear_attention()
NUMBERS = {
    S.m: sp.Rational(2, 5),
    S.q: sp.Rational(1, 3),
    S.Delta: sp.Rational(3, 7),
    S.a: sp.Rational(9, 4),
    S.g: sp.Rational(5, 6),
    S.rho: sp.Rational(1, 8),
    S.tau: sp.Rational(7, 3),
}


@pytest.fixture(scope="module")
def action():
    return replicate(MODEL)


def prompt_average(action, size):
    """GaussianAverage of n replicas, with every replica's prediction a symbol of its own."""
    replicas = sp.symbols(f"f1:{size + 1}", real=True)
    exponent = -S.g * sum((S.y - replica) ** 2 / 2 for replica in replicas)
    return GaussianAverage(exponent, sp.Tuple(S.y, *replicas), action.covariance(size))


def test_moments_of_label_and_predictions(action):
    """The covariance by hand: label 1 + rho, label with prediction m, predictions a Q."""
    assert action.label == 1 + S.rho
    assert action.signal == 1
    assert sp.expand(action.feature - 1 - (1 + S.rho) / S.alpha) == 0
    assert action.spin_precision == S.betahat * S.lam
    explicit = action.covariance(2)
    expected = sp.Matrix(
        [
            [1 + S.rho, S.m, S.m],
            [S.m, S.a * (S.q + S.Delta), S.a * S.q],
            [S.m, S.a * S.q, S.a * (S.q + S.Delta)],
        ]
    )
    assert sp.expand(explicit - expected) == sp.zeros(3, 3)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_replicas_in_one_field_are_the_average_of_replicas(action, size):
    """E exp(n Lambda_p) over the common field against the determinant of n replicas with their covariance."""
    average = prompt_average(action, size)
    done = average.doit()
    assert not done.has(GaussianAverage)
    common = sp.exp(size * log_prompt(action, S.a * S.Delta))
    law = prompt_law(action)
    fields = (S.y, S.f_cav)
    form = quadratic_form(
        -size * sp.expand(log_prompt(action, S.a * S.Delta) + sp.log(1 + S.g * S.a * S.Delta) / 2), fields
    )
    covariance = law.covariance.extract([0, 2], [0, 2])
    in_field = 1 / sp.sqrt((sp.eye(2) + form * covariance).det() * (1 + S.g * S.a * S.Delta) ** size)
    assert common.has(S.f_cav)
    assert abs(sp.N((in_field / done - 1).subs(NUMBERS), 30)) < THIRTY_DIGITS


@pytest.mark.parametrize("size", [1, 2])
def test_average_against_gauss_hermite(action, size):
    """det(1 + B C)^(-1/2) against an integral that knows no determinant."""
    average = prompt_average(action, size)
    exponent, fields, covariance = (part.subs(NUMBERS) for part in average.args)
    factor = np.linalg.cholesky(np.array(covariance.tolist(), dtype=float))
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / np.sqrt(2 * np.pi)
    grids = np.meshgrid(*[nodes] * (size + 1), indexing="ij")
    weight = np.ones_like(grids[0])
    for axis in range(size + 1):
        weight = weight * weights.reshape([-1 if index == axis else 1 for index in range(size + 1)])
    point = np.tensordot(factor, np.stack(grids), axes=1)
    g = float(NUMBERS[S.g])
    values = np.exp(-g / 2 * sum((point[0] - point[1 + replica]) ** 2 for replica in range(size)))
    integral = float((weight * values).sum())
    assert abs(integral / float(average.doit().subs(NUMBERS)) - 1) < QUADRATURE
    # The exponent integrated is the one that was averaged.
    assert quadratic_form(-exponent, tuple(fields)) is not None


@pytest.mark.parametrize(
    "exponent", [-sp.Abs(S.y - S.f), -((S.y - S.f) ** 4), -S.f, -(S.f**2) - 1, -sp.cosh(S.f)], ids=str
)
def test_averages_that_are_not_of_a_quadratic_form_stay(exponent):
    average = GaussianAverage(exponent, sp.Tuple(S.y, S.f), sp.ImmutableMatrix(sp.eye(2)))
    assert average.doit() == average
    assert quadratic_form(-exponent, (S.y, S.f)) is None


def test_quadratic_form_is_the_hessian():
    form = quadratic_form(3 * S.y**2 - 5 * S.y * S.f, (S.y, S.f))
    assert form == sp.ImmutableMatrix([[6, -5], [-5, 0]])


@pytest.mark.parametrize(
    "change",
    [
        {"loss": sp.Abs(S.y - S.f)},
        {"loss": (S.y - S.f) ** 4},
        {"loss": sp.Max(0, 1 - S.y * S.f)},
        {"prior": S.sigma**4},
        {"prior": sp.Abs(S.sigma)},
        {"spins": "binary"},
        {"labels": "sign"},
    ],
    ids=str,
)
def test_closed_forms_need_a_quadratic_loss_and_prior(change):
    action = replicate(dataclasses.replace(MODEL, **change))
    with pytest.raises(ValueError, match="must be quadratic forms"):
        free_energy(action)


def test_a_model_that_does_not_close_on_the_overlaps_is_refused():
    """Symmetrised features bring in Tr W W beside Tr W W^T."""
    block = MODEL.block("block")
    i, j = block.indices
    symmetric = block.feature + block.feature_at(j, i)
    broken = dataclasses.replace(MODEL, blocks=(dataclasses.replace(block, feature=symmetric), MODEL.block("last row")))
    with pytest.raises(ValueError, match="does not close"):
        replicate(broken)


def test_two_large_blocks_are_refused():
    block = MODEL.block("block")
    with pytest.raises(ValueError, match="2 blocks have of order D\\^2 spins"):
        replicate(dataclasses.replace(MODEL, blocks=(block, block)))


def test_last_row_drops_out(action):
    """The last row is a fraction 1/D of the spins: without it the action is the same."""
    alone = dataclasses.replace(MODEL, blocks=(MODEL.block("block"),))
    assert replicate(alone) == action
