"""The chain as a whole: stages in order, every symbol known, changes and disagreements refused."""

import dataclasses
import importlib

import pytest
import sympy as sp

from iclglass.cli import main
from iclglass.numerics.codegen import module_source
from iclglass.replica import derivation as module
from iclglass.replica import symbols as S
from iclglass.replica.derivation import STAGES, Derivation, derive
from iclglass.replica.model import linear_attention
from iclglass.replica.render import derivation_markdown, to_latex, to_text

FUNCTIONS = {
    "moments": "feature_moments",
    "labels": "label_moments",
    "general": "system",
    "couplings": "coupling_moments",
    "action": "replicate",
    "free_energy": "free_energy",
    "system": "saddle_point",
    "closed_form": "closed_form",
    "limits": "limits",
    "replicon": "closed_replicon",
    "cavity": "cavity",
    "pool": "pool_theory",
}
"""The function that computes each result."""
SADDLE_POINT = ("action", "general", "free_energy", "system")
NEEDS = {
    "model": (),
    "disorder": ("moments",),
    "couplings": ("couplings",),
    "action": ("action", "labels"),
    "functional": ("general",),
    "free-energy": ("action", "free_energy"),
    "saddle-point": SADDLE_POINT,
    "closed-form": (*SADDLE_POINT, "closed_form"),
    "limits": (*SADDLE_POINT, "closed_form", "limits"),
    "replicon": (*SADDLE_POINT, "replicon"),
    "cavity": ("labels", "general", "cavity"),
    "pool": ("action", "pool"),
}


@pytest.fixture
def computed(derivation, monkeypatch):
    """The results computed since: the functions take note and give what they gave before."""
    calls = []
    for result, function in FUNCTIONS.items():
        value = getattr(derivation, result)

        def counted(*_, result=result, value=value, **__):
            calls.append(result)
            return value

        monkeypatch.setattr(module, function, counted)
    return calls


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
    assert derivation.stage("replicon").equations[-1].rhs == derivation.replicon
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


GENERAL = ("model", "disorder", "couplings", "action", "functional", "saddle-point", "replicon", "cavity")


@pytest.mark.parametrize(
    ("change", "left_out"),
    [
        pytest.param({"prior_precision": 2 * S.lambda0}, (), id="prior", marks=pytest.mark.slow),
        pytest.param({"task_variance": sp.Integer(2)}, (), id="tasks", marks=pytest.mark.slow),
        pytest.param({"penalty": "lasso"}, ("free-energy",), id="lasso"),
        pytest.param({"spins": "binary"}, ("free-energy",), id="binary", marks=pytest.mark.slow),
        pytest.param(
            {"loss": "log_loss", "labels": "sign"}, ("free-energy", "disorder", "couplings"), id="classification"
        ),
    ],
)
def test_other_models_have_the_stages_that_are_theirs(change, left_out):
    derived = derive(linear_attention(**change))
    expected = tuple(name for name in STAGES if name in (*GENERAL, "free-energy") and name not in left_out)
    assert tuple(stage.name for stage in derived.stages) == expected
    assert to_text(derived.stages)
    assert r"\int D" in to_latex((derived.stage("saddle-point"),))
    for name in (*left_out, "closed-form", "limits", "pool"):
        with pytest.raises(ValueError, match=rf"stage '{name}' (needs|is proved for)"):
            derived.stage(name)
    if "free-energy" in left_out:
        assert derived.saddle_point == derived.general.equations
        assert derived.replicon == derived.general.replicon


def test_another_model_has_a_saddle_point_without_a_closed_form():
    equations = Derivation(linear_attention(prior_precision=2 * S.lambda0)).saddle_point
    assert equations == tuple(equation.subs(S.lam, 2 * S.lam) for equation in derive().saddle_point)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_computes_what_it_needs_once(derivation, computed, name):
    fresh = Derivation(derivation.model)
    assert computed == []
    for _ in range(2):
        assert fresh.stage(name) == derivation.stage(name)
    assert sorted(computed) == sorted(NEEDS[name])


def test_the_equations_alone_compute_nothing_after_them(derivation, computed):
    assert Derivation(derivation.model).saddle_point == derivation.saddle_point
    assert sorted(computed) == sorted(SADDLE_POINT)


def test_the_whole_chain_computes_everything_once(derivation, computed):
    fresh = Derivation(derivation.model)
    assert fresh.prove().stages == derivation.stages
    assert derivation_markdown(fresh) == derivation_markdown(derivation)
    assert sorted(computed) == sorted(FUNCTIONS)


@pytest.mark.parametrize("option", [("--stage", "saddle-point"), ()])
def test_the_command_computes_what_it_prints(derivation, computed, monkeypatch, capsys, option):
    fresh = Derivation(derivation.model)
    monkeypatch.setattr(module, "_derive_default", lambda: fresh)
    assert main(["derive", *option]) == 0
    assert "[saddle-point]" in capsys.readouterr().out
    assert sorted(computed) == sorted(SADDLE_POINT if option else FUNCTIONS)


def _wrong_moment(monkeypatch, derivation):
    wrong = dataclasses.replace(derivation.labels, kappa1=-derivation.labels.kappa1)
    monkeypatch.setattr(module, "label_moments", lambda _: wrong)


def _wrong_definition(monkeypatch, derivation):
    wrong = tuple((symbol, -value if symbol == S.z else value) for symbol, value in derivation.closed_form.definitions)
    monkeypatch.setattr(importlib.import_module("iclglass.replica.closed_form"), "_definitions", lambda: wrong)


def _wrong_stationary_point(monkeypatch, derivation):
    home = importlib.import_module("iclglass.replica.pool")
    parts = home._functional(derivation.action)
    monkeypatch.setattr(home, "_functional", lambda _: (parts[0], 2 * parts[1], *parts[2:]))


@pytest.mark.parametrize(
    ("broken", "result", "message"),
    [
        (_wrong_moment, "cavity", "replica and cavity disagree"),
        (_wrong_definition, "closed_form", "z does not hold"),
        (_wrong_stationary_point, "pool", "free energy of pools does not hold"),
    ],
)
def test_a_failing_proof_stops_its_stage_and_whatever_needs_the_whole(
    derivation, computed, monkeypatch, broken, result, message
):
    """The stage is computed in earnest from something wrong; the others are given."""
    function = FUNCTIONS[result]
    home = importlib.import_module(getattr(derivation, result).__class__.__module__)
    monkeypatch.setattr(module, function, getattr(home, function))
    broken(monkeypatch, derivation)
    fresh = Derivation(derivation.model)
    for refused in (
        lambda: fresh.stage(result.replace("_", "-")),
        fresh.prove,
        lambda: derive(derivation.model),
        lambda: derivation_markdown(fresh),
        lambda: module_source(fresh, "numpy"),
    ):
        with pytest.raises(ValueError, match=message):
            refused()
    assert fresh.saddle_point == derivation.saddle_point


def test_every_symbol_of_the_results_is_in_the_table(derivation):
    table = {entry.symbol for entry in S.NOTATION}
    names = ("disorder", "couplings", "free-energy", "saddle-point", "closed-form", "limits", "replicon")
    right = [getattr(equation, "rhs", equation) for name in names for equation in derivation.stage(name).equations]
    used = set().union(*(expression.free_symbols for expression in right))
    assert used <= table, used - table
    assert {S.tau, S.lam, S.rho, S.alpha, S.m, S.q, S.chi} <= used
