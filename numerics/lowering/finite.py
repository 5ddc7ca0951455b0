"""A `replica.theories.finite.FiniteSystem` as a map of numbers: averages over prompts' scalars and the field on them.

The integrands are compiled as they were derived. An average over prompts has an inner part, over the normal part of
the prediction (`averaging_nodes`, as at D -> infinity), and an outer one over scalars (`numerics.prompt_scalars`); with
squared error and linear labels the inner part is a closed form (`second_moments`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from iclglass.numerics.finite_matrix import FiniteMatrix, finite_matrix
from iclglass.numerics.gamma_quadrature import PromptNodes
from iclglass.numerics.lowering.functions import numeric, stable
from iclglass.numerics.lowering.nodes import averaging_nodes
from iclglass.numerics.lowering.one_body import OneBody
from iclglass.numerics.lowering.rules import Nodes
from iclglass.numerics.memory import chunks
from iclglass.numerics.prompt_scalars import PromptScalars
from iclglass.replica import symbols as S
from iclglass.replica.averages import NODES, Average
from iclglass.replica.losses import margin, translation
from iclglass.replica.model import Model
from iclglass.replica.theories.finite import CLASSES, FiniteSystem, finite_system, second_moments

__all__ = ["FiniteCompiled", "compiled_finite", "quadratic_mean", "stacked"]

Array = NDArray[np.float64]
Point = Mapping[str, Array]

_ELEMENTS = 1 << 21
"""Numbers in one array of nodes."""
_INNER = frozenset({S.fluctuation, *NODES}) - {S.t, S.y}
"""What varies with the normal part of a prediction."""


class FiniteCompiled:
    """The theory of one model at finite D, at T > 0 or in its limit T -> 0."""

    def __init__(self, model: Model, *, thermal: bool, last_row: bool) -> None:
        self.system: FiniteSystem = finite_system(model, thermal=thermal, last_row=last_row)
        self.model, self.thermal, self.last_row = model, thermal, last_row
        large = OneBody(model.diagonal_energy(1))  # in the scaled spin, as off the diagonal
        self.spins = dict(zip(CLASSES, (large, OneBody(model.spin_energy), large), strict=True))
        linear, loss = model.labels == "linear", model.loss
        polynomial = loss.is_polynomial(S.y, S.f)
        self.quadratic = bool(linear and polynomial and sp.Poly(loss, S.y, S.f).total_degree() == 2)
        self.shape = "general"
        if translation(loss) if linear else margin(loss):
            self.shape = "translation" if linear else "margin"
        energy = model.loss_energy
        labels: tuple[int, ...] = {"translation": (0,), "margin": (1,)}.get(self.shape, () if linear else (1, -1))
        self.losses: dict[int | None, OneBody] = {
            label: OneBody(energy.at({S.y: sp.Integer(label)})) for label in labels
        } or {None: OneBody(energy)}
        self.even = bool(self.shape == "translation" and self.losses[0].even)
        convex = all(body.convex for body in self.losses.values())
        self.jumps = not thermal and not all(body.convex for body in self.spins.values())
        self.rough = not thermal and not convex
        self.split: dict[sp.Expr, tuple[sp.Expr, sp.Expr]] = {}
        """Integrands over prompts: the factor that depends on scalars only, and the rest."""
        self._functions: dict[sp.Expr, tuple[tuple[str, ...], Any]] = {}
        self._lowered: dict[sp.Expr, tuple[tuple[Average, ...], sp.Expr]] = {}

    # -- the map ---------------------------------------------------------------------------------------------------

    def fields(self, point: Point, law: "PromptScalars | PromptNodes", fineness: float = 1.0) -> dict[str, Array]:
        """K, M and Q that prompts give to spins of the block, and K and Q of the last row."""
        equations = self.system.prompts_by_parts if self.rough else self.system.prompts
        prompts = self.prompts(point, law, fineness)
        values = dict(point)
        for symbol, each in equations.items():
            values[symbol.name] = self._value(each, values, {"prompts": prompts})
        return {symbol.name: values[symbol.name] for symbol in equations}

    def answers(self, point: Point) -> dict[str, Array]:
        """m, v and chi of the block, v and chi of the last row, in the fields."""
        if "nuclear" in point:
            weights = self.matrix(point)
            return {"m": weights.m, "v": weights.q - weights.m**2, "chi": weights.chi}
        equations = self.system.spins_by_parts if self.jumps else self.system.spins
        spins = self.spin_averages(point, free=False)
        return {symbol.name: self._value(each, point, spins) for symbol, each in equations.items()}

    def observables(
        self, point: Point, law: "PromptScalars | PromptNodes", test: "PromptScalars | None", fineness: float = 1.0
    ) -> dict[str, Array]:
        """Everything the system defines at a solution; ``test``: new prompts, None: what needs them is left out."""
        laws: dict[str, Any] = {"prompts": self.prompts(point, law, fineness), **self.spin_averages(point)}
        if test is not None:
            laws["test"] = _NewPrompts(self, point, test, fineness)
        found = {"rank": self.matrix(point).rank} if "nuclear" in point else {}
        for name, each in self.system.observables.items():
            if test is not None or not any(part.law == "test" for part in each.atoms(Average)):
                found[name] = self._value(each, point, laws)
        matrix = np.stack(
            [np.stack([self._value(each, point, laws) for each in row], -1) for row in self.system.replicon.tolist()],
            -2,
        )
        found["replicon"] = 1 - np.max(np.linalg.eigvals(matrix).real, axis=-1)
        return found

    # -- averages --------------------------------------------------------------------------------------------------

    def prompts(self, point: Point, law: "PromptScalars | PromptNodes", fineness: float) -> "Averages":
        """Averages over prompts with what each of them does."""
        if isinstance(law, PromptNodes):
            return _ClosedPrompts(self, point, law)
        return _Prompts(self, point, law, fineness)

    def spin_averages(self, point: Point, *, free: bool = True) -> dict[str, "Averages"]:
        """Averages over the field on a spin of each class."""
        if "nuclear" in point:
            return dict.fromkeys(CLASSES[:2], _Matrix(self.matrix(point)))
        found: dict[str, Averages] = {}
        zero = np.zeros_like(point["m"])
        for name, body in self.spins.items():
            last = name == "last"
            if last and not self.last_row:
                continue
            K, Q = (point[S.K_last.name], point[S.Q_last.name]) if last else (point["K"], point["Q"])
            mean = np.sqrt(point["D"]) * point["M"] if name == "diagonal" else zero
            deviation = np.sqrt(np.maximum(Q, 1e-300))
            nodes = averaging_nodes(body, K, mean, deviation, point["T"], point, even=name != "diagonal", energies=free)
            found[name] = _Spins(self, point, nodes, mean)
        return found

    def matrix(self, point: Point) -> FiniteMatrix:
        """Weights whose singular values are penalised, in the place of independent spins."""
        return finite_matrix(*(point[name] for name in ("D", "K", "M", "Q", "nuclear", S.lam.name)))

    def _value(self, expression: sp.Expr, point: Point, laws: Mapping[str, "Averages"]) -> Array:
        """An expression with averages, over points."""
        if expression not in self._lowered:
            averages = tuple(sorted(expression.atoms(Average), key=sp.default_sort_key))
            dummies = {average: sp.Symbol(f"average_{number}", real=True) for number, average in enumerate(averages)}
            self._lowered[expression] = averages, expression.xreplace(dummies)
        averages, rest = self._lowered[expression]
        known = {f"average_{k}": laws[average.law].mean(average.integrand) for k, average in enumerate(averages)}
        return self.plain(rest, {**point, **known}) + np.zeros_like(point["m"])

    def plain(self, expression: sp.Expr, known: Mapping[str, Any]) -> Array:
        """An expression without averages; ``known`` holds arrays, or functions that give them, by name."""
        if expression not in self._functions:
            arguments = tuple(sorted(expression.free_symbols, key=str))
            self._functions[expression] = tuple(map(str, arguments)), numeric(arguments, stable(expression))
        names, function = self._functions[expression]
        values = (known[name] for name in names)
        return np.asarray(function(*(value() if callable(value) else value for value in values)))

    def loss_at(self, label: int) -> OneBody:
        """The loss at one label, or with its label as a variable."""
        return self.losses[None] if None in self.losses else self.losses[label]


class Averages:
    """Averages of one law at the points, by integrand; each is computed once."""

    def __init__(self) -> None:
        self._known: dict[sp.Expr, Array] = {}

    def mean(self, integrand: sp.Expr) -> Array:
        """(points,)."""
        if integrand not in self._known:
            self._known[integrand] = self._mean(integrand)
        return self._known[integrand]

    def _mean(self, integrand: sp.Expr) -> Array:
        raise NotImplementedError


class _Spins(Averages):
    def __init__(self, compiled: FiniteCompiled, point: Point, nodes: Nodes, mean: Array) -> None:
        super().__init__()
        self.compiled, self.nodes, self.point = compiled, nodes, point
        self.known: dict[str, Any] = {
            S.field.name: lambda: nodes.B - mean[:, None],
            S.spin.name: nodes.x,
            S.response.name: nodes.response,
            S.nonzero.name: nodes.nonzero,
            S.mean_penalty.name: nodes.energy,
            S.spin_free.name: nodes.free,
        }

    def _mean(self, integrand: sp.Expr) -> Array:
        columns = {name: array[:, None] for name, array in self.point.items()}
        return _sum(self.nodes.weight, self.compiled.plain(integrand, {**columns, **self.known}))


class _Matrix(Averages):
    """Weights as a matrix: the same mean over spins for both classes of the block."""

    def __init__(self, weights: FiniteMatrix) -> None:
        super().__init__()
        one = np.ones_like(weights.m)
        self._known = {S.response**2: weights.squared_response, S.nonzero: one}
        self._known |= {S.mean_penalty: weights.penalty, S.spin_free: weights.free}


class _ClosedPrompts(Averages):
    """Squared error: the average given the scalars is known."""

    def __init__(self, compiled: FiniteCompiled, point: Point, law: PromptNodes) -> None:
        super().__init__()
        self.compiled, self.weight = compiled, law.weight
        self.table = second_moments(compiled.model.loss, last_row=compiled.last_row)
        scale = point["last_scale"][:, None]
        known = {name: array[:, None] for name, array in point.items()}
        known |= {S.feature_block.name: law.block, S.feature_last.name: law.last * scale**2}
        known |= {S.label_signal.name: law.signal, S.label_square.name: law.label}
        known[S.c.name] = compiled.plain(compiled.system.leverage, known)
        self.known = known

    def _mean(self, integrand: sp.Expr) -> Array:
        values = self.compiled.plain(self.table[integrand], self.known)
        return np.asarray(np.sum(values * self.weight, axis=1))


class _Outer:
    """The scalars of the prompts at the points: arrays (points, nodes), and columns for what goes under averages."""

    def __init__(self, compiled: FiniteCompiled, point: Point, law: PromptScalars) -> None:
        m = point["m"][:, None]
        block = law.along**2 + law.across**2
        square = law.query_square
        if law.residual:
            # e_1 along m u - w/sqrt(D); y and f_cav appear as f_cav - y only.
            along, across = m * law.along - law.task, m * law.across
            length = np.sqrt(along**2 + across**2)
            overlap = (law.along * along + law.across * across) / length * law.first
            mean = length * law.first
        else:
            overlap = law.along * law.first + law.across * law.second
            mean = m * overlap
        columns = {name: array[:, None] for name, array in point.items()}
        self.known = {
            **columns,
            S.feature_block.name: block * square,
            S.feature_last.name: (law.last * point["last_scale"][:, None]) ** 2 * square,
            S.query_overlap.name: overlap,
            S.y.name: law.label,
        }
        self.variance = compiled.plain(compiled.system.variance, self.known) + np.zeros_like(mean)
        self.total = self.variance + (columns["rho"] if law.residual else 0.0)
        self.mean, self.leverage = mean, compiled.plain(compiled.system.leverage, self.known) + np.zeros_like(mean)
        self.weight = law.weight


class _Nested(Averages):
    """An inner average at every scalar, and the outer one over scalars."""

    outer: _Outer
    compiled: FiniteCompiled

    def _mean(self, integrand: sp.Expr) -> Array:
        if integrand not in self.compiled.split:
            self.compiled.split[integrand] = integrand.as_independent(*_INNER, as_Add=False)
        outside, inside = self.compiled.split[integrand]
        values = self.compiled.plain(outside, self.outer.known) * (1.0 if inside == 1 else self.inner(inside))
        return np.asarray(np.sum(values * self.outer.weight, axis=1))

    def inner(self, integrand: sp.Expr) -> Array:
        """(points, scalars)."""
        if integrand not in self._inner:
            self._inner[integrand] = np.empty(self.outer.mean.size)
            for rows, labels, nodes in self.parts:
                self._inner[integrand][rows] = self.at_nodes(integrand, rows, labels, nodes)
        return self._inner[integrand].reshape(self.outer.mean.shape)

    parts: list[tuple[Any, Any, Any]]
    _inner: dict[sp.Expr, Array]

    def at_nodes(self, integrand: sp.Expr, rows: Any, label: Array, nodes: Any) -> Array:
        raise NotImplementedError


class _Prompts(_Nested):
    """Prompts that the weights know: with what each prediction settles on."""

    def __init__(self, compiled: FiniteCompiled, point: Point, law: PromptScalars, fineness: float) -> None:
        super().__init__()
        self.compiled, self.outer, self._inner = compiled, _Outer(compiled, point, law), {}
        outer = self.outer
        scalars = outer.mean.shape[1]
        self.columns = {name: np.repeat(array, scalars) for name, array in point.items()}
        self.leverage = np.maximum(outer.leverage.ravel(), 1e-300)
        self.centre, self.total = outer.mean.ravel(), outer.total.ravel()
        share = outer.variance.ravel() / np.maximum(self.total, 1e-300)
        self.share = share
        label = law.label.ravel()
        self.parts = []
        for rows in _rows(label, law, compiled):
            c = self.leverage[rows]
            own = {name: array[rows] for name, array in self.columns.items()}
            nodes = averaging_nodes(
                compiled.loss_at(int(label[rows][0]) if None not in compiled.losses else 0),
                1 / c,
                self.centre[rows] / c,
                np.sqrt(self.total[rows]) / c,
                own["tau"] * own["T"],
                {**own, S.y.name: label[rows]},
                fineness=fineness,
            )
            self.parts.append((rows, label[rows], nodes))

    def at_nodes(self, integrand: sp.Expr, rows: Any, label: Array, nodes: Nodes) -> Array:
        c = self.leverage[rows][:, None]
        own = {name: array[rows][:, None] for name, array in self.columns.items()}
        noise = own["tau"] * own["T"]

        def free() -> Array:
            value = nodes.excess
            return value + noise * np.log(2 * np.pi * c * noise) / 2 if self.compiled.thermal else value

        known: dict[str, Any] = {
            **own,
            S.y.name: label[:, None],
            S.f_cav.name: lambda: nodes.B * c,
            S.fluctuation.name: lambda: (nodes.B * c - self.centre[rows][:, None]) * self.share[rows][:, None],
            S.f.name: nodes.x,
            S.pull.name: nodes.force,
            S.pull_slope.name: lambda: nodes.force_slope / c,
            S.mean_loss.name: nodes.energy,
            S.prompt_free.name: free,
        }
        return _sum(nodes.weight, self.compiled.plain(integrand, known))


class _NewPrompts(_Nested):
    """Prompts that the weights do not know: the prediction alone, on panels that end where the loss is not smooth."""

    def __init__(self, compiled: FiniteCompiled, point: Point, law: PromptScalars, fineness: float) -> None:
        super().__init__()
        self.compiled, self.outer, self._inner = compiled, _Outer(compiled, point, law), {}
        self.columns = {name: np.repeat(array, self.outer.mean.shape[1]) for name, array in point.items()}
        self.count = round(24 * fineness)
        self.label = law.label.ravel()
        self.parts = [(rows, self.label[rows], None) for rows in _rows(self.label, law, compiled)]

    def at_nodes(self, integrand: sp.Expr, rows: Any, label: Array, nodes: Any) -> Array:
        body = self.compiled.loss_at(int(label[0]) if None not in self.compiled.losses else 0)
        own = {name: array[rows] for name, array in self.columns.items()}
        own[S.y.name] = label
        mean, deviation = self.outer.mean.ravel()[rows], np.sqrt(self.outer.total.ravel()[rows])
        ends = [np.full_like(mean, -8.5), np.zeros_like(mean), np.full_like(mean, 8.5)]
        for piece in body.pieces:
            end = np.broadcast_to(np.asarray(piece.high(0.0, *body.arguments(own)), dtype=float), mean.shape)
            with np.errstate(all="ignore"):
                ends.append((end - mean) / deviation)
        ordered = np.sort(np.clip(np.stack(ends), -8.5, 8.5), axis=0)
        x, w = np.polynomial.legendre.leggauss(self.count)
        z = np.concatenate([(a + (b - a) * (x[:, None] + 1) / 2).T for a, b in pairwise(ordered)], 1)
        dz = np.concatenate([((b - a) * w[:, None] / 2).T for a, b in pairwise(ordered)], 1)
        weight = dz * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        known = {name: array[:, None] for name, array in own.items()}
        known[S.f_cav.name] = mean[:, None] + deviation[:, None] * z
        return _sum(weight, self.compiled.plain(integrand, known))


def stacked(laws: Sequence[Any]) -> Any:
    """Nodes of several laws as arrays (laws, nodes): shorter ones end with their last node, of weight 0."""
    longest = max(law.weight.size for law in laws)

    def rows(name: str) -> Array:
        last = 0.0 if name == "weight" else -1
        padded = np.empty((len(laws), longest))
        for row, law in zip(padded, laws, strict=True):
            array = getattr(law, name)
            row[: array.size], row[array.size :] = array, array[-1] if last else last
        return padded

    arrays = {name: rows(name) for name in type(laws[0]).__annotations__ if name != "residual"}
    return replace(laws[0], **arrays)


def _rows(label: Array, law: PromptScalars, compiled: FiniteCompiled) -> Iterator[Any]:
    """Parts of the flat (points, scalars) that have one loss, and fit in memory."""
    groups = (
        [np.arange(label.size)]
        if len(compiled.losses) == 1
        else [np.flatnonzero(label == value) for value in np.unique(label)]
    )
    for group in groups:
        for part in chunks(group.size, max(1, _ELEMENTS // 100)):
            yield group[part]


def _sum(weight: Array, values: Array) -> Array:
    values = np.broadcast_to(values, weight.shape)
    # A node that weighs nothing may lie where a function has no value.
    return np.asarray(np.sum(np.where(weight == 0, 0.0, weight * values), axis=1))


@cache
def compiled_finite(model: Model, *, thermal: bool, last_row: bool) -> FiniteCompiled:
    """Made once."""
    return FiniteCompiled(model, thermal=thermal, last_row=last_row)


def quadratic_mean(loss: sp.Expr, moments: tuple[Array, Array, Array], point: Point) -> Array:
    """E[loss] of a loss of second degree, from E[y^2], E[y f] and E[f^2] of labels and predictions of mean 0.

    >>> half = quadratic_mean((S.y - S.f) ** 2 / 2, (np.array(1.0), np.array(0.5), np.array(0.4)), {})
    >>> round(float(half), 12)
    0.2
    """
    names, function = _in_moments(loss)
    return np.asarray(function(*moments, *(point[name] for name in names)))


@cache
def _in_moments(loss: sp.Expr) -> tuple[tuple[str, ...], Any]:
    """Names of the strengths in E[loss], and the function of the three moments and of them."""
    moments = {(2, 0): sp.Dummy("yy"), (1, 1): sp.Dummy("yf"), (0, 2): sp.Dummy("ff"), (0, 0): sp.S.One}
    mean = sp.Add(*(moments.get(powers, 0) * factor for powers, factor in sp.Poly(loss, S.y, S.f).terms()))
    symbols = [each for each in moments.values() if each.is_Dummy]
    others = sorted(mean.free_symbols - set(symbols), key=str)
    return tuple(map(str, others)), numeric([*symbols, *others], mean)
