"""SG Fig. 4: (a) contrast ratio over prompts P and context N at D = 20; (b) loss against N, message passing and Adam.

Theory: both at finite size (`numerics.finite_size`); the lines below which the published iteration diverges, at D = 20
and at D -> infinity, are those of `validation.paper.divergence`. Message passing as published has a bias (no reaction
term): its loss in (b) is not that of the exact mean.

The published code says lambda0 = 1 for (a); how far the published data are from that, the verdict says where
they are given. Two smaller ridges are mapped beside it, to show where the line lies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iclglass.numerics.finite_size import solve_finite
from iclglass.numerics.fixed_point import Status
from iclglass.numerics.instance.linear_response import ground_state
from iclglass.numerics.instance.spin_by_spin import published as published_iteration
from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.sizes import from_unscaled
from iclglass.validation.paper.contrast_maps import contrasts, draw_maps, read_as, rms
from iclglass.validation.paper.divergence import finite_line, limit_line
from iclglass.validation.paper.figure import (
    PaperFigure,
    Pooled,
    Progress,
    Row,
    Verdict,
    batches,
    compared,
    in_parts,
    one_by_one,
    pooled,
)
from iclglass.validation.paper.published import of_shape
from iclglass.validation.population import gaussian_moments, population_error
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import bonferroni_threshold, mean_and_error
from iclglass.validation.training import train

__all__ = ["FIGURE"]

Array = NDArray[Any]

_DIMENSION = 20
_RIDGES = (1.0, 0.1, 0.01)
_PROMPTS, _RIDGE0, _BETA, _DECAY = 10_000, 0.01, 100.0, 0.01
_SOLVERS = ("exact", "published", "adam")
_BATCH = 2
"""Repeats of (b) in a part: 5000 epochs of Adam take seconds."""
_FALSE_ALARM = 1e-3
_FAMILIES = 6
"""What is judged: the maps, the exact losses and Adam's, each point by point and pooled; each at a sixth of it."""
_UNFINISHED = 0.004
"""Relative excess allowed to Adam's loss at quick scale, mean over N: at N = 100 its 2000 steps end 0.4 to 1.2 % above
the least of its energy (four data sets; 3000 steps: 0.02 %), at N = 10 and 30 not measurably."""
_LEAST_CONTEXT, _LEAST_PROMPTS = 10, 120
"""alpha = 0.5 and tau = 0.3: below, the finite-size theory has not been measured; shown, and said, but not judged."""
_CONTRAST, _TOKENS = "fig-4/data/contrast.npy", "fig-4/data/N_list.npy"
_LOSSES = {"published": "amp", "adam": "sgd"}
_PAPER_REPEATS = 50


def parameters(scale: str) -> dict[str, Any]:
    """SG: (a) N = 2 .. 100 by P = 20 .. 1000; (b) P = 10000, lambda0 = 0.01, beta = 100, Adam at rate 1e-3 for 5000
    epochs with weight_decay 0.01 on (y - f)^2, that is lambda0 = 0.005; 50 repeats."""
    quick = scale == "quick"
    return {
        "dimension": _DIMENSION,
        "ridges": _RIDGES,
        "map_context": tuple(np.linspace(2, 100, 8 if quick else 50).astype(int).tolist()),
        "map_prompts": tuple(np.linspace(20, 1000, 8 if quick else 50).astype(int).tolist()),
        "map_norm": "N",
        "map_repeats": 8 if quick else 10,
        "prompts": _PROMPTS,
        "context": (10, 30, 100) if quick else (5, 10, 20, 30, 40, 60, 80, 100),
        "norm": "N+1",
        "repeats": 6 if quick else _PAPER_REPEATS,
        "adam_repeats": 2 if quick else _PAPER_REPEATS,
        "adam_steps": 2000 if quick else 5000,
    }


def simulate(scale: str, seed: int, progress: Progress) -> xr.Dataset:
    """Overlaps of exact means and the fate of the published iteration over the map; losses against N."""
    given = parameters(scale)
    columns = {f"map-{context}": partial(_column, given, context, seed) for context in given["map_context"]}
    some = batches(given["repeats"], _BATCH)
    losses = {
        f"loss-{context}-{batch[0]}-{batch[-1]}": partial(_losses, given, context, batch, seed)
        for context in given["context"]
        for batch in some
    }
    parts = in_parts(progress, columns | losses)
    maps = xr.concat(parts[: len(columns)], dim="map_context")
    found = [part.loss.values for part in parts[len(columns) :]]
    rows = [np.concatenate(found[start : start + len(some)], axis=1) for start in range(0, len(found), len(some))]
    return maps.assign(loss=(("context", "solver", "repeat"), np.array(rows))).assign_coords(
        map_context=list(given["map_context"]),
        map_prompts=list(given["map_prompts"]),
        context=list(given["context"]),
        ridge0=list(_RIDGES),
        solver=list(_SOLVERS),
    )


def _column(given: Mapping[str, Any], context: int, seed: int) -> xr.Dataset:
    """One N of the map: sum of the diagonal and square of the norm of W, and whether the iteration converges."""
    shape = (len(_RIDGES), len(given["map_prompts"]), given["map_repeats"])
    trace, square, converges = np.empty(shape), np.empty(shape), np.empty(shape[:2], dtype=np.int8)
    for column, prompts in enumerate(given["map_prompts"]):
        for repeat in range(given["map_repeats"]):
            rng = np.random.default_rng((seed, 0, context, prompts, repeat))
            data = draw_prompts(dimension=_DIMENSION, context=context, prompts=prompts, norm=given["map_norm"], rng=rng)
            for row, ridge0 in enumerate(_RIDGES):
                weights = ground_state(data, ridge0)
                trace[row, column, repeat] = np.trace(weights[:-1])
                square[row, column, repeat] = np.sum(weights**2)
                # whether it converges does not change from data set to data set but near the line
                if repeat == 0:
                    found = published_iteration(data, ridge0=ridge0, beta=_BETA)
                    converges[row, column] = found.status != Status.DIVERGES
    names = ("ridge0", "map_prompts", "map_repeat")
    return xr.Dataset(
        {
            "trace": (names, trace),
            "square": (names, square),
            "converges": (names[:2], converges),
        }
    )


def _losses(given: Mapping[str, Any], context: int, batch: range, seed: int) -> xr.Dataset:
    """Some repeats of one N of (b): exact population errors of three sets of weights; NaN beyond Adam's repeats, or
    diverged."""
    law = {"context": context, "label_noise": 0.0, "norm": given["norm"]}
    moments = gaussian_moments(np.ones(_DIMENSION), **law)
    values = np.full((len(_SOLVERS), len(batch)), np.nan)
    for place, repeat in enumerate(batch):
        rng = np.random.default_rng((seed, 1, context, repeat))
        data = draw_prompts(
            dimension=_DIMENSION, context=context, prompts=given["prompts"], norm=given["norm"], rng=rng
        )
        values[0, place] = population_error(ground_state(data, _RIDGE0), moments)
        found = published_iteration(data, ridge0=_RIDGE0, beta=_BETA, rng=rng)
        values[1, place] = population_error(found.mean[:, :-1], moments)
        if repeat < given["adam_repeats"]:
            run = train(
                data,
                optimiser="adam",
                steps=given["adam_steps"],
                learning_rate=1e-3,
                ridge0=_DECAY / 2,
                record=[given["adam_steps"]],
                test=moments,
                rng=rng,
            )
            values[2, place] = run.test_error[-1]
    return xr.Dataset({"loss": (("solver", "repeat"), values)})


def _theory(ridge0: float, context: Array, prompts: Array, norm: str) -> Any:
    scaled = from_unscaled(_DIMENSION, prompts=prompts, context=context, ridge0=ridge0)
    return solve_finite(dimension=_DIMENSION, **scaled, norm=norm)


def _map_theory(context: Array, prompts: Array) -> Array:
    """Contrast ratio over (ridge, N, P)."""
    mesh = np.meshgrid(context, prompts, indexing="ij")
    return np.array([_theory(ridge0, *mesh, "N").contrast for ridge0 in _RIDGES])


@cache
def _lines(context: tuple[int, ...]) -> tuple[Array, Array]:
    """P below which the published iteration diverges, (ridge, N): at this D, and at D -> infinity."""
    where: dict[str, Any] = {"dimension": _DIMENSION, "ridges": _RIDGES}
    return finite_line(context, **where), limit_line(context, **where)


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """Above: maps of the contrast ratio, theory as contours. Below: the published map if given, losses, the lines."""
    figure = Figure(figsize=(13, 9), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(1.1, 1))
    above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    context = np.arange(data.map_context[0], data.map_context[-1] + 1, 2)  # finer than the map of the quick scale
    lines = _lines(tuple(context.tolist()))
    heights = np.linspace(data.map_prompts.values[0], data.map_prompts.values[-1], context.size)
    draw_maps(above, data, (context, heights, _map_theory(context, heights)), lines, _DIMENSION)
    reference = of_shape(published, _CONTRAST, (50, 50))
    panels = below.subplots(1, 2 if reference is None else 3)
    if reference is not None:
        axes = np.linspace(2, 100, 50), np.linspace(20, 1000, 50)
        below.colorbar(panels[0].pcolormesh(*axes, reference.T, cmap="viridis", vmin=0, vmax=1), ax=panels[0])
        panels[0].set_title("published contrast ratio", fontsize="medium")
        panels[0].set(xlabel="context length $N$", ylabel="prompts $P$")
    _draw_losses(panels[-2], data, published)
    limits = panels[-1]
    for row, ridge0 in enumerate(_RIDGES):
        limits.plot(context, lines[0][row], color=PALETTE[row], label=rf"$\lambda_0 = {ridge0:g}$, $D = {_DIMENSION}$")
        limits.plot(context, lines[1][row], "--", color=PALETTE[row], label=r"the same, $D \to \infty$")
    top = data.map_prompts.values[-1]
    limits.axhline(top, color="grey", linestyle=":", label="top of the maps")
    limits.set(xlabel="context length $N$", ylabel="published iteration diverges below $P$", yscale="log")
    limits.set_ylim(top=300 * top)  # room for the legend
    limits.set_title("predicted borders", fontsize="medium")
    limits.legend(fontsize="x-small", ncols=2, loc="upper center")
    limits.grid(alpha=0.3)
    return figure


def _draw_losses(panel: Any, data: xr.Dataset, published: Mapping[str, Array]) -> None:
    context = data.context.values
    fine = np.arange(context[0], context[-1] + 1)
    for ridge0, style in ((_RIDGE0, "-"), (_DECAY / 2, "--")):
        curve = _theory(ridge0, fine, np.full(fine.shape, _PROMPTS), "N+1").e_icl
        panel.plot(fine, curve, style, color="black", linewidth=1, label=rf"theory, $\lambda_0 = {ridge0:g}$")
    names = {"exact": "exact mean", "published": "published iteration", "adam": "Adam"}
    for k, solver in enumerate(_SOLVERS):
        # open, one within the other: they coincide
        look: dict[str, Any] = {"fmt": "os^"[k], "markersize": (12, 8, 4)[k], "fillstyle": "none"}
        panel.errorbar(context, *_mean_loss(data, solver), color=PALETTE[k], **look, label=names[solver])
        if (reference := _published_loss(published, solver)) is not None:
            panel.errorbar(*reference, fmt="x", color=PALETTE[k], label=f"{names[solver]}, published")
    panel.set(xlabel="context length $N$", ylabel="squared error on new tasks", xscale="log", yscale="log")
    for axis, ticks in ((panel.xaxis, context), (panel.yaxis, np.arange(2, 10) / 10)):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_ticks([], minor=True)
    panel.set_title(f"$P = {_PROMPTS}$", fontsize="medium")
    panel.grid(alpha=0.3)
    panel.legend(fontsize="x-small")


def _published_loss(published: Mapping[str, Array], solver: str) -> tuple[Array, Array, Array] | None:
    """N, means and standard errors."""
    if solver not in _LOSSES or (listed := published.get(_TOKENS)) is None:
        return None
    tokens = of_shape(published, _TOKENS, (listed.size,))
    mean, std = (
        of_shape(published, f"fig-4/data/{_LOSSES[solver]}_loss_{kind}.npy", (listed.size,)) for kind in ("mean", "std")
    )
    return None if tokens is None or mean is None or std is None else (tokens, mean, std / np.sqrt(_PAPER_REPEATS))


def _against_published(data: xr.Dataset, published: Mapping[str, Array]) -> list[Row]:
    """Our losses against the published ones where both have the same N."""
    rows = []
    for solver in _LOSSES:
        if (reference := _published_loss(published, solver)) is None:
            continue
        mean, error = _mean_loss(data, solver)
        for tokens, theirs, spread in zip(*reference, strict=True):
            for k in np.flatnonzero(data.context.values == tokens):
                what = f"loss, {solver}, N={tokens:g}: published"
                rows.append(compared(what, mean[k], theirs, np.hypot(error[k], spread)))
    return rows


def _all_losses(data: xr.Dataset, solver: str) -> Array:
    """(N, repeat), for the repeats that there are: those beyond Adam's are NaN."""
    values = data.loss.transpose("solver", "context", "repeat").values[_SOLVERS.index(solver)]
    found: Array = values[:, np.all(np.isfinite(values), axis=0)]
    return found


def _mean_loss(data: xr.Dataset, solver: str) -> tuple[Array, Array]:
    return mean_and_error(_all_losses(data, solver))


def _loss_theory(data: xr.Dataset, ridge0: float) -> Array:
    tokens = data.context.values
    found: Array = _theory(ridge0, tokens, np.full(tokens.shape, _PROMPTS), "N+1").e_icl
    return found


def _judged_losses(data: xr.Dataset) -> tuple[list[Row], list[Row], Pooled, Pooled, float]:
    """Exact losses and Adam's against theory: N by N, pooled, and the |z| allowed N by N.

    Adam's weight decay d on (y - f)^2 is lambda0 = d/2. Where it has fewer repeats (quick scale), its relative spread
    is taken to be that of the exact mean, which has the same data sets (equal within 10 % at N <= 20 in 50 repeats,
    and smaller beyond), and its training, shorter there, may leave it above the theory by `_UNFINISHED`.
    """
    exact = _all_losses(data, "exact") / _loss_theory(data, _RIDGE0)[:, None]
    rate = _FALSE_ALARM / _FAMILIES
    rows: list[list[Row]] = []
    together = []
    for solver, ridge0 in (("exact", _RIDGE0), ("adam", _DECAY / 2)):
        theory = _loss_theory(data, ridge0)
        ratios = _all_losses(data, solver) / theory[:, None]
        short = ratios.shape[1] < exact.shape[1]
        like = exact if short else ratios
        mean, error = theory * ratios.mean(axis=1), theory * like.std(axis=1, ddof=1) / math.sqrt(ratios.shape[1])
        names = [f"loss, {solver}, N={tokens}" for tokens in data.context.values]
        rows.append([compared(*one) for one in zip(names, mean, theory, error, strict=True)])
        what = f"loss over theory at lambda0 = {ridge0:g}, {solver}, all N"
        above = _UNFINISHED if short else 0.0
        together.append(pooled(what, ratios, false_alarm=rate, comparisons=1, like=like, above=above))
    limit = bonferroni_threshold(rate, data.sizes["context"], exact.shape[1] - 1)
    return rows[0], rows[1], together[0], together[1], limit


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Maps, exact losses and Adam's against finite-size theory, point by point and pooled; the line against the fate of
    the iteration, point by point."""
    values = contrasts(data, _DIMENSION)
    ratio, error = mean_and_error(values)
    context, prompts = data.map_context.values, data.map_prompts.values
    theory = _map_theory(context, prompts)
    z = (ratio - theory) / error
    covered = (context >= _LEAST_CONTEXT)[:, None] & (prompts >= _LEAST_PROMPTS)
    inside, outside = z[:, covered], z[:, ~covered]
    dof = data.sizes["map_repeat"] - 1
    rate = _FALSE_ALARM / _FAMILIES
    threshold = bonferroni_threshold(rate, inside.size, dof)
    # the ridges share their data sets
    whole = pooled(
        f"contrast ratio over theory, N >= {_LEAST_CONTEXT}, P >= {_LEAST_PROMPTS}",
        np.mean(values / theory[..., None], axis=0)[covered],
        false_alarm=rate,
        comparisons=1,
    )
    rows: list[Row] = [whole.row]
    for row, ridge0 in enumerate(_RIDGES):
        place = np.unravel_index(np.argmax(np.abs(z[row]) * covered), z[row].shape)
        what = f"contrast, lambda0={ridge0:g}, N={context[place[0]]}, P={prompts[place[1]]} (largest |z| of the map)"
        rows.append(compared(what, ratio[row][place], theory[row][place], error[row][place]))
    exact, adam, exact_pooled, adam_pooled, limit = _judged_losses(data)
    rows += [exact_pooled.row, adam_pooled.row]
    shown = np.stack(np.broadcast_arrays(ratio, theory, error), axis=-1)[:, covered].reshape(-1, 3)
    points = one_by_one([compared("contrast", *point) for point in shown], threshold, dof)
    exact_losses, adam_losses = (one_by_one(losses, limit, data.sizes["repeat"] - 1) for losses in (exact, adam))
    judged = (
        *(one.judged() for one in (whole, exact_pooled, adam_pooled)),
        points.judged("contrast ratio, point by point", carries=False),
        exact_losses.judged("exact loss, N by N", carries=False),
        adam_losses.judged("Adam's loss, N by N", carries=False),
    )

    fate = data.converges.transpose("ridge0", "map_context", "map_prompts").values.astype(bool)
    finite, infinite = _lines(tuple(context.tolist()))
    wrong, wrong_limit = (fate != (prompts >= line[:, :, None]) for line in (finite, infinite))
    bias = _mean_loss(data, "published")[0] / _mean_loss(data, "exact")[0] - 1
    sentence = (
        f"contrast ratio over finite-size theory, N >= {_LEAST_CONTEXT}, P >= {_LEAST_PROMPTS} and all ridges together"
        f": {whole}; point by point {points} at {inside.size} points, rms z "
        f"{rms(inside):.2f} (of a t with {dof} degrees of freedom: {np.sqrt(dof / (dof - 2)):.2f} "
        f"expected); loss over theory, all N together: exact mean {exact_pooled}, Adam at lambda0 = {_DECAY / 2:g} "
        f"{adam_pooled}; N by N {exact_losses} and {adam_losses}; whether the "
        f"published iteration converges is predicted at "
        f"{int(np.sum(~wrong))} of {fate.size} points by the line at D = {_DIMENSION} ({int(np.sum(~wrong_limit))} by "
        "that at D -> infinity)"
    )
    remarks = [
        f"the published iteration's loss is {bias.min():+.1%} to {bias.max():+.1%} off that of the exact mean",
    ]
    if data.loss.isnull().sel(solver="adam").any():
        remarks.append(
            f"Adam's loss has fewer repeats and steps here: its spread is taken from the exact mean's, and up to "
            f"{_UNFINISHED:.1%} above theory, pooled, is allowed for training that has not ended"
        )
    if outside.size:
        deviation = np.abs(ratio - theory)[:, ~covered]
        remarks.append(
            f"outside the judged part of the map, at N < {_LEAST_CONTEXT} or P < {_LEAST_PROMPTS}: rms z "
            f"{rms(outside):.1f}, contrast off theory by up to {deviation.max():.3f}"
        )
    if np.any(wrong):
        counts = ", ".join(f"{int(np.sum(wrong[row]))} at lambda0 = {ridge0:g}" for row, ridge0 in enumerate(_RIDGES))
        distance = (prompts / finite[:, :, None])[wrong]
        remarks.append(
            f"points missed by the line at D = {_DIMENSION}, which leaves out how spins of one data set differ: "
            f"{counts}, at {distance.min():.2f} to {distance.max():.2f} times its P"
        )
    reference = of_shape(published, _CONTRAST, (50, 50))
    if reference is not None:
        at = _map_theory(np.linspace(2, 100, 50), np.linspace(20, 1000, 50))[0]
        remarks.append(f"published {_CONTRAST} {read_as(reference, at)}")
    return Verdict(sentence, (*rows, *exact, *adam, *_against_published(data, published)), judged, tuple(remarks))


FIGURE = PaperFigure(
    name="fig-4",
    title="contrast ratio over P and N, and loss against N",
    parameters=parameters,
    simulate=simulate,
    draw=draw,
    judge=judge,
    published=(
        _CONTRAST,
        _TOKENS,
        *(f"fig-4/data/{name}_loss_{kind}.npy" for name in _LOSSES.values() for kind in ("mean", "std")),
    ),
)
