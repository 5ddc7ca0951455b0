"""A `replica.system.System` as a map of numbers: every Average becomes a sum over nodes.

The integrands are compiled as they were derived; this module knows which node symbol is which array, and no equation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from iclglass.numerics.lowering.answers import answer
from iclglass.numerics.lowering.functions import degree, numeric, stable
from iclglass.numerics.lowering.nodes import averaging_nodes, jumping
from iclglass.numerics.lowering.one_body import OneBody, one_body
from iclglass.numerics.lowering.prompts import Conditional, conditionals
from iclglass.numerics.lowering.rules import REACH, Nodes, normal_density, panel, truncated
from iclglass.numerics.matrix_denoiser import MatrixSpins, nuclear_spin_side, squared_response
from iclglass.replica import symbols as S
from iclglass.replica.averages import Average
from iclglass.replica.losses import margin, translation
from iclglass.replica.model import Model
from iclglass.replica.system import System, system

__all__ = ["CompiledSystem", "Point", "compiled"]

Array = NDArray[np.float64]
Point = Mapping[str, Array]
"""Arrays over points by the names of symbols: parameters, strengths, order parameters."""


@dataclass(frozen=True)
class Lowered:
    """An expression with its averages: integrands by law, and the rest as a function of their values."""

    averages: tuple[Average, ...]
    laws: tuple[str, ...]
    names: tuple[str, ...]
    function: Any


class CompiledSystem:
    """The System of one model at T > 0, or in its limit T -> 0."""

    def __init__(self, model: Model, *, thermal: bool) -> None:
        self.system: System = system(model, thermal=thermal)
        self.model, self.thermal = model, thermal
        self.spin = one_body(model.spin_energy)
        self.shape = _shape(model)
        labels = {"translation": (0,), "margin": (1,)}.get(self.shape, (1, -1) if model.labels == "sign" else ())
        energy = model.loss_energy
        self.losses: dict[int | None, OneBody] = {
            label: one_body(energy.at({S.y: sp.Integer(label)})) for label in labels
        } or {None: one_body(energy)}
        """The loss at the labels that averages need, or with its label as a variable."""
        self.jumps = not thermal and (self.spin.discrete or not self.spin.convex)
        self.rough = not thermal and not all(body.convex for body in self.losses.values())
        self._degrees: dict[sp.Expr, float] = {}

    @cached_property
    def unique(self) -> bool:
        """Whether one solution is all there is: convex loss and penalty; of two levels no second one is known."""
        pair = self.spin.discrete and len(self.spin.energy.levels or ()) == 2
        return (self.spin.convex or pair) and all(body.convex for body in (self.diagonal, *self.losses.values()))

    @cached_property
    def few_nodes(self) -> bool:
        """Whether averages are exact or equally spaced sums."""
        plain = self.shape == "translation" and self.model.labels == "linear"
        loss = all(body.parabola if self.thermal else body.convex and body.straight for body in self.losses.values())
        few = self.spin.energy.support == "levels" or (self.spin.convex and self.spin.straight and not self.thermal)
        return plain and loss and few

    @cached_property
    def diagonal(self) -> OneBody:
        """A diagonal spin as D -> infinity."""
        return one_body(self.model.diagonal_energy())

    @cached_property
    def diagonal_at(self) -> OneBody:
        """A diagonal spin at dimension D."""
        return one_body(self.model.diagonal_energy(S.D))

    # -- parts -----------------------------------------------------------------------------------------------------

    def definitions(self, point: Point) -> Point:
        """The point with a, kappa1, kappa2, c and what else the System defines."""
        if "c" in point:
            return point
        values = dict(point)
        for name, expression in self.definitions_in_order:
            values[name] = self._plain(expression, values)
        # Leverage of prompts on weights that do not answer: 0 would divide.
        values["c"] = np.maximum(values["c"], 1e-300)
        return values

    @cached_property
    def definitions_in_order(self) -> tuple[tuple[str, sp.Expr], ...]:
        """What the System defines, in an order in which each needs only those before it."""
        pending, ordered = dict(self.system.definitions), []
        while pending:
            ready = [symbol for symbol, each in pending.items() if not each.free_symbols & set(pending)]
            ordered += [(str(symbol), pending[symbol]) for symbol in ready]
            pending = {symbol: each for symbol, each in pending.items() if symbol not in ready}
        return tuple(ordered)

    def prompt_nodes(
        self, point: Point, fineness: float = 1.0, *, energies: bool = True, panels: bool = False
    ) -> list[tuple[Conditional, Nodes]]:
        """Nodes of the prompts' law with the prediction that each prompt settles on."""
        point = self.definitions(point)
        c = np.maximum(point["c"], 1e-300)
        found = []
        for law in self._laws(point, self.system.covariance, fineness):
            nodes = averaging_nodes(
                self._loss(law),
                1 / c,
                law.mean / c,
                law.deviation / c,
                point["tau"] * point["T"],
                {**point, "y": law.label},
                even=law.even,
                tilt=law.tilt,
                edges=law.edges,
                fineness=fineness,
                energies=energies,
                panels=panels,
            )
            found.append((law, nodes))
        return found

    def _loss(self, law: Conditional) -> OneBody:
        return self.losses[int(law.label[0])] if None not in self.losses else self.losses[None]

    def _laws(self, point: Point, covariance: sp.ImmutableMatrix, fineness: float) -> list[Conditional]:
        tt, tf, ff = (self._plain(covariance[i, j], point) for i, j in ((0, 0), (0, 1), (1, 1)))
        noise = self._plain(self.system.label_noise, point)
        return conditionals(self.model.labels, self.shape, tt, tf, ff, noise, fineness)

    def spin_nodes(self, point: Point, fineness: float = 1.0, *, energies: bool = True, panels: bool = False) -> Nodes:
        """Nodes of the field on one off-diagonal spin, with what the spin does there."""
        zero = np.zeros_like(point["K"])
        deviation = np.sqrt(np.maximum(point["Q"], 1e-300))
        return averaging_nodes(
            self.spin,
            point["K"],
            zero,
            deviation,
            point["T"],
            point,
            even=True,
            fineness=fineness,
            energies=energies,
            panels=panels,
        )

    def diagonal_spin(self, point: Point) -> dict[str, Array]:
        """The diagonal spin in its field M, at the D at hand if there is one."""
        body = self.diagonal_at if "D" in point else self.diagonal
        w, free = answer(body, point["M"], point["K"], point)
        return {S.diagonal.name: w, S.diagonal_free.name: free,
                S.diagonal_penalty.name: body.value(w, body.arguments(point))}  # fmt: skip

    def matrix(self, point: Point) -> MatrixSpins:
        """Weights whose singular values are penalised, in the place of independent spins."""
        return nuclear_spin_side(point["K"], point["M"], point["Q"], point["nuclear"], point["lam"])

    def _matrix_averages(self, point: Point) -> dict[str, Array]:
        """What stands for each average over independent spins, by its integrand, and for the diagonal's symbols."""
        weights, K, M, Q = self.matrix(point), point["K"], point["M"], point["Q"]
        square = squared_response(K, M, Q, point["nuclear"], point["lam"])
        zero = np.zeros_like(K)
        averages = {S.spin**2: weights.q, S.response: weights.chi, S.response**2: square, S.nonzero: zero + 1}
        averages |= {S.mean_penalty: weights.penalty, S.spin_free: weights.free}
        known = {str(integrand): value for integrand, value in averages.items()}
        return known | {S.diagonal.name: weights.m, S.diagonal_free.name: zero, S.diagonal_penalty.name: zero}

    # -- the map ---------------------------------------------------------------------------------------------------

    def fields(self, point: Point, fineness: float = 1.0) -> dict[str, Array]:
        """K, M and Q that prompts give to spins of order parameters m, q, chi."""
        equations = self.system.prompts_by_parts if self.rough else self.system.prompts
        point = self.definitions(point)
        nodes = self.prompt_nodes(point, fineness, energies=False)
        return {symbol.name: self.value(each, point, prompts=nodes) for symbol, each in equations.items()}

    def answers(self, point: Point, fineness: float = 1.0) -> dict[str, Array]:
        """m, q and chi of spins in the fields K, M and Q."""
        if "nuclear" in point:
            weights = self.matrix(point)
            return {"m": weights.m, "q": weights.q, "chi": weights.chi}
        equations = self.system.spins_by_parts if self.jumps else self.system.spins
        values = {**point, **self.diagonal_spin(point)}
        nodes = self.spin_nodes(point, fineness, energies=False)
        return {symbol.name: self.value(each, values, spins=nodes) for symbol, each in equations.items()}

    def step(self, point: Point, fineness: float = 1.0) -> dict[str, Array]:
        """From order parameters in ``point`` to fields and new order parameters."""
        fields = self.fields(point, fineness)
        return {**fields, **self.answers({**point, **fields}, fineness)}

    def observables(self, point: Point, fineness: float = 1.0) -> dict[str, Array]:
        """Everything the System defines at order parameters and fields in ``point``."""
        prompts: list[tuple[Conditional, Nodes]] = self.prompt_nodes(point, fineness)
        spins: Nodes | dict[str, Array]
        if "nuclear" in point:
            spins = self._matrix_averages(point)
            values = {**point, **spins}
        else:
            spins, values = self.spin_nodes(point, fineness), {**point, **self.diagonal_spin(point)}
        expressions = {**self.system.observables, "free_energy": self.system.free_energy}
        found = {}
        for name, each in expressions.items():
            found[name] = self.value(each, values, prompts=prompts, spins=spins, fineness=fineness)
        found["replicon"] = self.value(self.system.replicon, values, prompts=prompts, spins=spins)
        jump = np.zeros_like(point["tau"], dtype=bool)
        if isinstance(spins, Nodes) and self.jumps:
            jump |= jumping(spins)
        for _, nodes in prompts if self.rough else ():
            jump |= jumping(nodes)
        # The mean square response of what jumps is infinite.
        found["replicon"] = np.where(jump, -np.inf, found["replicon"])
        if isinstance(spins, dict):
            found["rank"] = self.matrix(point).rank
        return found

    # -- averages --------------------------------------------------------------------------------------------------

    def value(
        self,
        expression: sp.Expr,
        point: Point,
        *,
        prompts: list[tuple[Conditional, Nodes]] | None = None,
        spins: Nodes | dict[str, Array] | None = None,
        fineness: float = 1.0,
    ) -> Array:
        """An expression with averages, over points."""
        lowered = _lowered(expression)
        full = self.definitions(point)
        averages = []
        for number, average in enumerate(lowered.averages):
            law = lowered.laws[number]
            if law == "spins":
                if isinstance(spins, dict):
                    averages.append(spins[str(average.integrand)])
                    continue
                assert spins is not None
                averages.append(self._over_spins(average.integrand, full, spins))
            elif law == "prompts":
                assert prompts is not None
                averages.append(self._over_prompts(average.integrand, full, prompts))
            else:
                averages.append(self._over_tests(average.integrand, full, fineness))
        arguments = [full[name] for name in lowered.names]
        with np.errstate(all="ignore"):
            return np.asarray(lowered.function(*averages, *arguments) + np.zeros_like(full["tau"]))

    def _plain(self, expression: sp.Expr, point: Point) -> Array:
        names, function = _compiled(expression)
        return np.asarray(function(*(point[name] for name in names)) + np.zeros_like(point["tau"]))

    def _integrand(self, expression: sp.Expr, known: Mapping[str, Callable[[], Array]], full: Point) -> Array:
        names, function = _compiled(expression)
        return np.asarray(function(*(known[name]() if name in known else full[name][:, None] for name in names)))

    def _suffices(self, nodes: Nodes, integrand: sp.Expr) -> bool:
        """Whether the sum over the nodes is right for the integrand."""
        if nodes.degree is None:
            return True
        if integrand not in self._degrees:
            # The loss is quadratic wherever its prediction moves on straight lines.
            self._degrees[integrand] = degree(integrand.xreplace({self.model.loss: S.mean_loss}))
        return self._degrees[integrand] <= nodes.degree

    def _over_spins(self, integrand: sp.Expr, full: Point, nodes: Nodes) -> Array:
        if not self._suffices(nodes, integrand):
            nodes = self.spin_nodes(full, _FINE, panels=True)
        known: dict[str, Callable[[], Array]] = {
            S.normal.name: lambda: nodes.z,
            S.field.name: lambda: nodes.B,
            S.spin.name: lambda: nodes.x,
            S.response.name: lambda: nodes.response,
            S.nonzero.name: lambda: nodes.nonzero,
            S.mean_penalty.name: lambda: nodes.energy,
            S.spin_free.name: lambda: nodes.free,
        }
        return _sum(nodes.weight, self._integrand(integrand, known, full))

    def _over_prompts(self, integrand: sp.Expr, full: Point, prompts: list[tuple[Conditional, Nodes]]) -> Array:
        total: Array = np.zeros_like(full["tau"])
        c = full["c"][:, None]
        if not all(self._suffices(nodes, integrand) for _, nodes in prompts):
            prompts = self.prompt_nodes(full, _FINE, panels=True)
        for law, nodes in prompts:
            with np.errstate(all="ignore"):
                # Only what the integrand asks for is computed.
                known: dict[str, Callable[[], Array]] = {
                    S.y.name: lambda law=law: law.label[:, None],  # type: ignore[misc]
                    S.t.name: lambda law=law, nodes=nodes: law.teacher(nodes.z, nodes.B * c),  # type: ignore[misc]
                    S.f_cav.name: lambda nodes=nodes: nodes.B * c,  # type: ignore[misc]
                    S.f.name: lambda nodes=nodes: nodes.x,  # type: ignore[misc]
                    S.pull.name: lambda nodes=nodes: nodes.force,  # type: ignore[misc]
                    S.pull_slope.name: lambda nodes=nodes: nodes.force_slope / c,  # type: ignore[misc]
                    S.mean_loss.name: lambda nodes=nodes: nodes.energy,  # type: ignore[misc]
                    S.prompt_free.name: lambda nodes=nodes: self._prompt_free(nodes, full),  # type: ignore[misc]
                }
                total = total + law.weight * _sum(nodes.weight, self._integrand(integrand, known, full))
        return total

    def _prompt_free(self, nodes: Nodes, full: Point) -> Array:
        c, T = full["c"][:, None], (full["tau"] * full["T"])[:, None]
        return nodes.excess + T * np.log(2 * np.pi * c * T) / 2 if self.thermal else nodes.excess

    def _over_tests(self, integrand: sp.Expr, full: Point, fineness: float) -> Array:
        """An average without the prompt's own answer: nodes split where the loss itself is not smooth."""
        total: Array = np.zeros_like(full["tau"])
        for law in self._laws(full, self.system.test_covariance, fineness):
            strengths = {**full, "y": law.label}
            arguments = self._loss(law).arguments(strengths)
            ends = [np.full_like(law.mean, -REACH), np.full_like(law.mean, REACH), *law.edges]
            for piece in self._loss(law).pieces[:-1]:
                end = np.broadcast_to(np.asarray(piece.high(0.0, *arguments), dtype=float), law.mean.shape)
                with np.errstate(all="ignore"):
                    ends.append((end - law.mean) / law.deviation)
            z, weight = self._test_nodes(law, np.sort(np.clip(np.stack(ends), -REACH, REACH), axis=0), fineness)
            f_cav = law.mean[:, None] + law.deviation[:, None] * z
            label, teacher = law.label[:, None], law.teacher(z, f_cav)
            known = {S.y.name: _given(label), S.f_cav.name: _given(f_cav), S.t.name: _given(teacher)}
            total = total + law.weight * _sum(weight, self._integrand(integrand, known, full))
        return total

    def _test_nodes(self, law: Conditional, ends: Array, fineness: float) -> tuple[Array, Array]:
        """Nodes and weights between ends that are ordered along the first axis."""
        if law.tilt is None and self._loss(law).straight:
            parts = [truncated(low, high) for low, high in pairwise(ends)]
            z, weight = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
            return z, weight
        ends = np.sort(np.concatenate([ends, np.zeros_like(ends[:1])]), axis=0)
        parts = [panel(low, high, round(fineness * _TEST)) for low, high in pairwise(ends)]
        z, width = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
        weight = width * normal_density(z)
        return z, weight if law.tilt is None else weight * law.tilt(z)


_FINE = 1.5
_TEST = 40
"""Nodes on each smooth part of the loss of a new prompt."""


# Models share most expressions: each is made a function once.


@cache
def _lowered(expression: sp.Expr) -> Lowered:
    averages = tuple(sorted(expression.atoms(Average), key=sp.default_sort_key))
    dummies = [sp.Dummy(f"average_{number}") for number in range(len(averages))]
    rest = expression.xreplace(dict(zip(averages, dummies, strict=True)))
    arguments = tuple(sorted(rest.free_symbols - set(dummies), key=str))
    return Lowered(
        averages,
        tuple(average.law for average in averages),
        tuple(map(str, arguments)),
        numeric([*dummies, *arguments], rest),
    )


@cache
def _compiled(expression: sp.Expr) -> tuple[tuple[str, ...], Any]:
    """Names of the arguments of an expression, and the function."""
    arguments = tuple(sorted(expression.free_symbols, key=str))
    return tuple(map(str, arguments)), numeric(arguments, stable(expression))


def _shape(model: Model) -> str:
    """What averages over prompts depend on."""
    if model.labels == "linear" and translation(model.loss):
        return "translation"
    return "margin" if model.labels == "sign" and margin(model.loss) else "general"


def _given(array: Array) -> Callable[[], Array]:
    return lambda: array


def _sum(weight: Array, values: Array) -> Array:
    if weight.strides[0] == 0:  # nodes that all points share
        return np.asarray(np.broadcast_to(values, weight.shape) @ weight[0])
    found = np.einsum("ij,ij->i", weight, np.broadcast_to(values, weight.shape))
    lost = ~np.isfinite(found)
    if lost.any():
        # A node that weighs nothing may lie where a function has no value.
        few = weight[lost]
        found[lost] = np.sum(np.where(few == 0, 0.0, few * np.broadcast_to(values, weight.shape)[lost]), axis=1)
    return found


@cache
def compiled(model: Model, *, thermal: bool) -> CompiledSystem:
    """The compiled System of a model, made once."""
    return CompiledSystem(model, thermal=thermal)
