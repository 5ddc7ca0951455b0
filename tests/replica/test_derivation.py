"""The chain as a whole: stages in order, every symbol known, changes and disagreements refused."""

import pytest
import sympy as sp

from iclglass.replica import derivation as module
from iclglass.replica import symbols as S
from iclglass.replica.derivation import STAGES, derive
from iclglass.replica.model import linear_attention


def test_stages_in_order(derivation):
    assert tuple(stage.name for stage in derivation.stages) == STAGES
    for stage in derivation.stages:
        assert stage.equations
        assert stage.title
        assert len(stage.text.split()) > 5
        assert all(isinstance(equation, sp.Basic) for equation in stage.equations)
        assert sp.true not in stage.equations
        assert sp.false not in stage.equations


def test_stage_by_name(derivation):
    assert derivation.stage("replicon").equations[0].rhs == derivation.replicon
    with pytest.raises(ValueError, match="no stage 'nope'; the stages are model, disorder"):
        derivation.stage("nope")


def test_the_default_is_derived_once():
    assert derive() is derive()


@pytest.mark.slow
def test_a_given_model_is_derived_anew(derivation):
    again = derive(linear_attention())
    assert again is not derivation
    assert again.saddle_point == derivation.saddle_point
    assert again.closed_form == derivation.closed_form


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"prior_precision": 2 * S.lambda0}, {"label_noise": 2 * S.rho}], ids=str)
def test_models_without_a_closed_form_are_refused(change):
    with pytest.raises(ValueError, match=r"another model|does not hold"):
        derive(linear_attention(**change))


@pytest.mark.slow
def test_disagreement_of_the_two_roads_is_refused(monkeypatch):
    monkeypatch.setattr(module, "cavity_differences", lambda *_: (0, S.m, 0, 0))
    with pytest.raises(ValueError, match="replica and cavity disagree"):
        derive(linear_attention())


def test_every_symbol_of_the_results_is_in_the_table(derivation):
    table = {entry.symbol for entry in S.NOTATION}
    system, form, energy = derivation.system, derivation.closed_form, derivation.free_energy
    expressions = [
        *(part for equation in derivation.saddle_point for part in equation.args),
        *system.gradients,
        *(value for _, value in system.observables),
        system.a_definition.rhs,
        energy.functional,
        energy.spins,
        *(part for pair in energy.conjugates for part in pair),
        form.quadratic,
        *form.roots,
        *(part for pair in form.definitions for part in pair),
        *(value for _, value in form.outputs + form.thermal_outputs),
        *(equation.rhs for group in vars(derivation.limits).values() for equation in group),
        derivation.replicon,
        *(equation.rhs for equation in derivation.cavity.equations),
        *(getattr(derivation.moments, name) for name in ("label", "signal", "block", "last_row")),
        *(part for kind in derivation.couplings for part in (kind.mean, kind.variance)),
        derivation.model.loss,
        derivation.model.prior,
    ]
    used = set().union(*(expression.free_symbols for expression in expressions))
    assert used <= table, used - table
    assert {S.tau, S.lam, S.rho, S.alpha, S.m, S.q, S.chi} <= used
