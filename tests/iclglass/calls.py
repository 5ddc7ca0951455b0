"""Every public function with small arguments that are right: the base of tests that make one of them wrong."""

import numpy as np

import iclglass
from iclglass import Instance, InstanceBlocks, PromptBlocks, TaskSpectrum

POINT = {"task_diversity": 2.0, "context_length": 1.0}
GRID = {"task_diversity": [0.5, 2.0], "context_length": [1.0, 2.0]}
SIZES = {"dimension": 4, "context": 4, "prompts": 24}
RNG = np.random.default_rng(1)
DATA = Instance(RNG.normal(size=(30, 4)), RNG.normal(size=(30, 3)), RNG.normal(size=30))
FOUND = iclglass.solve_instance(DATA, ridge0=0.1, beta=2.0, method="exact")
SOURCE = PromptBlocks(**SIZES, seed=1)
UNSCALED = {"ridge0": 0.1, "beta": 2.0}
ARRAYS = {"context": DATA.context, "query": DATA.query, "label": DATA.label}
TOKENS = {"tokens": np.ones((2, 3, 2)), "labels": np.ones((2, 3)), "query": np.ones((2, 2)), "label": np.ones(2)}
SWEEP = iclglass.sweep(**GRID)
DIAGRAM = iclglass.phase_diagram(**GRID)
MEASURED = {"task_diversity": [2.0], "context_length": [1.0], "mean": [0.8], "standard_error": [0.01]}

CALLS = {
    "Instance": (Instance, ARRAYS),
    "Instance.from_tokens": (Instance.from_tokens, TOKENS),
    "InstanceBlocks": (InstanceBlocks, {"instance": DATA}),
    "Model": (iclglass.Model, {}),
    "Parameters": (iclglass.Parameters, POINT),
    "PromptBlocks": (PromptBlocks, {**SIZES, "seed": 1}),
    "TaskSpectrum": (TaskSpectrum, {name: [1.0] for name in ("pretraining", "test", "weights")}),
    "TaskSpectrum.from_eigenvalues": (TaskSpectrum.from_eigenvalues, {"pretraining": [1.0, 2.0]}),
    "TaskSpectrum.power_law": (TaskSpectrum.power_law, {"exponent": 1.0}),
    "TaskSpectrum.spiked": (TaskSpectrum.spiked, {"strength": 2.0, "fraction": 0.5}),
    "baselines": (iclglass.baselines, {"context_length": 1.0}),
    "best_ridge": (iclglass.best_ridge, POINT),
    "best_stopping_time": (iclglass.best_stopping_time, POINT),
    "best_task_spectrum": (iclglass.best_task_spectrum, POINT),
    "compare": (iclglass.compare, {"source": MEASURED, "quantity": "e_icl"}),
    "contrast": (iclglass.contrast, {"solution": FOUND}),
    "derive": (iclglass.derive, {}),
    "diagnose": (iclglass.diagnose, {"samples": None}),
    "draw_prompts": (iclglass.draw_prompts, {**SIZES, "rng": RNG}),
    "error_shares": (iclglass.error_shares, POINT),
    "learning_curve": (iclglass.learning_curve, {**POINT, "time": 1.0}),
    "load": (iclglass.load, {"path": "x.nc"}),
    "load_instance": (iclglass.load_instance, {"path": "x.nc"}),
    "load_solution": (iclglass.load_solution, {"path": "x.nc"}),
    "measure_blocks": (iclglass.measure_blocks, {"source": SOURCE, "weights": np.ones((5, 4))}),
    "overlaps": (iclglass.overlaps, {"solution": FOUND}),
    "phase_diagram": (iclglass.phase_diagram, GRID),
    "plot_phase_diagram": (iclglass.plot_phase_diagram, {"diagram": DIAGRAM, "path": "x.png"}),
    "plot_sweep": (iclglass.plot_sweep, {"dataset": SWEEP, "path": "x.png"}),
    "predict": (
        iclglass.predict,
        {"solution": FOUND, "context": DATA.context, "query": DATA.query, "instance": DATA},
    ),
    "sample": (iclglass.sample, {"instance": DATA, **UNSCALED, "method": "hmc", "draws": 4, "rng": RNG}),
    "save": (iclglass.save, {"dataset": SWEEP, "path": "x.nc"}),
    "save_instance": (iclglass.save_instance, {"instance": DATA, "path": "x.nc"}),
    "save_solution": (iclglass.save_solution, {"solution": FOUND, "path": "x.nc"}),
    "solve": (iclglass.solve, POINT),
    "solve_digits": (iclglass.solve_digits, {"digits": 10, **POINT}),
    "solve_distributed": (iclglass.solve_distributed, {"source": SOURCE, **UNSCALED}),
    "solve_given_pool": (iclglass.solve_given_pool, {"tasks": np.ones((2, 4)), **POINT}),
    "solve_instance": (iclglass.solve_instance, {"instance": DATA, **UNSCALED, "method": "gamp"}),
    "state_evolution": (iclglass.state_evolution, POINT),
    "sweep": (iclglass.sweep, GRID),
    "sweep_simulated": (iclglass.sweep_simulated, {**POINT, "dimension": 4}),
    "sweep_status": (iclglass.sweep_status, {"out": "x.nc"}),
    "train": (iclglass.train, {"instance": DATA, "steps": 3, "learning_rate": 0.1, "rng": RNG}),
    "validate": (iclglass.validate, {**POINT, "dimension": (4, 6), "samples": 2}),
}
OPTIONS = {
    "solve.dimension": (iclglass.solve, {**POINT, "dimension": 8}),
    "solve_instance.exact": (iclglass.solve_instance, {"instance": DATA, **UNSCALED, "method": "exact", "probes": 0}),
    "solve_distributed.probes": (iclglass.solve_distributed, {"source": SOURCE, **UNSCALED, "probes": 2, "rng": RNG}),
    "state_evolution.dimension": (iclglass.state_evolution, {**POINT, "dimension": 8}),
    "predict.diagonal": (
        iclglass.predict,
        {"solution": FOUND, "context": DATA.context, "query": DATA.query, "kind": "diagonal"},
    ),
    "train.sgd": (
        iclglass.train,
        {"instance": DATA, "optimiser": "sgd", "batch": 8, "steps": 3, "learning_rate": 0.1, "rng": RNG},
    ),
    "draw_prompts.tokens": (
        iclglass.draw_prompts,
        {**SIZES, "method": "tokens", "spectrum": np.ones(4), "token_covariance": np.eye(4), "rng": RNG},
    ),
    "sweep_simulated.training": (
        iclglass.sweep_simulated,
        {**POINT, "dimension": 4, "road": "training", "steps": 3, "tolerance": 0.5, "samples": 1},
    ),
}
CALLS |= OPTIONS
