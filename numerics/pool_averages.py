r"""Averages over the prompts of pools of tasks: integrals over three scalars, nothing drawn and nothing expanded.

Given its task w and the square of the labels y.y = b Z, with t^2 = |w|^2/D, b = t^2 + rho and Z ~ chi2_N, the features
of a prompt are Gaussian: with o = w/sqrt(D) and s the size of the last feature (1 as in SG),

    U = norm (u, v):   mean Z (o, s b),   covariance Z (b 1 - o o^T) on the block, 0 in the last feature.

The finite-size theory averages functions of x2 = |x|^2 ~ chi2_D and Q = u.G u times polynomials in U. The functions are
Laplace transforms in Q,

    1/(1 + x2 Q/P) = int_0^inf (P/x2) exp(-theta P/x2) exp(-theta Q) dtheta,

and exp(-theta Q) leaves a Gaussian law Gaussian. In the variable psi = b Z theta/norm^2, on axes where the block of G
is diagonal with entries g_i, with c_i its entries beside the last feature, g_v its corner and d_i = 1/(1 + 2 psi g_i),

    delta = sum o_i^2 d_i,   kappa = 1 + 2 psi s sum o_i d_i c_i,
    eta   = (b kappa^2/(rho + delta) - 1)/2 + psi s^2 b (g_v - 2 psi sum c_i^2 d_i),
    <exp(-theta Q)> = prod_i d_i^(1/2) (b/(rho + delta))^(1/2) exp(-Z eta),

and under this weight, with p = (d_i o_i, 0), r = (-2 psi s d_i c_i, s), a = kappa/(rho + delta), D = diag(d_i, 0),

    U has the mean Z b (a p + r) and the covariance Z b (D - p p^T/(rho + delta)).

So a matrix average is a sum over tasks and over nodes of psi of products of a few vectors. The integral over psi is the
trapezoidal rule in x, psi = psi0 exp(x - exp(-x)); those over Z and x2 are Gauss quadrature. Source: this project,
notes/finite_size.md.

Tokens correlated along the prompt (`numerics.token_law`) have three numbers in the place of Z, and the same formulas
with others at every node of them: with l = a2/a3, Z becomes a3, rho becomes l rho (and b = t^2 + l rho), s becomes
f s with f = (t^2 a2 + rho a1)/(t^2 a3 + rho a2), and

    kappa = l + 2 psi f s sum o_i d_i c_i,   eta = (b kappa^2/(rho + delta) - l^2)/2 + psi (f s)^2 b (...).

Arrays over nodes have them as their last axis. Where all nodes have one law, as for independent tokens, sums over them
come first, and that axis has length 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.gamma_quadrature import scalar_nodes
from iclglass.numerics.moments import prompt_moments
from iclglass.numerics.token_law import context_nodes, noise_moments, squared_trace

__all__ = ["PolynomialAverages", "PoolPrompts", "TiltedPrompts"]

Array = NDArray[np.float64]

_STEP = 0.45
_LOWEST, _HIGHEST = -2.6, 4.6
"""Of x; beyond them nothing is left that weighs 1e-7."""

_NO_TASK = 1e-9
"""Entries of o that stand for a task zero."""
_NOTHING, _ROUNDING = 40.0, 1e-10
"""theta P/x2 above which nothing is left, theta (P/x2 + Q) below which nothing is left."""


@dataclass(frozen=True, eq=False)
class _Tilt:
    """What the weight exp(-theta Q) does at each node of psi: (pools, psi, ...), in the notation of the module.

    d, coupling : (pools, psi, D).    inverse, a, eta, logarithm : (pools, psi, K, nodes).
    """

    d: Array
    coupling: Array
    inverse: Array
    a: Array
    eta: Array
    logarithm: Array

    @classmethod
    def of(cls, law: "PoolPrompts", psi: Array, response: Array, task: Array) -> "_Tilt":
        """``response``: G on axes where its block is diagonal; ``task``: o on the same axes."""
        size, last = task.shape[2], law.last
        g = np.einsum("bii->bi", response[:, :size, :size])
        d = 1 / (1 + 2 * psi[:, None] * g[:, None, :])
        delta = d @ np.swapaxes(task**2, 1, 2)
        inverse = 1 / (law.noise + delta[..., None])
        b = law.spread[:, None]
        if response.shape[1] > size:
            edge, corner = response[:, :size, size], response[:, size, size]
            coupling = d * edge[:, None, :]
            across = 2 * last * psi[:, None] * (coupling @ np.swapaxes(task, 1, 2))
            kappa = law.ratio + across[..., None] * law.share[:, None]
            rest = corner[:, None] - 2 * psi * np.einsum("bnd,bd->bn", coupling, edge)
            own = psi * last**2 * rest
        else:
            coupling, own = np.zeros_like(d), np.zeros(d.shape[:2])
            kappa = np.broadcast_to(law.ratio, inverse.shape)
        return cls(
            d=d,
            coupling=coupling,
            inverse=inverse,
            a=kappa * inverse,
            eta=(b * kappa**2 * inverse - law.ratio**2) / 2 + own[:, :, None, None] * law.share[:, None] ** 2 * b,
            logarithm=(np.log(d).sum(axis=2)[:, :, None, None] + np.log(b * inverse)) / 2,
        )


class PoolPrompts:
    """The law of one prompt in each of several pools, and the part of its averages that does not depend on G.

    Parameters
    ----------
    tasks : (pools, K, D), at unit variance of their entries for isotropic tasks.
    context : N labelled tokens, >= 1.
    divisor : norm of the attention sum, N or N + 1.
    label_noise : rho >= 0.
    last_scale : s >= 0, the last feature in units of the mean squared label; 0: there is no last feature.
    prompts : P.
    unit : 1, or 0 for averages with 1/(x2 Q/P) in place of 1/(1 + x2 Q/P), the limit of no ridge.
    leverage : typical size of x2 Q/P, which places the nodes of psi.
    length : of the tokens' correlation along the prompt; 0: none.
    refine : 0, or more for the error of the quadrature: divides the step in x, adds nodes in Z and x2.

    Examples
    --------
    Without weights (G = 0) the average of x2 u u^T is that of the law itself:

    >>> law = PoolPrompts(np.eye(4)[None], context=8, divisor=8, label_noise=0.0, last_scale=1.0,
    ...                   prompts=20.0, unit=1.0, leverage=1e-3)
    >>> found = law.tilted(1e-9 * np.eye(5)[None]).squares(law.om_x2)[0]
    >>> np.allclose(np.diagonal(found)[:4], 4 * (10 / 8 + 3 / 8) / 16, rtol=1e-5)
    True
    """

    def __init__(
        self,
        tasks: Array,
        *,
        context: int,
        divisor: int,
        label_noise: float,
        last_scale: float,
        prompts: float,
        unit: float,
        leverage: float,
        length: float = 0.0,
        refine: int = 0,
    ) -> None:
        _, count, size = tasks.shape
        self.task = tasks / np.sqrt(size)
        if label_noise == 0:
            # A task zero without noise has no features: one of no matter, for which the formulas hold, stands for it.
            self.task = np.where(self.task.any(axis=2, keepdims=True), self.task, _NO_TASK)
        self.square = np.einsum("bkd,bkd->bk", self.task, self.task)
        self.variance = self.square + label_noise
        self.context, self.divisor, self.label_noise, self.last = context, divisor, label_noise, last_scale
        self.prompts, self.size, self.side = prompts, size, size + (last_scale > 0)
        self.unit, self.leverage = unit, leverage
        self.untilted_signal, self.untilted_squares = prompt_moments(
            np.swapaxes(self.task, 1, 2) @ self.task / count,
            self.variance.mean(axis=1),
            np.einsum("bk,bkd->bd", self.variance, self.task) / count,
            (self.variance**2).mean(axis=1),
            context=context,
            divisor=divisor,
            last_scale=last_scale,
            squared_trace=squared_trace(context, length),
        )
        """E[u o^T], (pools, side, D), and E[u u^T], (pools, side, side)."""
        if length > 0:
            self.untilted_squares += noise_moments(
                self.variance.mean(axis=1),
                self.task.mean(axis=1),
                context=context,
                divisor=divisor,
                label_noise=label_noise,
                length=length,
                last_scale=last_scale,
            )
        nodes = context_nodes(context, length, refine)
        self.labels, self._label_weight = nodes.three, nodes.weight
        ratio = np.ones(1) if nodes.alike else nodes.two / nodes.three
        self.ratio, self.noise = ratio, label_noise * ratio
        """l and the noise l rho, (nodes,); below b, f and the variance of a feature less its part along the task."""
        self.spread = self.square[..., None] + self.noise
        self.share = np.ones((1, 1, 1))
        if not nodes.alike:
            seen = self.square[..., None] * nodes.two + label_noise * nodes.one
            self.share = seen / (self.square[..., None] * nodes.three + label_noise * nodes.two)
        self._size_of_noise = self.spread * self.labels
        self._query, self._query_weight = scalar_nodes(size, refine)

        step = _STEP / (1 + refine)
        x = np.arange(_LOWEST - refine, _HIGHEST + refine, step)
        scale = 2 * size * float(self.variance.mean()) / (prompts * (unit + leverage) * context)
        self.psi = scale * np.exp(x - np.exp(-x))
        # theta/psi at each task and node of Z; nodes of the integral over theta with the weight of task and Z.
        theta = self.psi[:, None, None] * divisor**2 / self._size_of_noise[:, None]
        measure = ((1 + np.exp(-x)) * step)[:, None, None] * theta * (self._label_weight / count)
        decay = np.exp(-unit * prompts * theta[..., None] / self._query) * self._query_weight
        self.om_x2 = prompts * decay.sum(axis=-1) * measure
        """Weights of E[x2 om ...], (pools, psi, K, Z), om = 1/(1 + x2 Q/P); below those of om^2 with powers of x2."""
        squared = prompts**2 * theta * measure
        self.om2_x4 = decay.sum(axis=-1) * squared
        self.om2_x2 = (decay @ (1 / self._query)) * squared
        self.om2 = (decay @ (1 / self._query**2)) * squared

    def tilted(self, response: Array) -> "TiltedPrompts":
        """Averages at G = ``response``, (pools, side, side)."""
        return TiltedPrompts(self, response)

    def logarithm(self, response: Array) -> Array:
        """E[ln(1 + c) - c om], c = x2 Q/P and om = 1/(1 + c), (pools,), as

            int exp(-theta P/x2) (1 - theta P/x2) (1 - <exp(-theta Q)>) dtheta/theta.

        The integrand is a smooth step over as many orders of magnitude of theta as c is away from one: the trapezoidal
        rule in ln theta.
        """
        axes, rotated = _diagonal(response, self.size)
        typical = np.einsum("bij,bji->b", response, self.untilted_squares).max()
        scale = self._size_of_noise.max() / self.divisor**2
        highest = np.log(_NOTHING * self._query.max() / self.prompts * scale)
        lowest = np.log(_ROUNDING / (self.prompts / self.size + typical) * scale)
        psi = np.exp(np.arange(lowest, highest, _STEP))
        tilt = _Tilt.of(self, psi, rotated, self.task @ axes)
        ratio = self.prompts * self.divisor**2 / (self._size_of_noise[..., None] * self._query)
        found = np.zeros(response.shape[0])
        for node, value in enumerate(psi):  # one at a time: an array over all nodes would be large
            laplace = np.exp(tilt.logarithm[:, node] - tilt.eta[:, node] * self.labels)
            exponent = value * ratio
            step = (np.exp(-exponent) * (1 - exponent)) @ self._query_weight
            found += _STEP * ((step * (1 - laplace)) @ self._label_weight).mean(axis=1)
        return found


class TiltedPrompts:
    """Averages of `PoolPrompts` at one G in each pool. Results are on the axes where the block of G is diagonal.

    Attributes
    ----------
    axes : (pools, D, D), columns the axes.
    response : G on them.
    task : o on them, (pools, K, D).
    d, r : (pools, psi, D) and (pools, psi, side); inverse, a : (pools, psi, K, nodes): see the module.
    share : f, (pools, 1, K, nodes).
    """

    def __init__(self, law: PoolPrompts, response: Array) -> None:
        self.law = law
        self.axes, self.response = _diagonal(response, law.size)
        self.task = law.task @ self.axes
        tilt = _Tilt.of(law, law.psi, self.response, self.task)
        self.d, self.inverse, self.a, self.share = tilt.d, tilt.inverse, tilt.a, law.share[:, None]
        self.r = np.zeros((*tilt.d.shape[:2], law.side))
        if law.last:
            self.r[..., : law.size] = -2 * law.psi[:, None] * law.last * tilt.coupling
            self.r[..., law.size] = law.last
        self._factor = np.exp(tilt.logarithm - tilt.eta * law.labels)

    def powers(self, weights: Array, most: int) -> list[Array]:
        """<h (b Z)^j>, j = 0 .. most, (pools, psi, K, nodes) each, for the function h that has these weights."""
        tilted, spread = weights * self._factor, self.law.spread[:, None]
        if spread.shape[-1] > 1:
            return [tilted * (spread * self.law.labels) ** power for power in range(most + 1)]
        moments = tilted @ self.law.labels[:, None] ** np.arange(most + 1)
        return [moments[..., [power]] * spread**power for power in range(most + 1)]

    def mean(self, weights: Array) -> Array:
        """E[h], (pools,)."""
        found: Array = (weights * self._factor).sum(axis=(1, 2, 3))
        return found

    def label_mean(self, weights: Array) -> Array:
        """E[h t^2], (pools,)."""
        found: Array = (self.powers(weights, 0)[0] * self.law.square[:, None, :, None]).sum(axis=(1, 2, 3))
        return found

    def squares(self, weights: Array) -> Array:
        """E[h u u^T], (pools, side, side)."""
        _, first, second = self.powers(weights, 2)
        found = self.assemble(
            diagonal=first.sum(axis=(2, 3)),
            gram=self.gram(second * self.a**2 - first * self.inverse),
            edge=self.along(second * self.a * self.share),
            square=(second * self.share**2).sum(axis=(2, 3)),
        )
        return found / self.law.divisor**2

    def signal(self, weights: Array) -> Array:
        """E[h u o^T], (pools, side, D)."""
        _, first = self.powers(weights, 1)
        found = np.swapaxes(self.r, 1, 2) @ self.along(first * self.share)
        found[:, : self.law.size] += np.einsum("bni,bnij->bij", self.d, self.gram(first * self.a))
        return found / self.law.divisor

    def back(self, matrix: Array, *, both: bool = True) -> Array:
        """A matrix (pools, side, ...) on the axes of the tasks: its rows, and its columns if ``both``."""
        size = self.law.size
        result = matrix.copy()
        result[:, :size] = self.axes @ result[:, :size]
        if both:
            result[..., :size] = result[..., :size] @ np.swapaxes(self.axes, 1, 2)
        return result

    def along(self, coefficient: Array) -> Array:
        """sum_k coefficient_k o_k, (pools, psi, D), of coefficients (pools, psi, K, nodes)."""
        found: Array = coefficient.sum(axis=3) @ self.task
        return found

    def gram(self, coefficient: Array) -> Array:
        """sum_k coefficient_k o_k o_k^T, (pools, psi, D, D), of coefficients (pools, psi, K, nodes)."""
        return np.swapaxes(self.task[:, None] * coefficient.sum(axis=3)[..., None], 2, 3) @ self.task[:, None]

    def assemble(self, diagonal: Array, gram: Array, edge: Array, square: Array) -> Array:
        """sum over psi of diagonal D + D gram D + p r^T + r p^T + square r r^T, with p = (D edge, 0)."""
        size = self.law.size
        mixed = square[..., None] * self.r / 2
        mixed[..., :size] += self.d * edge
        found = np.swapaxes(mixed, 1, 2) @ self.r
        found += np.swapaxes(found, 1, 2).copy()
        found[:, :size, :size] += (self.d[..., :, None] * gram * self.d[..., None, :]).sum(axis=1)
        found[:, range(size), range(size)] += (diagonal[..., None] * self.d).sum(axis=1)
        return found


class PolynomialAverages:
    r"""E[h u u^T (k + l.u + u.H u)] for one function h of x2 and Q, at one G in each pool.

    With m = Z b (a p + r) and S = Z b (D - p p^T/(rho + delta)) the mean and the covariance of U under the weight,

        <U U^T>       = S + m m^T
        <U U^T l.U>   = (S + m m^T) l.m + S l m^T + m l^T S
        <U U^T U.H U> = (S + m m^T)(Tr H S + m.H m) + 2 S H S + 2 S H m m^T + 2 m m^T H S.
    """

    def __init__(self, tilted: TiltedPrompts, weights: Array) -> None:
        self._at = tilted
        self._powers = tilted.powers(weights, 4)
        _, _, second, third, _ = self._powers
        self._mixed_gram = tilted.gram(2 * third * tilted.a**2 - 2 * second * tilted.inverse)
        self._mixed_edge = tilted.along(2 * third * tilted.a * tilted.share)

    def __call__(self, form: Array, *, constant: Array | None = None, linear: Array | None = None) -> Array:
        """The average on the axes of the tilted prompts, (pools, side, side).

        Parameters
        ----------
        form : H, symmetric, (pools, side, side).
        constant : k of each task, (pools, K).
        linear : L, (pools, side, D), where l = L o for the task o.
        """
        at, (_, first, second, third, fourth) = self._at, self._powers
        size, divisor, d, r, a, inverse, share = at.law.size, at.law.divisor, at.d, at.r, at.a, at.inverse, at.share
        across = np.swapaxes(at.task, 1, 2)
        form = form / divisor**2
        block = form[:, None, :size, :size]
        image = (r @ form)[..., :size]  # H r

        pp = self._form(d[..., :, None] * block * d[..., None, :])[..., None]
        pr = ((d * image) @ across)[..., None] * share
        rr = ((r @ form) * r).sum(axis=2)[..., None, None] * share**2
        trace = (d @ np.einsum("bii->bi", form[:, :size, :size])[..., None])[..., None] - inverse * pp
        size_of_mean = a**2 * pp + 2 * a * pr + rr
        one = second * trace + third * size_of_mean  # in front of S, less its Z b
        two = third * trace + fourth * size_of_mean  # in front of m m^T, less its (Z b)^2
        both = 2 * third * inverse * (a * pp + pr)
        turned = (block * d[..., None, :]) @ self._mixed_gram + image[..., None] * self._mixed_edge[..., None, :]
        edge = np.einsum("bij,bnj->bni", form[:, :size, :size], d * self._mixed_edge)
        edge += image * (2 * third * share**2).sum(axis=(2, 3))[..., None]
        if constant is not None:
            one = one + first * constant[:, None, :, None]
            two = two + second * constant[:, None, :, None]
        if linear is not None:
            linear = linear / divisor
            lp = self._form(d[..., None] * linear[:, None, :size])[..., None]
            lm = a * lp + ((r @ linear) @ across)[..., None] * share
            one = one + second * lm
            two = two + third * lm
            both = both + second * inverse * lp
            turned = turned + linear[:, None, :size] @ at.gram(a * second)
            edge = edge + at.along(second * share) @ np.swapaxes(linear[:, :size], 1, 2)
        gram = at.gram(a**2 * two - inverse * one + 2 * inverse**2 * pp * second - 2 * a * both)
        gram += turned + np.swapaxes(turned, 2, 3) + 2 * second.sum(axis=(2, 3))[..., None, None] * block
        edge += at.along((a * two - both) * share)
        square = (two * share**2).sum(axis=(2, 3))
        return at.assemble(one.sum(axis=(2, 3)), gram, edge, square) / divisor**2

    def _form(self, matrix: Array) -> Array:
        """o.M o for every task, (pools, psi, K), of matrices (pools, psi, D, D)."""
        task = self._at.task[:, None]
        found: Array = np.einsum(
            "bnkd,bnkd->bnk", task @ matrix, np.broadcast_to(task, (*matrix.shape[:2], *task.shape[2:]))
        )
        return found


def _diagonal(response: Array, size: int) -> tuple[Array, Array]:
    """Axes where the block of G is diagonal, and G on them."""
    values, axes = np.linalg.eigh(response[:, :size, :size])
    rotated = np.zeros_like(response)
    rotated[:, range(size), range(size)] = values
    if response.shape[1] > size:
        edge = (response[:, None, size, :size] @ axes)[:, 0]
        rotated[:, :size, size] = rotated[:, size, :size] = edge
        rotated[:, size, size] = response[:, size, size]
    return axes, rotated
