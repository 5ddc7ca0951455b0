"""A user's own Hamiltonian: a loss and a penalty as SymPy expressions, checked before anything is derived."""

from collections.abc import Callable

import sympy as sp

from iclglass.replica import model, model_checks
from iclglass.replica import symbols as S
from iclglass.replica.energies import Energy
from iclglass.replica.losses import LABELS, LOSSES
from iclglass.replica.measures import MEASURES, PENALTIES

__all__ = ["Model"]


def Model(
    loss: str | sp.Expr | Callable[[sp.Symbol, sp.Symbol], sp.Expr] = "squared_error",
    penalty: str | sp.Expr | Callable[[sp.Symbol], sp.Expr] = "ridge",
    *,
    labels: str = "linear",
    spins: str = "real",
    name: str = "own model",
) -> model.Model:
    r"""The linear attention layer with an energy of one's own.

    Equation: H = (1/P) sum_mu loss(y^mu, f^mu) + (1/D^2) sum over spins of penalty(sqrt(D) W). Source: this project.

    Parameters
    ----------
    loss
        Cost of predicting f for label y: a function (y, f) that returns a SymPy expression, an expression in
        `replica.symbols.y` and `f`, or a name (squared_error, absolute_error, huber, log_loss, hinge).
    penalty
        Energy of one scaled spin s = sqrt(D) W: a function of s, an expression in `replica.symbols.scaled_spin`, or a
        name (ridge, lasso, elastic_net). Beside discrete spins it acts on the diagonal only, which stays real.
    labels
        "linear", or "sign" for labels -1 and 1.
    spins
        Where spins off the diagonal may lie: real, nonnegative, binary, ternary or integer.
    name
        Title of the derivation.

    Returns
    -------
    replica.model.Model
        What `derive`, `solve` and `validate` take. Numbers are part of the model, decimals as the fractions they are;
        strengths that are to stay free are the symbols ``lam``, ``l1`` and ``huber_threshold`` of `replica.symbols`.

    Raises
    ------
    TypeError
        The function is not symbolic, or takes other arguments.
    ValueError
        The energy holds an undeclared symbol, does not depend on its arguments, is complex or infinite somewhere, is
        not bounded below, grows faster than s^2, or goes not with the labels.

    Examples
    --------
    >>> import sympy as sp
    >>> own = Model(loss=lambda y, f: sp.log(sp.cosh(y - f)), penalty=lambda s: s**2 / 20 + (sp.sqrt(1 + s**2) - 1) / 2)
    >>> own.loss_energy.convex, own.spin_energy.convex, own.diagonal_energy().expression
    (True, True, diagonal**2/20)
    """
    costs = {each.name: each.expression for each in LOSSES.values()}
    cost = model_checks.expression_of(loss, (S.y, S.f), "loss", costs, "y, f")
    energy = model_checks.expression_of(penalty, (S.scaled_spin,), "penalty", PENALTIES, "s")
    model_checks.declared(cost, (S.y, S.f), "the loss")
    model_checks.declared(energy, (S.scaled_spin,), "the penalty")
    if not isinstance(name, str):
        raise TypeError(f"name must be text, got {type(name).__name__}")
    for value, table, what in ((labels, LABELS, "labels"), (spins, MEASURES, "spins")):
        if not isinstance(value, str) or value not in table:
            raise ValueError(f"{what} must be one of {', '.join(table)}, not {value!r}")

    # Kinks at 0.1 and at 1/10 are one.
    cost, energy = sp.nsimplify(cost, rational=True), sp.nsimplify(energy, rational=True)

    signs = (-1, 1) if labels == "sign" else None
    of_prediction = Energy(S.f, cost)
    model_checks.real_valued(of_prediction, "the loss", signs)
    model_checks.bounded_below(of_prediction, "the loss", signs)
    of_spin = Energy(S.scaled_spin, energy, MEASURES[spins].diagonal)
    model_checks.real_valued(of_spin, "the penalty")
    made = model.linear_attention(loss=cost, penalty=energy, labels=labels, spins=spins, name=name)
    model_checks.confined(of_spin)
    # Kinks are located now, not in the middle of a derivation.
    for at in ({},) if signs is None else ({S.y: sp.Integer(sign)} for sign in signs):
        _ = of_prediction.at(at).pieces
    return made
