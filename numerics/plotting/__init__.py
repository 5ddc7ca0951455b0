"""Every picture but the paper's figures. Pictures read datasets, or what has ``to_dataset``, and compute no physics.

style      colours, labels, titles, figures and legends: one look for all, and the one function that saves a picture
data       the dataset behind what is given, and why it has no number
axes       scales, ticks, cells of a map
sweeps     sweeps of theory and simulation, phase diagrams, families of curves
dynamics   gradient flow, message passing and training runs, step by step
data_set   the solution of one data set, draws of its measure, overlaps of replicas
extrapolations cross-checks, one and many
measured   measurements of others against the theory
"""

from iclglass.numerics.plotting.data import check_observable as check_observable
from iclglass.numerics.plotting.data_set import draw_overlaps as draw_overlaps
from iclglass.numerics.plotting.data_set import draw_samples as draw_samples
from iclglass.numerics.plotting.data_set import draw_solution as draw_solution
from iclglass.numerics.plotting.dynamics import draw_learning_curve as draw_learning_curve
from iclglass.numerics.plotting.dynamics import draw_state_evolution as draw_state_evolution
from iclglass.numerics.plotting.dynamics import draw_training as draw_training
from iclglass.numerics.plotting.extrapolations import draw_deviations as draw_deviations
from iclglass.numerics.plotting.extrapolations import draw_extrapolation as draw_extrapolation
from iclglass.numerics.plotting.extrapolations import draw_extrapolations as draw_extrapolations
from iclglass.numerics.plotting.measured import draw_comparison as draw_comparison
from iclglass.numerics.plotting.style import PALETTE as PALETTE
from iclglass.numerics.plotting.style import check_picture as check_picture
from iclglass.numerics.plotting.style import save_figure as save_figure
from iclglass.numerics.plotting.sweeps import draw_family as draw_family
from iclglass.numerics.plotting.sweeps import draw_phase_diagram as draw_phase_diagram
from iclglass.numerics.plotting.sweeps import draw_sweep as draw_sweep
from iclglass.numerics.plotting.sweeps import plot_phase_diagram as plot_phase_diagram
from iclglass.numerics.plotting.sweeps import plot_sweep as plot_sweep

__all__ = ["plot_phase_diagram", "plot_sweep"]  # what users have; the other names are the program's
