"""SG Fig. S8: error against context length of other attention architectures, trained on the same prompts.

Message passing (AMP, as SG publish it), linear attention with merged weights (SLA), with all its weights (FLA), with
several heads (MHLA), softmax attention (SA), a transformer block (TF); equations in `validation.paper.architectures`.
SG's training of these is not public: the settings are ours (`parameters`), the same for every architecture, on the same
data sets. The weight decay, 1e-3, is smaller than the 1e-2 of SG Fig. 4b, at which a transformer block of D = 20
was seen to unlearn everything.

Theory: SLA's training ends at the least of the energy with lambda0 = weight_decay/2, whose mean error at finite size is
`numerics.finite_size`, and which is also solved for exactly on each data set (`numerics.instance.ground_state`). There
is none for the others; but two errors cannot be beaten:

    any architecture    E (y - E[y | prompt])^2 = max(0, 1 - N/D)      (labels without noise: known where tokens reach)
    SLA, FLA, MHLA      the least error of merged weights W, with P -> infinity prompts: 1 - 1/a_N, a_N = 1 + (D+1)/N

the latter for FLA and MHLA by symmetry (`validation.paper.architectures`). Softmax attention with one head falls short
of it: its shares of the tokens sum to one, so that the mean of the labels, which says nothing, cannot be subtracted;
and one share goes to the query itself, whose label is masked. It ends in one of two solutions, by chance of the start:
W_k^T W_q near a positive or a negative multiple of the identity, the first with most weight on the query itself, the
second better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache, partial
from itertools import chain
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from iclglass.numerics.finite_size import solve_finite
from iclglass.numerics.instance.linear_response import ground_state
from iclglass.numerics.instance.spin_by_spin import published as published_iteration
from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.sizes import from_unscaled
from iclglass.validation.baselines.known_law import noiseless_error
from iclglass.validation.paper.architectures import (
    ARCHITECTURES,
    NORM,
    TokenPrompts,
    draw_tokens,
    import_torch,
    initial_weights,
    one_thread,
    squared_errors,
    trained,
)
from iclglass.validation.paper.drawing import dress, panelled
from iclglass.validation.paper.figure import Array, Judged, PaperFigure, Row, Verdict
from iclglass.validation.paper.judging import OneByOne, means, one_by_one, span, where_both
from iclglass.validation.paper.published import Published, all_of_shape
from iclglass.validation.paper.simulating import VARIABLES, Compute, batches, simulated
from iclglass.validation.population import PromptMoments, gaussian_moments, population_error
from iclglass.validation.statistics import mean_and_error

__all__ = ["FIGURE"]

_AMP_RIDGE0, _AMP_BETA = 0.01, 100.0
_FALSE_ALARM = 1e-3
_BOUND_ERRORS = 4.0
"""Standard errors by which a mean error may lie below one that cannot be beaten: by chance once in 3e4."""
_CURVES = ("AMP", *ARCHITECTURES)
_LINEAR = ("SLA", "FLA", "MHLA")
_PAPER_REPEATS = 50
"""Repeats of SG's other figures; taken for the published standard deviations here."""
_FOLDER = "fig-S8/data"
_NAMES = {
    "AMP": "message passing as SG do it (AMP)",
    "SLA": "linear, merged weights (SLA)",
    "FLA": "linear, all weights (FLA)",
    "MHLA": "linear, several heads (MHLA)",
    "SA": "softmax (SA)",
    "TF": "transformer block (TF)",
}
_PUBLISHED = {curve: [f"{_FOLDER}/{curve}_{kind}.npy" for kind in ("N", "mean", "std")] for curve in _CURVES}


def parameters(scale: str) -> dict[str, Any]:
    """Full: D, P and N of SG Fig. 4b, whose norm N+1 is kept. Training, ours: Adam on batches of prompts, with a rate
    that falls to 0 as a cosine. Quick: half the dimension, fewer steps. ``together``: data sets trained at once, a part
    of an interrupted run."""
    quick = scale == "quick"
    return {
        "dimension": 10 if quick else 20,
        "prompts": 10_000,
        "context": (5, 10, 20, 40) if quick else (5, 10, 20, 30, 40, 60, 80, 100),
        "norm": NORM,
        "heads": 3,
        "weight_decay": 1e-3,
        "learning_rate": 0.02,
        "batch": 64 if quick else 128,
        "steps": 1000 if quick else 8000,
        "fresh_prompts": 5_000 if quick else 20_000,
        "repeats": 4 if quick else 20,
        "together": 4 if quick else 1,
    }


def simulate(given: Mapping[str, Any], seed: int, compute: Compute) -> xr.Dataset:
    """Errors on fresh prompts of every architecture; exact errors of SLA, of the exact solution and of AMP."""
    import_torch()  # refuses before any work where there is no PyTorch
    axes = {"context": given["context"], "repeat": batches(given["repeats"], given["together"]), VARIABLES: _CURVES}
    found = simulated(compute, (axes, partial(_part, given, seed)))
    _draw.cache_clear()
    return found.assign_attrs({name: given[name] for name in ("dimension", "prompts", "weight_decay")})


@lru_cache(maxsize=2)  # once for all architectures, and not at all where an interrupted run has left their parts
def _draw(dimension: int, prompts: int, seed: int, use: int, context: int, group: range) -> TokenPrompts:
    """Prompts for the repeats of a group. use : 0 for those trained on, 1 for the fresh ones."""
    rngs = _rngs(seed, use, context, group)
    return draw_tokens(dimension=dimension, context=context, prompts=prompts, rngs=rngs)


def _rngs(seed: int, use: int, context: int, group: range) -> list[np.random.Generator]:
    return [np.random.default_rng((seed, use, context, repeat)) for repeat in group]


@one_thread()
def _part(given: Mapping[str, Any], seed: int, context: int, group: range, curve: str) -> xr.Dataset:
    """One architecture at one N, for the repeats of a group: variables (repeat,)."""
    pretraining, fresh = (
        _draw(given["dimension"], given[kind], seed, use, context, group)
        for use, kind in enumerate(("prompts", "fresh_prompts"))
    )
    moments = _moments(given["dimension"], context)
    if curve == "AMP":
        instances = [pretraining.instance(k) for k in range(len(group))]
        runs = [published_iteration(one, ridge0=_AMP_RIDGE0, beta=_AMP_BETA) for one in instances]
        return _errors(
            AMP=[population_error(run.mean[:, :-1], moments) for run in runs],
            exact=[population_error(ground_state(one, given["weight_decay"] / 2), moments) for one in instances],
        )
    rngs = _rngs(seed, 2 + ARCHITECTURES.index(curve), context, group)
    start = initial_weights(curve, dimension=given["dimension"], heads=given["heads"], rngs=rngs)
    settings = {name: given[name] for name in ("steps", "batch", "learning_rate", "weight_decay")}
    weights = trained(curve, pretraining, start=start, **settings, seed=seed)
    errors = squared_errors(curve, weights, fresh).mean(axis=1)
    if curve != "SLA":
        return _errors(**{curve: errors})
    merged = weights["merged"].astype(np.float64)
    return _errors(SLA=[population_error(one, moments) for one in merged], SLA_fresh=errors)


def _errors(**values: ArrayLike) -> xr.Dataset:
    return xr.Dataset({name: ("repeat", np.asarray(errors)) for name, errors in values.items()})


def _moments(dimension: int, context: int) -> PromptMoments:
    return gaussian_moments(np.ones(dimension), context=context, label_noise=0.0, norm=NORM)


def best_merged(dimension: int, context: Array) -> Array:
    """1 - 1/a_N = (D+1)/(N+D+1): the least error of merged weights, those of infinitely many prompts.

    >>> best_merged(10, np.array([11])).tolist()
    [0.5]
    """
    return (dimension + 1) / (np.asarray(context) + dimension + 1)


def _theory(dimension: int, prompts: int, context: Array, ridge0: float) -> Array:
    scaled = from_unscaled(dimension, prompts=prompts, context=np.asarray(context), ridge0=ridge0)
    found: Array = solve_finite(dimension=dimension, **scaled, norm=NORM).e_icl
    return found


def _at(data: xr.Dataset, context: Array) -> Array:
    return _theory(data.attrs["dimension"], data.attrs["prompts"], context, data.attrs["weight_decay"] / 2)


def _values(data: xr.Dataset, curve: str) -> Array:
    """Errors over (N, repeat), those of SLA exact."""
    return data[curve].transpose("context", "repeat").values


def _mean(data: xr.Dataset, curve: str) -> tuple[Array, Array]:
    """Mean over data sets and its standard error at every N; NaN where a run of the published iteration diverged."""
    return mean_and_error(_values(data, curve))


def _published(published: Mapping[str, Array], curve: str) -> tuple[Array, Array, Array] | None:
    """N, mean, standard error: one number each for every N."""
    names = _PUBLISHED[curve]
    if any(name not in published for name in names):
        return None
    if (arrays := all_of_shape(published, names, (published[names[0]].size,))) is None:
        return None
    context, mean, std = arrays
    if np.any(context < 1) or np.any(context != np.rint(context)) or np.any(std <= 0):
        if isinstance(published, Published):
            published.remarks[names[0]] = f"published {curve} is left out: N must be whole and >= 1, std > 0"
        return None
    return context, mean, std / math.sqrt(_PAPER_REPEATS)


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """Error on new tasks against N: all architectures, theory, and what cannot be beaten; below it what is judged."""
    figure, (panel, judged) = panelled(9.6, 7.8, 2, 1, sharex=True, height_ratios=(2, 1))
    size, context = data.attrs["dimension"], data.context.values
    fine = np.unique(np.rint(np.geomspace(context[0], context[-1], 60)).astype(int))
    label = rf"finite-size theory of SLA, $\lambda_0 = {data.attrs['weight_decay'] / 2:g}$"
    panel.plot(fine, _at(data, fine), color="black", linewidth=1, label=label)
    panel.plot(fine, best_merged(size, fine), "--", color="0.35", label=r"best merged weights, $P \to \infty$")
    panel.plot(fine, noiseless_error(size, fine), ":", color="0.35", label="posterior mean: nothing is below")
    tokens: Array = np.empty(0)
    for k, curve in enumerate(_CURVES):
        # open and filled, one within the other: those that agree coincide
        look: dict[str, Any] = {"fmt": "Dos^vP"[k], "markersize": (11, 4, 8, 8, 6, 6)[k], "label": _NAMES[curve]}
        look |= {"color": PALETTE[k], "capsize": 2, "linewidth": 0.8}
        look |= {"fillstyle": "none" if k in (0, 2, 3) else "full", "linestyle": "-" if k > 3 else "none"}
        panel.errorbar(context, *_mean(data, curve), **look)
        if (theirs := _published(published, curve)) is not None:
            panel.errorbar(*theirs, fmt="x", color=PALETTE[k], capsize=2, label=f"{curve}, published")
            tokens = np.union1d(tokens, theirs[0])
    full = parameters("full")
    if tokens.size and size != full["dimension"]:
        # of the published errors' own dimension: they are not to be held against ours
        line = _theory(full["dimension"], full["prompts"], tokens, full["weight_decay"] / 2)
        panel.plot(tokens, line, "-.", color="black", label=f"the same theory at $D = {full['dimension']}$")
    theory, exact, trained_ = _at(data, context)[:, None], _values(data, "exact"), _values(data, "SLA")
    for values, fmt, fill, width, colour, label in (
        (_values(data, "SLA_fresh") - trained_, "_", "full", 9, PALETTE[3], "SLA, fresh prompts less exact error"),
        (exact - theory, "s", "none", 9, PALETTE[5], "exact solution less theory"),
        (trained_ - theory, "o", "full", 4, PALETTE[1], "SLA less theory"),
    ):
        look = {"fmt": fmt, "fillstyle": fill, "markersize": width, "color": colour, "capsize": 2, "label": label}
        judged.errorbar(context, *mean_and_error(100 * values / theory), **look)
    judged.axhline(0, color="black", linewidth=1)
    dress(panel, f"$D = {size}$, $P = {data.attrs['prompts']}$", ylabel="squared error on new tasks", ylim=(0, None))
    title = f"judged: each within {_judged(data)[3].limits[1]:.1f} error bars of 0"
    dress(judged, title, xlabel="context length $N$", ylabel="% of theory's error", xscale="log")
    judged.set_xticks(context, [str(n) for n in context])
    judged.set_xticks([], minor=True)
    for one in (panel, judged):
        one.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _judged(data: xr.Dataset) -> tuple[list[Row], list[OneByOne], list[Row], OneByOne]:
    """SLA and the exact solution over theory, all N together; N by N, SLA's fresh prompts against its exact error, too:
    two comparisons and three at each N. Rows, and what is found of them."""
    context, count, repeats = data.context.values, data.context.size, data.sizes["repeat"]
    family: dict[str, Any] = {"false_alarm": _FALSE_ALARM, "comparisons": 3 * count + 2}
    theory = _at(data, context)
    whole: list[Row] = []
    rows: list[Row] = []
    for curve, words in (("SLA", "SLA"), ("exact", "exact solution")):
        values = _values(data, curve)
        whole += means([f"{words} over theory, all N"], (values / theory[:, None]).ravel(), 1.0)
        rows += means([f"{words}, N={n}" for n in context], values, theory)
    names = [f"SLA, fresh prompts less exact, N={n}" for n in context]
    rows += means(names, _values(data, "SLA_fresh") - _values(data, "SLA"), 0.0)
    together = [one_by_one([row], count * repeats - 1, **family) for row in whole]
    return whole, together, rows, one_by_one(rows, repeats - 1, scales=np.tile(theory, 3), **family)


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """SLA and the exact solution against theory, N by N and all together; fresh prompts against the exact error; all
    architectures against what cannot be beaten."""
    context, repeats = data.context.values, data.sizes["repeat"]
    theory = _at(data, context)
    whole, together, rows, single = _judged(data)
    beaten = _beaten(data)
    ratios = {curve: _mean(data, curve)[0] / theory for curve in _CURVES}
    judged = (
        *(one.judged(row[0]) for row, one in zip(whole, together, strict=True)),
        single.judged("N by N", carries=False),
        Judged("errors below what cannot be beaten", bool(beaten), 0.0),
    )
    _, ratio, _, error, z = whole[0]
    sentence = (
        f"trained linear attention over its finite-size theory, all N: {ratio:.4f} +- {error:.4f}, "
        f"z = {z:+.1f} of {together[0].limits[1]:.1f} allowed (a bias of {together[0].unseen[1]:.1%} would be seen); "
        f"N by N |z| <= {single.largest:.1f} of {single.limits[1]:.1f} allowed in {len(rows)} comparisons (SLA and the "
        f"exact solution with theory, SLA on fresh prompts with its exact error); error over that theory's at N = "
        f"{context[-1]}: " + ", ".join(f"{curve} {ratios[curve][-1]:.2f}" for curve in _CURVES[2:])
    )
    excess, spread = mean_and_error((_values(data, "SLA") / _values(data, "exact") - 1).ravel())
    remarks = [
        "SG's training of these architectures is not public: the settings are ours, the same for all",
        f"{repeats - 1} degrees of freedom N by N; false alarms of all comparisons together: {_FALSE_ALARM:g}",
        f"SLA ends {float(excess):+.3%} +- {float(spread):.3%} above the exact solution of the same data",
        f"error over the linear theory's at N = {', '.join(map(str, context))}: "
        + "; ".join(f"{curve} {', '.join(f'{ratio:.2f}' for ratio in ratios[curve])}" for curve in _CURVES),
        "FLA and MHLA contain SLA and cannot do better on new tasks: where they lie above it, training has not found "
        "it, or the decay of three factors costs more than that of their product",
    ]
    remarks += beaten or [f"no error is below what cannot be beaten by more than {_BOUND_ERRORS:g} standard errors"]
    more, said = _against_published(data, published)
    return Verdict(sentence, (*whole, *rows, *more), judged, (*remarks, *said))


def _beaten(data: xr.Dataset) -> list[str]:
    """A sentence for every mean error below one that cannot be beaten: something is wrong with it."""
    context, size = data.context.values, data.attrs["dimension"]
    said = []
    for curve in _CURVES:
        bound = best_merged(size, context) if curve in ("AMP", *_LINEAR) else noiseless_error(size, context)
        mean, error = _mean(data, curve)
        for k in np.flatnonzero(mean < bound - _BOUND_ERRORS * error):
            said.append(
                f"{curve} at N = {context[k]} has error {mean[k]:.4g} +- {error[k]:.2g}, below the {bound[k]:.4g} that "
                "cannot be beaten"
            )
    return said


def _against_published(data: xr.Dataset, published: Mapping[str, Array]) -> tuple[list[Row], list[str]]:
    """The published errors against theory (AMP, SLA), and against ours where D and P are the paper's."""
    rows: list[Row] = []
    remarks: list[str] = []
    full = parameters("full")
    size, prompts = full["dimension"], full["prompts"]
    given = {curve: one for curve in _CURVES if (one := _published(published, curve)) is not None}
    for curve, ridge0 in (("AMP", _AMP_RIDGE0), ("SLA", _AMP_RIDGE0 / 2)):
        if curve not in given:
            continue
        there, mean, error = given[curve]
        theory = _theory(size, prompts, there, ridge0)
        remarks.append(
            f"published {curve}, {there.size} values of N, against the theory of D = {size}, P = {prompts}, lambda0 = "
            f"{ridge0:g} (SG Fig. 4b; not known to hold here): deviations {span((mean - theory) / error)} (of "
            f"{_PAPER_REPEATS} repeats), ratios {np.min(mean / theory):.3f} to {np.max(mean / theory):.3f}"
        )
    if given and (data.attrs["dimension"], data.attrs["prompts"]) != (size, prompts):
        remarks.append(f"published errors are not compared with ours of D = {data.attrs['dimension']}")
        return rows, remarks
    for curve, theirs in given.items():
        found = where_both(curve, data.context.values, _values(data, curve), theirs)
        rows += found
        said = f"{len(found)} values, {span([row[4] for row in found])} off" if found else "no N in common"
        remarks.append(f"ours against the published {curve}: {said}")
    return rows, remarks


_TITLE = "other attention architectures on the same task"
FIGURE = PaperFigure("fig-S8", _TITLE, parameters, simulate, draw, judge, tuple(chain(*_PUBLISHED.values())))
