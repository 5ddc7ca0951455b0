r"""SG Fig. S4: error of in-context learning when the tokens of a prompt are correlated with each other.

What is correlated (by the authors' code, fig-S4/data.py; the supplement's text was not consulted): the N + 1 positions
of a prompt, query included, not the D components of a token. The rows of the
D x (N+1) matrix of tokens are independent, each N(0, Sigma). Intended: Sigma = L L^T with 1 on the diagonal and c off
it, L its lower Cholesky factor. Published: the rows are multiplied by L from the right, so that Sigma = L^T L, whose
tokens have variances from 1 + N l^2 (first) down to about 1 - c (query) instead of 1.

Law, moments and theory of such prompts: `validation.paper.correlated_tokens`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from iclglass.numerics.fixed_point import Status
from iclglass.numerics.instance.spin_by_spin import published as published_iteration
from iclglass.numerics.instance.spin_glass import hessian
from iclglass.numerics.plotting import PALETTE
from iclglass.validation.paper.correlated_tokens import (
    cavity_error,
    covariance,
    draw_correlated,
    law_of,
    population_error,
)
from iclglass.validation.paper.figure import Array, PaperFigure, Progress, Verdict, compared, in_parts, one_by_one
from iclglass.validation.paper.published import of_shape
from iclglass.validation.statistics import bonferroni_threshold, mean_and_error, welch_satterthwaite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COVARIANCES", "FIGURE"]

FloatArray = NDArray[np.float64]

COVARIANCES = ("published", "intended")
PUBLISHED = ("fig-S4/data/amp.npy", "fig-S4/data/sgd.npy")
PUBLISHED_CORRELATIONS: FloatArray = np.linspace(0.05, 0.95, 19)
FINE_CORRELATIONS: FloatArray = np.arange(4, 33) / 80
"""Where the curve bends; beyond, the former do."""
FALSE_ALARM = 0.01
THEORY_BATCHES, THEORY_DRAWS = 4, 10_000
STOPPED = 5e-6
"""SG keep a run of their iteration if its last mean squared change is at most this."""


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


def simulate(scale: str, seed: int, progress: Progress) -> xr.Dataset:
    """Exact solution at lambda0 and lambda0/2, SG's iteration, and the theory; one part for each c and covariance."""
    settings = FIGURE.checked_parameters(scale)
    correlations = settings["correlations"]
    work = {f"c={c}-{kind}": partial(_one, settings, c, kind, seed) for c in correlations for kind in COVARIANCES}
    *parts, curve = in_parts(progress, {**work, "curve": partial(_curve, settings, seed)})
    kinds = xr.DataArray(list(COVARIANCES), dims="covariance", name="covariance")
    rows = [xr.concat(pair, dim=kinds) for pair in zip(parts[::2], parts[1::2], strict=True)]
    return xr.concat(rows, dim=xr.DataArray(correlations, dims="correlation", name="correlation")).merge(curve)


def _curve(settings: Mapping[str, Any], seed: int) -> xr.Dataset:
    """The theory at all correlations of the paper, for the lines: fewer sampled prompts than where it is tested."""
    values = np.empty((2, len(COVARIANCES), PUBLISHED_CORRELATIONS.size))
    for index, kind in enumerate(COVARIANCES):
        for place, correlation in enumerate(PUBLISHED_CORRELATIONS):
            rng = np.random.default_rng([seed, 44, index, place])
            values[:, index, place] = _theory(settings, kind, float(correlation), rng)
    dims = ("covariance", "curve_correlation")
    return xr.Dataset(
        {"curve": (dims, values[0]), "curve_half": (dims, values[1])},
        coords={"covariance": list(COVARIANCES), "curve_correlation": PUBLISHED_CORRELATIONS},
    )


def _theory(settings: Mapping[str, Any], kind: str, correlation: float, rng: np.random.Generator) -> list[float]:
    """Error at lambda0 and at lambda0/2, from THEORY_DRAWS prompts."""
    sigma = covariance(kind, correlation=correlation, context=settings["context"])
    law = law_of(sigma, settings["dimension"])
    drawn = draw_correlated(sigma, dimension=settings["dimension"], prompts=THEORY_DRAWS, rng=rng)
    ridges = (settings["ridge0"], settings["ridge0"] / 2)
    return [cavity_error(drawn, law, prompts=settings["prompts"], ridge0=ridge) for ridge in ridges]


def _fine(kind: str) -> FloatArray:
    """The theory at FINE_CORRELATIONS, (2, correlations), for the lines only: of the same random numbers, so smooth."""
    settings = FIGURE.checked_parameters("full")  # at either scale it is of the same prompts
    seed = [44, COVARIANCES.index(kind)]
    values = [_theory(settings, kind, float(c), np.random.default_rng(seed)) for c in FINE_CORRELATIONS]
    return np.array(values).T


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
    limits = [bonferroni_threshold(FALSE_ALARM, len(rows), dof) for dof in degrees]
    errors = one_by_one(rows, limits, degrees)
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
        f"exact solution against the cavity theory of correlated tokens, {len(rows)} errors: "
        f"{errors}, largest deviation {100 * gap:.1f} %",
        tuple(rows),
        (errors.judged("errors"),),
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
    return of_shape(published, name, (PUBLISHED_CORRELATIONS.size, 20), finite=False)


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """Error over c, a panel for each covariance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    panels = figure.subplots(1, data.sizes["covariance"], sharey=True)
    c = data["correlation"].values
    looks = (("", r"$\lambda_0$", "-", 9, "none"), ("_half", r"$\lambda_0/2$", "--", 4, "full"))
    beyond = np.round(PUBLISHED_CORRELATIONS, 2) > np.max(FINE_CORRELATIONS)
    at = np.concatenate([FINE_CORRELATIONS, PUBLISHED_CORRELATIONS[beyond]])
    for panel, kind in zip(panels, data["covariance"].values, strict=True):
        one, fine = data.sel(covariance=kind), _fine(str(kind))
        runs = one["iteration"].values
        panel.plot(
            np.repeat(c, runs.shape[1]), runs.ravel(), "x", color=PALETTE[2], label="SG's iteration, where it settles"
        )
        # a large ring about a small dot: the two ridges nearly coincide
        for index, (end, ridge, line, size, fill) in enumerate(looks):
            theory = np.concatenate([fine[index], one[f"curve{end}"].values[beyond]])
            colour = PALETTE[index]
            panel.plot(at, theory, line, color=colour, linewidth=1, label=f"theory, {ridge}")
            style: dict[str, Any] = {"color": colour, "fmt": "o", "markersize": size, "fillstyle": fill}
            panel.errorbar(c, *mean_and_error(one[f"exact{end}"].values), **style, label=f"exact solution, {ridge}")
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
