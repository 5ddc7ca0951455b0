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
from numpy.typing import NDArray

from iclglass.numerics.finite_size import solve_finite
from iclglass.numerics.learning_curve import learning_curve
from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.sizes import count, from_unscaled
from iclglass.validation.paper.figure import (
    PaperFigure,
    Progress,
    Row,
    Verdict,
    compared,
    in_parts,
    largest,
    one_by_one,
    pooled,
)
from iclglass.validation.paper.published import of_shape
from iclglass.validation.population import gaussian_moments
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import bonferroni_threshold, chi_squared, mean_and_error
from iclglass.validation.training import train

__all__ = ["FIGURE"]

Array = NDArray[Any]

LAYERS = ("merged", "separate")
_TAUS = (
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.85,
    0.9,
    0.95,
    1.0,
    1.05,
    1.1,
    1.15,
    1.2,
    1.3,
    1.4,
    1.5,
    1.6,
    1.7,
    1.8,
    1.9,
    2.0,
)
_PAPER_REPEATS = 50
_FOLDER = "fig-S1/data-a"
_TRAINED_FROM = 1.5
"""Task diversity from which 3000 steps at rate 0.01 reach the solution; below, the lowest modes are still on the way.
There the relative gradient is below 0.01 at the end."""
_FALSE_ALARM = 1e-3


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


def simulate(scale: str, seed: int, progress: Progress) -> xr.Dataset:
    """Exact population error and gradient of every trained layer."""
    given = parameters(scale)
    parts = in_parts(
        progress,
        {
            f"{layer}-{tau:g}": partial(_trained, given, layer, tau, seed)
            for layer in LAYERS
            for tau in given["task_diversity"]
        },
    )
    shape = (len(LAYERS), len(given["task_diversity"]), given["repeats"])
    dimensions = ("layer", "task_diversity", "repeat")
    return xr.Dataset(
        {
            name: (dimensions, np.stack([part[name].values for part in parts]).reshape(shape))
            for name in ("test_error", "residual")
        },
        coords={"layer": list(LAYERS), "task_diversity": list(given["task_diversity"])},
        attrs={name: given[name] for name in ("dimension", "context", "norm")},
    )


def _trained(given: Mapping[str, Any], layer: str, tau: float, seed: int) -> xr.Dataset:
    size = given["dimension"]
    moments = gaussian_moments(np.ones(size), context=given["context"], label_noise=0.0, norm=given["norm"])
    found = np.empty((2, given["repeats"]))
    for repeat in range(given["repeats"]):
        rng = np.random.default_rng((seed, LAYERS.index(layer), round(100 * tau), repeat))
        prompts = int(count("task_diversity", tau, size))
        data = draw_prompts(dimension=size, context=given["context"], prompts=prompts, norm=given["norm"], rng=rng)
        run = train(
            data,
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
    taus = of_shape(published, f"{_FOLDER}/alphas.npy", (len(_TAUS),))
    mean, std = (of_shape(published, f"{_FOLDER}/{layer}_test_{kind}.npy", (len(_TAUS),)) for kind in ("mean", "std"))
    if taus is None or mean is None or std is None or not np.allclose(taus, _TAUS):
        return None
    return mean, std / np.sqrt(_PAPER_REPEATS)


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """One panel a layer: error on new tasks against task diversity."""
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    size = int(data.attrs["dimension"])
    above = from_unscaled(size, prompts=np.arange(size * (size + 1) + 4, 2.05 * size**2))["task_diversity"]
    fine = np.geomspace(0.08, 2.05, 400)
    scaled = from_unscaled(size, context=data.attrs["context"], ridge0=0.0)
    flow = learning_curve(time=np.inf, task_diversity=fine, **scaled, initial_overlap=1.0).e_icl
    for panel, layer in zip(figure.subplots(1, 2, sharey=True), LAYERS, strict=True):
        panel.plot(above, _theory(data, above), color="black", label=f"finite-size theory, $D = {size}$")
        panel.plot(fine, flow, "--", color="grey", label=r"gradient flow from $W_0$, $D \to \infty$")
        mean, error = mean_and_error(data.test_error.sel(layer=layer).values)
        panel.errorbar(
            data.task_diversity, mean, error, fmt="o", color=PALETTE[0], markersize=4, capsize=2, label="Adam, here"
        )
        reference = _published(published, layer)
        if reference is not None:
            panel.errorbar(
                np.array(_TAUS) * 1.01, *reference, fmt="x", color=PALETTE[1], capsize=2, label="Adam, published"
            )
        panel.set_yscale("log")
        panel.set_ylim(0.3, 20)
        panel.set_xlabel(r"task diversity $P/D^2$")
        panel.set_title(f"{layer} weights", fontsize="medium")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    figure.axes[0].set_ylabel("squared error on new tasks")
    return figure


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Simulation against theory where training has ended, point by point and all together; against the published means
    everywhere."""
    tau = data.task_diversity.values
    ended = tau >= _TRAINED_FROM
    theory = _theory(data, np.where(ended, tau, 2.0))
    against_theory: list[Row] = []
    against_paper: list[Row] = []
    for row, layer in enumerate(LAYERS):
        mean, error = mean_and_error(data.test_error.values[row])
        for k in np.flatnonzero(ended):
            against_theory.append(compared(f"{layer}, P/D^2={tau[k]:g}: theory", mean[k], theory[k], error[k]))
        reference = _published(published, layer)
        if reference is not None:
            for number, value in enumerate(tau):
                there, spread = (array[_TAUS.index(value)] for array in reference)
                what = f"{layer}, P/D^2={value:g}: published"
                against_paper.append(compared(what, mean[number], there, np.hypot(error[number], spread)))
    comparisons = len(against_theory) + 1
    dof = data.sizes["repeat"] - 1
    points = one_by_one(against_theory, bonferroni_threshold(_FALSE_ALARM, comparisons, dof), dof)
    # every layer, P and repeat has a data set of its own
    ratios = (data.test_error.values[:, ended] / theory[ended, None]).reshape(-1, data.sizes["repeat"])
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
    name="fig-S1",
    title="double descent of merged and separate weights",
    parameters=parameters,
    simulate=simulate,
    draw=draw,
    judge=judge,
    published=(
        f"{_FOLDER}/alphas.npy",
        *(f"{_FOLDER}/{layer}_test_{kind}.npy" for layer in LAYERS for kind in ("mean", "std")),
    ),
)
