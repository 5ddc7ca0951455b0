r"""SG Fig. S4: error of in-context learning when the tokens of a prompt are correlated with each other.

What is correlated (by the authors' code, fig-S4/data.py; the supplement's text was not consulted): the N + 1 positions
of a prompt, query included, not the D components of a token. The rows of the
D x (N+1) matrix of tokens are independent, each N(0, Sigma). Intended: Sigma = L L^T with 1 on the diagonal and c off
it, L its lower Cholesky factor. Published: the rows are multiplied by L from the right, so that Sigma = L^T L, whose
tokens have variances from 1 + N l^2 (first) down to about 1 - c (query) instead of 1.

Law of a prompt (this project). Let n = w/|w|, t = |w|/sqrt(D), a ~ N(0, Sigma) the tokens' components along n, A the
N x N block of the context in Sigma, sigma its column with the query, s the variance of the query. The labels are t a;
u_{1..D} = t X a/norm, u_{D+1} = t^2 |a|^2/norm. Given a, the components of (u, xt) across n are independent pairs of
variances t^2 a.Aa/norm^2 and s and covariance t a.sigma/norm. Everything below follows by Isserlis' theorem.

Theory (this project). Query and context are correlated, so the features s = u (x) xt are not isotropic. But rotations
of token space leave the law unchanged: E[s s^T] is a number on each of trace (1 spin), symmetric traceless matrices
(D(D+1)/2 - 1), antisymmetric ones (D(D-1)/2) and last row (D). With T = u.xt, F = |u|^2 |xt|^2 (u the first D) the
squared parts of a feature vector are

    p = T^2/D,   (F + T^2)/2 - T^2/D,   (F - T^2)/2,   u_{D+1}^2 |xt|^2

and the cavity equations of the isotropic theory (notes/derivation.md) hold part by part, r = 1..4 of n_r spins:

    om = 1/(1 + sum_r p_r g_r/P),   1/g_r = lambda0 + E[om p_r]/n_r,   M = g_1 E[om y T]/sqrt(D)
    v_r = g_r^2/(P n_r) E[om^2 p_r ((y - M T/sqrt(D))^2 + sum_k p_k v_k)]
    error = E y^2 - 2 M E[y T]/sqrt(D) + M^2 E p_1 + sum_r v_r E p_r

The averages with om are over sampled prompts, in batches, which give the theory's own standard error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from numerics.errors import ConvergenceError
from numerics.fixed_point import Status
from numerics.instance.data import Instance
from numerics.instance.spin_by_spin import published as published_iteration
from numerics.instance.spin_glass import hessian
from numerics.plotting import PALETTE
from validation.paper.figure import Array, PaperFigure, Progress, Verdict, compared, largest
from validation.statistics import bonferroni_threshold, mean_and_error, welch_satterthwaite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "COVARIANCES",
    "FIGURE",
    "CorrelatedLaw",
    "cavity_error",
    "covariance",
    "draw_correlated",
    "law_of",
    "population_error",
]

FloatArray = NDArray[np.float64]

COVARIANCES = ("published", "intended")
PUBLISHED = ("fig-S4/data/amp.npy", "fig-S4/data/sgd.npy")
PUBLISHED_CORRELATIONS: FloatArray = np.linspace(0.05, 0.95, 19)
FALSE_ALARM = 0.01
THEORY_BATCHES, THEORY_DRAWS = 4, 10_000
CHUNK = 20_000
STOPPED = 5e-6
"""SG keep a run of their iteration if its last mean squared change is at most this."""
_CHANGE, _STEPS = 1e-12, 2000


def parameters(scale: str) -> dict[str, Any]:
    """The paper's at "full"; at "quick" fewer correlations and repeats."""
    full = scale == "full"
    return {
        "dimension": 20,
        "context": 200,
        "prompts": 10_000,
        "ridge0": 0.01,
        "beta": 100.0,
        "correlations": [round(0.05 * k, 2) for k in range(1, 20)] if full else [0.05, 0.25, 0.5, 0.75, 0.95],
        "repeats": 20 if full else 8,
        "iterations": 20 if full else 2,
    }


def covariance(kind: str, *, correlation: float, context: int) -> FloatArray:
    """Sigma over the N + 1 positions of a prompt, the query last: "intended" L L^T or "published" L^T L.

    >>> covariance("intended", correlation=0.5, context=1).round(12).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    >>> covariance("published", correlation=0.6, context=1).round(12).tolist()
    [[1.36, 0.48], [0.48, 0.64]]
    """
    intended = np.full((context + 1, context + 1), correlation) + (1 - correlation) * np.eye(context + 1)
    if kind == "intended":
        return intended
    factor = np.linalg.cholesky(intended)
    product: FloatArray = factor.T @ factor
    return product


def draw_correlated(sigma: FloatArray, *, dimension: int, prompts: int, rng: np.random.Generator) -> Instance:
    """P prompts whose positions have the covariance sigma, (N+1, N+1), each with its own task; norm N + 1.

    >>> data = draw_correlated(np.eye(4), dimension=3, prompts=5, rng=np.random.default_rng(1))
    >>> data.context.shape, data.query.shape
    ((5, 4), (5, 3))
    """
    norm, factor = sigma.shape[0], np.linalg.cholesky(sigma)
    parts = []
    for start in range(0, prompts, CHUNK):
        count = min(CHUNK, prompts - start)
        task = rng.standard_normal((count, dimension))
        length = np.linalg.norm(task, axis=1)
        along = rng.standard_normal((count, norm)) @ factor.T
        labels, last = along[:, :-1], along[:, -1]
        square = np.einsum("pk,pk->p", labels, labels)
        spread = np.einsum("pk,pk->p", labels @ sigma[:-1, :-1], labels)
        shared = labels @ sigma[:-1, -1]
        direction = task / length[:, None]
        scale = length / math.sqrt(dimension)

        first, second = (_across(direction, rng) for _ in range(2))
        outside_u = np.sqrt(spread)[:, None] * first
        slope = shared / spread
        rest = np.sqrt(sigma[-1, -1] - shared * slope)
        query = last[:, None] * direction + slope[:, None] * outside_u + rest[:, None] * second
        context = scale[:, None] * (square[:, None] * direction + outside_u) / norm
        parts.append((np.column_stack([context, scale**2 * square / norm]), query, scale * last))
    context, query, label = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    return Instance(context, query, label)


def _across(direction: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Standard normal vectors orthogonal to the directions."""
    normal = rng.standard_normal(direction.shape)
    normal -= np.einsum("pd,pd->p", normal, direction)[:, None] * direction
    return normal


@dataclass(frozen=True, eq=False)
class CorrelatedLaw:
    """Exact second moments of one prompt.

    label : E y^2.    signal : E[y T]/sqrt(D), along the unit vector of the trace.
    eigenvalues : (4,), of E[s s^T] on trace, symmetric, antisymmetric matrices and last row.    sizes : (4,), n_r.
    """

    label: float
    signal: float
    eigenvalues: FloatArray
    sizes: FloatArray


def law_of(sigma: FloatArray, dimension: int) -> CorrelatedLaw:
    """Exact moments by Isserlis' theorem; norm N + 1.

    >>> found = law_of(np.eye(2), 2)  # one token, norm 2, query independent of it
    >>> found.label, found.signal == 1 / 2 / math.sqrt(2)
    (1.0, True)
    """
    block, column, s = sigma[:-1, :-1], sigma[:-1, -1], float(sigma[-1, -1])
    d, norm = float(dimension), float(sigma.shape[0])
    trace, trace2 = float(np.trace(block)), float(np.sum(block**2))
    c2, c3 = float(column @ column), float(column @ block @ column)
    square4 = trace**2 + 2 * trace2  # E |a|^4
    square4_q = s * square4 + 4 * trace * c2 + 8 * c3  # E |a|^4 a_q^2
    mixed = s * trace2 + 2 * c3  # E (a.b)^2 b_q^2 = E a_q^2 a.Aa
    signal = (s * trace + (d + 1) * c2) / norm
    overlap = square4_q + 2 * (d - 1) * (trace * c2 + 2 * c3) + (d - 1) * mixed + (d - 1) * (d - 2) * c3
    product = square4_q + (d - 1) * (s * square4 + 2 * mixed + (d - 2) * s * trace2)
    overlap, product = overlap / norm**2, product / norm**2
    last = (1 + 2 / d) * (square4_q + (d - 1) * s * square4) / norm**2
    sizes = np.array([1.0, d * (d + 1) / 2 - 1, d * (d - 1) / 2, d])
    parts = np.array([overlap / d, (product + overlap) / 2 - overlap / d, (product - overlap) / 2, last])
    return CorrelatedLaw(s, signal / math.sqrt(d), parts / sizes, sizes)


def population_error(weights: FloatArray, law: CorrelatedLaw) -> float:
    """Exact error of weights (D+1, D) on a new prompt of the law."""
    dimension = weights.shape[1]
    block, root = weights[:-1], math.sqrt(dimension)
    trace, even, odd = float(np.trace(block)) / root, (block + block.T) / 2, (block - block.T) / 2
    squares = np.array([trace**2, np.sum(even**2) - trace**2, np.sum(odd**2), np.sum(weights[-1] ** 2)])
    return float(law.label - 2 * trace * law.signal + law.eigenvalues @ squares)


def cavity_error(drawn: Instance, law: CorrelatedLaw, *, prompts: int, ridge0: float) -> float:
    """Error on new prompts by the equations of the module's docstring; averages over the prompts drawn.

    Raises:
        ConvergenceError: the responses g_r do not settle.
    """
    root = math.sqrt(drawn.dimension)
    along = np.einsum("pd,pd->p", drawn.context[:, :-1], drawn.query)
    query2 = np.einsum("pd,pd->p", drawn.query, drawn.query)
    product = np.einsum("pd,pd->p", drawn.context[:, :-1], drawn.context[:, :-1]) * query2
    one = along**2 / drawn.dimension
    parts = np.array(
        [one, (product + along**2) / 2 - one, (product - along**2) / 2, drawn.context[:, -1] ** 2 * query2]
    )
    count = along.size
    response = 1 / (ridge0 + law.eigenvalues)
    for _ in range(_STEPS):
        weight = 1 / (1 + response @ parts / prompts)
        new = 1 / (ridge0 + parts @ weight / count / law.sizes)
        change = float(np.max(np.abs(new / response - 1)))
        response = new
        if change < _CHANGE:
            break
    else:
        raise ConvergenceError(f"the cavity responses still change by {change:.1e} after {_STEPS} steps")
    amplitude = response[0] * float(np.mean(weight * drawn.label * along)) / root
    residual = (drawn.label - amplitude * along / root) ** 2
    factor = response**2 / (prompts * law.sizes)
    weighted = parts * weight**2
    matrix = factor[:, None] * (weighted @ parts.T) / count
    spread = np.linalg.solve(np.eye(4) - matrix, factor * (weighted @ residual) / count)
    mean_error = law.label - 2 * amplitude * law.signal + law.eigenvalues[0] * amplitude**2
    return float(mean_error + (law.sizes * law.eigenvalues) @ spread)


def simulate(scale: str, seed: int, progress: Progress) -> xr.Dataset:
    """Exact solution at lambda0 and lambda0/2, SG's iteration, and the theory; one part for each c and covariance."""
    settings = FIGURE.checked_parameters(scale)
    correlations = settings["correlations"]
    rows = []
    for number, correlation in enumerate(correlations):
        row = []
        for index, kind in enumerate(COVARIANCES):
            progress(2 * number + index, 2 * len(correlations))
            key = f"c={correlation}-{kind}"
            row.append(progress.part(key, partial(_one, settings, correlation, kind, seed)))
        rows.append(xr.concat(row, dim=xr.DataArray(list(COVARIANCES), dims="covariance", name="covariance")))
    data = xr.concat(rows, dim=xr.DataArray(correlations, dims="correlation", name="correlation"))
    data = data.merge(progress.part("curve", partial(_curve, settings, seed)))
    progress(1, 1)
    return data


def _curve(settings: Mapping[str, Any], seed: int) -> xr.Dataset:
    """The theory at all correlations of the paper, for the lines: fewer sampled prompts than where it is tested."""
    values = np.empty((2, len(COVARIANCES), PUBLISHED_CORRELATIONS.size))
    for index, kind in enumerate(COVARIANCES):
        for place, correlation in enumerate(PUBLISHED_CORRELATIONS):
            sigma = covariance(kind, correlation=float(correlation), context=settings["context"])
            law = law_of(sigma, settings["dimension"])
            rng = np.random.default_rng([seed, 44, index, place])
            drawn = draw_correlated(sigma, dimension=settings["dimension"], prompts=THEORY_DRAWS, rng=rng)
            for row, ridge in enumerate((settings["ridge0"], settings["ridge0"] / 2)):
                values[row, index, place] = cavity_error(drawn, law, prompts=settings["prompts"], ridge0=ridge)
    dims = ("covariance", "curve_correlation")
    return xr.Dataset(
        {"curve": (dims, values[0]), "curve_half": (dims, values[1])},
        coords={"covariance": list(COVARIANCES), "curve_correlation": PUBLISHED_CORRELATIONS},
    )


def _one(settings: Mapping[str, Any], correlation: float, kind: str, seed: int) -> xr.Dataset:
    dimension, prompts, ridge0 = settings["dimension"], settings["prompts"], settings["ridge0"]
    sigma = covariance(kind, correlation=correlation, context=settings["context"])
    law = law_of(sigma, dimension)
    rng = np.random.default_rng([seed, 4, round(1000 * correlation), COVARIANCES.index(kind)])
    errors = np.full((3, settings["repeats"]), math.nan)
    for repeat in range(settings["repeats"]):
        data = draw_correlated(sigma, dimension=dimension, prompts=prompts, rng=rng)
        matrix, fields = hessian(data), data.features.adjoint(data.label) / prompts
        for index, ridge in enumerate((ridge0, ridge0 / 2)):
            weights = np.linalg.solve(matrix + ridge * np.eye(data.spins), fields.ravel())
            errors[index, repeat] = population_error(weights.reshape(fields.shape), law)
        if repeat >= settings["iterations"]:
            continue
        found = published_iteration(
            data, ridge0=ridge0, beta=settings["beta"], damping=0.9, max_iterations=200, rng=rng
        )
        if found.status is not Status.DIVERGES and found.history[-1] <= STOPPED:
            errors[2, repeat] = population_error(found.mean[:, :-1], law)
    theory = np.empty((2, THEORY_BATCHES))
    for batch in range(THEORY_BATCHES):
        drawn = draw_correlated(sigma, dimension=dimension, prompts=THEORY_DRAWS, rng=rng)
        for index, ridge in enumerate((ridge0, ridge0 / 2)):
            theory[index, batch] = cavity_error(drawn, law, prompts=prompts, ridge0=ridge)
    names = ("exact", "exact_half", "iteration")
    result = {name: ("repeat", errors[index]) for index, name in enumerate(names)}
    result |= {"theory": ("batch", theory[0]), "theory_half": ("batch", theory[1])}
    return xr.Dataset(result, attrs={"iterations": settings["iterations"]})


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Exact solution against the cavity theory, at lambda0 and lambda0/2 and for both covariances."""
    rows, degrees = [], []
    for kind in data["covariance"].values:
        for correlation in data["correlation"].values:
            one = data.sel(covariance=kind, correlation=correlation)
            for ours, theory, ridge in (("exact", "theory", "lambda0"), ("exact_half", "theory_half", "lambda0/2")):
                mean, error = mean_and_error(one[ours].values)
                reference, reference_error = mean_and_error(one[theory].values)
                both = (float(error), float(reference_error))
                what = f"error, {kind} covariance, c = {correlation:g}, {ridge}"
                rows.append(compared(what, float(mean), float(reference), math.hypot(*both)))
                degrees.append(welch_satterthwaite([1, 1], both, [one[ours].size - 1, one[theory].size - 1]))
    agrees = all(
        abs(row[4]) < bonferroni_threshold(FALSE_ALARM, len(rows), dof) for row, dof in zip(rows, degrees, strict=True)
    )
    gap = max(abs(row[1] / row[2] - 1) for row in rows)
    runs = int(data.attrs["iterations"]) * data.sizes["correlation"]
    fate = ", ".join(
        f"{int(data.iteration.sel(covariance=kind).count())} of {runs} runs, {kind}" for kind in COVARIANCES
    )
    remarks = [
        "correlated are the positions of a prompt, query included, not the components of a token: the published "
        "code multiplies the D x (N+1) matrix of tokens by L from the right; with L^T L the variance of the query, and "
        "of its label, is about 1 - c instead of 1",
        "Adam is not run here: with its weight decay it minimises the energy at lambda0/2, shown as that solution",
        f"SG's iteration, which has no theory here, settles in {fate}",
        *_against_published(data, published),
    ]
    return Verdict(
        f"exact solution against the cavity theory of correlated tokens, {len(rows)} errors: largest |z| "
        f"{largest(rows):.1f}, largest deviation {100 * gap:.1f} %",
        tuple(rows),
        agrees,
        tuple(remarks),
    )


def _against_published(data: xr.Dataset, published: Mapping[str, Array]) -> list[str]:
    """The authors' iteration against the theory at lambda0, their Adam against that at lambda0/2."""
    remarks = []
    for name, ours in zip(PUBLISHED, ("curve", "curve_half"), strict=True):
        samples = _published(published, name)
        if samples is None:
            continue
        reached = np.isfinite(samples).sum(axis=1) >= 2
        settled = samples[reached]
        if not len(settled):
            continue
        mean = np.nanmean(settled, axis=1)
        error = np.nanstd(settled, axis=1, ddof=1) / np.sqrt(np.isfinite(settled).sum(axis=1))
        for kind in data["covariance"].values:
            reference = data[ours].sel(covariance=kind).values[reached]
            z, ratio = (mean - reference) / error, mean / reference
            remarks.append(
                f"published {name} ({len(settled)} values of c) against the theory for the {kind} covariance: "
                f"deviations {z.min():+.1f} to {z.max():+.1f} standard errors, ratios {ratio.min():.3f} "
                f"to {ratio.max():.3f}"
            )
    return remarks


def _published(published: Mapping[str, Array], name: str) -> FloatArray | None:
    """Errors (19, 20) of the authors; NaN where their iteration had not settled."""
    array = published.get(name)
    if array is None or array.shape != (PUBLISHED_CORRELATIONS.size, 20):
        return None
    return array.astype(np.float64)


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """Error over c, a panel for each covariance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    panels = figure.subplots(1, data.sizes["covariance"], sharey=True)
    c = data["correlation"].values
    for panel, kind in zip(panels, data["covariance"].values, strict=True):
        one = data.sel(covariance=kind)
        for index, (end, ridge) in enumerate((("", r"$\lambda_0$"), ("_half", r"$\lambda_0/2$"))):
            theory, ours, colour = f"curve{end}", f"exact{end}", PALETTE[index]
            panel.plot(PUBLISHED_CORRELATIONS, one[theory], color=colour, label=f"theory, {ridge}")
            mean, error = mean_and_error(one[ours].values)
            panel.errorbar(c, mean, error, color=colour, fmt="o", markersize=4, label=f"exact solution, {ridge}")
        runs = one["iteration"].values
        panel.plot(
            np.repeat(c, runs.shape[1]), runs.ravel(), "x", color=PALETTE[2], label="SG's iteration, where it settles"
        )
        if kind == "published":
            for name, marker in zip(PUBLISHED, ("s", "^"), strict=True):
                array = _published(published, name)
                if array is not None:
                    usable = np.isfinite(array).any(axis=1)
                    shown = np.nanmean(array[usable], axis=1)
                    label = f"published {name.rsplit('/')[-1]}"
                    panel.plot(PUBLISHED_CORRELATIONS[usable], shown, marker, color="0.4", markersize=4, label=label)
        panel.set_title("published: $L^TL$" if kind == "published" else "intended: $LL^T$", fontsize="medium")
        panel.set_xlabel("correlation $c$ between tokens of a prompt")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("error on new prompts")
    panels[0].set_ylim(bottom=0)
    panels[1].legend(fontsize="small")
    return figure


FIGURE = PaperFigure(
    name="fig-S4",
    title="Correlated tokens",
    parameters=parameters,
    simulate=simulate,
    draw=draw,
    judge=judge,
    published=PUBLISHED,
)
