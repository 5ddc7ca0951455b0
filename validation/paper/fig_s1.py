"""SG Fig. S1: double descent of the layer trained by Adam, merged W and separate W_q, W_k.

Theory: above the threshold training ends at the least squares solution, whatever it starts from; its mean error at
finite size is `numerics.finite_size` without ridge. Below it there is a continuum of solutions, and the one Adam ends
at depends on its path; gradient flow from the same W0 (`numerics.learning_curve`, t -> infinity, D -> infinity) is
drawn beside it and not compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from iclglass.numerics.finite_size import solve_finite
from iclglass.numerics.learning_curve import learning_curve
from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.sizes import count, from_unscaled
from iclglass.validation.paper.drawing import dress, panelled
from iclglass.validation.paper.figure import Array, PaperFigure, Row, Verdict
from iclglass.validation.paper.judging import largest, means, one_by_one, pooled
from iclglass.validation.paper.published import all_of_shape
from iclglass.validation.paper.simulating import Compute, simulated
from iclglass.validation.population import gaussian_moments
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import chi_squared, mean_and_error
from iclglass.validation.training import train

__all__ = ["FIGURE"]

LAYERS = ("merged", "separate")
_TAUS = (*(k / 10 for k in range(1, 9)), *(k / 20 for k in range(17, 24)), *(k / 10 for k in range(12, 21)))
_PAPER_REPEATS = 50
_FOLDER = "fig-S1/data-a"
_TRAINED_FROM = 1.5
"""Task diversity from which 3000 steps at rate 0.01 reach the solution; below, the lowest modes are still on the way.
There the relative gradient is below 0.01 at the end."""
_FALSE_ALARM = 1e-3
_PUBLISHED = {layer: [f"{_FOLDER}/{layer}_test_{kind}.npy" for kind in ("mean", "std")] for layer in LAYERS}


def parameters(scale: str) -> dict[str, Any]:
    """SG: D = 20, N = 100, norm N+1, Adam at rate 0.01 for 3000 steps on all prompts, no weight decay, 50 repeats."""
    quick = scale == "quick"
    return {
        "dimension": 20,
        "context": 100,
        "norm": "N+1",
        "learning_rate": 0.01,
        "steps": 3000,
        "repeats": 6 if quick else _PAPER_REPEATS,
        "task_diversity": (0.3, 0.8, 1.0, 1.2, 1.5, 2.0) if quick else _TAUS,
    }


def simulate(given: Mapping[str, Any], seed: int, compute: Compute) -> xr.Dataset:
    """Exact population error and gradient of every trained layer."""
    axes = {"layer": LAYERS, "task_diversity": given["task_diversity"]}
    data = simulated(compute, (axes, partial(_trained, given, seed)))
    return data.assign_attrs({name: given[name] for name in ("dimension", "context", "norm")})


def _trained(given: Mapping[str, Any], seed: int, layer: str, tau: float) -> xr.Dataset:
    size, prompts = given["dimension"], int(count("task_diversity", tau, given["dimension"]))
    law = {"context": given["context"], "norm": given["norm"]}
    moments = gaussian_moments(np.ones(size), **law, label_noise=0.0)
    found = np.empty((2, given["repeats"]))
    for repeat in range(given["repeats"]):
        rng = np.random.default_rng((seed, LAYERS.index(layer), round(100 * tau), repeat))
        run = train(
            draw_prompts(dimension=size, prompts=prompts, **law, rng=rng),
            parametrisation=layer,
            optimiser="adam",
            steps=given["steps"],
            learning_rate=given["learning_rate"],
            record=[given["steps"]],
            test=moments,
            rng=rng,
        )
        found[:, repeat] = run.test_error[-1], run.residual[-1]
    return xr.Dataset({"test_error": ("repeat", found[0]), "residual": ("repeat", found[1])})


def _theory(data: xr.Dataset, tau: Array) -> Array:
    """Mean error of the least squares solution at finite size; where P = n it is infinite, NaN here."""
    size = int(data.attrs["dimension"])
    scaled = from_unscaled(size, context=data.attrs["context"], ridge0=0.0)
    found: Array = solve_finite(dimension=size, task_diversity=tau, **scaled, norm=str(data.attrs["norm"])).e_icl
    return found


def _published(published: Mapping[str, Array], layer: str) -> tuple[Array, Array] | None:
    """Means and standard errors."""
    arrays = all_of_shape(published, [f"{_FOLDER}/alphas.npy", *_PUBLISHED[layer]], (len(_TAUS),))
    if arrays is None or not np.allclose(arrays[0], _TAUS):
        return None
    return arrays[1], arrays[2] / np.sqrt(_PAPER_REPEATS)


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """One panel a layer: error on new tasks against task diversity."""
    figure, panels = panelled(10.5, 4.4, 1, 2, sharey=True)
    size = int(data.attrs["dimension"])
    above = from_unscaled(size, prompts=np.arange(size * (size + 1) + 4, 2.05 * size**2))["task_diversity"]
    fine = np.geomspace(0.08, 2.05, 400)
    scaled = from_unscaled(size, context=data.attrs["context"], ridge0=0.0)
    flow = learning_curve(time=np.inf, task_diversity=fine, **scaled, initial_overlap=1.0).e_icl
    for panel, layer in zip(panels, LAYERS, strict=True):
        panel.plot(above, _theory(data, above), color="black", label=f"finite-size theory, $D = {size}$")
        panel.plot(fine, flow, "--", color="grey", label=r"gradient flow from $W_0$, $D \to \infty$")
        ours = mean_and_error(data.test_error.sel(layer=layer).values)
        look = {"fmt": "o", "color": PALETTE[0], "markersize": 4, "capsize": 2, "label": "Adam, here"}
        panel.errorbar(data.task_diversity, *ours, **look)
        if (reference := _published(published, layer)) is not None:
            look = {"fmt": "x", "color": PALETTE[1], "capsize": 2, "label": "Adam, published"}
            panel.errorbar(np.array(_TAUS) * 1.01, *reference, **look)
        scale: dict[str, Any] = {"yscale": "log", "ylim": (0.3, 20)}
        dress(panel, f"{layer} weights", legend="small", xlabel=r"task diversity $P/D^2$", **scale)
    panels[0].set_ylabel("squared error on new tasks")
    return figure


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Simulation against theory where training has ended, point by point and all together; against the published means
    everywhere."""
    tau, values = data.task_diversity.values, data.test_error.values
    ended = tau >= _TRAINED_FROM
    theory = _theory(data, np.where(ended, tau, 2.0))[ended]
    names = [f"{layer}, P/D^2={some:g}: theory" for layer in LAYERS for some in tau[ended]]
    against_theory = means(names, values[:, ended], [theory, theory])
    against_paper: list[Row] = []
    for row, layer in enumerate(LAYERS):
        if (reference := _published(published, layer)) is not None:
            names = [f"{layer}, P/D^2={some:g}: published" for some in tau]
            against_paper += means(names, values[row], *(array[np.searchsorted(_TAUS, tau)] for array in reference))
    comparisons, dof = len(against_theory) + 1, data.sizes["repeat"] - 1
    points = one_by_one(against_theory, dof, false_alarm=_FALSE_ALARM, comparisons=comparisons)
    # every layer, P and repeat has a data set of its own
    ratios = (values[:, ended] / theory[:, None]).reshape(-1, data.sizes["repeat"])
    what = f"trained error over theory, P/D^2 >= {_TRAINED_FROM:g}"
    together = pooled(what, ratios, false_alarm=_FALSE_ALARM, comparisons=comparisons)
    sentence = (
        f"trained error over finite-size theory, P/D^2 >= {_TRAINED_FROM:g} and both layers together: {together}; "
        f"point by point {points}, {len(against_theory)} comparisons"
    )
    remarks = [
        f"below P/D^2 = {_TRAINED_FROM:g} training is not finished after the paper's steps (relative gradient up to "
        f"{data.residual.values[:, ~ended].max():.1g}) or ends in one of many solutions: shown, not judged"
    ]
    if against_paper:
        z = np.array([row[4] for row in against_paper])
        total, _ = chi_squared(z)
        sentence += (
            f"; against the published: chi2 {total:.1f} for {z.size} values, |z| < 2 for "
            f"{np.mean(np.abs(z) < 2):.0%}, largest {largest(against_paper):.1f}"
        )
    judged = (together.judged(), points.judged("trained error, point by point", carries=False))
    return Verdict(sentence, (together.row, *against_theory, *against_paper), judged, tuple(remarks))


FIGURE = PaperFigure(
    "fig-S1",
    "double descent of merged and separate weights",
    parameters,
    simulate,
    draw,
    judge,
    (f"{_FOLDER}/alphas.npy", *_PUBLISHED["merged"], *_PUBLISHED["separate"]),
)
