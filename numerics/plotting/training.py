"""One training run: the energy and the error on new prompts, step by step, beside theory."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.plotting.data import as_dataset
from iclglass.numerics.plotting.style import PALETTE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_training"]


def draw_training(
    run: Any,
    *,
    ground_energy: float | None = None,
    final_error: float | None = None,
    flow_steps: Any = None,
    flow: Mapping[str, Any] | None = None,
) -> "Figure":
    """Energy on the left, test error on the right where there is one, against the step.

    Parameters
    ----------
    run
        A `TrainingRun` of `train`, or its dataset.
    ground_energy, final_error
        Lines at the least energy there is, and at what theory says of the test error there.
    flow_steps, flow
        The theory of gradient flow, values "energy" and "e_icl" at steps > 0.

    Raises
    ------
    ParameterError
        The run diverged before its first recorded step: there is nothing to draw.
    ParameterTypeError
        Something else.
    """
    data = as_dataset("run", run, "energy", "test_error", source="train")
    data = data.isel(step=data.step.values > 0)  # step 0 has no place on a logarithmic axis
    if not data.step.size:
        raise ParameterError(f"the run has no steps to draw: {data.attrs.get('reason', '')}")
    labels = {"energy": "$H$: energy on the prompts trained on", "test_error": "squared error on new prompts"}
    theories = {"energy": "energy", "test_error": "e_icl"}
    ends = {
        "energy": (ground_energy, "ground state"),
        "test_error": (final_error, "ground state, finite-size theory"),
    }
    names = [name for name in labels if name == "energy" or not np.isnan(data[name]).all()]
    figure, panels = new_figure((10.0 if len(names) == 2 else 5.4, 4.2), columns=len(names))
    for panel, name in zip(panels, names, strict=True):
        panel.plot(data.step.values, data[name].values, "o-", color=PALETTE[0], markersize=3.5, label="this run")
        if flow is not None and flow_steps is not None:
            theory = r"gradient flow, $D \to \infty$"
            panel.plot(flow_steps, flow[theories[name]], color=PALETTE[1], linestyle="--", label=theory)
        value, label = ends[name]
        if value is not None and value > 0:
            panel.axhline(value, color="0.35", linestyle=(0, (5, 3)), linewidth=1.0, label=label)
        panel.set(xscale="log", yscale="log", xlabel="step", ylabel=labels[name])
        panel.legend(fontsize="small")
    return figure
