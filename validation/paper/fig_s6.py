r"""SG Fig. S6: the group of linear equations that the ground state obeys at many tokens, solved by Adam.

With one covariance of contexts C = X X^T/N (X: D x N independent N(0, 1) entries) and P tasks w,

    (w W21^T/sqrt(D) + W11) C = 1    for each w

is to be solved for W11 (D x D) and W21 (D). The loss is the mean square of the residuals' entries, the error the mean
square of W11 - 1 plus that of W21: SG ask whether W11 = 1, W21 = 0 comes out. The starting entries are N(0, 1).

Theory (this project). Two tasks or more leave one solution, W21 = 0 and W11 = C^{-1}. So the loss goes to 0 and the
error does not: N C is a Wishart matrix, and the moments of its inverse (von Rosen 1988) give, for N > D + 3,

    E Tr C^{-1}/D = N/(N - D - 1),     E Tr C^{-2}/D = N^2 (N - 1)/((N - D)(N - D - 1)(N - D - 3))
    E error = (E Tr C^{-2} - 2 E Tr C^{-1} + D)/D^2,

of order 1/N: W11 = 1 holds at N -> infinity only.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iclglass.numerics.plotting import PALETTE
from iclglass.validation.paper.drawing import dress, panelled
from iclglass.validation.paper.figure import Array, PaperFigure, Verdict
from iclglass.validation.paper.judging import means, one_by_one
from iclglass.validation.paper.published import of_shape
from iclglass.validation.paper.simulating import Compute, batches, simulated
from iclglass.validation.statistics import mean_and_error
from iclglass.validation.training import optimisers

__all__ = ["FIGURE", "adam", "expected_error", "slope"]

FloatArray = NDArray[np.float64]

FALSE_ALARM = 0.01
BATCH = 100
RATE = 0.01
"""Adam's, as in the published code."""
PUBLISHED = ("fig-S6/data/losses.npy", "fig-S6/data/errors.npy")


def parameters(scale: str) -> dict[str, Any]:
    """The paper's at "full"; fewer repeats at "quick"."""
    repeats = 5000 if scale == "full" else 300
    return {"dimension": 10, "context": 50, "tasks": 10, "epochs": 1000, "repeats": repeats}


def expected_error(dimension: int, context: int) -> float:
    """Mean over C of the error of the solution; the equations are in the module's docstring.

    >>> round(expected_error(10, 50), 4)
    0.0558
    """
    d, n = float(dimension), float(context)
    first = n / (n - d - 1)
    second = n**2 * (n - 1) / ((n - d) * (n - d - 1) * (n - d - 3))
    return (second - 2 * first + 1) / d


def slope(weights: FloatArray, covariance: FloatArray, tasks: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Loss, (R,), and its gradient, (R, D+1, D), of R groups; the last row of the weights is W21.

    covariance : (R, D, D).    tasks : (R, P, D).
    """
    dimension, count = tasks.shape[2], tasks.shape[1]
    scaled = tasks / np.sqrt(dimension)
    image = weights @ covariance
    residual = image[:, None, :-1, :] + scaled[:, :, :, None] * image[:, None, -1:, :] - np.eye(dimension)
    entries = count * dimension**2
    block = np.sum(residual, axis=1)
    last = np.einsum("rpi,rpij->rj", scaled, residual)
    gradient = 2 / entries * np.concatenate([block, last[:, None, :]], axis=1) @ covariance
    return np.einsum("rpij,rpij->r", residual, residual) / entries, gradient


def adam(
    weights: FloatArray, covariance: FloatArray, tasks: FloatArray, epochs: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Losses before and errors after each step, (epochs, R), and the weights at the end."""
    state = optimisers.initial_state((weights,))
    losses, errors = np.empty((2, epochs, len(weights)))
    for epoch in range(epochs):
        losses[epoch], gradient = slope(state.parameters[0], covariance, tasks)
        state = optimisers.adam(state, (gradient,), RATE)
        errors[epoch] = _error(state.parameters[0])
    return losses, errors, state.parameters[0]


def _error(weights: FloatArray) -> FloatArray:
    off = weights[:, :-1] - np.eye(weights.shape[2])
    found: FloatArray = np.mean(off**2, axis=(1, 2)) + np.mean(weights[:, -1] ** 2, axis=1)
    return found


def simulate(given: Mapping[str, Any], seed: int, compute: Compute) -> xr.Dataset:
    """Losses and errors, (epoch, repeat), and the error of the solution; one part for each batch of repeats."""
    data = simulated(compute, ({"repeat": batches(given["repeats"], BATCH)}, partial(_batch, given, seed)))
    return data.assign_attrs(dimension=given["dimension"], context=given["context"])


def _batch(given: Mapping[str, Any], seed: int, batch: range) -> xr.Dataset:
    size, context, count = given["dimension"], given["context"], len(batch)
    rng = np.random.default_rng([seed, 6, batch[0]])
    tokens = rng.standard_normal((count, size, context))
    covariance = tokens @ tokens.transpose(0, 2, 1) / context
    tasks = rng.standard_normal((count, given["tasks"], size))
    losses, errors, _ = adam(rng.standard_normal((count, size + 1, size)), covariance, tasks, given["epochs"])
    solution = np.concatenate([np.linalg.inv(covariance), np.zeros((count, 1, size))], axis=1)
    over = ("epoch", "repeat")
    return xr.Dataset({"loss": (over, losses), "error": (over, errors), "solution": ("repeat", _error(solution))})


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """The error of the solution, and where Adam ends, against the moments of an inverse Wishart matrix."""
    expected = expected_error(int(data.attrs["dimension"]), int(data.attrs["context"]))
    solved, ended = data["solution"].values, data["error"].values[-1]
    gap, gap_error = mean_and_error(ended - solved)
    reached, reached_error = mean_and_error(ended)
    (row,) = means(["error of the solution W11 = 1/C, W21 = 0"], solved, expected)
    solution = one_by_one([row], data.sizes["repeat"] - 1, false_alarm=FALSE_ALARM)
    loss = float(data["loss"].values[-1].mean())
    remarks = [
        f"the solution is W11 = 1/C, not 1: the mean error tends to {expected:.4f} at N = "
        f"{int(data.attrs['context'])}, which vanishes at N -> infinity only",
        f"after {data.sizes['epoch']} steps Adam's error is {reached:.4f} +- {reached_error:.4f}, {gap:.1e} +- "
        f"{gap_error:.1e} from the solution's of the same C; its loss is {loss:.1e}",
    ]
    for name, ours in zip(PUBLISHED, ("loss", "error"), strict=True):
        theirs = of_shape(published, name, (5000, 1000))
        if theirs is not None and data.sizes["epoch"] == 1000:
            mean, error = mean_and_error(theirs.T)
            found, found_error = mean_and_error(data[ours].values)
            z = (mean - found) / np.hypot(error, found_error)
            remarks.append(
                f"published {name}: {mean[-1]:.4g} at the end, {z[0]:+.1f} standard errors from ours at the start, "
                f"{z[-1]:+.1f} at the end"
            )
    return Verdict(
        f"error of the solution {row[1]:.4f} +- {row[3]:.4f}, expected {expected:.4f}, {solution}; "
        f"Adam ends at error {reached:.4f} and loss {loss:.1e}",
        (row,),
        (solution.judged(row[0]),),
        tuple(remarks),
    )


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """Loss and error over the steps; mean and a few runs."""
    figure, panels = panelled(9.6, 4.0, 1, 2)
    steps = np.arange(1, data.sizes["epoch"] + 1)
    labels = ("loss of the equations", r"mean square of $W_{11} - 1$ and of $W_{21}$")
    for index, (panel, name) in enumerate(zip(panels, ("loss", "error"), strict=True)):
        values = data[name].values
        panel.plot(steps, values[:, :10], color=PALETTE[index], alpha=0.25, linewidth=0.7)
        panel.plot(steps, values.mean(axis=1), color=PALETTE[index], linewidth=2, label="Adam, mean over repeats")
        theirs = of_shape(published, PUBLISHED[index], (5000, 1000))
        if theirs is not None:
            panel.plot(np.arange(1, 1001), theirs.mean(axis=0), "--", color="0.3", label="published")
        if name == "error":
            expected = expected_error(int(data.attrs["dimension"]), int(data.attrs["context"]))
            panel.axhline(expected, color=PALETTE[2], label=r"$W_{11} = C^{-1}$: inverse Wishart")
        dress(panel, legend="small", xlabel="step", yscale="log", ylabel=labels[index])
    return figure


FIGURE = PaperFigure("fig-S6", "The linear-equation group", parameters, simulate, draw, judge, PUBLISHED)
