"""A `replica.theories.one_step.OneStepSystem` as a map of numbers."""

from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from iclglass.numerics.lowering.answers import answer
from iclglass.numerics.lowering.clusters import Clusters, clusters
from iclglass.numerics.lowering.functions import numeric
from iclglass.numerics.lowering.one_body import OneBody, one_body
from iclglass.replica import symbols as S
from iclglass.replica.averages import Average
from iclglass.replica.model import Model
from iclglass.replica.theories.one_step import OneStepSystem, one_step

__all__ = ["BrokenSystem", "broken"]

Array = NDArray[np.float64]
Point = Mapping[str, Array]


class BrokenSystem:
    """The one-step System of one model at T > 0, or in its limit T -> 0."""

    def __init__(self, model: Model, *, thermal: bool) -> None:
        self.system: OneStepSystem = one_step(model, thermal=thermal)
        self.model, self.thermal = model, thermal
        self.spin = one_body(model.spin_energy)

    @cached_property
    def diagonal(self) -> OneBody:
        """A diagonal spin as D -> infinity."""
        return one_body(self.model.diagonal_energy())

    def definitions(self, point: Point) -> dict[str, Array]:
        """The point with a, kappa1 and what else the system defines."""
        values = dict(point)
        for symbol, each in self.system.definitions.items():
            values[symbol.name] = self._value(each, values)
        return values

    def fields(self, point: Point) -> dict[str, Array]:
        """K, M, Q1 and Q0 that prompts give to spins of order parameters m, q1, q0, chi, with the definitions."""
        values = self.definitions(point)
        return values | {symbol.name: self._value(each, values) for symbol, each in self.system.prompts.items()}

    def field_strength(self, point: Point) -> Array:
        """Q1 v of the spins: the mean square of h s, up to a number of order one."""
        values = self.fields(point)
        return np.asarray(values["Q1"] * np.maximum(values["q1"] - values["m"] ** 2, 1e-300))

    def step(self, point: Point, fineness: float = 1.0) -> dict[str, Array]:
        """New m, q1, q0 and chi, and the complexity."""
        values, nodes = self._answered(point, fineness)
        found = {symbol.name: self._value(each, values, nodes) for symbol, each in self.system.spins.items()}
        return found | {"complexity": self._value(self.system.complexity, values, nodes)}

    def observables(self, point: Point, fineness: float = 1.0) -> dict[str, Array]:
        """Order parameters and everything that the system defines."""
        values, nodes = self._answered(point, fineness)
        found = {name: np.array(point[name]) for name in ("m", "q1", "q0", "chi", "parisi")}
        wanted = {
            **self.system.observables,
            "free_energy": self.system.free_energy,
            "complexity": self.system.complexity,
        }
        found |= {name: self._value(each, values, nodes) for name, each in wanted.items()}
        found["replicon"] = np.minimum(*(self._value(each, values, nodes) for each in self.system.replicon))
        return found

    def _answered(self, point: Point, fineness: float) -> tuple[dict[str, Array], Clusters]:
        """The point with fields and the diagonal spin, and clusters of the others."""
        values = self.fields(point)
        precision = self._value(self.system.diagonal_precision, values)
        w, free = answer(self.diagonal, values["M"], precision, values)
        penalty = self.diagonal.value(w, self.diagonal.arguments(values))
        values |= {S.diagonal.name: w, S.diagonal_free.name: free, S.diagonal_penalty.name: penalty}
        variance = np.maximum(values["Q1"] - values["Q0"], 1e-12 * values["Q1"])
        given = (values["K"], values["Q0"], variance, values["parisi"], values["T"], point)
        return values, clusters(self.spin, *given, fineness)

    def _value(self, expression: sp.Expr, values: Mapping[str, Array], nodes: Clusters | None = None) -> Array:
        averages, names, function = _lowered(expression)
        sums = []
        for average in averages:
            assert nodes is not None
            inside, integrand = _compiled(average)
            known = (nodes.values[name] if name in nodes.values else values[name][:, None] for name in inside)
            sums.append(np.sum(nodes.weight * integrand(*known), axis=1))
        return np.asarray(function(*sums, *(values[name] for name in names)) + np.zeros_like(values["tau"]))


@cache
def _lowered(expression: sp.Expr) -> tuple[tuple[sp.Expr, ...], tuple[str, ...], Any]:
    """Integrands of the averages, names of the other arguments, and the function of both."""
    averages = tuple(sorted(expression.atoms(Average), key=sp.default_sort_key))
    dummies = [sp.Dummy(f"average_{number}") for number in range(len(averages))]
    rest = expression.xreplace(dict(zip(averages, dummies, strict=True)))
    arguments = tuple(sorted(rest.free_symbols - set(dummies), key=str))
    return tuple(each.integrand for each in averages), tuple(map(str, arguments)), numeric([*dummies, *arguments], rest)


@cache
def _compiled(integrand: sp.Expr) -> tuple[tuple[str, ...], Any]:
    arguments = tuple(sorted(integrand.free_symbols, key=str))
    return tuple(map(str, arguments)), numeric(arguments, integrand)


@cache
def broken(model: Model, *, thermal: bool) -> BrokenSystem:
    """The compiled one-step System of a model, made once."""
    return BrokenSystem(model, thermal=thermal)
