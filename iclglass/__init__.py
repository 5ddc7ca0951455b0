"""Replica and cavity theory of in-context learning in linear attention: derive, solve, map, check.

    derive          the chain from Hamiltonian to saddle-point equations (SymPy)
    Parameters      what all of these take, checked once
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

The same as one command: ``iclglass --help``. The science lives in `iclglass.replica` (symbols),
`iclglass.numerics` (solvers) and `iclglass.validation` (simulation); this package only gives it names. Names are
imported when first used.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

_checkout = Path(__file__).resolve().parent.parent
if not (Path(__file__).parent / "numerics").is_dir() and (_checkout / "numerics").is_dir():
    # In a checkout the packages of the layers lie beside this one; installed, they are inside it.
    __path__.append(str(_checkout))

if TYPE_CHECKING:
    from iclglass.numerics.best_ridge import best_ridge
    from iclglass.numerics.errors import ConvergenceError, OutputError, ParameterError, ParameterTypeError, WorkerError
    from iclglass.numerics.finite_size import solve_given_pool
    from iclglass.numerics.instance.blocks import InstanceBlocks
    from iclglass.numerics.instance.data import Instance
    from iclglass.numerics.instance.distributed import solve_distributed
    from iclglass.numerics.instance.predictions import Overlaps, Prediction, contrast, overlaps, predict
    from iclglass.numerics.instance.solution import InstanceSolution
    from iclglass.numerics.instance.solve import solve_instance
    from iclglass.numerics.instance.storage import load_instance, load_solution, save_instance, save_solution
    from iclglass.numerics.learning_curve import LearningCurve, learning_curve
    from iclglass.numerics.lines import Line
    from iclglass.numerics.parameters import Parameters
    from iclglass.numerics.phase_diagram import PhaseDiagram, phase_diagram
    from iclglass.numerics.plotting import plot_phase_diagram, plot_sweep
    from iclglass.numerics.precision import PreciseSolution, solve_digits
    from iclglass.numerics.saddle_point import solve
    from iclglass.numerics.solution import Solution
    from iclglass.numerics.state_evolution import StateEvolution, state_evolution
    from iclglass.numerics.status import Status
    from iclglass.numerics.stopping_time import StoppingTime, best_stopping_time
    from iclglass.numerics.storage import load, save
    from iclglass.numerics.sweep import sweep
    from iclglass.numerics.task_spectrum import TaskSpectrum
    from iclglass.replica.derivation import Derivation, derive
    from iclglass.validation.agreement import Agreement
    from iclglass.validation.crosscheck import validate
    from iclglass.validation.prompt_blocks import PromptBlocks, measure_blocks
    from iclglass.validation.prompts import draw_prompts
    from iclglass.validation.samplers.diagnostics import diagnose
    from iclglass.validation.samplers.sampling import Samples, sample
    from iclglass.validation.sweeping.sweep import sweep_simulated, sweep_status
    from iclglass.validation.training.loop import train
    from iclglass.validation.training.run import TrainingRun

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
    "Parameters",
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
    "Agreement": "iclglass.validation.agreement",
    "ConvergenceError": "iclglass.numerics.errors",
    "Derivation": "iclglass.replica.derivation",
    "Instance": "iclglass.numerics.instance.data",
    "InstanceBlocks": "iclglass.numerics.instance.blocks",
    "InstanceSolution": "iclglass.numerics.instance.solution",
    "LearningCurve": "iclglass.numerics.learning_curve",
    "Line": "iclglass.numerics.lines",
    "OutputError": "iclglass.numerics.errors",
    "Overlaps": "iclglass.numerics.instance.predictions",
    "ParameterError": "iclglass.numerics.errors",
    "ParameterTypeError": "iclglass.numerics.errors",
    "Parameters": "iclglass.numerics.parameters",
    "PhaseDiagram": "iclglass.numerics.phase_diagram",
    "PreciseSolution": "iclglass.numerics.precision",
    "Prediction": "iclglass.numerics.instance.predictions",
    "PromptBlocks": "iclglass.validation.prompt_blocks",
    "Samples": "iclglass.validation.samplers.sampling",
    "Solution": "iclglass.numerics.solution",
    "StateEvolution": "iclglass.numerics.state_evolution",
    "Status": "iclglass.numerics.status",
    "StoppingTime": "iclglass.numerics.stopping_time",
    "TaskSpectrum": "iclglass.numerics.task_spectrum",
    "TrainingRun": "iclglass.validation.training.run",
    "WorkerError": "iclglass.numerics.errors",
    "best_ridge": "iclglass.numerics.best_ridge",
    "best_stopping_time": "iclglass.numerics.stopping_time",
    "contrast": "iclglass.numerics.instance.predictions",
    "derive": "iclglass.replica.derivation",
    "diagnose": "iclglass.validation.samplers.diagnostics",
    "draw_prompts": "iclglass.validation.prompts",
    "learning_curve": "iclglass.numerics.learning_curve",
    "load": "iclglass.numerics.storage",
    "load_instance": "iclglass.numerics.instance.storage",
    "load_solution": "iclglass.numerics.instance.storage",
    "measure_blocks": "iclglass.validation.prompt_blocks",
    "overlaps": "iclglass.numerics.instance.predictions",
    "phase_diagram": "iclglass.numerics.phase_diagram",
    "plot_phase_diagram": "iclglass.numerics.plotting",
    "plot_sweep": "iclglass.numerics.plotting",
    "predict": "iclglass.numerics.instance.predictions",
    "sample": "iclglass.validation.samplers.sampling",
    "save": "iclglass.numerics.storage",
    "save_instance": "iclglass.numerics.instance.storage",
    "save_solution": "iclglass.numerics.instance.storage",
    "solve": "iclglass.numerics.saddle_point",
    "solve_digits": "iclglass.numerics.precision",
    "solve_distributed": "iclglass.numerics.instance.distributed",
    "solve_given_pool": "iclglass.numerics.finite_size",
    "solve_instance": "iclglass.numerics.instance.solve",
    "state_evolution": "iclglass.numerics.state_evolution",
    "sweep": "iclglass.numerics.sweep",
    "sweep_simulated": "iclglass.validation.sweeping.sweep",
    "sweep_status": "iclglass.validation.sweeping.sweep",
    "train": "iclglass.validation.training.loop",
    "validate": "iclglass.validation.crosscheck",
}


def _load(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'iclglass' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


if not TYPE_CHECKING:  # which would take any name, misspelt ones too, for one of this module
    __getattr__ = _load


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
