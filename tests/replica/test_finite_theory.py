"""The theory at finite D as it is derived: its fields, its second moments, its limit."""

import numpy as np
import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.averages import Average
from iclglass.replica.losses import LOSSES
from iclglass.replica.model import linear_attention
from iclglass.replica.theories.finite import finite_system, second_moments

SQUARED = LOSSES["squared_error"].expression


@pytest.fixture(scope="module")
def found():
    return finite_system(linear_attention(loss="log_loss", labels="sign"), thermal=False)


def averages(expression):
    return {str(average) for average in expression.atoms(Average)}


def test_the_equations_are_those_of_the_cavity_argument(found):
    """theory.md 14 in scaled spins: one field for the whole block, another for the last row."""
    assert {str(key): str(value) for key, value in found.prompts.items()} == {
        "K": "-E_prompts[f_1*pull_slope]/D",
        "M": "K*m + E_prompts[o_x*pull]",
        "Q": "E_prompts[f_1*pull**2]/(D*tau)",
        "K_last": "-E_prompts[f_2*pull_slope]",
        "Q_last": "E_prompts[f_2*pull**2]/tau",
    }
    assert str(found.spins[S.m]) == "E_diagonal[spin]/sqrt(D)"
    assert sp.expand(found.leverage - (S.feature_block * S.chi + S.feature_last * S.chi_last) / (S.tau * S.D)) == 0
    assert sp.expand(found.variance - (S.feature_block * S.v + S.feature_last * S.v_last) / S.D) == 0


def test_temperature_changes_neither_side_but_adds_its_thermodynamics(found):
    warm = finite_system(found.model, thermal=True)
    assert warm.prompts == found.prompts
    assert warm.spins == found.spins
    assert set(warm.observables) - set(found.observables) == {"entropy"}
    assert warm.observables["q_self"] - found.observables["q_self"] == S.T * S.chi


def test_without_last_row_nothing_of_it_is_left():
    bare = finite_system(linear_attention(), thermal=True, last_row=False)
    parts = [*bare.prompts.values(), *bare.spins.values(), *bare.observables.values(), bare.leverage, bare.variance]
    last = {S.feature_last, S.v_last, S.chi_last, S.K_last, S.Q_last}
    assert not any(part.free_symbols & last for part in parts)
    assert not any("last" in name for part in parts for name in averages(part))
    assert bare.replicon.shape == (1, 1)


def test_by_parts_no_derivative_is_left(found):
    for side in (found.prompts_by_parts, found.spins_by_parts):
        assert not any(
            average.has(S.pull_slope, S.response) for part in side.values() for average in part.atoms(Average)
        )


def test_second_moments_are_averages_over_normal_variables_given_the_scalars():
    """Against quadrature over (y, o_x, fluctuation) with pull = (y - f_cav)/(1 + c) typed here."""
    rng = np.random.default_rng(3)
    nodes, weights = np.polynomial.hermite_e.hermegauss(6)
    grid = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij")).reshape(3, -1)
    weight = np.prod(np.meshgrid(*(weights / weights.sum(),) * 3, indexing="ij"), axis=0).ravel()
    table = second_moments(SQUARED)
    for _ in range(5):
        D, f_1, f_2, m, v, v_last, c, T, tau = rng.uniform(0.5, 2, 9)
        y_2, y_u = 2.0, rng.uniform(-1, 1) * np.sqrt(f_1 * D)
        root = np.linalg.cholesky([[y_2, y_u / D], [y_u / D, f_1 / D]])
        y, overlap = root @ grid[:2]
        f_cav = m * overlap + np.sqrt((f_1 * v + f_2 * v_last) / D) * grid[2]
        pull, slope, noise = (y - f_cav) / (1 + c), -1 / (1 + c), tau * T
        f = f_cav + c * pull
        values = {S.pull: pull, S.pull_slope: slope + 0 * y, S.query_overlap: overlap, S.y: y, S.f: f,
                  S.feature_block: f_1 + 0 * y, S.feature_last: f_2 + 0 * y,
                  S.mean_loss: (y - f) ** 2 / 2 + noise * c / (1 + c) / 2,
                  S.prompt_free: (y - f_cav) ** 2 / (1 + c) / 2 + noise * np.log(1 + c) / 2}  # fmt: skip
        numbers = {S.D: D, S.feature_block: f_1, S.feature_last: f_2, S.m: m, S.v: v, S.v_last: v_last, S.c: c, S.T: T,
                   S.tau: tau, S.label_square: y_2, S.label_signal: y_u}  # fmt: skip
        for integrand, closed in table.items():
            inside = sp.lambdify(list(values), integrand)(*values.values())
            assert float(closed.subs(numbers)) == pytest.approx(float(np.sum(weight * inside)), rel=1e-10), integrand


def test_the_squared_error_of_a_layer_is_the_average_of_its_second_moments():
    """Integrands that the system asks for are all in the table."""
    warm = finite_system(linear_attention(), thermal=True)
    parts = [*warm.prompts.values(), *warm.observables.values(), *warm.replicon]
    wanted = {average.integrand for part in parts for average in part.atoms(Average) if average.law == "prompts"}
    assert wanted <= set(second_moments(SQUARED))
