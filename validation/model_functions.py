r"""A chosen model as functions that simulate it: loss and penalty of a minimiser, laws of spins of a sampler.

Losses and penalties that are shipped are those of `validation.minimisers`, written out by hand: nothing of them is
shared with the theory that they are held against. Of an own model the expressions are all there is; they become
functions here, piece by piece. Source of the scaling: sqrt(D) W = s, W's penalty is r(s)/D^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.model_choice import chosen
from iclglass.numerics.parameters import Parameters
from iclglass.validation.minimisers.functions import Loss, OneBodyFunctions, Penalty, proximal_point
from iclglass.validation.minimisers.losses import ABSOLUTE_ERROR, HINGE, LOG_LOSS, SQUARED_ERROR, huber, smooth_loss
from iclglass.validation.minimisers.penalties import scaled_elastic_net
from iclglass.validation.samplers.one_spin import Lattice, Levels, OneSpin, Pieces, Walk, elastic_net
from iclglass.validation.samplers.spins import Spins

if TYPE_CHECKING:
    from iclglass.numerics.lowering.one_body import OneBody
    from iclglass.replica.energies import Energy
    from iclglass.replica.model import Model

__all__ = ["labels_of", "loss_of", "minimised", "refuse_unsimulated", "sampled"]

FloatArray = NDArray[np.float64]

_FIXED = {loss.name: loss for loss in (SQUARED_ERROR, ABSOLUTE_ERROR, LOG_LOSS, HINGE)}
_WIDE = np.linspace(-60.0, 60.0, 4801)
"""Where the curvature of an own loss is looked at."""


def labels_of(parameters: Parameters) -> str:
    """ "linear" or "sign", of the words or of the own model."""
    return parameters.labels if parameters.model is None else parameters.model.labels


def refuse_unsimulated(parameters: Parameters) -> None:
    """Refuse what no data set can be simulated of.

    Raises ParameterError: the ground state of discrete spins, or of a loss or penalty that is not convex; tasks of
    another variance than 1; another ansatz than replica symmetry.
    """
    if parameters.ansatz != "rs":
        raise ParameterError(
            f"ansatz = {parameters.ansatz!r} is not judged by simulation, which does not find the states of a glass: "
            "leave it out"
        )
    choice = chosen(parameters)
    if choice.model.task_variance != 1:
        raise ParameterError(
            f"data sets of a model with task variance {choice.model.task_variance} are not simulated: give tasks of "
            "that variance to ridge regression, or the model the variance 1"
        )
    if np.any(parameters.nuclear) and np.any(parameters.ridge):
        raise ParameterError("data sets with nuclear and ridge together are not simulated: set one of them to 0")
    if np.any(parameters.temperature > 0):
        return
    model = choice.model
    if model.spin_energy.discrete:
        raise ParameterError(
            f"the ground state of spins = {model.spins!r} cannot be found on a data set in reasonable time: give a "
            "temperature above 0, at which they are sampled"
        )
    if parameters.model is None:
        return  # all that are shipped are convex
    # Where labels are signs, the pieces of a loss may depend on which.
    signs = [{symbol: y for symbol in model.loss.free_symbols if symbol.name == "y"} for y in (-1, 1)]
    losses = [model.loss_energy.at(sign) for sign in signs] if model.labels == "sign" else [model.loss_energy]
    for what, energy in (*(("loss", loss) for loss in losses), ("penalty", model.spin_energy)):
        if energy.convex is False:
            raise ParameterError(
                f"the {what} {energy.expression} is not convex, so that minima found on a data set need not be the "
                "lowest: give a temperature above 0, at which weights are sampled"
            )


def loss_of(parameters: Parameters) -> Loss:
    """The loss of one prompt.

    >>> loss_of(Parameters(task_diversity=1, context_length=1, loss="huber")).name
    'huber'
    """
    if parameters.model is None:
        known = _FIXED.get(parameters.loss)
        return huber(float(parameters.huber_threshold)) if known is None else known
    return _own_loss(parameters.model, tuple(_strengths(parameters).items()))


@cache
def _own_loss(model: Model, strengths: tuple[tuple[str, float], ...]) -> Loss:
    # Imported here: it brings SymPy, which an own model has brought already.
    from iclglass.replica.losses import translation

    own, alike = _OwnEnergy.of(model.loss_energy, dict(strengths)), translation(model.loss)
    if not own.smooth:
        return Loss(name="own loss", value=own.value_at, prox=own.prox_at, translation=alike)
    functions = own.value_at, own.slope_at, own.curvature_at
    return smooth_loss(*functions, name="own loss", curvature_bound=own.bound(), translation=alike)


def minimised(parameters: Parameters, dimension: int) -> OneBodyFunctions:
    """What is minimised at T = 0: the loss, and the penalty of one unscaled spin."""
    if parameters.model is None:
        penalty = scaled_elastic_net(
            dimension,
            ridge=float(parameters.ridge),
            l1=float(parameters.l1),
            nonnegative=parameters.spins == "nonnegative",
        )
        return OneBodyFunctions(loss_of(parameters), penalty)
    own = _own_spins(parameters.model, tuple(_strengths(parameters).items()))
    return OneBodyFunctions(loss_of(parameters), own.penalty(dimension))


@cache
def _own_spins(model: Model, strengths: tuple[tuple[str, float], ...]) -> _OwnEnergy:
    return _OwnEnergy.of(model.spin_energy, dict(strengths))


def sampled(parameters: Parameters) -> tuple[Spins, Callable[[FloatArray, FloatArray], FloatArray] | None]:
    """What is sampled at T > 0: the laws of the spins, and l(y, f); None: the squared error."""
    loss = None if parameters.model is None and parameters.loss == "squared_error" else loss_of(parameters).value
    if parameters.model is None:
        ridge, l1 = float(parameters.ridge), float(parameters.l1)
        real: OneSpin = Pieces(elastic_net(l1=l1, ridge=ridge, positive=parameters.spins == "nonnegative"))
        return Spins(real, _discrete(parameters.spins, float(parameters.spacing)) or real, real), loss
    model, strengths = parameters.model, _strengths(parameters)
    real = _own_law(model.spin_energy if not model.spin_energy.discrete else _diagonal(model), strengths)
    return Spins(real, _discrete(model.spins, strengths.get("spacing", 1.0)) or real, real), loss


def _discrete(spins: str, spacing: float) -> OneSpin | None:
    """The law of discrete spins, which have no energy of their own; None for continuous ones."""
    if spins == "integer":
        return Lattice(spacing, np.zeros_like)
    steps = {"binary": (-1.0, 1.0), "ternary": (-1.0, 0.0, 1.0)}.get(spins)
    return None if steps is None else Levels(spacing * np.array(steps), np.zeros(len(steps)))


def _strengths(parameters: Parameters) -> dict[str, float]:
    return {name: float(value) for name, value in chosen(parameters).strengths.items()}


def _diagonal(model: Model) -> Energy:
    """r(s) of the diagonal spins beside discrete ones, as a function of s: that at D = 1."""
    return model.diagonal_energy(1)


def _own_law(energy: Energy, strengths: dict[str, float]) -> OneSpin:
    """Exact where the penalty is a parabola on each piece, and nowhere bends down."""
    own = _OwnEnergy.of(energy, strengths)
    if energy.quadratic is not None:
        values = {symbol: strengths[symbol.name] for symbol in energy.expression.free_symbols - {energy.variable}}
        pieces = np.array([[float(part.subs(values)) for part in piece] for piece in energy.quadratic])
        if np.all(pieces[:, 4] >= 0):
            return Pieces(pieces)
    return Walk(own.value, low=0.0 if energy.support == "half-line" else -math.inf)


class _OwnEnergy:
    """An own loss or penalty as functions of arrays, at given strengths."""

    def __init__(self, body: OneBody, strengths: dict[str, float]) -> None:
        self.body, self.strengths = body, strengths
        self.smooth = len(body.pieces) == 1
        self.positive = body.energy.support == "half-line"

    @staticmethod
    def of(energy: Energy, strengths: dict[str, float]) -> _OwnEnergy:
        # Imported here: it brings SymPy, which an own model has brought already.
        from iclglass.numerics.lowering.one_body import one_body

        return _OwnEnergy(one_body(energy), strengths)

    def _arguments(self, label: FloatArray | None) -> tuple[Any, ...]:
        named: dict[str, Any] = self.strengths if label is None else self.strengths | {"y": label}
        return tuple(named[str(symbol)] for symbol in self.body.symbols)

    def _on_pieces(self, part: str, x: FloatArray, label: FloatArray | None) -> FloatArray:
        arguments = self._arguments(label)
        result = np.zeros(np.shape(x))
        for piece in self.body.pieces:
            inside = (x >= piece.low(x, *arguments)) & (x <= piece.high(x, *arguments))
            result = np.where(inside, getattr(piece, part)(x, *arguments), result)
        return result

    def value_at(self, label: FloatArray, x: FloatArray) -> FloatArray:
        """l(y, f)."""
        return self._on_pieces("energy", x, label)

    def slope_at(self, label: FloatArray, x: FloatArray) -> FloatArray:
        """dl/df."""
        return self._on_pieces("slope", x, label)

    def curvature_at(self, label: FloatArray, x: FloatArray) -> FloatArray:
        """d^2l/df^2."""
        return self._on_pieces("curvature", x, label)

    def value(self, x: FloatArray) -> FloatArray:
        """r(s)."""
        return self._on_pieces("energy", x, None)

    def bound(self) -> float:
        """The largest curvature seen, if it is seen to be bounded: not growing towards where one stops looking."""
        labels = np.array([-3.0, -1.0, -0.3, 0.0, 0.3, 1.0, 3.0])[:, None]
        seen = self.curvature_at(labels, _WIDE[None, :] + np.zeros_like(labels))
        inner = float(np.max(seen[:, 600:-600]))
        return 1.05 * inner if np.all(np.isfinite(seen)) and inner >= float(np.max(seen)) - 1e-9 else math.inf

    def prox_at(self, label: FloatArray, centre: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The proximal point of the loss."""
        label, centre, step = np.broadcast_arrays(label, centre, step)
        return self._prox(label, centre, step)

    def penalty(self, dimension: int) -> Penalty:
        """r0(W) = r(sqrt(D) W)/D^2 of an unscaled spin."""
        root = math.sqrt(dimension)

        def value(weights: FloatArray) -> FloatArray:
            return self.value(root * weights) / dimension**2

        def prox(centre: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
            # In s: r(s) + (s - sqrt(D) x)^2 D/(2 V).
            point, derivative = self._prox(None, root * centre, step / dimension + np.zeros_like(centre))
            return point / root, derivative

        return Penalty(name="own penalty", value=value, prox=prox)

    def _prox(self, label: FloatArray | None, centre: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
        if self.smooth:
            piece, arguments = self.body.pieces[0], self._arguments(label)
            point, derivative = proximal_point(
                lambda x: piece.slope(x, *arguments) + np.zeros_like(x),
                lambda x: piece.curvature(x, *arguments) + np.zeros_like(x),
                centre,
                step,
            )
            if self.positive:
                return np.maximum(point, 0.0), np.where(point > 0, derivative, 0.0)
            return point, derivative
        named = {name: np.full_like(centre, value) for name, value in self.strengths.items()}
        if label is not None:
            named["y"] = label
        # Imported here: it brings SymPy, which an own model has brought already.
        from iclglass.numerics.lowering.answers import answer

        point, _ = answer(self.body, centre / step, 1 / step, named)
        arguments = self._arguments(label)
        # At a kink the point does not move.
        free = np.zeros(np.shape(point), dtype=np.bool_)
        for piece in self.body.pieces:
            free |= (point > piece.low(point, *arguments)) & (point < piece.high(point, *arguments))
        return point, free / (1 + step * self._on_pieces("curvature", point, label))
