"""Losses as data: what is found from the expressions, and what goes with what."""

import pytest
import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.losses import LABELS, LOSSES, Loss, refusal
from iclglass.replica.model import linear_attention

FOUND = {  # translation, margin, linear labels
    "squared_error": (True, True, True),
    "absolute_error": (True, True, True),
    "huber": (True, True, True),
    "log_loss": (False, True, False),
    "hinge": (False, True, False),
}


def test_every_loss_is_here():
    assert set(FOUND) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_form_is_found(name):
    loss = LOSSES[name]
    translation, margin, linear = FOUND[name]
    assert (loss.name, loss.translation, loss.margin) == (name, translation, margin)
    assert ("linear" in loss.labels) == linear
    # The column of labels in the table is what the expressions say.
    assert loss.labels == tuple(labels for labels in LABELS if refusal(loss.expression, labels) is None)
    assert loss.energy.convex is True if name != "hinge" else loss.energy.at({S.y: 1}).convex is True


@pytest.mark.parametrize("name", ["log_loss", "hinge"])
def test_margin_loss_of_linear_labels_is_refused_with_the_reason(name):
    with pytest.raises(ValueError, match=r"margin loss.*no loss of a regression; take labels='sign'"):
        linear_attention(loss=name)
    assert linear_attention(loss=name, labels="sign").labels == "sign"


def test_neither_translation_nor_margin():
    tilted = sp.Piecewise((2 * (S.f - S.y), S.f > S.y), (S.y - S.f, True))
    loss = Loss("pinball", tilted, "dearer above")
    assert loss.translation
    assert not loss.margin
    assert not Loss("own", (S.y**2 - S.f) ** 2, "").translation


def test_a_new_loss_is_one_entry(monkeypatch):
    width = sp.Rational(1, 10)
    monkeypatch.setitem(
        LOSSES,
        "epsilon_insensitive",
        Loss("epsilon_insensitive", sp.Max(0, sp.Abs(S.y - S.f) - width), "residual beyond a tube"),
    )
    energy = linear_attention(loss="epsilon_insensitive").loss_energy
    assert energy.kinks == (S.y - width, S.y + width)
    assert energy.convex is True
    assert [piece[2:] for piece in energy.quadratic] == [(S.y - width, -1, 0), (0, 0, 0), (-S.y - width, 1, 0)]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"loss": "cubic"}, "loss must be one of squared_error"),
        ({"labels": "real"}, "labels must be one of linear, sign"),
        ({"spins": "complex"}, "spins must be one of real"),
        ({"penalty": "bridge"}, "penalty must be one of ridge"),
    ],
)
def test_unknown_names(what, message):
    with pytest.raises(ValueError, match=message):
        linear_attention(**what)
