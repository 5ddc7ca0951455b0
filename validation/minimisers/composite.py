r"""Smooth part plus separable penalty: accelerated proximal gradients, then semi-smooth Newton steps.

    H(W) = (1/P) sum_mu l(y_mu, s_mu.W) + sum_ij r(W_ij),      l of bounded curvature

A proximal step from W with steps d_ij for the spins, each the inverse of a bound on the Hessian in the metric of its
own diagonal, is W+ = prox(W - d grad). Its fixed points are the minima.

FISTA (Beck and Teboulle 2009), its momentum restarted where the step points uphill (O'Donoghue and Candes 2015), finds
which spins are free. Newton's step on F(W) = W - W+ then solves, with J the derivative of prox and A the Hessian of the
smooth part,

    [(1/J - 1)/d + A] x = -F/(d J)   on free spins (J > 0),      x = -F on the others,

and is exact once the free spins and the pieces of the loss are right. It is followed by a proximal step and kept if the
energy is lower, or what is left of the optimality conditions at equal energy; otherwise it is shortened, then the
Hessian is damped (Levenberg, Marquardt) and FISTA goes on, longer every time.

The certificate is a subgradient of H at the point returned: xi = grad(W+) - grad(W) + (W - W+)/d, exactly. For convex H
it bounds H(W+) - min H <= |xi| |W+ - W_min|. It is stated relative to the gradient at W = 0, both as largest entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse.linalg import LinearOperator, eigsh

from iclglass.numerics.arguments import FloatArray
from iclglass.numerics.instance.data import Instance

__all__ = ["Composite", "Iterate", "Smooth", "curvature_of_features", "descend"]

Slopes = Callable[[FloatArray], tuple[FloatArray, FloatArray]]

_BURST, _LONGEST = 40, 2000
"""Steps of FISTA before Newton's steps are tried: at first, and at the most (they double)."""
_NEWTON = 40
"""Newton's steps in a row."""
_LENGTHS = (1.0, 0.5, 0.2, 0.05)
"""Fractions of Newton's step that are tried."""
_DAMPINGS = (1e-9, 1e-6, 1e-4, 1e-2)
"""Added to the Hessian, relative to 1/d: more after a step that was too long, less after a good one."""
_ROUNDING = 1e-12
"""A relative change of the energy that may be rounding."""


@dataclass(frozen=True)
class Smooth:
    """Smooth loss of every prompt as a function of the predictions f, (P,): value, slope, curvature, and its bound."""

    value: Callable[[FloatArray], FloatArray]
    slope: Callable[[FloatArray], FloatArray]
    curvature: Callable[[FloatArray], FloatArray]
    bound: float


@dataclass(frozen=True)
class Iterate:
    """Weights, predictions, gradient of the smooth part, energy, and the proximal step from there."""

    weights: FloatArray
    prediction: FloatArray
    gradient: FloatArray
    energy: float


def curvature_of_features(data: Instance, scale: FloatArray) -> float:
    """Largest eigenvalue of S^T S/P after every spin is multiplied by its scale, rounded up by 2 %."""
    shape, size = scale.shape, scale.size

    def product(vector: FloatArray) -> FloatArray:
        image = np.einsum("pd,pd->p", data.context @ (vector.reshape(shape) * scale), data.query)
        return (scale * (data.context.T @ (image[:, None] * data.query))).ravel() / data.prompts

    if size < 3:
        return float(np.linalg.eigvalsh(np.array([product(row) for row in np.eye(size)]))[-1]) * 1.02
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    start = np.random.default_rng(1).standard_normal(size)
    found = eigsh(operator, k=1, tol=1e-2, v0=start, return_eigenvectors=False, ncv=min(size, 12))
    return float(found[0]) * 1.02


@dataclass(frozen=True, eq=False)
class Composite:
    """The energy of one data set; prox and penalty act on all weights."""

    data: Instance
    smooth: Smooth
    prox: Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
    penalty: Callable[[FloatArray], FloatArray]
    unit_steps: FloatArray
    """Steps d_ij at curvature 1 of the loss."""

    @cached_property
    def steps(self) -> FloatArray:
        return self.unit_steps / self.smooth.bound

    def predict(self, weights: FloatArray) -> FloatArray:
        product: FloatArray = np.einsum("pd,pd->p", self.data.context @ weights, self.data.query)
        return product

    def adjoint(self, pulls: FloatArray) -> FloatArray:
        """S^T r/P."""
        return self.data.context.T @ (pulls[:, None] * self.data.query) / self.data.prompts

    def at(self, weights: FloatArray) -> Iterate:
        prediction = self.predict(weights)
        energy = float(np.mean(self.smooth.value(prediction)) + np.sum(self.penalty(weights)))
        return Iterate(weights, prediction, self.adjoint(self.smooth.slope(prediction)), energy)

    def stepped(self, point: Iterate) -> tuple[Iterate, float]:
        """The point one proximal step further, and the largest entry of its subgradient."""
        new = self.at(self.prox(point.weights - self.steps * point.gradient, self.steps)[0])
        subgradient = new.gradient - point.gradient + (point.weights - new.weights) / self.steps
        return new, float(np.max(np.abs(subgradient)))

    def fista(self, weights: FloatArray, iterations: int, tolerance: float) -> tuple[FloatArray, int]:
        """Weights after so many accelerated steps, or fewer; and how many."""
        ahead, momentum, steps = weights, 1.0, self.steps
        for iteration in range(1, iterations + 1):
            gradient = self.adjoint(self.smooth.slope(self.predict(ahead)))
            new, _ = self.prox(ahead - steps * gradient, steps)
            back = (ahead - new) / steps
            if np.max(np.abs(back)) <= tolerance / 4:
                return new, iteration
            change = new - weights
            if np.vdot(back, change) > 0:
                momentum = 1.0
            following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            ahead = new + (momentum - 1) / following * change
            weights, momentum = new, following
        return weights, iterations

    def newton(self, point: Iterate, damping: float) -> FloatArray | None:
        """Newton's change of the weights; None where its equations cannot be solved."""
        steps = self.steps
        target, derivative = self.prox(point.weights - steps * point.gradient, steps)
        residual = point.weights - target
        free = derivative > 1e-12
        change = np.where(free, 0.0, -residual)
        curvature = self.smooth.curvature(point.prediction) / self.data.prompts
        if not free.any():
            return change
        rows, columns = np.nonzero(free)
        slack = (1 / derivative[free] - 1 + damping) / steps[free]
        coupled = self.adjoint(self.data.prompts * curvature * self.predict(change))[free]
        right = -residual[free] / (steps[free] * derivative[free]) - coupled
        bent = curvature > 0
        features = self.data.context[np.ix_(bent, rows)] * self.data.query[np.ix_(bent, columns)]
        features *= np.sqrt(curvature[bent])[:, None]
        try:
            change[free] = _solve(features, slack, right)
        except LinAlgError:
            return None
        return change


def _solve(features: FloatArray, slack: FloatArray, right: FloatArray) -> FloatArray:
    """(diag(slack) + F^T F)^{-1} right, through the smaller of the two sides where that loses no digits."""
    rows, columns = features.shape
    if rows < 0.8 * columns and np.min(slack) > 1e-6 * np.mean(np.sum(features**2, axis=0)):
        scaled = features / np.sqrt(slack)
        inner = scaled @ scaled.T
        inner[np.diag_indices(rows)] += 1
        start = right / slack
        return start - (scaled.T @ cho_solve(cho_factor(inner, overwrite_a=True), features @ start)) / np.sqrt(slack)
    matrix = features.T @ features
    matrix[np.diag_indices(columns)] += slack
    solution: FloatArray = cho_solve(cho_factor(matrix, overwrite_a=True), right)
    return solution


def descend(
    problem: Composite, weights: FloatArray, tolerance: float, *, warm: bool = False, most: int = 20_000
) -> tuple[Iterate, float, int]:
    """The minimum, the largest entry of its subgradient (at most the tolerance, if it was reached), and the steps.

    warm : start with Newton's steps.
    """
    burst, used, level = 0 if warm else _BURST, 0, 0
    point, residual = problem.stepped(problem.at(weights))
    while residual > tolerance and used < most:
        if burst:
            weights, steps = problem.fista(point.weights, burst, tolerance)
            used += steps
            point, residual = problem.stepped(problem.at(weights))
        for _ in range(_NEWTON):
            if residual <= tolerance:
                break
            used += 1
            better = _newton_step(problem, point, residual, level)
            if better is None:
                level = min(level + 1, len(_DAMPINGS) - 1)
                break
            point, residual, level = better
        burst = min(max(_BURST, 2 * burst), _LONGEST)
    return point, residual, used


def _newton_step(problem: Composite, point: Iterate, residual: float, level: int) -> tuple[Iterate, float, int] | None:
    """A better point, what is left there, and the damping to try next; None where none of the steps is better."""
    change = problem.newton(point, _DAMPINGS[level])
    if change is None:
        return None
    slack = _ROUNDING * abs(point.energy)
    for length in _LENGTHS:
        new, left = problem.stepped(problem.at(point.weights + length * change))
        if new.energy < point.energy - slack or (left < 0.5 * residual and new.energy <= point.energy + slack):
            level += 1 if length < 0.5 else -1 if length == 1 else 0
            return new, left, min(max(level, 0), len(_DAMPINGS) - 1)
    return None
