r"""SG Fig. S3: message passing where couplings and fields are drawn at random, entry by entry, instead of from prompts.

Two ways of drawing them. "derived": J symmetric with independent Gaussian entries and Gaussian fields, mean and
variance of each kind those derived for prompts (`replica.disorder`), lambda_i the derived mean of lambda0 + s_i^2.
"published": as SG's code draws them, D = 10 with lambda_i = 1, which differs from that in four respects:

    J is not symmetric: both J_ij and J_ji are drawn
    its densities are not normalised: sampled by inverting c F(x) = r, r uniform in (0, 1), c = 3 for the couplings
        within the block, so that x stays below the quantile F = 1/c: every one of these couplings is negative
    the fields of the diagonal are 0.2 on average, 1/D of D = 5, at D = 10
    the spins of the masked column get couplings

Theory (this project). With independent couplings of variances Sigma_ij the mean of the response (Lambda - J)^{-1} over
J is diagonal at large n: v_i = 1/(lambda_i - sum_j Sigma_ij v_j). So the exact means average to v_i E h_i. The
published iteration, m_i = v_i (h_i + sum_j J_ij m_j), has no reaction term: its fixed point is the exact one at
lambda_i - V_i, V_i = sum_j Sigma_ij v_j, and averages to v'_i E h_i, v'_i = 1/(lambda_i - V_i - sum_j Sigma_ij v'_j).
At P = 1000, as in Fig. 1, it does not settle for all draws: the figure is at P = 5000, as Fig. 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import special

from iclglass.numerics.errors import ConvergenceError
from iclglass.numerics.moments import feature_moments
from iclglass.numerics.plotting import PALETTE
from iclglass.validation.paper.fig_1 import kinds
from iclglass.validation.paper.fig_s2 import kind_moments
from iclglass.validation.paper.figure import Array, PaperFigure, Progress, Verdict, compared, in_parts, one_by_one
from iclglass.validation.paper.published import of_shape
from iclglass.validation.statistics import bonferroni_threshold, mean_and_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURE", "RandomGlass", "derived_glass", "mean_response", "message_passing", "published_glass"]

FloatArray = NDArray[np.float64]
RandomGlass = tuple[FloatArray, FloatArray, FloatArray]
"""Couplings (n, n) with zero diagonal, fields (n,), lambda (n,)."""

FALSE_ALARM = 0.01
DAMPING = 0.9
TOLERANCE, MOST_STEPS = 1e-12, 3000
PUBLISHED = ("fig-S3/data/J_matrix.npy", "fig-S3/data/h_matrix.npy", "fig-S3/data/m.npy", "fig-S3/data/v.npy")
DIMENSION = 10


def parameters(scale: str) -> dict[str, Any]:
    """D = 10 as in the paper; N, P and lambda0, which it does not state, are those of Fig. 2."""
    repeats = 1000 if scale == "full" else 200
    return {"dimension": DIMENSION, "context": 100, "prompts": 5000, "ridge0": 0.01, "repeats": repeats}


def derived_glass(
    *, dimension: int, context: int, prompts: int, ridge0: float, rng: np.random.Generator
) -> tuple[RandomGlass, FloatArray, FloatArray]:
    """One draw of the active spins; the variances of J, (n, n); the means of the fields, (n,)."""
    moments = kind_moments(dimension, context, prompts)
    spins = dimension * (dimension + 1)
    couplings, variances = np.zeros((spins, spins)), np.zeros((spins, spins))
    fields, centres = np.zeros(spins), np.zeros(spins)
    for name, mask in kinds(dimension).items():
        mean, variance = moments[name]
        drawn = mean + np.sqrt(variance) * rng.standard_normal(mask.sum())
        if mask.ndim == 1:
            fields[mask], centres[mask] = drawn, mean
        else:
            couplings[mask], variances[mask] = drawn, variance
    one = feature_moments(dimension=dimension, context=context, label_noise=0.0, norm="N")
    onsite = np.full(spins, ridge0 + one.block / dimension)
    onsite[-dimension:] = ridge0 + one.last_row
    return (couplings + couplings.T, fields, onsite), variances + variances.T, centres


def published_glass(rng: np.random.Generator) -> RandomGlass:
    """One draw as SG's code makes it, masked spins included: 121 spins, row by row.

    >>> couplings, _, _ = published_glass(np.random.default_rng(1))
    >>> bool(np.all(couplings[:110, :110] <= 0))
    True
    """
    size = DIMENSION + 1
    fields = np.zeros((size, size))
    fields[:-1, :-1] = 0.02 * rng.standard_normal((DIMENSION, DIMENSION))
    fields[np.arange(DIMENSION), np.arange(DIMENSION)] += 0.2
    fields[-1, :-1] = 0.06 * rng.standard_normal(DIMENSION)
    spins, block = size**2, size * DIMENSION
    couplings = np.empty((spins, spins))
    couplings[:block, :block] = _unnormalised(3.0, 0.024, 0.1, (block, block), rng)
    couplings[:block, block:] = _unnormalised(1.04, 0.027, 0.3, (block, size), rng)
    couplings[block:, :block] = _unnormalised(1.04, 0.027, 0.3, (size, block), rng)
    couplings[block:, block:] = _unnormalised(1.04, 0.08, 0.5, (size, size), rng)
    np.fill_diagonal(couplings, 0.0)
    return couplings, fields.ravel(), np.ones(spins)


def _unnormalised(
    factor: float, width: float, reach: float, shape: tuple[int, int], rng: np.random.Generator
) -> FloatArray:
    """x with factor (F(x) - F(-reach)) = r, r uniform, F normal of the width: the law of a density not normalised."""
    level = rng.random(shape) / factor + special.ndtr(-reach / width)
    drawn: FloatArray = width * special.ndtri(level)
    return drawn


def message_passing(glass: RandomGlass) -> tuple[FloatArray, FloatArray, int]:
    """Means and beta times variances at the fixed point of SG's damped iteration, and the steps it took.

    Raises:
        ConvergenceError: no fixed point after 3000 steps.
    """
    couplings, fields, onsite = glass
    squared = couplings**2
    state = np.array([np.zeros_like(fields), 1 / onsite])
    for step in range(1, MOST_STEPS + 1):
        variance = 1 / (onsite - squared @ state[1])
        change = np.array([variance * (fields + couplings @ state[0]), variance]) - state
        state += (1 - DAMPING) * change
        if np.max(np.abs(change)) < TOLERANCE * np.max(np.abs(state)):
            return state[0], state[1], step
    raise ConvergenceError(f"message passing still changes by {np.max(np.abs(change)):.1e} after {MOST_STEPS} steps")


def mean_response(onsite: FloatArray, variances: FloatArray) -> FloatArray:
    """v_i = 1/(lambda_i - sum_j Sigma_ij v_j), by iteration from 1/lambda."""
    response = 1 / onsite
    for _ in range(MOST_STEPS):
        new = 1 / (onsite - variances @ response)
        if np.max(np.abs(new / response - 1)) < TOLERANCE:
            return new
        response = new
    raise ConvergenceError("the mean response does not settle: the couplings are too strong for these lambda")


def simulate(scale: str, seed: int, progress: Progress) -> xr.Dataset:
    """Means on the diagonal for all draws, theory, and the maps of one draw of each kind."""
    settings = FIGURE.checked_parameters(scale)
    (data,) = in_parts(progress, {"draws": partial(_draws, settings, seed)})
    return data


def _draws(settings: Mapping[str, Any], seed: int) -> xr.Dataset:
    dimension, repeats = settings["dimension"], settings["repeats"]
    sizes = {name: settings[name] for name in ("dimension", "context", "prompts", "ridge0")}
    diagonal = np.arange(dimension) * (dimension + 1)
    values = np.empty((3, repeats))
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, 33, repeat])
        glass, variances, centres = derived_glass(**sizes, rng=rng)
        inverse = np.linalg.inv(np.diag(glass[2]) - glass[0])
        mean, variance, _ = message_passing(glass)
        values[:, repeat] = (
            np.mean((inverse @ glass[1])[diagonal]),
            np.mean(mean[diagonal]),
            np.mean(np.diagonal(inverse)[: dimension**2]),
        )
        if repeat == 0:
            maps = [mean, variance, inverse @ glass[1], np.diagonal(inverse)]
    response = mean_response(glass[2], variances)
    without = mean_response(glass[2] - variances @ response, variances)
    theory = (response @ centres / dimension, without @ centres / dimension, np.mean(response[: dimension**2]))
    couplings, fields, onsite = published_glass(np.random.default_rng([seed, 34]))
    theirs, spread, steps = message_passing((couplings, fields, onsite))
    solved = np.linalg.solve(np.diag(onsite) - couplings, fields)
    shape, full = (dimension + 1, dimension), (DIMENSION + 1, DIMENSION + 1)
    names = ("exact_mean", "iteration_mean", "exact_response")
    return xr.Dataset(
        {
            "samples": (("what", "repeat"), values),
            "theory": ("what", np.array(theory)),
            "derived_maps": (("map", "row", "column"), np.array([one.reshape(shape) for one in maps])),
            "published_maps": (
                ("published_map", "full_row", "full_column"),
                np.array([theirs.reshape(full), spread.reshape(full)]),
            ),
            "negative": ((), np.mean(couplings[:110, :110][~np.eye(110, dtype=bool)] < 0)),
            "asymmetry": ((), np.linalg.norm(couplings - couplings.T) / np.linalg.norm(couplings)),
            "steps": ((), steps),
            "bias": ((), np.linalg.norm(theirs - solved) / np.linalg.norm(solved)),
        },
        coords={"what": list(names)},
    )


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Averages over draws of independent couplings against the mean response."""
    words = {
        "exact_mean": "mean weight on the diagonal, exact",
        "iteration_mean": "mean weight on the diagonal, SG's iteration",
        "exact_response": "response in the block, exact",
    }
    rows = []
    for what in data["what"].values:
        mean, error = mean_and_error(data["samples"].sel(what=what).values)
        rows.append(compared(words[str(what)], float(mean), float(data["theory"].sel(what=what)), float(error)))
    dof = data.sizes["repeat"] - 1
    averages = one_by_one(rows, bonferroni_threshold(FALSE_ALARM, len(rows), dof), dof)
    remarks = [
        f"drawn as the published code draws them, {100 * float(data['negative']):.0f} % of the couplings within the "
        "block are negative (a density with integral 3 is sampled as if it were normalised) and J is not symmetric "
        f"(|J - J^T|/|J| = {float(data['asymmetry']):.2f}); the fixed point, {int(data['steps'])} steps, is "
        f"{100 * float(data['bias']):.0f} % from the solution of (Lambda - J) m = h",
        "means and widths there are those derived for D = 5, N = 100, P = 1000 (fields 0.2 on the diagonal, "
        "0.020 off it, 0.060 in the last row; last row with itself 0.079), at D = 10, where they are 0.1, 0.013, 0.045 "
        "and 0.055",
    ]
    theirs = of_shape(published, PUBLISHED[0], (121, 121))
    if theirs is not None:
        block = theirs[:110, :110][~np.eye(110, dtype=bool)]
        remarks.append(
            f"published J: {100 * np.mean(block < 0):.1f} % of the couplings within the block are negative, "
            f"|J - J^T|/|J| = {np.linalg.norm(theirs - theirs.T) / np.linalg.norm(theirs):.2f}"
        )
        field, means, variances = (of_shape(published, name, (11, 11)) for name in PUBLISHED[1:])
        if field is not None and means is not None and variances is not None:
            ours, spread, _ = message_passing((theirs, field.ravel(), np.ones(121)))
            remarks.append(
                f"published m and v against our iteration on the published J and h: largest differences "
                f"{np.max(np.abs(means.ravel() - ours)):.1e} and "
                f"{np.max(np.abs(100 * variances.ravel() - spread)):.1e} (v times beta)"
            )
    exact, iteration = (row[1] for row in rows[:2])
    return Verdict(
        f"independent couplings of the derived variances: exact mean weight {exact:.4f}, SG's iteration "
        f"{iteration:.4f} (theory {rows[0][2]:.4f}, {rows[1][2]:.4f}); {averages}",
        tuple(rows),
        (averages.judged("means over random couplings"),),
        tuple(remarks),
    )


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """Maps of means and variances for both ways of drawing; means over draws with the theory."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 7), layout="constrained")
    panels = figure.subplots(2, 3)
    maps = (
        (data["published_maps"], "drawn as published"),
        (data["derived_maps"], "drawn with derived variances"),
    )
    for row, (found, title) in zip(panels, maps, strict=True):
        means, variances = found.values[:2]
        # the masked column also where it has no couplings: maps of one size stand below each other
        columns = (-0.5, means.shape[0] - 0.5)
        grey = "" if means.shape[0] == means.shape[1] else " (grey: masked)"
        reach = np.max(np.abs(means))
        looks: tuple[tuple[Any, str, dict[str, Any]], ...] = (
            (means, "$m$", {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}),
            (variances, r"$\beta v$", {"cmap": "viridis"}),
        )
        for panel, (values, what, colours) in zip(row[:2], looks, strict=True):
            mesh = panel.imshow(values, **colours)
            panel.set(xlim=columns, facecolor="0.8", xlabel=f"column of $W${grey}", ylabel="row of $W$")
            panel.set_title(f"{title}: {what}", fontsize="medium")
            figure.colorbar(mesh, ax=panel, label=f"{'mean' if what == '$m$' else 'variance'} {what}")
    names = ("exact", "SG's iteration")
    for index, name in enumerate(names):
        panels[0, 2].hist(data["samples"][index], 20, color=PALETTE[index], alpha=0.6, label=name)
        panels[0, 2].axvline(float(data["theory"][index]), ymax=0.66, color=PALETTE[index], label=f"theory, {name}")
    panels[0, 2].set_xlabel("mean weight on the diagonal")
    panels[0, 2].set_ylabel("draws")
    panels[0, 2].set_title("derived variances, all draws: judged", fontsize="medium")
    panels[0, 2].set_ylim(top=1.5 * panels[0, 2].get_ylim()[1])
    panels[0, 2].legend(fontsize="small", loc="upper left")
    ratio = data["derived_maps"][1] / data["derived_maps"][3]
    panels[1, 2].plot(ratio.values.ravel(), ".", color=PALETTE[0])
    panels[1, 2].axhline(1, color=PALETTE[1])
    panels[1, 2].set_title("derived variances, one draw", fontsize="medium")
    panels[1, 2].set_xlabel("spin, row by row")
    panels[1, 2].set_ylabel("variance of the iteration/exact")
    return figure


FIGURE = PaperFigure(
    name="fig-S3",
    title="Message passing on random couplings",
    parameters=parameters,
    simulate=simulate,
    draw=draw,
    judge=judge,
    published=PUBLISHED,
)
