r"""Any model at finite D: order parameters and fields that answer each other, at D spins on the diagonal, and so on.

    prompts:  (m, v, chi, v_last, chi_last) -> (K, M, Q, K_last, Q_last)        spins:  back

The maps are those of `replica.theories.finite`, lowered in `numerics.lowering.finite`. They are solved with few nodes
for the scalars of a prompt, by Anderson's mixing in logarithms, and then with many: with the Jacobian J of few nodes,

    x + (1 - J)^{-1} (T(x) - x)

gains two or three digits a step with T of many nodes. The error bound is the same step with a number of nodes between,
whose error is the larger one. Source: this project, notes/finite_size.md.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics import generated_numpy
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.finite_observables import log_units
from iclglass.numerics.gamma_quadrature import prompt_nodes
from iclglass.numerics.last_row import LastRow
from iclglass.numerics.lowering.finite import FiniteCompiled, compiled_finite, quadratic_mean, stacked
from iclglass.numerics.memory import chunks
from iclglass.numerics.mixing import Step, fixed_point, inverse_jacobian
from iclglass.numerics.prompt_scalars import prompt_scalars
from iclglass.numerics.sizes import divisor, from_unscaled
from iclglass.numerics.status import Status
from iclglass.replica.model import Model

__all__ = ["solve_finite_model"]

Array = NDArray[np.float64]

_TOLERANCE, _GOOD = 1e-9, {True: 1e-12, False: 3e-4}
"""Residual from which a point counts as solved, and from which one correction is the last: with squared error, whose
nodes are few; with other losses, where it leaves some 1e-6."""
_START = 0.4
_COARSE = 1e-10
"""Residual with few nodes, which the Jacobian is taken at."""
_BLOCK = 1 << 14
"""Points times nodes of scalars held at once."""
_LEVELS = {"few": 0, "check": 1, "many": 2}
_REFINE = {"few": -3, "check": -1, "many": 0}
_CORRECTIONS = 12
_FINENESS, _CHECK_FINENESS = 0.6, 0.5
"""Of the inner average of other losses, whose panels are many, and of the one that it is checked with."""


def solve_finite_model(
    model: Model, flat: Mapping[str, Array], strengths: Mapping[str, Array], *, norm: str, layer: LastRow
) -> dict[str, NDArray[Any]]:
    """Solve a model at finite D over flat arrays of points.

    Parameters
    ----------
    model : replica.model.Model
        Loss, penalty, spins and labels.
    flat : mapping
        dimension, prompts, context, test_context as whole numbers; label_noise, temperature.
    strengths : mapping
        Values of the model's free symbols by name.
    norm, layer
        Divisor of the attention sum, and the last feature.

    Returns
    -------
    dict
        Arrays over points by name: order parameters, observables, residual, error_bound, status.

    Examples
    --------
    >>> from iclglass.replica.model import linear_attention
    >>> one = {name: np.array([value]) for name, value in dict(dimension=20.0, prompts=400.0, context=40.0,
    ...        test_context=40.0, label_noise=0.0, temperature=0.0).items()}
    >>> lasso = linear_attention(penalty="elastic_net")
    >>> weights = {"lam": np.zeros(1), "l1": np.array([0.5])}
    >>> found = solve_finite_model(lasso, one, weights, norm="N", layer=LastRow())
    >>> round(float(found["m"][0]), 4), round(float(found["density"][0]), 4)
    (0.5387, 0.3593)
    """
    if model.task_variance != 1:
        raise ParameterError(
            f"tasks of variance {model.task_variance} have no theory at finite dimension: take variance 1, or leave "
            "dimension out"
        )
    # From here on label_noise is that of this model, whatever it makes of the parameter.
    values, places = np.unique(flat["label_noise"], return_inverse=True)
    noise = np.array([model.label_noise_at(float(value)) for value in values])[places]
    flat = {**flat, "label_noise": noise}
    size = flat["dimension"].size
    scale = np.array([layer.scale(int(each)) for each in flat["dimension"]])
    tau = from_unscaled(flat["dimension"], prompts=flat["prompts"])["task_diversity"]
    points = {"D": flat["dimension"], "tau": tau, "rho": flat["label_noise"]}
    points |= {"T": flat["temperature"], "last_scale": scale, **strengths}
    result: dict[str, NDArray[Any]] = {"status": np.zeros(size, dtype=np.int8)}
    for thermal in (False, True):
        where = np.flatnonzero((flat["temperature"] > 0) == thermal)
        if not where.size:
            continue
        compiled = compiled_finite(model, thermal=thermal, last_row=layer.last_row)
        laws = _Laws(compiled, flat, norm)
        for part in chunks(where.size, max(1, _BLOCK // laws.nodes(where[0]))):
            block = where[part]
            # A point beyond floating point is NaN with a status, and no warning.
            with np.errstate(all="ignore"):
                solved = _solve_block(compiled, laws, points, block)
                given = {name: array[block] for name, array in {**points, **flat}.items()}
                solved |= _errors(model, solved, given, norm, scale[block])
            for name, values in solved.items():
                result.setdefault(name, np.full(size, np.nan))[block] = values
    return result


class _Laws:
    """Nodes of the laws of the points' prompts."""

    def __init__(self, compiled: FiniteCompiled, flat: Mapping[str, Array], norm: str) -> None:
        self.compiled, self.flat, self.norm = compiled, flat, norm

    def _one(self, point: int, kind: str, context: str) -> Any:
        size, tokens = int(self.flat["dimension"][point]), int(self.flat[context][point])
        noise, compiled = float(self.flat["label_noise"][point]), self.compiled
        which = size, tokens, int(divisor(tokens, self.norm)), noise
        if compiled.quadratic and context == "context":
            return prompt_nodes(*which, refine=_REFINE[kind])
        return prompt_scalars(*which, compiled.model.labels, compiled.shape, compiled.even, _LEVELS[kind])

    def nodes(self, point: int) -> int:
        return int(self._one(point, "many", "context").weight.size)

    def of(self, points: NDArray[np.intp], kind: str, context: str = "context") -> Any:
        return stacked([self._one(point, kind, context) for point in points])


def _solve_block(
    compiled: FiniteCompiled, laws: _Laws, points: Mapping[str, Array], block: NDArray[np.intp]
) -> dict[str, NDArray[Any]]:
    own = {name: array[block] for name, array in points.items()}
    names = ("m", "v", "chi") + (("v_last", "chi_last") if compiled.last_row else ())
    fineness = 1.0 if compiled.quadratic else _FINENESS

    def step_with(kind: str) -> Step:
        law = laws.of(block, kind)
        inner = _CHECK_FINENESS if kind == "check" and not compiled.quadratic else fineness

        def step(x: Array, rows: NDArray[np.intp]) -> Array:
            point = {name: array[rows] for name, array in own.items()} | dict(zip(names, _values(x), strict=True))
            fields = compiled.fields(point, _rows_of(law, rows), inner)
            found = compiled.answers(point | fields)
            return _logarithms(np.stack([found[name] for name in names]))

        return step

    few = step_with("few")
    every = np.arange(block.size)
    start = np.log(np.full((len(names), block.size), _START))
    start[0] = _START
    x, _ = fixed_point(few, start, tolerance=_COARSE)
    inverse = inverse_jacobian(few, x)
    many, residual, rows = step_with("many"), np.full(block.size, np.inf), every
    for _ in range(_CORRECTIONS):
        change = many(x[:, rows], rows) - x[:, rows]
        residual[rows] = np.max(np.abs(change), axis=0)
        x[:, rows] += np.einsum("pij,jp->ip", inverse[rows], change)
        rows = rows[~(residual[rows] <= _GOOD[compiled.quadratic])]
        if not rows.size:
            break
    errors = np.abs(np.einsum("pij,jp->ip", inverse, step_with("check")(x, every) - x))
    order = dict(zip(names, _values(x), strict=True))
    point = {**own, **order}
    law = laws.of(block, "many")
    fields = compiled.fields(point, law, fineness)
    if "nuclear" in own:
        errors = errors + 2 * _of_draws(compiled, {**point, **fields}, inverse)
    # m is on a scale of its own, the others on a logarithmic one.
    bound = np.max(np.concatenate([errors[:1] / np.abs(x[:1]), errors[1:]]), axis=0)
    needs_test = not (compiled.quadratic and compiled.model.labels == "linear")
    test = laws.of(block, "many", "test_context") if needs_test else None
    found: dict[str, NDArray[Any]] = {**order, **compiled.observables({**point, **fields}, law, test, fineness)}
    status = np.full(block.size, Status.CONVERGED, dtype=np.int8)
    status[~(residual <= max(_TOLERANCE, _GOOD[compiled.quadratic]))] = Status.NOT_CONVERGED
    status[~np.all([np.isfinite(found[name]) for name in ("m", "q", "chi")], axis=0)] = Status.NOT_FINITE
    return found | {"residual": residual, "error_bound": bound, "status": status}


def _of_draws(compiled: FiniteCompiled, point: Mapping[str, Array], inverse: Array) -> Array:
    """Standard errors of m, ln v and ln chi because the noise on the matrix of weights is drawn."""
    weights = compiled.matrix(point)
    m, q, chi = weights.errors
    own = np.stack([m, (q + 2 * np.abs(weights.m) * m) / point["v"], chi / point["chi"]])
    return np.sqrt(np.einsum("pij,jp->ip", inverse**2, own**2))


def _errors(
    model: Model, found: Mapping[str, Array], flat: Mapping[str, Array], norm: str, scale: Array
) -> dict[str, Array]:
    """Squared errors by the exact moments of one prompt, and what depends on the unit of volume."""
    size, result = flat["dimension"], {}
    if model.labels == "linear":
        for name, context in (("e_icl", "test_context"), ("e_idg", "context")):
            tokens = flat[context]
            moments = generated_numpy.feature_moments(size, tokens, divisor(tokens, norm), flat["label_noise"])
            label, signal, block, last = moments
            last = last * scale**2
            result[name] = label - 2 * signal * found["m"] + block * found["q"] + last * found["last_row"]
            if name == "e_icl":
                response = block * found["chi"] + last * found.get("chi_last", 0.0)
                result["e_icl_gibbs"] = result[name] + flat["temperature"] * response
            if name == "e_icl" and "test_loss" not in found:
                overlap, square = signal * found["m"], block * found["q"] + last * found["last_row"]
                result["test_loss"] = quadratic_mean(model.loss, (label, overlap, square), flat)
    thermal = flat["temperature"] > 0
    units = np.array([log_units(each, s) if s > 0 else 0.0 for each, s in zip(size, scale, strict=True)])
    own = np.where(scale > 0, (size**2 + size) / 2 * np.log(size), units)
    shift = np.where(thermal, (units - own) / size**2, 0.0)
    result["free_energy"] = found["free_energy"] - flat["temperature"] * shift
    if "entropy" in found:
        result["entropy"] = found["entropy"] + shift
    return result


def _values(x: Array) -> tuple[Array, ...]:
    return (x[0], *np.exp(x[1:]))


def _logarithms(values: Array) -> Array:
    """m itself, and the logarithms of what is positive."""
    return np.concatenate([values[:1], np.log(np.maximum(values[1:], 1e-290))])


def _rows_of(law: Any, rows: NDArray[np.intp]) -> Any:
    if rows.size == law.weight.shape[0]:
        return law
    return replace(law, **{name: getattr(law, name)[rows] for name in type(law).__annotations__ if name != "residual"})
