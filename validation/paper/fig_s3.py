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
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import special

from iclglass.numerics.errors import ConvergenceError
from iclglass.numerics.moments import feature_moments
from iclglass.numerics.plotting import PALETTE
from iclglass.validation.paper.drawing import dress, panelled
from iclglass.validation.paper.fig_1 import derived_moments, kinds
from iclglass.validation.paper.figure import Array, PaperFigure, Verdict
from iclglass.validation.paper.judging import means, one_by_one
from iclglass.validation.paper.published import all_of_shape, of_shape
from iclglass.validation.paper.simulating import Compute, simulated

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
    moments = derived_moments(dimension, context, prompts)
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

    Raises
    ------
    ConvergenceError
        No fixed point after 3000 steps.
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


def simulate(given: Mapping[str, Any], seed: int, compute: Compute) -> xr.Dataset:
    """Means on the diagonal for all draws, theory, and the maps of one draw of each kind."""
    return simulated(compute, ({}, partial(_draws, given, seed)))


def _draws(given: Mapping[str, Any], seed: int) -> xr.Dataset:
    size = given["dimension"]
    sizes = {name: value for name, value in given.items() if name != "repeats"}
    diagonal = np.arange(size) * (size + 1)
    values = []
    for repeat in range(given["repeats"]):
        glass, variances, centres = derived_glass(**sizes, rng=np.random.default_rng([seed, 33, repeat]))
        inverse = np.linalg.inv(np.diag(glass[2]) - glass[0])
        mean, variance, _ = message_passing(glass)
        exact, response = inverse @ glass[1], np.diagonal(inverse)
        values.append((np.mean(exact[diagonal]), np.mean(mean[diagonal]), np.mean(response[: size**2])))
        if repeat == 0:
            maps = np.array([mean, variance, exact, response]).reshape(4, size + 1, size)
    response = mean_response(glass[2], variances)
    without = mean_response(glass[2] - variances @ response, variances)
    theory = (response @ centres / size, without @ centres / size, np.mean(response[: size**2]))
    couplings, fields, onsite = published_glass(np.random.default_rng([seed, 34]))
    theirs, spread, steps = message_passing((couplings, fields, onsite))
    solved = np.linalg.solve(np.diag(onsite) - couplings, fields)
    their_maps = np.reshape([theirs, spread], (2, DIMENSION + 1, DIMENSION + 1))
    return xr.Dataset(
        {
            "samples": (("what", "repeat"), np.stack(values, axis=-1)),
            "theory": ("what", np.array(theory)),
            "derived_maps": (("map", "row", "column"), maps),
            "published_maps": (("published_map", "full_row", "full_column"), their_maps),
            "negative": ((), np.mean(couplings[:110, :110][~np.eye(110, dtype=bool)] < 0)),
            "asymmetry": ((), np.linalg.norm(couplings - couplings.T) / np.linalg.norm(couplings)),
            "steps": ((), steps),
            "bias": ((), np.linalg.norm(theirs - solved) / np.linalg.norm(solved)),
        },
        coords={"what": ["exact_mean", "iteration_mean", "exact_response"]},
    )


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Averages over draws of independent couplings against the mean response."""
    diagonal = "mean weight on the diagonal,"
    names = (f"{diagonal} exact", f"{diagonal} SG's iteration", "response in the block, exact")
    rows = means(names, data["samples"].values, data["theory"].values)
    averages = one_by_one(rows, data.sizes["repeat"] - 1, false_alarm=FALSE_ALARM)
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
        if (rest := all_of_shape(published, PUBLISHED[1:], (11, 11))) is not None:
            field, mean, variance = rest
            ours, spread, _ = message_passing((theirs, field.ravel(), np.ones(121)))
            remarks.append(
                f"published m and v against our iteration on the published J and h: largest differences "
                f"{np.max(np.abs(mean.ravel() - ours)):.1e} and "
                f"{np.max(np.abs(100 * variance.ravel() - spread)):.1e} (v times beta)"
            )
    return Verdict(
        f"independent couplings of the derived variances: exact mean weight {rows[0][1]:.4f}, SG's iteration "
        f"{rows[1][1]:.4f} (theory {rows[0][2]:.4f}, {rows[1][2]:.4f}); {averages}",
        tuple(rows),
        (averages.judged("means over random couplings"),),
        tuple(remarks),
    )


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """Maps of means and variances for both ways of drawing; means over draws with the theory."""
    figure, panels = panelled(12.5, 7, 2, 3)
    titles = {"published_maps": "drawn as published", "derived_maps": "drawn with derived variances"}
    for row, (name, title) in zip(panels, titles.items(), strict=True):
        pair = data[name].values[:2]
        # the masked column also where it has no couplings: maps of one size stand below each other
        columns = (-0.5, pair.shape[1] - 0.5)
        grey = "" if pair.shape[1] == pair.shape[2] else " (grey: masked)"
        reach = np.max(np.abs(pair[0]))
        looks: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("mean", "$m$", {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}),
            ("variance", r"$\beta v$", {"cmap": "viridis"}),
        )
        for panel, values, (word, symbol, colours) in zip(row[:2], pair, looks, strict=True):
            mesh = panel.imshow(values, **colours)
            panel.set(xlim=columns, facecolor="0.8")
            dress(panel, f"{title}: {symbol}", grid=False, xlabel=f"column of $W${grey}", ylabel="row of $W$")
            figure.colorbar(mesh, ax=panel, label=f"{word} {symbol}")
    drawn, ratio = panels[:, 2]
    for index, name in enumerate(("exact", "SG's iteration")):
        drawn.hist(data["samples"][index], 20, color=PALETTE[index], alpha=0.6, label=name)
        drawn.axvline(float(data["theory"][index]), ymax=0.66, color=PALETTE[index], label=f"theory, {name}")
    drawn.set_ylim(top=1.5 * drawn.get_ylim()[1])
    drawn.legend(fontsize="small", loc="upper left")
    title = "derived variances, all draws: judged"
    dress(drawn, title, grid=False, xlabel="mean weight on the diagonal", ylabel="draws")
    ratio.plot((data["derived_maps"][1] / data["derived_maps"][3]).values.ravel(), ".", color=PALETTE[0])
    ratio.axhline(1, color=PALETTE[1])
    labels = {"xlabel": "spin, row by row", "ylabel": "variance of the iteration/exact"}
    dress(ratio, "derived variances, one draw", grid=False, **labels)
    return figure


FIGURE = PaperFigure("fig-S3", "Message passing on random couplings", parameters, simulate, draw, judge, PUBLISHED)
