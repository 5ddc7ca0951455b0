r"""What a visit to one spin needs of the prompts: the quadratic form of squared error, or the predictions for any loss.

Spins s = sqrt(D) W, states (data sets, chains, n), spins in the order of W.ravel(), Boltzmann weight exp(-E/T) with

    E = D^2 H = (D^2/P) sum_mu l(y, f) + sum_i r(s_i)

    SquaredErrorVisits   J s with J = (D/P) S^T S: the spin is drawn from its law, O(n) a visit
    AnyLossVisits        f = S s/sqrt(D): a proposal is accepted by the loss of all prompts, O(P) a visit
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.spin_glass import hessian
from iclglass.validation.samplers.one_spin import OneSpin

__all__ = ["AnyLossVisits", "SquaredErrorVisits"]

FloatArray = NDArray[np.float64]
Loss = Callable[[FloatArray, FloatArray], FloatArray]

_WANTED = 0.44
"""Share of accepted proposals of one spin at a time that moves it best (Roberts and Rosenthal 2001)."""


class SquaredErrorVisits:
    """Heat bath under (y - f)^2/2: J by its rows, (n, data sets, n), b = (D^(3/2)/P) S^T y, and J s as it changes."""

    def __init__(self, data: Sequence[Instance], temperature: float) -> None:
        size = data[0].dimension
        self.temperature, self.dimension = temperature, size
        self.rows = np.stack([size * hessian(each) for each in data], axis=1)
        self.diagonal = np.einsum("isi->si", self.rows).copy()
        self.field = np.array(
            [size**1.5 * each.features.in_double().adjoint(each.label).ravel() / each.prompts for each in data]
        )
        self.constant = np.array([np.mean(each.label.astype(np.float64) ** 2) / 2 for each in data])
        self.fields = self.update = np.empty(0)

    def start(self, state: FloatArray) -> None:
        """J s anew."""
        self.fields = np.matmul(state, self.rows.transpose(1, 0, 2))
        self.update = np.empty_like(self.fields)

    def visit(self, spin: int, law: OneSpin, state: FloatArray, uniform: FloatArray, *, adapt: bool) -> None:
        """Draw one spin given all others; uniform: (2, data sets, chains)."""
        current = state[:, :, spin].copy()
        curvature = self.diagonal[:, spin, None]
        field = self.field[:, spin, None] - self.fields[:, :, spin] + curvature * current
        new = law.draw(curvature, field, self.temperature, current, uniform)
        np.multiply((new - current)[:, :, None], self.rows[spin, :, None, :], out=self.update)
        self.fields += self.update
        state[:, :, spin] = new

    def loss(self, state: FloatArray) -> FloatArray:
        """(1/P) sum (y - f)^2/2, (data sets, chains)."""
        pairs = np.einsum("scn,scn->sc", state, self.fields / 2 - self.field[:, None, :])
        result: FloatArray = self.constant[:, None] + pairs / self.dimension**2
        return result


class AnyLossVisits:
    """Metropolis under l(y, f): the predictions (data sets, chains, P) as they change, a step size for every spin."""

    def __init__(self, data: Sequence[Instance], temperature: float, loss: Loss) -> None:
        self.temperature, self.dimension, self.function = temperature, data[0].dimension, loss
        self.context = np.stack([each.context.astype(np.float64).T for each in data])
        self.query = np.stack([each.query.astype(np.float64).T for each in data])
        self.label = np.stack([each.label.astype(np.float64) for each in data])[:, None, :]
        spins = self.context.shape[1] * self.query.shape[1]
        self.steps = np.full((len(data), spins), np.sqrt(temperature))
        self.visits = 0
        self.predictions = self.losses = np.empty(0)

    def start(self, state: FloatArray) -> None:
        """f and l anew."""
        sets, chains, _ = state.shape
        weights = state.reshape(sets, chains, self.context.shape[1], -1) / np.sqrt(self.dimension)
        images = np.matmul(weights.transpose(0, 1, 3, 2), self.context[:, None])
        self.predictions = np.einsum("scjp,sjp->scp", images, self.query)
        self.losses = self.function(self.label, self.predictions)

    def visit(self, spin: int, law: OneSpin, state: FloatArray, uniform: FloatArray, *, adapt: bool) -> None:
        """Offer one spin another value; adapt: move its step towards an acceptance of 0.44 (in the warm-up only)."""
        row, column = divmod(spin, self.dimension)
        current = state[:, :, spin].copy()
        new = law.propose(current, self.steps[:, spin, None], uniform[0])
        feature = self.context[:, row] * self.query[:, column] / np.sqrt(self.dimension)
        predictions = self.predictions + (new - current)[:, :, None] * feature[:, None, :]
        losses = self.function(self.label, predictions)
        change = self.dimension**2 * np.mean(losses - self.losses, axis=2) + law.penalty(new) - law.penalty(current)
        taken = -change >= self.temperature * np.log(uniform[1])
        state[:, :, spin] = np.where(taken, new, current)
        self.predictions = np.where(taken[:, :, None], predictions, self.predictions)
        self.losses = np.where(taken[:, :, None], losses, self.losses)
        if adapt:
            self.visits += 1
            gain = 2.0 / np.sqrt(1 + self.visits / self.steps.shape[1])
            self.steps[:, spin] *= np.exp(gain * (taken.mean(axis=1) - _WANTED))

    def loss(self, state: FloatArray) -> FloatArray:
        """(1/P) sum l(y, f), (data sets, chains)."""
        result: FloatArray = self.losses.mean(axis=2)
        return result
