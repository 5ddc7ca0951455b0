"""Every picture but the paper's figures. Pictures read datasets, or what has ``to_dataset``, and compute no physics.

style            colours, labels, titles, figures and legends: one look for all
data             the dataset behind what is given, and why it has no number
files            the one function that saves a picture
axes             scales, ticks, and the edges of cells
maps             one quantity over two axes
sweeps           sweeps of theory and simulation, phase diagrams, families of curves
learning_curve   gradient flow in time
state_evolution  message passing, predicted and run
instance         the solution of one data set
samples          draws of its measure, and overlaps of replicas
training         a training run
agreement        a cross-check
"""

from iclglass.numerics.plotting.agreement import draw_extrapolation
from iclglass.numerics.plotting.data import check_observable
from iclglass.numerics.plotting.files import check_picture, save_figure
from iclglass.numerics.plotting.instance import draw_solution
from iclglass.numerics.plotting.learning_curve import draw_learning_curve
from iclglass.numerics.plotting.samples import draw_overlaps, draw_samples
from iclglass.numerics.plotting.state_evolution import draw_state_evolution
from iclglass.numerics.plotting.style import PALETTE
from iclglass.numerics.plotting.sweeps import (
    draw_family,
    draw_phase_diagram,
    draw_sweep,
    plot_phase_diagram,
    plot_sweep,
)
from iclglass.numerics.plotting.training import draw_training

__all__ = [
    "PALETTE",
    "check_observable",
    "check_picture",
    "draw_extrapolation",
    "draw_family",
    "draw_learning_curve",
    "draw_overlaps",
    "draw_phase_diagram",
    "draw_samples",
    "draw_solution",
    "draw_state_evolution",
    "draw_sweep",
    "draw_training",
    "plot_phase_diagram",
    "plot_sweep",
    "save_figure",
]
