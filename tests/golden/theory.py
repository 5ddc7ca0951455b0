"""Theory without random numbers but those that choose the points: solve, learning curves, lines and the rest."""

from collections.abc import Mapping
from itertools import product

import numpy as np

import iclglass
from tests.golden.table import Table, join, stack

Columns = Mapping[str, np.ndarray]

_DRAWN = {
    "task_diversity": (0.05, 20.0),
    "context_length": (0.05, 50.0),
    "distinct_tasks": (0.05, 100.0),
    "label_noise": (1e-3, 2.0),
    "ridge": (1e-6, 10.0),
    "temperature": (1e-3, 3.0),
    "test_context_length": (0.05, 50.0),
}
"""Ranges from which points are drawn, evenly in the logarithm."""
_MAY_BE_ZERO = ("label_noise", "ridge", "temperature")


def _rounded(values: np.ndarray) -> np.ndarray:
    """To four digits, so that a point can be typed."""
    return np.array([float(f"{value:.4g}") for value in values])


def _draw(rng: np.random.Generator, points: int, *names: str) -> dict[str, np.ndarray]:
    """Random points; a quarter of what may be zero is."""
    drawn = {}
    for name in names:
        low, high = _DRAWN[name]
        drawn[name] = _rounded(low * (high / low) ** rng.random(points))
        if name in _MAY_BE_ZERO:
            drawn[name][rng.random(points) < 0.25] = 0.0
    return drawn


def _edges(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every pair of edges: threshold, ridgeless, no noise, no or one task in all, very short and very long contexts."""
    places = list(product([1e-3, 0.5, 1.0, 1e3], [1e-3, 1.0, 1e4], [0.0, 1e-9, 0.1]))
    tau, alpha, lam = (np.array(column) for column in zip(*places, strict=True))
    return {
        "task_diversity": tau,
        "context_length": alpha,
        "distinct_tasks": rng.choice([1e-6, 0.5, 1.0, 1e6, np.inf], tau.size),
        "label_noise": rng.choice([0.0, 1e-12, 0.3], tau.size),
        "ridge": lam,
        "temperature": rng.choice([0.0, 1e-9, 0.5], tau.size),
    }


def _spectra() -> dict[str, iclglass.TaskSpectrum]:
    make = iclglass.TaskSpectrum
    return {
        "power law 1": make.power_law(1.0),
        "power law 0.5, 20 values": make.power_law(0.5, size=20),
        "spiked": make.spiked(strength=4.0, fraction=0.1),
        "isotropic test": make.from_eigenvalues([0.2, 1.0, 1.8], test=[1.0, 1.0, 1.0], weights=[0.3, 0.4, 0.3]),
        "strong test": make.from_eigenvalues([0.5, 1.5, 3.0], test=[3.0, 0.1, 0.4]),
        "subspace": make.from_eigenvalues([0.0, 2.0], test=[1.0, 1.0]),
    }


def _solved(inputs: Columns, spectrum: str = "isotropic", **options: object) -> Table:
    solution = iclglass.solve(**inputs, throw=False, **options)
    points = len(inputs["task_diversity"])
    shown = {name: inputs.get(name, np.full(points, np.nan)) for name in _DRAWN}
    return Table({**shown, "tasks": np.full(points, spectrum)}, solution.to_dict())


def solve() -> Table:
    """All quantities of `solve` at 500 points; a test context length of NaN is that of pretraining."""
    rng = np.random.default_rng(20261)
    usual = ("task_diversity", "context_length", "label_noise", "ridge", "temperature")
    tables = [
        _solved(_draw(rng, 122, *usual)),
        _solved(_draw(rng, 60, *usual, "test_context_length")),
        _solved(_draw(rng, 120, *usual, "distinct_tasks")),
        _solved(_draw(rng, 60, *usual, "distinct_tasks", "test_context_length")),
        _solved(_edges(rng)),
    ]
    for name, tasks in _spectra().items():
        tables += [
            _solved(_draw(rng, 6, *usual), name, tasks=tasks),
            _solved(_draw(rng, 11, *usual, "distinct_tasks", "test_context_length"), name, tasks=tasks),
        ]
    return join(tables)


def finite_size() -> Table:
    """The theory at finite dimension, every prompt with a task of its own: 40 points, both norms."""
    rng = np.random.default_rng(20262)
    tables = []
    for norm in ("N", "N+1"):
        drawn = _draw(rng, 20, "label_noise", "ridge", "temperature", "test_context_length")
        # Away from the threshold and from contexts without a token: the theory needs P and N of at least one.
        drawn["task_diversity"] = _rounded(0.2 * 50 ** rng.random(20))
        drawn["context_length"] = _rounded(0.3 * 50 ** rng.random(20))
        drawn["test_context_length"] = _rounded(0.3 * 50 ** rng.random(20))
        dimension = rng.choice([4, 5, 8, 10, 16, 24, 40, 64, 100], 20)
        found = _solved(drawn, dimension=dimension, norm=norm)
        inputs = {**found.inputs, "dimension": dimension, "norm": np.full(20, norm)}
        tables.append(Table(inputs, found.values))
    return join(tables)


_CURVES = {
    "task_diversity": np.array([0.3, 0.8, 1.0, 1.5, 4.0, 2.0]),
    "context_length": np.array([1.0, 5.0, 2.0, 2.0, 0.5, 20.0]),
    "label_noise": np.array([0.0, 0.1, 0.2, 0.0, 0.5, 0.01]),
    "ridge": np.array([0.0, 1e-3, 1e-2, 1e-3, 0.1, 0.0]),
    "initial_overlap": np.array([0.0, 0.0, 0.5, 2.0, 0.0, 1.0]),
    "test_context_length": np.array([1.0, 5.0, 4.0, 2.0, 0.5, 3.0]),
}


def learning_curve() -> Table:
    """Gradient flow at six points and twelve times, 0 among them."""
    times = np.array([0.0, *_rounded(np.geomspace(0.01, 1e4, 11))])
    inputs = {name: np.repeat(column, times.size) for name, column in _CURVES.items()}
    inputs["time"] = np.tile(times, _CURVES["ridge"].size)
    curve = iclglass.learning_curve(**inputs)
    names = ("m", "q", "e_icl", "e_idg", "e_train", "energy", "error_estimate", "status")
    return Table(inputs, {name: getattr(curve, name) for name in names})


def stopping_time() -> Table:
    """When to stop, at the points of the learning curves."""
    best = iclglass.best_stopping_time(**_CURVES)
    return Table(_CURVES, {name: getattr(best, name) for name in ("time", "e_icl", "gain", "status")})


def state_evolution() -> Table:
    """Twenty steps of message passing as predicted, at D -> infinity and at finite D."""
    rng = np.random.default_rng(20263)
    rows = []
    for dimension, norm in [(None, "N")] * 6 + [(8, "N"), (20, "N+1"), (50, "N"), (10, "N+1"), (5, "N"), (30, "N")]:
        drawn = {name: float(column[0]) for name, column in _draw(rng, 1, "label_noise", "ridge").items()}
        drawn |= {"task_diversity": float(rng.choice([0.5, 1.5, 4.0])), "context_length": float(rng.choice([1.0, 3.0]))}
        found = iclglass.state_evolution(**drawn, steps=20, dimension=dimension, norm=norm)
        rows.append(({**drawn, "norm": norm} | ({"dimension": dimension} if dimension else {}), found.to_dict()))
    return stack(rows)


def best_ridge() -> Table:
    """The ridge with the least error on a new task, with and without a pool."""
    rng = np.random.default_rng(20264)
    inputs = _draw(rng, 30, "task_diversity", "label_noise", "distinct_tasks")
    # With shorter contexts the best ridge is large, the minimum flat, and rounding moves it.
    inputs["context_length"] = _rounded(0.5 * 100 ** rng.random(30))
    inputs["distinct_tasks"][::3] = np.inf
    return Table(inputs, {"best_ridge": iclglass.best_ridge(**inputs)})


def lines() -> Table:
    """Vertices of the lines on four phase diagrams, and of the threshold at finite dimension."""
    tau, alpha = np.geomspace(0.2, 4, 16), np.geomspace(0.3, 20, 16)
    plane = {"task_diversity": tau, "context_length": alpha}
    ridges = {"task_diversity": 2.0, "context_length": alpha, "ridge": np.geomspace(1e-3, 10, 16), "label_noise": 0.2}
    pools = {"task_diversity": 2.0, "distinct_tasks": np.geomspace(0.05, 50, 16), "ridge": 0.01, "label_noise": 0.1}
    pools["context_length"] = np.geomspace(0.2, 50, 16)
    asked = {
        "tau-alpha": (
            {**plane, "ridge": 0.01, "label_noise": 0.1},
            ["interpolation-threshold", "contrast=0.8", "minimum=task-diversity", "peak=task-diversity"],
        ),
        "ridge-alpha": (ridges, ["best-ridge", "contrast=0.9"]),
        "kappa-alpha": (pools, ["crossover", "memorisation-threshold", "context-saturation"]),
        "dimension 10": ({**plane, "dimension": 10}, ["interpolation-threshold"]),
    }
    rows = []
    for title, (parameters, names) in asked.items():
        for line in iclglass.phase_diagram(**parameters, lines=names).lines:
            for part, vertices in enumerate(line.parts):
                for vertex, (x, y) in enumerate(vertices):
                    place = {"diagram": title, "line": line.name, "part": part, "vertex": vertex}
                    rows.append((place, {"x": x, "y": y}))
    return stack(rows)


def sweep() -> Table:
    """Every variable of the Dataset that a sweep of three axes returns."""
    dataset = iclglass.sweep(
        task_diversity=[0.5, 2.0, 4.0],
        context_length=[1.0, 5.0],
        distinct_tasks=[0.5, np.inf],
        temperature=0.1,
        tasks=iclglass.TaskSpectrum.spiked(strength=3.0, fraction=0.2),
    )
    axes = np.meshgrid(*(dataset[name].values for name in dataset["m"].dims), indexing="ij")
    inputs = {str(name): axis.ravel() for name, axis in zip(dataset["m"].dims, axes, strict=True)}
    return Table(inputs, {str(name): values.values.ravel() for name, values in dataset.data_vars.items()})


def digits() -> Table:
    """Thirty digits, as strings."""
    rows = []
    names = ("task_diversity", "context_length", "label_noise", "ridge", "temperature")
    for point in ("2 1 0 0.1 0", "0.5 3 0.2 1e-6 0", "1 2 0 0.001 0.5", "3 5 0.1 0 0.2", "0.7 0.3 1 0 0"):
        given = dict(zip(names, point.split(), strict=True))
        found = iclglass.solve_digits(digits=30, **given)
        rows.append((given, {name: str(value) for name, value in found.values.items()}))
    return stack(rows)
