"""SG Fig. 2: training at P = 10 and 1000, the weights learned, and means and variances of message passing at P = 5000.

Theory: the error on the prompts that training ends at, and the order parameters of the exact mean, at finite size
(`numerics.finite_size`); gradient flow on the same energy, exactly on each data set (`validation.gradient_flow`) and at
D -> infinity (`numerics.learning_curve`). SG train by Adam, whose steps are not those of a flow: both are shown, each
in its own time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from numerics.finite_size import solve_finite
from numerics.instance.linear_response import ground_state
from numerics.instance.predictions import alignment, overlap
from numerics.instance.spin_by_spin import published as published_iteration
from numerics.learning_curve import learning_curve
from numerics.plotting import PALETTE
from validation.gradient_flow import gradient_flow
from validation.paper.figure import PaperFigure, Progress, Row, Verdict, compared, largest
from validation.paper.published import of_shape
from validation.prompts import draw_prompts
from validation.statistics import bonferroni_threshold, mean_and_error
from validation.training import train
from validation.training.layer import initial_parameters

__all__ = ["FIGURE"]

Array = NDArray[Any]

_DIMENSION, _CONTEXT, _NORM = 10, 100, "N+1"
_TRAINED = (10, 1000)
_MESSAGES = 5000
_RIDGE0, _BETA = 0.01, 100.0
_TIMES = tuple(np.geomspace(0.01, 300, 41).tolist())
_STATISTICS = ("mean of the diagonal of m", "mean of v, block", "mean of v, last row")
_FALSE_ALARM = 1e-3
_M, _V = "fig-2/data/m.npy", "fig-2/data/v.npy"


def parameters(scale: str) -> dict[str, Any]:
    """SG: D = 10, N = 100, norm N+1, Adam at rate 0.01, 300 epochs; message passing at lambda0 = 0.01, beta = 100."""
    return {
        "dimension": _DIMENSION,
        "context": _CONTEXT,
        "norm": _NORM,
        "prompts": [*_TRAINED, _MESSAGES],
        "epochs": 300,
        "learning_rate": 0.01,
        "repeats": 12 if scale == "quick" else 50,
    }


def simulate(scale: str, seed: int, progress: Progress) -> xr.Dataset:
    """Losses of Adam and of gradient flow on the same data and start, and statistics of message passing."""
    given = parameters(scale)
    repeats, epochs = given["repeats"], given["epochs"]
    adam = np.empty((len(_TRAINED), repeats, epochs + 1))
    flow = np.empty((len(_TRAINED), repeats, len(_TIMES)))
    learned = np.empty((len(_TRAINED), _DIMENSION + 1, _DIMENSION))
    statistics = np.empty((len(_STATISTICS), repeats))
    exact = np.empty((2, repeats))
    ground = np.empty(repeats)
    messages = np.empty((2, _DIMENSION + 1, _DIMENSION + 1))
    for repeat in range(repeats):
        for row, prompts in enumerate(_TRAINED):
            rng = np.random.default_rng((seed, prompts, repeat))
            data = draw_prompts(dimension=_DIMENSION, context=_CONTEXT, prompts=prompts, norm=_NORM, rng=rng)
            start = initial_parameters("merged", dimension=_DIMENSION, rng=rng)
            run = train(
                data,
                optimiser="adam",
                steps=epochs,
                learning_rate=given["learning_rate"],
                start=start,
                record=range(epochs + 1),
                rng=rng,
            )
            adam[row, repeat] = run.train_error
            for column, weights in enumerate(gradient_flow(data, 0.0, _TIMES, start=start[0])):
                flow[row, repeat, column] = _loss(data, weights)
            if repeat == 0:
                learned[row] = run.weights
            if prompts == _TRAINED[1]:
                ground[repeat] = _loss(data, ground_state(data, 0.0))
        rng = np.random.default_rng((seed, _MESSAGES, repeat))
        data = draw_prompts(dimension=_DIMENSION, context=_CONTEXT, prompts=_MESSAGES, norm=_NORM, rng=rng)
        solution = published_iteration(data, ridge0=_RIDGE0, beta=_BETA, rng=rng)
        statistics[:, repeat] = _statistics(solution.mean, solution.variance)
        weights = ground_state(data, _RIDGE0)
        exact[:, repeat] = alignment(weights), overlap(weights)
        if repeat == 0:
            messages[:] = solution.mean, solution.variance
        progress(repeat + 1, repeats)
    return xr.Dataset(
        {
            "adam": (("prompts", "repeat", "epoch"), adam),
            "flow": (("prompts", "repeat", "time"), flow),
            "learned": (("prompts", "row", "column"), learned),
            "messages": (("moment", "row", "full_column"), messages),
            "statistics": (("statistic", "repeat"), statistics),
            "exact": (("overlap", "repeat"), exact),
            "ground": (("repeat",), ground),
        },
        coords={"prompts": list(_TRAINED), "time": list(_TIMES), "statistic": list(_STATISTICS)},
    )


def _loss(data: Any, weights: Array) -> float:
    return float(np.mean((data.label - data.features.predict(weights)) ** 2))


def _statistics(mean: Array, variance: Array) -> tuple[float, float, float]:
    """What SG's matrices, (D+1, D+1), and ours are compared by; in the order of _STATISTICS."""
    block = variance[:-1, :-1]
    return float(np.mean(np.diagonal(mean)[:-1])), float(np.mean(block)), float(np.mean(variance[-1, :-1]))


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """Losses above, matrices below."""
    figure = Figure(figsize=(13, 7), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(1.4, 1))
    above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    left, right = above.subplots(1, 2)
    epochs = np.arange(data.sizes["epoch"])
    for row, prompts in enumerate(_TRAINED):
        _band(left, epochs, data.adam.values[row], PALETTE[row], f"Adam, $P = {prompts}$")
        loss = of_shape(published, f"fig-2/data/loss-{row + 1}.npy", (epochs.size - 1,))
        if loss is not None:
            left.plot(epochs[:-1], loss, ":", color=PALETTE[6], label=f"published, $P = {prompts}$")
        _band(right, data.time.values, data.flow.values[row], PALETTE[row], f"gradient flow, $P = {prompts}$")
        curve = learning_curve(
            time=data.time.values,
            task_diversity=prompts / _DIMENSION**2,
            context_length=_CONTEXT / _DIMENSION,
            ridge=0.0,
            initial_overlap=1.0,
        )
        right.plot(data.time, curve.e_train, "--", color=PALETTE[row], label=r"theory, $D \to \infty$")
    end = _theory(_TRAINED[1], 0.0).e_train
    for panel, label in ((left, "Adam's epoch"), (right, "time $t$ of gradient flow, in units of $D$")):
        panel.axhline(end, color="black", linewidth=0.8, label=rf"finite-size theory, $P = {_TRAINED[1]}$, end")
        panel.set_yscale("log")
        panel.set_ylim(1e-4, 6)
        panel.set_xlabel(label)
        panel.set_ylabel(r"loss $(y-f)^2$ on the prompts")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="x-small")
    right.set_xscale("log")
    padded = [np.pad(weights, ((0, 0), (0, 1))) for weights in data.learned.values]
    shown = [(f"$W$ by Adam, $P = {prompts}$", matrix) for prompts, matrix in zip(_TRAINED, padded, strict=True)]
    shown.append((f"$m$ here, $P = {_MESSAGES}$", data.messages.values[0]))
    shape = (_DIMENSION + 1, _DIMENSION + 1)
    if (matrix := of_shape(published, _M, shape)) is not None:
        shown.append(("$m$ published", matrix))
    shown.append((rf"$\ln v$ here, $P = {_MESSAGES}$", np.log(data.messages.values[1])))
    if (matrix := of_shape(published, _V, shape)) is not None and np.all(matrix > 0):
        shown.append((r"$\ln v$ published", np.log(matrix)))
    for panel, (title, matrix) in zip(below.subplots(1, len(shown)), shown, strict=True):
        variances = "v" in title
        limits = (-5, 0) if variances else (-1, 1)
        image = panel.imshow(matrix, cmap="viridis" if variances else "RdBu_r", vmin=limits[0], vmax=limits[1])
        panel.set_title(title, fontsize="small")
        panel.set_xticks([])
        panel.set_yticks([])
        figure.colorbar(image, ax=panel, shrink=0.6)
    return figure


def _band(panel: Any, x: Array, values: Array, colour: str, label: str) -> None:
    mean, spread = values.mean(axis=0), values.std(axis=0)
    panel.plot(x, mean, color=colour, label=label)
    panel.fill_between(x, np.maximum(mean - spread, 1e-9), mean + spread, color=colour, alpha=0.2, linewidth=0)


def _theory(prompts: int, ridge0: float) -> Any:
    return solve_finite(
        dimension=_DIMENSION,
        task_diversity=prompts / _DIMENSION**2,
        context_length=_CONTEXT / _DIMENSION,
        ridge=_DIMENSION * ridge0,
        norm=_NORM,
    )


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Ground states against finite-size theory; SG's one data set against the spread of ours."""
    rows: list[Row] = []
    mean, error = mean_and_error(data.ground.values)
    rows.append(compared("least training loss, P=1000", mean, _theory(_TRAINED[1], 0.0).e_train, error))
    theory = _theory(_MESSAGES, _RIDGE0)
    for row, name in enumerate(("m", "q")):
        mean, error = mean_and_error(data.exact.values[row])
        rows.append(compared(f"{name} of the exact mean, P={_MESSAGES}", mean, getattr(theory, name), error))
    threshold = bonferroni_threshold(_FALSE_ALARM, len(rows), data.sizes["repeat"] - 1)
    agrees = largest(rows) < threshold
    sentence = f"training loss and weights against finite-size theory: |z| <= {largest(rows):.1f}"
    shape = (_DIMENSION + 1, _DIMENSION + 1)
    arrays = [of_shape(published, name, shape) for name in (_M, _V)]
    statistics = data.statistics.values[:, np.all(np.isfinite(data.statistics.values), axis=0)]
    remarks = [
        f"the published means are not the Boltzmann means: the diagonal of m is {statistics[0].mean():.4f} where the "
        f"exact one is {data.exact.values[0].mean():.4f}, because SG's iteration has no reaction term",
        f"at P = {_TRAINED[0]} training goes to zero loss; gradient-flow theory is at D -> infinity and its curves are "
        "off by corrections in 1/D",
    ]
    if arrays[0] is not None and arrays[1] is not None:
        there = _statistics(arrays[0], arrays[1])
        more = [
            compared(
                f"{name}: published",
                values.mean(),
                there[row],
                float(values.std(ddof=1) * np.sqrt(1 + 1 / values.size)),
            )
            for row, (name, values) in enumerate(zip(_STATISTICS, statistics, strict=True))
        ]
        sentence += f"; message passing against the published m and v: |z| <= {largest(more):.1f}"
        rows += more
    return Verdict(sentence, tuple(rows), agrees, tuple(remarks))


FIGURE = PaperFigure(
    name="fig-2",
    title="training loss, learned weights, message passing",
    parameters=parameters,
    simulate=simulate,
    draw=draw,
    judge=judge,
    published=(_M, _V, "fig-2/data/loss-1.npy", "fig-2/data/loss-2.npy"),
)
