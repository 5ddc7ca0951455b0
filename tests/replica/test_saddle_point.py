"""Stationarity: the equations of the notes, and the predicted change when the model's data change."""

import dataclasses

import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.action import replicate
from iclglass.replica.cavity import cavity, cavity_differences
from iclglass.replica.disorder import label_moments
from iclglass.replica.free_energy import free_energy
from iclglass.replica.model import linear_attention
from iclglass.replica.saddle_point import reductions, saddle_point
from iclglass.replica.system import system as general_system

SCREENING = 1 + S.a * S.chi / S.tau


def solved(model):
    action = replicate(model)
    energy = free_energy(action)
    return action, energy, saddle_point(action, energy)


def same(left, right):
    return sp.simplify(left - right) == 0


def agree(equations, expected):
    assert [equation.lhs for equation in equations] == [1 / S.chi, S.m, S.q]
    for equation, right in zip(equations, expected, strict=True):
        assert same(equation.rhs, right), equation


def by_hand(*, lam=S.lam, label=1 + S.rho, signal=1):
    error = label - 2 * signal * S.m + S.a * S.q
    return (
        lam + S.a / SCREENING,
        signal * S.chi / SCREENING,
        S.m**2 + S.a / S.tau * (S.m / signal) ** 2 * error,
    )


def test_equations_are_those_of_the_notes(derivation):
    agree(derivation.saddle_point, by_hand())
    assert same(derivation.system.a_definition.rhs, 1 + (1 + S.rho) / S.alpha)


def test_gradients_vanish_on_the_equations(derivation):
    """The equations were rearranged after differentiation; put back, every derivative of phi must vanish."""
    phi = derivation.free_energy.functional
    chi = sp.Symbol("X", positive=True)
    m = chi / (1 + S.a * chi / S.tau)
    q = sp.solve(sp.Eq(S.q, (m**2 + S.a / S.tau * m**2 * (1 + S.rho - 2 * m + S.a * S.q))), S.q)[0]
    lam = 1 / chi - S.a / (1 + S.a * chi / S.tau)
    for variable in (S.q, S.m, S.Delta):
        at = sp.diff(phi, variable).subs(S.lam, lam).subs({S.q: q, S.m: m}).subs(S.Delta, chi / S.betahat)
        assert sp.simplify(at) == 0, variable


def test_observables_by_hand(derivation):
    observables = dict(derivation.system.observables)
    a, a_test = S.a, 1 + (1 + S.rho) / S.alpha_test
    error = 1 + S.rho - 2 * S.m + a * S.q
    icl = 1 + S.rho - 2 * S.m + a_test * S.q
    assert same(observables["q_self"], S.q + S.T * S.chi)
    assert same(observables["e_icl"], icl)
    assert same(observables["e_icl_gibbs"], icl + a_test * S.T * S.chi)
    assert same(observables["e_idg"], error)
    assert same(observables["e_train"], error / SCREENING**2)
    assert same(observables["contrast"] ** 2, S.m**2 / S.q)
    # Energy of the prompts: half the train error plus the thermal part of the residuals; ridge: lam q_self/2.
    thermal = S.T * a * S.chi / SCREENING / 2
    energy = error / SCREENING**2 / 2 + thermal + S.lam * (S.q + S.T * S.chi) / 2
    assert same(observables["energy"], energy)
    phi = derivation.free_energy.functional.subs({S.Delta: S.T * S.chi, S.betahat: 1 / S.T})
    assert same(observables["free_energy"], -S.T * phi)
    assert same(observables["entropy"], (observables["energy"] - observables["free_energy"]) / S.T)


# Change of the model -> what must change in the equations, worked out by hand from the notes.
v = sp.Symbol("v", positive=True)
CHANGES = {
    "prior twice as stiff": ({"prior_precision": 2 * S.lambda0}, {"lam": 2 * S.lam}, 1 + (1 + S.rho) / S.alpha),
    "prior without scale": ({"prior_precision": 3 * S.lambda0 / 7}, {"lam": 3 * S.lam / 7}, 1 + (1 + S.rho) / S.alpha),
    "label noise three times": (
        {"label_noise": 3 * S.rho},
        {"label": 1 + 3 * S.rho},
        1 + (1 + 3 * S.rho) / S.alpha,
    ),
    "no label noise": ({"label_noise": sp.S.Zero}, {"label": sp.S.One}, 1 + 1 / S.alpha),
    "task variance": (
        {"task_variance": v},
        {"label": v + S.rho, "signal": v},
        v + (v + S.rho) / S.alpha,
    ),
}


@pytest.mark.parametrize(
    "name", [name if not index else pytest.param(name, marks=pytest.mark.slow) for index, name in enumerate(CHANGES)]
)
def test_changed_models_change_the_equations_as_predicted(name):
    change, prediction, feature = CHANGES[name]
    model = linear_attention(**change)
    action, _, system = solved(model)
    agree(system.equations, by_hand(**prediction))
    assert same(system.a_definition.rhs, feature)
    general = general_system(model, thermal=False)
    assert reductions(system, action, general) == (0, 0, 0, 0)
    assert set(cavity_differences(cavity(model, label_moments(model)), general)) == {0}
    # Nothing of the default is left: the change is seen in at least one equation or in a.
    default = by_hand()
    changed = [not same(e.rhs, d) for e, d in zip(system.equations, default, strict=True)]
    assert any(changed) or not same(system.a_definition.rhs, 1 + (1 + S.rho) / S.alpha)


def test_loss_without_the_factor_one_half():
    """(y - f)^2 is the default at twice the inverse temperature and half the ridge: chi -> 2 chi, lam -> lam/2.

    e_train is the squared error whatever the factor: e_idg/(1 + leverage)^2 with leverage 2 a chi/tau.
    """
    _, _, system = solved(dataclasses.replace(linear_attention(), loss=(S.y - S.f) ** 2))
    twice = {S.chi: 2 * S.chi, S.lam: S.lam / 2}
    inverse_chi, m, q = (value.subs(twice, simultaneous=True) for value in by_hand())
    agree(system.equations, (2 * inverse_chi, m, q))
    expected = (1 + S.rho - 2 * S.m + S.a * S.q) / (1 + 2 * S.a * S.chi / S.tau) ** 2
    assert same(dict(system.observables)["e_train"], expected)
