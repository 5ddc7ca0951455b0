r"""The two sides of any shipped model by brute force: slow, obvious, and without a line of the package.

One body at T = 0 is a bisection of its subgradient (or the best of all levels), at T > 0 an integral over panels of one
thermal width (or the sum over all levels). Averages over the field are Gauss-Legendre panels, cut where the integrand
has a kink or a jump. Derivatives of pull and spin are never taken: Gaussian integration by parts replaces them.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

_REACH, _PANEL, _ORDER = 9.5, 0.25, 14
_X, _W = np.polynomial.legendre.leggauss(_ORDER)


def panels(ends):
    """Nodes and weights of Gauss-Legendre panels between ends, which rise along the first axis."""
    ends = np.asarray(ends)
    half = (ends[1:] - ends[:-1]) / 2
    x = (ends[1:] + ends[:-1])[:, None] / 2 + half[:, None] * _X.reshape(-1, *(1,) * (ends.ndim - 1))
    w = half[:, None] * _W.reshape(-1, *(1,) * (ends.ndim - 1))
    return x.reshape(-1, *ends.shape[1:]), w.reshape(-1, *ends.shape[1:])


def normal_nodes(breaks=()):
    """A standard normal variable, cut at breaks."""
    ends = np.arange(-_REACH, _REACH + _PANEL / 2, _PANEL)
    inside = [end for end in breaks if abs(end) < _REACH]
    z, weight = panels(np.unique(np.concatenate([ends, inside])))
    return z, weight * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def bisect(slope, low, high):
    """Where an increasing function, that may jump, crosses zero."""
    low, high = np.array(low, dtype=float), np.array(high, dtype=float)
    for _ in range(80):
        middle = (low + high) / 2
        above = slope(middle) > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


# --- one prompt -----------------------------------------------------------------------------------------------------


def loss_of(name, threshold):
    """Value, slope and kinks in f of a loss."""
    if name == "squared_error":
        return lambda y, f: (y - f) ** 2 / 2, lambda y, f: f - y, lambda y: ()
    if name == "absolute_error":
        return lambda y, f: np.abs(y - f), lambda y, f: np.sign(f - y), lambda y: (y,)
    if name == "huber":

        def value(y, f):
            size = np.abs(y - f)
            return np.where(size <= threshold, size**2 / 2, threshold * (size - threshold / 2))

        slope = lambda y, f: np.clip(f - y, -threshold, threshold)  # noqa: E731
        return value, slope, lambda y: (y - threshold, y + threshold)
    if name == "log_loss":
        return lambda y, f: np.logaddexp(0, -y * f), lambda y, f: -y / (1 + np.exp(y * f)), lambda y: ()
    assert name == "hinge"
    return lambda y, f: np.maximum(0, 1 - y * f), lambda y, f: np.where(y * f < 1, -y, 0.0), lambda y: (y,)


@dataclass
class Prompts:
    """m, q, chi -> K, M, Q and the average of the prompt's free energy."""

    loss: str
    labels: str
    tau: float
    alpha: float
    rho: float
    T: float
    m: float
    q: float
    chi: float
    threshold: float = 1.0
    a: float = field(init=False)
    kappa1: float = field(init=False)

    def __post_init__(self):
        self.kappa1 = np.sqrt(2 / np.pi / (1 + self.rho)) if self.labels == "sign" else 1.0
        kappa2 = 1.0 if self.labels == "sign" else 1 + self.rho
        self.a = self.kappa1**2 + kappa2 / self.alpha
        self.leverage = self.a * self.chi / self.tau

    def settle(self, y, omega):
        """Mean prediction and free energy of a prompt at label y (a number) and fields omega."""
        value, slope, kinks = loss_of(self.loss, self.threshold)
        c = self.leverage
        steepest = max(1.0, self.threshold) + np.abs(y - omega)
        f = bisect(lambda f: slope(y, f) + (f - omega) / c, omega - c * steepest, omega + c * steepest)

        def energy(f):
            return value(y, f) + (f - omega) ** 2 / (2 * c)

        if self.T == 0:
            return f, energy(f)
        # The loss is convex: the weight falls at least as fast as a Gaussian of variance c tau T around f.
        temperature = self.tau * self.T
        width = np.sqrt(c * temperature)
        ends = [f + k * width for k in np.arange(-9.5, 10)]
        ends += [np.clip(np.full_like(f, kink), ends[0], ends[19]) for kink in kinks(y)]
        x, weight = panels(np.sort(np.stack(ends), axis=0))
        weight = weight * np.exp(-(energy(x) - energy(f)) / temperature)
        total = weight.sum(axis=0)
        free = energy(f) - temperature * np.log(total / np.sqrt(2 * np.pi * c * temperature))
        return (weight * x).sum(axis=0) / total, free

    def averages(self):
        """E[t g], E[w g], E[g^2], E[free energy] over t, the label and w."""
        _, _, kinks = loss_of(self.loss, self.threshold)
        cross, variance, c = self.kappa1 * self.m, self.a * self.q, self.leverage
        # Where the answer at T = 0 has a kink: omega within c times the slopes of a kink of the loss.
        slopes = {"absolute_error": (-1, 1), "huber": (-self.threshold, self.threshold), "hinge": (0, -1)}
        total = np.zeros(4)
        if self.labels == "linear":
            # All losses are functions of y - w: put y = 0 and w -> -(y - w), whose variance is e.
            error = 1 + self.rho - 2 * cross + variance
            jumps = slopes.get(self.loss, ())
            breaks = [(kink + c * jump) / np.sqrt(error) for kink in kinks(0.0) for jump in jumps]
            z, weight = normal_nodes(breaks)
            minus_r = np.sqrt(error) * z
            f, free = self.settle(0.0, minus_r)
            g = (f - minus_r) / c
            with_r = weight @ (-minus_r * g)
            return np.array(
                [with_r * (1 - cross) / error, with_r * (cross - variance) / error, weight @ g**2, weight @ free]
            )
        left = 1 + self.rho - cross**2 / variance
        for y in (-1.0, 1.0):
            jumps = [y * jump for jump in slopes[self.loss]] if self.loss == "hinge" else slopes.get(self.loss, ())
            z, weight = normal_nodes([(kink + c * jump) / np.sqrt(variance) for kink in kinks(y) for jump in jumps])
            omega = np.sqrt(variance) * z
            angle = y * cross / variance * omega / np.sqrt(left)
            probability, edge = ndtr(angle), np.exp(-(angle**2) / 2) / np.sqrt(2 * np.pi)
            teacher = cross / variance * omega * probability + y * (1 - cross**2 / variance) * edge / np.sqrt(left)
            f, free = self.settle(y, omega)
            g = (f - omega) / c
            integrands = (teacher * g, probability * omega * g, probability * g**2, probability * free)
            total += [weight @ integrand for integrand in integrands]
        return total

    def fields(self):
        """K, M, Q."""
        with_t, with_omega, square, _ = self.averages()
        cross, variance = self.kappa1 * self.m, self.a * self.q
        by_omega = (with_omega - cross * with_t) / (variance - cross**2)
        return -self.a * by_omega, self.kappa1 * (with_t - cross * by_omega), self.a / self.tau * square

    def free(self):
        """tau times the average free energy of a prompt in units of tau: its part of -T phi."""
        return self.averages()[3]


# --- one spin -------------------------------------------------------------------------------------------------------


@dataclass
class Spins:
    """K, M, Q -> m, q, chi and the free energies of spins."""

    spins: str
    T: float
    K: float
    M: float
    Q: float
    lam: float = 0.0
    l1: float = 0.0
    spacing: float = 1.0

    def levels(self):
        """Allowed values; of all integers those that a field of the nodes can prefer, and many more."""
        if self.spins == "binary":
            return self.spacing * np.array([-1.0, 1.0])
        if self.spins == "ternary":
            return self.spacing * np.array([-1.0, 0.0, 1.0])
        most = (
            np.ceil(_REACH * np.sqrt(self.Q) / (self.K * self.spacing) + 12 * np.sqrt(self.T / self.K) / self.spacing)
            + 2
        )
        return self.spacing * np.arange(-most, most + 1)

    def settle(self, h):
        """Mean spin and free energy in fields h."""
        if self.spins in ("binary", "ternary", "integer"):
            levels = self.levels()[:, None]
            energy = self.K * levels**2 / 2 - h * levels
            best = energy.argmin(axis=0)
            least = energy.min(axis=0)
            if self.T == 0:
                return levels[best, 0], least
            weight = np.exp(-(energy - least) / self.T)
            total = weight.sum(axis=0)
            return (weight * levels).sum(axis=0) / total, least - self.T * np.log(total)
        stiffness = self.K + self.lam
        size = (np.abs(h) + self.l1 + 1) / stiffness
        lowest = np.zeros_like(h) if self.spins == "nonnegative" else -size
        s = bisect(lambda s: stiffness * s + self.l1 * np.sign(s) - h, lowest, size)

        def energy(s):
            return stiffness * s**2 / 2 + self.l1 * np.abs(s) - h * s

        if self.T == 0:
            return s, energy(s)
        width = np.sqrt(self.T / stiffness)
        ends = [s + k * width for k in np.arange(-9.5, 10)]
        ends.append(np.clip(np.zeros_like(s), ends[0], ends[-1]))
        x, weight = panels(np.sort(np.stack(ends), axis=0))
        weight = weight * np.exp(-(energy(x) - energy(s)) / self.T)
        if self.spins == "nonnegative":
            weight = np.where(x >= 0, weight, 0.0)
        total = weight.sum(axis=0)
        return (weight * x).sum(axis=0) / total, energy(s) - self.T * np.log(total)

    def averages(self):
        """E[s^2], E[z s], E[free energy]."""
        levels = self.levels() if self.spins in ("binary", "ternary", "integer") else np.zeros(0)
        ties = self.K * (levels[1:] + levels[:-1]) / 2
        kinks = ties if levels.size else np.array([-self.l1, self.l1])
        z, weight = normal_nodes(kinks / np.sqrt(self.Q))
        s, free = self.settle(np.sqrt(self.Q) * z)
        return weight @ s**2, weight @ (z * s), weight @ free

    def diagonal(self):
        """The diagonal spin: real or >= 0, with the ridge alone, which grows like s^2."""
        w = self.M / (self.K + self.lam)
        w = max(w, 0.0) if self.spins == "nonnegative" else w
        return w, (self.K + self.lam) * w**2 / 2 - self.M * w

    def answers(self):
        """m, q, chi."""
        square, with_z, _ = self.averages()
        m, _ = self.diagonal()
        return m, m**2 + square, with_z / np.sqrt(self.Q)

    def free(self):
        """Their part of -T phi."""
        return self.averages()[2] + self.diagonal()[1]


def coupled(prompts, spins):
    """The part of -T phi that couples order parameters and fields; the free energies of both sides come to it."""
    return -(spins.K * (prompts.q + prompts.T * prompts.chi) - spins.Q * prompts.chi) / 2 + spins.M * prompts.m
