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
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iclglass.numerics.instance.spin_by_spin import published as published_iteration
from iclglass.numerics.instance.spin_glass import hessian
from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.status import Status
from iclglass.validation.paper.correlated_tokens import (
    cavity_error,
    covariance,
    draw_correlated,
    law_of,
    population_error,
)
from iclglass.validation.paper.drawing import dress, panelled
from iclglass.validation.paper.figure import Array, PaperFigure, Verdict
from iclglass.validation.paper.judging import means, one_by_one, span
from iclglass.validation.paper.published import of_shape
from iclglass.validation.paper.simulating import Compute, simulated
from iclglass.validation.statistics import mean_and_error, welch_satterthwaite

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


def simulate(given: Mapping[str, Any], seed: int, compute: Compute) -> xr.Dataset:
    """Exact solution at lambda0 and lambda0/2, SG's iteration, and the theory; one part for each c and covariance."""
    axes = {"correlation": given["correlations"], "covariance": COVARIANCES}
    return simulated(compute, (axes, partial(_one, given, seed)), ({}, partial(_curve, given, seed)))


def _curve(given: Mapping[str, Any], seed: int) -> xr.Dataset:
    """The theory at all correlations of the paper, for the lines: fewer sampled prompts than where it is tested."""
    values = np.array(
        [
            [
                _theory(given, kind, float(correlation), np.random.default_rng([seed, 44, index, place]))
                for place, correlation in enumerate(PUBLISHED_CORRELATIONS)
            ]
            for index, kind in enumerate(COVARIANCES)
        ]
    )
    dims = ("covariance", "curve_correlation")
    return xr.Dataset(
        {"curve": (dims, values[..., 0]), "curve_half": (dims, values[..., 1])},
        coords={"covariance": list(COVARIANCES), "curve_correlation": PUBLISHED_CORRELATIONS},
    )


def _theory(given: Mapping[str, Any], kind: str, correlation: float, rng: np.random.Generator) -> list[float]:
    """Error at lambda0 and at lambda0/2, from THEORY_DRAWS prompts."""
    sigma = covariance(kind, correlation=correlation, context=given["context"])
    law = law_of(sigma, given["dimension"])
    drawn = draw_correlated(sigma, dimension=given["dimension"], prompts=THEORY_DRAWS, rng=rng)
    ridges = (given["ridge0"], given["ridge0"] / 2)
    return [cavity_error(drawn, law, prompts=given["prompts"], ridge0=ridge) for ridge in ridges]


def _fine(kind: str) -> FloatArray:
    """The theory at FINE_CORRELATIONS, (2, correlations), for the lines only: of the same random numbers, so smooth."""
    given, seed = parameters("full"), [44, COVARIANCES.index(kind)]  # at either scale it is of the same prompts
    return np.array([_theory(given, kind, float(c), np.random.default_rng(seed)) for c in FINE_CORRELATIONS]).T


def _one(given: Mapping[str, Any], seed: int, correlation: float, kind: str) -> xr.Dataset:
    size, prompts, ridge0 = given["dimension"], given["prompts"], given["ridge0"]
    sigma = covariance(kind, correlation=correlation, context=given["context"])
    law = law_of(sigma, size)
    rng = np.random.default_rng([seed, 4, round(1000 * correlation), COVARIANCES.index(kind)])
    errors = np.full((3, given["repeats"]), math.nan)
    for repeat in range(given["repeats"]):
        data = draw_correlated(sigma, dimension=size, prompts=prompts, rng=rng)
        matrix, fields = hessian(data), data.features.adjoint(data.label) / prompts
        for index, ridge in enumerate((ridge0, ridge0 / 2)):
            weights = np.linalg.solve(matrix + ridge * np.eye(data.spins), fields.ravel())
            errors[index, repeat] = population_error(weights.reshape(fields.shape), law)
        if repeat < given["iterations"]:
            settings = {"beta": given["beta"], "damping": 0.9, "max_iterations": 200}
            found = published_iteration(data, ridge0=ridge0, **settings, rng=rng)
            if found.status is not Status.DIVERGES and found.history[-1] <= STOPPED:
                errors[2, repeat] = population_error(found.mean[:, :-1], law)
    theory = np.stack([_theory(given, kind, correlation, rng) for _ in range(THEORY_BATCHES)], axis=-1)
    variables = {name: ("repeat", row) for name, row in zip(("exact", "exact_half", "iteration"), errors, strict=True)}
    variables |= {name: ("batch", row) for name, row in zip(("theory", "theory_half"), theory, strict=True)}
    return xr.Dataset(variables, attrs={"iterations": given["iterations"]})


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Exact solution against the cavity theory, at lambda0 and lambda0/2 and for both covariances."""
    ridges = {"": "lambda0", "_half": "lambda0/2"}
    exact, theory = (
        np.stack([data[name + end].transpose("covariance", "correlation", ...) for end in ridges], axis=2)
        for name in ("exact", "theory")
    )
    names = [
        f"error, {kind} covariance, c = {correlation:g}, {ridge}"
        for kind in data["covariance"].values
        for correlation in data["correlation"].values
        for ridge in ridges.values()
    ]
    (_, error), (reference, its_error) = mean_and_error(exact), mean_and_error(theory)
    rows = means(names, exact, reference, its_error)
    dof = [exact.shape[-1] - 1, theory.shape[-1] - 1]
    degrees = [welch_satterthwaite([1, 1], both, dof) for both in zip(error.flat, its_error.flat, strict=True)]
    errors = one_by_one(rows, degrees, false_alarm=FALSE_ALARM)
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
        if (samples := _published(published, name)) is None:
            continue
        reached = np.isfinite(samples).sum(axis=1) >= 2
        if not np.any(reached):
            continue
        settled = samples[reached]
        mean = np.nanmean(settled, axis=1)
        error = np.nanstd(settled, axis=1, ddof=1) / np.sqrt(np.isfinite(settled).sum(axis=1))
        for kind in data["covariance"].values:
            reference = data[ours].sel(covariance=kind).values[reached]
            ratio = mean / reference
            remarks.append(
                f"published {name} ({len(settled)} values of c) against the theory for the {kind} covariance: "
                f"deviations {span((mean - reference) / error)}, ratios {ratio.min():.3f} to {ratio.max():.3f}"
            )
    return remarks


def _published(published: Mapping[str, Array], name: str) -> FloatArray | None:
    """Errors (19, 20) of the authors; NaN where their iteration had not settled."""
    return of_shape(published, name, (PUBLISHED_CORRELATIONS.size, 20), finite=False)


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """Error over c, a panel for each covariance."""
    figure, panels = panelled(9.6, 4.2, 1, data.sizes["covariance"], sharey=True)
    c = data["correlation"].values
    looks = (("", r"$\lambda_0$", "-", 9, "none"), ("_half", r"$\lambda_0/2$", "--", 4, "full"))
    beyond = np.round(PUBLISHED_CORRELATIONS, 2) > np.max(FINE_CORRELATIONS)
    at = np.concatenate([FINE_CORRELATIONS, PUBLISHED_CORRELATIONS[beyond]])
    for panel, kind in zip(panels, data["covariance"].values, strict=True):
        one, fine = data.sel(covariance=kind), _fine(str(kind))
        runs = one["iteration"].values
        label = "SG's iteration, where it settles"
        panel.plot(np.repeat(c, runs.shape[1]), runs.ravel(), "x", color=PALETTE[2], label=label)
        # a large ring about a small dot: the two ridges nearly coincide
        for colour, theory, (end, ridge, line, width, fill) in zip(PALETTE, fine, looks, strict=False):
            theory = np.concatenate([theory, one[f"curve{end}"].values[beyond]])
            panel.plot(at, theory, line, color=colour, linewidth=1, label=f"theory, {ridge}")
            style: dict[str, Any] = {"color": colour, "fmt": "o", "markersize": width, "fillstyle": fill}
            panel.errorbar(c, *mean_and_error(one[f"exact{end}"].values), **style, label=f"exact solution, {ridge}")
        for name, marker in zip(PUBLISHED, "s^", strict=True):
            if kind == "published" and (array := _published(published, name)) is not None:
                usable = np.isfinite(array).any(axis=1)
                style = {"color": "0.4", "markersize": 4, "label": f"published {name.rsplit('/')[-1]}"}
                panel.plot(PUBLISHED_CORRELATIONS[usable], np.nanmean(array[usable], axis=1), marker, **style)
        title = "published: $L^TL$" if kind == "published" else "intended: $LL^T$"
        dress(panel, title, xlabel="correlation $c$ between tokens of a prompt")
    panels[0].set(ylabel="error on new prompts", ylim=(0, None))
    panels[1].legend(fontsize="small")
    return figure


FIGURE = PaperFigure("fig-S4", "Correlated tokens", parameters, simulate, draw, judge, PUBLISHED)
