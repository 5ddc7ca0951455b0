r"""Averages over the Marchenko-Pastur law that stay accurate at the hard edge, at any time and any ridge.

With c = 1/tau and x = 1 + c + 2 sqrt(c) cos(theta) the bulk is (2/pi) sin(theta)^2/x d theta: Gauss-Chebyshev nodes of
the second kind are the trapezoidal rule in theta. They fail where the integrand varies on a small scale next to the
lower edge (c near 1, with a small ridge or a long time). With cos(theta) = tanh(u) instead,

    < g >  =  [1 - tau]_+ g(0)  +  (2/pi) int du sech(u)^3 g(x)/x,      x = x_- + 4 sqrt(c)/(1 + exp(-2u)),

every small scale becomes a shift of u, and the trapezoidal rule in u converges at a rate that depends on no parameter:
all integrands here are analytic and bounded for |Im u| < pi/4, so the error is of order exp(-pi^2/(2 step)), 7e-18 at
step 1/8. Source: this project, notes/learning_curves.md.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["DEEPEST", "Modes", "bulk_rule", "deepest_scale", "lower_edge"]

Array = NDArray[np.float64]

_STEP = 1 / 8
# The integrands fall at least as exp(u) to the left of their last scale, and as exp(-3u) to the right of 0.
_LEFT, _RIGHT = 37.0, 13.0
# exp(-3 |u|) and the x it is divided by must stay far from underflow.
_MOST_LEFT = 220.0
DEEPEST = -180.0
"""Smallest scale of u that leaves the rule its full range to the left."""


def lower_edge(tau: Array) -> Array:
    """x_- = (1 - sqrt(1/tau))^2 without cancellation near tau = 1.

    >>> lower_edge(np.array([4.0, 1.0, 0.25])).tolist()
    [0.25, 0.0, 1.0]
    """
    edge: Array = np.square((tau - 1) / (tau + np.sqrt(tau)))
    return edge


def deepest_scale(tau: Array, a: Array, lam: Array, time: Array) -> Array:
    """u below which nothing varies any more: there 4 a sqrt(c) exp(2u) = a x_- + lam + 1/t, or u = 0.

    >>> float(deepest_scale(*(np.array(v) for v in (1.0, 1.0, 4e-8, np.inf))).round(6))
    -9.21034
    """
    scale = np.sqrt(tau) * (lower_edge(tau) + (lam + 1 / time) / a) / 4
    deepest: Array = np.minimum(np.log(scale) / 2, 0.0)
    return deepest


def bulk_rule(deepest: float) -> tuple[Array, Array]:
    """Nodes and weights in u for integrands whose smallest scale is ``deepest`` (see `deepest_scale`).

    The nodes are 1/(1 + exp(-2u)), (nodes,): x = x_- + 4 sqrt(c) times them. The weights, (nodes, 2), are those of the
    rule and of that with twice the step, which shares nodes, for (2/pi) int du sech(u)^3.

    >>> _, weights = bulk_rule(0.0)
    >>> np.allclose(weights.sum(axis=0), 1, rtol=0, atol=[1e-14, 1e-8])  # int sech^3 = pi/2
    True
    """
    left = int(min(_LEFT - deepest, _MOST_LEFT) / _STEP)
    numbers = np.arange(-left, int(_RIGHT / _STEP) + 1)
    u = _STEP * numbers
    weight = (2 / np.pi) * _STEP / np.cosh(u) ** 3
    coarse = np.where(numbers % 2 == 0, 2 * weight, 0.0)
    return 1 / (1 + np.exp(-2 * u)), np.stack([weight, coarse], axis=1)


class Modes:
    """The directions of the Hessian along the flow: x and, of its rate a x + lam, e and f, (points, nodes) each.

    The parameters, (points,) each, become columns; a = 1 + b; ``above`` is x less its lower edge ``low``.
    """

    def __init__(
        self,
        *,
        time: Array,
        task_diversity: Array,
        context_length: Array,
        label_noise: Array,
        ridge: Array,
        initial_overlap: Array,
        test_context_length: Array,
    ) -> None:
        given = (time, task_diversity, label_noise, ridge, initial_overlap)
        self.time, self.tau, self.rho, self.lam, self.q0 = (array[:, None] for array in given)
        self.b, self.b_test = ((1 + self.rho) / length[:, None] for length in (context_length, test_context_length))
        self.a = 1 + self.b
        self.deepest = deepest_scale(self.tau, self.a, self.lam, self.time)
        usable = self.deepest[np.isfinite(self.deepest)]
        rise, self._weights = bulk_rule(float(max(usable.min(initial=0.0), DEEPEST)))
        self.low, self.above = lower_edge(self.tau), 4 / np.sqrt(self.tau) * rise
        self.x = self.low + self.above
        self.rate = self.a * self.x + self.lam
        exponent = -self.rate * self.time
        self.decay = np.exp(exponent)
        self.gain = -np.expm1(exponent) / self.rate

    def average(self, integrand: Array) -> Array:
        """< x integrand > by the rule and by that with twice the step, (points, 2); an atom at 0 does not count."""
        result: Array = integrand @ self._weights
        return result
