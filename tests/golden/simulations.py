"""Theory beside seeded simulation: `validate` and `sweep_simulated`, three points each."""

import numpy as np

import iclglass
from tests.golden.table import Table, stack

__all__ = ["sweeps", "validations"]


def validations() -> Table:
    """What `validate` simulates and compares: theory, means, standard errors, extrapolation.

    The verdict is left out: its rules are another matter than its numbers.
    """
    rows = []
    for seed, given in enumerate(
        (
            {"task_diversity": 2.0, "context_length": 1.0},
            {"task_diversity": 1.5, "context_length": 3.0, "label_noise": 0.2, "temperature": 0.1, "ridge": 0.2},
            {"task_diversity": 3.0, "context_length": 2.0, "distinct_tasks": 1.5, "test_context_length": 5.0},
        )
    ):
        found = iclglass.validate(**given, dimension=(6, 8, 10), samples=6, seed=seed)
        for row in found.rows:
            for size in row.sizes:
                place = {**given, "seed": seed, "quantity": row.quantity, "dimension": size.dimension}
                values = {name: getattr(size, name) for name in ("mean", "standard_error", "theory")}
                values |= {"asymptotic_theory": row.theory, "extrapolated": row.extrapolated}
                rows.append((place, values | {"extrapolated_standard_error": row.standard_error}))
    return stack(rows)


def sweeps() -> Table:
    """Every variable of `sweep_simulated` by each road at three points.

    Where there is a pool the theory at finite dimension is left out: its numbers are estimates that are being mended.
    """
    rows = []
    roads = {
        "simulation": {},
        "message-passing": {},
        "sampling": {"draws": 20},
        "training": {"steps": 60, "learning_rate": 0.1},
    }
    for seed, given in enumerate(
        (
            {"task_diversity": 2.0, "context_length": 1.0, "dimension": 6},
            {"task_diversity": 3.0, "context_length": 4.0, "label_noise": 0.2, "temperature": 0.1, "dimension": 8},
            {"task_diversity": 2.0, "context_length": 3.0, "distinct_tasks": 1.5, "dimension": 6},
        )
    ):
        for road, options in roads.items():
            temperature = {"temperature": 0.1} if road == "sampling" else {}
            asked = {**given, **temperature, **options, "theory": "distinct_tasks" not in given}
            dataset = iclglass.sweep_simulated(**asked, road=road, samples=3, seed=seed)
            for name in dataset.data_vars:
                place = {**given, "seed": seed, "road": road, "variable": str(name)}
                rows.append((place, {"value": np.float64(dataset[name].item())}))
    return stack(rows)
