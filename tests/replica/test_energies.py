"""Energies: pieces, parabolas and convexity, each held against the expression it came from."""

import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.energies import Energy
from iclglass.replica.losses import LOSSES
from iclglass.replica.measures import MEASURES, PENALTIES
from iclglass.replica.model import linear_attention

s, y, f = S.scaled_spin, S.y, S.f
THIRD = sp.Rational(1, 3)

ENERGIES = {
    "squared": (f, (y - f) ** 2 / 2, 1, True, True),
    "absolute": (f, sp.Abs(y - f), 2, True, True),
    "huber": (f, LOSSES["huber"].expression, 3, True, True),
    "epsilon-insensitive": (f, sp.Max(0, sp.Abs(y - f) - THIRD), 3, True, True),
    "log cosh": (f, sp.log(sp.cosh(y - f)), 1, False, True),
    "log loss": (f, LOSSES["log_loss"].expression, 1, False, True),
    "hinge of 1": (f, LOSSES["hinge"].expression.subs(y, 1), 2, True, True),
    "hinge of -1": (f, LOSSES["hinge"].expression.subs(y, -1), 2, True, True),
    "elastic net": (s, PENALTIES["elastic_net"], 2, True, True),
    "smooth lasso": (s, sp.sqrt(1 + s**2) - 1, 1, False, True),
    "power 3/2": (s, sp.Abs(s) ** sp.Rational(3, 2), 2, False, True),
    "capped": (s, sp.Min(s**2, 1), 3, True, False),
    "root": (s, sp.sqrt(sp.Abs(s)), 2, False, False),
    "bump": (s, S.lam * s**2 / 2 - S.l1 * sp.Abs(s), 2, True, False),
    "jump": (s, sp.Heaviside(s) + s**2, 2, True, False),
    "sign": (s, s * sp.sign(s - 1), 2, True, False),
    "nested": (s, sp.Abs(sp.Abs(s) - 1), 4, True, False),
    "strength decides": (s, S.lam * s**2 - s**2 / 3, 1, True, None),
}


@pytest.mark.parametrize(("variable", "expression", "count", "quadratic", "convex"), ENERGIES.values(), ids=ENERGIES)
def test_pieces_parabolas_and_convexity(variable, expression, count, quadratic, convex):
    energy = Energy(variable, expression)
    assert len(energy.pieces) == count == len(energy.kinks) + 1
    assert energy.smooth == (count == 1)
    assert (energy.quadratic is not None) == quadratic
    assert energy.convex is convex


@pytest.mark.parametrize(("variable", "expression"), [case[:2] for case in ENERGIES.values()], ids=ENERGIES)
def test_pieces_are_the_expression(variable, expression):
    values = {y: sp.Rational(7, 5), S.lam: sp.Rational(1, 5), S.l1: sp.Rational(3, 4), S.huber_threshold: THIRD}
    energy = Energy(variable, expression)
    assert energy.pieces[0].low == -sp.oo
    assert energy.pieces[-1].high == sp.oo
    for number, piece in enumerate(energy.pieces):
        low, high = (end.subs(values) for end in (piece.low, piece.high))
        assert low < high
        for share in (THIRD, sp.Rational(9, 10)):
            inside = low + share * (high - low) if low.is_finite and high.is_finite else None
            if inside is None:
                inside = share if low == -high else (low + share * 5 if low.is_finite else high - share * 5)
            here = {**values, variable: inside}
            assert abs(sp.N((piece.expression - expression).subs(here))) < 1e-13
            if energy.quadratic is not None:
                _, _, c0, c1, c2 = energy.quadratic[number]
                assert abs(sp.N((c0 + c1 * variable + c2 * variable**2 - expression).subs(here))) < 1e-13


def test_kink_whose_order_depends_on_the_label_is_refused_and_at_a_label_found():
    hinge = LOSSES["hinge"].energy
    with pytest.raises(ValueError, match="depends on the values of other symbols"):
        _ = hinge.pieces
    assert hinge.at({y: 1}).kinks == (1,)
    assert hinge.at({y: -1}).kinks == (-1,)


def test_kink_that_cannot_be_located_is_refused():
    with pytest.raises(ValueError, match="cannot be located"):
        _ = Energy(s, sp.Abs(sp.sin(s))).pieces


def test_half_line_begins_at_zero():
    energy = Energy(s, S.l1 * sp.Abs(s), "half-line")
    assert [(piece.low, piece.high, piece.expression) for piece in energy.pieces] == [(0, sp.oo, S.l1 * s)]
    assert Energy(s, s**3, "half-line").convex is True
    assert Energy(s, s**3).convex is False


def test_derivatives_are_of_each_piece():
    assert Energy(s, PENALTIES["lasso"]).derivatives() == (-S.l1, S.l1)
    assert Energy(s, PENALTIES["ridge"]).derivatives(2) == (S.lam,)


@pytest.mark.parametrize("name", MEASURES)
def test_supports(name):
    measure = MEASURES[name]
    model = linear_attention(spins=name)
    energy = model.spin_energy
    assert (energy.support, energy.levels) == (measure.support, measure.levels)
    assert measure.diagonal == model.diagonal_energy().support
    assert measure.diagonal in ("real", "half-line")
    if energy.discrete:
        assert energy.expression == 0
        assert energy.convex is False
        assert S.spacing in model.strengths
        # The ridge stays on the diagonal.
        assert model.diagonal_energy().expression == S.lam * S.diagonal**2 / 2
