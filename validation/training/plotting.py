"""Picture of one training run: the energy and the error on new prompts, step by step, beside theory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.plotting import PALETTE
from iclglass.validation.training.run import TrainingRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_training"]

FloatArray = NDArray[np.float64]


def draw_training(
    run: TrainingRun,
    *,
    ground_energy: float | None = None,
    final_error: float | None = None,
    flow_steps: FloatArray | None = None,
    flow: Mapping[str, FloatArray] | None = None,
) -> Figure:
    """Energy on the left, test error on the right where there is one, against the step.

    ground_energy, final_error: lines at the least energy there is, and at what theory says of the test error there.
    flow_steps, flow: the theory of gradient flow, values "energy" and "e_icl" at steps > 0.

    Raises ParameterError for a run that diverged before its first recorded step: there is nothing to draw.
    """
    from matplotlib.figure import Figure

    later = run.steps > 0  # step 0 has no place on a logarithmic axis
    if not later.any():
        raise ParameterError(f"the run has no steps to draw: {run.reason}")
    tested = not np.isnan(run.test_error).all()
    figure = Figure(figsize=(10.0 if tested else 5.4, 4.2), layout="constrained")
    axes = figure.subplots(1, 2 if tested else 1, squeeze=False)[0]
    panels = [(axes[0], run.energy, "energy", "energy $H$ on the prompts trained on")]
    if tested:
        panels.append((axes[1], run.test_error, "e_icl", "squared error on new prompts"))
    for panel, values, name, label in panels:
        panel.plot(run.steps[later], values[later], "o-", color=PALETTE[0], markersize=3.5, label="this run")
        if flow is not None and flow_steps is not None:
            theory = r"gradient flow, $D \to \infty$"
            panel.plot(flow_steps, flow[name], color=PALETTE[1], linestyle="--", label=theory)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel("step")
        panel.set_ylabel(label)
        panel.grid(alpha=0.25)
    ends = [(ground_energy, "ground state"), (final_error, "ground state, finite-size theory")]
    for panel, (value, label) in zip(axes, ends, strict=False):
        if value is not None and value > 0:
            panel.axhline(value, color="0.35", linestyle=(0, (5, 3)), linewidth=1.0, label=label)
    for panel in axes:
        panel.legend(fontsize="small")
    return figure
