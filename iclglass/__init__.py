"""Replica and cavity theory of in-context learning in linear attention: derive, solve, map, check.

    derive          the chain from Hamiltonian to saddle-point equations (SymPy)
    solve           the saddle point and all observables over arrays of parameters
    solve_digits    one point at any number of digits
    solve_given_pool  finite dimension, one given pool of tasks
    sweep           the product of axes as an xarray.Dataset
    best_ridge      the ridge with the least error on a new task
    learning_curve, best_stopping_time: gradient flow from random weights
    phase_diagram   a sweep of two axes with lines located on it
    plot_sweep, plot_phase_diagram
    save, load      datasets to and from netCDF
    validate        theory against finite-size Monte Carlo

The same as one command: ``iclglass --help``. The science lives in `replica` (symbols), `numerics` (solvers) and
`validation` (simulation); this package only gives it names. Names are imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numerics.best_ridge import best_ridge
    from numerics.errors import ConvergenceError, OutputError, ParameterError, ParameterTypeError
    from numerics.finite_size import solve_given_pool
    from numerics.fixed_point import Status
    from numerics.learning_curve import LearningCurve, learning_curve
    from numerics.lines import Line
    from numerics.phase_diagram import PhaseDiagram, phase_diagram
    from numerics.plotting import plot_phase_diagram, plot_sweep
    from numerics.precision import PreciseSolution, solve_digits
    from numerics.saddle_point import Solution, solve
    from numerics.stopping_time import StoppingTime, best_stopping_time
    from numerics.storage import load, save
    from numerics.sweep import sweep
    from numerics.task_spectrum import TaskSpectrum
    from replica.derivation import Derivation, derive
    from validation.crosscheck import Agreement, validate

__version__ = "0.1.0"

__all__ = [
    "Agreement",
    "ConvergenceError",
    "Derivation",
    "LearningCurve",
    "Line",
    "OutputError",
    "ParameterError",
    "ParameterTypeError",
    "PhaseDiagram",
    "PreciseSolution",
    "Solution",
    "Status",
    "StoppingTime",
    "TaskSpectrum",
    "best_ridge",
    "best_stopping_time",
    "derive",
    "learning_curve",
    "load",
    "phase_diagram",
    "plot_phase_diagram",
    "plot_sweep",
    "save",
    "solve",
    "solve_digits",
    "solve_given_pool",
    "sweep",
    "validate",
]

_HOME = {
    "Agreement": "validation.crosscheck",
    "ConvergenceError": "numerics.errors",
    "Derivation": "replica.derivation",
    "LearningCurve": "numerics.learning_curve",
    "Line": "numerics.lines",
    "OutputError": "numerics.errors",
    "ParameterError": "numerics.errors",
    "ParameterTypeError": "numerics.errors",
    "PhaseDiagram": "numerics.phase_diagram",
    "PreciseSolution": "numerics.precision",
    "Solution": "numerics.saddle_point",
    "Status": "numerics.fixed_point",
    "StoppingTime": "numerics.stopping_time",
    "TaskSpectrum": "numerics.task_spectrum",
    "best_ridge": "numerics.best_ridge",
    "best_stopping_time": "numerics.stopping_time",
    "derive": "replica.derivation",
    "learning_curve": "numerics.learning_curve",
    "load": "numerics.storage",
    "phase_diagram": "numerics.phase_diagram",
    "plot_phase_diagram": "numerics.plotting",
    "plot_sweep": "numerics.plotting",
    "save": "numerics.storage",
    "solve": "numerics.saddle_point",
    "solve_digits": "numerics.precision",
    "solve_given_pool": "numerics.finite_size",
    "sweep": "numerics.sweep",
    "validate": "validation.crosscheck",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'iclglass' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
