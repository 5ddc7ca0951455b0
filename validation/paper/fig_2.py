"""SG Fig. 2: training at P = 10 and 1000, the weights learned, and means and variances of message passing at P = 5000.

Theory: the error on the prompts that training ends at, and the order parameters of the exact mean, at finite size
(`numerics.finite_size`); gradient flow on the same energy, exactly on each data set (`validation.gradient_flow`) and at
D -> infinity (`numerics.learning_curve`). SG train by Adam, whose steps are not those of a flow: it is shown in its own
time. Plain gradient descent at the same rate, from the same start, is: epoch k is time t = 0.01 k/D. There is no theory
of the flow at finite D, so it is judged at D -> infinity, to which the flows at D = 10 and 20 (same P/D^2 and N/D) are
extrapolated linearly in 1/D; P = 10 at D = 10 is too far from it for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from iclglass.numerics.finite_size import solve_finite
from iclglass.numerics.instance.linear_response import ground_state
from iclglass.numerics.instance.predictions import alignment, overlap
from iclglass.numerics.instance.spin_by_spin import published as published_iteration
from iclglass.numerics.learning_curve import learning_curve
from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.sizes import from_unscaled
from iclglass.validation.gradient_flow import gradient_flow
from iclglass.validation.paper.drawing import dress, stacked
from iclglass.validation.paper.figure import Array, PaperFigure, Row, Verdict
from iclglass.validation.paper.judging import Pooled, compared, largest, means, one_by_one, pooled
from iclglass.validation.paper.published import all_of_shape, of_shape
from iclglass.validation.paper.simulating import Compute, batches, simulated
from iclglass.validation.prompts import Prompts, draw_prompts
from iclglass.validation.statistics import mean_and_error
from iclglass.validation.training import train
from iclglass.validation.training.layer import Matrices, initial_parameters

__all__ = ["FIGURE"]

_DIMENSION, _CONTEXT, _NORM = 10, 100, "N+1"
_TRAINED = (10, 1000)
_MESSAGES = 5000
_RIDGE0, _BETA = 0.01, 100.0
_TIMES = tuple(np.geomspace(0.01, 300, 41).tolist())
_JUDGED_TIMES = (9, 18, 27, 36)
"""Of these: t = 0.1, 1, 10.6, 108."""
_POOLED_TIMES = (18, 27, 36)
"""Without t = 0.1: there the loss is still that of the start, whose scatter is not that of the end."""
_JUDGED_EPOCHS = (100, 300)
_SHOWN_EPOCHS = (10, 20, 40, 80, 150, 300)
_LARGER = 20
"""Dimension of the second flow of the extrapolation; at P = 4000."""
_PART = 5
"""Repeats in a part."""
_STATISTICS = ("mean of the diagonal of m", "mean of v, block", "mean of v, last row")
_FALSE_ALARM = 1e-3
_M, _V = "fig-2/data/m.npy", "fig-2/data/v.npy"
_PUBLISHED_LOSS = ("fig-2/data/loss-1.npy", "fig-2/data/loss-2.npy")
_DIMS = {
    "adam": ("prompts", "repeat", "epoch"),
    "descent": ("prompts", "repeat", "epoch"),
    "flow": ("prompts", "repeat", "time"),
    "larger_flow": ("repeat", "time"),
    "learned": ("prompts", "repeat", "row", "column"),
    "messages": ("moment", "repeat", "row", "full_column"),
    "statistics": ("statistic", "repeat"),
    "exact": ("overlap", "repeat"),
    "ground": ("repeat",),
}
"""Of what is simulated."""


def parameters(scale: str) -> dict[str, Any]:
    """SG: D = 10, N = 100, norm N+1, Adam at rate 0.01, 300 epochs; message passing at lambda0 = 0.01, beta = 100."""
    return {
        "dimension": _DIMENSION,
        "context": _CONTEXT,
        "norm": _NORM,
        "prompts": [*_TRAINED, _MESSAGES],
        "epochs": 300,
        "learning_rate": 0.01,
        "flow_dimensions": [_DIMENSION, _LARGER],
        "repeats": 12 if scale == "quick" else 50,
    }


def simulate(given: Mapping[str, Any], seed: int, compute: Compute) -> xr.Dataset:
    """Losses of Adam, of plain descent and of gradient flow on the same data and start, and message passing."""
    data = simulated(compute, ({"repeat": batches(given["repeats"], _PART)}, partial(_batch, given, seed)))
    coordinates = {"prompts": list(_TRAINED), "time": list(_TIMES), "statistic": list(_STATISTICS)}
    return data.assign_coords(coordinates).assign_attrs(learning_rate=given["learning_rate"])


def _batch(given: Mapping[str, Any], seed: int, batch: range) -> xr.Dataset:
    every = [_one(given, seed, repeat) for repeat in batch]
    stacked = {name: np.stack([one[name] for one in every], dims.index("repeat")) for name, dims in _DIMS.items()}
    return xr.Dataset({name: (dims, stacked[name]) for name, dims in _DIMS.items()})


def _one(given: Mapping[str, Any], seed: int, repeat: int) -> dict[str, Any]:
    found: dict[str, Any] = {name: [] for name in ("adam", "descent", "flow", "learned")}
    settings = {"steps": given["epochs"], "learning_rate": given["learning_rate"], "record": range(given["epochs"] + 1)}
    for prompts in _TRAINED:
        rng = np.random.default_rng((seed, prompts, repeat))
        data, start = _drawn(_DIMENSION, prompts, rng)
        adam, descent = (train(data, optimiser=name, start=start, rng=rng, **settings) for name in ("adam", "gd"))
        found["adam"].append(adam.train_error)
        found["descent"].append(descent.train_error)
        found["learned"].append(adam.weights)
        found["flow"].append(_flow(data, start))
    found["ground"] = _loss(data, ground_state(data, 0.0))
    rng = np.random.default_rng((seed, _LARGER**2, _TRAINED[1], repeat))
    found["larger_flow"] = _flow(*_drawn(_LARGER, _TRAINED[1] * _LARGER**2 // _DIMENSION**2, rng))
    rng = np.random.default_rng((seed, _MESSAGES, repeat))
    data = draw_prompts(dimension=_DIMENSION, context=_CONTEXT, prompts=_MESSAGES, norm=_NORM, rng=rng)
    solution = published_iteration(data, ridge0=_RIDGE0, beta=_BETA, rng=rng)
    weights = ground_state(data, _RIDGE0)
    found["messages"] = solution.mean, solution.variance
    found["statistics"] = _statistics(solution.mean, solution.variance)
    found["exact"] = alignment(weights), overlap(weights)
    return found


def _drawn(dimension: int, prompts: int, rng: np.random.Generator) -> tuple[Prompts, Matrices]:
    context = _CONTEXT * dimension // _DIMENSION
    data = draw_prompts(dimension=dimension, context=context, prompts=prompts, norm=_NORM, rng=rng)
    return data, initial_parameters("merged", dimension=dimension, rng=rng)


def _flow(data: Prompts, start: Matrices) -> list[float]:
    return [_loss(data, weights) for weights in gradient_flow(data, 0.0, _TIMES, start=start[0])]


def _loss(data: Prompts, weights: Array) -> float:
    return float(np.mean((data.label - data.features.predict(weights)) ** 2))


def _statistics(mean: Array, variance: Array) -> tuple[float, float, float]:
    """What SG's matrices, (D+1, D+1), and ours are compared by; in the order of _STATISTICS."""
    block = variance[:-1, :-1]
    return float(np.mean(np.diagonal(mean)[:-1])), float(np.mean(block)), float(np.mean(variance[-1, :-1]))


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """Losses above, matrices below."""
    figure, (above, below) = stacked(13, 6.8, 2, 1)
    left, right = above.subplots(1, 2)
    epochs = np.arange(data.sizes["epoch"])
    for row, prompts in enumerate(_TRAINED):
        _band(left, epochs, data.adam.values[row], PALETTE[row], f"Adam, $P = {prompts}$")
        loss = of_shape(published, _PUBLISHED_LOSS[row], (epochs.size - 1,))
        if loss is not None:
            left.plot(epochs[:-1], loss, ":", color=PALETTE[6], label=f"published, $P = {prompts}$")
        _band(right, data.time.values, data.flow.values[row], PALETTE[row], f"gradient flow, $P = {prompts}$")
        curve = _flow_theory(prompts, data.time.values)
        right.plot(data.time, curve, "--", color=PALETTE[row], label=r"theory of it, $D \to \infty$")
    descent = data.descent.values.mean(axis=1)[:, list(_SHOWN_EPOCHS)].T
    points = right.plot(_time(data, np.array(_SHOWN_EPOCHS)), descent, ".", color="black", markersize=5)
    points[0].set_label(f"plain descent at rate {data.attrs['learning_rate']:g}, both $P$")
    end = _theory(_TRAINED[1], 0.0).e_train
    for panel, label in ((left, "Adam's epoch"), (right, "time $t$ of gradient flow, in units of $D$")):
        panel.axhline(end, color="black", linewidth=0.8, label=rf"finite-size theory, $P = {_TRAINED[1]}$, end")
        settings: dict[str, Any] = {"yscale": "log", "ylim": (1e-4, 6), "ylabel": r"loss $(y-f)^2$ on the prompts"}
        dress(panel, legend="x-small", xlabel=label, **settings)
    right.set_xscale("log")
    padded = [np.pad(weights, ((0, 0), (0, 1))) for weights in data.learned.isel(repeat=0).values]
    signed = [(f"$W$ by Adam, $P = {prompts}$", matrix) for prompts, matrix in zip(_TRAINED, padded, strict=True)]
    means, variances = data.messages.isel(repeat=0).values
    signed.append((f"$m$ here, $P = {_MESSAGES}$", means))
    shape = (_DIMENSION + 1, _DIMENSION + 1)
    if (matrix := of_shape(published, _M, shape)) is not None:
        signed.append(("$m$ published", matrix))
    logarithms = [(rf"$\ln v$ here, $P = {_MESSAGES}$", np.log(variances))]
    if (matrix := of_shape(published, _V, shape)) is not None and np.all(matrix > 0):
        logarithms.append((r"$\ln v$ published", np.log(matrix)))

    panels = below.subplots(1, len(signed) + len(logarithms))
    for some, shown, cmap, (low, high), label in (
        (panels[: len(signed)], signed, "RdBu_r", (-1, 1), "weight $W$, mean $m$"),
        (panels[len(signed) :], logarithms, "viridis", (-5, 0), r"$\ln v$"),
    ):
        for panel, (title, matrix) in zip(some, shown, strict=True):
            image = panel.imshow(matrix, cmap=cmap, vmin=low, vmax=high)
            dress(panel, title, size="small", grid=False, xticks=[], yticks=[])
        below.colorbar(image, ax=some, label=label)
    return figure


def _band(panel: Any, x: Array, values: Array, colour: str, label: str) -> None:
    """Mean over data sets, and where two thirds of them are: losses differ by factors, a deviation would mislead."""
    low, high = np.quantile(values, (1 / 6, 5 / 6), axis=0)
    panel.plot(x, values.mean(axis=0), color=colour, label=label)
    panel.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _theory(prompts: int, ridge0: float, dimension: int = _DIMENSION) -> Any:
    """At the N/D of N = 100, D = 10."""
    scaled = from_unscaled(dimension, prompts=prompts, context=_CONTEXT * dimension // _DIMENSION, ridge0=ridge0)
    return solve_finite(dimension=dimension, **scaled, norm=_NORM)


def _least_loss(dimension: int) -> float:
    """Without ridge, at the P/D^2 of P = 1000, D = 10: where the flow ends."""
    return float(_theory(_TRAINED[1] * dimension**2 // _DIMENSION**2, 0.0, dimension).e_train)


def _flow_theory(prompts: int, time: Array) -> Array:
    """Error on the prompts under gradient flow, D -> infinity."""
    scaled = from_unscaled(_DIMENSION, prompts=prompts, context=_CONTEXT, ridge0=0.0)
    curve: Array = learning_curve(time=time, **scaled, initial_overlap=1.0).e_train
    return curve


def _time(data: xr.Dataset, epochs: Array) -> Array:
    """Of gradient flow, at which plain descent is after so many steps."""
    return epochs * float(data.attrs["learning_rate"]) / _DIMENSION


def _descent_rows(data: xr.Dataset) -> list[Row]:
    """Plain descent at D = 10 against the theory of the flow at D -> infinity."""
    rows: list[Row] = []
    epochs = np.array(_JUDGED_EPOCHS)
    for row, prompts in enumerate(_TRAINED):
        names = [f"plain descent, P={prompts}, epoch {epoch}: flow, D -> infinity" for epoch in epochs]
        rows += means(names, data.descent.values[row][:, epochs].T, _flow_theory(prompts, _time(data, epochs)))
    return rows


def _flow_rows(data: xr.Dataset) -> list[Row]:
    """The flow at P/D^2 = 10, extrapolated linearly in 1/D, against its theory."""
    chosen = list(_JUDGED_TIMES)
    (small, small_error), (large, large_error) = (
        mean_and_error(values[:, chosen].T) for values in (data.flow.values[1], data.larger_flow.values)
    )
    weight, time = _LARGER / (_LARGER - _DIMENSION), data.time.values[chosen]
    mean = weight * large - (weight - 1) * small
    error = np.hypot(weight * large_error, (weight - 1) * small_error)
    what = f"gradient flow, P/D^2={_TRAINED[1] // _DIMENSION**2}, D={_DIMENSION} and {_LARGER} extrapolated"
    names = [f"{what}, t={t:.3g}" for t in time]
    return [compared(*one) for one in zip(names, mean, _flow_theory(_TRAINED[1], time), error, strict=True)]


def _flow_pooled(data: xr.Dataset, comparisons: int) -> Pooled:
    """The extrapolated flow over its theory, mean of ``_POOLED_TIMES``.

    Losses of one data set at different times go up and down together. So each data set first gives one number,

        mean over t of loss(t)/theory(t), less (loss(infinity)/e_train - 1),

    the second with the mean of loss(infinity) from finite-size theory at this D: of mean 0, it takes off the part of
    the scatter that all times share and halves the standard error. Where the flow has ended, this compares one theory,
    extrapolated, with the other.
    """
    chosen = list(_POOLED_TIMES)
    theory = _flow_theory(_TRAINED[1], data.time.values[chosen])
    small, large = (
        (values[:, chosen] / theory).mean(axis=1) - (values[:, -1] / _least_loss(dimension) - 1)
        for dimension, values in ((_DIMENSION, data.flow.values[1]), (_LARGER, data.larger_flow.values))
    )
    weight = _LARGER / (_LARGER - _DIMENSION)
    # as `pooled` takes the mean of two points: twice their weights
    ratios = np.array([1 + 2 * weight * (large - 1), 1 - 2 * (weight - 1) * (small - 1)])
    what = f"gradient flow over theory, P/D^2={_TRAINED[1] // _DIMENSION**2}, extrapolated, t >= 1 together"
    return pooled(what, ratios, false_alarm=_FALSE_ALARM, comparisons=comparisons)


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Ground states against finite-size theory, the flow against its own; SG's one data set against our spread."""
    theory = _theory(_MESSAGES, _RIDGE0)
    rows = means([f"{name} of the exact mean, P={_MESSAGES}" for name in "mq"], data.exact.values, [theory.m, theory.q])
    flow, descent = _flow_rows(data), _descent_rows(data)
    family: dict[str, Any] = {"false_alarm": _FALSE_ALARM, "comparisons": len(rows) + len(flow) + 2}
    together = _flow_pooled(data, family["comparisons"])
    least = pooled(
        f"least training loss over theory, P/D^2={_TRAINED[1] // _DIMENSION**2}, D={_DIMENSION} and {_LARGER} together",
        np.array([data.ground.values / _least_loss(_DIMENSION), data.larger_flow.values[:, -1] / _least_loss(_LARGER)]),
        **family,
    )
    exact, times = (one_by_one(some, data.sizes["repeat"] - 1, **family) for some in (rows, flow))
    judged = (
        together.judged(),
        least.judged(),
        exact.judged("m and q of the exact mean"),
        times.judged("gradient flow, time by time", carries=False),
    )
    sentence = (
        f"gradient flow extrapolated to D -> infinity over its theory, t >= 1 together: {together}; time by time "
        f"{times}; least training loss over finite-size theory: {least}; m and q of the exact mean against it: {exact}"
    )
    rows = [together.row, least.row, *rows, *flow, *descent]
    statistics = data.statistics.values[:, np.all(np.isfinite(data.statistics.values), axis=0)]
    remarks = [
        f"the published means are not the Boltzmann means: the diagonal of m is {statistics[0].mean():.4f} where the "
        f"exact one is {data.exact.values[0].mean():.4f}, because SG's iteration has no reaction term",
        f"at P = {_TRAINED[0]} training goes to zero loss; gradient-flow theory is at D -> infinity, and {_TRAINED[0]} "
        f"prompts of D = {_DIMENSION} are far from it: the loss then falls by rates that differ from data set to data "
        "set, and the mean is that of the slowest",
        f"plain descent at D = {_DIMENSION}, not extrapolated, is off the theory of the flow by "
        + "; ".join(_off(row) for row in descent),
    ]

    if (arrays := all_of_shape(published, (_M, _V), (_DIMENSION + 1, _DIMENSION + 1))) is not None:
        theirs = zip(_STATISTICS, statistics, _statistics(*arrays), strict=True)
        more = [_one_of_theirs(*one) for one in theirs]
        sentence += f"; message passing against the published m and v: |z| <= {largest(more):.1f}"
        rows += more
    for row, name in enumerate(_PUBLISHED_LOSS):
        loss = of_shape(published, name, (data.sizes["epoch"] - 1,))
        if loss is not None:
            # logarithms, since losses of data sets differ by factors
            what = f"log10 of Adam's loss at the end, P={_TRAINED[row]}"
            rows.append(_one_of_theirs(what, np.log10(data.adam.values[row, :, -2]), np.log10(loss[-1])))
    return Verdict(sentence, tuple(rows), judged, tuple(remarks))


def _one_of_theirs(what: str, ours: Array, theirs: float) -> Row:
    """The value of one published data set, which scatters as ours do, against our mean."""
    return compared(f"{what}: published", ours.mean(), theirs, ours.std(ddof=1) * np.sqrt(1 + 1 / ours.size))


def _off(row: Row) -> str:
    what, ours, theory, _, z = row
    return f"{ours / theory - 1:+.0%} ({z:+.1f} standard errors, {', '.join(what.split(': ')[0].split(', ')[1:])})"


_TITLE = "training loss, learned weights, message passing"
FIGURE = PaperFigure("fig-2", _TITLE, parameters, simulate, draw, judge, (_M, _V, *_PUBLISHED_LOSS))
