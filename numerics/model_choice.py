"""Which model parameters choose: one of the shipped ones in words, or an own one; and which parts do not go together.

Ridge regression, the default, has its closed form and needs no model as SymPy knows it. Everything else is a
`replica.model.Model` with the values of its strengths, which `numerics.handshake` solves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.parameters import STRENGTHS, Parameters
from iclglass.numerics.task_spectrum import ISOTROPIC

if TYPE_CHECKING:
    from iclglass.replica.model import Model

__all__ = ["FIELDS", "Choice", "chosen", "is_builtin", "refuse_unless_builtin", "shipped"]

DISCRETE = ("binary", "ternary", "integer")
TWO_VALUES = ("log_loss", "hinge")
"""Losses of the product of label and prediction."""
FIELDS = {"lam": "ridge"} | {name: name for name in STRENGTHS}
"""Name of a strength's symbol -> name of the parameter."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A model, and the values of its strengths by the names of their symbols, in the shape of the parameters.

    nuclear : whether weights are penalised as a matrix; ``strengths`` then has that strength beside those of the model.
    """

    model: Model
    strengths: Mapping[str, NDArray[np.float64]]

    @property
    def nuclear(self) -> bool:
        """Whether it is a matrix that is penalised, by the sum of its singular values."""
        return "nuclear" in self.strengths


def is_builtin(parameters: Parameters) -> bool:
    """Whether this is ridge regression: squared error, linear labels, real spins, no other penalty.

    >>> point = Parameters(task_diversity=2, context_length=1)
    >>> is_builtin(point), is_builtin(point.replaced(labels="sign")), is_builtin(point.replaced(l1=0.0))
    (True, False, True)
    """
    # A strength along an axis is there even where it is 0 all over; 0 is a default of those that add to the energy.
    return not {name for name, value in parameters.chosen.items() if name not in ("l1", "nuclear") or np.any(value)}


def refuse_unless_builtin(parameters: Parameters, what: str) -> None:
    """Refuse a chosen model where there is only the theory of ridge regression.

    Raises ParameterError: ``what`` is for ridge and squared error.
    """
    if not is_builtin(parameters):
        raise ParameterError(f"{what} is for ridge and squared error: leave out {_listed(parameters.chosen)}")


def chosen(parameters: Parameters) -> Choice:
    """The model that was chosen, with its strengths.

    Raises
    ------
    ParameterError
        Parts that do not go together; the sentence says which.

    Examples
    --------
    >>> chosen(Parameters(task_diversity=2, context_length=1, loss="hinge"))
    Traceback (most recent call last):
    iclglass.numerics.errors.ParameterError: loss = 'hinge' does not go with labels = 'linear': it is a function of \
label times prediction, so labels must be +1 or -1; take labels = 'sign', or another loss
    """
    for meets, sentence in _REFUSALS:
        if meets(parameters):
            raise ParameterError(sentence.format(**{name: getattr(parameters, name) for name in parameters.fields()}))
    nuclear = bool(np.any(parameters.nuclear))
    model = parameters.model
    if model is None:
        model = shipped(parameters.loss, parameters.labels, parameters.spins, lasso="l1" in parameters.chosen)
    names = [symbol.name for symbol in model.strengths]
    _refuse_strengths_without_symbol(parameters, names)
    strengths = {name: getattr(parameters, FIELDS[name]) for name in names if name in FIELDS}
    if nuclear:
        strengths["nuclear"] = parameters.nuclear
    return Choice(model, strengths)


@cache
def shipped(loss: str, labels: str, spins: str, *, lasso: bool) -> Model:
    """The model of these words, with a ridge, and with a lasso where that is asked for; made once."""
    # Imported here: it brings SymPy, which ridge regression does not need.
    from iclglass.replica.model import linear_attention

    return linear_attention(loss=loss, labels=labels, spins=spins, penalty="elastic_net" if lasso else "ridge")


def _refuse_strengths_without_symbol(parameters: Parameters, names: list[str]) -> None:
    """Of an own model: a strength that was given and that its expressions do not have."""
    if parameters.model is None:
        return
    given = {"ridge"} if np.any(parameters.ridge) else set()
    given |= set(parameters.chosen) & set(STRENGTHS) - {"nuclear"}
    lost = sorted(given - {FIELDS.get(name) for name in names})
    if lost:
        held = ", ".join(FIELDS[name] for name in names if name in FIELDS) or "none"
        raise ParameterError(
            f"{lost[0]} is given beside a model whose loss and penalty do not have it (they have: {held}): leave it "
            "out, or write the model with its symbol of iclglass.replica.symbols"
        )


def _listed(found: Mapping[str, object]) -> str:
    return ", ".join(name if name in ("model", *STRENGTHS) else f"{name} = {value!r}" for name, value in found.items())


def _has(name: str) -> Callable[[Parameters], bool]:
    return lambda parameters: name in parameters.chosen


def _uses(name: str) -> Callable[[Parameters], bool]:
    return lambda parameters: bool(np.any(getattr(parameters, name)))


def _both(*conditions: Callable[[Parameters], bool]) -> Callable[[Parameters], bool]:
    return lambda parameters: all(meets(parameters) for meets in conditions)


def _discrete(parameters: Parameters) -> bool:
    return parameters.spins in DISCRETE


def _squared(parameters: Parameters) -> bool:
    """Squared error and linear labels, in words or of an own model."""
    if parameters.model is None:
        return (parameters.loss, parameters.labels) == ("squared_error", "linear")
    from iclglass.replica.theories.one_step import quadratic

    return quadratic(parameters.model)


def _own(word: str) -> tuple[Callable[[Parameters], bool], str]:
    return (
        _both(_has("model"), _has(word)),
        f"{word} = {{{word}!r}} is given beside a model, which has its own: leave one of the two out",
    )


_REFUSALS: tuple[tuple[Callable[[Parameters], bool], str], ...] = (
    (
        _both(_has("ansatz"), lambda parameters: parameters.dimension is not None),
        "ansatz = {ansatz!r} is for D -> infinity: leave dimension out, or take 'rs'",
    ),
    (
        _both(_has("ansatz"), _uses("nuclear")),
        "ansatz = {ansatz!r} does not go with nuclear, a convex penalty of all weights together: take 'rs'",
    ),
    (
        _both(_has("ansatz"), lambda parameters: not _squared(parameters)),
        "ansatz = {ansatz!r} is for squared error and linear labels, where clusters of prompts have a closed form: "
        "leave loss and labels out, or take 'rs'",
    ),
    *(_own(word) for word in ("loss", "labels", "spins")),
    (
        lambda parameters: parameters.loss in TWO_VALUES and parameters.labels == "linear",
        "loss = {loss!r} does not go with labels = 'linear': it is a function of label times prediction, so labels "
        "must be +1 or -1; take labels = 'sign', or another loss",
    ),
    (_both(_uses("nuclear"), _has("model")), "nuclear does not go with an own model: leave one of the two out"),
    (
        _both(_uses("nuclear"), _uses("l1")),
        "nuclear does not go with l1: there is no theory of both penalties together; set one of them to 0",
    ),
    (
        _both(_uses("nuclear"), _has("spins")),
        "nuclear does not go with spins = {spins!r}: the nuclear norm is for real weights; take spins = 'real'",
    ),
    (
        _both(_uses("nuclear"), _uses("temperature")),
        "nuclear does not go with a temperature above 0: the theory of the nuclear norm is that of its minimiser; set "
        "temperature to 0",
    ),
    (
        _both(_uses("l1"), _discrete),
        "l1 does not go with spins = {spins!r}: discrete spins are a measure of their own and pay no lasso; set l1 to "
        "0, or take spins = 'real' or 'nonnegative'",
    ),
    (
        _both(_has("spacing"), lambda parameters: parameters.model is None and not _discrete(parameters)),
        "spacing does not go with spins = {spins!r}, which are continuous: leave it out, or take spins = 'binary', "
        "'ternary' or 'integer'",
    ),
    (
        _both(_has("huber_threshold"), lambda parameters: parameters.model is None and parameters.loss != "huber"),
        "huber_threshold does not go with loss = {loss!r}: leave it out, or take loss = 'huber'",
    ),
    (
        lambda parameters: parameters.tasks is not ISOTROPIC,
        "a spectrum of tasks does not go with this model: there the theory is for ridge and squared error; leave tasks "
        "out",
    ),
    (
        lambda parameters: bool(np.isfinite(parameters.distinct_tasks).any()),
        "a finite distinct_tasks does not go with this model: the theory of pools of tasks is for ridge and squared "
        "error; leave distinct_tasks out",
    ),
    (
        lambda parameters: (
            parameters.dimension is not None and bool(np.any(parameters.nuclear)) and parameters.last_row
        ),
        "nuclear at a dimension needs last_row = False: the last row of weights sees other fields than the block, and "
        "there is no theory of one nuclear norm over both; give last_row = False, or leave dimension out",
    ),
)
"""When parameters do not go together, and the sentence that says so."""
