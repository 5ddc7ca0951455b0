"""Replica and cavity theory of in-context learning in linear attention: derive, solve, map, check.

    derive          the chain from Hamiltonian to saddle-point equations (SymPy)
    Model           a Hamiltonian of one's own: a loss and a penalty as SymPy expressions
    Parameters      their parameters as one object, checked once
    solve           the saddle point and all observables over arrays of parameters
    solve_digits    one point at any number of digits
    solve_given_pool  finite dimension, one given pool of tasks
    sweep           the product of axes as an xarray.Dataset
    sweep_simulated, sweep_status: simulated at every point, on any engine, resumable
    best_ridge      the ridge with the least error on a new task
    error_shares    what that error is made of, one direction of the test covariance at a time
    best_task_spectrum  the spectrum of pretraining tasks with the least error on tasks of a given one
    learning_curve, best_stopping_time: gradient flow from random weights
    phase_diagram   a sweep of two axes with lines located on it
    plot_sweep, plot_phase_diagram
    save, load      datasets to and from netCDF
    validate        theory against finite-size Monte Carlo
    baselines       Bayes estimators at the same parameters: who knows the law of tasks, who knows the pool
    compare         measurements of others, or one's own, against the theory at their size
    Instance, draw_prompts, load_instance, save_instance: one data set, a user's own or drawn
    solve_instance  means and variances of its Boltzmann measure
    solve_distributed, PromptBlocks, measure_blocks: the same for prompts that no machine holds
    predict, overlaps, contrast: what that says about new prompts and replicas
    state_evolution  what message passing will do, step by step
    sample, diagnose  draws from the Boltzmann measure, and whether they can be trusted
    train           the linear attention layer trained by gradient descent

The same as one command: ``iclglass --help``. The science lives in `iclglass.replica` (symbols),
`iclglass.numerics` (solvers) and `iclglass.validation` (simulation); this package only gives it names, which
``__init__.pyi`` lists. Names are imported when first used.
"""

from pathlib import Path

import lazy_loader

_checkout = Path(__file__).resolve().parent.parent
if not (Path(__file__).parent / "numerics").is_dir() and (_checkout / "numerics").is_dir():
    # In a checkout the packages of the layers lie beside this one; installed, they are inside it.
    __path__.append(str(_checkout))

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
