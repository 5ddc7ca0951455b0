"""Replica and cavity theory of in-context learning in linear attention: derive, solve, map, check.

    derive          the chain from Hamiltonian to saddle-point equations (SymPy)
    solve           the saddle point and all observables over arrays of parameters
    solve_digits    one point at any number of digits
    solve_given_pool  finite dimension, one given pool of tasks
    sweep           the product of axes as an xarray.Dataset
    sweep_simulated, sweep_status: simulated at every point, on any engine, resumable
    best_ridge      the ridge with the least error on a new task
    learning_curve, best_stopping_time: gradient flow from random weights
    phase_diagram   a sweep of two axes with lines located on it
    plot_sweep, plot_phase_diagram
    save, load      datasets to and from netCDF
    validate        theory against finite-size Monte Carlo
    Instance, draw_prompts, load_instance, save_instance: one data set, a user's own or drawn
    solve_instance  means and variances of its Boltzmann measure
    solve_distributed, PromptBlocks, measure_blocks: the same for prompts that no machine holds
    predict, overlaps, contrast: what that says about new prompts and replicas
    state_evolution  what message passing will do, step by step
    sample, diagnose  draws from the Boltzmann measure, and whether they can be trusted
    train           the linear attention layer trained by gradient descent

The same as one command: ``iclglass --help``. The science lives in `replica` (symbols), `numerics` (solvers) and
`validation` (simulation); this package only gives it names. Names are imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numerics.best_ridge import best_ridge
    from numerics.errors import ConvergenceError, OutputError, ParameterError, ParameterTypeError, WorkerError
    from numerics.finite_size import solve_given_pool
    from numerics.fixed_point import Status
    from numerics.instance.blocks import InstanceBlocks
    from numerics.instance.data import Instance
    from numerics.instance.distributed import solve_distributed
    from numerics.instance.predictions import Overlaps, Prediction, contrast, overlaps, predict
    from numerics.instance.solution import InstanceSolution
    from numerics.instance.solve import solve_instance
    from numerics.instance.storage import load_instance, load_solution, save_instance, save_solution
    from numerics.learning_curve import LearningCurve, learning_curve
    from numerics.lines import Line
    from numerics.phase_diagram import PhaseDiagram, phase_diagram
    from numerics.plotting import plot_phase_diagram, plot_sweep
    from numerics.precision import PreciseSolution, solve_digits
    from numerics.saddle_point import Solution, solve
    from numerics.state_evolution import StateEvolution, state_evolution
    from numerics.stopping_time import StoppingTime, best_stopping_time
    from numerics.storage import load, save
    from numerics.sweep import sweep
    from numerics.task_spectrum import TaskSpectrum
    from replica.derivation import Derivation, derive
    from validation.crosscheck import Agreement, validate
    from validation.prompt_blocks import PromptBlocks, measure_blocks
    from validation.prompts import draw_prompts
    from validation.samplers.diagnostics import diagnose
    from validation.samplers.sampling import Samples, sample
    from validation.sweeping.sweep import sweep_simulated, sweep_status
    from validation.training.loop import train
    from validation.training.run import TrainingRun

__version__ = "0.1.0"

__all__ = [
    "Agreement",
    "ConvergenceError",
    "Derivation",
    "Instance",
    "InstanceBlocks",
    "InstanceSolution",
    "LearningCurve",
    "Line",
    "OutputError",
    "Overlaps",
    "ParameterError",
    "ParameterTypeError",
    "PhaseDiagram",
    "PreciseSolution",
    "Prediction",
    "PromptBlocks",
    "Samples",
    "Solution",
    "StateEvolution",
    "Status",
    "StoppingTime",
    "TaskSpectrum",
    "TrainingRun",
    "WorkerError",
    "best_ridge",
    "best_stopping_time",
    "contrast",
    "derive",
    "diagnose",
    "draw_prompts",
    "learning_curve",
    "load",
    "load_instance",
    "load_solution",
    "measure_blocks",
    "overlaps",
    "phase_diagram",
    "plot_phase_diagram",
    "plot_sweep",
    "predict",
    "sample",
    "save",
    "save_instance",
    "save_solution",
    "solve",
    "solve_digits",
    "solve_distributed",
    "solve_given_pool",
    "solve_instance",
    "state_evolution",
    "sweep",
    "sweep_simulated",
    "sweep_status",
    "train",
    "validate",
]

_HOME = {
    "Agreement": "validation.crosscheck",
    "ConvergenceError": "numerics.errors",
    "Derivation": "replica.derivation",
    "Instance": "numerics.instance.data",
    "InstanceBlocks": "numerics.instance.blocks",
    "InstanceSolution": "numerics.instance.solution",
    "LearningCurve": "numerics.learning_curve",
    "Line": "numerics.lines",
    "OutputError": "numerics.errors",
    "Overlaps": "numerics.instance.predictions",
    "ParameterError": "numerics.errors",
    "ParameterTypeError": "numerics.errors",
    "PhaseDiagram": "numerics.phase_diagram",
    "PreciseSolution": "numerics.precision",
    "Prediction": "numerics.instance.predictions",
    "PromptBlocks": "validation.prompt_blocks",
    "Samples": "validation.samplers.sampling",
    "Solution": "numerics.saddle_point",
    "StateEvolution": "numerics.state_evolution",
    "Status": "numerics.fixed_point",
    "StoppingTime": "numerics.stopping_time",
    "TaskSpectrum": "numerics.task_spectrum",
    "TrainingRun": "validation.training.run",
    "WorkerError": "numerics.errors",
    "best_ridge": "numerics.best_ridge",
    "best_stopping_time": "numerics.stopping_time",
    "contrast": "numerics.instance.predictions",
    "derive": "replica.derivation",
    "diagnose": "validation.samplers.diagnostics",
    "draw_prompts": "validation.prompts",
    "learning_curve": "numerics.learning_curve",
    "load": "numerics.storage",
    "load_instance": "numerics.instance.storage",
    "load_solution": "numerics.instance.storage",
    "measure_blocks": "validation.prompt_blocks",
    "overlaps": "numerics.instance.predictions",
    "phase_diagram": "numerics.phase_diagram",
    "plot_phase_diagram": "numerics.plotting",
    "plot_sweep": "numerics.plotting",
    "predict": "numerics.instance.predictions",
    "sample": "validation.samplers.sampling",
    "save": "numerics.storage",
    "save_instance": "numerics.instance.storage",
    "save_solution": "numerics.instance.storage",
    "solve": "numerics.saddle_point",
    "solve_digits": "numerics.precision",
    "solve_distributed": "numerics.instance.distributed",
    "solve_given_pool": "numerics.finite_size",
    "solve_instance": "numerics.instance.solve",
    "state_evolution": "numerics.state_evolution",
    "sweep": "numerics.sweep",
    "sweep_simulated": "validation.sweeping.sweep",
    "sweep_status": "validation.sweeping.sweep",
    "train": "validation.training.loop",
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
