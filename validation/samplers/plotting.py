"""Pictures of samples of one data set, and of the overlap distribution as task diversity grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.sizes import from_unscaled
from iclglass.validation.samplers.law import GaussianLaw
from iclglass.validation.samplers.overlap import ReplicaSamples, replica_overlaps
from iclglass.validation.samplers.sampling import Samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_overlaps", "draw_samples"]

_MOST_POINTS = 2000
"""Points of a trace that are drawn; more cannot be seen."""


def draw_samples(samples: Samples, law: GaussianLaw) -> Figure:
    """Energy of every chain, its histogram with the exact law, and overlaps of pairs of chains if weights were kept.

    `law` is that of the Boltzmann measure, where H - E0 has a gamma law of shape n/2 and scale 1/beta.
    """
    from matplotlib.figure import Figure
    from scipy import stats

    overlaps = replica_overlaps(samples)
    figure = Figure(figsize=(13 if overlaps.size else 9, 4), layout="constrained")
    panels = figure.subplots(1, 3 if overlaps.size else 2)
    stride = max(1, samples.draws // _MOST_POINTS)
    for chain, energies in enumerate(samples.energies):
        colour = PALETTE[chain % len(PALETTE)]
        panels[0].plot(np.arange(0, samples.draws, stride), energies[::stride], color=colour, linewidth=0.6, alpha=0.8)
    panels[0].axhline(law.energy, color="black", linewidth=1.5, label="exact mean")
    panels[0].set_xlabel("draw")
    panels[0].set_ylabel("energy $H$")
    panels[0].set_title(f"{samples.method}, {samples.chains} chains", fontsize="medium")
    panels[0].legend()
    panels[1].hist(samples.energies.ravel(), bins="auto", density=True, color=PALETTE[5], label="draws")
    if law.degrees is not None:
        exact = stats.gamma(law.degrees / 2, loc=law.ground_energy, scale=1 / law.beta)
        grid = np.linspace(float(exact.ppf(1e-5)), float(exact.ppf(1 - 1e-5)), 300)
        panels[1].plot(grid, exact.pdf(grid), color="black", label="exact law")
    panels[1].set_xlabel("energy $H$")
    panels[1].set_ylabel("density")
    panels[1].legend()
    if overlaps.size:
        panels[2].hist(overlaps.ravel(), bins="auto", density=True, color=PALETTE[0], alpha=0.7, label="two replicas")
        selves = samples.observables["q_self"].ravel()
        panels[2].hist(selves, bins="auto", density=True, color=PALETTE[1], alpha=0.7, label="one with itself")
        panels[2].set_xlabel("overlap $q$")
        panels[2].set_ylabel("density $P(q)$, this data set")
        panels[2].legend()
    return figure


def draw_overlaps(points: Sequence[ReplicaSamples]) -> Figure:
    """P(q) of two replicas, and of a replica with itself, a panel for each point; lines are the finite-size theory."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.3 * len(points), 3.8), layout="constrained")
    panels = figure.subplots(1, len(points), squeeze=False)[0]
    for panel, found in zip(panels, points, strict=True):
        tau = from_unscaled(found.dimension, prompts=found.prompts)["task_diversity"]
        kinds = (("q", "two replicas", found.overlap, 0), ("q_self", "one with itself", found.self_overlap, 1))
        for name, label, values, colour in kinds:
            shade = PALETTE[colour]
            panel.hist(values.ravel(), bins=60, density=True, color=shade, alpha=0.55, label=label)
            symbol = "$q$" if name == "q" else r"$q_{\mathrm{self}}$"
            panel.axvline(found.theory[name], color=shade, linestyle="--", linewidth=1.8, label=f"{symbol}, theory")
        panel.set_xlabel("overlap")
        title = rf"$\tau = {tau:.3g}$, $D = {found.dimension}$, {found.overlap.shape[0]} data sets"
        panel.set_title(title, fontsize="medium")
    panels[0].set_ylabel("density $P(q)$")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    return figure
