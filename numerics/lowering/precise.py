r"""A `replica.system.System` at one point in mpmath numbers, T = 0: the averages of `compiled` to any number of digits.

The field on one body is cut where its answer has a kink. Between the cuts two nodes are exact where the answer is a
straight line and the density a normal one (`rules.truncated`); elsewhere Gauss-Legendre panels in z, with the answer at
each node by Newton's method from its value in double precision.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import sympy as sp
from mpmath.calculus.quadrature import GaussLegendre

from iclglass.numerics.lowering.compiled import CompiledSystem
from iclglass.numerics.lowering.functions import precise
from iclglass.numerics.lowering.one_body import OneBody
from iclglass.replica import symbols as S
from iclglass.replica.averages import Average

__all__ = ["PreciseSystem"]

Number = Any
"""mpmath.mpf."""
Point = Mapping[str, Number]
Nodes = list[tuple[Number, dict[str, Number]]]
"""Weights, and the values of node symbols there by name."""


class PreciseSystem:
    """The map of one model, at the working precision of mpmath.

    Parameters
    ----------
    system : CompiledSystem
        Of a convex model at T = 0 that averages over residuals or margins alone.
    point : mapping
        tau, alpha, alpha_test, rho, T and the strengths, by the names of their symbols.
    refine : int
        0, 1, ...: each gives panels half as wide.
    """

    def __init__(self, system: CompiledSystem, point: Point, refine: int = 0) -> None:
        self.system = system
        self.label = 0 if system.shape == "translation" else 1
        self.fixed = {**point, "y": mpmath.mpf(self.label)}
        for name, expression in system.definitions_in_order:
            if name != "c":
                self.fixed[name] = _value(expression, self.fixed)
        self.spin, self.diagonal = (_Body(body, self.fixed) for body in (system.spin, system.diagonal))
        self.loss = _Body(system.losses[self.label], self.fixed)
        self.reach = mpmath.sqrt(2 * mpmath.log(10) * mpmath.mp.dps)
        self.width = mpmath.mpf(1) / 2**refine
        rule = GaussLegendre(mpmath.mp)
        degree = max(1, int(np.ceil(np.log2(mpmath.mp.dps / 4))))
        self.rule = [((x + 1) / 2, w / 2) for x, w in rule.calc_nodes(degree, mpmath.mp.prec)]

    def step(self, m: Number, q: Number, chi: Number) -> tuple[list[Number], Point]:
        """m, q and chi that spins answer with; and K, M and Q."""
        point = {**self.fixed, "m": m, "q": q, "chi": chi, "c": self.fixed["a"] * chi / self.fixed["tau"]}
        prompts = self.prompts(point)
        for symbol, equation in self.system.system.prompts.items():
            point[symbol.name] = self.value(equation, point, {"prompts": prompts})
        point |= self.diagonal_spin(point)
        spins = {"spins": self.spins(point)}
        return [self.value(each, point, spins) for each in self.system.system.spins.values()], point

    def observables(self, point: Point) -> dict[str, Number]:
        """Everything the System defines, at order parameters and fields in ``point``."""
        system = self.system.system
        nodes = {"prompts": self.prompts(point), "spins": self.spins(point), "test": self.tests(point)}
        wanted = {**system.observables, "free_energy": system.free_energy, "replicon": system.replicon}
        return {name: self.value(each, point, nodes) for name, each in wanted.items()}

    def value(self, expression: sp.Expr, point: Point, nodes: Mapping[str, Nodes]) -> Number:
        """An expression with averages."""
        averages, dummies, rest = _lowered(expression)
        values = dict(point)
        for average, dummy in zip(averages, dummies, strict=True):
            integrand, names = _compiled(average.integrand)
            sums = (w * integrand(*(x[k] if k in x else point[k] for k in names)) for w, x in nodes[average.law])
            values[dummy.name] = mpmath.fsum(sums)
        return _value(rest, values)

    # -- laws ------------------------------------------------------------------------------------------------------

    def spins(self, point: Point) -> Nodes:
        """Nodes of the field on a spin off the diagonal."""
        return [
            (weight, {S.spin.name: x, S.response.name: response, S.nonzero.name: mpmath.mpf(x != 0 or response != 0),
                      S.mean_penalty.name: energy, S.spin_free.name: energy + point["K"] * x**2 / 2 - B * x})
            for weight, _, B, x, response, energy in self._nodes(self.spin, point["K"], mpmath.sqrt(point["Q"]), None)
        ]  # fmt: skip

    def prompts(self, point: Point) -> Nodes:
        """Nodes of a prompt's prediction without it, f_cav = c B."""
        c, (deviation, tilt, teacher) = point["c"], self._law(point, self.system.system.covariance)
        return [
            (weight, {S.y.name: point["y"], S.f_cav.name: c * B, S.t.name: teacher(z), S.f.name: x,
                      S.pull.name: x / c - B, S.pull_slope.name: (response / c - 1) / c, S.mean_loss.name: energy,
                      S.prompt_free.name: energy + (x - c * B) ** 2 / (2 * c)})
            for weight, z, B, x, response, energy in self._nodes(self.loss, 1 / c, deviation / c, tilt)
        ]  # fmt: skip

    def tests(self, point: Point) -> Nodes:
        """Nodes of the prediction for a new prompt, which answers nothing: as if its leverage were 0."""
        deviation, tilt, teacher = self._law(point, self.system.system.test_covariance)
        ends = [end / deviation for end in self.loss.joints]
        found = self._cut(ends, tilt, straight=self.loss.straight)
        return [(w, {S.y.name: point["y"], S.f_cav.name: deviation * z, S.t.name: teacher(z)}) for z, w in found]

    def _law(
        self, point: Point, covariance: sp.ImmutableMatrix
    ) -> tuple[Number, Callable[[Number], Number] | None, Callable[[Number], Number]]:
        """Deviation of f_cav, further factor of its density, and the mean of t given f_cav = deviation z."""
        tt, tf, ff = (_value(covariance[i, j], point) for i, j in ((0, 0), (0, 1), (1, 1)))
        noise = _value(self.system.system.label_noise, point)
        if self.label == 0:  # of the residual: y = 0
            error = tt + noise - 2 * tf + ff
            deviation = mpmath.sqrt(error)
            return deviation, None, lambda z: -(tt - tf) / deviation * z
        spread, gain = mpmath.sqrt(ff), tf / ff
        rest = mpmath.sqrt(tt + noise - tf * gain)
        steep = gain * spread / rest

        def teacher(z: Number) -> Number:
            u = steep * z
            return gain * spread * z + (tt - tf * gain) / rest * mpmath.npdf(u) / mpmath.ncdf(u)

        return spread, lambda z: 2 * mpmath.ncdf(steep * z), teacher

    def diagonal_spin(self, point: Point) -> Point:
        """The diagonal spin in its field M."""
        K, M = point["K"], point["M"]
        for _, part in self.diagonal.parts(K, -mpmath.inf, mpmath.inf):
            number, at, start, stop = part
            if start <= M <= stop:
                w = at if number is None else self.diagonal.answers(number, [M], K)[0]
        energy = self.diagonal.energy(w)
        return {S.diagonal.name: w, S.diagonal_penalty.name: energy,
                S.diagonal_free.name: energy + K * w**2 / 2 - M * w}  # fmt: skip

    def _nodes(
        self, body: "_Body", A: Number, deviation: Number, tilt: Callable[[Number], Number] | None
    ) -> Iterator[tuple[Number, ...]]:
        """(weight, z, B, x, response, energy) for B = deviation z."""
        far = deviation * self.reach
        for straight, (number, at, start, stop) in body.parts(A, -far, far):
            low, high = max(start, -far), min(stop, far)
            if low >= high:
                continue
            found = self._between(low / deviation, high / deviation, tilt, straight=straight)
            fields = [deviation * z for z, _ in found]
            xs = [at] * len(fields) if number is None else body.answers(number, fields, A)
            for (z, weight), B, x in zip(found, fields, xs, strict=True):
                response = mpmath.mpf(0) if number is None else 1 / (A + body.curvature[number](x))
                yield weight, z, B, x, response, body.energy(x)

    def _cut(
        self, ends: list[Number], tilt: Callable[[Number], Number] | None, *, straight: bool
    ) -> list[tuple[Number, Number]]:
        inside = [end for end in ends if abs(end) < self.reach]
        stops = sorted([-self.reach, *inside, self.reach])
        return [node for low, high in pairwise(stops) for node in self._between(low, high, tilt, straight=straight)]

    def _between(
        self, low: Number, high: Number, tilt: Callable[[Number], Number] | None, *, straight: bool
    ) -> list[tuple[Number, Number]]:
        """z and weights between two ends."""
        if straight and tilt is None:
            return _truncated(low, high)
        count = max(1, int(mpmath.ceil((high - low) / self.width)))
        found = []
        for number in range(count):
            start, wide = low + (high - low) * number / count, (high - low) / count
            for u, w in self.rule:
                z = start + wide * u
                weight = wide * w * mpmath.npdf(z)
                found.append((z, weight if tilt is None else weight * tilt(z)))
        return found


def _truncated(low: Number, high: Number) -> list[tuple[Number, Number]]:
    """`rules.truncated`; between near ends the working precision grows by what their difference loses."""
    if low >= high:
        return []
    if low + high < 0:
        return [(-z, weight) for z, weight in _truncated(-high, -low)]
    lost = 4 * max(0, -int(mpmath.mag(high - low))) + 4 * max(0, int(mpmath.mag(abs(low) + 1)))
    with mpmath.workprec(mpmath.mp.prec + lost):
        root = mpmath.sqrt(2)
        mass = (mpmath.erfc(low / root) - mpmath.erfc(high / root)) / 2
        at_low, at_high = mpmath.npdf(low), mpmath.npdf(high)
        mean = (at_low - at_high) / mass
        spread = mpmath.sqrt(1 + (low * at_low - high * at_high) / mass - mean**2)
    return [(mean - spread, mass / 2), (mean + spread, mass / 2)]


class _Body:
    """A convex `OneBody` in mpmath."""

    def __init__(self, body: OneBody, values: Point) -> None:
        self.body, x = body, body.energy.variable
        given = [values[symbol.name] for symbol in body.symbols]
        self.arguments = tuple(np.array([float(value)]) for value in given)

        def function(expression: sp.Expr) -> Callable[[Number], Number]:
            made = precise((*body.symbols, x), expression)
            return partial(made, *given)

        pieces = body.energy.pieces
        slopes = [sp.diff(piece.expression, x) for piece in pieces]
        self.ends = [tuple(_end(end, function) for end in (piece.low, piece.high)) for piece in pieces]
        self.joints = [low for low, _ in self.ends[1:]]
        self.energies = [function(piece.expression) for piece in pieces]
        self.slope = [function(slope) for slope in slopes]
        self.curvature = [function(sp.diff(slope, x)) for slope in slopes]
        self.linear = [piece.linear for piece in body.pieces]
        self.straight = body.straight

    def energy(self, x: Number) -> Number:
        """E(x)."""
        for (low, high), energy in zip(self.ends, self.energies, strict=True):
            if low <= x <= high:
                return energy(x)
        raise ValueError(f"{x} is beyond the ends of the energy")

    def parts(self, A: Number, bottom: Number, top: Number) -> Iterator[tuple[bool, tuple[Any, ...]]]:
        """Whether x is linear in B, and (piece or None, x where it rests, B where the part begins, and ends)."""
        previous = -mpmath.inf
        for number, (low, high) in enumerate(self.ends):
            start, stop = (x if mpmath.isinf(x) else A * x + self.slope[number](x) for x in (low, high))
            if previous < start:
                yield True, (None, low, previous, start)
            if start < top and stop > bottom:
                yield self.linear[number], (number, None, start, stop)
            previous = stop

    def answers(self, number: int, fields: list[Number], A: Number) -> list[Number]:
        """x on a piece at each field."""
        if self.linear[number]:
            zero = mpmath.mpf(0)
            base, bend = self.slope[number](zero), self.curvature[number](zero)
            return [(B - base) / (A + bend) for B in fields]
        rough = np.array([float(B) for B in fields])
        low, high = (np.full_like(rough, float(end)) for end in self.ends[number])
        given = tuple(np.full_like(rough, each[0]) for each in self.arguments)
        found = []
        for B, x in zip(fields, self.body.on_piece(number, rough, low, high, np.full_like(rough, float(A)), given),
                        strict=True):  # fmt: skip
            x, digits = mpmath.mpf(float(x)), 14
            while digits < 2 * mpmath.mp.dps:
                x -= (A * x + self.slope[number](x) - B) / (A + self.curvature[number](x))
                digits *= 2
            found.append(x)
        return found


def _end(end: sp.Expr, function: Callable[[sp.Expr], Callable[[Number], Number]]) -> Number:
    if end in (-sp.oo, sp.oo):
        return mpmath.inf if end == sp.oo else -mpmath.inf
    return mpmath.mpf(function(end)(mpmath.mpf(0)))


@cache
def _lowered(expression: sp.Expr) -> tuple[tuple[Average, ...], tuple[sp.Symbol, ...], sp.Expr]:
    """The averages of an expression, symbols that stand for them, and what is left."""
    averages = tuple(expression.atoms(Average))
    dummies = tuple(sp.Symbol(f"average_{number}") for number in range(len(averages)))
    return averages, dummies, expression.xreplace(dict(zip(averages, dummies, strict=True)))


@cache
def _compiled(expression: sp.Expr) -> tuple[Any, tuple[str, ...]]:
    symbols = sorted(expression.free_symbols, key=str)
    return precise(symbols, expression), tuple(each.name for each in symbols)


def _value(expression: sp.Expr, values: Point) -> Number:
    function, names = _compiled(expression)
    return mpmath.mpf(function(*(values[name] for name in names)))
