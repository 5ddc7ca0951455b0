r"""Below how many prompts does the iteration that SG publish diverge? At D -> infinity, and at finite D.

It converges where its variances exist and no eigenvalue of v J is above 1 (`numerics.instance.stability`). At finite D
(this project) the variances are taken to be the same for all spins of the block and for all of the last row, with the
exact mean squares of the couplings between them (`replica.disorder`, kinds as in fig-1), r, r' = block, last row:

    1/v_r = lambda0 + E s_r^2 - sum_{r'} v_{r'} sum_{j in r'} E J_ij^2,      omega = v_block (E s_block^2 - edge) < 1

Here edge is the lower edge of the spectrum of S^T S/P. Its features point everywhere but differ in their squared norms
F: with t = F/D^2 averaged over the law of one prompt it is the largest value over g > 0 of (Silverstein and Choi 1995)

    E[t/(1 + D^2 t g/P)] - 1/g

At D -> infinity these are the conditions of `spin_by_spin_limit`.

Left out is that spins of one data set differ from each other: the least stable one goes first, so that the line at
finite D is still too low.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from iclglass.numerics.gamma_quadrature import PromptNodes, prompt_nodes
from iclglass.numerics.instance.stability import spin_by_spin_limit
from iclglass.numerics.moments import feature_moments
from iclglass.numerics.sizes import from_unscaled
from iclglass.validation.paper.fig_1 import derived_moments, kinds

__all__ = ["finite_line", "limit_line"]

FloatArray = NDArray[np.float64]

_LEAST, _MOST, _BISECTIONS = 1.0, 1e6, 26
_STEPS, _CHANGE = 5000, 1e-12
_BLOCK, _LAST = 0, -1


def limit_line(context: Sequence[int], *, dimension: int, ridges: Sequence[float]) -> FloatArray:
    """P below which it diverges at D -> infinity, (ridges, N); tau and alpha as at this D.

    >>> limit_line([20], dimension=20, ridges=[1.0, 0.05]).round(2).tolist()  # the first: 400 a/20
    [[40.0], [752.81]]
    """

    def converges(prompts: float, tokens: int, ridge0: float) -> bool:
        limit = spin_by_spin_limit(**from_unscaled(dimension, prompts=prompts, context=tokens, ridge0=ridge0))
        return limit.published[1] < 1  # false where there are no variances: NaN

    return np.array(
        [[_threshold(lambda p, n=n, r=r: converges(p, n, r)) for n in context] for r in ridges]  # type: ignore[misc]
    )


def finite_line(context: Sequence[int], *, dimension: int, ridges: Sequence[float]) -> FloatArray:
    """P below which it diverges at this D, (ridges, N), norm N; the module's docstring has the equations.

    >>> finite_line([40], dimension=20, ridges=[0.1]).round().tolist()
    [[628.0]]
    """
    columns = []
    for tokens in context:
        law = _Law(dimension, int(tokens))
        columns.append([_threshold(lambda p, r=r, law=law: law.converges(p, r)) for r in ridges])  # type: ignore[misc]
    return np.array(columns).T


def _threshold(converges: Callable[[float], bool]) -> float:
    low, high = _LEAST, _MOST
    if converges(low):
        return 0.0
    if not converges(high):
        return math.inf
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if converges(middle) else (middle, high)
    return high


class _Law:
    """What is needed of the prompts of one N: squares of couplings summed over partners, and feature norms."""

    def __init__(self, dimension: int, context: int) -> None:
        masks = kinds(dimension)
        # mean and variance of couplings of one prompt, squared and summed: J is an average over P independent ones
        self._mean, self._variance = np.zeros((2, 2)), np.zeros((2, 2))
        for name, (mean, variance) in derived_moments(dimension, context, prompts=1).items():
            if masks[name].ndim == 1:
                continue
            both = masks[name] | masks[name].T
            for spin in (_BLOCK, _LAST):
                partners = both[spin]
                split = [int(partners[:-dimension].sum()), int(partners[-dimension:].sum())]
                self._mean[spin] += np.array(split) * mean**2
                self._variance[spin] += np.array(split) * variance
        moments = feature_moments(dimension=dimension, context=context, label_noise=0.0, norm="N")
        self._onsite = np.array([moments.block / dimension, moments.last_row])
        self._nodes, self._dimension = prompt_nodes(dimension, context, context, 0.0), dimension

    def converges(self, prompts: float, ridge0: float) -> bool:
        variance = self._block_variance(prompts, ridge0)
        edge = _lower_edge(self._nodes, self._dimension, prompts)
        return variance is not None and variance * (self._onsite[_BLOCK] - edge) < 1

    def _block_variance(self, prompts: float, ridge0: float) -> float | None:
        """By iteration from 1/lambda, which rises to the least solution; None where there is none."""
        (bb, bl), (lb, ll) = (self._mean + self._variance / prompts).tolist()
        block, last = (ridge0 + self._onsite).tolist()
        v, w = 1 / block, 1 / last
        for _ in range(_STEPS):
            a, b = block - bb * v - bl * w, last - lb * v - ll * w
            if a <= 0 or b <= 0:
                return None
            change = abs(1 / (a * v) - 1)
            v, w = 1 / a, 1 / b
            if change < _CHANGE:
                return float(v)
        return None


def _lower_edge(nodes: PromptNodes, dimension: int, prompts: float) -> float:
    """Of the block's part of the spectrum of S^T S/P; 0 with fewer prompts than spins."""
    square = nodes.block / dimension**2
    ratio = dimension**2 / prompts

    def above(logarithm: float) -> float:
        g = math.exp(logarithm)
        return 1 / g - float(nodes.weight @ (square / (1 + ratio * square * g)))

    found = minimize_scalar(above, bounds=(-5.0, 25.0), method="bounded")
    return max(0.0, -float(found.fun))
